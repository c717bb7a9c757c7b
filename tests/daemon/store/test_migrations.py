from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support_daemon import change, rows

from overc.daemon.store import migrations
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.daemon.store.sqlite import prepare

ONE = migrations.scripts("sqlite")[1]
TWO = "create table two (a); insert into two values (1);"
THREE = "alter table two add column b; update two set b = 2;"
TABLES = "select name from sqlite_master where type = 'table' and name not like 'sqlite_%'"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "overc.db")


def version(path: str) -> int:
    number: int = rows(path, "pragma user_version")[0][0]
    return number


def migrate(monkeypatch: pytest.MonkeyPatch, path: str, *texts: str) -> None:
    numbered = dict(enumerate(texts, 1))
    monkeypatch.setattr(migrations, "scripts", lambda engine: numbered)
    prepare(path)


def files_of(path: str) -> list[str]:
    """Return the database and its copies, without what SQLite keeps beside an open one."""
    found = (each.name for each in Path(path).parent.iterdir())
    return sorted(name for name in found if not name.endswith(("-wal", "-shm")))


def test_the_scripts_are_numbered_without_a_gap() -> None:
    found = list(migrations.scripts("sqlite"))
    assert found == list(range(1, len(found) + 1))


def test_a_fresh_database(path: str) -> None:
    prepare(path)
    assert version(path) == max(migrations.scripts("sqlite"))
    tables = {name for (name,) in rows(path, TABLES)}
    assert tables >= {"servers", "services", "states", "alerts", "outbox", "spools"}
    assert files_of(path) == ["overc.db"]


def test_again_changes_nothing(path: str) -> None:
    prepare(path)
    before = rows(path, "select * from sqlite_master")
    prepare(path)
    assert rows(path, "select * from sqlite_master") == before
    assert files_of(path) == ["overc.db"]


def test_an_upgrade_takes_every_step_and_keeps_a_copy(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(monkeypatch, path, ONE)
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("insert into servers values (1, 'web1', 'web1', 'k', 'ip', 1.0)")
    migrate(monkeypatch, path, ONE, TWO, THREE)
    assert version(path) == 3
    assert rows(path, "select a, b from two") == [(1, 2)]
    assert rows(path, "select name from servers") == [("web1",)]
    assert files_of(path) == ["overc.db", "overc.db.v1"]
    assert version(f"{path}.v1") == 1
    assert rows(f"{path}.v1", "select name from servers") == [("web1",)]
    assert ("two",) not in rows(f"{path}.v1", TABLES)


def test_what_is_only_in_the_log_is_in_the_copy(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(monkeypatch, path, ONE)
    with closing(sqlite3.connect(path)) as other:
        # While this one is open the row stays in the write-ahead log.
        with other:
            other.execute("insert into servers values (1, 'web1', 'web1', 'k', 'ip', 1.0)")
        migrate(monkeypatch, path, ONE, TWO)
    assert rows(f"{path}.v1", "select name from servers") == [("web1",)]


def test_a_newer_database_is_refused_untouched(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate(monkeypatch, path, ONE, TWO)
    with pytest.raises(StorageRefused) as raised:
        migrate(monkeypatch, path, ONE)
    assert str(raised.value) == (
        f"{path} is of schema version 2, this OverC knows 1 at most:"
        " install the newer OverC again, or give it another database"
    )
    assert version(path) == 2
    assert files_of(path) == ["overc.db"]


@pytest.mark.parametrize(
    "broken",
    [
        "create table three (a); insert into nonsense values (1);",
        "insert into two values (7); create table two (a);",
        "insert into two values (8); this is no SQL",
    ],
)
def test_a_script_that_fails_leaves_the_last_whole_version(
    path: str, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    migrate(monkeypatch, path, ONE)
    with pytest.raises(StorageError, match="can't be opened: "):
        migrate(monkeypatch, path, ONE, TWO, broken)
    assert version(path) == 2
    assert rows(path, "select a from two") == [(1,)]
    assert ("three",) not in rows(path, TABLES)
    assert files_of(path) == ["overc.db", "overc.db.v1"]
    migrate(monkeypatch, path, ONE, TWO, THREE)
    assert version(path) == 3
    assert rows(path, "select a, b from two") == [(1, 2)]


def test_a_script_that_fails_leaves_no_transaction_open(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "scripts", lambda engine: {1: "create table a (b); nonsense"})
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.Error):
            migrations.migrate_sqlite(connection, path)
        assert not connection.in_transaction


def test_a_first_script_that_fails_leaves_an_empty_database(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError, match="can't be opened: "):
        migrate(monkeypatch, path, "create table a (b); nonsense")
    assert version(path) == 0
    assert rows(path, TABLES) == []
    migrate(monkeypatch, path, ONE)
    assert version(path) == 1


def old_database(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create one of version 1: web1 with disk, cpu, and one that never reported; web2 with disk."""
    migrate(monkeypatch, path, ONE)
    monkeypatch.undo()
    states = [(1, 1), (2, 2), (3, 1), (4, 4), (5, 2), (6, 1)]
    with closing(sqlite3.connect(path)) as old, old:
        old.executescript(
            """
            insert into servers values (1, 'web1', 'Web', 'key1', '192.0.2.1', 5.5);
            insert into servers values (2, 'web2', 'web2', 'key2', '::1', 6.5);
            insert into services values
                (1, 1, 'disk', 'Disk', 60, 123.5, 0, 'WARN', 6, 1001.25),
                (2, 1, 'cpu', 'cpu', 30, null, 1, 'OK', 5, 1002.25),
                (3, 1, 'job', 'job', null, null, 0, null, null, null),
                (4, 2, 'disk', 'disk', 10, 9.5, 0, 'FAIL', 4, 1004.25);
            insert into alerts values
                (7, 1, 1, 6, 1006.0, 'service:state', 'WARN', 'WARN', 'changed'),
                (8, 2, null, null, 1007.0, 'api', 'alert', 'FAIL', 'ё'),
                (9, null, null, null, 1008.0, 'alert-plugin', 'failed', 'FAIL', 'own');
            insert into outbox values (1, 7, 'mail', 'pending', null, null);
            insert into outbox values (2, 8, 'mail', 'sent', 1009.0, 'thanks');
            """
        )
        old.executemany(
            "insert into states values (?, ?, ?, 'WARN', ?)",
            [(id_, service, 1000.25 + id_, f"info {id_} ё") for id_, service in states],
        )


UNTOUCHED = ("servers", "alerts", "outbox")


def test_from_version_1_everything_is_kept(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old_database(path, monkeypatch)
    before = {table: rows(path, f"select * from {table} order by id") for table in UNTOUCHED}
    columns = "id, server_id, name, title, period_s, deadline_at, timed_out, state"
    columns += ", state_id, since_at"
    services = rows(path, f"select {columns} from services order by id")
    prepare(path)
    assert version(path) == max(migrations.scripts("sqlite"))
    for table, kept in before.items():
        found = rows(path, f"select * from {table} order by id")
        assert [one[: len(was)] for one, was in zip(found, kept, strict=True)] == kept
    # Each service is as it was, and knows where its chain begins and when it was seen.
    seen = {1: (1006.25, 6), 2: (1005.25, 5), 3: (None, None), 4: (1004.25, 4)}
    joined = "services join latest on service_id = id"
    assert rows(path, f"select {columns} from {joined} order by id") == services
    assert rows(path, "select look_at from services order by id") == [(one[5],) for one in services]
    added = rows(path, f"select id, seen_at, last_state_id from {joined}")
    assert {id_: rest for id_, *rest in added} == {id_: [*of] for id_, of in seen.items()}
    chains = {1: None, 2: None, 3: 1, 4: None, 5: 2, 6: 3}
    columns = "id, service_id, previous_id, received_at, seen_at, state, info"
    assert rows(path, f"select {columns} from states order by id") == [
        (id_, {2: 2, 5: 2, 4: 4}.get(id_, 1), previous, at, at, "WARN", f"info {id_} ё")
        for id_, previous in chains.items()
        for at in [1000.25 + id_]
    ]
    assert rows(path, "pragma foreign_key_check") == rows(path, "select 1 where 0")


def test_from_version_1_the_old_file_is_kept_beside(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_database(path, monkeypatch)
    dump = "select * from states order by id"
    before = rows(path, dump)
    prepare(path)
    assert files_of(path) == ["overc.db", "overc.db.v1"]
    assert version(f"{path}.v1") == 1
    assert rows(f"{path}.v1", dump) == before


def test_from_version_1_ids_go_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old_database(path, monkeypatch)
    prepare(path)
    [(seq,)] = rows(path, "select seq from sqlite_sequence where name = 'states'")
    assert seq == 6
    fresh = str(Path(path).with_name("fresh.db"))
    prepare(fresh)
    tables = "select name, sql from sqlite_master where name not like 'sqlite_%' order by name"
    assert rows(path, tables) == rows(fresh, tables)


def test_from_version_1_alerts_go_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    old_database(path, monkeypatch)
    alerts = [
        (20, 1, 2, None, "plugin", "online"), (21, 1, 2, None, "plugin", "offline"),
        (22, 2, 4, 4, "service:state", "FAIL"), (23, 1, 2, 5, "service:state", "OK"),
    ]  # fmt: skip
    outbox = [(21, "sent"), (22, "failed"), (20, "sent"), (23, "pending")]
    for alert_id, server_id, service_id, state_id, channel, event in alerts:
        change(
            path,
            "insert into alerts values (?, ?, ?, ?, 1010.0, ?, ?, 'FAIL', '')",
            alert_id, server_id, service_id, state_id, channel, event,
        )  # fmt: skip
    for alert_id, status in outbox:
        change(
            path,
            "insert into outbox (alert_id, plugin, status, tried_at) values (?, 'log', ?, 1011.0)",
            alert_id, status,
        )  # fmt: skip
    prepare(path)
    assert rows(path, "select id, phase, topic from alerts order by id") == [
        (7, "problem", "state"), (8, "note", ""), (9, "note", ""), (20, "recovery", "late"),
        (21, "problem", "late"), (22, "problem", "state"), (23, "recovery", "state"),
    ]  # fmt: skip
    # What waits knows whom it is about, so that its order is kept.
    waits = "select alert_id, plugin, server_id, service_id, lane, due_at, tries from outbox"
    assert rows(path, f"{waits} where status = 'pending' order by id") == [
        (7, "mail", 1, 1, 1, 0.0, 0), (23, "log", 1, 2, 2, 0.0, 0),
    ]  # fmt: skip
    # Who was told of what is still a problem, or will be, gets its recovery. The alert of the
    # fourth service was never delivered.
    told = "select plugin, service_id, topic, alert_id, told_at from standing order by service_id"
    assert rows(path, told) == [("mail", 1, "state", 7, None), ("log", 2, "late", 21, 1011.0)]
