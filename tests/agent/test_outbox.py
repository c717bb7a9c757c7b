from __future__ import annotations

import os
import pathlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
import pytest_twisted
from agent.conftest import Logged
from agent.doubles import FakeClock, a_report
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from overc.agent.delivery_settings import MEMORY_BYTES, SpoolSettings
from overc.agent.outbox import DISK_S, REOPEN_S, Outbox
from overc.agent.spool import Spool, Waiting
from overc.agent.spool_errors import SpoolError
from overc.agent.worker import Here
from overc.model import AlertReport, ServiceReport, Spooled

T = TypeVar("T")


class StuckWorker:
    """Runs nothing until it is told to, as a disk that hangs."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], Any]] = []
        self.stuck = False

    def call(self, run: Callable[[], T]) -> Deferred[T]:
        if not self.stuck:
            return Here().call(run)
        self.jobs.append(run)
        return Deferred(lambda _: None)

    def stop(self) -> None:
        pass


class Bench:
    """An Outbox on a Clock, whose file is used without a thread."""

    def __init__(self, path: str | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.clocks = FakeClock(self.clock)
        self.refusals: list[str] = []
        self.workers: list[StuckWorker] = []
        self.outbox = Outbox(
            self.clock,
            "host",
            SpoolSettings(path, **settings),
            clock=self.clocks,
            refused=self.refusals.append,
            make_worker=self._make_worker,
        )
        self.outbox.startService()

    def _make_worker(self, reactor: object, name: str) -> StuckWorker:
        self.workers.append(StuckWorker())
        return self.workers[-1]

    def keep(self, *names: str, info: str = "") -> None:
        for name in names:
            self.outbox.put_state(a_report(name, info))
        now(self.outbox.keep())

    def urgent(self) -> Waiting | None:
        found: Waiting | None = now(self.outbox.next_urgent(self.clock.seconds()))
        return found

    def waiting(self) -> list[tuple[int, list[str]]]:
        """Return numbers and services in the order of sending, confirming each."""
        found = []
        while waiting := self.urgent() or now(self.outbox.next_of_backlog()):
            report = waiting.report
            found.append((report.spooled.seq, [one.name for one in report.services]))
            now(self.outbox.confirm(report, {one.name: 0.0 for one in report.services}))
        return found

    def stop(self) -> None:
        stopped = self.outbox.stopService()
        assert stopped.called


def now(awaited: Any) -> Any:
    """Return what comes of a coroutine that has nothing to wait for."""
    found: list[Any] = []
    Deferred.fromCoroutine(awaited).addBoth(found.append)
    assert found, "it waits for something"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "spool.db")


@pytest.fixture(params=[True, False], ids=["file", "memory"])
def bench(request: pytest.FixtureRequest, path: str) -> Iterator[Bench]:
    bench = Bench(path if request.param else None)
    yield bench
    bench.stop()


def test_states_that_gather_are_one_report(bench: Bench) -> None:
    bench.outbox.put_state(a_report("a", "1"))
    assert bench.urgent() is None
    assert len(bench.outbox) == 1
    bench.keep("b")
    waiting = bench.urgent()
    assert waiting is not None
    assert waiting.report.spooled == Spooled(bench.outbox.spool, 1)
    at = round(bench.clocks.wall(), 3)
    assert waiting.report.services == (
        a_report("a", "1")._replace(seen_at=at),
        a_report("b")._replace(seen_at=at),
    )
    assert len(bench.outbox) == 2
    assert bench.waiting() == [(1, ["a", "b"])]
    assert len(bench.outbox) == 0


def test_a_time_that_a_report_has_is_kept(bench: Bench) -> None:
    bench.outbox.put_state(a_report("a")._replace(seen_at=5.5))
    bench.keep()
    waiting = bench.urgent()
    assert waiting is not None
    assert waiting.report.services[0].seen_at == 5.5


def test_no_state_takes_the_place_of_another(bench: Bench) -> None:
    for info in "123":
        bench.outbox.put_state(a_report("a", info))
    bench.outbox.put_state(a_report("b"))
    assert len(bench.outbox) == 4
    bench.keep()
    assert bench.waiting() == [(3, ["a", "b"]), (1, ["a"]), (2, ["a"])]


def test_alerts_are_a_report_of_their_own(bench: Bench) -> None:
    bench.outbox.put_alert(AlertReport("x"))
    bench.outbox.put_alert(AlertReport("x"))
    bench.keep("a")
    assert len(bench.outbox) == 3
    waiting = bench.urgent()
    assert waiting is not None
    assert waiting.report.services
    now(bench.outbox.confirm(waiting.report, {}))
    waiting = bench.urgent()
    assert waiting is not None
    assert waiting.report.alerts == (AlertReport("x"), AlertReport("x"))


def test_large_reports_are_several(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.outbox.make_smaller(50_000)
    bench.keep("a", "b", "c", info="x" * 20_000)
    bench.keep("a", "b", "c", info="x" * 11_000)
    assert bench.waiting() == [
        (5, ["c"]), (4, ["a", "b"]), (1, ["a"]), (2, ["b"]), (3, ["c"])
    ]  # fmt: skip


def test_one_that_was_refused_travels_alone_until_it_is_taken(bench: Bench) -> None:
    bench.keep("bad")
    waiting = bench.urgent()
    assert waiting is not None
    now(bench.outbox.refuse(waiting.report, 60.0))
    assert bench.urgent() is None
    assert bench.outbox.urgent_at(1.0) == 60.0
    bench.keep("a", "bad", "b")
    # The one before it is of no use any more, and the server does not want it.
    backlog = now(bench.outbox.next_of_backlog())
    now(bench.outbox.refuse(backlog.report, 60.0))
    assert bench.outbox.troubles() == ["1 state was dropped: the server refuses them"]
    assert bench.waiting() == [(4, ["b"]), (3, ["bad"]), (2, ["a"])]
    bench.keep("a", "bad", "b")
    assert bench.waiting() == [(5, ["a", "bad", "b"])]


def test_a_report_in_parts(bench: Bench) -> None:
    bench.keep("a", "b", "c", "d")
    bench.keep("d")
    found = [now(bench.outbox.next_of_backlog()), bench.urgent()]
    assert found[0] is None
    assert found[1] is not None
    assert found[1].report.services[0].name == "d"
    now(bench.outbox.confirm(found[1].report, {"d": 1.0}))
    waiting = bench.urgent()
    assert waiting is not None
    b, d = waiting.report.services[1], waiting.report.services[3]
    refused = [(b, Spooled("part", 5)), (d, Spooled("part", 7))]
    now(bench.outbox.split(waiting.report, {"a": 1.0, "c": 1.0}, refused, 60.0))
    assert len(bench.outbox) == 1
    assert bench.urgent() is None
    bench.clock.advance(60)
    again = bench.urgent()
    assert again is not None
    assert (again.report.spooled, again.report.services) == (Spooled("part", 5), (b,))


def test_a_stop_keeps_what_has_gathered(path: str) -> None:
    bench = Bench(path)
    bench.keep("a")
    bench.outbox.put_state(a_report("b"))
    assert bench.outbox.where() == f"they stay in {path}"
    bench.stop()
    again = Bench(path)
    assert len(again.outbox) == 2
    assert again.outbox.spool != bench.outbox.spool
    again.keep("c")
    assert again.waiting() == [(1, ["c"]), (2, ["b"]), (1, ["a"])]
    again.stop()


def test_what_is_put_before_the_start_is_kept_after_it(path: str) -> None:
    first = Bench(path)
    first.keep("a")
    first.stop()
    outbox = Outbox(
        Clock(), "host", SpoolSettings(path), clock=FakeClock(), make_worker=lambda *_: Here()
    )
    for _ in range(3):
        outbox.put_state(a_report("a"))
    outbox.startService()
    now(outbox.keep())
    assert len(outbox) == 4
    assert outbox.stopService().called


def test_another_agent_on_the_same_file(path: str) -> None:
    first, second = Bench(path), Bench(path)
    assert first.refusals == []
    assert second.refusals == [
        f"the spool {path} is in use by another agent: give each a `spool` of its own"
    ]
    first.stop()
    second.stop()


def test_a_folder_that_can_not_be_written(tmp_path: pathlib.Path, logged: Logged) -> None:
    (tmp_path / "file").write_text("")
    bench = Bench(str(tmp_path / "file" / "spool.db"))
    bench.keep("a")
    [trouble] = bench.outbox.troubles()
    assert trouble.endswith("File exists; reports are kept in memory")
    assert trouble in logged
    assert bench.outbox.condition().path is None
    assert bench.outbox.where() == "they were in memory"
    assert bench.waiting() == [(1, ["a"])]
    bench.stop()


def test_a_file_that_comes_back(path: str, monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    """A full disk, for instance."""
    bench = Bench(path)
    bench.keep("a")
    real_add = Spool.add
    full: list[bool] = [True]

    def add(spool: Spool, *arguments: Any) -> int:
        if spool.path is not None and full:
            raise SpoolError(f"the spool {path} can't be used: disk is full")
        return real_add(spool, *arguments)

    monkeypatch.setattr(Spool, "add", add)
    bench.keep("a")
    bench.keep("b")
    assert bench.outbox.troubles() == [
        f"the spool {path} can't be used: disk is full; reports are kept in memory"
    ]
    assert [len(bench.outbox), bench.outbox.condition().path] == [2, None]
    full.clear()
    bench.clock.advance(REOPEN_S)
    bench.keep("c")
    assert bench.outbox.troubles() == []
    assert logged[-1] == f"the spool {path} can be used again"
    assert bench.waiting() == [(4, ["c"]), (3, ["b"]), (2, ["a"]), (1, ["a"])]
    bench.stop()


def test_a_file_that_does_not_come_back(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(path)
    os.unlink(path)
    os.mkdir(path)

    def add(spool: Spool, *_: Any) -> int:
        raise SpoolError("broken")

    with monkeypatch.context() as broken:
        broken.setattr(Spool, "add", add)
        with pytest.raises(SpoolError):
            bench.keep("lost")
    for _ in range(3):
        bench.clock.advance(REOPEN_S)
        bench.keep("a")
    assert len(bench.outbox.troubles()) == 1
    assert [names for _, names in bench.waiting()] == [["a"]] * 3
    bench.stop()


def test_a_disk_that_hangs(path: str, logged: Logged) -> None:
    bench = Bench(path)
    bench.keep("a")
    [worker] = bench.workers
    worker.stuck = True
    bench.outbox.put_state(a_report("b"))
    keeping = Deferred.fromCoroutine(bench.outbox.keep())
    bench.outbox.put_state(a_report("c"))
    waits_too = Deferred.fromCoroutine(bench.outbox.keep())
    bench.clock.advance(DISK_S - 0.1)
    assert not keeping.called
    bench.clock.advance(0.1)
    assert keeping.called
    assert waits_too.called
    [trouble] = bench.outbox.troubles()
    assert trouble == f"the spool {path} does not answer; reports are kept in memory"
    assert len(bench.outbox) == 2
    # While it hangs it keeps the file for itself.
    bench.clock.advance(REOPEN_S)
    bench.keep()
    assert len(bench.outbox.troubles()) == 1
    for job in worker.jobs:
        job()
    bench.clock.advance(REOPEN_S)
    bench.keep()
    assert bench.outbox.troubles() == []
    # What was written in the end is there twice, under one name.
    numbers = [seq for seq, _ in bench.waiting()]
    assert sorted(set(numbers)) == [1, 2, 3]
    bench.stop()


def test_a_file_that_gets_corrupt_while_it_is_used(path: str, logged: Logged) -> None:
    bench = Bench(path)
    for _ in range(3):
        bench.keep("a", info="x" * 10_000)
    bench.stop()
    with sqlite3.connect(path) as db:
        db.execute("update reports set body = 'x' where id = 1")
    db.close()
    bench = Bench(path)
    bench.keep("b")
    assert bench.urgent() is not None
    # The rows before it are fine; at this one it shows.
    assert [names for _, names in bench.waiting()] == [["b"], ["a"]]
    [trouble] = bench.outbox.troubles()
    assert trouble == f"the spool {path} was corrupt and has been set aside as {path}.corrupt"
    assert trouble in logged
    bench.keep("c")
    assert bench.outbox.condition().path == path
    assert bench.waiting() == [(2, ["c"])]
    bench.stop()


def test_a_corrupt_file_at_the_start(path: str) -> None:
    pathlib.Path(path).write_bytes(b"no database" * 100)
    bench = Bench(path)
    bench.keep("a")
    assert bench.outbox.troubles() == [
        f"the spool {path} was corrupt and has been set aside as {path}.corrupt"
    ]
    assert bench.waiting() == [(1, ["a"])]
    bench.clock.advance(3599)
    assert len(bench.outbox.troubles()) == 1
    bench.clock.advance(1)
    assert bench.outbox.troubles() == []
    bench.stop()


def test_what_is_dropped_is_counted_and_told(path: str, logged: Logged) -> None:
    bench = Bench(path, max_age_s=100.0)
    bench.keep("a", "b")
    bench.keep("a", "b")
    bench.clock.advance(101)
    bench.keep("a", "b")
    assert bench.outbox.troubles() == [
        "4 states were dropped: the spool takes 64 MiB, and reports up to 1m 40s old"
    ]
    condition = bench.outbox.condition()
    assert (condition.dropped, condition.states, condition.oldest_s) == (4, 2, 0.0)
    bench.clock.advance(100_000)
    # The server has not heard of it yet.
    bench.keep("a", "b")
    assert bench.outbox.condition().dropped == 6
    assert len(logged) == 1
    bench.waiting()
    bench.clock.advance(3599)
    assert bench.outbox.condition().dropped == 6
    bench.clock.advance(1)
    assert bench.outbox.troubles() == []
    bench.stop()


def test_memory_takes_less() -> None:
    bench = Bench(None)
    for _ in range(100):
        bench.keep("a", info="x" * 60_000)
    assert bench.outbox.condition().bytes <= MEMORY_BYTES
    assert "the spool takes 4 MiB" in bench.outbox.troubles()[0]
    bench.stop()


@pytest_twisted.ensureDeferred
async def test_the_file_is_used_in_a_thread_of_its_own(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[threading.Thread] = set()
    real_add = Spool.add

    def add(spool: Spool, *arguments: Any) -> int:
        threads.add(threading.current_thread())
        return real_add(spool, *arguments)

    monkeypatch.setattr(Spool, "add", add)
    outbox = Outbox(reactor, "host", SpoolSettings(path))
    outbox.startService()
    for n in range(10):
        outbox.put_state(ServiceReport("a", a_report("a").state, str(n), 60))
        await outbox.keep()
    assert len(outbox) == 10
    await outbox.stopService()
    [thread] = threads
    assert thread is not threading.current_thread()
    thread.join(10)
    assert not thread.is_alive()
    with sqlite3.connect(path) as db:
        assert db.execute("select count(*) from reports").fetchone() == (10,)
    db.close()
