"""How requests may arrive: in pieces, together, too large, too slowly, or never whole."""

from __future__ import annotations

import contextlib
import gzip
import json
import pathlib
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from support.daemon import Daemon, running
from support.http_client import (
    ALERTS,
    PING,
    STATUS,
    Client,
    Host,
    Json,
    a_service,
    raw_post,
    read_all,
)

BODY_MAX = 10_000
REQUEST_TIMEOUT_S = 2.0
SLACK_S = 20.0
"""A busy machine may be late by this much; what is tested is that an end comes at all."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    options = (f"max-body={BODY_MAX}", f"request-timeout={REQUEST_TIMEOUT_S}")
    with running(tmp_path_factory.mktemp("server"), *options) as daemon:
        yield daemon


def ping_body(name: str = "a", size: int = 0) -> bytes:
    """Return the body of a ping that is at least `size` bytes long."""
    body = json.dumps({"server": {"name": name, "key": "k"}, "padding": ""}).encode()
    return body.replace(b'""', b'"' + b"x" * (size - len(body)) + b'"')


def chunked(body: bytes, size: int) -> bytes:
    """Return a chunked POST of a ping."""
    head = f"POST {PING} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return head + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


def receive(connection: socket.socket, n: int) -> list[Json]:
    """Read n replies of 200 from a connection that stays open; return their bodies."""
    file = connection.makefile("rb")
    found = []
    for _ in range(n):
        assert file.readline().startswith(b"HTTP/1.1 200 ")
        length = 0
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        found.append(json.loads(file.read(length)))
    return found


@pytest.mark.parametrize("size", [BODY_MAX - 1, BODY_MAX])
def test_a_body_up_to_the_limit_is_taken(client: Client, size: int) -> None:
    assert len(ping_body(size=size)) == size
    assert client.post(PING, ping_body(size=size)).status == 200
    with client.connect() as connection:
        connection.sendall(chunked(ping_body(size=size), 1000))
        assert receive(connection, 1) == [{"pong": 1}]


def test_a_body_over_the_limit_is_refused(client: Client) -> None:
    reply = client.post(PING, ping_body("large", BODY_MAX + 1))
    assert reply.status == 413
    assert reply.error == f"the body is larger than {BODY_MAX} bytes: send it in smaller parts"
    assert "large" not in client.servers()


def test_it_is_refused_before_a_byte_of_it_was_sent(client: Client) -> None:
    head = raw_post(PING, b"").replace(b"Content-Length: 0", b"Content-Length: 999999999999")
    with client.connect() as connection:
        connection.sendall(head)
        assert connection.recv(9) == b"HTTP/1.1 "
        assert connection.recv(3) == b"413"


def test_a_chunked_body_over_the_limit_is_refused(client: Client) -> None:
    with client.connect() as connection:
        connection.sendall(chunked(ping_body("large", BODY_MAX + 1), 1000))
        reply = read_all(connection)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.count(b"HTTP/1.1") == 1
    assert "large" not in client.servers()


def test_chunks_without_an_end_are_refused_and_cut_off(client: Client) -> None:
    head = chunked(b"", 1).removesuffix(b"0\r\n\r\n")
    with client.connect() as connection:
        connection.sendall(head)
        end = time.monotonic() + REQUEST_TIMEOUT_S + SLACK_S
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        assert time.monotonic() < end


def test_expect_100_continue(client: Client) -> None:
    head, _, body = raw_post(PING, ping_body(), "Expect: 100-continue").partition(b"\r\n\r\n")
    with client.connect() as connection:
        connection.sendall(head + b"\r\n\r\n")
        expected = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(expected), socket.MSG_WAITALL) == expected
        connection.sendall(body)
        assert receive(connection, 1) == [{"pong": 1}]
    large = raw_post(PING, b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 10001")
    reply = client.exchange(large)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert reply.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "x"])
def test_content_encodings_are_not_taken(host: Host, encoding: str) -> None:
    body = {"server": host.identity}
    reply = host.client.post(PING, body, headers={"Content-Encoding": encoding})
    assert reply.status == 415
    assert f"Content-Encoding '{encoding}' is not taken" in reply.error
    assert not host.is_known()
    identity = host.client.post(PING, body, headers={"Content-Encoding": "identity"})
    assert identity.status == 200


def test_gzip_is_taken(host: Host) -> None:
    packed = gzip.compress(json.dumps({"server": host.identity}).encode())
    for more in ([], ["Transfer-Encoding: chunked"]):
        headers = ["Content-Encoding: gzip", "Connection: close", *more]
        request = raw_post(PING, packed, *headers)
        if more:
            request = request.replace(f"Content-Length: {len(packed)}\r\n".encode(), b"")
            request = request.replace(packed, b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed))
        reply = host.client.exchange(request)
        assert reply.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nAccept-Encoding: gzip\r\n" in reply
    assert host.is_known()


def test_a_gzip_bomb_is_not_unpacked(host: Host) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    assert len(bomb) < BODY_MAX
    reply = host.client.post(PING, bomb, headers={"Content-Encoding": "gzip"})
    assert (reply.status, reply.error) == (
        413,
        f"the body is larger than {BODY_MAX} bytes unpacked: send it in smaller parts",
    )


@pytest.mark.parametrize("path", ["/api/", "/api/pin", "/api/ping/", "/api/set", "/API/PING", "/x"])
def test_no_such_path(client: Client, path: str) -> None:
    reply = client.post(path, {"server": {"name": "nowhere", "key": "k"}})
    assert reply.status == 404
    assert reply.error == f"there is nothing at {path}"
    assert "nowhere" not in client.servers()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", [PING, STATUS, ALERTS])
def test_no_such_method(client: Client, method: str, path: str) -> None:
    reply = client.request(method, path, {"server": {"name": "nowhere", "key": "k"}})
    assert reply.status == 405
    assert reply.headers["Allow"] == "POST"
    if method != "HEAD":
        assert reply.error == f"{path} does not take {method}: use POST"
    assert "nowhere" not in client.servers()


def test_a_request_may_come_byte_by_byte(host: Host) -> None:
    with host.client.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        body = {"server": host.identity, "period": 9, "services": [a_service("é", "WARN")]}
        for byte in raw_post(STATUS, json.dumps(body).encode()):
            connection.sendall(bytes([byte]))
        assert receive(connection, 1) == [{"ok": 1}]
    assert host.state("é")["state"] == "WARN"


def test_a_connection_takes_one_request_after_the_other(host: Host) -> None:
    with host.client.connect() as connection:
        for n in range(20):
            services = [a_service("s", "OK", str(n))]
            body = {"server": host.identity, "period": 9, "services": services}
            connection.sendall(raw_post(STATUS, json.dumps(body).encode()))
            assert receive(connection, 1) == [{"ok": 1}]
    assert [s["info"] for s in host.history("s")] == [str(n) for n in reversed(range(20))]


def test_requests_may_be_pipelined(host: Host) -> None:
    requests = b""
    for n in range(30):
        body = {"server": host.identity, "period": 9, "services": [a_service("s", "OK", str(n))]}
        requests += raw_post(STATUS, json.dumps(body).encode()) + raw_post(PING, ping_body())
    with host.client.connect() as connection:
        connection.sendall(requests)
        assert receive(connection, 60) == [{"ok": 1}, {"pong": 1}] * 30
    assert [s["info"] for s in host.history("s")] == [str(n) for n in reversed(range(30))]


def test_chunks_of_any_size(client: Client) -> None:
    for size in (1, 7, 10**6):
        with client.connect() as connection:
            connection.sendall(chunked(ping_body(), size) * 2)
            assert receive(connection, 2) == [{"pong": 1}] * 2


def test_a_dripping_client_is_cut_off(client: Client) -> None:
    request = raw_post(PING, ping_body("drip", BODY_MAX))
    started_at = time.monotonic()
    sent = 0
    with client.connect() as connection:
        connection.settimeout(0.05)
        reply = b""
        while not reply:
            assert time.monotonic() - started_at < REQUEST_TIMEOUT_S + SLACK_S
            connection.sendall(request[sent : sent + 1])
            sent += 1
            with contextlib.suppress(TimeoutError):
                reply = connection.recv(65536)
    assert time.monotonic() - started_at >= REQUEST_TIMEOUT_S
    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"the request did not arrive within 2 s" in reply
    assert "drip" not in client.servers()


@pytest.mark.parametrize("sent", [b"P", b"POST /api/ping HTTP/1.1\r\nHost: a\r\n", b"\r\n"])
def test_half_a_request_is_cut_off(client: Client, sent: bytes) -> None:
    with client.connect() as connection:
        connection.settimeout(REQUEST_TIMEOUT_S + SLACK_S)
        connection.sendall(sent)
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_dripping_clients_do_not_disturb_others(client: Client) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(client.connect()).sendall(b"POST /api/ping HTTP/1.1\r\nHost")
        assert client.post(PING, ping_body()).status == 200
        assert client.get("/ui/api/status/")["stats"]["supervisor_lag"] == 0


def group(host: Host, label: str) -> bytes:
    """Return a report of three services that have to be stored together or not at all."""
    services = [a_service(f"{label} {n}", "FAIL") for n in range(3)]
    body = {"server": host.identity, "period": 600, "services": services}
    return raw_post(STATUS, json.dumps(body).encode())


def leave(connection: socket.socket, reset: bool) -> None:
    if reset:
        linger = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    connection.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_goes_away_leaves_all_or_nothing(host: Host, reset: bool) -> None:
    host.ping()
    for cut in range(len(group(host, "000")) + 1):
        connection = host.client.connect()
        connection.sendall(group(host, f"{cut:03}")[:cut])
        leave(connection, reset)
    host.report(a_service("witness"))
    found = host.services()
    del found["witness"]
    whole = {name.partition(" ")[0] for name in found}
    assert set(found) == {f"{label} {n}" for label in whole for n in range(3)}
    assert {one["n_alerts"] for one in found.values()} <= {1}
    # What was cut short by a byte is not there; what came whole has been stored, answer or not.
    assert whole <= {f"{len(group(host, '000')):03}"}
    assert reset or whole


def test_a_client_that_goes_away_while_it_is_served(host: Host) -> None:
    host.ping()
    for n in range(60):
        connection = host.client.connect()
        connection.sendall(group(host, f"{n}a") + group(host, f"{n}b") + group(host, f"{n}c"))
        leave(connection, reset=n % 2 == 1)
    host.report(a_service("witness"))
    found = host.services()
    del found["witness"]
    whole = {name.partition(" ")[0] for name in found}
    assert set(found) == {f"{label} {n}" for label in whole for n in range(3)}


HOSTILE = [
    b"", b"\r\n\r\n", b"\0" * 100, b"GET", b"GET / HTTP/9.9", b"G\xffT / HTTP/1.1",
    b"GET /\xff HTTP/1.1", b"GET \0 HTTP/1.1", b"GET /%ff HTTP/1.1", b"GET http://[/ HTTP/1.1",
    b"GET * HTTP/1.1", b"CONNECT a:80 HTTP/1.1", b"GET /ui/?hours=%ff HTTP/1.1",
    b"GET /ui/ HTTP/1.1\r\nHost: \xff", b"GET /ui/ HTTP/1.1\r\nHost: [",
    b"GET /ui/ HTTP/1.1\r\nHost", b"GET /ui/ HTTP/1.1\r\nHost: " + b"a" * 500,
    b"GET /ui/ HTTP/1.1\r\nHost: a..b",
    b"GET /ui/ HTTP/1.1\r\nAuthorization: Basic \xff",
    b"GET /ui/ HTTP/1.1\r\nX: " + b"x" * 40_000,
    b"GET /ui/ HTTP/1.1\r\n" + b"X: y\r\n" * 2000,
    b"POST /api/ping HTTP/1.1\r\nOrigin: http://[\r\nContent-Length: 0",
    b"POST /api/ping HTTP/1.1\r\nOrigin: \xff\r\nContent-Length: 0",
    b"POST /api/ping HTTP/1.1\r\nSec-Fetch-Site: \xff\r\nContent-Length: 0",
    b"POST /api/ping HTTP/1.1\r\nContent-Encoding: \xff\r\nContent-Length: 0",
    b"POST /api/ping HTTP/1.1\r\nContent-Length: -1",
    b"POST /api/ping HTTP/1.1\r\nContent-Length: x",
    b"POST /api/ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2",
    b"POST /api/ping HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    b"POST /api/ping HTTP/1.1\r\nTransfer-Encoding: gzip",
    b"POST /api/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz",
    b"POST /api/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_no_bytes_make_it_fail(daemon: Daemon, number: int) -> None:
    with daemon.client.connect() as connection:
        connection.settimeout(REQUEST_TIMEOUT_S + SLACK_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(HOSTILE[number] + b"\r\nConnection: close\r\n\r\n")
        reply = read_all(connection)
    assert not reply.startswith(b"HTTP/1.1 5"), reply
    assert daemon.client.post(PING, ping_body()).status == 200
    assert "Traceback" not in daemon.log()


def test_hundreds_of_agents_that_come_at_once(tmp_path: pathlib.Path) -> None:
    with running(tmp_path) as daemon, contextlib.ExitStack() as stack:
        # However busy it is: the kernel takes them all, and drops none for seconds.
        daemon.child.signal(signal.SIGSTOP)
        stack.callback(daemon.child.signal, signal.SIGCONT)
        waiting = [stack.enter_context(socket.socket()) for _ in range(400)]
        poll = select.poll()
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", daemon.client.port))
            poll.register(one, select.POLLOUT)
        end = time.monotonic() + SLACK_S
        while len(connected := poll.poll(100)) < len(waiting):
            assert time.monotonic() < end, f"only {len(connected)} are connected"
