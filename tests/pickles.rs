//! PyTorch's weight files are data: whatever they ask for, nothing runs and nothing is read outside.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use covalign::model::weights;
use tch::{Kind, Tensor};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A program that makes `{"w": tensor}`, and its parts.
struct Program {
    function: &'static str,
    kind: &'static str,
    count: i32,
    offset: i32,
    size: &'static [i32],
    stride: &'static [i32],
}

/// 2 × 3 of the values 0 to 5.
const RIGHT: Program = Program {
    function: "torch._utils\n_rebuild_tensor_v2\n",
    kind: "torch\nFloatStorage\n",
    count: 6,
    offset: 0,
    size: &[2, 3],
    stride: &[3, 1],
};

fn text(text: &str) -> Vec<u8> {
    [
        b"X",
        &(text.len() as u32).to_le_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn int(number: i32) -> Vec<u8> {
    [&[b'J'][..], &number.to_le_bytes()].concat()
}

fn tuple(parts: &[Vec<u8>]) -> Vec<u8> {
    [&[b'('][..], &parts.concat(), b"t"].concat()
}

fn name(name: &str) -> Vec<u8> {
    [b"c", name.as_bytes()].concat()
}

impl Program {
    fn bytes(&self) -> Vec<u8> {
        let (key, cpu) = (text("0"), text("cpu"));
        let storage = tuple(&[text("storage"), name(self.kind), key, cpu, int(self.count)]);
        let ints = |numbers: &[i32]| tuple(&numbers.iter().map(|&n| int(n)).collect::<Vec<_>>());
        let hooks = [&name("collections\nOrderedDict\n")[..], b")R"].concat();
        let arguments = tuple(&[
            [&storage[..], b"Q"].concat(),
            int(self.offset),
            ints(self.size),
            ints(self.stride),
            vec![0x89],
            hooks,
        ]);
        let tensor = [&name(self.function)[..], &arguments, b"R"].concat();
        [&b"\x80\x02}("[..], &text("w"), &tensor, b"u."].concat()
    }
}

fn write(path: &Path, program: &[u8], values: &[u8], method: CompressionMethod) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(method);
    for (entry, bytes) in [("a/data.pkl", program), ("a/data/0", values)] {
        zip.start_file(entry, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
}

/// Six values.
fn six() -> Vec<u8> {
    (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect()
}

#[test]
fn tensors_are_what_their_program_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    write(&path, &RIGHT.bytes(), &six(), CompressionMethod::Stored);
    let read = weights::read(&path).unwrap();
    let expected = Tensor::arange(6, (Kind::Float, tch::Device::Cpu)).view([2, 3]);
    assert_eq!(read["w"], expected);
    // Turned, and from the second value on.
    let turned = Program {
        offset: 1,
        size: &[2, 2],
        stride: &[1, 3],
        ..RIGHT
    };
    write(&path, &turned.bytes(), &six(), CompressionMethod::Stored);
    let read = weights::read(&path).unwrap();
    let expected = Tensor::from_slice(&[1f32, 4.0, 2.0, 5.0]).view([2, 2]);
    assert_eq!(read["w"], expected);
}

#[test]
fn what_lies_outside_its_values_or_is_no_tensor_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let refused = |program: &[u8], values: &[u8], method, expected: &str| {
        write(&path, program, values, method);
        let error = weights::read(&path).expect_err(expected);
        assert_eq!(covalign::error::exit_code(&error), 2);
        let line = error.to_string();
        assert!(line.contains(expected), "{expected}: {line}");
    };
    let stored = CompressionMethod::Stored;
    let outside = "do not lie in 6 values";
    for (program, expected) in [
        (
            Program {
                offset: -5000,
                ..RIGHT
            },
            "-5000 where a size or an offset should be",
        ),
        (Program { offset: 1, ..RIGHT }, outside),
        (
            Program {
                stride: &[4, 1],
                ..RIGHT
            },
            outside,
        ),
        (
            Program {
                stride: &[-3, 1],
                ..RIGHT
            },
            "-3 where a size",
        ),
        (
            Program {
                stride: &[1],
                ..RIGHT
            },
            outside,
        ),
        (
            Program {
                size: &[i32::MAX, 3],
                stride: &[0, 0],
                ..RIGHT
            },
            outside,
        ),
        (Program { count: 7, ..RIGHT }, "7 values, but has 24 bytes"),
        (
            Program {
                kind: "torch\nQUInt8Storage\n",
                ..RIGHT
            },
            "torch.QUInt8Storage",
        ),
        (
            Program {
                function: "posix\nsystem\n",
                ..RIGHT
            },
            "it asks for `posix.system`",
        ),
    ] {
        refused(&program.bytes(), &six(), stored, expected);
    }
    refused(
        &RIGHT.bytes(),
        &six(),
        CompressionMethod::Deflated,
        "is compressed",
    );
    refused(
        &RIGHT.bytes(),
        &six()[..20],
        stored,
        "6 values, but has 20 bytes",
    );
    // Nested as deep as a program can, none of which may take a stack with it.
    let deep =
        |open: u8, close: u8| [vec![open; 1 << 20], vec![close; 1 << 20], b".".to_vec()].concat();
    for program in [deep(b']', b'a'), deep(b'}', b's'), deep(b'(', b't')] {
        refused(&program, b"", stored, "it ");
    }
    refused(
        &[&b")"[..], &vec![0x85; 1 << 20], b"."].concat(),
        b"",
        stored,
        "no dictionary",
    );
    // Which of two would be taken depends on who reads.
    let whole = RIGHT.bytes();
    let pair = &whole[4..whole.len() - 2];
    let twice = [&whole[..4], pair, pair, b"u."].concat();
    refused(&twice, &six(), stored, "`w` is there twice");
    let long = vec![b'N'; 5 << 20];
    refused(&long, b"", stored, "is said to have 5242880 bytes");
    // A length that the program does not have costs no memory.
    refused(b"\x80\x02X\xff\xff\xff\xff", b"", stored, "cut off");
}
