"""What the watchdog costs with many services, and how late it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

from bench import history
from bench.load import PING_PATH, STATUS_PATH
from bench.processes import Process, overc_server, request
from bench.results import Row
from bench.run import Refused, Run

PROBES = 40
"""Deadlines whose lateness is measured, at random places between two ticks."""

TICKS_PER_S = 4
"""See TICK_S in overc/daemon/watchdog.py."""

LIMIT_S = 60.0

_STAMP = """\
#!/bin/sh
# Notes when it was started, and for which alert.
read -r line
echo "$(date +%s.%N) $line" >> "$1"
"""


def watchdog(run: Run, engine: str) -> Row:
    row = Row("watchdog", engine, f"deadlines of {run.services:,} services")
    with history.database(run, history.fleet(run), 0) as (folder, database):
        stamps, sections = _stamping_plugin(folder)
        with overc_server(folder, database.url, sections) as server:
            # The start itself grants every service its period, which is no usual tick.
            time.sleep(1)
            spent_s, begun_at = server.cpu_s(), time.monotonic()
            time.sleep(run.seconds)
            idle_s = server.cpu_s() - spent_s
            share_s = idle_s / (time.monotonic() - begun_at)
            row.add("processor, idle", "ms/s", 1000 * share_s)
            row.add("processor for a tick", "ms", 1000 * share_s / TICKS_PER_S)
            row.add("deadline to plugin started", "s", *_lateness_s(server, stamps))
            row.notes.append("with the time that a report and the start of sh and date take")
    return row


def _stamping_plugin(folder: Path) -> tuple[Path, str]:
    script, stamps = folder / "stamp.sh", folder / "stamps"
    script.write_text(_STAMP, encoding="utf-8")
    script.chmod(0o755)
    stamps.touch()
    return stamps, f"\n[alert:stamp]\ncommand={script} {stamps}\n"


def _lateness_s(server: Process, stamps: Path) -> list[float]:
    """Report services that promise a second and then fall silent; return how late each alert is."""
    random, deadlines = Random(1), {}
    for number in range(PROBES):
        # Each on a server of its own: what is late together on one travels in one message.
        name = f"probe-{number:03}"
        report = {
            "server": {"name": name, "key": "1234"},
            "period": 1,
            "services": [{"name": "alive", "state": "OK"}],
        }
        # The first one proves the key, which takes a while.
        request(server.port, "POST", PING_PATH, json.dumps({"server": report["server"]}).encode())
        deadlines[name] = time.time() + 1
        status, words = request(server.port, "POST", STATUS_PATH, json.dumps(report).encode())
        if status != 200:
            raise Refused(f"a report was answered {status}: {words[:200]!r}")
        time.sleep(random.uniform(0.05, 0.2))
    end = time.monotonic() + LIMIT_S
    while len(started := _started_at(stamps)) < PROBES:
        if time.monotonic() > end:
            raise Refused(f"after {LIMIT_S:.0f} s only {len(started)} of {PROBES} plugins ran")
        time.sleep(0.1)
    return [started[name] - deadline for name, deadline in deadlines.items()]


def _started_at(stamps: Path) -> dict[str, float]:
    """Return by service when the plugin was started for its first alert."""
    found: dict[str, float] = {}
    for line in stamps.read_text(encoding="utf-8").splitlines():
        at, _, message = line.partition(" ")
        for word in message.split():
            if word.startswith("probe-"):
                found.setdefault(word.rstrip(":,"), float(at))
    return found
