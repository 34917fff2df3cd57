//! Reading, tokenising, caching, decoding, batching, sampling over tasks.

pub mod batch;
mod blocks;
pub mod budget;
pub mod cache;
mod csv;
pub mod deal;
mod fitting;
mod ids;
pub mod images;
pub mod input;
pub mod intake;
pub mod lines;
pub mod mixed;
pub mod normalize;
pub mod overlap;
mod parquet;
pub mod planned;
pub mod read;
mod reader;
pub mod rows;
pub mod sampling;
pub mod shares;
pub mod sources;
mod stored;
pub mod tokenized;
pub mod tokenizer;

pub use crate::task::Split;
pub use batch::Batch;
pub use cache::{load_split, load_split_with};
pub use input::{Input, InputAs, InputFormat};
pub use intake::Intake;
pub use read::read_split;
pub use rows::{Example, Part, Rows, Skipped};
pub use tokenized::TokenizedSplit;
pub use tokenizer::{Encoded, Tokenizer};
