"""What a server tells systemd."""

from __future__ import annotations

import socket
from pathlib import Path

from support.daemon import Daemon


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
