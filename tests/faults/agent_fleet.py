"""Restart many agents at once, and bring back the server of many that had none for an hour.

    python tests/faults/agent_fleet.py --agents 500

Each agent makes a report of all its services every few seconds. First all are stopped and started
together. Then the server is away while each of them makes as many reports as there are in an hour
with a period of a minute; when it is back, they bring it their backlog beside what they report
anyway. All the time another client sends reports, and its answers are timed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, fields

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from faults.agent_outage import free_port
from support.daemon import Daemon, clean_environment
from support.http_client import STATUS

SERVICES = 3
WINDOW_S = 5.0
"""Rates are those of any time as long as this."""
WATCHED_S = 3.0
"""How long the other client is watched at least in each part."""


@dataclass(frozen=True)
class Result:
    agents: int
    states: int
    """That were reported."""
    lost: int
    doubled: int
    alerts: int
    """All that were raised: there was never a reason."""
    errors: int
    """What an agent found wrong with itself."""
    steady_per_s: float
    """States in a second, of all agents."""
    replay_peak: float
    """States of the backlog in a second, as a multiple of that."""
    total_peak: float
    """The same with the states that are reported beside it, and the present ones at the return."""
    restart_p99_s: float
    return_p99_s: float
    seconds: int

    @property
    def sound(self) -> bool:
        """Nothing was lost, doubled or said in vain, however fast the machine is."""
        return not (self.lost or self.doubled or self.alerts or self.errors)

    @property
    def passed(self) -> bool:
        slow = max(self.restart_p99_s, self.return_p99_s) >= 1.0
        return self.sound and not slow and 0 < self.replay_peak <= 3

    def show(self) -> str:
        return "\n".join(
            f"{one.name:>14} {_figure(getattr(self, one.name))}" for one in fields(self)
        )


def _figure(value: float) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class OtherClient(threading.Thread):
    """Reports ten times a second and takes the time."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._times: list[float] = []
        self.ending = threading.Event()

    def run(self) -> None:
        report = {
            "server": {"name": "other", "key": "k"},
            "period": 3600,
            "services": [{"name": "s", "state": "OK"}],
        }
        connection: http.client.HTTPConnection | None = None
        while not self.ending.wait(0.1):
            begun_at = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, 60)
                connection.request("POST", STATUS, json.dumps(report))
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                # There is no server now.
                connection = None
                continue
            # To be turned away is as bad as to wait.
            took_s = time.monotonic() - begun_at
            self._times.append(took_s if answer.status == 200 else 60.0)

    def p99_s(self) -> float:
        """Return the 99th percentile since the last call; of a few times it is the worst."""
        times, self._times = self._times, []
        return statistics.quantiles(times, n=100)[-1] if len(times) > 100 else max(times)


class FleetProcess:
    """The agents, in a process of their own."""

    def __init__(
        self, folder: pathlib.Path, port: int, agents: int, interval_s: float, period_s: int
    ) -> None:
        self._log = folder / "fleet.log"
        command = [
            sys.executable, str(pathlib.Path(__file__).with_name("fleet.py")),
            "--folder", str(folder), "--port", str(port), "--agents", str(agents),
            "--services", str(SERVICES), "--period", str(period_s), "--interval", str(interval_s),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=clean_environment(),
            )  # fmt: skip

    def order(self, order: str) -> list[str]:
        """Give an order and return what it says until it is done."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        lines = []
        while (line := self._process.stdout.readline().strip()) != "done":
            assert line, f"the fleet is gone:\n{self._log.read_text()}"
            lines.append(line)
        return lines

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def run(
    folder: pathlib.Path, *, agents: int, missed: int, interval_s: float, period_s: int
) -> Result:
    """Run all of it; return the counts."""
    begun_at = time.monotonic()
    port = free_port()
    (folder / "server").mkdir()
    (folder / "fleet").mkdir()
    environ = {"OVERC_LISTEN": f"tcp:{port}:interface=127.0.0.1"}
    daemon = Daemon(folder / "server", environ=environ)
    fleet = FleetProcess(folder / "fleet", port, agents, interval_s, period_s)
    other = OtherClient(port)
    try:
        daemon.start()
        other.start()
        fleet.order("start")
        time.sleep(max(WATCHED_S, 2 * interval_s))
        other.p99_s()
        fleet.order("restart")
        time.sleep(max(WATCHED_S, 2 * interval_s))
        restart_p99_s = other.p99_s()
        assert daemon.stop() == 0
        fleet.order(f"miss {missed}")
        back_at = time.time()
        daemon.start()
        # The agents go on with their reports until the backlog is gone.
        wait_for_backlog(fleet, 15 + 2 * missed * interval_s)
        return_p99_s = other.p99_s()
        [said] = fleet.order("finish")
        assert daemon.stop() == 0
    finally:
        other.ending.set()
        fleet.end()
        daemon.kill()
    told = json.loads(said)
    for error in told["errors"][:10]:
        print(error, file=sys.stderr)
    return count(
        daemon.database, told, interval_s, back_at, restart_p99_s, return_p99_s,
        int(time.monotonic() - begun_at),
    )  # fmt: skip


def wait_for_backlog(fleet: FleetProcess, limit_s: float) -> None:
    """Return when no agent has a backlog, or when all should have been without one for long."""
    end = time.monotonic() + limit_s
    # A report that waits a moment behind the next one looks like a backlog too.
    while fleet.order("left") != ["0"] and time.monotonic() < end:
        time.sleep(0.2)


def count(
    database: pathlib.Path, told: dict[str, list[int]], interval_s: float, back_at: float,
    restart_p99_s: float, return_p99_s: float, seconds: int,
) -> Result:  # fmt: skip
    with contextlib.closing(sqlite3.connect(database)) as db:
        rows = db.execute(
            "select servers.name, services.name, states.info, states.received_at from states"
            " join services on services.id = states.service_id"
            " join servers on servers.id = services.server_id"
            " where servers.name <> 'other' order by states.id"
        ).fetchall()
        alerts = db.execute(
            "select event, count(*), round(min(raised_at) - ?1), round(max(raised_at) - ?1)"
            " from alerts group by event",
            [back_at],
        ).fetchall()
    for event, times, first_s, last_s in alerts:
        print(f"{event}: {times} alerts, {first_s} to {last_s} s after the return", file=sys.stderr)
    stored = collections.Counter((host, service, int(info)) for host, service, info, _ in rows)
    made = {
        (f"host {agent}", f"s{n}", number)
        for agent, reports in enumerate(told["made"])
        for n in range(SERVICES)
        for number in range(1, reports + 1)
    }
    newest: dict[tuple[str, str], int] = collections.defaultdict(int)
    replayed, all_at = [], []
    for host, service, info, at in rows:
        if at < back_at:
            newest[host, service] = max(int(info), newest[host, service])
            continue
        all_at.append(at)
        if int(info) < newest[host, service]:
            replayed.append(at)
        newest[host, service] = max(int(info), newest[host, service])
    steady_per_s = len(told["made"]) * SERVICES / interval_s
    return Result(
        agents=len(told["made"]),
        states=len(made),
        lost=len(made - stored.keys()),
        doubled=sum(times > 1 for times in stored.values()),
        alerts=sum(one[1] for one in alerts),
        errors=len(told["errors"]),
        steady_per_s=steady_per_s,
        replay_peak=peak_per_s(replayed) / steady_per_s,
        total_peak=peak_per_s(all_at) / steady_per_s,
        restart_p99_s=restart_p99_s,
        return_p99_s=return_p99_s,
        seconds=seconds,
    )


def peak_per_s(times: list[float]) -> float:
    """Return the most that there were in any WINDOW_S, for a second."""
    times = sorted(times)
    most = first = 0
    for last, at in enumerate(times):
        while times[first] <= at - WINDOW_S:
            first += 1
        most = max(most, last - first + 1)
    return most / WINDOW_S


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--agents", type=int, default=500)
    parser.add_argument("--missed", type=int, default=75, help="reports of an agent in the outage")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between its reports")
    parser.add_argument("--period", type=int, default=20, help="what it promises, in seconds")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overc-fleet-") as name:
        result = run(
            pathlib.Path(name), agents=chosen.agents, missed=chosen.missed,
            interval_s=chosen.interval, period_s=chosen.period,
        )  # fmt: skip
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
