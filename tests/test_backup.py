from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from support_daemon import a_database, rows

from overc import backup
from overc.backup import BackupError, back_up
from overc.cli import main
from overc.daemon.store import sqlite


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = a_database(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        add(connection, 1000)
    return path


def add(connection: sqlite3.Connection, count: int) -> None:
    """Add so many servers, and the same number of states, in one transaction."""
    with connection:
        for _ in range(count):
            connection.execute(
                "insert into servers (name, title, key_derivation, ip, registered_at)"
                " select count(*), '', '', '', 0 from servers"
            )
            connection.execute(
                "insert into states (service_id, received_at, seen_at, state, info)"
                " values (1, 0, 0, 'OK', ?)",
                ("x" * 500,),
            )


def counts(path: str) -> tuple[int, int]:
    sql = "select (select count(*) from servers), (select count(*) from states)"
    [(servers, states)] = rows(path, sql)
    return servers, states


def test_a_copy_is_complete_and_of_its_owner_only(database: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert main(["backup", database, str(copy)]) == 0
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "overc.db"]
    assert counts(str(copy)) == (1000, 1000)
    assert rows(str(copy), "pragma journal_mode") == [("delete",)]
    # It is a database that the server takes as it is.
    sqlite.prepare(str(copy))
    assert rows(str(copy), "pragma user_version") == rows(database, "pragma user_version")


def test_what_is_still_in_the_wal_is_copied(database: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        add(connection, 1)
        assert os.path.getsize(f"{database}-wal") > 0
        back_up(database, str(tmp_path / "copy.db"))
    assert counts(str(tmp_path / "copy.db")) == (1001, 1001)


@pytest.mark.parametrize("pages", [1, backup.STEP_PAGES])
def test_it_ends_beside_a_writer_and_is_of_one_moment(
    database: str, tmp_path: Path, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "STEP_PAGES", pages)
    copy = str(tmp_path / "copy.db")
    stop = threading.Event()
    begun = threading.Event()
    with closing(sqlite3.connect(database)) as connection:
        add(connection, 10_000)
    deadline_at = time.monotonic() + 10

    def write() -> None:
        with closing(sqlite3.connect(database, timeout=10)) as connection:
            while not stop.is_set() and time.monotonic() < deadline_at:
                add(connection, 3)
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(10)
        before = counts(database)
        back_up(database, copy)
        after = counts(database)
    finally:
        stop.set()
        writer.join()
    # It did not end because the writer did.
    assert time.monotonic() < deadline_at
    servers, states = counts(copy)
    assert servers == states
    assert before[0] <= servers <= after[0]
    # The writer was not held up.
    assert after[0] > before[0]


def test_it_does_not_begin_anew_with_each_commit_of_others(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits_max = 500
    steps: list[int] = []
    with closing(sqlite3.connect(database)) as other:

        class Interrupted(sqlite3.Connection):
            def backup(  # type: ignore[override]  # only as far as it is called here
                self, target: sqlite3.Connection, *, pages: int, **_: object
            ) -> None:
                def write(status: int, remaining: int, total: int) -> None:
                    steps.append(remaining)
                    if len(steps) < commits_max:
                        add(other, 1)

                super().backup(target, pages=10, progress=write)

        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Interrupted))
        back_up(database, str(tmp_path / "copy.db"))
    assert 10 < len(steps) < commits_max
    assert steps == sorted(steps, reverse=True)


def test_a_file_that_is_there_stays(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    assert main(["backup", database, str(copy)]) == 1
    assert capsys.readouterr().err == (
        f"overcli: {copy} exists already: give the copy another name\n"
    )
    assert copy.read_text() == "precious"
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(BackupError, match="exists already"):
        back_up(database, str(tmp_path / "dangling"))
    with pytest.raises(BackupError, match="exists already"):
        back_up(database, database)


def test_a_file_that_appears_meanwhile_stays(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.db"
    copied = backup._copy

    def copy_slowly(source: str, target: str) -> None:
        copied(source, target)
        copy.write_text("precious")

    monkeypatch.setattr(backup, "_copy", copy_slowly)
    with pytest.raises(BackupError, match="File exists"):
        back_up(database, str(copy))
    assert copy.read_text() == "precious"
    assert sorted(os.listdir(tmp_path)) == ["copy.db", "overc.db"]


def test_what_can_not_be_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.db"
    text = tmp_path / "text.db"
    text.write_text("This is no database. " * 500)
    empty = tmp_path / "empty.db"
    empty.touch()
    missing = tmp_path / "missing.db"
    for source, sentence in (
        (missing, f"{missing} is not a file"),
        (tmp_path, f"{tmp_path} is not a file"),
        (text, f"can't copy {text}: file is not a database"),
        (empty, f"{empty} is not a database of OverC"),
    ):
        assert main(["backup", str(source), str(copy)]) == 1
        assert capsys.readouterr().err == f"overcli: {sentence}\n"
    assert sorted(os.listdir(tmp_path)) == ["empty.db", "text.db"]


def test_a_folder_that_is_not_there(database: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError) as caught:
        back_up(database, str(tmp_path / "away" / "copy.db"))
    assert str(caught.value) == f"can't write to {tmp_path}/away: No such file or directory"


def test_damage_is_seen(database: str, tmp_path: Path) -> None:
    with open(database, "r+b") as file:
        file.seek(4096 * 40)
        file.write(b"\xff" * 4096 * 20)
    with pytest.raises(BackupError, match=r"damaged|malformed"):
        back_up(database, str(tmp_path / "copy.db"))
    assert sorted(one for one in os.listdir(tmp_path) if "copy" in one) == []


def test_odd_names(database: str, tmp_path: Path) -> None:
    odd = tmp_path / "a%20b?mode=memory#c'.db"
    os.rename(database, odd)
    back_up(str(odd), str(tmp_path / "c?d%.db"))
    assert counts(str(tmp_path / "c?d%.db")) == (1000, 1000)
