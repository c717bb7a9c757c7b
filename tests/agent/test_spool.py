"""The spool on real files."""

from __future__ import annotations

import json
import os
import pathlib
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from agent.doubles import a_report

from overc.agent.kept import Kept, Mark
from overc.agent.spool import ALERTS_MOST, Limits, Spool, Waiting, open_spool
from overc.agent.spool_errors import SpoolCorrupt, SpoolError, SpoolInUse
from overc.model import AlertReport, ServiceReport, Spooled, State

DAY_S = 86400.0
ROOMY = Limits(DAY_S, 64 * 1024 * 1024)


def kept(id_: int, *names: str, info: str = "", at: float = 0.0, spool: str = "u") -> Kept:
    services = tuple(a_report(name, info)._replace(seen_at=at) for name in names)
    return Kept(id_, Spooled(spool, id_), at, services)


def alert(id_: int, message: str = "m", at: float = 0.0) -> Kept:
    return Kept(id_, Spooled("u", id_), at, (), (AlertReport(message, "app"),))


def id_of(waiting: Waiting | None) -> int | None:
    return None if waiting is None else waiting.report.id


def order(spool: Spool, now: float = 0.0) -> list[int]:
    """Return the ids in the order in which they are sent, confirming each."""
    found = []
    while waiting := spool.next_urgent(now) or spool.next_of_backlog():
        found.append(waiting.report.id)
        spool.confirm(waiting.report.id, {one.name: 1.0 for one in waiting.report.services})
    return found


@pytest.fixture
def path(tmp_path: pathlib.Path) -> str:
    return str(tmp_path / "state" / "spool.db")


@pytest.fixture
def spool(path: str) -> Iterator[Spool]:
    spool = Spool(path, "host", ROOMY)
    yield spool
    spool.close()


def test_a_report_comes_back_as_it_was(spool: Spool, path: str) -> None:
    report = Kept(
        3,
        Spooled("11111111-2222", 7),
        12.5,
        (
            ServiceReport("é\n", State.UNK, 'a "b"\0\ud800', 60, 99.25, 12.0),
            ServiceReport("b", State.FAIL, "", 5),
        ),
    )
    spool.add([report, alert(4)], 12.5)
    spool.close()
    again = Spool(path, "host", ROOMY)
    assert again.next_urgent(0.0) == Waiting(report, True, {})
    again.confirm(3, {})
    assert again.next_urgent(0.0) == Waiting(alert(4), True, {})
    again.close()


def test_only_we_can_read_it(spool: Spool, path: str) -> None:
    spool.add([kept(1, "a")], 0.0)
    for name in os.listdir(os.path.dirname(path)):
        mode = os.stat(os.path.join(os.path.dirname(path), name)).st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


@pytest.mark.parametrize(
    "reports, expected",
    [
        ([], []),
        ([kept(1, "a"), kept(2, "a"), kept(3, "a")], [3, 1, 2]),
        # The newest states first and backwards: 1 has an old state of b beside the newest of a.
        ([kept(1, "a", "b"), kept(2, "b"), kept(3, "b")], [3, 1, 2]),
        ([kept(1, "a"), kept(2, "b"), kept(3, "c")], [3, 2, 1]),
        ([alert(1), kept(2, "a"), kept(3, "a"), alert(4)], [3, 1, 4, 2]),
    ],
)
def test_the_order(spool: Spool, path: str, reports: list[Kept], expected: list[int]) -> None:
    spool.add(reports, 0.0)
    spool.close()
    again = Spool(path, "host", ROOMY)
    figures = again.figures()
    assert (figures.reports, figures.states) == (len(reports), sum(r.size() for r in reports))
    assert order(again) == expected
    assert again.figures()[:5] == (0, 0, None, 0, None)
    again.close()


def test_what_is_confirmed_is_remembered(spool: Spool, path: str) -> None:
    spool.add([kept(1, "a"), kept(2, "a", "b")], 0.0)
    spool.confirm(2, {"a": 20.5, "b": 21.0})
    spool.close()
    again = Spool(path, "host", ROOMY)
    assert again.next_urgent(0.0) is None
    waiting = again.next_of_backlog()
    assert waiting is not None
    assert waiting.marks == {"a": Mark(2, 20.5)}
    assert again.figures().last_id == 2
    again.confirm(1, {"a": 1.0})
    again.add([kept(3, "a")], 0.0)
    newest = again.next_urgent(0.0)
    assert newest is not None
    assert newest.marks == {"a": Mark(2, 20.5)}
    again.close()


def test_ids_are_not_given_twice(spool: Spool, path: str) -> None:
    spool.add([kept(5, "a")], 0.0)
    spool.confirm(5, {"a": 1.0})
    spool.close()
    again = Spool(path, "host", ROOMY)
    assert again.figures().last_id == 5
    again.close()


def test_what_is_too_old_is_dropped_but_for_newest_states(path: str) -> None:
    spool = Spool(path, "host", Limits(100.0, 64 * 1024 * 1024))
    spool.add([kept(1, "weekly"), kept(2, "a", "b"), alert(3), kept(4, "a", "b", at=50.0)], 50.0)
    assert spool.add([kept(5, "c", at=101.0)], 101.0) == 3
    assert order(spool) == [5, 4, 1]
    spool.close()


def test_what_is_too_much_is_dropped_oldest_first(path: str) -> None:
    limit = 2 * 1024 * 1024
    spool = Spool(path, "host", Limits(DAY_S, limit))
    spool.add([kept(1, "hourly")], 0.0)
    dropped = 0
    for id_ in range(2, 1000):
        dropped += spool.add([kept(id_, "a", info="x" * 5000)], 0.0)
    figures = spool.figures()
    assert figures.reports == figures.states == 999 - dropped
    assert limit * 0.8 < figures.bytes <= limit
    beside = os.path.getsize(path + "-wal")
    assert os.path.getsize(path) + beside < limit + 6 * 1024 * 1024
    sent = order(spool)
    assert sent[:2] == [999, 1]
    assert sent[2:] == list(range(999 - len(sent) + 2, 999))
    spool.close()
    assert os.path.getsize(path) < 0.7 * limit


def test_the_newest_states_alone_are_dropped_last(path: str) -> None:
    spool = Spool(path, "host", Limits(DAY_S, 1024 * 1024))
    for id_ in range(1, 60):
        spool.add([kept(id_, f"s{id_}", info="x" * 60_000)], 0.0)
    assert spool.figures().bytes <= 1024 * 1024
    sent = order(spool)
    assert 8 < len(sent) < 18
    assert sent == list(range(59, 59 - len(sent), -1))
    spool.close()


def test_so_many_alerts_are_kept(spool: Spool) -> None:
    dropped = [spool.add([alert(id_)], 0.0) for id_ in range(1, ALERTS_MOST + 3)]
    assert sum(dropped) == 2
    assert order(spool)[0] == 3


def test_what_is_set_aside_waits(spool: Spool) -> None:
    spool.add([kept(1, "a"), kept(2, "b"), alert(3)], 0.0)
    assert spool.set_aside(2, 60.0) == 0
    assert id_of(spool.next_urgent(59.0)) == 1
    spool.confirm(1, {})
    spool.set_aside(3, 70.0)
    assert spool.figures().urgent_at == 60.0
    assert spool.next_urgent(59.0) is None
    assert id_of(spool.next_urgent(60.0)) == 2
    spool.add([kept(4, "b")], 0.0)
    assert spool.figures().urgent_at == 0.0
    # 2 is old by now, and no use to anybody if it is not wanted.
    assert spool.set_aside(2, 90.0) == 1
    assert order(spool, 80.0) == [4, 3]


def test_a_part_that_the_server_refuses_takes_the_place_of_the_whole(spool: Spool) -> None:
    spool.add([kept(1, "a", "b", "c"), kept(2, "b")], 0.0)
    rest = [kept(3, "b", spool="part"), kept(4, "c", spool="part")]
    assert spool.split(1, {"a": 9.0}, rest) == 1
    assert spool.last_seq("part") == 4
    assert spool.last_seq("u") == 2
    assert order(spool) == [4, 2]


def test_a_failed_change_leaves_no_trace(spool: Spool) -> None:
    spool.add([kept(1, "a")], 0.0)
    with pytest.raises(sqlite3.IntegrityError):
        spool.add([kept(2, "a"), kept(1, "a")], 0.0)
    assert spool.figures()[:2] == (1, 1)
    assert order(spool) == [1]


def test_one_takes_in_another(spool: Spool) -> None:
    spool.add([kept(1, "a"), kept(2, "a", "b")], 0.0)
    memory = Spool(None, "host", ROOMY)
    memory.add([kept(3, "a"), kept(4, "a"), kept(5, "c"), alert(6)], 0.0)
    memory.confirm(4, {"a": 7.0})
    spool.absorb(memory)
    waiting = spool.next_of_backlog()
    assert waiting is not None
    assert waiting.marks == {"a": Mark(4, 7.0)}
    # 2 has the newest state of b, but not of a.
    assert order(spool) == [5, 2, 6, 1, 3]


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: b"garbage" * 1000,
        lambda data: data[:100] + b"\xff" * 4000 + data[4100:],
        lambda data: data[: len(data) // 2],
        lambda data: data[:5000] + os.urandom(len(data) - 5000),
    ],
)
def test_a_corrupt_file_is_set_aside(spool: Spool, path: str, harm: Any) -> None:
    spool.add([kept(id_, "a", info="x" * 3000) for id_ in range(1, 200)], 0.0)
    spool.close()
    file = pathlib.Path(path)
    harmed = harm(file.read_bytes())
    file.write_bytes(harmed)
    again, incident = open_spool(path, "host", ROOMY)
    assert incident == f"the spool {path} was corrupt and has been set aside as {path}.corrupt"
    assert pathlib.Path(path + ".corrupt").read_bytes() == harmed
    again.add([kept(1, "a")], 0.0)
    assert order(again) == [1]
    again.close()


def test_a_row_that_makes_no_sense(spool: Spool, path: str) -> None:
    spool.add([kept(1, "a")], 0.0)
    spool.close()
    with sqlite3.connect(path) as db:
        db.execute("update reports set body = ?", [json.dumps([["a", "WHAT"]])])
    db.close()
    again = Spool(path, "host", ROOMY)
    with pytest.raises(SpoolCorrupt, match="report 1"):
        again.next_urgent(0.0)
    again.close()


def test_files_of_others_are_left_alone(tmp_path: pathlib.Path, spool: Spool, path: str) -> None:
    other = str(tmp_path / "other.db")
    with sqlite3.connect(other) as db:
        db.execute("create table precious (x)")
    db.close()
    with pytest.raises(SpoolError, match="database of something else: name another file"):
        open_spool(other, "host", ROOMY)
    spool.add([kept(1, "a")], 0.0)
    spool.close()
    with pytest.raises(SpoolError, match="unsent reports of 'host': name another file"):
        open_spool(path, "other", ROOMY)
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 9")
    db.close()
    with pytest.raises(SpoolError, match="another version"):
        open_spool(path, "host", ROOMY)


def test_an_empty_spool_may_change_hands(spool: Spool, path: str) -> None:
    spool.add([kept(1, "a")], 0.0)
    spool.confirm(1, {"a": 5.0})
    spool.close()
    other = Spool(path, "other", ROOMY)
    other.add([kept(2, "a")], 0.0)
    waiting = other.next_urgent(0.0)
    assert waiting is not None
    assert waiting.marks == {}
    other.close()


def test_two_processes_on_one_file(spool: Spool, path: str) -> None:
    with pytest.raises(SpoolInUse, match="in use by another agent: give each a `spool`"):
        open_spool(path, "host", ROOMY)
    program = (
        "import sys; from overc.agent.spool import *; from overc.agent.spool_errors import *\n"
        "try: Spool(sys.argv[1], 'host', Limits(1.0, 1))\n"
        "except SpoolInUse: print('in use')\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, text=True, check=True
    )
    assert told.stdout == "in use\n"


def test_a_folder_that_can_not_be_written(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=f"can't be used: {tmp_path / 'file'}: File exists"):
        Spool(str(tmp_path / "file" / "spool.db"), "host", ROOMY)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(SpoolError, match="can't be used: unable to open"):
        Spool(str(tmp_path / "folder.db"), "host", ROOMY)


def test_services_that_are_heard_of_no_more_are_forgotten(path: str) -> None:
    spool = Spool(path, "host", ROOMY)
    spool.add([kept(1, "gone"), kept(2, "a", at=31 * DAY_S)], 0.0)
    order(spool)
    spool.close()
    Spool(path, "host", ROOMY).close()
    with sqlite3.connect(path) as db:
        assert db.execute("select service, id from newest").fetchall() == [("a", 2)]
    db.close()
