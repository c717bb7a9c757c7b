"""A short run of the command in sigkill.py."""

from __future__ import annotations

import pathlib

import pytest
from faults.sigkill import new_database, torture
from support.mariadb import need_mariadb


@pytest.mark.parametrize(
    ("engine", "victim"), [("sqlite", "server"), ("mariadb", "server"), ("mariadb", "database")]
)
def test_each_answered_report_is_stored_once(
    engine: str, victim: str, tmp_path: pathlib.Path
) -> None:
    if engine == "mariadb":
        need_mariadb()
    with new_database(engine, tmp_path) as database:
        result = torture(engine, database, tmp_path, kills=4, victim=victim, n_writers=4)
    assert result.passed, result.show()
