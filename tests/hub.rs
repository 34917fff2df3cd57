//! `covalign encoder fetch` against a hub made of a TCP listener: what it sends, resumes, refuses.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use covalign::error::{exit_code, one_line};
use covalign::hub::fetch::{Hub, Source, Wanted, Weights};
use sha2::{Digest, Sha256};

/// How the server answers for one path.
#[derive(Clone, Default)]
struct Entry {
    status: u16,
    body: Vec<u8>,
    etag: String,
    /// Extra headers: `X-Linked-ETag`, `Location`.
    headers: Vec<(String, String)>,
    /// The first answers break off after so many bytes, one number per answer.
    cuts: Vec<usize>,
    ignores_range: bool,
    hides_length: bool,
    /// A length that is not the body's.
    claims: Option<usize>,
}

#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: HashMap<String, String>,
}

/// A server on a port of its own, which answers from a table until the test ends.
struct Server {
    address: String,
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server {
            address: format!("http://{}", listener.local_addr().unwrap()),
            entries: Arc::default(),
            requests: Arc::default(),
        };
        let (entries, requests) = (server.entries.clone(), server.requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let request = read_request(&stream);
                requests.lock().unwrap().push(request.clone());
                let mut entries = entries.lock().unwrap();
                let missing = &mut Entry {
                    status: 404,
                    ..Entry::default()
                };
                let entry = entries.get_mut(&request.path).unwrap_or(missing);
                answer(stream, &request, entry);
            }
        });
        server
    }

    fn set(&self, path: &str, entry: Entry) {
        self.entries.lock().unwrap().insert(path.into(), entry);
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Entry)) {
        change(self.entries.lock().unwrap().get_mut(path).unwrap());
    }

    fn requests(&self, path: &str) -> Vec<Request> {
        let all = self.requests.lock().unwrap();
        all.iter().filter(|r| r.path == path).cloned().collect()
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            endpoint: self.address.clone(),
            token: None,
            cache: cache.into(),
            offline: false,
            tries: 3,
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(2),
        }
    }
}

fn read_request(stream: &TcpStream) -> Request {
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let first = lines.next().unwrap_or_default();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(k, v)| (k.to_lowercase(), v.into()))
        })
        .collect();
    Request {
        path: first.split(' ').nth(1).unwrap_or_default().into(),
        headers,
    }
}

fn answer(mut stream: TcpStream, request: &Request, entry: &mut Entry) {
    let same = request
        .headers
        .get("if-range")
        .is_none_or(|etag| *etag == entry.etag);
    let start = request
        .headers
        .get("range")
        .filter(|_| same && !entry.ignores_range && entry.status == 200)
        .map(|r| {
            r.trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse::<usize>()
                .unwrap()
        });
    let (status, body) = match start {
        Some(start) if start >= entry.body.len() => (416, &[][..]),
        Some(start) => (206, &entry.body[start..]),
        None => (entry.status, &entry.body[..]),
    };
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if !entry.hides_length {
        let length = entry.claims.unwrap_or(body.len());
        head += &format!("Content-Length: {length}\r\n");
    }
    if !entry.etag.is_empty() {
        head += &format!("ETag: {}\r\n", entry.etag);
    }
    for (name, value) in &entry.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let sent = match entry.cuts.is_empty() {
        true => body.len(),
        false => entry.cuts.remove(0).min(body.len()),
    };
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    let _ = stream.write_all(&body[..sent]);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.take(1).read(&mut [0]);
}

fn file(body: impl Into<Vec<u8>>) -> Entry {
    let body = body.into();
    Entry {
        status: 200,
        etag: format!("\"{:x}\"", Sha256::digest(&body)),
        body,
        ..Entry::default()
    }
}

/// A large file as the hub serves it: with its sha256 in `X-Linked-ETag`.
fn large(body: impl Into<Vec<u8>>) -> Entry {
    let mut entry = file(body);
    entry.headers = vec![("X-Linked-ETag".into(), entry.etag.clone())];
    entry
}

const BASE: &str = "/acme/tiny/resolve/main";

fn weights() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

/// A server with a small encoder, and an empty folder for encoders and caches.
fn server_with_encoder() -> (Server, tempfile::TempDir) {
    let server = Server::start();
    server.set(
        &format!("{BASE}/config.json"),
        file(r#"{"model_type": "bert"}"#),
    );
    server.set(&format!("{BASE}/vocab.txt"), file("[PAD]\n[UNK]\n"));
    server.set(&format!("{BASE}/model.safetensors"), large(weights()));
    (server, tempfile::tempdir().unwrap())
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.into(),
        revision: "main".into(),
        weights: Weights::Auto,
        force: false,
    }
}

fn fetch(hub: &Hub, root: &Path, wanted: &Wanted) -> anyhow::Result<(PathBuf, Source)> {
    hub.fetch(wanted, &root.join("encoders"), &mut |_, _, _| {})
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_encoder_arrives_whole_and_is_not_fetched_twice() {
    let (server, root) = server_with_encoder();
    let hub = server.hub(root.path());
    let mut told = HashMap::new();
    let mut progress = |file: &str, done, total| {
        told.insert(file.to_string(), (done, total));
    };
    let encoders = root.path().join("encoders");
    let (folder, source) = hub
        .fetch(&wanted("acme/tiny"), &encoders, &mut progress)
        .unwrap();
    assert_eq!(folder, encoders.join("acme--tiny"));
    assert_eq!(source, Source::Hub);
    assert_eq!(names(&encoders), ["acme--tiny"]);
    assert_eq!(
        names(&folder),
        ["config.json", "model.safetensors", "vocab.txt"]
    );
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(told["model.safetensors"], (300_000, Some(300_000)));

    let count = server.requests.lock().unwrap().len();
    assert_eq!(
        fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap().1,
        Source::AlreadyThere
    );
    assert_eq!(server.requests.lock().unwrap().len(), count);
}

#[test]
fn a_short_name_stands_for_its_repository_and_bin_follows_safetensors() {
    let server = Server::start();
    let root = tempfile::tempdir().unwrap();
    let base = "/google-bert/bert-large-uncased/resolve/main";
    server.set(&format!("{base}/config.json"), file("{}"));
    server.set(&format!("{base}/vocab.txt"), file("[PAD]\n"));
    server.set(&format!("{base}/pytorch_model.bin"), file("bin"));
    server.set(&format!("{base}/rust_model.ot"), file("ot"));
    let hub = server.hub(root.path());
    let (folder, _) = fetch(&hub, root.path(), &wanted("bert-large-uncased")).unwrap();
    assert_eq!(folder.file_name().unwrap(), "bert-large-uncased");
    assert_eq!(
        names(&folder),
        ["config.json", "pytorch_model.bin", "vocab.txt"]
    );

    let mut rust = wanted("bert-large-uncased");
    rust.weights = Weights::Rust;
    let error = fetch(&hub, root.path(), &rust).unwrap_err();
    assert!(one_line(&error).contains("add --force"), "{error:#}");
    rust.force = true;
    fetch(&hub, root.path(), &rust).unwrap();
    assert_eq!(
        names(&folder),
        ["config.json", "rust_model.ot", "vocab.txt"]
    );
}

#[test]
fn all_that_the_repository_says_of_its_tokenizer_comes_and_vocab_txt_may_be_missing() {
    let (server, root) = server_with_encoder();
    let said = [
        "added_tokens.json",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    for name in said {
        server.set(&format!("{BASE}/{name}"), file(name));
    }
    server.change(&format!("{BASE}/vocab.txt"), |entry| entry.status = 404);
    let hub = server.hub(root.path());
    let (folder, _) = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
    let mut expected = vec!["config.json", "model.safetensors"];
    expected.extend(said);
    expected.sort();
    assert_eq!(names(&folder), expected);
    for name in said {
        assert_eq!(std::fs::read_to_string(folder.join(name)).unwrap(), name);
    }
    let again = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
    assert_eq!(again.1, Source::AlreadyThere);

    // Neither of the two that hold a vocabulary: no weights are fetched.
    std::fs::remove_dir_all(&folder).unwrap();
    let weights = format!("{BASE}/model.safetensors");
    let asked = server.requests(&weights).len();
    server.change(&format!("{BASE}/tokenizer.json"), |entry| {
        entry.status = 404
    });
    let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    let text = one_line(&error);
    assert!(
        text.contains("has no vocab.txt or tokenizer.json in acme/tiny"),
        "{text}"
    );
    assert_eq!(server.requests(&weights).len(), asked);
}

#[test]
fn a_cut_line_goes_on_where_it_broke() {
    let (server, root) = server_with_encoder();
    let path = format!("{BASE}/model.safetensors");
    server.change(&path, |entry| entry.cuts = vec![100_000, 50_000]);
    let (folder, _) = fetch(&server.hub(root.path()), root.path(), &wanted("acme/tiny")).unwrap();
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    let asked: Vec<_> = server
        .requests(&path)
        .iter()
        .map(|r| r.headers.get("range").cloned())
        .collect();
    let expected = [
        None,
        Some("bytes=100000-".into()),
        Some("bytes=150000-".into()),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn a_later_command_resumes_and_starts_anew_when_the_file_has_changed() {
    let (server, root) = server_with_encoder();
    let path = format!("{BASE}/model.safetensors");
    let mut hub = server.hub(root.path());
    hub.tries = 1;
    let cut = |entry: &mut Entry| entry.cuts = vec![120_000];
    for (change, range) in [
        (None, "bytes=120000-"),
        (Some(b"another version".to_vec()), "bytes=120000-"),
    ] {
        server.change(&path, cut);
        let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
        assert!(
            one_line(&error).contains("sent 120000 of 300000 bytes"),
            "{error:#}"
        );
        assert_eq!(names(&root.path().join("encoders")), ["acme--tiny.partial"]);
        let expected = change.clone().unwrap_or_else(weights);
        if let Some(body) = change {
            server.set(&path, large(body));
        }
        let (folder, _) = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
        assert_eq!(
            std::fs::read(folder.join("model.safetensors")).unwrap(),
            expected
        );
        assert_eq!(
            server.requests(&path).last().unwrap().headers["range"],
            range
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let (server, root) = server_with_encoder();
    server.change(&format!("{BASE}/model.safetensors"), |entry| {
        entry.cuts = vec![100_000];
        entry.ignores_range = true;
    });
    let (folder, _) = fetch(&server.hub(root.path()), root.path(), &wanted("acme/tiny")).unwrap();
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_with_the_hub() {
    let (server, root) = server_with_encoder();
    let store = Server::start();
    store.set("/blob", file(weights()));
    store.change("/blob", |entry| entry.cuts = vec![90_000]);
    let path = format!("{BASE}/model.safetensors");
    server.change(&path, |entry| {
        *entry = Entry {
            status: 302,
            body: vec![],
            ..entry.clone()
        };
        entry
            .headers
            .push(("Location".into(), format!("{}/blob", store.address)));
    });
    // The config moved within the hub: a relative address.
    let config = format!("{BASE}/config.json");
    server.set("/moved.json", file("{}"));
    server.change(&config, |entry| {
        entry.status = 307;
        entry
            .headers
            .push(("Location".into(), "/moved.json".into()));
    });
    let mut hub = server.hub(root.path());
    hub.token = Some("hf_secret".into());
    let (folder, _) = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
    assert_eq!(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        weights()
    );
    for path in [config.as_str(), "/moved.json", path.as_str()] {
        assert_eq!(
            server.requests(path)[0].headers["authorization"],
            "Bearer hf_secret"
        );
    }
    let at_store = store.requests("/blob");
    assert_eq!(at_store.len(), 2);
    assert!(at_store
        .iter()
        .all(|request| !request.headers.contains_key("authorization")));
    assert_eq!(at_store[1].headers["range"], "bytes=90000-");
}

#[test]
fn a_wrong_checksum_keeps_nothing() {
    let (server, root) = server_with_encoder();
    server.change(&format!("{BASE}/model.safetensors"), |entry| {
        entry.body[5] ^= 1
    });
    let error = fetch(&server.hub(root.path()), root.path(), &wanted("acme/tiny")).unwrap_err();
    assert!(
        one_line(&error).contains("model.safetensors: its sha256 is"),
        "{error:#}"
    );
    let partial = root.path().join("encoders/acme--tiny.partial");
    assert!(!names(&partial).iter().any(|name| name.starts_with("model")));
    assert!(!root.path().join("encoders/acme--tiny").exists());
}

#[test]
fn refusals_are_input_errors_that_say_what_to_do() {
    let (server, root) = server_with_encoder();
    let hub = server.hub(root.path());
    for status in [401, 403] {
        server.change(&format!("{BASE}/config.json"), |entry| {
            entry.status = status
        });
        let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
        assert_eq!(exit_code(&error), 2);
        let text = one_line(&error);
        assert!(
            text.contains(&format!("answers {status}")) && text.contains("set HF_TOKEN"),
            "{text}"
        );
    }
    let text = |name: &str| {
        let error = fetch(&hub, root.path(), &wanted(name)).unwrap_err();
        assert_eq!(exit_code(&error), 2);
        one_line(&error)
    };
    assert!(text("acme/absent").contains("has no config.json in acme/absent (main)"));
    assert!(text("../../etc").contains("is not an encoder's name"));
    assert!(text("a/b/c").contains("is not an encoder's name"));
    server.set(
        "/acme/gpt/resolve/main/config.json",
        file(r#"{"model_type": "gpt2"}"#),
    );
    assert!(text("acme/gpt").contains("is a `gpt2` model"));
    server.set("/acme/page/resolve/main/config.json", file("<html>"));
    assert!(text("acme/page").contains("is not JSON"));
}

#[test]
fn no_server_is_one_line_that_names_the_host() {
    let root = tempfile::tempdir().unwrap();
    // Nobody listens on the first port, and no test of this file can be given it.
    let free = "127.0.0.1:1";
    let mut hub = Server::start().hub(root.path());
    hub.endpoint = format!("http://{free}");
    let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
    let text = one_line(&error);
    assert!(
        text.contains(&format!("cannot reach {free}")) && text.contains("HTTPS_PROXY"),
        "{text}"
    );
}

/// `models--org--name` as huggingface_hub writes it: files are links into `blobs`.
fn cached_snapshot(cache: &Path) -> PathBuf {
    let model = cache.join("models--acme--tiny");
    let snapshot = model.join("snapshots/abc123");
    std::fs::create_dir_all(model.join("refs")).unwrap();
    std::fs::create_dir_all(model.join("blobs")).unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(model.join("refs/main"), "abc123").unwrap();
    for name in [
        "config.json",
        "vocab.txt",
        "added_tokens.json",
        "pytorch_model.bin",
    ] {
        std::fs::write(model.join("blobs").join(name), name).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{name}"), snapshot.join(name)).unwrap();
    }
    snapshot
}

#[test]
fn what_hugging_face_tools_have_cached_is_taken_even_offline() {
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("hub");
    let mut hub = Server::start().hub(&cache);
    hub.offline = true;
    let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    assert!(
        one_line(&error).contains("HF_HUB_OFFLINE is set"),
        "{error:#}"
    );
    assert!(names(&root.path().join("encoders")).is_empty());

    let snapshot = cached_snapshot(&cache);
    let (folder, source) = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
    assert_eq!(source, Source::Cache(snapshot));
    assert_eq!(
        names(&folder),
        [
            "added_tokens.json",
            "config.json",
            "pytorch_model.bin",
            "vocab.txt"
        ]
    );
    let weights = folder.join("pytorch_model.bin");
    assert!(!weights.is_symlink());
    assert_eq!(
        std::fs::read_to_string(weights).unwrap(),
        "pytorch_model.bin"
    );
}

#[test]
fn a_file_without_its_length_is_kept_only_where_its_hash_is_right() {
    let (server, root) = server_with_encoder();
    let config = format!("{BASE}/config.json");
    server.change(&config, |entry| entry.hides_length = true);
    let hub = server.hub(root.path());
    let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
    assert!(one_line(&error).contains("without its length"), "{error:#}");
    // git's id of `{}`, as `git hash-object` says it.
    server.change(&config, |entry| {
        entry.body = b"{}".to_vec();
        entry.etag = "\"9e26dfeeb6e641a33dae4961196235bdb965b21b\"".into();
    });
    fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap();
    let mut again = wanted("acme/tiny");
    again.force = true;
    server.change(&config, |entry| entry.body = b"[]".to_vec());
    let error = fetch(&hub, root.path(), &again).unwrap_err();
    assert!(one_line(&error).contains("its git id is"), "{error:#}");
}

#[test]
fn a_silent_or_dripping_server_ends_in_an_error() {
    let root = tempfile::tempdir().unwrap();
    for drips in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n");
                if drips {
                    std::thread::spawn(move || {
                        while stream.write_all(b" ").is_ok() {
                            std::thread::sleep(Duration::from_millis(100));
                        }
                    });
                } else {
                    held.push(stream);
                }
            }
        });
        let mut hub = Server::start().hub(root.path());
        hub.endpoint = address;
        hub.patience = Duration::from_millis(400);
        let begun = std::time::Instant::now();
        let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5), "{error:#}");
        assert!(
            one_line(&error).contains("HF_ENDPOINT") || !drips,
            "{error:#}"
        );
    }
}

#[test]
fn no_secret_is_printed_nor_sent_in_clear() {
    let (server, root) = server_with_encoder();
    let mut hub = server.hub(root.path());
    hub.token = Some("hf_secret\nX-More: 1".into());
    let error = fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err();
    assert_eq!(exit_code(&error), 2);
    let line = one_line(&error);
    assert!(
        line.contains("HF_TOKEN") && !line.contains("secret"),
        "{line}"
    );
    hub.token = None;
    hub.endpoint = "http://someone:secret@127.0.0.1:1".into();
    let line = one_line(&fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err());
    assert!(
        line.contains("127.0.0.1:1") && !line.contains("secret"),
        "{line}"
    );
    hub.endpoint = "gopher://someone:secret@127.0.0.1:1".into();
    let line = one_line(&fetch(&hub, root.path(), &wanted("acme/tiny")).unwrap_err());
    assert!(
        line.contains("is not an address") && !line.contains("secret"),
        "{line}"
    );
    use covalign::hub::http::{origin, redirected, shown};
    let clear = redirected("https://hub.example/a", "http://hub.example/b").unwrap_err();
    assert!(clear.to_string().contains("sends on to http://"), "{clear}");
    let next = redirected("https://hub.example/a", "/b").unwrap();
    assert_eq!(next, "https://hub.example/b");
    assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
    assert_eq!(
        shown("https://a:b@store.example/x?X-Signature=secret"),
        "https://store.example/x"
    );
}

#[test]
fn a_file_that_is_too_large_is_refused_before_it_comes() {
    let (server, root) = server_with_encoder();
    server.change(&format!("{BASE}/vocab.txt"), |entry| {
        entry.claims = Some(1 << 40);
    });
    let error = fetch(&server.hub(root.path()), root.path(), &wanted("acme/tiny")).unwrap_err();
    assert!(
        one_line(&error).contains("no such file has more than 64 MB"),
        "{error:#}"
    );
}
