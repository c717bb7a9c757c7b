from __future__ import annotations

import pytest

from overc.web.shortcut import HEAD_MAX, read_head, split

PLAIN = b"POST /api/ping HTTP/1.1\r\nHost: x\r\nContent-Length: 2"


def test_a_plain_head() -> None:
    head = read_head(b"POST /p HTTP/1.1\r\nHOST:\t x y \r\ncontent-LENGTH: 12\r\nAccept:")
    assert head is not None
    assert head == (b"/p", {b"host": b"x y", b"content-length": b"12", b"accept": b""}, 12)


@pytest.mark.parametrize("value", [b"keep-alive", b"Keep-Alive", b""])
def test_a_connection_that_is_kept(value: bytes) -> None:
    assert read_head(PLAIN + b"\r\nConnection: " + value) is not None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(PLAIN.replace(b"POST", b"GET"), id="another method"),
        pytest.param(PLAIN.replace(b"POST ", b"post "), id="a method in lower case"),
        pytest.param(PLAIN.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
        pytest.param(PLAIN.replace(b"/api", b"http://x/api"), id="an absolute address"),
        pytest.param(PLAIN.replace(b"/api", b"/a pi"), id="a space in the path"),
        pytest.param(PLAIN.replace(b"/api", b"/\xff"), id="a path of other bytes"),
        pytest.param(b"POST /p HTTP/1.1\r\nHost: x", id="no length"),
        pytest.param(PLAIN + b"x", id="a length that is none"),
        pytest.param(PLAIN.replace(b" 2", b" +2"), id="a sign"),
        pytest.param(PLAIN.replace(b" 2", b" 2, 2"), id="two in one"),
        pytest.param(PLAIN.replace(b" 2", b" "), id="an empty length"),
        pytest.param(PLAIN.replace(b" 2", b" 1234567890"), id="a huge length"),
        pytest.param(PLAIN + b"\r\ncontent-length: 2", id="the length twice"),
        pytest.param(PLAIN + b"\r\nHost: y", id="a name twice"),
        pytest.param(PLAIN + b"\r\nConnection: close", id="closes"),
        pytest.param(PLAIN + b"\r\nConnection: keep-alive, close", id="more than one word"),
        pytest.param(PLAIN + b"\r\nTransfer-Encoding: chunked", id="chunked"),
        pytest.param(PLAIN + b"\r\nExpect: 100-continue", id="asks first"),
        pytest.param(PLAIN + b"\r\nUpgrade: h2c", id="another protocol"),
        pytest.param(PLAIN + b"\r\n folded", id="a folded line"),
        pytest.param(PLAIN + b"\r\nX : y", id="a space before the colon"),
        pytest.param(PLAIN + b"\r\n: y", id="no name"),
        pytest.param(PLAIN + b"\r\nX", id="no colon"),
        pytest.param(PLAIN + b"\r\nX: \xe4", id="a value of other bytes"),
        pytest.param(PLAIN + b"\r\nX: a\x00b", id="NUL"),
        pytest.param(PLAIN + b"\nX: y", id="a bare line feed"),
        pytest.param(PLAIN + b"\rX: y", id="a bare carriage return"),
    ],
)
def test_a_head_for_twisted(text: bytes) -> None:
    assert read_head(text) is None


def test_a_whole_post() -> None:
    found = split(PLAIN + b"\r\n\r\n{}")
    assert found is not None
    assert (found[0].path, found[1]) == (b"/api/ping", b"{}")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(PLAIN, id="the head goes on"),
        pytest.param(PLAIN + b"\r\n\r\n{", id="a byte is missing"),
        pytest.param(PLAIN + b"\r\n\r\n{}P", id="another one follows"),
        pytest.param(PLAIN + b"\r\nX: " + b"x" * HEAD_MAX + b"\r\n\r\n{}", id="a long head"),
    ],
)
def test_what_is_not_exactly_one_post(data: bytes) -> None:
    assert split(data) is None
