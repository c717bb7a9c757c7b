"""Stop a server for longer than the periods, start it again, and count the alerts.

    python tests/faults/restart.py

Many hosts report as agents do: all their services within each period, again after a moment where
nobody answers. While the server is away one of them dies. When it is back, the dead host has to be
found and nobody else: neither healthy services may be called late, nor may the plugin be told so.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, fields

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from support.alert_plugins import write_script
from support.daemon import Daemon
from support.http_client import STATUS

AIM = 0.8
"""The part of its period after which an agent's service reports again."""

RETRY_S = 1.0

SLACK_S = 3.0
"""Beyond the period, until the dead host has to be found."""

PLUGIN = '#!/bin/sh\nread -r line\necho "$line" >>told\n'


@dataclass(frozen=True)
class Result:
    services: int
    period_s: int
    away_s: float
    false_alerts: int
    """About hosts that are well."""
    missed: int
    """Services of the dead host that were not called late."""
    found_s: float
    """From the start until the last of them was."""
    told: int
    """Messages to the plugin."""
    told_wrong: int
    """Of these were about others than the dead host."""

    @property
    def sound(self) -> bool:
        """All was right, however fast the machine is."""
        return not (self.false_alerts or self.missed or self.told_wrong) and self.told > 0

    @property
    def passed(self) -> bool:
        return self.sound and self.found_s <= self.period_s + SLACK_S

    def show(self) -> str:
        return "\n".join(f"{one.name:>13} {getattr(self, one.name)}" for one in fields(self))


class ReportingHost(threading.Thread):
    """Reports all its services until it is told to end."""

    def __init__(
        self, name: str, services: int, period_s: int, wait_s: float, share: float
    ) -> None:
        super().__init__(daemon=True)
        self.port: int | None = None
        """Where the server listens; None while there is none."""
        self.ending = threading.Event()
        self.answered = 0
        self._wait_s = wait_s
        self._first_s = share * wait_s
        self._body = json.dumps(
            {
                "server": {"name": name, "key": "k"},
                "period": period_s,
                "services": [{"name": f"s{n}", "state": "OK"} for n in range(services)],
            }
        )

    def run(self) -> None:
        wait_s = self._first_s
        while not self.ending.wait(wait_s):
            if self._report():
                self.answered += 1
                wait_s = self._wait_s
            else:
                wait_s = RETRY_S

    def _report(self) -> bool:
        if self.port is None:
            return False
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 30)
        try:
            connection.request("POST", STATUS, self._body)
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def run(
    folder: pathlib.Path,
    *,
    hosts: int,
    services: int,
    period_s: int,
    away_s: float,
    aim: float = AIM,
    end: signal.Signals = signal.SIGTERM,
) -> Result:
    """Run all of it with so many services on each host; return the counts."""
    write_script(folder / "tell", PLUGIN)
    daemon = Daemon(folder, sections="[alert:tell]\ncommand=./tell\n")
    fleet = [
        ReportingHost(f"host {n}", services, period_s, aim * period_s, n / hosts)
        for n in range(hosts)
    ]
    dead = fleet[0]
    try:
        daemon.start()
        for host in fleet:
            host.port = daemon.client.port
            host.start()
        # So that all of them are awaited, and keep their promises.
        time.sleep(1.5 * period_s)
        assert all(host.answered for host in fleet)
        daemon.stop(end)
        dead.ending.set()
        for host in fleet:
            host.port = None
        time.sleep(away_s)
        daemon.start()
        back_at = time.time()
        for host in fleet:
            host.port = daemon.client.port
        # Each that is well has two periods in which it might be called late.
        time.sleep(2 * period_s + SLACK_S)
        assert daemon.stop() == 0
    finally:
        for host in fleet:
            host.ending.set()
        daemon.kill()
    with contextlib.closing(sqlite3.connect(daemon.database)) as db:
        alerts = db.execute(
            "select servers.name, alerts.event, alerts.raised_at from alerts"
            " left join servers on servers.id = alerts.server_id"
        ).fetchall()
    found = [at for name, event, at in alerts if (name, event) == ("host 0", "offline")]
    file = folder / "told"
    told = file.read_text().splitlines() if file.exists() else []
    return Result(
        services=hosts * services,
        period_s=period_s,
        away_s=away_s,
        false_alerts=len(alerts) - len(found),
        missed=services - len(found),
        found_s=round(max(found, default=float("inf")) - back_at, 2),
        told=len(told),
        told_wrong=sum(not line.startswith("host 0") for line in told),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--services", type=int, default=50, help="of each host")
    parser.add_argument("--period", type=int, default=30, help="what they promise, in seconds")
    parser.add_argument("--away", type=float, default=60.0, help="seconds without a server")
    parser.add_argument("--kill", action="store_true", help="end it by SIGKILL")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overc-restart-") as name:
        result = run(
            pathlib.Path(name), hosts=chosen.hosts, services=chosen.services,
            period_s=chosen.period, away_s=chosen.away,
            end=signal.SIGKILL if chosen.kill else signal.SIGTERM,
        )  # fmt: skip
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
