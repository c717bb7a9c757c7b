"""What the agent costs beside its plugins, and how many of them it can run."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.processes import Process
from bench.results import Row
from bench.run import Refused, Run

PLUGIN = "/bin/true"
SERVICES = 1000
PERIOD_S = 60
INTERVAL = 0.8
"""The part of its period after which a service is run again."""

BUSY_SERVICES = 3000
BUSY_S = 6.0
"""A period of a second for so many: more than any machine can run."""

START_LIMIT_S = 60.0
AT_ONCE = 8


def agent(run: Run, engine: str) -> Row:
    row = Row("agent", engine, f"the agent with {SERVICES:,} services at {PERIOD_S} s, `true`")
    # With --quick: a tenth of both, so at the same rate.
    tenth = 10 if run.seconds < 6 else 1
    services, period_s = SERVICES // tenth, PERIOD_S // tenth
    rate = services / (INTERVAL * period_s)
    with _running(run, services, period_s) as (sink, process):
        begun_at = time.monotonic()
        sink.wait_for(services)
        # From here on they come again, twice as fast as later, until they are spread.
        time.sleep(max(0.0, begun_at + 0.45 * period_s - time.monotonic()))
        cpu_s, runs = process.cpu_s(), sink.states
        time.sleep(0.25 * period_s)
        # On a machine that has other work to do, a short period's runs may come late.
        end = time.monotonic() + period_s
        while sink.states == runs and time.monotonic() < end:
            time.sleep(0.05 * period_s)
        cpu_s, runs = process.cpu_s() - cpu_s, sink.states - runs
        memory_mb = process.memory_mb()
    if not runs:
        raise Refused("the agent reported nothing while it was measured")
    row.add("processor time of a run", "ms", 1000 * cpu_s / runs)
    row.add("processor, of one core", "%", 100 * rate * cpu_s / runs)
    row.add("resident memory", "MB", memory_mb)
    row.notes.append(f"{runs} runs were measured, {rate:.3g} a second are due")
    _busy(run, row, tenth)
    return row


def _busy(run: Run, row: Row, tenth: int) -> None:
    """Let the agent run as many as it can, and the system alone."""
    seconds = BUSY_S / tenth
    found: list[float] = []
    with _running(run, BUSY_SERVICES, 1) as (sink, process):
        # Each of them once: the first runs come as the agent starts.
        sink.wait_for(BUSY_SERVICES // tenth)
        cpu_s, busy_s = process.cpu_s(), 0.0
        for _ in range(run.runs):
            begun_at, runs = time.monotonic(), sink.states
            time.sleep(seconds)
            took_s = time.monotonic() - begun_at
            found.append((sink.states - runs) / took_s)
            busy_s += took_s
        cpu_s = process.cpu_s() - cpu_s
    alone = [_spawned_per_s(min(seconds, 2.0)) for _ in range(run.runs)]
    row.add("runs/s, reports sent", "runs/s", *found)
    row.add("runs/s of a bare posix_spawn", "runs/s", *alone)
    row.notes.append(f"then the agent took {100 * cpu_s / busy_s:.0f} % of a core")


def _spawned_per_s(seconds: float) -> float:
    """Return how often this process can start the plugin, so many at once as the agent."""
    end = time.monotonic() + seconds
    running, ended = 0, 0
    while time.monotonic() < end or running:
        while running < AT_ONCE and time.monotonic() < end:
            os.posix_spawn(PLUGIN, (PLUGIN,), {}, setsid=True)
            running += 1
        os.wait()
        running, ended = running - 1, ended + 1
    return ended / seconds


@contextlib.contextmanager
def _running(run: Run, services: int, period_s: int) -> Iterator[tuple[_Sink, Process]]:
    sections = "".join(
        f"[service:service {n}]\nperiod={period_s}\ncommand={PLUGIN}\n" for n in range(services)
    )
    with run.folder() as folder, _Sink() as sink:
        (folder / "agent.ini").write_text(
            f"[overc]\nserver=http://127.0.0.1:{sink.port}/\nmy-name=host\nmy-key=k\n"
            f"spool=spool.db\nown-state=no\nconcurrency={AT_ONCE}\n{sections}",
            encoding="utf-8",
        )
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = [sys.executable, twistd, "-n", "--pidfile=", "overc-agent", "-c", "agent.ini"]
        process = Process(command, folder, folder / "agent.log", sink.port)
        try:
            yield sink, process
            process.stop()
        finally:
            process.kill()


class _Sink:
    """A server in a thread of ours that takes every report and counts its states."""

    def __init__(self) -> None:
        self.states = 0
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.states += len(json.loads(body).get("services", ()))
                self.send_response(200)
                self.send_header("Content-Length", "9")
                self.end_headers()
                self.wfile.write(b'{"ok": 1}')

            def log_message(self, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> _Sink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait_for(self, states: int) -> None:
        """Return once so many have come. Raises Refused."""
        end = time.monotonic() + START_LIMIT_S
        while self.states < states:
            if time.monotonic() > end:
                raise Refused(f"only {self.states} of {states} states came")
            time.sleep(0.01)
