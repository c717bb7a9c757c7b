"""Kill a server under load again and again, and count what became of the reports.

    python tests/faults/sigkill.py --engine sqlite --kills 100
    python tests/faults/sigkill.py --engine mariadb --kills 100 --victim database

Several hosts report as fast as they can. Their reports are numbered, and one that got no answer is
sent again until it is answered, so each must be in the history exactly once in the end. Some are
sent again although they were answered, and for some the answer is not waited for.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from support.daemon import Daemon, eventually
from support.http_client import STATUS
from support.mariadb import MariaDb, Schema, running_mariadb

SERVICES = 3
REPEATED = 0.05
"""Of the answered reports are sent once more."""
UNHEARD = 0.05
"""Of the answers are not waited for."""


@dataclass(frozen=True)
class Result:
    engine: str
    victim: str
    kills: int
    requests: int
    answered: int
    lost: int
    """Answered reports that are not in the history."""
    doubled: int
    """Reports of which a state is there more than once."""
    torn: int
    """Reports of which some states are there and others are not."""
    unknown: int
    """Reports in the history that nobody has sent."""
    alerts_wrong: int
    """States that should have an alert and have none or several, or the other way round."""
    seconds: int

    @property
    def passed(self) -> bool:
        return not (
            self.lost or self.doubled or self.torn or self.unknown or self.alerts_wrong
        ) and bool(self.answered)

    def show(self) -> str:
        return "\n".join(f"{one.name:>13} {getattr(self, one.name)}" for one in fields(self))


class Writer(threading.Thread):
    """A host that reports under numbers, one after the other, each until it is answered."""

    def __init__(self, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.host = f"host {number}"
        self.port: int | None = None
        """Where the server listens now; None while there is none."""
        self.ending = threading.Event()
        self.answered = 0
        """All up to this number were."""
        self.requests = 0
        self._random = random.Random(seed)
        self._spool = str(uuid.UUID(int=self._random.getrandbits(128)))
        self._connection: http.client.HTTPConnection | None = None

    def run(self) -> None:
        while not self.ending.is_set():
            number = self.answered + 1
            if self._random.random() < REPEATED and self.answered:
                self._send(self._random.randint(1, self.answered))
            elif self._send(number):
                self.answered = number

    def _send(self, number: int) -> bool:
        """Say whether the report was answered."""
        port = self.port
        if port is None:
            self.ending.wait(0.005)
            return False
        self.requests += 1
        try:
            if self._connection is None or self._connection.port != port:
                self._hang_up()
                self._connection = http.client.HTTPConnection("127.0.0.1", port, 60)
            self._connection.request("POST", STATUS, json.dumps(self._report(number)))
            if self._random.random() < UNHEARD:
                self._hang_up()
                return False
            reply = self._connection.getresponse()
            body = reply.read()
        except (OSError, http.client.HTTPException):
            self._hang_up()
            return False
        if reply.status == 503:
            self.ending.wait(0.02)
            return False
        assert (reply.status, json.loads(body)) == (200, {"ok": 1}), (reply.status, body)
        return True

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _report(self, number: int) -> dict[str, object]:
        return {
            "server": {"name": self.host, "key": "1234"},
            "spool": self._spool,
            "seq": number,
            "period": 3600,
            "services": [
                {"name": f"service {n}", "state": state_of(number), "info": str(number)}
                for n in range(SERVICES)
            ],
        }


def state_of(number: int) -> str:
    return "FAIL" if number // 20 % 2 else "OK"


class Database:
    """What the runs need of an engine."""

    server: MariaDb | None = None

    def __init__(self, folder: pathlib.Path) -> None:
        self._path = folder / "overc.db"

    def serve(self, daemon: Daemon) -> Daemon:
        return daemon

    def rows(self, sql: str) -> list[tuple[str, str, str, int]]:
        with contextlib.closing(sqlite3.connect(self._path)) as connection:
            assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
            return connection.execute(sql).fetchall()


class MariaDatabase(Database):
    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self.server = schema.server

    def serve(self, daemon: Daemon) -> Daemon:
        return self._schema.serve(daemon)

    def rows(self, sql: str) -> list[tuple[str, str, str, int]]:
        return self._schema.rows(sql)


def torture(
    engine: str,
    database: Database,
    folder: pathlib.Path,
    kills: int,
    *,
    victim: str = "server",
    n_writers: int = 6,
    seed: int = 1,
) -> Result:
    """Run the load and the kills; return the counts."""
    begun_at = time.monotonic()
    moment = random.Random(seed)
    writers = new_writers(n_writers, seed)
    with database.serve(Daemon(folder, sections="[alert:none]\ncommand=true\n")) as daemon:
        tell(writers, daemon.client.port)
        with at_work(writers):
            for n in range(kills):
                # Now and then before the server has got to anything.
                if moment.random() < 0.8:
                    wait_for_answers(writers)
                time.sleep(moment.uniform(0, 0.5))
                if victim == "database":
                    assert database.server is not None
                    database.server.kill()
                    time.sleep(moment.uniform(0, 0.2))
                    database.server.start()
                else:
                    tell(writers, None)
                    daemon.stop(signal.SIGKILL)
                    daemon.start()
                    tell(writers, daemon.client.port)
                if sys.stderr.isatty() and __name__ == "__main__":
                    print(f"\r{n + 1} kills", end="", file=sys.stderr)
        assert daemon.stop() == 0
    return count(engine, victim, kills, database, writers, int(time.monotonic() - begun_at))


def new_writers(count: int, seed: int) -> list[Writer]:
    return [Writer(n, seed * 1000 + n) for n in range(count)]


@contextlib.contextmanager
def at_work(writers: list[Writer]) -> Iterator[None]:
    """Have them report until the end, when each of them gets one more answer."""
    for writer in writers:
        writer.start()
    yield
    wait_for_answers(writers)
    for writer in writers:
        writer.ending.set()
    for writer in writers:
        writer.join()


def tell(writers: list[Writer], port: int | None) -> None:
    for writer in writers:
        writer.port = port


def wait_for_answers(writers: list[Writer]) -> None:
    before = [writer.answered for writer in writers]

    def all_got_some() -> bool:
        assert all(writer.is_alive() for writer in writers)
        return all(w.answered > n for w, n in zip(writers, before, strict=True))

    eventually(all_got_some, "each writer has an answer", limit_s=60, step_s=0.005)


def count(
    engine: str, victim: str, kills: int, database: Database, writers: list[Writer], seconds: int
) -> Result:
    """Compare the history with what was sent and answered."""
    stored: dict[tuple[str, int], collections.Counter[str]] = collections.defaultdict(
        collections.Counter
    )
    alerts_wrong = 0
    before: dict[tuple[str, str], str] = collections.defaultdict(lambda: "OK")
    for host, service, info, alerts in database.rows(
        "select servers.name, services.name, states.info,"
        " (select count(*) from alerts join outbox on outbox.alert_id = alerts.id"
        " where alerts.state_id = states.id)"
        " from states join services on services.id = states.service_id"
        " join servers on servers.id = services.server_id order by states.id"
    ):
        number = int(info)
        stored[host, number][service] += 1
        alerts_wrong += alerts != (state_of(number) != before[host, service])
        before[host, service] = state_of(number)
    answered = {(w.host, n) for w in writers for n in range(1, w.answered + 1)}
    # The next one of each may have been stored without an answer.
    sent = answered | {(w.host, w.answered + 1) for w in writers}
    return Result(
        engine, victim, kills,
        requests=sum(writer.requests for writer in writers),
        answered=len(answered),
        lost=len(answered - stored.keys()),
        doubled=sum(max(found.values()) > 1 for found in stored.values()),
        torn=sum(len(found) != SERVICES for found in stored.values()),
        unknown=len(stored.keys() - sent),
        alerts_wrong=alerts_wrong,
        seconds=seconds,
    )  # fmt: skip


@contextlib.contextmanager
def new_database(engine: str, folder: pathlib.Path) -> Iterator[Database]:
    if engine == "sqlite":
        yield Database(folder)
        return
    with running_mariadb() as server:
        yield MariaDatabase(server.schema())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--engine", choices=("sqlite", "mariadb"), required=True)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--victim", choices=("server", "database"), default="server")
    parser.add_argument("--writers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if (chosen.engine, chosen.victim) == ("sqlite", "database"):
        parser.error("SQLite has no process of its own that could be killed")
    with tempfile.TemporaryDirectory(prefix="overc-sigkill-") as name:
        folder = pathlib.Path(name)
        with new_database(chosen.engine, folder) as database:
            result = torture(
                chosen.engine, database, folder, chosen.kills,
                victim=chosen.victim, n_writers=chosen.writers, seed=chosen.seed,
            )  # fmt: skip
    print(result.show())
    return 0 if result.passed else 1


if __name__ == "__main__":
    sys.exit(main())
