"""Debian's monitoring plugins, run by a real agent, as a real server tells of them."""

from __future__ import annotations

import contextlib
import http.server
import pathlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from support.daemon import TWISTD, Child, clean_environment, eventually, running
from support.http_client import Client, Json

NAGIOS = pathlib.Path("/usr/lib/nagios/plugins")

pytestmark = pytest.mark.skipif(
    not (NAGIOS / "check_http").exists(), reason="needs monitoring-plugins"
)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/" else 404)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"a page")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@contextlib.contextmanager
def ssh_server() -> Iterator[int]:
    """Say what an SSH server says first: check_ssh asks for no more."""

    def greet() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                    connection.recv(100)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=greet, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def agent(folder: pathlib.Path, port: int, commands: dict[str, str]) -> Iterator[None]:
    sections = "".join(
        f"[service:{name}]\nperiod=300\ncommand={command}\n" for name, command in commands.items()
    )
    config = folder / "agent.ini"
    config.write_text(
        f"[overc]\nserver=http://127.0.0.1:{port}/\nmy-name=host\nmy-key=k\nown-state=no\n"
        f"spool=spool.db\n{sections}"
    )
    command = [*TWISTD, "-n", "--pidfile=", "overc-agent", "--config", str(config)]
    child = Child(command, folder, clean_environment(), folder / "agent.log")
    try:
        yield
    finally:
        child.kill()


def told(client: Client, count: int) -> dict[str, Json]:
    """Return what the server tells of so many services, once it has heard of all of them."""

    def services() -> dict[str, Json]:
        host = client.servers().get("host", {"services": []})
        return {one["name"]: one["state"] for one in host["services"]}

    eventually(lambda: len(services()) == count, "all have reported", 120)
    return services()


def test_their_states_words_and_figures_arrive(tmp_path: pathlib.Path) -> None:
    with (
        running(tmp_path) as daemon,
        web_server() as web,
        ssh_server() as ssh,
        # Nobody listens there while it is bound.
        socket.socket() as nobody,
    ):
        nobody.bind(("127.0.0.1", 0))
        closed = nobody.getsockname()[1]
        commands = {
            "load": "check_load -w 1000,1000,1000 -c 2000,2000,2000",
            "disk": "check_disk -w 0 -c 0 -p /",
            "disk full": "check_disk -w 101% -c 101% -p /",
            "procs": "check_procs -w 1:100000 -c 0:200000",
            "procs none": "check_procs -c 1: -C no-such-program",
            "http": f"check_http -H 127.0.0.1 -p {web} -t 60",
            "http 404": f"check_http -H 127.0.0.1 -p {web} -u /nothing -t 60",
            "http gone": f"check_http -H 127.0.0.1 -p {closed} -t 60",
            "ssh": f"check_ssh -p {ssh} -t 60 127.0.0.1",
            "ssh gone": f"check_ssh -p {closed} -t 60 127.0.0.1",
            "usage": "check_http",
        }
        wanted = {name: f"{NAGIOS}/{line}".replace("%", "%%") for name, line in commands.items()}
        with agent(tmp_path, daemon.client.port, wanted):
            found = told(daemon.client, len(commands))
    # What they say, and what they measure behind the bar.
    expected = {
        "load": ("OK", r"(LOAD )?OK - .*load average.*\|.*load1=[\d.]+;1000\.0+;2000\.0+;0;"),
        "disk": ("OK", r"DISK OK.*\|\s*/=\d+(Mi)?B;"),
        "disk full": ("FAIL", r"DISK CRITICAL.*\|\s*/=\d+(Mi)?B;"),
        "procs": ("OK", r"PROCS OK: \d+ processes.*\| *procs=\d+;1:100000;0:200000;0;"),
        "procs none": ("FAIL", r"PROCS CRITICAL: 0 processes.*\| *procs=0;;1:;0;"),
        "http": ("OK", r"HTTP OK: HTTP/1\.0 200 OK.*\|time=[\d.]+s;.* size=\d+B;"),
        "http 404": ("WARN", r"HTTP WARNING: HTTP/1\.0 404.*\|time=[\d.]+s;.* size=\d+B;"),
        "http gone": ("FAIL", r"connect to address 127\.0\.0\.1.*refused"),
        "ssh": ("OK", r"SSH OK - OpenSSH_9\.2p1.*\| *time=[\d.]+s"),
        "ssh gone": ("FAIL", r"connect to address 127\.0\.0\.1.*refused"),
        "usage": ("UNK", r"check_http: .*"),
    }
    assert {name: one["state"] for name, one in found.items()} == {
        name: state for name, (state, _) in expected.items()
    }
    for name, (_, words) in expected.items():
        assert re.match(words, found[name]["info"], re.DOTALL), (name, found[name]["info"])
