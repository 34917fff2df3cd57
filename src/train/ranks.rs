//! Processes that train one model together, each on its part of every batch.
//!
//! A launcher starts them (`torchrun --no-python`, `srun`) and tells each its rank by environment
//! variables; PyTorch's own store, Gloo and NCCL carry what they say to each other. All plan the same
//! batches and come to the same weights, bit for bit; the first alone writes.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use serde::de::DeserializeOwned;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::launcher::{self, Place};
use crate::error::{self, Said};
use crate::libtorch::group::{Group, Meeting};

/// How long processes wait for each other to start.
const MEET: Duration = Duration::from_secs(300);

/// How long they wait in what all take part in, as PyTorch's do.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How long a process that has failed waits for the others to read why.
const FAREWELL: Duration = Duration::from_secs(2);

/// The processes of a run, seen from one of them.
pub struct Ranks {
    pub rank: usize,
    pub size: usize,
    /// None where a process trains alone.
    group: Option<Group>,
    /// What the first has told the others so far.
    told: AtomicU64,
}

/// Another process of the run has gone.
#[derive(Debug, Clone)]
pub struct Gone {
    pub why: String,
    /// What to do.
    pub then: String,
}

impl std::error::Error for Gone {}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}{}", self.why, self.then)
    }
}

impl Ranks {
    /// One process.
    pub fn alone() -> Ranks {
        Ranks {
            rank: 0,
            size: 1,
            group: None,
            told: AtomicU64::new(0),
        }
    }

    /// Meets the processes that a launcher has started, where one has, and takes the GPU of its own.
    ///
    /// # Errors
    /// Input errors for a launcher's variables that say no place; an error where the others do not come.
    pub fn join() -> Result<Ranks> {
        match Place::of_environment()? {
            Some(place) => {
                launcher::take_device(place.local)?;
                Ranks::at(&place)
            }
            None => Ok(Ranks::alone()),
        }
    }

    /// Meets the others as the process at `place`.
    ///
    /// # Errors
    /// Where the others do not come.
    pub fn at(place: &Place) -> Result<Ranks> {
        let (rank, size) = (place.rank, place.size);
        let met = Group::join(&Meeting {
            host: &place.host,
            port: place.port,
            name: &place.name,
            serves: place.serves,
            rank,
            size,
            meet: MEET,
            patience: PATIENCE,
        });
        let met = met.with_context(|| {
            let (host, port) = (&place.host, place.port);
            format!("rank {rank} of {size} does not meet the others at {host}:{port}")
        })?;
        Ok(Ranks {
            rank,
            size,
            group: Some(met),
            told: AtomicU64::new(0),
        })
    }

    /// Whether this process writes and speaks for all.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// What the first process works out, told to all.
    ///
    /// # Errors
    /// The first's own; that it has gone.
    pub fn first<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let Some(group) = &self.group else {
            return work();
        };
        let key = format!("told/{}", self.told.fetch_add(1, Ordering::Relaxed));
        if self.is_first() {
            let value = work()?;
            group
                .set(&key, &serde_json::to_vec(&value)?)
                .map_err(gone)?;
            return Ok(value);
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(value) = group.get(&key).map_err(gone)? {
                return Ok(serde_json::from_slice(&value)?);
            }
            if let Some(fault) = group.get(&fault_key(0)).map_err(gone)? {
                return Err(gone(anyhow!(String::from_utf8_lossy(&fault).into_owned())));
            }
            sleep(Duration::from_millis(10));
        }
        Err(gone(anyhow!("the first has said nothing for {PATIENCE:?}")))
    }

    /// This process's part of a batch: like numbers of rows for all, with like sums of lengths; in any
    /// order. None where there are fewer rows than processes.
    pub fn part<T: Copy>(&self, rows: &[T], length: impl Fn(&T) -> usize) -> Vec<T> {
        match self.size {
            1 => rows.to_vec(),
            size => part(rows, length, self.rank, size),
        }
    }

    /// Puts into each tensor the sum of what all processes have there; nobody waits for a device.
    ///
    /// # Errors
    /// That another has gone.
    pub fn sum<'a>(&self, tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
        match &self.group {
            Some(group) => group.sum(tensors).map_err(gone),
            None => Ok(()),
        }
    }

    /// Whether `flag` is true in any of them.
    pub fn any(&self, flag: bool) -> Result<bool> {
        if self.group.is_none() {
            return Ok(flag);
        }
        let flag = Tensor::from(f32::from(u8::from(flag)));
        self.sum([&flag])?;
        Ok(f32::try_from(flag)? > 0.0)
    }

    /// Waits for all.
    pub fn meet(&self) -> Result<()> {
        self.any(false).map(|_| ())
    }

    /// Compares a number that all must have, such as a sum of `what`.
    ///
    /// # Errors
    /// That another process has another.
    pub fn check_same(&self, number: f64, what: &str) -> Result<()> {
        if self.group.is_none() {
            return Ok(());
        }
        let all = Tensor::f_zeros([self.size as i64], (Kind::Double, Device::Cpu))?;
        let _ = all.f_narrow(0, self.rank as i64, 1)?.f_fill_(number)?;
        self.sum([&all])?;
        let all: Vec<f64> = Vec::try_from(all)?;
        match all.iter().position(|x| x.to_bits() != all[0].to_bits()) {
            Some(rank) => bail!(
                "rank {rank} has other {what} than rank 0: the processes' machines or data differ"
            ),
            None => Ok(()),
        }
    }

    /// At a run's end: tells the others of a failure, so that one of them says it.
    pub fn end<T>(&self, done: Result<T>) -> Result<T> {
        let (Some(group), Err(failure)) = (&self.group, &done) else {
            return done;
        };
        let gone = gone_of(failure);
        let own = match gone {
            Some(_) => String::new(),
            None => error::one_line(failure),
        };
        let _ = group.set(&fault_key(self.rank), own.as_bytes());
        let start = Instant::now();
        let mut others: Vec<usize> = (0..self.size).filter(|&rank| rank != self.rank).collect();
        // Who offers the store may be the one that has gone.
        let mut listens = true;
        while listens && start.elapsed() < FAREWELL && !others.is_empty() {
            let mut said = None;
            others.retain(|&rank| {
                let fault = group.get(&fault_key(rank));
                listens &= fault.is_ok();
                let fault = fault.ok().flatten();
                let fault = fault.map(|text| String::from_utf8_lossy(&text).into_owned());
                let there = fault.is_some();
                if let Some(fault) = fault.filter(|fault| !fault.is_empty()) {
                    said = said.take().or(Some((rank, fault)));
                }
                !there
            });
            if let Some((rank, fault)) = said {
                // Of what all fail by, the first tells; of what one fails by, that one.
                let theirs = own.is_empty() || (rank == 0 && fault == own);
                if theirs && !self.is_first() {
                    return Err(anyhow::Error::new(Said(error::exit_code(failure))));
                }
                if let Some(Gone { then, .. }) = gone {
                    let why = format!("rank {rank} has failed ({fault})");
                    let then = then.clone();
                    return Err(anyhow::Error::new(Gone { why, then }));
                }
            }
            sleep(Duration::from_millis(20));
        }
        match self.is_first() {
            true => done,
            false => done.with_context(|| format!("rank {}", self.rank)),
        }
    }
}

/// Where a failure is another process's: what was saved is whole.
pub fn gone_of(error: &anyhow::Error) -> Option<&Gone> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

/// The part of `rows` that a process of `size` has.
fn part<T: Copy>(rows: &[T], length: impl Fn(&T) -> usize, rank: usize, size: usize) -> Vec<T> {
    let mut longest_first = rows.to_vec();
    longest_first.sort_by_key(|row| std::cmp::Reverse(length(row)));
    // Dealt to and fro, so that no process has the longer row each time.
    let rounds = longest_first.chunks(size).enumerate();
    let own = rounds.filter_map(|(round, rows)| match round % 2 {
        0 => rows.get(rank),
        _ => rows.get(size - 1 - rank),
    });
    own.copied().collect()
}

fn fault_key(rank: usize) -> String {
    format!("fault/{rank}")
}

fn gone(error: anyhow::Error) -> anyhow::Error {
    let text = error.to_string();
    // Gloo says so of a process that was killed, in its own words and with its file and line.
    let lost = [
        "onnection closed",
        "onnection reset",
        "Broken pipe",
        "recvBytes",
        "sendBytes",
    ];
    let why = match lost.iter().any(|words| text.contains(words)) {
        true => "its connection is closed".to_owned(),
        false => text,
    };
    anyhow::Error::new(Gone {
        why: format!("another process of the run has ended ({why})"),
        then: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_dealt_in_like_numbers_and_lengths() {
        let lengths: Vec<usize> = (0..33).map(|i| (i * 37) % 101 + 3).collect();
        let of = |rank| part(&lengths, |&length| length, rank, 4);
        let parts: Vec<Vec<usize>> = (0..4).map(of).collect();
        let mut all = parts.concat();
        let mut expected = lengths.clone();
        all.sort_unstable();
        expected.sort_unstable();
        assert_eq!(all, expected);
        let full = parts.iter().map(|part| part[..8].iter().sum::<usize>());
        let (least, most) = (full.clone().min().unwrap(), full.max().unwrap());
        assert!(most - least <= 16, "{least} to {most}");
        assert!(parts.iter().all(|part| (8..=9).contains(&part.len())));
        // Fewer rows than processes.
        assert!(part(&[5usize, 7], |&length| length, 2, 3).is_empty());
    }
}
