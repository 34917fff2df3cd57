//! Reading, tokenising, caching, batching, sampling over tasks.

pub mod batch;
pub mod budget;
pub mod cache;
pub mod deal;
pub mod lines;
pub mod mixed;
pub mod normalize;
pub mod overlap;
pub mod planned;
pub mod read;
pub mod sampling;
pub mod shares;
pub mod sources;
pub mod tokenized;
pub mod tokenizer;

pub use crate::task::Split;
pub use batch::Batch;
pub use cache::{load_split, load_split_with};
pub use read::{read_input, read_split, Example, Part, Rows, Skipped};
pub use tokenized::TokenizedSplit;
pub use tokenizer::{Encoded, Tokenizer};
