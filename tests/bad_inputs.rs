//! Bad input is told in one line: what is wrong, where, and what to do. Each line here was read as a
//! newcomer would; whoever changes one reads it again.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{covalign, root, text};

/// A small task, its rows, and the tiny encoder; each case changes some of it.
const CONFIG: &str = "encoder: enc\ndata: data\ntasks: [own.yaml]\ntraining: {max_steps: 1, batch_size: 2, max_length: 16, threads: 1, device: cpu}\n";
const TASK: &str = "labels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n";
const ROWS: &str = "sentence\tlabel\nfine\tgood\nfilm\tbad\n";

/// What is written into the folder, by path, what is typed, and what must come of it.
struct Bad {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    args: &'static [&'static str],
    code: i32,
    line: &'static str,
}

#[rustfmt::skip]
const CASES: &[Bad] = &[
    Bad {
        name: "no such command",
        files: &[],
        args: &["trian", "c.yaml"],
        code: 2,
        line: "error: unrecognized subcommand 'trian'",
    },
    Bad {
        name: "no config",
        files: &[],
        args: &["train"],
        code: 2,
        line: "error: the following required arguments were not provided:",
    },
    Bad {
        name: "a config that is not there",
        files: &[],
        args: &["train", "none.yaml"],
        code: 2,
        line: "covalign: none.yaml: no such file or folder",
    },
    Bad {
        name: "a folder as config",
        files: &[],
        args: &["train", "data"],
        code: 2,
        line: "covalign: data: a folder; a file is wanted",
    },
    Bad {
        name: "an unknown option",
        files: &[],
        args: &["train", "c.yaml", "--ouput", "x"],
        code: 2,
        line: "error: unexpected argument '--ouput' found",
    },
    Bad {
        name: "nothing to resume",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--resume"],
        code: 2,
        line: "covalign: x: no run to resume here (it has no config.yaml)",
    },
    Bad {
        name: "an output folder with other things in it",
        files: &[],
        args: &["train", "c.yaml", "--out", "data"],
        code: 2,
        line: "covalign: data: the folder is not empty; give another --out",
    },
    Bad {
        name: "an output folder that is a file",
        files: &[],
        args: &["train", "c.yaml", "--out", "own.yaml"],
        code: 2,
        line: "covalign: own.yaml: not a folder; give another --out",
    },
    Bad {
        name: "a run that is none",
        files: &[],
        args: &["evaluate", "data"],
        code: 2,
        line: "covalign: data: no run folder (it has no config.yaml); give what `covalign train` wrote",
    },
    Bad {
        name: "a run that is not there",
        files: &[],
        args: &["evaluate", "none"],
        code: 2,
        line: "covalign: none: no run folder (it has no config.yaml); give what `covalign train` wrote",
    },
    Bad {
        name: "predict with no run",
        files: &[],
        args: &["predict", "none", "--task", "own"],
        code: 2,
        line: "covalign: none: no run folder (it has no config.yaml); give what `covalign train` wrote",
    },
    Bad {
        name: "a report of nothing",
        files: &[],
        args: &["report", "none"],
        code: 2,
        line: "covalign: none: no such folder; give a suite's folder, or one of run folders",
    },
    Bad {
        name: "a suite that is not there",
        files: &[],
        args: &["suite", "none.yaml"],
        code: 2,
        line: "covalign: none.yaml: no such file or folder",
    },
    Bad {
        name: "a suite of more folds than memory can list",
        files: &[("s.yaml", "base: c.yaml\nfolds: 99999999999999\nexperiments: [{name: a, strategy: single}]\n")],
        args: &["suite", "s.yaml"],
        code: 2,
        line: "covalign: s.yaml: key `folds` must be from 3 to 1000: one part is test, one dev, the others train",
    },
    Bad {
        name: "a suite of more trainings than memory can list",
        files: &[("s.yaml", "base: c.yaml
grid: {training.clip_norm: [1, 2, 3, 4, 5, 6, 7, 8], training.epochs: [1, 2, 3, 4, 5, 6, 7, 8], training.batch_size: [1, 2, 3, 4, 5, 6, 7, 8]}
seeds: [1, 2, 3]
experiments: [{name: a, strategy: single, tasks: [CoLA, RTE, MRPC, STS-B, SST-2, QNLI, WNLI]}]
")],
        args: &["suite", "s.yaml"],
        code: 2,
        line: "covalign: s.yaml: experiment `a`: the suite asks for more than 10000 trainings; give its grids, seeds or tasks fewer values",
    },
    Bad {
        name: "data that are not there",
        files: &[],
        args: &["data", "check", "none"],
        code: 2,
        line: "covalign: none: no such file or folder",
    },
    Bad {
        name: "an encoder that is not there",
        files: &[],
        args: &["encoder", "inspect", "none"],
        code: 2,
        line: "covalign: encoder `none` is not in home/encoders; fetch it with `covalign encoder fetch none`, or give a folder with config.json, weights, and vocab.txt or tokenizer.json",
    },
    Bad {
        name: "an encoder's name with a path",
        files: &[],
        args: &["encoder", "fetch", "../../etc"],
        code: 2,
        line: "covalign: `../../etc` is not an encoder's name; give all-MiniLM-L6-v2, bert-base-cased, bert-base-uncased, bert-large-cased, bert-large-uncased, or org/name",
    },
    Bad {
        name: "a shard beyond the last",
        files: &[("s.yaml", "base: {tasks: [CoLA]}\nexperiments: [{name: a, strategy: single}]\n")],
        args: &["suite", "s.yaml", "--shard", "3/2"],
        code: 2,
        line: "error: invalid value '3/2' for '--shard <I/N>': write it as 2/8, the second of eight",
    },
    Bad {
        name: "a set without a value",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.seed"],
        code: 2,
        line: "covalign: --set training.seed: write it as key.path=value",
    },
    Bad {
        name: "a set of an unknown key",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.sed=1"],
        code: 2,
        line: "covalign: --set training.sed=1: key `training.sed`: unknown key `sed`; did you mean `seed`?",
    },
    Bad {
        name: "a set below a value",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.seed.x=1"],
        code: 2,
        line: "covalign: --set training.seed.x=1: key `training.seed`: invalid type: keys with values; a whole number that is not negative is wanted",
    },
    Bad {
        name: "a set that is no YAML",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "method=["],
        code: 2,
        line: "covalign: --set method=[: not a YAML value: did not find expected node content at line 2 column 1, while parsing a flow node",
    },
    Bad {
        name: "a set of another type",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.epochs=many"],
        code: 2,
        line: "covalign: --set training.epochs=many: key `training.epochs`: invalid type: string \"many\"; a number is wanted",
    },
    Bad {
        name: "a negative seed",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.seed=-1"],
        code: 2,
        line: "covalign: --set training.seed=-1: key `training.seed`: invalid value: integer `-1`; a whole number that is not negative is wanted",
    },
    Bad {
        name: "an unknown method",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "method=aligner"],
        code: 2,
        line: "covalign: --set method=aligner: key `method`: unknown value `aligner`; did you mean `aligned`?",
    },
    Bad {
        name: "a learning rate of zero",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.learning_rate=0"],
        code: 2,
        line: "covalign: c.yaml: key `training.learning_rate` must be above 0",
    },
    Bad {
        name: "a learning rate that is no number",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.learning_rate=.nan"],
        code: 2,
        line: "covalign: c.yaml: key `training.learning_rate` must be above 0",
    },
    Bad {
        name: "no epochs",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.epochs=0"],
        code: 2,
        line: "covalign: c.yaml: key `training.epochs` must be above 0",
    },
    Bad {
        name: "no batch",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.batch_size=0"],
        code: 2,
        line: "covalign: c.yaml: key `training.batch_size` must be above 0",
    },
    Bad {
        name: "a batch of 2^63",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.batch_size=9223372036854775807"],
        code: 2,
        line: "covalign: c.yaml: key `training.batch_size` must be at most 2147483647, not 9223372036854775807",
    },
    Bad {
        name: "rows too short for a pair",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.max_length=4"],
        code: 2,
        line: "covalign: c.yaml: key `training.max_length` must be at least 5",
    },
    Bad {
        name: "rows longer than the encoder's",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.max_length=17"],
        code: 2,
        line: "covalign: key `training.max_length`: 17 is more than the 16 positions of enc",
    },
    Bad {
        name: "all of the run to warm up twice",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.warmup=2"],
        code: 2,
        line: "covalign: c.yaml: key `training.warmup` is a share of the steps, from 0 to 1",
    },
    Bad {
        name: "all is dropped",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.dropout=1"],
        code: 2,
        line: "covalign: c.yaml: key `training.dropout` must lie in [0, 1)",
    },
    Bad {
        name: "an unknown precision",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.precision=fp17"],
        code: 2,
        line: "covalign: --set training.precision=fp17: key `training.precision`: unknown value `fp17`; did you mean `fp16`?",
    },
    Bad {
        name: "a device that is not there",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.device=cuda:9"],
        code: 2,
        line: "covalign: key `training.device`: `cuda:9` is not there (0 CUDA devices; libtorch's CUDA part: hidden by CUDA_VISIBLE_DEVICES); see `covalign doctor`",
    },
    Bad {
        name: "an unknown device",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.device=tpu"],
        code: 2,
        line: "covalign: key `training.device`: `tpu` is none of auto, cpu, cuda, cuda:1",
    },
    Bad {
        name: "too many threads",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.threads=4294967297"],
        code: 2,
        line: "covalign: c.yaml: key `training.threads` must be from 1 to 1024",
    },
    Bad {
        name: "a negative decay",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.weight_decay=-1"],
        code: 2,
        line: "covalign: c.yaml: key `training.weight_decay` must not be negative",
    },
    Bad {
        name: "a momentum of one",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.adam_beta1=1"],
        code: 2,
        line: "covalign: c.yaml: key `training.adam_beta1` must lie in [0, 1)",
    },
    Bad {
        name: "an unknown schedule",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.schedule=linaer"],
        code: 2,
        line: "covalign: --set training.schedule=linaer: key `training.schedule`: unknown value `linaer`; did you mean `linear`?",
    },
    Bad {
        name: "an interval that is none",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "evaluation.every=now and then"],
        code: 2,
        line: "covalign: --set evaluation.every=now and then: key `evaluation.every`: `now and then` is no interval; write `1 epoch` or `500 steps`",
    },
    Bad {
        name: "an interval of nothing",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "evaluation.every=0 steps"],
        code: 2,
        line: "covalign: --set evaluation.every=0 steps: key `evaluation.every`: `0 steps` is no interval; write `1 epoch` or `500 steps`",
    },
    Bad {
        name: "no checkpoint kept",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "checkpoints.keep=0"],
        code: 2,
        line: "covalign: c.yaml: key `checkpoints.keep` must be above 0",
    },
    Bad {
        name: "an unknown after",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "checkpoints.after=some"],
        code: 2,
        line: "covalign: --set checkpoints.after=some: key `checkpoints.after`: unknown value `some`; known are `all`, `best`, `nothing`",
    },
    Bad {
        name: "an alignment of no rank",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "alignment.rank=0"],
        code: 2,
        line: "covalign: --set alignment.rank=0: key `alignment.rank`: `0` is no rank; write `full` or a number above 0",
    },
    Bad {
        name: "an unknown strategy",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "sampling.strategy=best"],
        code: 2,
        line: "covalign: --set sampling.strategy=best: key `sampling.strategy`: unknown value `best`; known are `proportional`, `size`, `uniform`, `temperature`, `dynamic`, `annealed`",
    },
    Bad {
        name: "no tasks",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "tasks=[]"],
        code: 2,
        line: "covalign: c.yaml: key `tasks` must name at least one task",
    },
    Bad {
        name: "an unknown task",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "tasks=[CoLAA]"],
        code: 2,
        line: "covalign: unknown task `CoLAA`; did you mean `CoLA`? (or give a task's YAML file)",
    },
    Bad {
        name: "a task twice",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "tasks=[own.yaml, own.yaml]"],
        code: 2,
        line: "covalign: c.yaml: key `tasks` names `own.yaml` twice",
    },
    Bad {
        name: "a data folder that is not there",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "data=none"],
        code: 2,
        line: "covalign: none: no such folder; the key `data` names the one that holds the tasks' folders",
    },
    Bad {
        name: "an encoder that nobody has",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "encoder=bert-huge"],
        code: 2,
        line: "covalign: encoder `bert-huge` is not in home/encoders; fetch it with `covalign encoder fetch bert-huge`, or give a folder with config.json, weights, and vocab.txt or tokenizer.json",
    },
    Bad {
        name: "an encoder of an unknown kind",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "encoder={kind: gru, embeddings: enc}"],
        code: 2,
        line: "covalign: --set encoder={kind: gru, embeddings: enc}: key `encoder.kind`: unknown value `gru`; known are `lstm`, `cnn`, `mlp`, `densenet121`",
    },
    Bad {
        name: "a module without width",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "encoder={kind: lstm, width: 0, embeddings: enc}"],
        code: 2,
        line: "covalign: c.yaml: key `encoder.width` must lie from 1 to 65536",
    },
    Bad {
        name: "a start that is not there",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "start.run=none"],
        code: 2,
        line: "covalign: key `start.run`: none: no run folder (it has no config.yaml)",
    },
    Bad {
        name: "noise above one",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "label_noise={own: 2}"],
        code: 2,
        line: "covalign: c.yaml: key `label_noise` holds shares of training rows, from 0 to 1",
    },
    Bad {
        name: "a set nested too deep",
        files: &[],
        args: &["train", "c.yaml", "--out", "x", "--set", "training.seed=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["],
        code: 2,
        line: "covalign: --set training.seed=[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[:1: nested too deep; no key of covalign's lies below 100 others",
    },
    Bad {
        name: "a config that is empty",
        files: &[("c.yaml", "")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml: key `tasks` must name at least one task",
    },
    Bad {
        name: "a config with an unknown key",
        files: &[("c.yaml", "encoder: enc\ndata: data\ntasks: [own.yaml]\ntraining: {max_steps: 1, batch_size: 2, max_length: 16, threads: 1, device: cpu}\ncolour: red\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml:5: key `colour`: unknown key `colour`; known are `encoder`, `data`, `tasks`, `method`, `start`, `deduplicate`, `folds`, `label_noise`, `turned`, `alignment`, `sampling`, `weighting`, `training`, `evaluation`, `checkpoints`, `engine`, `out`",
    },
    Bad {
        name: "a config with a tab",
        files: &[("c.yaml", "encoder: enc\n\tdata: data\ntasks: [own.yaml]\ntraining: {max_steps: 1, batch_size: 2, max_length: 16, threads: 1, device: cpu}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml:2: key `encoder`: found a tab character that violates indentation",
    },
    Bad {
        name: "a config of one value",
        files: &[("c.yaml", "fine")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml:1: invalid type: string \"fine\"; keys with values are wanted",
    },
    Bad {
        name: "a key twice",
        files: &[("c.yaml", "encoder: enc\ndata: data\ntasks: [own.yaml]\ntraining: {max_steps: 1, batch_size: 2, max_length: 16, threads: 1, device: cpu}\ndata: data\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml:1: duplicate field `data`",
    },
    Bad {
        name: "a config with an unknown key below",
        files: &[("c.yaml", "encoder: enc\ndata: data\ntasks: [own.yaml]\ntraining: {max_setps: 1, batch_size: 2, max_length: 16, threads: 1, device: cpu}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: c.yaml:4: key `training.max_setps`: unknown key `max_setps`; did you mean `max_steps`?",
    },
    Bad {
        name: "one label alone",
        files: &[("own.yaml", "labels: [bad]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `labels`: needs at least two labels, or `{min: …, max: …}`, `{any_of: […]}`",
    },
    Bad {
        name: "a label twice",
        files: &[("own.yaml", "labels: [bad, bad]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `labels`: has `bad` twice",
    },
    Bad {
        name: "a range upside down",
        files: &[("own.yaml", "labels: {min: 5, max: 1}\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `labels`: 5 to 1 is not a range",
    },
    Bad {
        name: "an unknown metric",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [acuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml:2: key `metrics[0]`: unknown value `acuracy`; did you mean `accuracy`?",
    },
    Bad {
        name: "a metric for scores",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [pearson]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `metrics`: `pearson` is for a range",
    },
    Bad {
        name: "a metric twice",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [accuracy, accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `metrics`: has `accuracy` twice",
    },
    Bad {
        name: "no metrics",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: []\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: key `metrics`: needs at least one metric",
    },
    Bad {
        name: "no training file",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: key `tasks`: `own` has no training or no dev rows: it can be predicted, not trained; its file may cut dev out of `files.train` by `split: {dev: 0.1}`",
    },
    Bad {
        name: "an unknown file",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: trian.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/trian.tsv: no such file; task own reads its train split from trian.tsv in data/own or data",
    },
    Bad {
        name: "an unknown column",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentense, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:1: no column `sentense` in the header; there are `sentence`, `label`",
    },
    Bad {
        name: "a name that leads elsewhere",
        files: &[("own.yaml", "name: ../x\nlabels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: \"../x\" cannot name a task: it begins with '.', not with a letter or a digit; set `name:` in the task's file to another",
    },
    Bad {
        name: "a name with a dot",
        files: &[("own.yaml", "name: own.v2\nlabels: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml: \"own.v2\" cannot name a task: it has '.'; letters, digits, spaces, `-`, `_` and `+` are fine; set `name:` in the task's file to another",
    },
    Bad {
        name: "an unknown key of a task",
        files: &[("own.yaml", "lables: [bad, good]\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml:1: key `lables`: unknown key `lables`; did you mean `labels`?",
    },
    Bad {
        name: "an unknown loss",
        files: &[("own.yaml", "labels: [bad, good]\nloss: hinge\nmetrics: [accuracy]\nlayout: {text: sentence, label: label}\nfiles: {train: train.tsv, dev: dev.tsv}\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml:2: key `loss`: unknown value `hinge`; known are `cross_entropy`, `mean_squared_error`, `binary_cross_entropy`",
    },
    Bad {
        name: "a task nested too deep",
        files: &[("own.yaml", "labels: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: own.yaml:1: nested too deep; no key of covalign's lies below 100 others",
    },
    Bad {
        name: "no rows",
        files: &[("data/own/train.tsv", "")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv: no rows for the train split of own",
    },
    Bad {
        name: "a header alone",
        files: &[("data/own/train.tsv", "sentence\tlabel\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv: no rows for the train split of own",
    },
    Bad {
        name: "an unknown label",
        files: &[("data/own/train.tsv", "sentence\tlabel\nfine\tgood\nfilm\tbad\ngreat\tsuperb\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:4: unknown label `superb`; own's are `bad`, `good`",
    },
    Bad {
        name: "a row without a label",
        files: &[("data/own/train.tsv", "sentence\tlabel\nfine\tgood\nfilm\tbad\nalone\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:4: 1 columns, needs 2; mend the row, or set `short_rows: skip` in the task's layout",
    },
    Bad {
        name: "a row with a field too many",
        files: &[("data/own/train.tsv", "sentence\tlabel\nfine\tgood\nfilm\tbad\na\tb\tgood\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:4: 3 columns, the header has 2; mend the row (what separates columns may be in a text), or set `long_rows: skip` or `keep` in the task's layout",
    },
    Bad {
        name: "a label column twice",
        files: &[("data/own/train.tsv", "sentence\tlabel\tlabel\nfine\tgood\tbad\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:1: the header has the column `label` more than once",
    },
    Bad {
        name: "a NUL in a row",
        files: &[("data/own/train.tsv", "sentence\tlabel\nfine\tgood\nfilm\tbad\na\0b\tgood\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:4: a NUL byte; the file is damaged, or set `encoding:` (as utf-16le) in the task's layout",
    },
    Bad {
        name: "carriage returns alone",
        files: &[("data/own/train.tsv", "sentence\tlabel\rfine\tgood\rfilm\tbad\r")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.tsv:1: its lines end in carriage returns alone; end them with line feeds",
    },
    Bad {
        name: "a quote that never closes",
        files: &[("own.yaml", "labels: [bad, good]\nmetrics: [accuracy]\nlayout: {format: csv, text: sentence, label: label}\nfiles: {train: train.csv, dev: dev.csv}\n"), ("data/own/train.csv", "sentence,label\n\"fine,good\nfilm,bad\n"), ("data/own/dev.csv", "sentence,label\nfine,good\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/train.csv:2: a quote opens a field here and never closes; close it, or put the field into quotes and double the ones in it",
    },
    Bad {
        name: "a dev file that is empty",
        files: &[("data/own/dev.tsv", "sentence\tlabel\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: data/own/dev.tsv: no rows for the dev split of own",
    },
    Bad {
        name: "layers without end",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 1000000, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: num_hidden_layers is 1000000; it must lie from 1 to 1000",
    },
    Bad {
        name: "a width that is no multiple",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 33, \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: hidden_size 33 is no multiple of num_attention_heads 4",
    },
    Bad {
        name: "a negative vocabulary",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": -1}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: vocab_size is -1; it must lie from 1 to 16777216",
    },
    Bad {
        name: "another architecture",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"roberta\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: model_type is \"roberta\"; covalign fine-tunes `bert`",
    },
    Bad {
        name: "an unknown activation",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"swoosh\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: key `hidden_act`: unknown variant `swoosh`, expected one of `gelu`, `relu`, `swish`, `mish`, `gelu_new`, `tanh`, `identity`",
    },
    Bad {
        name: "more sizes than weights",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": 32, \"initializer_range\": 0.02, \"intermediate_size\": 1048576, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: its sizes come to 134226880 parameters, too many for the 90111 bytes of enc/pytorch_model.bin; they belong to different encoders, or the weights are cut off",
    },
    Bad {
        name: "a size that is a text",
        files: &[("enc/config.json", "{\"attention_probs_dropout_prob\": 0.1, \"hidden_act\": \"gelu\", \"hidden_dropout_prob\": 0.1, \"hidden_size\": \"wide\", \"initializer_range\": 0.02, \"intermediate_size\": 64, \"layer_norm_eps\": 1e-12, \"max_position_embeddings\": 16, \"model_type\": \"bert\", \"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"type_vocab_size\": 2, \"vocab_size\": 12}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json: key `hidden_size`: invalid type: string \"wide\"; a whole number is wanted",
    },
    Bad {
        name: "a config.json that is cut off",
        files: &[("enc/config.json", "{\"hidden_size\": 3")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/config.json:1: not readable as JSON (EOF while parsing an object at line 1 column 17); fetch the encoder again",
    },
    Bad {
        name: "a vocabulary that is empty",
        files: &[("enc/vocab.txt", "")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/vocab.txt: the vocabulary has no `[PAD]`; it is not BERT's",
    },
    Bad {
        name: "a vocabulary with a blank line",
        files: &[("enc/vocab.txt", "[PAD]\n\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\nFine\nfine\nfilm\n##s\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/vocab.txt:2: a blank line among 12; a token is lost or those below have moved, so fetch the vocabulary again (or write a token of no use there, such as [unused])",
    },
    Bad {
        name: "a vocabulary without [UNK]",
        files: &[("enc/vocab.txt", "[PAD]\nunk\n[CLS]\n[SEP]\n[MASK]\nA\na\nFine\nfine\nfilm\n##s\n.\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/vocab.txt: the vocabulary has no `[UNK]`; it is not BERT's",
    },
    Bad {
        name: "a vocabulary of one word more",
        files: &[("enc/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nA\na\nFine\nfine\nfilm\n##s\n.\nmore\n")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/vocab.txt: the vocabulary has 13 entries, the weights have embeddings for 12 (vocab_size in config.json); they belong to different encoders",
    },
    Bad {
        name: "a tokenizer that is a list",
        files: &[("enc/tokenizer.json", "[]")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/tokenizer.json: no JSON object, but a list or a value; fetch it again",
    },
    Bad {
        name: "a tokenizer of another kind",
        files: &[("enc/tokenizer_config.json", "{\"tokenizer_class\": \"GPT2Tokenizer\"}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/tokenizer_config.json: key `tokenizer_class`: GPT2Tokenizer cannot be read; covalign knows BertTokenizer, and tokenizer.json under PreTrainedTokenizerFast",
    },
    Bad {
        name: "a casing that is a number",
        files: &[("enc/tokenizer_config.json", "{\"do_lower_case\": 5}")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/tokenizer_config.json: key `do_lower_case`: 5 is not true or false",
    },
    Bad {
        name: "weights that are none",
        files: &[("enc/model.safetensors", "these are no weights at all................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................................")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/model.safetensors: not readable as weights (truncated or another format): its header: header too large",
    },
    Bad {
        name: "weights that are empty",
        files: &[("enc/model.safetensors", "")],
        args: &["train", "c.yaml", "--out", "x"],
        code: 2,
        line: "covalign: enc/model.safetensors: the file is empty; fetch it again",
    },
    Bad {
        name: "a study of nothing",
        files: &[("s.yaml", "base: {}\nexperiments: []\n")],
        args: &["suite", "s.yaml"],
        code: 2,
        line: "covalign: s.yaml: key `experiments` must list at least one",
    },
    Bad {
        name: "an experiment of an unknown strategy",
        files: &[("s.yaml", "base: {tasks: [CoLA]}\nexperiments: [{name: a, strategy: best}]\n")],
        args: &["suite", "s.yaml"],
        code: 2,
        line: "covalign: s.yaml:2: key `experiments[0].strategy`: unknown value `best`; known are `single`, `pair`, `all`, `stilts`, `transfer`",
    },
    Bad {
        name: "a simulation of no width",
        files: &[("sim.yaml", "d: 0\n")],
        args: &["simulate", "sim.yaml", "--out", "y"],
        code: 2,
        line: "covalign: sim.yaml: key `d`: must be between 1 and 2000",
    },
    Bad {
        name: "a config that config check refuses",
        files: &[("c.yaml", "encoder: enc\ndata: data\ntasks: [own.yaml]\ntraining: {max_steps: 0, batch_size: 2, max_length: 16, threads: 1, device: cpu}\n")],
        args: &["config", "check", "c.yaml"],
        code: 2,
        line: "covalign: c.yaml: a training config with one fault",
    },
    Bad {
        name: "lengths that no row has",
        files: &[],
        args: &["data", "stats", "data", "--encoder", "enc", "--max-length", "2"],
        code: 2,
        line: "error: invalid value '2' for '--max-length <N>': 2 is not in 3..=4294967295",
    },
    Bad {
        name: "a schema of nothing",
        files: &[],
        args: &["config", "schema", "nonsense"],
        code: 2,
        line: "error: invalid value 'nonsense' for '[KIND]'",
    },
];

/// Puts the case's files where `train` finds them.
fn lay_out(folder: &Path, case: &Bad) {
    std::fs::create_dir_all(folder.join("data/own")).unwrap();
    std::fs::create_dir(folder.join("enc")).unwrap();
    for name in [
        "config.json",
        "vocab.txt",
        "tokenizer_config.json",
        "pytorch_model.bin",
    ] {
        let from = root().join("tests/fixtures/legacy-bert").join(name);
        std::fs::copy(from, folder.join("enc").join(name)).unwrap();
    }
    let usual = [
        ("c.yaml", CONFIG),
        ("own.yaml", TASK),
        ("data/own/train.tsv", ROWS),
        ("data/own/dev.tsv", ROWS),
    ];
    for (path, content) in usual.iter().chain(case.files) {
        std::fs::write(folder.join(path), content).unwrap();
    }
}

#[test]
fn every_bad_input_is_one_line_that_says_what_where_and_what_to_do() {
    assert!(CASES.len() >= 80);
    // A process takes a quarter of a second, most of it libtorch's; two at a time.
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(case) = CASES.get(next.fetch_add(1, Ordering::SeqCst)) {
            let folder = tempfile::tempdir().unwrap();
            lay_out(folder.path(), case);
            let mut command = covalign(folder.path(), case.args);
            command
                .env("COVALIGN_HOME", "home")
                .env("HF_HUB_OFFLINE", "1");
            let output = command.output().unwrap();
            let errors = text(&output.stderr);
            let said = |line: &&str| line.starts_with("covalign:") || line.starts_with("error:");
            let lines: Vec<&str> = errors.lines().filter(said).collect();
            assert_eq!(lines.first(), Some(&case.line), "{}: {errors}", case.name);
            assert_eq!(
                output.status.code(),
                Some(case.code),
                "{}: {errors}",
                case.name
            );
            assert!(!errors.contains("panicked"), "{}: {errors}", case.name);
            assert!(!folder.path().join("x").exists(), "{}", case.name);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .for_each(|worker| worker.join().unwrap());
    });
}
