"""Kill a server amid its alerts again and again, and count what the plugins were told.

    python tests/faults/outbox.py --kills 500
    python tests/faults/outbox.py --kills 100 --engine mariadb

Hosts raise alerts about many services. One plugin delivers each, another one refuses some of them
once. In the end each alert must have reached both: at least once, once more at most for each kill,
never twice in the life of one server, and those of one service in order.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import pathlib
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from faults.sigkill import Database, new_database
from support.alert_plugins import write_script
from support.daemon import Daemon, eventually
from support.http_client import Host, a_service

SERVICES = 40
ALERTS_MAX = 8
"""Raised before each kill."""

REFUSED = 30
"""Of so many alerts one is refused at first."""

PLUGINS = ("sure", "moody")
DRAIN_S = 300.0

SURE = """#!/bin/sh
# One line for each delivery: which server's, of what, about whom. Written at once.
read -r line
printf '%s %s %s\\n' "$RUN" "$OVERC_ALERT_ID" "${line%%:*}" >>sure.told
"""

MOODY = f"""#!/bin/sh
read -r line
if [ $((OVERC_ALERT_ID % {REFUSED})) -eq 0 ] && mkdir "refused.$OVERC_ALERT_ID" 2>/dev/null; then
    exit 1
fi
printf '%s %s %s\\n' "$RUN" "$OVERC_ALERT_ID" "${{line%%:*}}" >>moody.told
"""

SECTIONS = "".join(f"[alert:{name}]\ncommand=./{name}\ndigest-over=1000000\n" for name in PLUGINS)


@dataclass(frozen=True)
class Result:
    engine: str
    kills: int
    alerts: int
    """For each plugin: raised, and to be delivered."""
    delivered: int
    """All deliveries, by both plugins."""
    lost: int
    """Alerts that a plugin was never told of."""
    extra: int
    """Deliveries of what was delivered before."""
    repeated: int
    """Of those the ones by a server that had delivered it itself."""
    overtaken: int
    """Deliveries of what was older than something that was told before about the same service."""
    wrong: int
    """Rows of the outbox that are not `sent` in the end."""
    seconds: int

    @property
    def passed(self) -> bool:
        bad = self.lost or self.repeated or self.overtaken or self.wrong
        return not bad and self.alerts > 0 and self.extra <= self.kills * len(PLUGINS)

    def show(self) -> str:
        return "\n".join(f"{one.name:>13} {getattr(self, one.name)}" for one in fields(self))


@dataclass(frozen=True)
class Told:
    """One delivery."""

    run: int
    alert_id: int
    who: str


def torture(
    engine: str, database: Database, folder: pathlib.Path, kills: int, *, seed: int = 1
) -> Result:
    begun_at = time.monotonic()
    moment = random.Random(seed)
    write_script(folder / "sure", SURE)
    write_script(folder / "moody", MOODY)
    daemon = database.serve(Daemon(folder, sections=SECTIONS, environ={"RUN": "0"}))
    with daemon:
        raised = 0
        for n in range(kills):
            raised = _raise_some(daemon, moment, raised)
            # From before the first plugin is started until after all of them have ended.
            time.sleep(moment.choice((0, 0.01, 0.05, 0.2)) * moment.random())
            daemon.stop(signal.SIGKILL)
            daemon.environ["RUN"] = str(n + 1)
            daemon.start()
            if sys.stderr.isatty() and __name__ == "__main__":
                print(f"\r{n + 1} kills", end="", file=sys.stderr)
        _raise_some(daemon, moment, raised)
        eventually(lambda: not _pending(database), "all alerts are sent", DRAIN_S, 0.2)
        assert daemon.stop() == 0
    told = {name: read(folder / f"{name}.told") for name in PLUGINS}
    return count(engine, kills, database, told, int(time.monotonic() - begun_at))


def _raise_some(daemon: Daemon, moment: random.Random, raised: int) -> int:
    """Raise some alerts in one request or in several; return how many there are by now."""
    host = Host(daemon.client, "host")
    for _ in range(moment.randint(1, ALERTS_MAX)):
        raised += 1
        try:
            if moment.random() < 0.5:
                state = "FAIL" if moment.random() < 0.5 else "WARN"
                host.report(a_service(f"s{moment.randrange(SERVICES)}", state, str(raised)))
            else:
                host.alert(f"number {raised}", f"s{moment.randrange(SERVICES)}")
        except (OSError, http.client.HTTPException):
            # The server of before was killed under the client's connection.
            host.client = daemon.client
    return raised


def _pending(database: Database) -> int:
    rows: Any = database.rows("select count(*) from outbox where status = 'pending'")
    return int(rows[0][0])


def read(path: pathlib.Path) -> list[Told]:
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        run, alert_id, who = line.split(" ", 2)
        found.append(Told(int(run), int(alert_id), who))
    return found


def count(
    engine: str, kills: int, database: Database, told: dict[str, list[Told]], seconds: int
) -> Result:
    """Compare what the plugins were told with the outbox."""
    lost = extra = repeated = overtaken = wrong = 0
    rows: Any = database.rows("select plugin, alert_id, status from outbox")
    for plugin, deliveries in told.items():
        wanted = {int(alert_id) for name, alert_id, _ in rows if name == plugin}
        times = collections.Counter(one.alert_id for one in deliveries)
        lost += len(wanted - times.keys())
        extra += times.total() - len(times)
        lives = collections.Counter((one.run, one.alert_id) for one in deliveries)
        repeated += lives.total() - len(lives)
        newest: dict[str, int] = {}
        for one in deliveries:
            overtaken += one.alert_id < newest.get(one.who, 0)
            newest[one.who] = one.alert_id
        wrong += sum(name == plugin and status != "sent" for name, _, status in rows)
    return Result(
        engine, kills,
        alerts=len(rows) // len(PLUGINS),
        delivered=sum(map(len, told.values())),
        lost=lost, extra=extra, repeated=repeated, overtaken=overtaken, wrong=wrong,
        seconds=seconds,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=("sqlite", "mariadb"), default="sqlite")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="overc-outbox-") as name:
        folder = pathlib.Path(name)
        with new_database(chosen.engine, folder) as database:
            result = torture(chosen.engine, database, folder, chosen.kills, seed=chosen.seed)
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
