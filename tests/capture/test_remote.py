"""Captures in an object store, through pyarrow's own clients: the local one, and S3's against a small server."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import pytest

from polltape.capture.named import KINDS, is_url
from polltape.capture.reading import Capture, open_capture, read_exchanges
from polltape.capture.remote import fetch
from polltape.errors import InputError

SAMPLE = Path(__file__).parents[2] / "captures" / "samples" / "demo"
WHEN = "2026-11-26T00:00:00.000Z"


class Store(BaseHTTPRequestHandler):
    """As much of S3 as it takes to list and to read: HeadBucket, ListObjectsV2, HeadObject, GetObject."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def answer(self) -> None:
        target = urlsplit(self.path)
        bucket, _, key = unquote(target.path).lstrip("/").partition("/")
        asked = {name: values[0] for name, values in parse_qs(target.query, keep_blank_values=True).items()}
        if bucket != "shop":
            self.say(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif not key:
            self.say(200, self.listed(asked.get("prefix", ""), asked.get("delimiter", "")))
        elif key not in self.objects:
            self.say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            content, ranged = self.objects[key], re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
            self.say(206 if ranged else 200, content[int(ranged[1]) : int(ranged[2]) + 1] if ranged else content)

    do_GET = do_HEAD = answer  # noqa: N815

    def listed(self, prefix: str, delimiter: str) -> bytes:
        keys = [key for key in sorted(self.objects) if key.startswith(prefix)]
        folders = {prefix + key[len(prefix) :].partition(delimiter)[0] + delimiter for key in keys if delimiter}
        found = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{WHEN}</LastModified><ETag>x</ETag>"
            f"<Size>{len(self.objects[key])}</Size></Contents>"
            for key in keys
            if not delimiter or delimiter not in key[len(prefix) :]
        )
        inside = "".join(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in folders)
        count = f"<KeyCount>{len(keys)}</KeyCount><IsTruncated>false</IsTruncated>"
        return f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{count}{found}{inside}</ListBucketResult>'.encode()

    def say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Last-Modified", "Thu, 26 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The sample in a bucket; what is to stand behind its URLs."""
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "EC2_METADATA_DISABLED": "true"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    files = [path for path in SAMPLE.rglob("*") if path.is_file()]
    objects = {f"captures/{path.relative_to(SAMPLE).as_posix()}": path.read_bytes() for path in files}
    objects |= {"captures/.spool/x/1.spool": b"PTR", "captures/notes.txt": b"mine", "out/../../evil.parquet": b"PAR1"}
    handler = type("Handler", (Store,), {"objects": objects})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"?endpoint_override=127.0.0.1:{server.server_address[1]}&scheme=http&region=eu-west-1"
        server.shutdown()
        thread.join()


def opened(url: str) -> Capture:
    return open_capture([url], redact=lambda exchange: exchange, observe=lambda exchange: exchange)


def contents(capture: Capture) -> tuple[list[str], int]:
    return [exchange.exchange_id for exchange in read_exchanges(capture)], len(capture.coverage)


def test_a_capture_is_the_same_near_and_far(s3: str) -> None:
    near = contents(opened(str(SAMPLE)))
    assert len(near[0]) > 100
    for url in (SAMPLE.as_uri(), f"s3://shop/captures{s3}"):
        far = opened(url)
        assert contents(far) == near
        assert far.sources == (url,)
        assert far.warnings == ()


def test_one_file_of_it(s3: str) -> None:
    [file] = sorted(SAMPLE.rglob("*.parquet"))[:1]
    near = contents(opened(str(file)))
    assert contents(opened(f"s3://shop/captures/{file.relative_to(SAMPLE).as_posix()}{s3}"))[0] == near[0]


def test_only_what_belongs_to_the_capture_is_fetched(s3: str, tmp_path: Path) -> None:
    fetch(f"s3://shop/captures{s3}", tmp_path, KINDS)
    kept = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {path.relative_to(SAMPLE) for path in SAMPLE.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://shop/nothing", "nothing to read there"),
        ("s3://else/captures", "cannot be read|nothing to read there"),
        ("s3://shop/out", "leads out of its folder"),
    ],
)
def test_what_cannot_be_read_is_one_line(s3: str, tmp_path: Path, url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        fetch(url + s3, tmp_path / "in", KINDS)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize("url", ["http://shop.example/x.har", "ftp://x/y", "abfs://x"])
def test_what_is_no_object_store(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="no URL of an object store"):
        fetch(url, tmp_path, KINDS)


def test_credentials_in_a_url_are_not_told(s3: str) -> None:
    assert opened(f"s3://k:s3cr3t@shop/captures{s3}").sources == (f"s3://shop/captures{s3}",)
    with pytest.raises(InputError) as refused:
        opened(f"s3://k:s3cr3t@shop/nothing{s3}")
    assert "s3cr3t" not in str(refused.value)


def test_a_folder_whose_name_looks_like_a_url_is_still_a_path(tmp_path: Path) -> None:
    assert not is_url("captures:/x")
    assert not is_url("./s3://x")
    shutil.copytree(SAMPLE, tmp_path / "s3:")
    assert contents(opened(str(tmp_path / "s3:")))[0]
