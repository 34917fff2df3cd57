//! Any tokenizer of a `tokenizer.json`, by Hugging Face's `tokenizers`.

use anyhow::{anyhow, Result};
use tokenizers::utils::truncation::{truncate_encodings, TruncationDirection, TruncationParams};
use tokenizers::{PostProcessor, Tokenizer};

use super::Encoded;

pub struct Full {
    pub tokenizer: Tokenizer,
    /// Whether the encoder is told where the second text starts.
    pub segments: bool,
    /// Whether a text that is too long loses its beginning.
    pub cut_left: bool,
}

impl Full {
    pub fn encode(&self, a: &str, b: Option<&str>, max_length: usize) -> Result<Encoded> {
        let failed = |e: tokenizers::Error| anyhow!("a text cannot be cut into tokens: {e}");
        let bare = |text: &str| self.tokenizer.encode_fast(text, false).map_err(failed);
        let (first, second) = (bare(a)?, b.map(bare).transpose()?);
        let processor = self.tokenizer.get_post_processor();
        let special = processor.map_or(0, |p| p.added_tokens(b.is_some()));
        let tokens = first.len() + second.as_ref().map_or(0, |b| b.len());
        let cut = TruncationParams {
            max_length: max_length.saturating_sub(special),
            direction: match self.cut_left {
                true => TruncationDirection::Left,
                false => TruncationDirection::Right,
            },
            ..TruncationParams::default()
        };
        let (mut first, mut second) = truncate_encodings(first, second, &cut).map_err(failed)?;
        // What was cut off is of no use here, and costs time.
        first.take_overflowing();
        second.as_mut().map(|second| second.take_overflowing());
        let whole = self.tokenizer.post_process(first, second, true);
        let whole = whole.map_err(failed)?;
        let types = whole.get_type_ids();
        let second_segment = types.iter().position(|&id| self.segments && id != 0);
        Ok(Encoded {
            ids: whole.get_ids().iter().map(|&id| id as i32).collect(),
            second_segment_at: second_segment.unwrap_or(types.len()),
            full_length: tokens + special,
        })
    }
}
