"""How the server's process begins and ends, in the foreground and in the background."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.alert_plugins import Recorder, is_running, write_script
from support.daemon import TWISTD, Daemon, clean_environment, eventually, running
from support.http_client import PING, Client, Host, a_service, raw_post

ENDS = [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("number", ENDS)
def test_a_signal_ends_it_well(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    with Daemon(tmp_path) as daemon:
        host = Host(daemon.client, "host")
        host.report(a_service("s", "WARN", "kept"))
        assert daemon.stop(number) == 0
        assert "Traceback" not in daemon.log()
        daemon.start()
        host.client = daemon.client
        assert host.state("s")["info"] == "kept"
        assert daemon.stop(number) == 0


@pytest.mark.parametrize("number", ENDS)
def test_open_connections_do_not_hold_it_up(tmp_path: pathlib.Path, number: signal.Signals) -> None:
    request = raw_post(PING, b'{"server": {"name": "a", "key": "k"}}')
    with running(tmp_path) as daemon, contextlib.ExitStack() as connections:
        for cut in (0, 1, 30, len(request) - 1, len(request)):
            connection = connections.enter_context(daemon.client.connect())
            connection.sendall(request[:cut])
        started_at = time.monotonic()
        assert daemon.stop(number) == 0
        assert time.monotonic() - started_at < 20


def test_asked_twice_while_a_plugin_does_not_want_to_end(tmp_path: pathlib.Path) -> None:
    write_script(tmp_path / "stubborn", "#!/bin/sh\ntrap '' TERM\necho $$ >pid\nsleep 600\n")
    with running(tmp_path, sections="[alert:stubborn]\ncommand=./stubborn\n") as daemon:
        Host(daemon.client, "host").alert("x")
        eventually((tmp_path / "pid").exists)
        daemon.child.signal(signal.SIGTERM)
        eventually(lambda: daemon.said("Closed"), "the port is closed")
        daemon.child.signal(signal.SIGINT)
        assert daemon.stop() == 0
        assert not is_running(int((tmp_path / "pid").read_text()))


def test_in_the_background(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path)
    daemon = Daemon(tmp_path, sections=recorder.section)
    pid_file, log = tmp_path / "overc.pid", tmp_path / "overc.log"
    options = [f"--pidfile={pid_file}", f"--logfile={log}", "overc-server", "-c", "server.ini"]
    started = subprocess.run(
        [*TWISTD, *options], cwd=tmp_path, env=clean_environment(), timeout=60, check=False,
        capture_output=True,
    )  # fmt: skip
    assert (started.returncode, started.stderr) == (0, b"")
    pid = int(pid_file.read_text())
    try:
        found = re.compile(r"listening on http://127\.0\.0\.1:(\d+)/")
        eventually(lambda: found.search(log.read_text()))
        match = found.search(log.read_text())
        assert match is not None
        host = Host(Client(int(match[1])), "host")
        host.report(a_service("s", "FAIL"))
        recorder.wait_for(1)
        assert daemon.database.exists()
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_running(pid))
    assert not pid_file.exists()
    assert "Traceback" not in log.read_text()


def test_a_refused_start_shows_in_the_background_too(tmp_path: pathlib.Path) -> None:
    Daemon(tmp_path, "wat=1")
    options = ["--pidfile=overc.pid", "--logfile=overc.log", "overc-server", "-c", "server.ini"]
    started = subprocess.run(
        [*TWISTD, *options], cwd=tmp_path, env=clean_environment(), timeout=60, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert started.returncode == 1
    assert "server.ini:5: [overc] wat: unknown option" in started.stdout + started.stderr
    assert not (tmp_path / "overc.pid").exists()


def test_several_endpoints(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "overc.socket"
    daemon = Daemon(tmp_path)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("listen=", f"listen=unix:{path} "))
    with daemon:
        eventually(path.exists)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(str(path))
            connection.sendall(raw_post(PING, b'{"server": {"name": "local", "key": "k"}}'))
            assert connection.recv(12) == b"HTTP/1.1 200"
        assert daemon.client.servers()["local"]["ip"] == ""
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()


@pytest.fixture
def open_interface(tmp_path: pathlib.Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("interface=127.0.0.1", "interface=0.0.0.0"))
    yield daemon
    daemon.kill()


WARNING = (
    "tcp:0:interface=0.0.0.0 can be reached from other machines and the dashboard is open to all"
)


def test_beyond_loopback_without_a_password_it_warns(open_interface: Daemon) -> None:
    open_interface.start()
    assert open_interface.said(WARNING)
    assert open_interface.client.get("/ui/api/status/")
    assert open_interface.stop() == 0


def test_beyond_loopback_with_a_password_it_does_not(open_interface: Daemon) -> None:
    open_interface.environ["OVERC_UI_AUTH"] = "u:p"
    open_interface.start()
    assert not open_interface.said(WARNING)
    assert open_interface.stop() == 0


def test_on_loopback_it_does_not_warn(tmp_path: pathlib.Path) -> None:
    with running(tmp_path) as daemon:
        assert "can be reached" not in daemon.log()


@pytest.mark.parametrize("level, shown", [("WARN", False), ("info", True)])
def test_loglevel(open_interface: Daemon, level: str, shown: bool) -> None:
    open_interface.environ["OVERC_LOGLEVEL"] = level
    open_interface.spawn()
    # Twisted's own word, which no level of ours hides.
    eventually(lambda: open_interface.said("starting on"))
    eventually(lambda: open_interface.said(WARNING))
    if shown:
        eventually(lambda: open_interface.said("listening on"))
    assert open_interface.stop() == 0
    assert open_interface.said("listening on") is shown
