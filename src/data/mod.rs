//! Reading, tokenising, caching, batching, sampling over tasks.

pub mod batch;
pub mod sampling;

pub use batch::Batch;
pub struct TokenizedSplit;
impl TokenizedSplit {
    pub fn ids(&self, _: usize) -> &[i32] { &[] }
    pub fn second_segment_at(&self, _: usize) -> usize { 0 }
}
