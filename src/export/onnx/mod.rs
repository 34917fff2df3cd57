//! ONNX: a task's pass as a graph that ONNX Runtime and others compute.

pub mod bert;
pub mod graph;
pub mod messages;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use prost::Message;
use tch::{Kind, Tensor};

use self::bert::{INPUTS, OUTPUT};
use self::messages::{
    element, DimensionProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::classifier::Classifier;
use crate::error::io_error;

/// LayerNormalization came with it.
const OPSET: i64 = 17;
/// The format's version that came with that.
const IR_VERSION: i64 = 8;
/// No protobuf message is larger than 2 GiB; the graph beside its constants is small.
pub const MOST_INLINE: usize = (1 << 31) - (64 << 20);

/// Writes the pass to the file `path`; constants of more than `inline` bytes in all go to a file
/// beside it, `path` with `.data`.
///
/// The file is not whole until this returns: the caller writes into a folder that it renames afterwards.
pub fn write(classifier: &Classifier, path: &Path, inline: usize) -> Result<()> {
    let graph = bert::graph(classifier)?;
    let size = |tensor: &Tensor| tensor.numel() * tensor.kind().elt_size_in_bytes();
    let total: usize = graph.constants.iter().map(|(_, value)| size(value)).sum();
    let mut beside = (total > inline).then(|| Beside::new(path)).transpose()?;
    let mut initializer = Vec::new();
    for (name, value) in &graph.constants {
        let (data_type, bytes) = bytes(value)?;
        let mut tensor = TensorProto {
            dims: value.size(),
            data_type,
            name: name.clone(),
            ..Default::default()
        };
        // Shapes stay where whoever reads the graph alone finds them.
        match &mut beside {
            Some(beside) if data_type == element::FLOAT => beside.put(&mut tensor, &bytes)?,
            _ => tensor.raw_data = bytes,
        }
        initializer.push(tensor);
    }
    beside.map(Beside::finish).transpose()?;
    let rows = ["batch", "sequence"].map(Size::Named);
    let input = INPUTS.map(|name| value(name, element::INT64, &rows));
    let outputs = [Size::Named("batch"), Size::Fixed(classifier.outputs())];
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "covalign".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        graph: Some(GraphProto {
            node: graph.nodes,
            name: "BertForSequenceClassification".into(),
            initializer,
            input: input.into(),
            output: vec![value(OUTPUT, element::FLOAT, &outputs)],
        }),
    };
    std::fs::write(path, model.encode_to_vec()).map_err(|e| io_error(path, e))
}

/// A size in a shape.
enum Size {
    Fixed(i64),
    Named(&'static str),
}

fn value(name: &str, elem_type: i32, shape: &[Size]) -> ValueInfoProto {
    let dim = shape.iter().map(|size| match *size {
        Size::Fixed(size) => DimensionProto {
            dim_value: Some(size),
            dim_param: None,
        },
        Size::Named(name) => DimensionProto {
            dim_value: None,
            dim_param: Some(name.to_owned()),
        },
    });
    let shape = Some(TensorShapeProto { dim: dim.collect() });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type, shape }),
        }),
    }
}

/// A constant's kind and its values, little-endian.
fn bytes(value: &Tensor) -> Result<(i32, Vec<u8>)> {
    let flat = value.f_contiguous()?.f_view([-1])?;
    if value.kind() == Kind::Int64 {
        let values: Vec<i64> = Vec::try_from(flat)?;
        return Ok((
            element::INT64,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ));
    }
    let mut bytes = vec![0; 4 * flat.numel()];
    flat.f_copy_data_u8(&mut bytes, flat.numel())?;
    Ok((element::FLOAT, bytes))
}

/// The file beside a graph whose constants are too large for one message.
struct Beside {
    name: String,
    file: BufWriter<File>,
    path: std::path::PathBuf,
    at: usize,
}

impl Beside {
    fn new(graph: &Path) -> Result<Beside> {
        let mut name = graph.file_name().unwrap_or_default().to_os_string();
        name.push(".data");
        let path = graph.with_file_name(&name);
        let file = File::create(&path).map_err(|e| io_error(&path, e))?;
        Ok(Beside {
            name: name.to_string_lossy().into_owned(),
            file: BufWriter::new(file),
            path,
            at: 0,
        })
    }

    fn put(&mut self, tensor: &mut TensorProto, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| io_error(&self.path, e))?;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.into(),
            value,
        };
        tensor.data_location = 1;
        tensor.external_data = vec![
            entry("location", self.name.clone()),
            entry("offset", self.at.to_string()),
            entry("length", bytes.len().to_string()),
        ];
        self.at += bytes.len();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.file.flush().map_err(|e| io_error(&self.path, e))
    }
}
