//! Every objective as it is.

use anyhow::Result;

use super::{Seen, Weighted, Weighting};

pub(super) struct Equal {
    pub count: usize,
}

impl Weighting for Equal {
    fn weigh(&self, _: &Seen) -> Result<Weighted> {
        Ok(Weighted {
            weights: None,
            penalty: None,
        })
    }

    fn weights(&self) -> Result<Vec<f64>> {
        Ok(vec![1.0; self.count])
    }
}
