"""A short run of the command in agent_fleet.py."""

from __future__ import annotations

import pathlib

from faults.agent_fleet import run


def test_agents_return_without_harm(tmp_path: pathlib.Path) -> None:
    result = run(tmp_path, agents=20, missed=8, interval_s=1.0, period_s=12)
    # How fast it goes is for the command: here other tests run on the machine.
    assert result.sound, result.show()
