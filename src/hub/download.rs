//! One file over HTTP: redirects, resume, retries, size and checksum.
//!
//! The file grows as `<name>.part`; `<name>.part.etag` says which version of the remote file these
//! bytes belong to, so that a file that changed meanwhile is begun anew.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail, Result};
use sha2::{Digest, Sha256};
use ureq::Response;

use super::http::{absolute, agent_for, host};
use crate::error::io_error;
use crate::input_error;

/// How to download: with which token, and how stubbornly.
#[derive(Debug, Clone)]
pub struct Downloader {
    /// Sent as `Authorization: Bearer` to `token_host` and to no other host.
    pub token: Option<String>,
    pub token_host: String,
    /// Tries in a row that may bring not a byte.
    pub tries: u32,
    /// Before the second try; doubles with every further one.
    pub pause: Duration,
}

/// What a server answered to a request for a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The file is there, whole, with the size and checksum that the server gave.
    File,
    /// 404.
    Missing,
    /// 401 or 403.
    Denied(u16),
}

/// Which version of the remote file a partial file belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Version {
    /// The `ETag` of the host that sent the bytes.
    etag: String,
    /// The hub's `x-linked-etag`: the sha256 of a large file.
    linked: String,
}

/// Why a try ended without the file.
enum Stop {
    Answered(Answer),
    /// Worth another try.
    Transient(anyhow::Error),
    Final(anyhow::Error),
}

impl Downloader {
    /// Downloads `url` to `path`, telling `progress` the bytes so far and in all.
    ///
    /// Errors: no network, a file cut short, a wrong checksum, a full disk.
    pub fn download(
        &self,
        url: &str,
        path: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Answer> {
        let part = with_suffix(path, ".part");
        let mut fruitless = 0;
        loop {
            let before = length(&part);
            let failure = match self.attempt(url, &part, progress) {
                Ok(()) => {
                    std::fs::rename(&part, path).map_err(|e| io_error(path, e))?;
                    let _ = std::fs::remove_file(with_suffix(&part, ".etag"));
                    return Ok(Answer::File);
                }
                Err(Stop::Answered(answer)) => return Ok(answer),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Transient(error)) => error,
            };
            fruitless = match length(&part) > before {
                true => 1,
                false => fruitless + 1,
            };
            if fruitless >= self.tries {
                return Err(failure);
            }
            std::thread::sleep(self.pause * 2u32.pow(fruitless - 1));
        }
    }

    fn attempt(
        &self,
        url: &str,
        part: &Path,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Stop> {
        let etag_file = with_suffix(part, ".etag");
        let saved = read_version(&etag_file).filter(|_| length(part) > 0);
        let have = if saved.is_some() { length(part) } else { 0 };
        let (response, linked) = self.open(url, have, saved.as_ref())?;
        let name = host(url);
        let start = match response.status() {
            206 if saved
                .as_ref()
                .is_some_and(|version| version.linked == linked) =>
            {
                have
            }
            200 => 0,
            206 | 416 => {
                std::fs::remove_file(part).map_err(|e| Stop::Final(io_error(part, e)))?;
                let error = anyhow!("{name} cannot go on at byte {have} of {url}");
                return Err(Stop::Transient(error));
            }
            code => return Err(refusal(code, url)),
        };
        let length_left = header(&response, "Content-Length").parse::<u64>().ok();
        let total = length_left.map(|left| start + left);
        let version = Version {
            etag: header(&response, "ETag"),
            linked,
        };
        write_version(&etag_file, &version).map_err(Stop::Final)?;
        let received = receive(response, part, start, total, progress)?;
        if total.is_some_and(|total| received < total) {
            let total = total.unwrap_or_default();
            let error = anyhow!(
                "{name} sent {received} of {total} bytes of {url}; type the same command again to go on"
            );
            return Err(Stop::Transient(error));
        }
        match check_sha256(part, &version.linked) {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = std::fs::remove_file(part);
                let _ = std::fs::remove_file(&etag_file);
                // Bytes of two downloads may not fit together: then all of it once more.
                Err(match start {
                    0 => Stop::Final(error),
                    _ => Stop::Transient(error),
                })
            }
        }
    }

    /// Follows redirects to the response with the body; also the hub's sha256, if it gave one.
    fn open(
        &self,
        url: &str,
        have: u64,
        saved: Option<&Version>,
    ) -> Result<(Response, String), Stop> {
        let mut url = url.to_string();
        let mut resume = saved;
        let mut linked = String::new();
        for _ in 0..10 {
            let agent = agent_for(&url).map_err(Stop::Final)?;
            // No compression: byte positions and sizes are those of the file.
            let mut request = agent.get(&url).set("Accept-Encoding", "identity");
            if let Some(version) = resume.filter(|version| version.can_resume()) {
                request = request.set("Range", &format!("bytes={have}-"));
                request = match version.is_strong() && !version.etag.is_empty() {
                    true => request.set("If-Range", &version.etag),
                    false => request,
                };
            }
            if let Some(token) = self
                .token
                .as_ref()
                .filter(|_| host(&url) == self.token_host)
            {
                request = request.set("Authorization", &format!("Bearer {token}"));
            }
            let response = match request.call() {
                Ok(response) | Err(ureq::Error::Status(_, response)) => response,
                Err(ureq::Error::Transport(error)) => return Err(unreachable_host(&url, error)),
            };
            if linked.is_empty() {
                linked = header(&response, "X-Linked-ETag");
                resume = resume.filter(|version| linked.is_empty() || version.linked == linked);
            }
            if !(300..400).contains(&response.status()) {
                return Ok((response, linked));
            }
            url = absolute(&url, &header(&response, "Location"));
        }
        Err(Stop::Final(anyhow!("{url}: more than 10 redirects")))
    }
}

impl Version {
    fn is_strong(&self) -> bool {
        !self.etag.starts_with("W/")
    }

    /// Whether a server's answer to `Range` can be trusted to continue this version.
    fn can_resume(&self) -> bool {
        !self.linked.is_empty() || (self.is_strong() && !self.etag.is_empty())
    }
}

fn receive(
    response: Response,
    part: &Path,
    start: u64,
    total: Option<u64>,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<u64, Stop> {
    let disk = |error| Stop::Final(io_error(part, error));
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(start == 0)
        .open(part)
        .map_err(disk)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).map_err(disk)?;
    let mut body = response.into_reader();
    let mut block = vec![0; 1 << 16];
    let mut received = start;
    progress(received, total);
    loop {
        // A line that breaks shows as an error or as an early end; the size tells both.
        let count = match body.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        file.write_all(&block[..count]).map_err(disk)?;
        received += count as u64;
        progress(received, total);
    }
    file.sync_all().map_err(disk)?;
    Ok(received)
}

fn refusal(code: u16, url: &str) -> Stop {
    let error = anyhow!("{url}: {} answers {code}; try again later", host(url));
    match code {
        404 => Stop::Answered(Answer::Missing),
        401 | 403 => Stop::Answered(Answer::Denied(code)),
        408 | 429 | 500.. => Stop::Transient(error),
        _ => Stop::Final(error),
    }
}

fn unreachable_host(url: &str, error: ureq::Transport) -> Stop {
    use ureq::ErrorKind::*;
    let name = host(url);
    let why = error.message().unwrap_or("no answer").to_string();
    match error.kind() {
        InvalidUrl | UnknownScheme => Stop::Final(input_error!(
            "{url} is not an address; HF_ENDPOINT takes one such as https://huggingface.co"
        )),
        InvalidProxyUrl | ProxyConnect | ProxyUnauthorized => {
            Stop::Final(anyhow!("the proxy of HTTPS_PROXY does not let {name} through: {why}"))
        }
        _ => Stop::Transient(anyhow!(
            "cannot reach {name} ({why}); check the network and HTTPS_PROXY, or set HF_ENDPOINT to a \
             mirror"
        )),
    }
}

/// Compares a file with a sha256 in hexadecimal; anything else than a sha256 compares nothing.
fn check_sha256(path: &Path, expected: &str) -> Result<()> {
    if expected.len() != 64 {
        return Ok(());
    }
    let mut file = File::open(path).map_err(|e| io_error(path, e))?;
    let mut digest = Sha256::new();
    std::io::copy(&mut file, &mut digest).map_err(|e| io_error(path, e))?;
    let actual = format!("{:x}", digest.finalize());
    if actual != expected {
        bail!(
            "{}: its sha256 is {}… and the hub says {}…; nothing of it is kept: type the same command \
             again",
            path.with_extension("").display(),
            &actual[..12],
            &expected[..12]
        );
    }
    Ok(())
}

/// A header without the quotes that an ETag carries on the hub; empty if it is not there.
fn header(response: &Response, name: &str) -> String {
    let value = response.header(name).unwrap_or_default();
    match name {
        "X-Linked-ETag" => value.trim_matches('"').to_lowercase(),
        _ => value.to_string(),
    }
}

fn read_version(path: &Path) -> Option<Version> {
    let text = std::fs::read_to_string(path).ok()?;
    let (etag, linked) = text.split_once('\n')?;
    Some(Version {
        etag: etag.to_string(),
        linked: linked.trim_end().to_string(),
    })
}

fn write_version(path: &Path, version: &Version) -> Result<()> {
    let text = format!("{}\n{}\n", version.etag, version.linked);
    std::fs::write(path, text).map_err(|e| io_error(path, e))
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |data| data.len())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}
