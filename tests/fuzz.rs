//! Readers of outside bytes, given bytes that were changed at random: an error or a value, never a
//! panic. Seconds for all; `COVALIGN_FUZZ_SECONDS=600` gives each reader ten minutes, and
//! docs/fuzzing.md says how libFuzzer looks for bytes that reach new code.

#[path = "fuzz/readers.rs"]
mod readers;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use readers::{Reader, READERS};

const WORDS: [&str; 24] = [
    "[",
    "{",
    "]",
    "}",
    "\"",
    "-1",
    "0",
    "9223372036854775807",
    "1e999",
    ".nan",
    "null",
    "\0",
    "\n",
    "\t",
    "\r",
    "\u{feff}",
    ": ",
    "- ",
    "&a ",
    "*a",
    "!!binary ",
    "é",
    "[PAD]",
    "PK\x03\x04",
];

/// One of the seeds with a few changes.
fn draw(seeds: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds.choose(random).unwrap().clone();
    for _ in 0..random.gen_range(1..6) {
        let at = random.gen_range(0..=bytes.len());
        let end = (at + random.gen_range(0..40)).min(bytes.len());
        match random.gen_range(0..6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.gen_range(0..8),
            1 => drop(bytes.splice(at..end, WORDS.choose(random).unwrap().bytes())),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                let times = random.gen_range(1..30);
                bytes.splice(at..at, part.repeat(times));
            }
            4 => bytes.truncate(at),
            _ => {
                let other = seeds.choose(random).unwrap();
                let from = random.gen_range(0..=other.len());
                bytes.splice(at..end, other[from..].iter().take(64).copied());
            }
        }
    }
    bytes
}

/// What is wrong with reading these bytes, which are then left in a file: it panics, or takes long.
fn fault(name: &str, reader: &Reader, bytes: &[u8]) -> Option<String> {
    let begun = Instant::now();
    let done = catch_unwind(AssertUnwindSafe(|| (reader.read)(bytes)));
    let took = begun.elapsed();
    (done.is_err() || took > Duration::from_secs(10)).then(|| {
        let path = std::env::temp_dir().join(format!("covalign-fuzz-{name}"));
        std::fs::write(&path, bytes).unwrap();
        format!("{name}: panics, or takes {took:?}, at {}", path.display())
    })
}

/// Each reader, in an empty folder of its own, must be without fault.
fn each(fault: impl Fn(&str, Reader) -> Option<String>) {
    let faults = READERS.into_iter().filter_map(|(name, make)| {
        let folder = tempfile::tempdir().unwrap();
        fault(name, make(folder.path()))
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn bytes_changed_at_random() {
    let seconds = std::env::var("COVALIGN_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.4);
    let seed = match seconds > 10.0 {
        true => rand::random(),
        false => 7,
    };
    each(|name, reader| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut inputs = reader.seeds.clone();
        let (begun, mut count) = (Instant::now(), 0u64);
        while count < 10 || begun.elapsed() < Duration::from_secs_f64(seconds) {
            let bytes = inputs.pop();
            let bytes = bytes.unwrap_or_else(|| draw(&reader.seeds, &mut random));
            if let Some(fault) = fault(name, &reader, &bytes) {
                return Some(fault);
            }
            count += 1;
        }
        eprintln!("{name}: {count} inputs");
        None
    });
}

/// `tests/fuzz/found/READER/` keeps the bytes at which a reader once broke.
#[test]
fn bytes_that_were_found() {
    let found = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/found");
    each(|name, reader| {
        let files = std::fs::read_dir(found.join(name)).into_iter().flatten();
        let mut bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        bytes.find_map(|bytes| fault(name, &reader, &bytes))
    });
}
