"""What reading costs: the whole status, what changed since, and the memory it all takes."""

from __future__ import annotations

import http.client
import json
import time
from random import Random

from bench import history
from bench.databases import empty_database
from bench.fleet import Fleet
from bench.load import STATUS_PATH
from bench.processes import Process, overc_server
from bench.results import Row
from bench.run import Refused, Run, report_all

STATUS = "/ui/api/status/"
CHANGES = "/ui/api/changes?since="
DELTAS = 50


def status10k(run: Run, engine: str) -> Row:
    fleet = Fleet(200, 50, run.perfdata)
    row = Row("status10k", engine, f"the status of {fleet.services:,} services")
    with (
        run.folder() as folder,
        empty_database(engine, folder) as database,
        overc_server(folder, database.url) as server,
    ):
        report_all(server.port, fleet.registration(50, Random(1)))
        _read(row, server, fleet, 20)
    return row


def status100k(run: Run, engine: str) -> Row:
    fleet = history.fleet(run)
    row = Row("status100k", engine, f"the status of {fleet.services:,} services")
    with (
        history.database(run, fleet, 0) as (folder, database),
        overc_server(folder, database.url) as server,
    ):
        _read(row, server, fleet, 7)
    return row


def memory(run: Run, engine: str) -> Row:
    fleet = history.fleet(run)
    row = Row("memory", engine, f"the server's memory with {fleet.services:,} services")
    with (
        history.database(run, fleet, 0) as (folder, database),
        overc_server(folder, database.url) as server,
    ):
        row.add("resident, started", "MB", server.memory_mb())
        report_all(server.port, fleet.registration(50, Random(1)))
        row.add("resident, all reported", "MB", server.memory_mb())
        with _Reader(server) as reader:
            reader.get(STATUS)
        row.add("resident, after a full status", "MB", server.memory_mb())
        row.add("the most", "MB", server.memory_mb("VmHWM"))
    return row


class _Reader:
    """A page that stays open: one connection, used again and again."""

    def __init__(self, server: Process) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def get(self, path: str) -> tuple[float, int, bytes]:
        """Return how many milliseconds it took, the status and the body."""
        return self._exchange("GET", path, None)

    def report(self, body: bytes) -> None:
        _, status, words = self._exchange("POST", STATUS_PATH, body)
        if status != 200:
            raise Refused(f"a report was answered {status}: {words[:200]!r}")

    def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[float, int, bytes]:
        begun_at = time.perf_counter()
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        read = answer.read()
        return 1000 * (time.perf_counter() - begun_at), answer.status, read


def _read(row: Row, server: Process, fleet: Fleet, times: int) -> None:
    with _Reader(server) as reader:
        reader.get(STATUS)
        answers = [reader.get(STATUS) for _ in range(times)]
        row.add("full status", "ms", *(took_ms for took_ms, _, _ in answers))
        _, status, body = answers[-1]
        row.add("its size", "MB", len(body) / 1e6)
        services = sum(len(server["services"]) for server in json.loads(body)["servers"])
        if status != 200 or services != fleet.services:
            row.fault = f"the status was answered {status}, with {services} services"
        _read_changes(row, reader, fleet)


def _read_changes(row: Row, reader: _Reader, fleet: Fleet) -> None:
    """Report one service at a time and ask what changed."""
    _, status, body = reader.get(f"{CHANGES}0")
    if status != 200:
        row.notes.append(f"no delta: GET {CHANGES}0 is answered {status}")
        return
    random, took_ms = Random(2), []
    number = _number(body)
    for _ in range(DELTAS):
        reader.report(fleet.bodies(1, 1, random)[0])
        one_ms, _, body = reader.get(f"{CHANGES}{number}")
        took_ms.append(one_ms)
        if number == (number := _number(body)):
            row.fault = "a report changed nothing in the delta"
    row.add("delta", "ms", *took_ms)
    row.add("its size", "kB", len(body) / 1e3)


def _number(body: bytes) -> int:
    """Return the number to ask from next time: the only whole number at the top of the answer."""
    top = json.loads(body)
    found = [value for value in top.values() if type(value) is int]
    if len(found) != 1:
        raise Refused(f"expected one number in the delta, got the keys {list(top)}")
    return found[0]
