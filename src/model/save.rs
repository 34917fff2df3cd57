//! Tensors out to safetensors files.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use safetensors::tensor::{Dtype, View};
use sha2::{Digest, Sha256};
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use crate::error::io_error;
use crate::libtorch::HostCopy;

/// A tensor's values, copied off its device: what is saved is what was there at that moment.
pub struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    copy: HostCopy,
}

impl Bytes {
    /// On a CUDA device the copy has only been asked for.
    fn new(tensor: &Tensor) -> Result<Bytes> {
        let dtype = match tensor.kind() {
            Kind::Float => Dtype::F32,
            Kind::Double => Dtype::F64,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            Kind::Int64 => Dtype::I64,
            other => anyhow::bail!("tensors of {other:?} are not saved"),
        };
        Ok(Bytes {
            dtype,
            shape: tensor.size().iter().map(|&n| n as usize).collect(),
            copy: HostCopy::of(tensor)?,
        })
    }
}

impl View for &Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.copy.bytes())
    }

    fn data_len(&self) -> usize {
        self.copy.bytes().len()
    }
}

/// All variables of a store, sorted by name.
pub fn variables(store: &VarStore) -> Vec<(String, Tensor)> {
    let mut all: Vec<_> = store.variables().into_iter().collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// Copies named tensors, all of one device.
pub fn copies(tensors: Vec<(String, Tensor)>) -> Result<Vec<(String, Bytes)>> {
    let device = tensors.first().map(|(_, tensor)| tensor.device());
    let copy = |(name, tensor): (String, Tensor)| Ok((name, Bytes::new(&tensor)?));
    let copies = tensors.into_iter().map(copy).collect();
    if let Some(Device::Cuda(index)) = device {
        tch::Cuda::synchronize(index as i64);
    }
    copies
}

/// Writes named tensors to a safetensors file that transformers reads too. The file is not whole
/// until this returns: the caller writes into a folder that it renames afterwards.
pub fn write(path: &Path, tensors: &[(String, Bytes)]) -> Result<()> {
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let views = tensors.iter().map(|(name, bytes)| (name, bytes));
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(error) => io_error(path, error),
        other => anyhow::anyhow!("{}: {other:?}", path.display()),
    })
}

/// The sha256 of a file, in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| io_error(path, e))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file
            .read(&mut buffer)
            .with_context(|| path.display().to_string())?;
        if count == 0 {
            return Ok(format!("{:x}", hash.finalize()));
        }
        hash.update(&buffer[..count]);
    }
}
