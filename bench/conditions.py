"""The conditions of a run, without which its figures say nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load import Generator

SYNCS = 200


def observe(folder: Path, generator: Generator) -> dict[str, Any]:
    """Return what the figures depend on. `folder`: where the databases will be."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "system": f"{platform.system()} {platform.release()}",
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "load average": f"{os.getloadavg()[0]:.2f}",
        "overc": version("overc"),
        "python": platform.python_version(),
        "twisted": version("twisted"),
        "klein": version("klein"),
        "msgspec": version("msgspec"),
        "sqlite": sqlite3.sqlite_version,
        "mariadb": _mariadb_version(),
        "load generator": f"{generator.name}, {generator.connections} connections",
        "fdatasync median": f"{fdatasync_ms(folder):.3f} ms",
    }


def fdatasync_ms(folder: Path) -> float:
    """Return the median time that a written page takes to the disk."""
    path = folder / "fdatasync"
    took_ms = []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            begun_at = time.perf_counter()
            os.fdatasync(file.fileno())
            took_ms.append(1000 * (time.perf_counter() - begun_at))
    path.unlink()
    return statistics.median(took_ms)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _mariadb_version() -> str:
    try:
        done = subprocess.run(["mariadbd", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "none"
    words = done.stdout.split()
    return words[words.index("Ver") + 1] if "Ver" in words else done.stdout.strip()
