"""How the server takes it when ten thousand services fall silent at once."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from random import Random

from bench.databases import Database, empty_database
from bench.fleet import Fleet
from bench.load import STATUS_PATH
from bench.processes import Process, overc_server, request
from bench.results import Row
from bench.run import Refused, Run, report_all

FLEET = Fleet(20, 500)
PERIOD_S = 5
LIMIT_S = 60.0
REST_S = 0.01
"""Between two reports of the host that goes on."""

PLUGIN = "\n[alert:true]\ncommand=/bin/true\n"


def late_at_once(run: Run, engine: str) -> Row:
    row = Row("late", engine, f"{FLEET.services:,} services late at once, an alert plugin `true`")
    storms = [_storm(run, engine) for _ in range(run.runs)]
    row.add("all alerts recorded", "s", *(storm.recorded_s for storm in storms))
    row.add("all shown in the status", "s", *(storm.shown_s for storm in storms))
    row.add("p99 of a report, before", "ms", *(storm.before.p99_ms for storm in storms))
    row.add("p99 of a report, meanwhile", "ms", *(storm.meanwhile.p99_ms for storm in storms))
    spread_s = max(storm.spread_s for storm in storms)
    row.notes.append(f"counted from the first deadline; the last was {spread_s:.2f} s later")
    row.fault = next((storm.fault for storm in storms if storm.fault), None)
    return row


def _storm(run: Run, engine: str) -> _Storm:
    with (
        run.folder() as folder,
        empty_database(engine, folder) as database,
        overc_server(folder, database.url, PLUGIN) as server,
    ):
        # First with a long period: registering may take longer than the short one.
        report_all(server.port, FLEET.registration(FLEET.services_each, Random(1)))
        silent = Fleet(FLEET.servers, FLEET.services_each, period_s=PERIOD_S)
        begun_at = time.time()
        report_all(server.port, silent.registration(FLEET.services_each, Random(2)))
        spread_s = time.time() - begun_at
        deadline_at = begun_at + PERIOD_S
        before = _Host(server)
        time.sleep(max(0.0, deadline_at - time.time()))
        before.stop()
        meanwhile = _Host(server)
        _wait_for_alerts(database, deadline_at)
        recorded_s = time.time() - deadline_at
        _, body = request(server.port, "GET", "/ui/api/status/")
        shown_s = time.time() - deadline_at
        meanwhile.stop()
        # Ten thousand runs of `true` are still to come; nobody waits for them.
        server.kill()
    counted = json.loads(body)["stats"]["n_alerts"]
    missing = None if counted >= FLEET.services else f"the status counts {counted} alerts"
    fault = missing or before.fault or meanwhile.fault
    return _Storm(spread_s, recorded_s, shown_s, before, meanwhile, fault)


@dataclass(frozen=True, slots=True)
class _Storm:
    """What one silence of them all brought. Seconds count from the first deadline."""

    spread_s: float
    """So much later the last deadline was."""
    recorded_s: float
    shown_s: float
    before: _Host
    meanwhile: _Host
    fault: str | None


def _wait_for_alerts(database: Database, deadline_at: float) -> None:
    sql = "select count(*) from alerts where event = 'offline'"
    while (recorded := int(database.ask(sql))) < FLEET.services:
        if time.time() > deadline_at + LIMIT_S:
            raise Refused(f"only {recorded} alerts within {LIMIT_S:.0f} s")
        time.sleep(0.02)


class _Host(threading.Thread):
    """A host that goes on reporting, on one connection, until it is stopped."""

    def __init__(self, server: Process) -> None:
        super().__init__(daemon=True)
        self.fault: str | None = None
        self._took_ms: list[float] = []
        self._stopped = threading.Event()
        self._port = server.port
        # Not one of the fleet, since it does not fall silent.
        self._body = FLEET.body(FLEET.servers, [0], Random(3))
        self.start()

    @property
    def p99_ms(self) -> float:
        return sorted(self._took_ms)[len(self._took_ms) * 99 // 100] if self._took_ms else 0.0

    def stop(self) -> None:
        self._stopped.set()
        self.join(LIMIT_S)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LIMIT_S)
        try:
            while not self._stopped.wait(REST_S):
                begun_at = time.perf_counter()
                connection.request("POST", STATUS_PATH, self._body)
                answer = connection.getresponse()
                answer.read()
                self._took_ms.append(1000 * (time.perf_counter() - begun_at))
                if answer.status != 200:
                    self.fault = f"a report meanwhile was answered {answer.status}"
        except OSError as e:
            self.fault = f"a report meanwhile failed: {e}"
        finally:
            connection.close()
