//! PyTorch's weight files, read without running or believing them.
//!
//! `pytorch_model.bin` and rust-bert's `rust_model.ot` are zip archives: `data.pkl`, a program for a
//! stack machine that puts tensors together, and their values under `data/`. Python would run
//! whatever the program names, and libtorch believes offsets, sizes and strides. Here the program can
//! make nothing but dictionaries of tensors, and each tensor lies within its values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use anyhow::{anyhow, bail, ensure, Context, Result};
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

/// The largest program; that of BERT-large has 60 KB.
const MOST_PROGRAM: u64 = 4 << 20;
/// The longest name. What a program names again and again is copied each time.
const MOST_NAME: usize = 1000;
/// The most dimensions of a tensor.
const MOST_DIMENSIONS: usize = 16;

/// All tensors of a file on the CPU, by the names that the file has for them.
///
/// # Errors
/// Where it is cut off, asks for anything but tensors, or has one that lies outside its values.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let mut archive = Archive::open(path)?;
    let program = archive.entry("data.pkl", MOST_PROGRAM)?;
    let mut storages = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in Machine::run(&program)? {
        let storage = match storages.get(&view.storage) {
            Some(storage) => storage,
            None => {
                let values = archive.values(&view.storage)?;
                storages.entry(view.storage.clone()).or_insert(values)
            }
        };
        let tensor = view.of(storage).with_context(|| format!("`{name}`"))?;
        ensure!(
            tensors.insert(name.clone(), tensor).is_none(),
            "`{name}` is there twice"
        );
    }
    ensure!(!tensors.is_empty(), "there are no tensors in it");
    Ok(tensors)
}

/// Runs a program alone and forgets what it makes: what a test gives changed programs.
pub fn read_program(program: &[u8]) {
    let _ = Machine::run(program);
}

/// The zip archive around program and values, which PyTorch does not compress.
struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// The folder that all entries lie in.
    prefix: String,
    bytes: u64,
}

impl Archive {
    fn open(path: &Path) -> Result<Archive> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let zip = ZipArchive::new(BufReader::new(file))?;
        let of_program = |name: Cow<str>| Some(name.strip_suffix("/data.pkl")?.to_owned());
        let prefix = zip.file_names().flatten().find_map(of_program);
        let prefix = prefix.context("there is no data.pkl in it")?;
        Ok(Archive { zip, prefix, bytes })
    }

    /// An entry's bytes, at most `most` of them.
    fn entry(&mut self, name: &str, most: u64) -> Result<Vec<u8>> {
        let name = format!("{}/{name}", self.prefix);
        let entry = self.zip.by_name(&name);
        let entry = entry.with_context(|| format!("its entry {name}"))?;
        let size = entry.size();
        let stored = entry.compression() == CompressionMethod::Stored;
        ensure!(
            stored,
            "its entry {name} is compressed, as PyTorch's never are"
        );
        ensure!(
            size <= most.min(self.bytes),
            "its entry {name} is said to have {size} bytes"
        );
        let mut bytes = Vec::with_capacity(size as usize);
        let read = entry.take(size).read_to_end(&mut bytes);
        read.with_context(|| format!("its entry {name}"))?;
        ensure!(bytes.len() as u64 == size, "its entry {name} is cut off");
        Ok(bytes)
    }

    /// All values of a storage, `[count]`.
    fn values(&mut self, storage: &Storage) -> Result<Tensor> {
        let bytes = self.entry(&format!("data/{}", storage.key), self.bytes)?;
        let width = storage.kind.elt_size_in_bytes() as u64;
        ensure!(
            storage.count.checked_mul(width) == Some(bytes.len() as u64),
            "data/{} is to have {} values, but has {} bytes",
            storage.key,
            storage.count,
            bytes.len()
        );
        let count = [storage.count as i64];
        Ok(Tensor::f_from_data_size(&bytes, &count, storage.kind)?)
    }
}

/// Values that tensors lie in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Storage {
    key: String,
    kind: Kind,
    count: u64,
}

/// A tensor: where in a storage its values are.
#[derive(Debug, Clone)]
struct View {
    storage: Storage,
    offset: u64,
    size: Vec<u64>,
    stride: Vec<u64>,
}

impl View {
    /// The tensor in its storage's values.
    fn of(&self, values: &Tensor) -> Result<Tensor> {
        let whole = |numbers: &[u64]| -> Vec<i64> { numbers.iter().map(|&n| n as i64).collect() };
        self.check()?;
        let (size, stride) = (whole(&self.size), whole(&self.stride));
        Ok(values.f_as_strided(&size, &stride, Some(self.offset as i64))?)
    }

    /// Whether all of it lies in its storage, which libtorch does not ask.
    fn check(&self) -> Result<()> {
        let product = self
            .size
            .iter()
            .try_fold(1, |all: u64, &n| all.checked_mul(n));
        let mut steps = self.size.iter().zip(&self.stride);
        let last = steps.try_fold(self.offset, |last, (&n, &stride)| {
            last.checked_add(stride.checked_mul(n.saturating_sub(1))?)
        });
        let fits = self.size.len() == self.stride.len()
            && product.is_some_and(|product| product <= self.storage.count)
            && (product == Some(0) || last.is_some_and(|last| last < self.storage.count));
        ensure!(
            fits,
            "size {:?}, strides {:?} and offset {} do not lie in {} values",
            self.size,
            self.stride,
            self.offset,
            self.storage.count
        );
        Ok(())
    }
}

/// What the program makes. Others are named by their place among all of them, so that nothing is
/// nested here however deep the program nests it.
#[derive(Debug, Clone)]
enum Value {
    /// What weights need not: numbers with a point, `None`.
    Nothing,
    Flag,
    Int(i64),
    Text(String),
    /// A name of Python's, `module.name`.
    Name(String),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    /// Keys and values in turn; also an object's attributes.
    Dict(Vec<usize>),
    Storage(Storage),
    Tensor(Box<View>),
}

/// The stack machine.
struct Machine<'a> {
    program: &'a [u8],
    values: Vec<Value>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
}

impl<'a> Machine<'a> {
    /// The named tensors that a program makes.
    fn run(program: &'a [u8]) -> Result<Vec<(String, View)>> {
        let mut machine = Machine {
            program,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        };
        while machine.step()? {}
        let top = machine.pop()?;
        let Value::Dict(entries) = &machine.values[top] else {
            bail!("it holds no dictionary of tensors");
        };
        let named = entries.chunks_exact(2).map(|pair| {
            let name = machine.text(pair[0])?.to_owned();
            match &machine.values[pair[1]] {
                Value::Tensor(view) => Ok((name, View::clone(view))),
                _ => bail!("`{name}` is no tensor; save the model's state_dict alone"),
            }
        });
        named.collect()
    }

    /// Does one operation; whether there are more.
    fn step(&mut self) -> Result<bool> {
        let operation = self.bytes(1)?[0];
        match operation {
            0x80 => drop(self.bytes(1)?),
            0x95 => drop(self.bytes(8)?),
            b'.' => return Ok(false),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::Nothing),
            b'G' => {
                self.bytes(8)?;
                self.push(Value::Nothing);
            }
            0x88 | 0x89 => self.push(Value::Flag),
            b'J' => {
                let number = i32::from_le_bytes(self.bytes(4)?.try_into()?);
                self.push(Value::Int(number.into()));
            }
            b'K' => {
                let number = self.bytes(1)?[0];
                self.push(Value::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.bytes(2)?.try_into()?);
                self.push(Value::Int(number.into()));
            }
            0x8a => {
                let number = self.long()?;
                self.push(Value::Int(number));
            }
            b'X' => self.text_of(4)?,
            b'U' | 0x8c => self.text_of(1)?,
            0x8d => self.text_of(8)?,
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push(Value::Name(name));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = format!("{}.{}", self.text(module)?, self.text(name)?);
                self.push(Value::Name(name));
            }
            b'}' => self.push(Value::Dict(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(operation - 0x84));
                let parts = self
                    .stack
                    .split_off(at.context("it takes what is not there")?);
                self.push(Value::Tuple(parts));
            }
            b't' => {
                let parts = self.since_mark()?;
                self.push(Value::Tuple(parts));
            }
            b'a' => {
                let part = self.pop()?;
                self.extend(vec![part])?;
            }
            b'e' => {
                let parts = self.since_mark()?;
                self.extend(parts)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![key, value])?;
            }
            b'u' => {
                let parts = self.since_mark()?;
                self.extend(parts)?;
            }
            b'q' => {
                let at = self.bytes(1)?[0];
                self.keep(at.into())?;
            }
            b'r' => {
                let at = u32::from_le_bytes(self.bytes(4)?.try_into()?);
                self.keep(at)?;
            }
            0x94 => self.keep(self.memo.len() as u32)?,
            b'h' => {
                let at = self.bytes(1)?[0];
                self.recall(at.into())?;
            }
            b'j' => {
                let at = u32::from_le_bytes(self.bytes(4)?.try_into()?);
                self.recall(at)?;
            }
            b'Q' => self.storage()?,
            b'R' => self.call()?,
            0x81 => self.object()?,
            b'b' => self.attributes()?,
            other => bail!("its data.pkl has the operation 0x{other:02x}, which no weights need"),
        }
        Ok(true)
    }

    /// A reference to values: `("storage", torch.FloatStorage, key, device, count)`.
    fn storage(&mut self) -> Result<()> {
        let reference = self.pop()?;
        let parts = self.tuple(reference)?;
        ensure!(
            parts.len() == 5 && self.text(parts[0])? == "storage",
            "it refers to what is no storage"
        );
        let Value::Name(kind) = &self.values[parts[1]] else {
            bail!("it has a storage of no kind");
        };
        let kind = match kind.as_str() {
            "torch.FloatStorage" => Kind::Float,
            "torch.DoubleStorage" => Kind::Double,
            "torch.HalfStorage" => Kind::Half,
            "torch.BFloat16Storage" => Kind::BFloat16,
            "torch.LongStorage" => Kind::Int64,
            "torch.IntStorage" => Kind::Int,
            "torch.ShortStorage" => Kind::Int16,
            "torch.CharStorage" => Kind::Int8,
            "torch.ByteStorage" => Kind::Uint8,
            "torch.BoolStorage" => Kind::Bool,
            other => bail!("it has a `{other}`, which cannot be read"),
        };
        let storage = Storage {
            key: self.text(parts[2])?.to_owned(),
            kind,
            count: self.count(parts[4])?,
        };
        self.push(Value::Storage(storage));
        Ok(())
    }

    /// Calls one of the functions that tensors are made by.
    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let arguments = self.tuple(arguments)?.to_vec();
        let Value::Name(function) = &self.values[function] else {
            bail!("it calls what is no function");
        };
        let made = match (function.as_str(), &arguments[..]) {
            ("torch._utils._rebuild_tensor_v2", [storage, offset, size, stride, ..]) => {
                let Value::Storage(storage) = &self.values[*storage] else {
                    bail!("it has a tensor without a storage");
                };
                Value::Tensor(Box::new(View {
                    storage: storage.clone(),
                    offset: self.count(*offset)?,
                    size: self.counts(*size)?,
                    stride: self.counts(*stride)?,
                }))
            }
            ("torch._utils._rebuild_parameter", [tensor, ..]) => self.values[*tensor].clone(),
            ("collections.OrderedDict", []) => Value::Dict(Vec::new()),
            _ => bail!("it asks for `{function}`; only tensors are read"),
        };
        self.push(made);
        Ok(())
    }

    /// An object of TorchScript's, which has no code here.
    fn object(&mut self) -> Result<()> {
        let (_, class) = (self.pop()?, self.pop()?);
        match &self.values[class] {
            Value::Name(class) if class.starts_with("__torch__.") => {
                self.push(Value::Dict(Vec::new()));
                Ok(())
            }
            _ => bail!("it asks for an object; only tensors are read"),
        }
    }

    /// Gives an object its attributes. Those of a dictionary (`_metadata`) say nothing of weights.
    fn attributes(&mut self) -> Result<()> {
        let state = self.pop()?;
        let object = *self.stack.last().context("it takes what is not there")?;
        let Value::Dict(attributes) = &mut self.values[state] else {
            bail!("it has an object without attributes");
        };
        let attributes = std::mem::take(attributes);
        match &mut self.values[object] {
            Value::Dict(own) if own.is_empty() => *own = attributes,
            Value::Dict(_) => (),
            _ => bail!("it asks for an object; only tensors are read"),
        }
        Ok(())
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let found = self.program.split_at_checked(count);
        let (bytes, rest) = found.context("its data.pkl is cut off")?;
        self.program = rest;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.program.iter().position(|&byte| byte == b'\n');
        let line = self.bytes(end.context("its data.pkl is cut off")?)?;
        self.bytes(1)?;
        Ok(std::str::from_utf8(line)?)
    }

    /// A text whose length is a number of so many bytes.
    fn text_of(&mut self, width: usize) -> Result<()> {
        let mut length = [0; 8];
        length[..width].copy_from_slice(self.bytes(width)?);
        let length = usize::try_from(u64::from_le_bytes(length))?;
        let text = std::str::from_utf8(self.bytes(length)?)?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn long(&mut self) -> Result<i64> {
        let width = usize::from(self.bytes(1)?[0]);
        let bytes = self.bytes(width)?;
        ensure!(width <= 8, "it has a number of {width} bytes");
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut whole = if negative { [0xff; 8] } else { [0; 8] };
        whole[..width].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(whole))
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<usize> {
        self.stack.pop().context("it takes what is not there")
    }

    fn since_mark(&mut self) -> Result<Vec<usize>> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        Ok(self
            .stack
            .split_off(mark.context("it takes what is not there")?))
    }

    /// Adds to the list or dictionary on top.
    fn extend(&mut self, parts: Vec<usize>) -> Result<()> {
        let top = *self.stack.last().context("it takes what is not there")?;
        match &mut self.values[top] {
            Value::List(all) | Value::Dict(all) => all.extend(parts),
            _ => bail!("it adds to what is no list"),
        }
        Ok(())
    }

    fn keep(&mut self, at: u32) -> Result<()> {
        let top = *self.stack.last().context("it takes what is not there")?;
        self.memo.insert(at, top);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<()> {
        let kept = self.memo.get(&at).context("it takes what is not there")?;
        self.stack.push(*kept);
        Ok(())
    }

    fn text(&self, at: usize) -> Result<&str> {
        match &self.values[at] {
            Value::Text(text) if text.len() <= MOST_NAME => Ok(text),
            _ => Err(anyhow!("it has something else where a name should be")),
        }
    }

    fn tuple(&self, at: usize) -> Result<&[usize]> {
        match &self.values[at] {
            Value::Tuple(parts) => Ok(parts),
            _ => Err(anyhow!("it has something else where a tuple should be")),
        }
    }

    fn count(&self, at: usize) -> Result<u64> {
        match &self.values[at] {
            Value::Int(number) => u64::try_from(*number)
                .map_err(|_| anyhow!("it has {number} where a size or an offset should be")),
            _ => Err(anyhow!("it has something else where a number should be")),
        }
    }

    fn counts(&self, at: usize) -> Result<Vec<u64>> {
        let parts = self.tuple(at)?;
        ensure!(
            parts.len() <= MOST_DIMENSIONS,
            "it has a tensor of {} dimensions",
            parts.len()
        );
        parts.iter().map(|&part| self.count(part)).collect()
    }
}
