//! A graph as it grows: operations by the names of what they put out, and the constants they take.

use tch::Tensor;

use super::messages::{attribute, AttributeProto, NodeProto};

/// Operations in the order in which they are computed.
#[derive(Default)]
pub struct Graph {
    pub nodes: Vec<NodeProto>,
    /// On the CPU, in float32 or int64.
    pub constants: Vec<(String, Tensor)>,
}

impl Graph {
    /// An operation on values of these names, and the name of what it puts out.
    pub fn op(
        &mut self,
        name: &str,
        op: &str,
        inputs: &[&str],
        attributes: Vec<AttributeProto>,
    ) -> String {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|name| name.to_string()).collect(),
            output: vec![name.to_owned()],
            name: name.to_owned(),
            op_type: op.to_owned(),
            attribute: attributes,
        });
        name.to_owned()
    }

    /// A constant, and its name.
    pub fn constant(&mut self, name: &str, value: Tensor) -> String {
        if !self.constants.iter().any(|(known, _)| known == name) {
            self.constants.push((name.to_owned(), value));
        }
        name.to_owned()
    }

    /// A number, and its name.
    pub fn number(&mut self, name: &str, value: f32) -> String {
        self.constant(name, Tensor::from(value))
    }

    /// Whole numbers in a row, as shapes and axes are given, and their name.
    pub fn whole(&mut self, name: &str, values: &[i64]) -> String {
        self.constant(name, Tensor::from_slice(values))
    }
}

pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(value),
        r#type: attribute::INT,
        ..Default::default()
    }
}

pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        f: Some(value),
        r#type: attribute::FLOAT,
        ..Default::default()
    }
}

pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: values.to_vec(),
        r#type: attribute::INTS,
        ..Default::default()
    }
}
