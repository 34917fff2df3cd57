//! The libFuzzer program: `COVALIGN_READER` names the reader. Its inputs are put into `corpus/` for a
//! start; see docs/fuzzing.md.

#![no_main]

mod readers;

use std::cell::OnceCell;
use std::path::Path;

use readers::{Reader, READERS};

thread_local! {
    static READER: OnceCell<Reader> = const { OnceCell::new() };
}

fn reader() -> Reader {
    let name = std::env::var("COVALIGN_READER").expect("COVALIGN_READER names a reader");
    let (_, make) = READERS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| {
            panic!(
                "no reader `{name}`; there are {:?}",
                READERS.map(|(n, _)| n)
            )
        });
    let folder = tempfile::tempdir().expect("a folder").keep();
    let reader = make(&folder);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    std::fs::create_dir_all(&corpus).expect("a corpus");
    for (number, seed) in reader.seeds.iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number}")), seed).expect("a corpus");
    }
    reader
}

libfuzzer_sys::fuzz_target!(
    init: {
        // libFuzzer's own hook ends the program also at panics that are caught.
        drop(std::panic::take_hook());
        READER.with(|reader| drop(reader.set(self::reader())))
    },
    |bytes: &[u8]| READER.with(|reader| (reader.get().expect("made").read)(bytes))
);
