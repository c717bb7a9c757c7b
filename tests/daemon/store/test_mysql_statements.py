"""What is said to MySQL otherwise than to MariaDB, which the other suites run on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from overc.daemon.store.mysql_transaction import MysqlTransaction

MARIADB = "5.5.5-10.11.19-MariaDB-0+deb12u1"


class Cursor:
    """Keeps what is executed."""

    def __init__(self, version: str) -> None:
        self.connection = SimpleNamespace(server_version=version)
        self.executed: list[str] = []

    def execute(self, sql: str) -> None:
        self.executed.append(sql)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (
            MARIADB,
            "insert into services (id,state,look_at) values (1,'OK',1.0e0),(2,'FAIL',NULL)"
            " on duplicate key update state = values(state),look_at = values(look_at)",
        ),
        (
            "9.7.4-2",
            "update (values row(1,'OK',1.0e0),row(2,'FAIL',NULL))"
            " as v (column_id,column_state,column_look_at)"
            " straight_join services force index (primary) on services.id = v.column_id"
            " set services.state = v.column_state,services.look_at = v.column_look_at",
        ),
    ],
)
def test_rows_that_are_updated(version: str, expected: str) -> None:
    cursor: Any = Cursor(version)
    rows = [(1, "OK", 1.0), (2, "FAIL", None)]
    MysqlTransaction(cursor).update("services", ("id", "state", "look_at"), rows)
    [said] = cursor.executed
    assert said == expected


@pytest.mark.parametrize("version", [MARIADB, "9.7.4-2"])
def test_rows_that_are_inserted(version: str) -> None:
    cursor: Any = Cursor(version)
    cursor.lastrowid = 7
    assert MysqlTransaction(cursor).insert("servers", ("name",), [("a",)]) == [7]
    assert cursor.executed == ["insert into servers (name) values ('a')"]
