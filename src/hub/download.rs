//! One file over HTTP: redirects, resume, retries, size and checksum.
//!
//! The file grows as `<name>.part`; `<name>.part.etag` says which version of the remote file these
//! bytes belong to, so that a file that changed meanwhile is begun anew.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Result};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::Body;

use super::http::{agent_for, host, origin, redirected, shown};
use crate::error::io_error;
use crate::input_error;

/// How to download: with which token, and how stubbornly.
#[derive(Debug, Clone)]
pub struct Downloader {
    /// Sent as `Authorization: Bearer` to `token_origin` and to no other, by no other scheme.
    pub token: Option<String>,
    /// As [`origin`] gives it.
    pub token_origin: String,
    /// Tries in a row that may bring not a byte.
    pub tries: u32,
    /// Before the second try; doubles with every further one.
    pub pause: Duration,
    /// How long a server may be silent, or send less than [`SLOWEST`] bytes.
    pub patience: Duration,
}

/// The fewest bytes in [`Downloader::patience`] that are a download.
const SLOWEST: u64 = 4096;

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
    /// As `Transient`, and what came is no progress.
    Slow(anyhow::Error),
    Final(anyhow::Error),
}

impl Downloader {
    /// Downloads `url` to `path`, at most `most` bytes, telling `progress` the bytes so far and in all.
    ///
    /// Errors: no network, a file cut short or too large, a wrong checksum, a full disk.
    pub fn download(
        &self,
        url: &str,
        path: &Path,
        most: u64,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<Answer> {
        let part = with_suffix(path, ".part");
        let (mut fruitless, mut since) = (0, Instant::now());
        loop {
            let before = length(&part);
            let mut grows = true;
            let failure = match self.attempt(url, &part, most, progress) {
                Ok(()) => {
                    std::fs::rename(&part, path).map_err(|e| io_error(path, e))?;
                    let _ = std::fs::remove_file(with_suffix(&part, ".etag"));
                    return Ok(Answer::File);
                }
                Err(Stop::Answered(answer)) => return Ok(answer),
                Err(Stop::Final(error)) => return Err(error),
                Err(Stop::Transient(error)) => error,
                Err(Stop::Slow(error)) => {
                    grows = false;
                    error
                }
            };
            match grows && length(&part) > before {
                true => (fruitless, since) = (1, Instant::now()),
                false => fruitless += 1,
            }
            if fruitless >= self.tries || since.elapsed() >= 2 * self.patience {
                return Err(failure);
            }
            std::thread::sleep(self.pause * 2u32.pow(fruitless - 1));
        }
    }

    fn attempt(
        &self,
        url: &str,
        part: &Path,
        most: u64,
        progress: &mut dyn FnMut(u64, Option<u64>),
    ) -> Result<(), Stop> {
        let etag_file = with_suffix(part, ".etag");
        let saved = read_version(&etag_file).filter(|_| length(part) > 0);
        let have = if saved.is_some() { length(part) } else { 0 };
        let (response, linked) = self.open(url, have, saved.as_ref())?;
        let name = host(url);
        let start = match response.status().as_u16() {
            206 if saved
                .as_ref()
                .is_some_and(|version| version.linked == linked) =>
            {
                have
            }
            200 => 0,
            206 | 416 => {
                std::fs::remove_file(part).map_err(|e| Stop::Final(io_error(part, e)))?;
                let error = anyhow!("{name} cannot go on at byte {have} of {}", shown(url));
                return Err(Stop::Transient(error));
            }
            code => return Err(refusal(code, url)),
        };
        let length_left = header(&response, "Content-Length").parse::<u64>().ok();
        let total = length_left.and_then(|left| start.checked_add(left));
        let chunked = header(&response, "Transfer-Encoding").to_lowercase() == "chunked";
        let version = Version {
            etag: header(&response, "ETag"),
            linked,
        };
        write_version(&etag_file, &version).map_err(Stop::Final)?;
        let bounds = Bounds {
            total,
            most,
            patience: self.patience,
        };
        let (received, broken) = receive(response, part, start, bounds, progress)?;
        let verified = is_sha256(&version.linked) || blob_id(&version.etag).is_some();
        if total.is_none() && !verified {
            let what = format!("{name} sent {} without its length", shown(url));
            match broken {
                true => return Err(Stop::Transient(anyhow!("{what}, and the line broke"))),
                false if !chunked => {
                    return Err(Stop::Final(anyhow!(
                    "{what}, so that nobody can tell whether all of it came; set HF_ENDPOINT to \
                         another mirror"
                )))
                }
                false => (),
            }
        }
        if total.is_some_and(|total| received < total) {
            let total = total.unwrap_or_default();
            let error = anyhow!(
                "{name} sent {received} of {total} bytes of {}; type the same command again to go on",
                shown(url)
            );
            return Err(Stop::Transient(error));
        }
        match check_sha256(part, &version.linked).and_then(|()| check_blob(part, &version.etag)) {
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
    ) -> Result<(Response<Body>, String), Stop> {
        let mut url = url.to_string();
        let mut resume = saved;
        let mut linked = String::new();
        for _ in 0..10 {
            let agent = agent_for(&url, self.patience).map_err(Stop::Final)?;
            // No compression: byte positions and sizes are those of the file.
            let mut request = agent.get(&url).header("Accept-Encoding", "identity");
            if let Some(version) = resume.filter(|version| version.can_resume()) {
                request = request.header("Range", format!("bytes={have}-"));
                request = match version.is_strong() && !version.etag.is_empty() {
                    true => request.header("If-Range", &version.etag),
                    false => request,
                };
            }
            if let Some(token) = self
                .token
                .as_ref()
                .filter(|_| origin(&url) == self.token_origin)
            {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            let response = request.call().map_err(|error| no_answer(&url, error))?;
            if linked.is_empty() {
                linked = header(&response, "X-Linked-ETag");
                resume = resume.filter(|version| linked.is_empty() || version.linked == linked);
            }
            if !response.status().is_redirection() {
                return Ok((response, linked));
            }
            let location = header(&response, "Location");
            url = redirected(&url, &location).map_err(Stop::Final)?;
        }
        Err(Stop::Final(anyhow!(
            "{}: more than 10 redirects",
            shown(&url)
        )))
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

/// What a body must keep to.
struct Bounds {
    /// Bytes of the file, where the server says it.
    total: Option<u64>,
    most: u64,
    patience: Duration,
}

/// Writes a body to the file from `start` on; how far it came, and whether the line broke.
fn receive(
    response: Response<Body>,
    part: &Path,
    start: u64,
    bounds: Bounds,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<(u64, bool), Stop> {
    let disk = |error| Stop::Final(io_error(part, error));
    let total = bounds.total;
    check_room(part, start, &bounds)?;
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(start == 0)
        .open(part)
        .map_err(disk)?;
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(start)).map_err(disk)?;
    let mut body = response.into_body().into_reader();
    let mut block = vec![0; 1 << 16];
    let (mut received, mut broken) = (start, false);
    let (mut looked, mut then) = (Instant::now(), start);
    progress(received, total);
    loop {
        // A line that breaks shows as an error or as an early end; the size tells both.
        let count = match body.read(&mut block) {
            Ok(0) => break,
            Ok(count) => count,
            Err(_) => {
                broken = true;
                break;
            }
        };
        file.write_all(&block[..count]).map_err(disk)?;
        received += count as u64;
        progress(received, total);
        if received > bounds.most {
            let _ = std::fs::remove_file(part);
            return Err(too_large(part, received, bounds.most));
        }
        if looked.elapsed() >= bounds.patience {
            if received - then < SLOWEST {
                let seconds = bounds.patience.as_secs();
                return Err(Stop::Slow(anyhow!(
                    "{}: fewer than {SLOWEST} bytes came in {seconds} s; check the network, or set \
                     HF_ENDPOINT to a mirror",
                    part.with_extension("").display()
                )));
            }
            (looked, then) = (Instant::now(), received);
        }
    }
    file.sync_all().map_err(disk)?;
    Ok((received, broken))
}

/// Whether a file may have so many bytes, and the disk has room for them.
fn check_room(part: &Path, start: u64, bounds: &Bounds) -> Result<(), Stop> {
    let Some(total) = bounds.total else {
        return Ok(());
    };
    if total > bounds.most {
        return Err(too_large(part, total, bounds.most));
    }
    let folder = part.parent().unwrap_or(Path::new("."));
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if total - start > free {
        return Err(Stop::Final(anyhow!(
            "{}: {} MB are to come, and its disk has {} MB left; free some, or set COVALIGN_HOME to \
             another",
            folder.display(),
            (total - start) >> 20,
            free >> 20
        )));
    }
    Ok(())
}

fn too_large(part: &Path, bytes: u64, most: u64) -> Stop {
    Stop::Final(anyhow!(
        "{}: {bytes} bytes or more, and no such file has more than {} MB; is HF_ENDPOINT a hub?",
        part.with_extension("").display(),
        most >> 20
    ))
}

fn refusal(code: u16, url: &str) -> Stop {
    let error = anyhow!(
        "{}: {} answers {code}; try again later",
        shown(url),
        host(url)
    );
    match code {
        404 => Stop::Answered(Answer::Missing),
        401 | 403 => Stop::Answered(Answer::Denied(code)),
        408 | 429 | 500.. => Stop::Transient(error),
        _ => Stop::Final(error),
    }
}

fn no_answer(url: &str, error: ureq::Error) -> Stop {
    use ureq::Error::*;
    let name = host(url);
    match error {
        BadUri(_) | Http(_) => Stop::Final(input_error!(
            "{} is not an address; HF_ENDPOINT takes one such as https://huggingface.co",
            shown(url)
        )),
        InvalidProxyUrl | ConnectProxyFailed(_) => Stop::Final(anyhow!(
            "the proxy of HTTPS_PROXY does not let {name} through: {error}"
        )),
        Timeout(_) => Stop::Transient(anyhow!(
            "{name} does not answer; check the network, or set HF_ENDPOINT to a mirror"
        )),
        _ => Stop::Transient(anyhow!(
            "cannot reach {name} ({error}); check the network and HTTPS_PROXY, or set HF_ENDPOINT to a \
             mirror"
        )),
    }
}

/// Compares a file with a sha256 in hexadecimal; anything else than a sha256 compares nothing.
fn check_sha256(path: &Path, expected: &str) -> Result<()> {
    if !is_sha256(expected) {
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

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The id that git has for a small file, which the hub gives as its `ETag`.
fn blob_id(etag: &str) -> Option<&str> {
    let id = etag.trim_start_matches("W/").trim_matches('"');
    (id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// Compares a small file with the id that git has for it, where the server gives one.
fn check_blob(path: &Path, etag: &str) -> Result<()> {
    let Some(expected) = blob_id(etag) else {
        return Ok(());
    };
    let bytes = std::fs::read(path).map_err(|e| io_error(path, e))?;
    let head = format!("blob {}\0", bytes.len());
    let actual = Sha1::new()
        .chain_update(head)
        .chain_update(&bytes)
        .finalize();
    let actual = format!("{actual:x}");
    if actual != expected.to_lowercase() {
        bail!(
            "{}: its git id is {}… and the hub says {}…; nothing of it is kept: type the same command \
             again",
            path.with_extension("").display(),
            &actual[..12],
            &expected[..12]
        );
    }
    Ok(())
}

/// A header without the quotes that an ETag carries on the hub; empty if it is not there.
fn header(response: &Response<Body>, name: &str) -> String {
    let value = response.headers().get(name);
    let value = value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
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
