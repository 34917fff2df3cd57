"""Files from a Python package index: found, downloaded with resume, checked.

`Index` knows where pip would look; `fetch` puts one wheel on disk. Everything that can go wrong is
a `Failure` whose text is one line that says what to do. Standard library only.
"""

import base64
import contextlib
import hashlib
import html.parser
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ATTEMPTS = 5
PAUSE = 1.0
CHUNK = 1 << 18
TIMEOUT = 60  # seconds without a byte
AGAIN = "then type the same command again: it goes on where it stopped"


class Failure(Exception):
    """What went wrong and what to do, in one line."""


class Wheel:
    """One file of an index: its name, address, sha256 and, where the index says, size in bytes."""

    def __init__(self, filename, url, sha256, size=None):
        self.filename, self.url, self.sha256, self.size = filename, url, sha256, size


class Index:
    """The package index that pip is set to use, with pip's certificate and proxy."""

    def __init__(self):
        settings = pip_settings()
        first = settings.get("index-url", "https://pypi.org/simple")
        self.urls = [first] + settings.get("extra-index-url", "").split()
        context = ssl.create_default_context()
        with contextlib.suppress(ImportError, OSError):
            from pip._vendor import certifi

            context.load_verify_locations(certifi.where())
        if settings.get("cert"):
            try:
                context.load_verify_locations(settings["cert"])
            except OSError as error:
                raise Failure("pip's certificate file %s: %s" % (settings["cert"], error))
        handlers = [urllib.request.HTTPSHandler(context=context)]
        if settings.get("proxy"):
            proxy = settings["proxy"]
            handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
        self.opener = urllib.request.build_opener(*handlers)

    def open(self, url, headers):
        """A response; a name and password in `url` are sent to its host and not onwards."""
        parts = urllib.parse.urlsplit(url)
        request = urllib.request.Request(url, headers=headers)
        if parts.username:
            host = parts.netloc.rpartition("@")[2]
            request = urllib.request.Request(parts._replace(netloc=host).geturl(), headers=headers)
            names = [urllib.parse.unquote(n or "") for n in (parts.username, parts.password)]
            token = base64.b64encode(":".join(names).encode()).decode()
            request.add_unredirected_header("Authorization", "Basic " + token)
        return self.opener.open(request, timeout=TIMEOUT)

    def find(self, package, version, suits):
        """The wheel of `package` at `version` whose file name `suits`; the first in sorted order."""
        start = "%s-%s-" % (package.replace("-", "_"), version)
        for base in self.urls:
            url = "%s/%s/" % (base.rstrip("/"), package)
            wheels = [w for w in self.listing(url) if w.filename.startswith(start)]
            wheels = [w for w in wheels if w.filename.endswith(".whl") and suits(w.filename)]
            if wheels:
                return min(wheels, key=lambda w: w.filename)
        where = " ".join(map(without_password, self.urls))
        raise Failure(
            "%s has no wheel of %s %s for this machine; set PIP_INDEX_URL to an index that has it,"
            " such as https://pypi.org/simple" % (where, package, version)
        )

    def listing(self, url):
        accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
        for attempt in range(ATTEMPTS):
            try:
                with self.open(url, {"Accept": accept}) as response:
                    text = response.read().decode("utf-8", "replace")
                    is_json = "json" in response.headers.get("Content-Type", "")
                return files_of_json(text, url) if is_json else files_of_html(text, url)
            except (OSError, http.client.HTTPException, ValueError) as error:
                if getattr(error, "code", None) == 404:
                    return []
                if not wait_to_retry(error, attempt):
                    raise Failure(unreachable(url, error))


def pip_settings():
    """pip's settings, its environment variables included: `{"index-url": "https://…"}`."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Failure(
            "%s has no pip; install it (Debian, Ubuntu: sudo apt install python3-pip; elsewhere:"
            " python3 -m ensurepip), then type the same command again" % sys.executable
        )
    found = re.findall(r"(?m)^(global|install|:env:)\.([\w-]+)='(.*)'$", done.stdout)
    order = ["global", "install", ":env:"]
    return {key: value for _, key, value in sorted(found, key=lambda f: order.index(f[0]))}


def files_of_json(text, url):
    """The files of a page of the JSON simple API (PEP 691)."""
    for file in json.loads(text)["files"]:
        if not file.get("yanked"):
            address = urllib.parse.urljoin(url, file["url"])
            yield Wheel(file["filename"], address, file["hashes"].get("sha256"), file.get("size"))


def files_of_html(text, url):
    """The files of a page of the HTML simple API (PEP 503)."""

    class Links(html.parser.HTMLParser):
        found = []

        def handle_starttag(self, tag, attributes):
            attributes = dict(attributes)
            if tag == "a" and attributes.get("href") and "data-yanked" not in attributes:
                self.found.append(urllib.parse.urljoin(url, attributes["href"]))

    links = Links()
    links.feed(text)
    for link in links.found:
        address, _, fragment = link.partition("#")
        sha256 = urllib.parse.parse_qs(fragment).get("sha256", [None])[0]
        name = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rpartition("/")[2])
        yield Wheel(name, address, sha256)


def fetch(index, wheel, folder, label):
    """Puts `wheel` into `folder`, going on from `<name>.part`; returns its path."""
    path = os.path.join(folder, wheel.filename)
    part = path + ".part"
    if os.path.exists(path):
        return path
    if not wheel.sha256:
        raise Failure(
            "the index gives no sha256 for %s; set PIP_INDEX_URL to one that does, such as"
            " https://pypi.org/simple" % wheel.filename
        )
    resumed = os.path.exists(part)
    receive(index, wheel, part, label)
    actual = sha256_of(part)
    if actual != wheel.sha256:
        os.remove(part)
        if resumed:
            return fetch(index, wheel, folder, label)
        raise Failure(
            "%s: its sha256 is %s… and the index says %s…; nothing of it is kept: type the same"
            " command again, or set PIP_INDEX_URL to another index"
            % (wheel.filename, actual[:12], wheel.sha256[:12])
        )
    os.rename(part, path)
    return path


def receive(index, wheel, part, label):
    """Downloads the rest of `part`; tries again as long as every try brings something."""
    attempt = 0
    while True:
        have = os.path.getsize(part) if os.path.exists(part) else 0
        if wheel.size is not None and have >= wheel.size:
            return
        try:
            with index.open(wheel.url, {"Range": "bytes=%d-" % have} if have else {}) as response:
                if response.status != 206:
                    have = 0
                length = response.headers.get("Content-Length")
                total = have + int(length) if length else wheel.size
                append(response, part, have, total, label)
            return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                return  # nothing is left to send: the checksum tells whether it is the file
            if error.errno == 28:
                raise Failure("no space left for %s; free some, %s" % (part, AGAIN))
            failure = error
        except http.client.HTTPException as error:
            failure = error
        now = os.path.getsize(part) if os.path.exists(part) else 0
        attempt = 0 if now > have else attempt + 1
        if not wait_to_retry(failure, attempt):
            raise Failure(unreachable(wheel.url, failure))


def append(response, part, have, total, label):
    progress = Progress(label, have, total)
    with open(part, "r+b" if have else "wb") as file:
        file.seek(have)
        file.truncate()
        while True:
            block = response.read(CHUNK)
            if not block:
                break
            file.write(block)
            progress.advance(len(block))
    if total is not None and progress.done < total:
        raise http.client.IncompleteRead(b"", total - progress.done)
    progress.close()


class Progress:
    """`torch 2.11.0  45 %  239/531 MB  52.1 MB/s  6 s left`: redrawn on a terminal, else a line
    every ten seconds."""

    def __init__(self, label, done, total):
        self.label, self.done, self.total = label, done, total
        self.first, self.start = done, time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.drawn = self.start if not self.terminal else 0.0

    def advance(self, count):
        self.done += count
        now = time.monotonic()
        if now - self.drawn >= (0.2 if self.terminal else 10.0):
            self.drawn = now
            self.draw()

    def draw(self, end=""):
        seconds = max(time.monotonic() - self.start, 1e-3)
        rate = (self.done - self.first) / seconds
        text = "  %s  %.0f MB  %.1f MB/s" % (self.label, self.done / 1e6, rate / 1e6)
        if self.total:
            share = 100.0 * self.done / self.total
            left = (self.total - self.done) / rate if rate else 0
            sizes = "%.0f/%.0f MB" % (self.done / 1e6, self.total / 1e6)
            text = "  %s  %3.0f %%  %s  %.1f MB/s" % (self.label, share, sizes, rate / 1e6)
            text += "  %d s left" % left if left >= 1 else ""
        if self.terminal:
            text = "\r\033[K" + text + end
        sys.stderr.write(text if self.terminal else text + "\n")
        sys.stderr.flush()

    def close(self):
        self.draw("\n")


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def wait_to_retry(error, attempt):
    """Sleeps and says True if another try can help: a cut line, a busy server."""
    code = getattr(error, "code", None)
    refused = code is not None and code < 500 and code not in (408, 429)
    reason = getattr(error, "reason", error)
    hopeless = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError)
    absent = isinstance(reason, hopeless)
    if refused or attempt >= ATTEMPTS - 1 or (absent and attempt >= 1):
        return False
    time.sleep(PAUSE * 2**attempt)
    return True


def unreachable(url, error):
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    code = getattr(error, "code", None)
    reason = "it answers %s" % code if code else getattr(error, "reason", None) or error
    return (
        "cannot download from %s (%s); check the network, HTTPS_PROXY or PIP_INDEX_URL, %s"
        % (host, " ".join(str(reason).split()) or type(error).__name__, AGAIN)
    )


def without_password(url):
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
