//! Pretrained weights in any of the usual files, under one set of names.
//!
//! Hugging Face folders hold `model.safetensors` or `pytorch_model.bin`, rust-bert's resources
//! `rust_model.ot`; names come with or without the prefix `bert.`, and old ones call LayerNorm's
//! parameters `gamma` and `beta`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::pickle;
use crate::error::io_error;
use crate::hub::encoder_dir::WEIGHT_FILES;
use crate::{bail_input, input_error};

/// What loading found, besides the weights that fitted.
#[derive(Debug, Default, Clone)]
pub struct LoadReport {
    /// Tensors of the file that the encoder has no place for, such as another task's head.
    pub ignored: Vec<String>,
    /// Parameters that the file lacks and that keep their random start.
    pub fresh: Vec<String>,
}

/// The weight file in an encoder's folder.
pub fn find(folder: &Path) -> Result<PathBuf> {
    WEIGHT_FILES
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            input_error!(
                "{}: no weights; the folder needs one of {}",
                folder.display(),
                WEIGHT_FILES.join(", ")
            )
        })
}

/// All tensors of a weight file on the CPU, by rust-bert's names (`embeddings.…`,
/// `encoder.layer.0.…`, `pooler.…`); names outside BERT stay as they are.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let size = std::fs::metadata(path)
        .map_err(|e| io_error(path, e))?
        .len();
    if size == 0 {
        bail_input!("{}: the file is empty; fetch it again", path.display());
    }
    let extension = path.extension().and_then(|e| e.to_str());
    let tensors: Vec<(String, Tensor)> = match extension {
        Some("safetensors") => safetensors(path, |_| true)?,
        _ => pickle::read(path)
            .map_err(|error| unreadable(path, &format!("{error:#}")))?
            .into_iter()
            // tch's own files have bars for the dots of names.
            .map(|(name, tensor)| match extension {
                Some("ot") => (name.replace('|', "."), tensor),
                _ => (name, tensor),
            })
            .collect(),
    };
    let mut named = BTreeMap::new();
    for (name, tensor) in tensors {
        let canonical = canonical_name(&name);
        if named.insert(canonical, tensor).is_some() {
            bail_input!(
                "{}: two tensors are `{}`, with a prefix and without or by its old name; which one \
                 counts cannot be told",
                path.display(),
                canonical_name(&name)
            );
        }
    }
    Ok(named)
}

/// The one tensor of this canonical name. Of a safetensors file nothing else is read.
///
/// # Errors
/// An input error where the file has no such tensor.
pub fn read_one(path: &Path, name: &str) -> Result<Tensor> {
    let missing = || input_error!("{}: holds no tensor `{name}`", path.display());
    if path.extension().is_none_or(|e| e != "safetensors") {
        return read(path)?.remove(name).ok_or_else(missing);
    }
    let found = safetensors(path, |found| canonical_name(found) == name)?;
    let (_, tensor) = found.into_iter().next().ok_or_else(missing)?;
    Ok(tensor)
}

/// The tensors of a safetensors file whose names are wanted.
fn safetensors(path: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Tensor)>> {
    let file = std::fs::File::open(path).map_err(|e| io_error(path, e))?;
    // SAFETY: as of the token cache, nobody writes into a file of weights: they are renamed.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(|e| io_error(path, e))?;
    let all = SafeTensors::deserialize(&bytes);
    let all = all.map_err(|error| unreadable(path, &format!("its header: {error}")))?;
    let wanted = all.iter().filter(|(name, _)| is_wanted(name));
    let tensor = |(name, view): (&str, TensorView)| -> Result<(String, Tensor)> {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::I64 => Kind::Int64,
            Dtype::I32 => Kind::Int,
            Dtype::I16 => Kind::Int16,
            Dtype::I8 => Kind::Int8,
            Dtype::U8 => Kind::Uint8,
            Dtype::BOOL => Kind::Bool,
            other => bail_input!("{}: tensor `{name}` is of {other:?}", path.display()),
        };
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &size, kind)?;
        Ok((name.to_owned(), tensor))
    };
    wanted.map(tensor).collect()
}

fn unreadable(path: &Path, error: &str) -> anyhow::Error {
    let hint = match path.extension().and_then(|e| e.to_str()) {
        Some("bin" | "pt") if !starts_as_zip(path) => {
            "; a file saved before PyTorch 1.6 must be saved again, or take model.safetensors"
        }
        _ => "",
    };
    let cause = error.lines().next().unwrap_or_default();
    input_error!(
        "{}: not readable as weights (truncated or another format): {cause}{hint}",
        path.display()
    )
}

/// Whether a file is an archive, as PyTorch's are since 1.6.
fn starts_as_zip(path: &Path) -> bool {
    let mut head = [0; 2];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head == *b"PK"
}

fn canonical_name(name: &str) -> String {
    let name = name.strip_prefix("bert.").unwrap_or(name);
    if let Some(stem) = name.strip_suffix("LayerNorm.gamma") {
        return format!("{stem}LayerNorm.weight");
    }
    if let Some(stem) = name.strip_suffix("LayerNorm.beta") {
        return format!("{stem}LayerNorm.bias");
    }
    name.to_owned()
}

/// Copies the tensors of `path` into the variables of `store` that have their names.
///
/// Variables under `pooler.` may be missing; they keep their start. Any other missing variable,
/// or a shape that differs, is an error that names it.
pub fn load_into(store: &VarStore, path: &Path) -> Result<LoadReport> {
    let mut tensors = read(path)?;
    let mut report = LoadReport::default();
    let mut variables: Vec<_> = store.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, mut variable) in variables {
        let Some(tensor) = tensors.remove(&name) else {
            if name.starts_with("pooler.") {
                report.fresh.push(name);
                continue;
            }
            bail_input!(
                "{}: holds no tensor `{name}`; is it a BERT?",
                path.display()
            );
        };
        if tensor.size() != variable.size() {
            bail_input!(
                "{}: tensor `{name}` is {:?}, but config.json asks for {:?}",
                path.display(),
                tensor.size(),
                variable.size()
            );
        }
        // One that is not finite would show as a loss that is not, after the data have been read.
        if !tensor.f_sum(Kind::Double)?.double_value(&[]).is_finite() {
            bail_input!(
                "{}: tensor `{name}` holds values that are not finite; fetch the encoder again",
                path.display()
            );
        }
        tch::no_grad(|| variable.f_copy_(&tensor))
            .with_context(|| format!("{}: tensor `{name}`", path.display()))?;
    }
    // Positions 0, 1, 2, … are kept in some files; they are no weights.
    tensors.remove("embeddings.position_ids");
    report.ignored = tensors.into_keys().collect();
    Ok(report)
}
