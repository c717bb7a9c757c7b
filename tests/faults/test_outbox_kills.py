"""Short runs of the command in outbox.py."""

from __future__ import annotations

import pathlib

import pytest
from faults.outbox import PLUGINS, Told, count, torture
from faults.sigkill import Database, new_database
from support.mariadb import need_mariadb


@pytest.mark.parametrize(("engine", "kills"), [("sqlite", 0), ("sqlite", 12), ("mariadb", 3)])
def test_each_alert_is_delivered(engine: str, kills: int, tmp_path: pathlib.Path) -> None:
    if engine == "mariadb":
        need_mariadb()
    with new_database(engine, tmp_path) as database:
        result = torture(engine, database, tmp_path, kills)
    assert result.passed, result.show()
    assert result.extra <= kills * len(PLUGINS)


class Outbox(Database):
    def __init__(self, *rows: tuple[str, int, str]) -> None:
        self._rows = rows

    def rows(self, sql: str) -> list[tuple[str, str, str, int]]:
        return list(self._rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "told, status, passed",
    [
        ([Told(0, 1, "a"), Told(0, 2, "a")], "sent", True),
        ([Told(0, 1, "a"), Told(1, 1, "a"), Told(1, 2, "a")], "sent", True),
        ([Told(0, 1, "a")], "sent", False),
        ([Told(0, 1, "a"), Told(0, 1, "a"), Told(0, 2, "a")], "sent", False),
        ([Told(0, 2, "a"), Told(0, 1, "a")], "sent", False),
        ([Told(0, 2, "a"), Told(0, 1, "b")], "sent", True),
        ([Told(0, 1, "a"), Told(0, 2, "a")], "pending", False),
        ([Told(n, i, "ab"[i - 1]) for n in range(4) for i in (1, 2)], "sent", False),
    ],
)
def test_what_is_wrong_is_found(told: list[Told], status: str, passed: bool) -> None:
    database = Outbox(("sure", 1, "sent"), ("sure", 2, status), ("moody", 3, "sent"))
    result = count("none", 1, database, {"sure": told, "moody": [Told(0, 3, "a")]}, 0)
    assert result.passed is passed
