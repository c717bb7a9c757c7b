"""A short run of the command in agent_outage.py."""

from __future__ import annotations

import pathlib

from faults.agent_outage import torture


def test_nothing_is_lost_while_the_server_is_away(tmp_path: pathlib.Path) -> None:
    result = torture(tmp_path, kills=4)
    assert result.passed, result.show()
