"""Puts load on a server, by wrk or, where it is missing, by bench/load_generator.py."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATUS_PATH = "/api/set/service/status"
PING_PATH = "/api/ping"
SPARE_S = 30
"""A generator that takes so much longer than it was told hangs."""


class LoadError(Exception):
    """The load generator failed; its last words are the reason."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of some seconds of load."""

    requests: int
    """Those that were answered well."""
    duration_s: float
    refused: int
    """Answers of another status."""
    broken: int
    """Connections that failed, and answers that did not come."""
    p50_ms: float
    p99_ms: float
    max_ms: float

    @property
    def requests_per_s(self) -> float:
        return self.requests / self.duration_s

    @property
    def fault(self) -> str | None:
        """Say why the figures don't count, or None when they do."""
        if self.refused or self.broken:
            return f"{self.refused} requests refused, {self.broken} connections failed"
        return None if self.requests else "nothing was answered"


@dataclass(frozen=True, slots=True)
class Generator:
    """How load is made. `wrk`: its path, or None for our own."""

    connections: int
    wrk: str | None

    @property
    def name(self) -> str:
        return "wrk" if self.wrk else "bench/load_generator.py"

    def run(
        self, port: int, bodies: Path, duration_s: int, seed: int = 1, rate_per_s: float = 0
    ) -> Load:
        """Post bodies of a file in random order. `rate_per_s`: 0 for as many as it takes."""
        url = f"http://127.0.0.1:{port}{STATUS_PATH}"
        arguments = [str(bodies), str(seed), f"{rate_per_s:.3f}"]
        if self.wrk:
            command = [
                self.wrk, "-t1", f"-c{self.connections}", f"-d{duration_s}s", "--timeout", "10s",
                "-s", str(ROOT / "bench/post.lua"), url, "--", *arguments,
            ]  # fmt: skip
        else:
            command = [
                sys.executable, "-m", "bench.load_generator",
                url, str(self.connections), str(duration_s), *arguments,
            ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=duration_s + SPARE_S,
            check=False,
        )  # fmt: skip
        last = (done.stdout.strip().splitlines() or [""])[-1]
        try:
            return Load(**json.loads(last))
        except (ValueError, TypeError):
            words = (done.stderr.strip() or last)[-300:]
            raise LoadError(f"{self.name} failed ({done.returncode}): {words}") from None


def find_generator(connections: int, own: bool) -> Generator:
    """Return wrk where there is one, unless our own generator is asked for."""
    return Generator(connections, None if own else shutil.which("wrk"))


def write_bodies(path: Path, bodies: Iterable[bytes]) -> Path:
    path.write_bytes(b"".join(body + b"\n" for body in bodies))
    return path
