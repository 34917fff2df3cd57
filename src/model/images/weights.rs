//! torchvision's weights of a DenseNet-121, under the names that torchvision has had for them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use tch::nn::VarStore;
use tch::Tensor;

use crate::bail_input;
use crate::model::save;
use crate::model::weights::{self, LoadReport};

/// Copies the file's tensors into the variables of their names. What belongs to its classifier is
/// left out.
///
/// # Errors
/// Input errors for a file that is no safetensors, lacks a tensor, or has one of another size or with
/// values that are not finite.
pub fn load(store: &VarStore, path: &Path) -> Result<LoadReport> {
    let at = path.display();
    // PyTorch's own are programs; libtorch reads few of them.
    if path.extension().is_none_or(|e| e != "safetensors") {
        bail_input!(
            "{at}: is no safetensors file; make one of it: python scripts/to_safetensors.py {at} \
             densenet121.safetensors"
        );
    }
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in weights::read(path)? {
        let name = canonical_name(&name);
        if tensors.insert(name.clone(), tensor).is_some() {
            bail_input!("{at}: holds the tensor `{name}` under two names");
        }
    }
    for (name, mut variable) in save::variables(store) {
        let Some(tensor) = tensors.remove(&name) else {
            bail_input!("{at}: holds no tensor `{name}`; is it a DenseNet-121 of torchvision's?");
        };
        if tensor.size() != variable.size() {
            bail_input!(
                "{at}: tensor `{name}` is {:?}, but a DenseNet-121's is {:?}",
                tensor.size(),
                variable.size()
            );
        }
        tch::no_grad(|| variable.f_copy_(&tensor)).with_context(|| format!("{at}: `{name}`"))?;
        let sum = f64::try_from(variable.f_detach()?.f_sum(tch::Kind::Double)?)?;
        if !sum.is_finite() {
            bail_input!("{at}: tensor `{name}` holds values that are not finite");
        }
    }
    // How many batches the statistics are of moves nothing.
    tensors.retain(|name, _| !name.ends_with(".num_batches_tracked"));
    Ok(LoadReport {
        ignored: tensors.into_keys().collect(),
        fresh: Vec::new(),
    })
}

/// torchvision's name of today. CheXNet's has the network's and the wrapper's before it, older files
/// have `norm.1` for `norm1`.
fn canonical_name(name: &str) -> String {
    let name = name.strip_prefix("module.").unwrap_or(name);
    let name = name.strip_prefix("densenet121.").unwrap_or(name);
    match name.contains(".denselayer") {
        true => name.replace(".norm.", ".norm").replace(".conv.", ".conv"),
        false => name.to_owned(),
    }
}
