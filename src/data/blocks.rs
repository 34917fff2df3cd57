//! A stream of bytes in blocks of whole lines, so that a long one needs no more memory than a short one.

use std::io::{self, Read};

/// Bytes that are asked of the stream at a time.
const READ: usize = 64 << 10;

/// What is left of a stream.
pub(super) struct Blocks {
    stream: Box<dyn Read>,
    /// Read, and not handed out yet.
    held: Vec<u8>,
    ended: bool,
}

impl Blocks {
    pub fn new(stream: Box<dyn Read>) -> Blocks {
        Blocks {
            stream,
            held: Vec::new(),
            ended: false,
        }
    }

    /// Lines of at least `size` bytes, or all that is left; none at the end.
    pub fn take(&mut self, size: usize) -> io::Result<Option<Vec<u8>>> {
        let mut looked = 0;
        loop {
            let line_end = match self.held.len() >= size {
                true => self.held[looked..].iter().rposition(|&byte| byte == b'\n'),
                false => None,
            };
            if let Some(at) = line_end {
                let rest = self.held.split_off(looked + at + 1);
                return Ok(Some(std::mem::replace(&mut self.held, rest)));
            }
            if self.held.len() >= size {
                looked = self.held.len();
            }
            if self.ended {
                let all = std::mem::take(&mut self.held);
                return Ok((!all.is_empty()).then_some(all));
            }
            self.read()?;
        }
    }

    /// Whether nothing comes any more.
    pub fn ended(&mut self) -> io::Result<bool> {
        if self.held.is_empty() && !self.ended {
            self.read()?;
        }
        Ok(self.held.is_empty())
    }

    fn read(&mut self) -> io::Result<()> {
        let mut more = self.stream.by_ref().take(READ as u64);
        self.ended = more.read_to_end(&mut self.held)? == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_whole_lines_and_all_of_them() {
        let text: String = (0..1000)
            .map(|n| format!("{}\n", "x".repeat(n % 37)))
            .collect();
        for text in [&text[..], text.trim_end(), "", "one", "\n\n"] {
            for size in [1, 7, 1000, 1 << 20] {
                let stream = io::Cursor::new(text.as_bytes().to_vec());
                let mut blocks = Blocks::new(Box::new(stream));
                let mut all = Vec::new();
                while let Some(block) = blocks.take(size).unwrap() {
                    let last = blocks.ended().unwrap();
                    assert!(last || block.len() >= size && block.ends_with(b"\n"));
                    assert!(!block.is_empty());
                    all.extend(block);
                }
                assert_eq!(all, text.as_bytes());
            }
        }
    }
}
