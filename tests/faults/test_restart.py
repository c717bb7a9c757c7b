"""A short run of the command in restart.py."""

from __future__ import annotations

import pathlib

from faults.restart import run


def test_after_a_stop_the_dead_are_found_and_nobody_else(tmp_path: pathlib.Path) -> None:
    # They report early, and how fast the server is is for the command: other tests run here.
    result = run(tmp_path, hosts=10, services=20, period_s=5, away_s=7, aim=0.5)
    assert result.sound, result.show()
