//! CUDA's control flow without a GPU: the binary and the real `libtorch_cuda` on a CUDA without devices
//! (`stand-in/`). Numbers are garbage; what is asked of the devices, in which order, and who waits for
//! it, is real. Needs the CUDA set: `make test-cuda`.
#![cfg(target_os = "linux")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use common::{compile, covalign, json, libtorch_cuda, root, text, write_demo};

/// The stand-in, built once; none where there is no `libtorch_cuda` to stand on.
fn stand_in() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        libtorch_cuda()?;
        // By this name libtorch looks for the driver.
        let flags = ["-fPIC", "-shared", "-Wl,-soname,libcuda.so.1"];
        Some(compile(
            &["cuda.cpp", "products.cpp"],
            "stand-in.so",
            &flags,
        ))
    });
    built.as_deref()
}

/// Two tasks of few rows; six steps, of which none is looked at before the end.
const CONFIG: &str = "
encoder: ENCODER
data: demo
tasks: [DemoSentiment, DemoSimilarity]
method: aligned
training:
  {max_steps: 6, batch_size: 8, max_length: 16, max_train_rows: 8, threads: 1, device: cuda}
evaluation: {every: 6 steps}
checkpoints: {every: 9 steps}
";
/// What the config's encoder has.
const LAYERS: usize = 2;

/// A folder with the demonstration set and a config, and a stand-in with devices of these compute
/// capabilities.
struct Place {
    folder: tempfile::TempDir,
    library: &'static Path,
    devices: &'static str,
    /// One more for the stand-in.
    variable: (&'static str, &'static str),
}

/// None where there is no stand-in.
fn place(devices: &'static str) -> Option<Place> {
    let library = stand_in()?;
    let folder = tempfile::tempdir().unwrap();
    write_demo(&folder.path().join("demo"));
    let encoder = root().join("tests/fixtures/legacy-bert");
    let config = CONFIG.replace("ENCODER", encoder.to_str().unwrap());
    std::fs::write(folder.path().join("c.yaml"), config).unwrap();
    Some(Place {
        folder,
        library,
        devices,
        variable: ("STANDIN_MEMORY", "80000000000"),
    })
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary on the stand-in.
    fn run(&self, args: &[&str]) -> Output {
        let mut command = covalign(self.folder.path(), args);
        command
            .env_remove("CUDA_VISIBLE_DEVICES")
            .env("LD_PRELOAD", self.library)
            .env("STANDIN_DEVICES", self.devices)
            .env(self.variable.0, self.variable.1)
            .env("STANDIN_LOG", self.path("events"));
        command.output().unwrap()
    }

    /// What the devices were asked since the last call, in order; `stand-in/cuda.cpp` has the words.
    fn events(&self) -> Vec<String> {
        let log = std::fs::read_to_string(self.path("events")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("events"));
        log.lines().map(str::to_owned).collect()
    }

    /// An encoder as the fixture's, but for a size.
    fn encoder(&self, name: &str, key: &str, size: usize) {
        let legacy = root().join("tests/fixtures/legacy-bert");
        let mut shape = json(&legacy.join("config.json"));
        shape[key] = size.into();
        std::fs::write(self.path("shape.json"), shape.to_string()).unwrap();
        let words = legacy.to_str().unwrap();
        let init = ["encoder", "init", name, "--config", "shape.json"];
        let init = [&init[..], &["--vocabulary", words]].concat();
        assert!(self.run(&init).status.success());
    }

    fn train(&self, out: &str, sets: &[&str]) -> Output {
        let mut args = vec!["train", "c.yaml", "--out", out];
        sets.iter().for_each(|set| args.extend(["--set", set]));
        self.run(&args)
    }

    /// The events of a run of six steps that says nothing but what covalign always says.
    fn trained(&self, sets: &[&str]) -> Vec<String> {
        let _ = std::fs::remove_dir_all(self.path("x"));
        let output = self.train("x", sets);
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{sets:?}: {errors}");
        let known = [
            "aligned on ",
            "multitask on ",
            "fixed_encoder: ",
            "the weights hold ",
            "step 6,",
        ];
        let known = |line: &&str| known.iter().any(|known| line.starts_with(known));
        let others: Vec<&str> = errors.lines().filter(|line| !known(line)).collect();
        assert!(others.is_empty(), "{sets:?}: {others:?}");
        assert_eq!(json(&self.path("x/results.json"))["steps"], 6, "{sets:?}");
        self.events()
    }

    /// Runs what must fail with `code`, and returns the one line that it ends with.
    fn fails(&self, sets: &[&str], code: i32) -> String {
        let output = self.train("failed", sets);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{sets:?}: {errors}");
        let last = errors.lines().last().unwrap();
        assert!(last.starts_with("covalign: "), "{errors}");
        assert!(!errors.contains("frame #"), "{errors}");
        last.to_owned()
    }
}

fn count(events: &[String], kind: &str) -> usize {
    let is = |event: &&String| event.split(' ').next() == Some(kind);
    events.iter().filter(is).count()
}

/// The rest of the events of a kind.
fn of<'a>(events: &'a [String], kind: &str) -> Vec<&'a str> {
    let rest = |event: &'a String| event.strip_prefix(kind)?.strip_prefix(' ');
    events.iter().filter_map(rest).collect()
}

/// The events of each step, which ends with AdamW or with a graph's replay; the first with all before it.
fn steps(events: &[String]) -> Vec<&[String]> {
    let ends = |event: &String| event == "launch adamw" || event.starts_with("replay ");
    let mut steps: Vec<_> = events.split_inclusive(ends).collect();
    // The evaluation behind the last step.
    steps.pop();
    steps
}

/// Checks every step but the first, in which libraries set themselves up: nobody waits, memory comes
/// from what libtorch has, and no more than `most` kernels and products are launched or recorded.
fn check(events: &[String], most: usize, what: &str) {
    let steps = steps(events);
    assert_eq!(steps.len(), 6, "{what}");
    for step in &steps[1..] {
        assert_eq!(of(step, "wait"), [""; 0], "{what}");
        assert_eq!(count(step, "free"), 0, "{what}");
        let launches = count(step, "launch") + count(step, "recorded");
        assert!(
            launches <= most,
            "{what}: {launches} launches, at most {most} were"
        );
    }
}

/// By engine and precision: what a step launches beside its layers, and for each of these, there and
/// back. To be lowered where a change spares launches.
const LAUNCHES: [(&str, &str, usize, usize); 10] = [
    ("fast", "fp32", 51, 32),
    ("fast", "tf32", 51, 32),
    ("fast", "bf16", 67, 30),
    ("fast", "fp16", 70, 30),
    ("padded", "fp32", 50, 51),
    ("padded", "bf16", 68, 60),
    ("padded", "fp16", 71, 60),
    ("reference", "fp32", 60, 77),
    ("reference", "bf16", 77, 114),
    ("reference", "fp16", 80, 114),
];

const NO_GRAPHS: &str = "training.cuda_graphs=false";

#[test]
fn no_step_waits_in_any_engine_and_precision_and_a_layer_launches_what_it_did() {
    let Some(place) = place("90") else { return };
    let layers = 2 * LAYERS;
    place.encoder("deep", "num_hidden_layers", layers);
    for (engine, precision, rest, layer) in LAUNCHES {
        let sets = [
            format!("engine={engine}"),
            format!("training.precision={precision}"),
        ];
        let sets = ["encoder=deep", NO_GRAPHS, &sets[0], &sets[1]];
        let what = format!("{engine} {precision}, {layers} layers");
        check(&place.trained(&sets), rest + layers * layer, &what);
    }
}

#[test]
fn packed_rows_train_on_every_kind_of_device() {
    for devices in ["75", "80", "120"] {
        let Some(place) = place(devices) else { return };
        for (engine, precision, rest, layer) in LAUNCHES {
            if engine != "fast" || precision == "tf32" {
                continue;
            }
            let precision = format!("training.precision={precision}");
            let what = format!("{devices} {precision}");
            if devices == "75" && precision.ends_with("bf16") {
                let line = place.fails(&[&precision], 2);
                assert!(line.contains("compute capability 7.5"), "{line}");
                continue;
            }
            check(
                &place.trained(&[NO_GRAPHS, &precision]),
                rest + LAYERS * layer,
                &what,
            );
        }
    }
}

/// What learns and how, with what a step launches at most in bf16.
const WAYS: [(&[&str], usize); 16] = [
    (&[], 132),
    (&["method=multitask"], 124),
    (&["alignment.rank=4"], 136),
    (&["alignment.form=diagonal"], 133),
    (&["alignment.form=orthogonal"], 166),
    (&["alignment.form=shared"], 132),
    (&["alignment.form=random_rotation"], 127),
    (&["alignment.decay_to_identity=0.1"], 141),
    (
        &[
            "alignment.schedule=alternating",
            "alignment.alternate_every=2",
        ],
        126,
    ),
    (&["alignment.schedule=fixed_encoder"], 130),
    (&["weighting.method=uncertainty"], 147),
    (
        &["sampling.batches=heterogeneous", "training.scores=unit"],
        295,
    ),
    (&["training.accumulate=2", "training.epochs=6"], 292),
    (&["training.gradient_checkpointing=true"], 154),
    (
        &[
            "training.freeze.embeddings=true",
            "training.freeze.layers=1",
        ],
        117,
    ),
    (
        &[
            "encoder={kind: mlp, width: 8, embeddings: all-MiniLM-L6-v2}",
            "training.max_length=32",
        ],
        44,
    ),
];

#[test]
fn no_step_waits_whatever_learns() {
    let Some(place) = place("90") else { return };
    for (sets, most) in WAYS {
        check(&place.trained(sets), most, &format!("{sets:?}"));
    }
}

#[test]
fn steps_that_come_up_again_are_replayed_with_one_launch() {
    let Some(place) = place("80") else { return };
    for precision in ["fp32", "bf16", "fp16"] {
        let events = place.trained(&[&format!("training.precision={precision}")]);
        // Of two tasks each has a first step, one that is recorded, and one that is replayed only.
        assert_eq!(count(&events, "replay"), 4, "{precision}");
        let last = steps(&events)[5];
        let launches = of(last, "launch");
        assert!(launches.len() <= 2, "{precision}: {launches:?}");
        assert_eq!(
            count(last, "recorded") + count(last, "allocate"),
            0,
            "{precision}"
        );
    }
}

#[test]
fn a_second_device_is_used_alone() {
    let Some(place) = place("90,80") else { return };
    let events = place.trained(&["training.device=cuda:1"]);
    assert_eq!(of(&events, "context"), ["1"]);
    let line = place.fails(&["training.device=cuda:2"], 2);
    assert!(
        line.contains("`cuda:2` is not there (2 CUDA devices"),
        "{line}"
    );
}

#[test]
fn devices_that_libtorch_has_no_kernels_for_are_passed_over_or_refused_in_one_line() {
    let Some(place) = place("70,90") else { return };
    let line = place.fails(&["training.device=cuda:0"], 2);
    assert!(line.contains("cuda:0 has compute capability 7.0"), "{line}");
    assert!(place.events().is_empty());
    let events = place.trained(&["training.device=auto"]);
    assert_eq!(of(&events, "context"), ["1"]);
    let said = text(&place.run(&["doctor"]).stdout);
    assert!(said.contains("2 device(s)"), "{said}");
    assert!(
        said.contains("cuda:0 has compute capability 7.0: it cannot be used"),
        "{said}"
    );
}

#[test]
fn memory_that_ends_is_one_line() {
    let Some(mut place) = place("90") else { return };
    // Less than cuBLAS works in.
    place.variable = ("STANDIN_MEMORY", "30000000");
    let line = place.fails(&[], 1);
    assert!(
        line.contains("covalign: out of memory on cuda:0 ("),
        "{line}"
    );
    assert!(line.contains("lower training.batch_size"), "{line}");
}

#[test]
fn steps_that_cannot_be_recorded_are_taken_as_they_are() {
    let Some(mut place) = place("90") else { return };
    place.variable = ("STANDIN_NO_ROOM_FOR_GRAPHS", "1");
    let output = place.train("x", &[]);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let said = "CUDA graphs are left alone from here on: out of memory";
    assert_eq!(errors.matches(said).count(), 1, "{errors}");
    let events = place.events();
    assert_eq!((steps(&events).len(), count(&events, "replay")), (6, 0));
}

#[test]
fn recorded_steps_give_up_memory_that_something_else_needs() {
    let Some(mut place) = place("90") else { return };
    place.encoder("wide", "intermediate_size", 32768);
    let evaluation = ["evaluation.batch_size=2048"];
    // By this seed the second task's first step comes behind three of the first task.
    let first_step = [
        "evaluation.batch_size=8",
        "training.batch_size=64",
        "training.max_train_rows={DemoSentiment: 192, DemoSimilarity: 64}",
        "training.seed=1",
    ];
    // What the run fits into without recordings, and not with them.
    for (memory, sets, replays) in [
        ("440000000", &evaluation[..], 4),
        ("680000000", &first_step[..], 3),
    ] {
        place.variable = ("STANDIN_MEMORY", memory);
        let _ = std::fs::remove_dir_all(place.path("x"));
        let output = place.train("x", &[&["encoder=wide"], sets].concat());
        let errors = text(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let said = "CUDA graphs are left alone from here on: out of memory";
        assert_eq!(errors.matches(said).count(), 1, "{errors}");
        // Until then steps were replayed.
        let events = place.events();
        assert_eq!(
            (steps(&events).len(), count(&events, "replay")),
            (6, replays)
        );
    }
}

#[test]
fn a_run_goes_on_from_a_checkpoint_and_is_evaluated() {
    let Some(place) = place("90") else { return };
    place.trained(&["checkpoints.every=3 steps"]);
    std::fs::remove_file(place.path("x/results.json")).unwrap();
    std::fs::remove_dir_all(place.path("x/checkpoints/step-6")).unwrap();
    let resumed = place.run(&["train", "x/config.yaml", "--out", "x", "--resume"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_eq!(json(&place.path("x/results.json"))["steps"], 6);
    assert_eq!(steps(&place.events()).len(), 3);
    let evaluated = place.run(&["evaluate", "x"]);
    assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    assert_eq!(text(&evaluated.stderr), "");
    assert!(count(&place.events(), "launch") > 0);
}

#[test]
fn runs_of_a_suite_take_turns_on_two_devices() {
    let Some(place) = place("90,90") else { return };
    let config = std::fs::read_to_string(place.path("c.yaml")).unwrap();
    let base: String = config.lines().map(|line| format!("  {line}\n")).collect();
    let suite = format!(
        "title: Two seeds\nbase:\n{base}seeds: [1, 2]\nexperiments:\n- {{name: all, strategy: all, method: multitask}}\n"
    );
    std::fs::write(place.path("s.yaml"), suite).unwrap();
    let output = place.run(&["suite", "s.yaml", "--out", "s", "--jobs", "2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let events = place.events();
    let mut contexts = of(&events, "context");
    contexts.sort();
    assert_eq!(contexts, ["0", "1"]);
}
