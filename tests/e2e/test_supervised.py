"""What a server tells systemd, and its journal."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest
from support.daemon import FOREGROUND, Child, Daemon, eventually
from support.http_client import STATUS, Host, a_service


def test_ready_alive_and_stopping(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)

        def heard() -> str:
            return systemd.recv(4096).decode()

        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        daemon = Daemon(tmp_path, environ=environ)
        daemon.spawn()
        try:
            early = [heard()]
            while not early[-1].startswith("READY=1"):
                early.append(heard())
            assert set(early[:-1]) <= {"WATCHDOG=1"}
            assert early[-1] == "READY=1\nSTATUS=serving"
            assert heard() == "WATCHDOG=1"
            daemon.child.signal(15)
            said = heard()
            while said == "WATCHDOG=1":
                said = heard()
            assert said == "STOPPING=1"
            assert daemon.child.wait() == 0, daemon.log()
        finally:
            daemon.kill()


def test_the_journal_gets_levels_and_no_times(tmp_path: Path) -> None:
    log = tmp_path / "server.1.log"
    log.touch()
    found = log.stat()
    environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
    with Daemon(tmp_path, sections="[alert:a]\ncommand=false\n", environ=environ) as daemon:
        assert Host(daemon.client, "h").send(STATUS, period=60, services=[a_service("s")])
        assert Host(daemon.client, "h").send(STATUS, period=60, services=[a_service("s", "FAIL")])
        eventually(lambda: daemon.said("alert plugin a failed"))
        assert daemon.stop() == 0
    lines = daemon.child.stdout().splitlines()
    assert [line for line in lines if not re.match(r"<[2-7]>\S", line)] == []
    assert any(line.startswith("<6>overc.daemon.server: listening on http://") for line in lines)
    assert any(line.startswith("<3>") and "alert plugin a failed" in line for line in lines)


@pytest.mark.parametrize("words", [["--logfile", "here.log"], ["--logger", "overc_logger.make"]])
def test_who_says_where_to_log_is_heard(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "overc_logger.py").write_text(
        "from twisted.logger import textFileLogObserver\n"
        "def make():\n"
        "    return textFileLogObserver(open('here.log', 'a', buffering=1))\n"
    )
    log = tmp_path / "server.1.log"
    log.touch()
    found = log.stat()
    environ = {
        "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    daemon = Daemon(tmp_path, environ=environ)
    at = FOREGROUND.index("overc-server")
    command = [*FOREGROUND[:at], *words, *FOREGROUND[at:], *daemon.arguments]
    child = Child(command, tmp_path, daemon.environ, log)
    try:
        here = tmp_path / "here.log"
        eventually(lambda: here.exists() and "#info] listening on" in here.read_text())
    finally:
        child.kill()
