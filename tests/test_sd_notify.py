from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overc.sd_notify import Notifier


class Systemd:
    """The other end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self._socket.settimeout(10)

    def heard(self) -> list[str]:
        return self._socket.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["a file", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    abstract = f"@overc-test-{os.getpid()}"
    systemd = Systemd(abstract if "abstract" in request.param else str(tmp_path / "notify"))
    yield systemd
    systemd.close()


def test_what_is_said(systemd: Systemd) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.address})
    notifier.ready("watching 3\nservices")
    assert systemd.heard() == ["READY=1", "STATUS=watching 3 services"]
    notifier.alive()
    assert systemd.heard() == ["WATCHDOG=1"]
    notifier.status("\udcff")
    assert systemd.heard() == ["STATUS=?"]
    before_us = time.monotonic_ns() // 1000
    notifier.reloading()
    reloading, stamp = systemd.heard()
    assert reloading == "RELOADING=1"
    assert before_us <= int(stamp.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.stopping()
    assert systemd.heard() == ["STOPPING=1"]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/no/such/socket", "/" * 200])
def test_nobody_to_tell_does_no_harm(address: str) -> None:
    Notifier({"NOTIFY_SOCKET": address}).ready("x")


def test_without_systemd_there_is_nothing_to_tell() -> None:
    notifier = Notifier({})
    notifier.stopping()
    assert notifier.watchdog_s is None


def test_a_full_socket_holds_nothing_up(tmp_path: Path) -> None:
    systemd = Systemd(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": systemd.address})
    for _ in range(1000):
        notifier.alive()
    systemd.close()


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_PID": str(os.getpid())}, None),
    ],
)
def test_how_often_it_wants_to_hear_from_us(
    environ: dict[str, str], expected: float | None
) -> None:
    assert Notifier(environ).watchdog_s == expected
