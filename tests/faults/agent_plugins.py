"""Run hostile plugins, many at once, and count what is left of them.

    python tests/faults/agent_plugins.py --runs 1000

Each run is one of KINDS: it forks, ignores SIGTERM, prints without an end, holds its output open
after its end, and so on. They run as the agent's plugins do, on the real reactor, a few at a time.
What a run leaves is known by a word in its environment. A grandchild with a session of its own is a
daemon, and left alone (see `overc.process`): those are counted for themselves, must hold nothing of
ours, and are ended here.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field, fields
from typing import Any

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults

from overc.agent.runner import reading_of
from overc.agent.service_settings import ServiceSettings
from overc.process import Runner

AT_ONCE = 8
TIMEOUT_S = 0.5
PATIENCE_S = 30.0
"""The time limit of those that should end before it, however slow the machine is."""
LATE_S = 2.0
"""A run may end this much after its time limit."""


@dataclass(frozen=True)
class Kind:
    """One way of being hostile, as a shell script."""

    name: str
    script: str
    info: str
    """What its report has to begin with."""
    state: str = "UNK"
    daemons: int = 0
    """How many it leaves in sessions of their own."""


TIMED_OUT = f"timed out after {TIMEOUT_S:g} s"

READY = """sh -c 'echo >"$0"; sleep 1000; :' ready.$$"""
WAIT = "until [ -e ready.$$ ]; do sleep 0.01; done"

KINDS = (
    Kind("well", "echo fine", "fine", "OK"),
    Kind("hangs", "sleep 1000", TIMED_OUT),
    Kind("ignores TERM", "trap '' TERM HUP INT; echo x; while :; do sleep 1000; done", TIMED_OUT),
    Kind("forks", "for n in 1 2 3 4 5 6 7 8; do sleep 1000 & done; wait", TIMED_OUT),
    Kind("forks for ever", "trap '' TERM; while :; do sleep 1000 & sleep 0.02; done", TIMED_OUT),
    Kind("forks and ends", "trap '' TERM; for n in 1 2 3; do sleep 1000 & done; echo y", "y", "OK"),
    Kind("prints without an end", "exec yes", "killed: it printed without an end"),
    Kind("children print", "yes & yes & wait", "killed: it printed without an end"),
    Kind("holds the output", "echo z; sleep 1000 & exit 1", "z", "WARN"),
    Kind("closes its output", "exec >&- 2>&-; sleep 1000", TIMED_OUT),
    Kind("stops itself", "kill -STOP $$", TIMED_OUT),
    Kind("stopped child", "sleep 1000 & kill -STOP $!; echo a", "a", "OK"),
    Kind("group of its own", "timeout 1000 sleep 1000", TIMED_OUT),
    Kind("left in a group", f"timeout 1000 {READY} & {WAIT}; echo b; exit 2", "b", "FAIL"),
    Kind("dies", "kill -SEGV $$", "killed by SIGSEGV"),
    Kind("is not found", "exec ./nothing", "exit status 127"),
    Kind("binary", "head -c 300000 /dev/urandom", "", "OK"),
    Kind("daemon", f"setsid {READY} & {WAIT}; echo c", "c", "OK", daemons=1),
    Kind("daemon that prints", "setsid sh -c 'sleep 0.6; yes' & sleep 1000", TIMED_OUT),
)


@dataclass
class Result:
    runs: int = 0
    seconds: float = 0.0
    wrong: collections.Counter[str] = field(default_factory=collections.Counter)
    """Runs whose report is not what it has to be, by kind."""
    late: int = 0
    """Runs that ended too long after their time limit."""
    latest_s: float = 0.0
    processes: int = 0
    """That are left, but for daemons."""
    daemons: int = 0
    missing_daemons: int = 0
    descriptors: int = 0
    timers: int = 0
    zombies: int = 0

    @property
    def passed(self) -> bool:
        left = self.processes + self.descriptors + self.timers + self.zombies
        return bool(self.runs) and not (self.wrong or self.late or left or self.missing_daemons)

    def show(self) -> str:
        return "\n".join(f"{one.name:>15} {getattr(self, one.name)}" for one in fields(self))


async def measure(reactor: Any, runs: int, folder: pathlib.Path) -> Result:
    """Run that many, and count."""
    mark = str(uuid.uuid4())
    env = {**os.environ, "OVERC_HOSTILE": mark, "LC_ALL": "C"}
    runner = Runner(reactor)
    runner.startService()
    result = Result()
    await _one(runner, KINDS[0], folder, env, Result())
    descriptors, timers = _descriptors(), len(reactor.getDelayedCalls())
    begun_at = time.monotonic()
    kinds = [KINDS[n % len(KINDS)] for n in range(runs)]
    waiting = iter(kinds)

    async def work() -> None:
        for kind in waiting:
            await _one(runner, kind, folder, env, result)

    await gatherResults([Deferred.fromCoroutine(work()) for _ in range(AT_ONCE)])
    result.seconds = round(time.monotonic() - begun_at, 1)
    await runner.stopService()
    # What was killed a moment ago may take another one to be gone.
    await task.deferLater(reactor, 1.0)
    result.descriptors = max(0, _descriptors() - descriptors)
    result.timers = max(0, len(reactor.getDelayedCalls()) - timers)
    result.zombies = _zombies()
    _count_processes(result, mark)
    result.missing_daemons = max(0, sum(kind.daemons for kind in kinds) - result.daemons)
    return result


async def _one(
    runner: Runner, kind: Kind, folder: pathlib.Path, env: dict[str, str], result: Result
) -> None:
    timeout_s = TIMEOUT_S if kind.info == TIMED_OUT else PATIENCE_S
    command = ("sh", "-c", kind.script)
    service = ServiceSettings(kind.name, 60, command, timeout_s, folder=str(folder))
    begun_at = time.monotonic()
    reading = await reading_of(runner, service, env)
    late_s = time.monotonic() - begun_at - timeout_s
    result.runs += 1
    result.latest_s = round(max(result.latest_s, late_s), 2)
    result.late += late_s > LATE_S
    if reading.state.value != kind.state or not reading.info.startswith(kind.info):
        result.wrong[f"{kind.name}: {reading.state} {reading.info[:60]!r}"] += 1


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _zombies() -> int:
    """Return how many children of ours nobody has reaped."""
    try:
        return int(os.waitpid(-1, os.WNOHANG) != (0, 0))
    except ChildProcessError:
        return 0


def _count_processes(result: Result, mark: str) -> None:
    """Count what has the mark in its environment, and end it."""
    sessions: dict[int, int] = {}
    for path in pathlib.Path("/proc").iterdir():
        if not path.name.isdigit() or int(path.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark.encode() in (path / "environ").read_bytes():
                words = (path / "stat").read_bytes().rpartition(b")")[2].split()
                if words[0] not in b"ZX":
                    sessions[int(path.name)] = int(words[3])
    for pid, session in sessions.items():
        # The leader of a run's session is the plugin itself, and that has ended.
        result.daemons += pid == session
        result.processes += session not in sessions
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    results: list[Result] = []

    async def run(reactor: Any) -> None:
        with tempfile.TemporaryDirectory(prefix="overc-hostile-") as folder:
            results.append(await measure(reactor, options.runs, pathlib.Path(folder)))

    with contextlib.suppress(SystemExit):
        task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    for result in results:
        print(result.show())
    return 0 if results and results[0].passed else 1


if __name__ == "__main__":
    sys.exit(main())
