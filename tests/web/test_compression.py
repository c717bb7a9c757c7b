from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from support_daemon import FakeClock, a_database, a_recorder, a_report, a_state, record
from twisted.internet.defer import Deferred, maybeDeferred
from web.doubles import Fixture, populate

from overc.web import compression, static_files
from overc.web.compression import (
    AT_ONCE_BYTES,
    LEAST_BYTES,
    compressed,
    gzip_etag,
    has,
    is_compressible,
    takes_gzip,
)

GZIP = {"Accept-Encoding": "gzip, deflate, br"}
TAG = '"abc"'
STATIC = Path(static_files.__file__).parent / "static"


@pytest.mark.parametrize(
    "accepted, takes",
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("deflate,gzip;q=1.0,*;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("gzip ; q=0.001", True),
        ("br;q=1, gzip;q=0, *;q=1", False),
        ("*", True),
        ("*;q=0", False),
        ("identity", False),
        ("br", False),
        ("gzip;q=x", False),
        ("gzip;level=9", True),
        ("gzipped", False),
        (",,;;q=,", False),
    ],
)
def test_who_takes_gzip(accepted: str | None, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


@pytest.mark.parametrize(
    "kind, can",
    [
        ("text/html; charset=utf-8", True),
        ("text/css; charset=utf-8", True),
        ("text/javascript; charset=utf-8", True),
        ("application/json", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("font/woff2", False),
        ("application/octet-stream", False),
    ],
)
def test_what_becomes_smaller(kind: str, can: bool) -> None:
    assert is_compressible(kind) is can


@pytest.mark.parametrize(
    "sent, found",
    [
        (None, False),
        ("", False),
        (TAG, True),
        (gzip_etag(TAG), True),
        (f"W/{TAG}", True),
        (f'"x", {TAG}', True),
        ("*", True),
        ('"abcd"', False),
        ("abc", False),
    ],
)
def test_what_a_client_has(sent: str | None, found: bool) -> None:
    assert has(sent, TAG) is found


def test_only_large_bodies_go_into_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[Any] = []

    def run(call: Any, *args: Any) -> Deferred[Any]:
        threads.append(args)
        return maybeDeferred(call, *args)

    monkeypatch.setattr(compression, "deferToThread", run)
    for size, n_threads in [(LEAST_BYTES, 0), (AT_ONCE_BYTES, 0), (AT_ONCE_BYTES + 1, 1)]:
        ended: list[bytes] = []
        Deferred.fromCoroutine(compressed(b"x" * size)).addCallback(ended.append)
        assert gzip.decompress(ended[0]) == b"x" * size
        assert len(threads) == n_threads


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fixture:
    monkeypatch.setattr(compression, "deferToThread", maybeDeferred)
    path = a_database(tmp_path)
    populate(path)
    return Fixture(path)


def test_small_answers_come_as_they_are(web: Fixture) -> None:
    answer = web.ask("GET", "/ui/api/rows", headers=GZIP)
    assert len(answer.body) < LEAST_BYTES
    assert "content-encoding" not in answer.headers
    assert answer.json["services"]


def test_large_answers_come_compressed_to_those_who_take_it(web: Fixture) -> None:
    services = [a_state(f"service {number}") for number in range(400)]
    record(web.path, a_recorder(), FakeClock(), a_report(*services))
    plain = web.ask("GET", "/ui/api/rows")
    assert "content-encoding" not in plain.headers
    packed = web.ask("GET", "/ui/api/rows", headers=GZIP)
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 4
    for answer in (plain, packed):
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["cache-control"] == "no-store"
    refused = web.ask("GET", "/ui/api/rows", headers={"Accept-Encoding": "gzip;q=0"})
    assert refused.body == plain.body


@pytest.mark.parametrize("name", ["overc.css", "times.js", "vendor/preact.js"])
def test_static_files_are_sent_once(web: Fixture, name: str) -> None:
    path, content = f"/ui/static/{name}", (STATIC / name).read_bytes()
    plain, packed = web.ask("GET", path), web.ask("GET", path, headers=GZIP)
    assert (plain.code, plain.body) == (200, content)
    assert gzip.decompress(packed.body) == content
    tags = [answer.headers["etag"] for answer in (plain, packed)]
    # Other bytes, another tag; each is a strong one.
    assert tags[1] == gzip_etag(tags[0])
    assert all(answer.headers["cache-control"] == "no-cache" for answer in (plain, packed))
    for tag in tags:
        for headers in ({}, GZIP):
            again = web.ask("GET", path, headers={**headers, "If-None-Match": tag})
            assert (again.code, again.body) == (304, b"")
            assert again.headers["etag"] in tags
            assert again.headers["vary"] == "Accept-Encoding"
            assert not {"content-type", "content-encoding"} & again.headers.keys()
    assert web.ask("GET", path, headers={"If-None-Match": '"other"'}).body == content


def test_every_file_is_served_but_for_licences_and_notes(web: Fixture) -> None:
    for entry in STATIC.rglob("*"):
        if entry.is_file():
            path = f"/ui/static/{entry.relative_to(STATIC)}"
            is_code = entry.suffix in (".css", ".js", ".svg")
            assert web.ask("GET", path).code == (200 if is_code else 404), path


@pytest.mark.parametrize(
    "name", ["", "vendor", "vendor/", "nothing.js", "../live.py", "vendor/../../live.py", "%00"]
)
def test_nothing_else_is_served(web: Fixture, name: str) -> None:
    assert web.ask("GET", f"/ui/static/{name}").code == 404


def test_the_head_of_a_file(web: Fixture) -> None:
    found = web.ask("HEAD", "/ui/static/overc.css", headers=GZIP)
    assert (found.code, found.body) == (200, b"")
    assert found.headers["content-encoding"] == "gzip"
