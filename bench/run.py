"""What all rows share: the options of a run, its folders, the yard-stick, the load."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench import profiling
from bench.load import STATUS_PATH, Generator, Load
from bench.processes import Process

SENDERS = 16


class Refused(Exception):
    """The server answered a report with something else than it promises."""


@dataclass(frozen=True, slots=True)
class Run:
    """The options, and what was started for all rows."""

    yardstick: Process
    generator: Generator
    cache: Path
    runs: int
    seconds: int
    services: int
    """In the rows that say "100k"; fewer for a small machine."""
    history_rows: int
    perfdata: bool
    profile: str | None
    """None, or `all`, or `gil`: see bench/profiling.py."""

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder on the disk of the databases, and remove it afterwards."""
        path = Path(tempfile.mkdtemp(prefix="run-", dir=self.cache))
        # MariaDB's own user has to get through.
        path.chmod(0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def load(
        self, server: Process, bodies: Path, folder: Path, seed: int, notes: list[str]
    ) -> Load:
        """Put load on the server, under the profiler if that was asked for."""
        if self.profile is None or seed > 1:
            return self.generator.run(server.port, bodies, self.seconds, seed)
        watch_s = max(1, self.seconds - 1)
        with profiling.profiled(server.pid, watch_s, folder, self.profile == "gil") as lines:
            load = self.generator.run(server.port, bodies, self.seconds, seed)
        notes += ["the first run was slowed by the profiler", *lines]
        return load


def report_all(port: int, bodies: Iterable[bytes]) -> int:
    """Send each report once, over some connections; return how many. Raises Refused."""
    local = threading.local()
    opened: list[http.client.HTTPConnection] = []

    def send(body: bytes) -> None:
        connection = getattr(local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            local.connection = connection
            opened.append(connection)
        connection.request("POST", STATUS_PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        words = answer.read()
        if answer.status != 200 or words.replace(b" ", b"") != b'{"ok":1}':
            raise Refused(f"a report was answered {answer.status}: {words[:200]!r}")

    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            return sum(1 for _ in pool.map(send, bodies))
    finally:
        for connection in opened:
            connection.close()
