"""A short run of `agent_plugins.py`."""

# mypy: disable-error-code="untyped-decorator"
# (pytest-twisted has no annotations)

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from faults.agent_plugins import KINDS, measure
from twisted.internet import reactor


@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_hostile_plugins(tmp_path: Path) -> None:
    result = await measure(reactor, 2 * len(KINDS), tmp_path)
    assert result.passed, result.show()
