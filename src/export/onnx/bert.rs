//! BERT's forward pass as a graph, from token ids to logits.

use std::collections::BTreeMap;

use anyhow::{anyhow, Result};
use rust_bert::Activation;
use tch::Tensor;

use super::graph::{float, int, ints, Graph};
use crate::export::classifier::{Classifier, ALIGNMENT};
use crate::model::bert::config::LAYER_NORM_EPS;

/// What the graph takes, each of `[batch, sequence]` whole numbers.
pub const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];
/// What it puts out, `[batch, outputs]`.
pub const OUTPUT: &str = "logits";

/// The task's whole pass.
pub fn graph(classifier: &Classifier) -> Result<Graph> {
    let config = &classifier.config;
    let mut pass = Pass {
        graph: Graph::default(),
        tensors: &classifier.tensors,
        heads: config.num_attention_heads,
        width: config.hidden_size,
    };
    let mut x = pass.embeddings()?;
    let mask = pass.mask();
    for layer in 0..config.num_hidden_layers {
        let prefix = format!("bert.encoder.layer.{layer}");
        x = pass.layer(&prefix, &x, &mask, config.hidden_act)?;
    }
    let zero = pass.graph.constant("first", Tensor::from(0i64));
    let first = pass
        .graph
        .op("first_token", "Gather", &[&x, &zero], vec![int("axis", 1)]);
    let pooled = pass.gemm("bert.pooler.dense", &first, "bert.pooler.dense")?;
    let pooled = pass.graph.op("pooled", "Tanh", &[&pooled], vec![]);
    pass.gemm("classifier", &pooled, OUTPUT)?;
    Ok(pass.graph)
}

struct Pass<'a> {
    graph: Graph,
    tensors: &'a BTreeMap<String, Tensor>,
    heads: i64,
    width: i64,
}

impl Pass<'_> {
    fn tensor(&self, name: &str) -> Result<Tensor> {
        let tensor = self.tensors.get(name);
        Ok(tensor
            .ok_or_else(|| anyhow!("the model has no tensor `{name}`"))?
            .shallow_clone())
    }

    /// One of the model's tensors as it is.
    fn parameter(&mut self, name: &str) -> Result<String> {
        let value = self.tensor(name)?;
        Ok(self.graph.constant(name, value))
    }

    /// Word + position + segment, LayerNorm, alignment: `[batch, sequence, width]`.
    fn embeddings(&mut self) -> Result<String> {
        let table = |kind: &str| format!("bert.embeddings.{kind}_embeddings.weight");
        let words = self.parameter(&table("word"))?;
        let positions = self.parameter(&table("position"))?;
        let segments = self.parameter(&table("token_type"))?;
        let graph = &mut self.graph;
        let words = graph.op("words", "Gather", &[&words, INPUTS[0]], vec![]);
        let segments = graph.op("segments", "Gather", &[&segments, INPUTS[2]], vec![]);
        let bounds = vec![int("start", 1), int("end", 2)];
        let length = graph.op("length", "Shape", &[INPUTS[0]], bounds);
        let axis = graph.whole("axis_0", &[0]);
        let inputs = [positions.as_str(), &axis, &length, &axis];
        let positions = graph.op("positions", "Slice", &inputs, vec![]);
        let sum = graph.op("words_positions", "Add", &[&words, &positions], vec![]);
        let sum = graph.op("embedded", "Add", &[&sum, &segments], vec![]);
        let x = self.norm("bert.embeddings.LayerNorm", &sum)?;
        if !self.tensors.contains_key(ALIGNMENT) {
            return Ok(x);
        }
        let matrix = self.parameter(ALIGNMENT)?;
        Ok(self.graph.op("aligned", "MatMul", &[&x, &matrix], vec![]))
    }

    /// What is added to attention's scores: 0, and next to −∞ where the mask is 0,
    /// `[batch, 1, 1, sequence]`.
    fn mask(&mut self) -> String {
        let graph = &mut self.graph;
        let axes = graph.whole("axes_1_2", &[1, 2]);
        let (one, lowest) = (graph.number("one", 1.0), graph.number("lowest", f32::MIN));
        let mask = graph.op("mask", "Unsqueeze", &[INPUTS[1], &axes], vec![]);
        let kept = graph.op("kept", "Cast", &[&mask], vec![int("to", 1)]);
        let hidden = graph.op("hidden", "Sub", &[&one, &kept], vec![]);
        graph.op("mask_scores", "Mul", &[&hidden, &lowest], vec![])
    }

    fn norm(&mut self, prefix: &str, x: &str) -> Result<String> {
        let weight = self.parameter(&format!("{prefix}.weight"))?;
        let bias = self.parameter(&format!("{prefix}.bias"))?;
        let attributes = vec![int("axis", -1), float("epsilon", LAYER_NORM_EPS as f32)];
        let inputs = [x, &weight, &bias];
        Ok(self
            .graph
            .op(prefix, "LayerNormalization", &inputs, attributes))
    }

    /// x Wᵀ + b of states `[batch, sequence, in]`; the constant is Wᵀ.
    fn dense(&mut self, prefix: &str, x: &str) -> Result<String> {
        let name = format!("{prefix}.weight");
        let turned = self.tensor(&name)?.f_transpose(0, 1)?.f_contiguous()?;
        let weight = self.graph.constant(&name, turned);
        let bias = self.parameter(&format!("{prefix}.bias"))?;
        let graph = &mut self.graph;
        let product = graph.op(
            &format!("{prefix}.product"),
            "MatMul",
            &[x, &weight],
            vec![],
        );
        Ok(graph.op(prefix, "Add", &[&product, &bias], vec![]))
    }

    /// x Wᵀ + b of vectors `[batch, in]`.
    fn gemm(&mut self, prefix: &str, x: &str, output: &str) -> Result<String> {
        let weight = self.parameter(&format!("{prefix}.weight"))?;
        let bias = self.parameter(&format!("{prefix}.bias"))?;
        let inputs = [x, &weight, &bias];
        Ok(self
            .graph
            .op(output, "Gemm", &inputs, vec![int("transB", 1)]))
    }

    fn layer(
        &mut self,
        prefix: &str,
        x: &str,
        mask: &str,
        activation: Activation,
    ) -> Result<String> {
        let context = self.attention(&format!("{prefix}.attention.self"), x, mask)?;
        let output = format!("{prefix}.attention.output");
        let attention = self.dense(&format!("{output}.dense"), &context)?;
        let x = self.residual(&output, &attention, x)?;
        let inner = format!("{prefix}.intermediate.dense");
        let wide = self.dense(&inner, &x)?;
        let wide = self.activation(&inner, &wide, activation);
        let output = format!("{prefix}.output");
        let narrow = self.dense(&format!("{output}.dense"), &wide)?;
        self.residual(&output, &narrow, &x)
    }

    fn residual(&mut self, prefix: &str, new: &str, x: &str) -> Result<String> {
        let name = format!("{prefix}.residual");
        let sum = self.graph.op(&name, "Add", &[new, x], vec![]);
        self.norm(&format!("{prefix}.LayerNorm"), &sum)
    }

    fn attention(&mut self, prefix: &str, x: &str, mask: &str) -> Result<String> {
        let size = self.width / self.heads;
        // Batch and sequence are what they are.
        let split = self.graph.whole("split_heads", &[0, 0, self.heads, size]);
        let joined = self.graph.whole("join_heads", &[0, 0, self.width]);
        let mut parts = Vec::new();
        for (part, order) in [
            ("query", [0, 2, 1, 3]),
            ("key", [0, 2, 3, 1]),
            ("value", [0, 2, 1, 3]),
        ] {
            let name = format!("{prefix}.{part}");
            let dense = self.dense(&name, x)?;
            let heads = format!("{name}.heads");
            let heads = self.graph.op(&heads, "Reshape", &[&dense, &split], vec![]);
            let turned = format!("{name}.turned");
            let order = vec![ints("perm", &order)];
            parts.push(self.graph.op(&turned, "Transpose", &[&heads], order));
        }
        let graph = &mut self.graph;
        let scale = graph.number("scale", (1.0 / (size as f64).sqrt()) as f32);
        let mut op = |name: &str, op: &str, inputs: &[&str], attributes| {
            graph.op(&format!("{prefix}.{name}"), op, inputs, attributes)
        };
        let query = op("scaled", "Mul", &[&parts[0], &scale], vec![]);
        let scores = op("scores", "MatMul", &[&query, &parts[1]], vec![]);
        let masked = op("masked", "Add", &[&scores, mask], vec![]);
        let shares = op("shares", "Softmax", &[&masked], vec![int("axis", -1)]);
        let context = op("context", "MatMul", &[&shares, &parts[2]], vec![]);
        let order = vec![ints("perm", &[0, 2, 1, 3])];
        let context = op("rows", "Transpose", &[&context], order);
        Ok(op("joined", "Reshape", &[&context, &joined], vec![]))
    }

    fn activation(&mut self, prefix: &str, x: &str, kind: Activation) -> String {
        match kind {
            Activation::gelu => {
                let root = self
                    .graph
                    .number("sqrt_half", std::f32::consts::FRAC_1_SQRT_2);
                let scaled = self.step(prefix, "by_root", "Mul", &[x, &root]);
                let erf = self.step(prefix, "erf", "Erf", &[&scaled]);
                self.gate(prefix, x, &erf)
            }
            Activation::gelu_new => {
                let cubic = self.graph.number("gelu_cubic", 0.044715);
                let root = (2.0 / std::f64::consts::PI).sqrt() as f32;
                let root = self.graph.number("gelu_root", root);
                let square = self.step(prefix, "square", "Mul", &[x, x]);
                let cube = self.step(prefix, "cube", "Mul", &[&square, x]);
                let cube = self.step(prefix, "cubic", "Mul", &[&cube, &cubic]);
                let sum = self.step(prefix, "sum", "Add", &[x, &cube]);
                let inner = self.step(prefix, "inner", "Mul", &[&sum, &root]);
                let tanh = self.step(prefix, "tanh", "Tanh", &[&inner]);
                self.gate(prefix, x, &tanh)
            }
            Activation::relu => self.step(prefix, "relu", "Relu", &[x]),
            Activation::swish => {
                let share = self.step(prefix, "sigmoid", "Sigmoid", &[x]);
                self.step(prefix, "swish", "Mul", &[x, &share])
            }
            Activation::mish => {
                let soft = self.step(prefix, "softplus", "Softplus", &[x]);
                let share = self.step(prefix, "tanh", "Tanh", &[&soft]);
                self.step(prefix, "mish", "Mul", &[x, &share])
            }
            Activation::tanh => self.step(prefix, "tanh", "Tanh", &[x]),
            Activation::identity => x.to_owned(),
        }
    }

    /// x (1 + y) / 2.
    fn gate(&mut self, prefix: &str, x: &str, y: &str) -> String {
        let one = self.graph.number("one", 1.0);
        let half = self.graph.number("half", 0.5);
        let share = self.step(prefix, "share", "Add", &[y, &one]);
        let twice = self.step(prefix, "twice", "Mul", &[x, &share]);
        self.step(prefix, "gelu", "Mul", &[&twice, &half])
    }

    fn step(&mut self, prefix: &str, name: &str, op: &str, inputs: &[&str]) -> String {
        let name = format!("{prefix}.{name}");
        self.graph.op(&name, op, inputs, vec![])
    }
}
