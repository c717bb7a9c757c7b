"""How many reports a second are taken in and made durable, and how long each one waits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench import history
from bench.databases import FAILURES, Database, empty_database
from bench.fleet import Fleet
from bench.load import Load, write_bodies
from bench.processes import Process, overc_server
from bench.results import Row
from bench.run import Run, report_all

BODIES = 5_000


def post1(run: Run, engine: str) -> Row:
    row = Row("post1", engine, "reports with 1 state, 10,000 services")
    with run.folder() as folder, empty_database(engine, folder) as database:
        _measure(run, row, folder, database, Fleet(200, 50, run.perfdata), 1)
    return row


def post50(run: Run, engine: str) -> Row:
    row = Row("post50", engine, "reports with 50 states, 10,000 services")
    with run.folder() as folder, empty_database(engine, folder) as database:
        _measure(run, row, folder, database, Fleet(200, 50, run.perfdata), 50)
    return row


def long_history(run: Run, engine: str) -> Row:
    title = f"50 states of {run.services:,} services, {run.history_rows:,} rows of history"
    row = Row("history", engine, title)
    fleet = history.fleet(run)
    with history.database(run, fleet, run.history_rows) as (folder, database):
        _measure(run, row, folder, database, fleet, 50)
    return row


@dataclass(slots=True)
class _Loads:
    """The yard-stick and the server in turn, so that both see the same noise."""

    yardstick: list[Load] = field(default_factory=list)
    server: list[Load] = field(default_factory=list)
    half: list[Load] = field(default_factory=list)

    def all(self) -> Iterator[Load]:
        yield from self.yardstick
        yield from self.server
        yield from self.half


def _measure(
    run: Run, row: Row, folder: Path, database: Database, fleet: Fleet, states: int
) -> None:
    random = Random(states)
    bodies = write_bodies(folder / "bodies", fleet.bodies(states, BODIES, random))
    # One state for the yard-stick in every row: Y is one quantity.
    short = write_bodies(folder / "short", fleet.bodies(1, BODIES, random))
    loads = _Loads()
    with overc_server(folder, database.url) as server:
        # Registers the names, proves the keys, and checks every kind of answer.
        report_all(server.port, fleet.registration(50, random))
        first_id = _newest_state(database)
        for number in range(1, run.runs + 1):
            loads.yardstick.append(
                run.generator.run(run.yardstick.port, short, run.seconds, number)
            )
            peak = run.load(server, bodies, folder, number, row.notes)
            loads.server.append(peak)
            half_per_s = max(1.0, peak.requests_per_s / 2)
            loads.half.append(
                run.generator.run(server.port, bodies, run.seconds, number, half_per_s)
            )
        row.fault = next((load.fault for load in loads.all() if load.fault), None)
        _add_figures(row, loads, states)
        row.add("resident", "MB", server.memory_mb())
        _check_stored(run, row, loads, states, database, first_id)
        _check_log(row, server)


def _add_figures(row: Row, loads: _Loads, states: int) -> None:
    pairs = list(zip(loads.server, loads.yardstick, strict=True))
    row.add("Y", "req/s", *(y.requests_per_s for y in loads.yardstick))
    row.add("requests/s", "", *(load.requests_per_s for load in loads.server))
    if states == 1:
        ratios = [load.requests_per_s / y.requests_per_s for load, y in pairs]
        row.add("requests/s over Y", "Y", *ratios)
    else:
        row.add("states/s", "", *(states * load.requests_per_s for load in loads.server))
        ratios = [states * load.requests_per_s / y.requests_per_s for load, y in pairs]
        row.add("states/s over Y", "Y", *ratios)
    row.add("p50 at the peak", "ms", *(load.p50_ms for load in loads.server))
    row.add("p99 at the peak", "ms", *(load.p99_ms for load in loads.server))
    row.add("requests/s at half the peak", "", *(load.requests_per_s for load in loads.half))
    row.add("p50 at half the peak", "ms", *(load.p50_ms for load in loads.half))
    row.add("p99 at half the peak", "ms", *(load.p99_ms for load in loads.half))
    faults = [load.refused + load.broken for load in loads.all()]
    row.add("errors that clients saw", "", sum(faults))


def _newest_state(database: Database) -> int | None:
    with contextlib.suppress(*FAILURES):
        return int(database.ask("select max(id) from states") or 0)
    return None


def _check_stored(
    run: Run, row: Row, loads: _Loads, states: int, database: Database, first_id: int | None
) -> None:
    """Compare what is in the database with what was answered: every state, and none twice."""
    if first_id is None:
        row.notes.append("not checked: the history has no table `states`")
        return
    stored = int(database.ask(f"select count(*) from states where id > {first_id}"))
    sent = [*loads.server, *loads.half]
    answered = states * sum(load.requests for load in sent)
    # A run ends without waiting for the answers that are under way.
    most = answered + states * run.generator.connections * len(sent)
    if not answered <= stored <= most and row.fault is None:
        row.fault = f"{answered:,} states were answered, {stored:,} are stored"
    row.notes.append(f"{answered:,} states answered, {stored:,} stored")


def _check_log(row: Row, server: Process) -> None:
    if "Traceback" in (log := server.log()) and row.fault is None:
        at = log.rindex("Traceback")
        row.fault = f"the server's log has a traceback: {log[at:][-300:]}"
