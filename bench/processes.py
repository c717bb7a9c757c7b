"""The processes that are measured: started, waited for, asked for their costs, and ended."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.load import ROOT

START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0
PORTS = 20_000, 32_000
"""Below those that Linux gives to connections."""


class StartError(Exception):
    """A process did not start; the sentence holds its last words."""


class Process:
    """A child that listens on a port of loopback."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path, port: int) -> None:
        self.port = port
        self._log = log
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("OVERC_", "STATE_DIR"))}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=folder, env=kept, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_until_it_answers(self, path: str, statuses: Sequence[int]) -> None:
        """Raises StartError."""
        end = time.monotonic() + START_LIMIT_S
        answer: object = None
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                answer = request(self.port, "GET", path)[0]
                if answer in statuses:
                    return
            except OSError as e:
                answer = e
            time.sleep(0.05)
        words = [line.strip() for line in self.log().splitlines() if line.strip()]
        raise StartError(f"it did not start (last answer: {answer}): {' '.join(words[-1:])[-400:]}")

    def cpu_s(self) -> float:
        """Return the processor time of all its threads so far, to the nanosecond."""
        spent_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            spent_ns += int((task / "schedstat").read_text().split()[0])
        return spent_ns / 1e9

    def memory_mb(self, field: str = "VmRSS") -> float:
        """Return its resident memory; `VmHWM` is the most that it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) * 1024 / 1e6
        raise LookupError(field)

    def stop(self) -> None:
        """End it by SIGTERM, or else by SIGKILL."""
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def yardstick(folder: Path) -> Iterator[Process]:
    log = folder / "yardstick.log"
    process = Process([sys.executable, "-m", "bench.yardstick"], ROOT, log, 0)
    try:
        end = time.monotonic() + START_LIMIT_S
        while not (words := process.log().split()):
            if time.monotonic() > end:
                raise StartError("the yard-stick did not start")
            time.sleep(0.02)
        process.port = int(words[0])
        yield process
    finally:
        process.kill()


@contextlib.contextmanager
def overc_server(folder: Path, database_url: str, sections: str = "") -> Iterator[Process]:
    """Run the real server. `sections`: lines that follow the [overc] section of its INI file."""
    port = free_port()
    config = folder / "server.ini"
    config.write_text(
        f"[overc]\ndatabase={database_url.replace('%', '%%')}\n"
        f"listen=tcp:{port}:interface=127.0.0.1\n{sections}",
        encoding="utf-8",
    )
    twistd = Path(sys.executable).with_name("twistd")
    command = [sys.executable, str(twistd), "-n", "--pidfile=", "overc-server"]
    process = Process([*command, "--config", str(config)], folder, folder / "server.log", port)
    try:
        # A service of an id that there may not be: the answer comes from the database.
        process.wait_until_it_answers("/ui/api/status/service/1", (200, 404))
        yield process
        process.stop()
    finally:
        process.kill()


def free_port() -> int:
    """Return a port that nobody listens on, and that no connection of others takes meanwhile."""
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def request(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return the status and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
