//! The model card: what was trained on what, how it scores, and how it is used.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::classifier::{Aligned, Classifier};
use super::{Parts, GRAPH};
use crate::config::Config;
use crate::hub::encoder_dir::WEIGHT_FILES;
use crate::model::save;
use crate::task::{Labels, Task};
use crate::train::evaluate::Scores;
use crate::train::keep::made_of::TaskContent;
use crate::train::keep::run_folder::{Results, TaskResult};

/// What a card tells of.
pub struct Card<'a> {
    pub task: &'a Task,
    /// Of the run, resolved.
    pub config: &'a Config,
    /// None where the run has not ended.
    pub results: Option<&'a Results>,
    /// The task's scores, where they are these weights'.
    pub scores: Option<&'a TaskResult>,
    /// Which weights these are, and the step that they are of.
    pub weights: (&'a str, u64),
}

impl Card<'_> {
    /// The card of a folder whose other files are there.
    pub fn text(&self, folder: &Path, classifier: &Classifier, parts: Parts) -> Result<String> {
        let mut text = String::new();
        let name = &self.task.name;
        let library = if parts.transformers {
            "transformers"
        } else {
            "onnx"
        };
        let _ = writeln!(
            text,
            "---\nlibrary_name: {library}\npipeline_tag: text-classification\ntags: [covalign]\n---\n\
             \n# {name}\n"
        );
        if !self.task.title.is_empty() {
            let _ = writeln!(text, "{}\n", self.task.title);
        }
        let tasks = self.config.tasks.join(", ");
        let _ = writeln!(
            text,
            "A BERT (`{}`) fine-tuned by covalign, method `{}`, on {tasks}; this is the head of {name}. \
             The weights are those of step {}{}.\n",
            self.config.encoder,
            self.config.method.name(),
            self.weights.1,
            match self.weights.0 {
                "best" => ", the task's best evaluation on dev",
                "overall" => ", the evaluation with the best mean over the tasks on dev",
                _ => ", the run's last checkpoint",
            }
        );
        self.outputs(&mut text);
        self.scores(&mut text);
        self.alignment(&mut text, classifier, parts);
        self.usage(&mut text, classifier, parts);
        self.origin(&mut text, folder)?;
        Ok(text)
    }

    fn outputs(&self, text: &mut String) {
        let _ = match &self.task.labels {
            Labels::Classes(names) => writeln!(
                text,
                "Outputs: a logit for each of {}; the largest is the answer.\n",
                names.names.join(", ")
            ),
            Labels::Range { min, max } => writeln!(
                text,
                "Output: one number, the score itself; covalign cuts it to the range from {min} to \
                 {max}.\n"
            ),
            Labels::AnyOf(any) => writeln!(
                text,
                "Outputs: a logit for each of {}; a label is the answer where its logit is above 0.\n",
                any.names.join(", ")
            ),
        };
    }

    fn scores(&self, text: &mut String) {
        let _ = writeln!(text, "## Scores\n");
        let Some(result) = self.scores else {
            let _ = writeln!(
                text,
                "`results.json` has none of these weights; `covalign evaluate` tells them.\n"
            );
            return;
        };
        let _ = writeln!(text, "| split | metric | value |\n|---|---|---|");
        let mut row = |split: &str, scores: &Scores| {
            for (metric, value) in &scores.metrics {
                let _ = writeln!(text, "| {split} | {metric} | {value:.4} |");
            }
        };
        row("dev", &result.dev);
        if let Some(test) = &result.test {
            row("test", test);
        }
        let of = match result.chosen_from {
            Some(chosen) => format!("of {} evaluations", chosen.evaluations),
            None => "of the run's evaluations".to_owned(),
        };
        let _ = writeln!(
            text,
            "\nDev chose: these weights are the best {of} on the dev rows that they are scored on, so the \
             dev scores are optimistic.\n"
        );
    }

    fn alignment(&self, text: &mut String, classifier: &Classifier, parts: Parts) {
        let said = match classifier.aligned {
            Aligned::No => return,
            Aligned::Folded => {
                "The task's alignment R is diagonal. It is folded into the embedding layer's LayerNorm \
                 (gain ∘ r, bias ∘ r), exactly: this is a plain BERT."
            }
            Aligned::Apart if parts.transformers => {
                "The task's alignment R, `bert.embeddings.alignment` of [hidden, hidden], stands between \
                 the embedding layer and the first layer: X R, a token's embedding being a row of X. No \
                 plain BERT can hold it, as a LayerNorm stands before it and a residual behind it: \
                 `modeling_covalign.py`, a dozen lines, multiplies with it, and `model.onnx` has it too."
            }
            Aligned::Apart => {
                "The task's alignment R stands between the embedding layer and the first layer, as a \
                 product of its own."
            }
        };
        let _ = writeln!(text, "## Alignment\n\n{said}\n");
    }

    fn usage(&self, text: &mut String, classifier: &Classifier, parts: Parts) {
        let length = self.config.training.max_length;
        let pair = match self.task.inputs() {
            2 => "\"A text.\", \"Another one.\"",
            _ => "\"A text.\"",
        };
        let _ = writeln!(text, "## Use\n\n```python");
        if parts.transformers {
            let trust = match classifier.aligned {
                Aligned::Apart => ", trust_remote_code=True",
                _ => "",
            };
            let _ = writeln!(
                text,
                "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n\
                 tokenizer = AutoTokenizer.from_pretrained(folder{trust})\n\
                 model = AutoModelForSequenceClassification.from_pretrained(folder{trust}).eval()\n\
                 rows = tokenizer({pair}, truncation=True, return_tensors=\"pt\")\n\
                 logits = model(**rows).logits"
            );
        }
        if parts.onnx {
            let _ = writeln!(
                text,
                "{}import onnxruntime\n\n\
                 session = onnxruntime.InferenceSession(folder + \"/{GRAPH}\")\n\
                 # input_ids, attention_mask and token_type_ids, int64 of [batch, sequence]\n\
                 [logits] = session.run([\"logits\"], inputs)",
                if parts.transformers { "\n" } else { "" }
            );
        }
        let _ = writeln!(
            text,
            "```\n\nTrained on rows of at most {length} tokens (`model_max_length`), of a pair the longer \
             text cut first.\n"
        );
    }

    fn origin(&self, text: &mut String, folder: &Path) -> Result<()> {
        let _ = writeln!(text, "## Where it comes from\n");
        let _ = writeln!(text, "- written by covalign {}", env!("CARGO_PKG_VERSION"));
        for name in [WEIGHT_FILES[0], GRAPH] {
            let path = folder.join(name);
            if path.is_file() {
                let _ = writeln!(text, "- {name}: sha256 {}", save::sha256(&path)?);
            }
        }
        if let Some(results) = self.results {
            let _ = writeln!(
                text,
                "- trained by covalign {} on libtorch {}, {} ({}), {} steps in {:.0} s, seed {}",
                results.version,
                results.libtorch,
                results.device,
                results.precision,
                results.steps,
                results.seconds,
                results.seed
            );
            let encoder = &results.encoder;
            let _ = writeln!(
                text,
                "- encoder {}: sha256 {}",
                encoder.name, encoder.sha256
            );
            if let Some(start) = &results.start {
                let _ = writeln!(
                    text,
                    "- started from {} ({} on {}): sha256 {}",
                    start.run,
                    start.method,
                    start.tasks.join(", "),
                    start.sha256
                );
            }
            let made_of = results.made_of.as_ref();
            for (task, content) in made_of.iter().flat_map(|made_of| &made_of.content.tasks) {
                data(text, task, content);
            }
        }
        let _ = writeln!(text, "\n```yaml\n{}```", self.config.to_yaml()?);
        Ok(())
    }
}

/// The checksums of a task's rows.
fn data(text: &mut String, task: &str, content: &TaskContent) {
    for (split, files) in &content.files {
        for file in files {
            let _ = writeln!(
                text,
                "- {task} {split} rows, {}: sha256 {}",
                file.file, file.sha256
            );
        }
    }
}
