"""Taking over a MySQL database of the original OverC 1.0."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import threading
from typing import Any

import pymysql
import pytest
import pytest_twisted
from contract.conftest import Stores
from contract.nodes import MariaDatabase, Node, a_report, a_state, derive
from support.mariadb import MariaDb, running_mariadb
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.threads import deferToThread

from overc.daemon.store import migrations, mysql_migrations, status
from overc.daemon.store.errors import StorageError, StorageRefused
from overc.daemon.store.mysql import prepare
from overc.model import State

ORIGINAL = """
create table servers (id int not null auto_increment primary key, title varchar(64),
    name varchar(64) not null unique, `key` varchar(64), ip varchar(64));
create table services (id int not null auto_increment primary key, server_id int, period int,
    timed_out tinyint(1), name varchar(64) not null, title varchar(64),
    constraint of_server foreign key (server_id) references servers (id));
create table service_states (id int not null auto_increment primary key, service_id int,
    checked tinyint(1), rtime datetime, state enum('OK', 'WARN', 'FAIL', 'UNK'), info text,
    constraint of_service foreign key (service_id) references services (id));
create table alerts (id int not null auto_increment primary key, reported tinyint(1),
    server_id int, service_id int, service_state_id int, ctime datetime, channel varchar(32),
    event varchar(32), message text)
"""
TABLES = ("servers", "services", "service_states", "alerts")
T0 = 1_400_000_000
"""2014-05-13 16:53:20, UTC."""


def make_original(database: MariaDatabase, charset: str = "utf8mb4", *rows: str) -> None:
    with database.schema.connected() as connection, connection.cursor() as cursor:
        cursor.execute("set foreign_key_checks = 0")
        for statement in ORIGINAL.split(";"):
            cursor.execute(f"{statement} engine=InnoDB default charset={charset}")
        for row in rows:
            cursor.execute(f"insert into {row}")
        connection.commit()


def original_rows(database: MariaDatabase, prefix: str = "") -> dict[str, list[tuple[Any, ...]]]:
    return {name: database.rows(f"select * from {prefix}{name} order by id") for name in TABLES}


def tables(database: MariaDatabase) -> set[str]:
    return {name for (name,) in database.rows("show tables")}


SOME = (
    "servers values (3, 'Web', 'web1', 'secret', '10.0.0.1'),"
    " (7, 'DB', 'db1', 'other', '10.0.0.2')",
    "services values (4, 3, 60, 0, 'disk', 'Disk'), (9, 7, 300, 1, 'load', 'Load')",
    "service_states values"
    " (10, 4, 1, '2014-05-13 16:53:20', 'OK', 'fine'),"
    " (11, 9, 1, '2014-05-13 16:53:21', 'WARN', 'high'),"
    " (12, 4, 1, '2014-05-13 16:53:30', 'FAIL', 'full'),"
    " (13, 4, 1, '2014-05-13 16:53:40', 'FAIL', 'still full')",
    "alerts values"
    " (1, 1, 3, 4, 12, '2014-05-13 16:53:30', 'service:state', 'FAIL', 'it changed'),"
    " (2, 1, 7, 9, 11, '2014-05-13 16:59:00', 'plugin', 'offline', 'Monitoring plugin offline'),"
    " (3, 1, 3, null, null, '2014-05-13 17:00:00', 'api', 'alert', 'hot')",
)


@pytest_twisted.ensureDeferred
async def test_everything_is_kept(maria: MariaDatabase, stores: Stores) -> None:
    make_original(maria, "utf8mb4", *SOME)
    before = original_rows(maria)
    node = Node(await stores.open(maria))
    assert maria.rows("select id, name, title, key_derivation, ip from servers order by id") == [
        (3, "web1", "Web", derive("secret"), "10.0.0.1"),
        (7, "db1", "DB", derive("other"), "10.0.0.2"),
    ]
    columns = "id, server_id, name, title, period_s, timed_out, state, state_id, last_state_id"
    assert maria.rows(
        f"select {columns}, since_at, seen_at from services"
        " join latest on service_id = id order by id"
    ) == [
        (4, 3, "disk", "Disk", 60, 0, "FAIL", 13, 13, T0 + 10, T0 + 20),
        (9, 7, "load", "Load", 300, 1, "WARN", 11, 11, T0 + 1, T0 + 1),
    ]
    history = await node.store.read("read", status.history, 4, 0.0)
    assert [(one.id, one.seen_at, one.state, one.info) for one in history] == [
        (13, T0 + 20, "FAIL", "still full"),
        (12, T0 + 10, "FAIL", "full"),
        (10, T0, "OK", "fine"),
    ]
    assert maria.rows(
        "select id, server_id, service_id, state_id, raised_at, channel, event, severity, message"
        " from alerts order by id"
    ) == [
        (1, 3, 4, 12, T0 + 10, "service:state", "FAIL", "FAIL", "it changed"),
        (2, 7, 9, 11, T0 + 340, "plugin", "offline", "FAIL", "Monitoring plugin offline"),
        (3, 3, None, None, T0 + 400, "api", "alert", "FAIL", "hot"),
    ]
    # Nothing of it is sent again, and the old tables are there as they were.
    assert maria.rows("select count(*) from outbox") == [(0,)]
    assert original_rows(maria, "overc1_") == before
    # And it goes on from there.
    await node.record(a_report(a_state("disk", State.OK), key="secret"))
    assert maria.rows("select info from states where service_id = 4 order by id desc limit 1") == [
        ("fine",)
    ]
    assert (await node.present())["web1/disk"] == "OK"
    found = await node.store.read("read", status.history, 4, 0.0)
    assert len(found) == 4


@pytest_twisted.ensureDeferred
async def test_what_may_be_missing(maria: MariaDatabase, stores: Stores) -> None:
    make_original(
        maria,
        "utf8mb4",
        "servers values (1, null, 'web1', null, null), (2, '', 'web2', 'k', '')",
        "services values (1, 1, null, null, 'a', null), (2, 1, 60, null, 'b', ''),"
        " (3, 99, 60, 0, 'orphan', 'x'), (4, null, 60, 0, 'orphan', 'x')",
        "service_states values (1, 1, 0, null, null, null), (2, 99, 0, now(), 'OK', 'orphan'),"
        " (3, null, 0, now(), 'OK', 'orphan'), (4, 3, 0, now(), 'OK', 'orphan')",
        "alerts values (1, 0, 99, null, null, now(), 'api', 'alert', 'orphan'),"
        " (2, 0, 1, 99, null, now(), 'api', 'alert', 'orphan'),"
        " (3, 0, null, null, null, null, null, null, null),"
        " (4, 0, 1, 1, 77, now(), 'plugin', 'online', 'state is gone')",
    )
    node = Node(await stores.open(maria))
    assert maria.rows("select name, title, key_derivation, ip from servers order by id") == [
        ("web1", "web1", derive(""), ""),
        ("web2", "web2", derive("k"), ""),
    ]
    columns = "name, title, period_s, deadline_at, timed_out"
    assert maria.rows(
        f"select {columns} from services join latest on service_id = id order by id"
    ) == [
        ("a", "a", None, None, 0),
        ("b", "b", 60, 0, 0),
    ]
    assert maria.rows("select id, state, info, seen_at from states") == [(1, "UNK", "", 0)]
    assert maria.rows("select id, severity, message from alerts order by id") == [
        (3, "FAIL", ""),
        (4, "OK", "state is gone"),
    ]
    assert await node.present() == {"web1/a": "UNK", "web1/b": None}


@pytest.mark.parametrize("charset", ["utf8mb3", "latin1", "utf8mb4"])
@pytest_twisted.ensureDeferred
async def test_names_in_other_character_sets(
    maria: MariaDatabase, stores: Stores, charset: str
) -> None:
    make_original(
        maria,
        charset,
        "servers values (1, 'Größe', 'Größe', 'schlüssel', '')",
        "services values (1, 1, 60, 0, 'Füllstand', 'é')",
        "service_states values (1, 1, 0, now(), 'OK', 'ñandú')",
    )
    await stores.open(maria)
    assert maria.rows(
        "select servers.name, key_derivation, services.name, services.title, info from servers"
        " join services on services.server_id = servers.id"
        " join states on states.service_id = services.id"
    ) == [("Größe", derive("schlüssel"), "Füllstand", "é", "ñandú")]


@pytest_twisted.ensureDeferred
async def test_empty_tables(maria: MariaDatabase, stores: Stores) -> None:
    make_original(maria)
    node = Node(await stores.open(maria))
    await node.record(a_report(a_state("disk")))
    assert await node.present() == {"web1/disk": "OK"}
    assert {f"overc1_{name}" for name in TABLES} < tables(maria)


def many_states() -> tuple[str, ...]:
    values = ",".join(
        f"({n}, {n % 7 + 1}, 1, from_unixtime({T0 + n}), '{'OK' if n % 3 else 'FAIL'}', 'i{n}')"
        for n in range(1, 10_001)
    )
    return (
        "servers values (1, 'a', 'a', 'k', '')",
        "services values " + ",".join(f"({n}, 1, 60, 0, 's{n}', 's{n}')" for n in range(1, 8)),
        f"service_states values {values}",
    )


@pytest_twisted.ensureDeferred
async def test_a_long_history(maria: MariaDatabase, stores: Stores) -> None:
    maria.schema.server.admin("set global time_zone = '+05:00'")
    try:
        make_original(maria, "utf8mb4", *many_states())
        store = await stores.open(maria)
    finally:
        maria.schema.server.admin("set global time_zone = default")
    for service in range(1, 8):
        history = await store.read("read", status.history, service, 0.0)
        expected = [f"i{n}" for n in range(10_000, 0, -1) if n % 7 + 1 == service]
        assert [one.info for one in history] == expected
    assert (
        maria.rows("select id from states where received_at <> ? + id limit 1", T0 + 5 * 3600) == []
    )


@pytest_twisted.ensureDeferred
async def test_interrupted_it_leaves_everything_as_it_was(
    maria: MariaDatabase, stores: Stores
) -> None:
    make_original(maria, "utf8mb4", *SOME)
    before = original_rows(maria)
    derived: list[str] = []

    def fail(key: str) -> str:
        derived.append(key)
        if len(derived) == 2:
            raise KeyError("in the middle")
        return key

    with pytest.raises(KeyError):
        prepare(maria.schema.address, fail)
    assert original_rows(maria) == before
    assert "overc_schema" not in tables(maria)
    await stores.open(maria)
    assert maria.rows("select count(*) from states") == [(4,)]
    assert original_rows(maria, "overc1_") == before
    assert not [name for name in tables(maria) if name.startswith("overc_new_")]


def test_killed_amid_it_everything_is_as_it_was() -> None:
    """The database itself dies, at several places."""
    with running_mariadb() as server:
        for killed_at in range(1, 3):
            database = MariaDatabase(server.schema())
            make_original(database, "utf8mb4", *SOME)
            before = original_rows(database)
            with pytest.raises(StorageError):
                prepare(database.schema.address, _killer(server, killed_at))
            server.start()
            assert original_rows(database) == before
            prepare(database.schema.address, derive)
            assert original_rows(database, "overc1_") == before
            assert database.rows("select count(*) from states") == [(4,)]


def _killer(server: MariaDb, killed_at: int) -> Any:
    calls: list[str] = []

    def derive_and_kill(key: str) -> str:
        calls.append(key)
        if len(calls) == killed_at:
            server.kill()
        return derive(key)

    return derive_and_kill


@pytest_twisted.ensureDeferred
async def test_of_several_nodes_one_takes_over(maria: MariaDatabase, stores: Stores) -> None:
    make_original(maria, "utf8mb4", *SOME)
    derived: list[str] = []
    lock = threading.Lock()

    def counted(key: str) -> str:
        with lock:
            derived.append(key)
        return derive(key)

    await gatherResults([deferToThread(prepare, maria.schema.address, counted) for _ in range(5)])
    assert sorted(derived) == ["other", "secret"]
    await gatherResults([ensureDeferred(stores.open(maria)) for _ in range(3)])
    assert maria.rows("select count(*) from states") == [(4,)]


@pytest_twisted.ensureDeferred
async def test_of_several_nodes_one_creates_the_tables(maria: MariaDatabase) -> None:
    await gatherResults([deferToThread(prepare, maria.schema.address, derive) for _ in range(5)])
    assert maria.rows("select count(*) from overc_schema") == [(1,)]


FOREIGN = [
    ["create table servers (id int, name text)"],
    ["create table outbox (id int)"],
    [f"create table {name} (id int)" for name in TABLES],
]


@pytest.mark.parametrize("statements", FOREIGN)
def test_somebody_elses_tables_are_refused(maria: MariaDatabase, statements: list[str]) -> None:
    for statement in statements:
        maria.rows(statement)
    before = tables(maria)
    with pytest.raises(
        StorageRefused, match=r"has tables that are not OverC's: .*(servers|outbox)"
    ):
        prepare(maria.schema.address, derive)
    assert tables(maria) == before


def test_tables_of_others_that_are_not_in_the_way_are_left_alone(maria: MariaDatabase) -> None:
    maria.rows("create table wordpress (id int)")
    maria.rows("insert into wordpress values (1)")
    prepare(maria.schema.address, derive)
    assert maria.rows("select * from wordpress") == [(1,)]


OLDER = (
    "servers values (1, 'web1', 'Web', 'key', 'ip', 5.5)",
    "services (id, server_id, name, title, timed_out, state) values"
    " (1, 1, 'disk', 'Disk', 0, 'WARN'), (2, 1, 'cpu', 'cpu', 1, 'OK')",
    "alerts values (7, 1, 1, null, 6.0, 'service:state', 'WARN', 'WARN', 'changed'),"
    " (8, 1, 2, null, 7.0, 'plugin', 'offline', 'FAIL', 'late'),"
    " (9, 1, null, null, 8.0, 'api', 'alert', 'FAIL', 'asked')",
    "outbox values (1, 7, 'mail', 'pending', null, null), (2, 8, 'mail', 'sent', 9.0, 'thanks'),"
    " (3, 9, 'mail', 'pending', null, null), (4, 8, 'log', 'failed', 9.0, 'no')",
)


def make_version_3(database: MariaDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    older = {number: text for number, text in migrations.scripts("mysql").items() if number <= 3}
    with monkeypatch.context() as patch:
        patch.setattr(mysql_migrations, "scripts", lambda engine: older)
        prepare(database.schema.address, derive)
    assert database.rows("select version from overc_schema") == [(3,)]
    for row in OLDER:
        database.rows(f"insert into {row}")


@pytest.mark.parametrize("statements", [None, 0, 1, 3, 6, 8, 12])
def test_from_version_3_alerts_go_on(
    maria: MariaDatabase, monkeypatch: pytest.MonkeyPatch, statements: int | None
) -> None:
    make_version_3(maria, monkeypatch)
    script = migrations.scripts("mysql")[4]
    if statements is not None:
        # An upgrade that ended in the middle; the next one goes on.
        parts = script.format(prefix="", collation="utf8mb4_nopad_bin").split(";\n")
        for statement in parts[:statements]:
            maria.rows(statement)
    prepare(maria.schema.address, derive)
    assert maria.rows("select version from overc_schema") == [(max(migrations.scripts("mysql")),)]
    assert maria.rows("select id, phase, topic from alerts order by id") == [
        (7, "problem", "state"), (8, "problem", "late"), (9, "note", ""),
    ]  # fmt: skip
    assert maria.rows(
        "select id, server_id, service_id, lane, due_at, tries from outbox"
        " where status = 'pending' order by id"
    ) == [(1, 1, 1, 1, 0.0, 0), (3, 1, None, -1, 0.0, 0)]
    assert maria.rows(
        "select plugin, service_id, topic, alert_id, told_at from standing order by service_id"
    ) == [("mail", 1, "state", 7, None), ("mail", 2, "late", 8, 9.0)]


def test_a_newer_version_is_refused(maria: MariaDatabase) -> None:
    prepare(maria.schema.address, derive)
    maria.rows("update overc_schema set version = 99")
    with pytest.raises(StorageRefused, match="schema version 99, this OverC knows"):
        prepare(maria.schema.address, derive)
    assert maria.rows("select version from overc_schema") == [(99,)]


def test_the_password_is_in_no_sentence(maria: MariaDatabase) -> None:
    maria.schema.server.admin(f"drop user {maria.schema.user}@127.0.0.1")
    with pytest.raises(StorageRefused, match="Access denied") as caught:
        prepare(maria.schema.address, derive)
    assert maria.schema.password not in str(caught.value)
    assert isinstance(caught.value.__cause__, pymysql.err.OperationalError)
