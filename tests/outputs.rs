//! On a CPU, each thread takes batches of an evaluation by itself. How many threads there are is the process's: the
//! test is alone.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::bail;
use covalign::config::alignment::Start;
use covalign::config::{Config, Engine};
use covalign::data::{Batch, Example, TokenizedSplit, Tokenizer};
use covalign::libtorch::{self, threads};
use covalign::model::bert::Bert;
use covalign::model::{MultiTaskModel, Sharing, TaskShape};
use covalign::train::outputs::{compute, Outputs, Way};
use covalign::train::ranks::Ranks;
use covalign::train::step::precision::Arithmetic;
use tch::Device;

struct Nothing;

// SAFETY: there is nothing to read.
unsafe impl threads::Readable for Nothing {}

/// What three threads do with thirty jobs.
fn jobs_are_shared_out() {
    tch::set_num_threads(3);
    let workers = Mutex::new(BTreeSet::new());
    let job = |_: &Nothing, number: usize| {
        assert_eq!(tch::get_num_threads(), 1);
        assert_eq!(libtorch::pass_threads(), 1);
        std::thread::sleep(Duration::from_millis(2));
        let id = format!("{:?}", std::thread::current().id());
        workers.lock().unwrap().insert(id);
        Ok(number * number)
    };
    let mut results = vec![None; 30];
    let here = std::thread::current().id();
    threads::share_out(&Nothing, 30, job, |number, square| {
        assert_eq!(std::thread::current().id(), here);
        assert_eq!(results[number].replace(square), None);
        Ok(())
    })
    .unwrap();
    assert_eq!(workers.lock().unwrap().len(), 3);
    assert!((0..30).all(|number| results[number] == Some(number * number)));
    assert_eq!((tch::get_num_threads(), libtorch::pass_threads()), (3, 3));

    // An error of a job or of who takes the results ends it all before the last job.
    let failing = |_: &Nothing, number: usize| match number {
        4 => bail!("no fourth"),
        number => Ok(number),
    };
    let error = threads::share_out(&Nothing, 1 << 40, failing, |_, _| Ok(())).unwrap_err();
    assert_eq!(error.to_string(), "no fourth");
    let stopped = threads::share_out(&Nothing, 1 << 40, job, |_, _| bail!("enough")).unwrap_err();
    assert_eq!(stopped.to_string(), "enough");
    assert_eq!((tch::get_num_threads(), libtorch::pass_threads()), (3, 3));
    threads::share_out(&Nothing, 0, job, |_, _| bail!("none")).unwrap();
}

fn model(engine: Engine) -> MultiTaskModel {
    let (encoder, _) = Bert::load(&common::minilm(), None, engine, Device::Cpu, 1).unwrap();
    let task = TaskShape {
        name: "T".into(),
        outputs: 3,
        range: None,
    };
    let sharing = Sharing {
        turned: BTreeMap::new(),
        matrices: None,
        start: Start::Identity,
    };
    MultiTaskModel::new(Box::new(encoder), &[task], &sharing, 0.0, 7).unwrap()
}

/// Rows of 3 to 60 tokens, in no order.
fn rows(count: usize) -> TokenizedSplit {
    let words = ["a", "film", "that", "nobody", "will", "remember", "gladly"];
    let example = |row: usize| {
        let text = (0..1 + row * 37 % 57).map(|i| words[(row + i * i) % words.len()]);
        Example {
            text_a: text.collect::<Vec<_>>().join(" "),
            ..Example::default()
        }
    };
    let examples: Vec<Example> = (0..count).map(example).collect();
    let tokenizer = Tokenizer::from_folder(&common::minilm()).unwrap();
    TokenizedSplit::from_examples(&examples, &tokenizer, 64).unwrap()
}

fn outputs(
    model: &MultiTaskModel,
    split: &TokenizedSplit,
    batch_size: usize,
    arithmetic: Arithmetic,
) -> Outputs {
    let told = Mutex::new(0);
    let way = Way {
        batch_size,
        pad: 0,
        arithmetic,
        ranks: &Ranks::alone(),
    };
    let outputs = compute(model, (0, "T"), split, &way, &|rows| {
        *told.lock().unwrap() += rows;
        Ok(())
    })
    .unwrap();
    assert_eq!(outputs.len(), split.len());
    assert_eq!(told.into_inner().unwrap(), split.len());
    outputs
}

#[test]
fn outputs_are_each_rows_own_with_any_number_of_threads() {
    jobs_are_shared_out();
    let mut config = Config::default();
    config.training.device = "cpu".into();
    let (split, none) = (rows(90), rows(0));
    for engine in [Engine::Fast, Engine::Padded] {
        let model = model(engine);
        let arithmetic = Arithmetic::new(&config).unwrap();
        tch::set_num_threads(1);
        let alone: Vec<f32> = tch::no_grad(|| {
            let predictor = model.predictor(0).unwrap();
            let shape = model.encoder.batch_shape(0);
            let of = |row: u32| {
                let batch = Batch::collate(&split, &[row], shape, Device::Cpu).unwrap();
                Vec::<f32>::try_from(predictor.logits(&batch).unwrap().view([-1])).unwrap()
            };
            (0..split.len() as u32).flat_map(of).collect()
        });
        let one = outputs(&model, &split, 64, arithmetic);
        let is_near = |values: &[f32]| {
            let pairs = alone.iter().zip(values);
            values.len() == alone.len() && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4)
        };
        assert!(one.width == 3 && is_near(&one.values), "{engine:?}");
        tch::set_num_threads(3);
        let three = outputs(&model, &split, 64, arithmetic);
        assert_eq!(three.values, one.values, "{engine:?}");
        let in_fours = outputs(&model, &split, 4, arithmetic);
        assert!(is_near(&in_fours.values), "{engine:?}");
        assert!(outputs(&model, &none, 64, arithmetic).is_empty());
    }
}
