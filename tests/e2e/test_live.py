"""The event stream of a real server, read from a real socket."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from support.daemon import Daemon, eventually, running
from support.http_client import TIMEOUT_S, Client, Host, a_service

LIVE = "/ui/api/live"


class Event(NamedTuple):
    kind: str
    id: int
    data: Any


class Stream:
    """An open page: its events as they come."""

    def __init__(self, client: Client, query: str = "", **headers: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", client.port, TIMEOUT_S)
        self._connection.request("GET", LIVE + query, headers=headers)
        self.reply = self._connection.getresponse()
        self.last_id = 0

    def next(self) -> Event | None:
        """Wait for an event; None: the stream is over."""
        lines: dict[str, str] = {}
        while line := self.reply.readline():
            text = line.decode().rstrip("\n")
            if text:
                name, _, value = text.partition(": ")
                lines[name] = value
            elif "event" in lines:
                self.last_id = int(lines["id"])
                return Event(lines["event"], self.last_id, json.loads(lines["data"]))
        return None

    def next_of(self, kind: str) -> Event:
        while found := self.next():
            if found.kind == kind:
                return found
        raise AssertionError(f"the stream ended without {kind}")

    def close(self) -> None:
        self._connection.close()
        self.reply.close()


@contextlib.contextmanager
def looking(client: Client, query: str = "", **headers: str) -> Iterator[Stream]:
    """Open a stream; return once it has said how things stand."""
    stream = Stream(client, query, **headers)
    try:
        assert stream.reply.status == 200
        yield stream
    finally:
        stream.close()


def infos(event: Event) -> dict[str, Any]:
    return {row["name"]: row.get("info") for row in event.data.get("services", ())}


def test_a_report_shows_without_being_asked_for(host: Host) -> None:
    host.report(a_service("s", "OK", "calm"))
    with looking(host.client, "?rows=yes") as stream:
        stream.next_of("now")
        host.report(a_service("s", "FAIL", "first"))
        rows = stream.next_of("rows")
        assert infos(rows) == {"s": "first"}
        now = stream.next_of("now")
        assert now.data["counts"]["FAIL"] >= 1
        assert now.id == rows.id


def test_who_was_away_gets_what_he_missed(host: Host) -> None:
    host.report(a_service("a"), a_service("b"))
    with looking(host.client, "?rows=yes") as stream:
        seen = stream.next_of("now").id
    host.report(a_service("a", "WARN", "missed"))
    with looking(host.client, "?rows=yes", **{"Last-Event-ID": str(seen)}) as stream:
        assert infos(stream.next_of("rows")) == {"a": "missed"}


def test_what_is_removed_is_gone(host: Host) -> None:
    host.report(a_service("a"), a_service("b"))
    ids = {name: one["id"] for name, one in host.services().items()}
    with looking(host.client, "?rows=yes") as stream:
        stream.next_of("now")
        assert host.client.request("DELETE", f"/ui/api/item/service/{ids['a']}").status == 200
        assert stream.next_of("rows").data["gone"] == {"services": [ids["a"]]}
        server_id = host.status()["id"]
        assert host.client.request("DELETE", f"/ui/api/item/server/{server_id}").status == 200
        gone = stream.next_of("rows").data["gone"]
        assert gone == {"services": [ids["b"]], "servers": [server_id]}


def test_the_page_of_a_service_hears_of_it_alone(host: Host) -> None:
    host.report(a_service("a", "FAIL"), a_service("b"))
    id_ = host.services()["a"]["id"]
    with looking(host.client, f"?service={id_}") as stream:
        since = stream.next_of("now").id
        # Nobody has looked for attempts to deliver before: anything may have changed.
        host.report(a_service("b", "WARN"))
        body = {"service_id": id_, "reason": "on it", "author": "ann"}
        assert host.client.post("/ui/api/ack", body).status == 200
        changed = stream.next_of("changed")
        assert changed.data == {}
        assert changed.id > since


def test_rows_and_their_stream_fit_together(host: Host) -> None:
    host.report(*(a_service(f"s{n}") for n in range(7)))
    found: dict[int, Any] = {}
    page = host.client.get("/ui/api/rows?limit=3")
    version = page["version"]
    host.report(a_service("s0", "FAIL", "meanwhile"))
    while True:
        found |= {row["id"]: row for row in page["services"]}
        if page["next"] is None:
            break
        page = host.client.get(f"/ui/api/rows?limit=3&after={page['next']}")
    assert list(found) == sorted(found)
    with looking(host.client, f"?rows=yes&since={version}") as stream:
        assert infos(stream.next_of("rows")) == {"s0": "meanwhile"}


def test_a_server_that_started_anew_knows_no_versions(tmp_path: Path) -> None:
    with running(tmp_path) as daemon:
        host = Host(daemon.client, "web1")
        host.report(a_service("s"))
        with looking(daemon.client, "?rows=yes") as stream:
            seen = stream.next_of("now").id
            assert daemon.stop() == 0
            assert stream.next() is None
        daemon.start()
        with looking(daemon.client, "?rows=yes", **{"Last-Event-ID": str(seen)}) as stream:
            reset = stream.next_of("reset")
            assert reset.data == {}
            # From there on it goes on.
            Host(daemon.client, "web1").report(a_service("s", "WARN", "again"))
            assert infos(stream.next_of("rows")) == {"s": "again"}


def test_open_streams_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon, contextlib.ExitStack() as stack:
        Host(daemon.client, "web1").report(a_service("s"))
        streams = [stack.enter_context(looking(daemon.client, "?rows=yes")) for _ in range(20)]
        # One of them came by a proxy of the old kind, and one does not read at all.
        old = stack.enter_context(daemon.client.connect())
        old.sendall(f"GET {LIVE} HTTP/1.0\r\n\r\n".encode())
        deaf = stack.enter_context(deaf_viewer(daemon.client))
        for stream in streams:
            stream.next_of("now")
        assert daemon.stop(signal.SIGTERM) == 0
        assert all(stream.next() is None for stream in streams)
        received = b"".join(iter(lambda: old.recv(65536), b""))
        assert b"Transfer-Encoding" not in received
        assert b"event: now\n" in received
        deaf.close()
        assert "Traceback" not in daemon.log(), daemon.log()


@contextlib.contextmanager
def deaf_viewer(client: Client) -> Iterator[socket.socket]:
    """Ask for rows on a connection that takes next to nothing, and do not read."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(TIMEOUT_S)
        connection.connect(("127.0.0.1", client.port))
        connection.sendall(f"GET {LIVE}?rows=yes HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield connection


def test_a_viewer_that_does_not_read_is_let_go_and_nobody_else(tmp_path: Path) -> None:
    # As it is, the server has more patience than a test.
    (tmp_path / "sitecustomize.py").write_text("import overc.web.live as live; live.SLOW_S = 1.0")
    with running(tmp_path, environ={"PYTHONPATH": str(tmp_path)}) as daemon:
        host = Host(daemon.client, "web1")
        host.report(a_service("s0"))
        with deaf_viewer(daemon.client) as deaf, looking(daemon.client, "?rows=yes") as stream:
            stream.next_of("now")
            assert not is_closed(daemon, deaf)
            numbers = count()

            def has_let_go() -> bool:
                number = next(numbers)
                host.report(
                    *(a_service(f"s{n}", "OK", f"{number} {'x' * 190}") for n in range(1000))
                )
                # Who reads gets all of it.
                missing = {f"s{n}" for n in range(1000)}
                while missing:
                    found = infos(stream.next_of("rows"))
                    missing -= {
                        name for name, info in found.items() if info.startswith(f"{number} ")
                    }
                return is_closed(daemon, deaf)

            eventually(has_let_go, "the deaf viewer is let go", 120)


def is_closed(daemon: Daemon, connection: socket.socket) -> bool:
    """Tell whether the server has let go of a connection, without reading from it."""
    port = f":{connection.getsockname()[1]:04X} "
    here = f":{daemon.client.port:04X} {'0100007F'}{port}".encode()
    lines = Path("/proc/net/tcp").read_bytes().splitlines()
    mine = [line for line in lines if here in line]
    # 01: established.
    return not any(line.split()[3] == b"01" for line in mine)


def test_there_is_an_end_to_who_may_look(host: Host) -> None:
    refused = host.client.request("GET", f"{LIVE}?rows=perhaps")
    assert refused.status == 400
    assert refused.error
