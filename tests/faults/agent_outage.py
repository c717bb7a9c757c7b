"""Kill an agent again and again while its server is away and when it is back; count its reports.

    python tests/faults/agent_outage.py --kills 100

Plugins number their runs. After each kill the spool that the dead agent has left is read: whatever
stands in it has to be in the server's history in the end, once, and in order. The services report
every 0.8 s, so a hundred kills cover as many reports as one service with a period of a minute makes
in a day without a server. Four of five kills come while the server is away, the others while the
agent brings it its backlog.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import pathlib
import random
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from support.daemon import TWISTD, Child, Daemon, clean_environment, eventually

SERVICES = 10
WHILE_AWAY = 0.8
"""Of the kills."""
EARLY = 0.2
"""Of the kills come at any time, perhaps before the agent has got to anything."""

PLUGIN = """\
read n <"$1.count"
n=$((n + 1))
echo $n >"$1.new"
mv "$1.new" "$1.count"
echo $n
"""


@dataclass(frozen=True)
class Result:
    kills: int
    runs: int
    spooled: int
    """States that stood in a spool after a kill or at the end of the outage."""
    stored: int
    """States in the history."""
    lost: int
    """States that were spooled and are not in the history."""
    doubled: int
    """States that are there more than once."""
    out_of_order: int
    """States of a backlog that did not come oldest first, or whose times say another order."""
    unheard: int
    """Runs that are in no spool and not in the history, as their agent was killed before they were
    written down."""
    forgotten: int
    """The same of runs after which the same agent wrote others of their service down."""
    seconds: int

    @property
    def passed(self) -> bool:
        wrong = self.lost or self.doubled or self.out_of_order or self.forgotten
        return not wrong and self.spooled > 0

    def show(self) -> str:
        return "\n".join(f"{one.name:>16} {getattr(self, one.name)}" for one in fields(self))


class Row(NamedTuple):
    """A state in the history."""

    name: str
    n: int
    seen_at: float
    received_at: float


class Agent:
    """A real agent, killed and started again."""

    def __init__(self, folder: pathlib.Path, port: int) -> None:
        self._folder = folder
        self._spool = folder / "spool-host.db"
        self._starts = 0
        self._child: Child | None = None
        self.spooled: set[tuple[str, int]] = set()
        """Services and numbers of all that was found in a spool."""
        self.ends: list[dict[str, int]] = []
        """How many runs there were when it ended, each time."""
        (folder / "plugin.sh").write_text(PLUGIN)
        sections = []
        for name in names():
            (folder / f"{name}.count").write_text("0\n")
            sections.append(f"[service:{name}]\nperiod=1\ntimeout=5\ncommand=sh plugin.sh {name}\n")
        head = f"[overc]\nserver=http://127.0.0.1:{port}/\nmy-name=host\nmy-key=k\nown-state=no\n"
        (folder / "agent.ini").write_text(head + "".join(sections))

    def start(self) -> None:
        self._starts += 1
        command = [*TWISTD, "-n", "--pidfile=", "overc-agent", "--config", "agent.ini"]
        environ = clean_environment(STATE_DIRECTORY=str(self._folder))
        log = self._folder / f"agent.{self._starts}.log"
        self._child = Child(command, self._folder, environ, log)

    def kill(self) -> None:
        assert self._child is not None
        self._child.kill()
        assert self._child.process.returncode == -signal.SIGKILL, self._child.output()
        assert "Traceback" not in self._child.output(), self._child.output()
        self.spooled |= set(self.left())
        self.ends.append(self.runs())

    def stop(self) -> None:
        assert self._child is not None
        self._child.signal(signal.SIGTERM)
        assert self._child.wait() == 0, self._child.output()
        self.ends.append(self.runs())

    def left(self) -> list[tuple[str, int]]:
        """Return what stands in the spool of a dead agent, which finds it as it was."""
        with tempfile.TemporaryDirectory() as name:
            copy = pathlib.Path(name) / "copy.db"
            for end in ("", "-wal"):
                source = pathlib.Path(f"{self._spool}{end}")
                if source.exists():
                    shutil.copyfile(source, f"{copy}{end}")
            if not copy.exists():
                return []
            with contextlib.closing(sqlite3.connect(copy)) as db:
                try:
                    bodies = db.execute("select body from reports").fetchall()
                except sqlite3.OperationalError:
                    # It was killed before it had made the table.
                    return []
        return [(one[0], int(one[2])) for (body,) in bodies for one in json.loads(body)]

    def runs(self) -> dict[str, int]:
        """Return how many runs of each plugin have begun and got their number."""
        return {name: int((self._folder / f"{name}.count").read_text()) for name in names()}

    def wait_for_runs(self) -> None:
        """Return once each plugin has run."""
        before = self.runs()
        eventually(
            lambda: all(n > before[name] for name, n in self.runs().items()), "all have run", 60
        )


def names() -> list[str]:
    return [f"s{n}" for n in range(SERVICES)]


def torture(folder: pathlib.Path, kills: int, *, seed: int = 1, show: bool = False) -> Result:
    """Run the agent, the outage and the kills; return the counts."""
    begun_at = time.monotonic()
    moment = random.Random(seed)
    port = free_port()
    environ = {"OVERC_LISTEN": f"tcp:{port}:interface=127.0.0.1"}
    (folder / "server").mkdir()
    (folder / "agent").mkdir()
    agent = Agent(folder / "agent", port)
    daemon = Daemon(folder / "server", environ=environ)
    try:
        daemon.start()
        agent.start()
        agent.wait_for_runs()
        assert daemon.stop() == 0
        while_away = max(round(kills * WHILE_AWAY), 1)
        for n in range(kills):
            if n == while_away:
                daemon.start()
            if moment.random() >= EARLY:
                agent.wait_for_runs()
            time.sleep(moment.uniform(0, 1))
            agent.kill()
            agent.start()
            if show:
                print(f"\r{n + 1} kills", end="", file=sys.stderr)
        if kills <= while_away:
            daemon.start()
        wait_for(daemon.database, agent.spooled)
        agent.stop()
        # What the agent has kept at its end is no part of the outage.
        agent.spooled |= set(agent.left()) & set(history(daemon.database))
        assert daemon.stop() == 0
        return count(kills, agent, daemon, int(time.monotonic() - begun_at))
    finally:
        daemon.kill()
        if agent._child is not None:
            agent._child.kill()


def free_port() -> int:
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        port: int = placeholder.getsockname()[1]
    return port


def history(database: pathlib.Path) -> list[tuple[str, int]]:
    """Return the states in the order in which they were stored."""
    return [(row.name, row.n) for row in rows(database)]


def rows(database: pathlib.Path) -> list[Row]:
    with contextlib.closing(sqlite3.connect(database)) as db:
        found = db.execute(
            "select services.name, states.info, states.seen_at, states.received_at from states"
            " join services on services.id = states.service_id order by states.id"
        ).fetchall()
    return [Row(name, int(info), seen_at, at) for name, info, seen_at, at in found]


def wait_for(database: pathlib.Path, states: set[tuple[str, int]]) -> None:
    """Return once all states are in the history, or nothing more comes."""
    before, since = -1, time.monotonic()
    while missing := len(states - set(history(database))):
        if missing != before:
            before, since = missing, time.monotonic()
        if time.monotonic() - since > 30:
            return
        time.sleep(0.2)


def count(kills: int, agent: Agent, daemon: Daemon, seconds: int) -> Result:
    stored = rows(daemon.database)
    numbers = collections.Counter((row.name, row.n) for row in stored)
    runs = {(name, n) for name, last in agent.runs().items() for n in range(1, last + 1)}
    heard = numbers.keys() | agent.spooled
    forgotten = set(holes(heard, agent.ends))
    return Result(
        kills,
        runs=len(runs),
        spooled=len(agent.spooled),
        stored=len(stored),
        lost=len(agent.spooled - numbers.keys()),
        doubled=sum(times > 1 for times in numbers.values()),
        out_of_order=out_of_order(stored),
        unheard=len(runs - heard - forgotten),
        forgotten=len(forgotten),
        seconds=seconds,
    )


def holes(
    heard: Collection[tuple[str, int]], ends: Sequence[Mapping[str, int]]
) -> Iterator[tuple[str, int]]:
    """Yield runs that nothing was heard of, but of later ones by the same agent.

    The last agent was stopped, so it is to have written down all but what still ran.
    """
    before: Mapping[str, int] = dict.fromkeys(names(), 0)
    for number, end in enumerate(ends, 1):
        for name in names():
            known = {n for n in range(before[name] + 1, end[name] + 1) if (name, n) in heard}
            newest = end[name] if number == len(ends) else max(known, default=0)
            # A plugin outlives its agent, and may count on a moment later: that is the first here.
            yield from ((name, n) for n in range(before[name] + 2, newest) if n not in known)
        before = end


def out_of_order(stored: list[Row]) -> int:
    """Count states of a backlog that did not come oldest first, or whose times say another order.

    A report with the newest state of any service goes before the backlog, whatever else is in it.
    """
    newest: dict[str, int] = collections.defaultdict(int)
    backlog: dict[str, int] = collections.defaultdict(int)
    wrong = 0
    # What is stored at one moment was one report: there is no other agent.
    for _, group in itertools.groupby(stored, key=lambda row: row.received_at):
        report = list(group)
        urgent = any(row.n > newest[row.name] for row in report)
        for row in report:
            newest[row.name] = max(row.n, newest[row.name])
            if not urgent:
                wrong += row.n <= backlog[row.name]
                backlog[row.name] = row.n
    for name in names():
        by_time = [row.n for row in sorted(stored, key=lambda row: row.seen_at) if row.name == name]
        wrong += sum(a > b for a, b in itertools.pairwise(by_time))
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overc-outage-") as name:
        result = torture(
            pathlib.Path(name), chosen.kills, seed=chosen.seed, show=sys.stderr.isatty()
        )
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
