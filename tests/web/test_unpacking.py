from __future__ import annotations

import gzip
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest
from support_daemon import a_database
from web.doubles import BODY_MAX, PING, Fixture

from overc.web.access import Refusal
from overc.web.unpacking import unpack

PACKED = gzip.compress(PING)


@pytest.fixture(params=[True, False], ids=["short way", "Klein"])
def web(request: pytest.FixtureRequest, tmp_path: Path) -> Fixture:
    return Fixture(a_database(tmp_path), short_way=request.param)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
def test_a_compressed_body(web: Fixture, encoding: str) -> None:
    answer = web.ask("POST", "/api/ping", PACKED, {"Content-Encoding": encoding})
    assert (answer.code, json.loads(answer.body)) == (200, {"pong": 1})
    assert [report.server.name for report in web.intake.reports] == ["web1"]


def test_every_answer_says_that_it_may_be_compressed(web: Fixture) -> None:
    assert web.ask("POST", "/api/ping", PING).headers["accept-encoding"] == "gzip"
    refused = web.ask("POST", "/api/ping", PING, {"Content-Encoding": "br"})
    assert (refused.code, refused.headers["accept-encoding"]) == (415, "gzip")


@pytest.mark.parametrize(
    "body, code, words",
    [
        (PING, 400, "the body is not gzip"),
        (b"", 400, "ends too early"),
        (PACKED[:-9], 400, "ends too early"),
        (PACKED[:-1], 400, "ends too early"),
        (PACKED[:-5] + b"\0" + PACKED[-4:], 400, "is not gzip"),
        (PACKED + PACKED, 400, "goes on after the end"),
        (gzip.compress(b"x" * BODY_MAX), 400, "JSON"),
        (gzip.compress(b"x" * (BODY_MAX + 1)), 413, f"larger than {BODY_MAX} bytes unpacked"),
        (zlib.compress(PING), 400, "is not gzip"),
    ],
    ids=range(9),
)
def test_refusals(web: Fixture, body: bytes, code: int, words: str) -> None:
    answer = web.ask("POST", "/api/ping", body, {"Content-Encoding": "gzip"})
    assert answer.code == code
    assert words in (answer.error or "")
    assert web.intake.reports == []


def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match="larger than 1000 bytes"):
            unpack(bomb, "gzip", 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
