from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database, result_of
from support_watchdog import LOOK, MARK, Kennel
from twisted.internet.defer import ensureDeferred

from overc.daemon import watchdog as watchdog_module
from overc.daemon.watchdog import TELL_S


@pytest.fixture
def kennel(tmp_path: Path) -> Kennel:
    return Kennel(a_database(tmp_path))


def test_many_late_services_are_judged_in_chunks(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    kennel.start()
    kennel.report(*[2] * 8)
    kennel.pass_time(1.75)
    kennel.store.arguments.clear()
    kennel.store.calls.clear()
    kennel.pass_time(0.25)
    assert kennel.late() == list(range(1, 9))
    calls = zip(kennel.store.calls, kennel.store.arguments, strict=True)
    assert [len(args[0]) for call, args in calls if call == MARK] == [3, 3, 2]
    assert kennel.store.calls.count(LOOK) == 1
    # So that those of one server go in one message.
    assert kennel.nudges == 1


def test_between_the_chunks_others_have_the_database(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    monkeypatch.setattr(watchdog_module, "YIELD_S", 0.0625)
    kennel.start()
    kennel.report(*[2] * 12)
    kennel.pass_time(1.75)
    kennel.store.fault = lambda description: (
        kennel.clock.advance(0.03125) if description == MARK else None
    )
    kennel.pass_time(0.25)
    assert len(kennel.late()) == 3
    kennel.reactor.advance(0.03)
    assert len(kennel.late()) == 3
    kennel.reactor.advance(0.00125)
    assert len(kennel.late()) == 6
    # Then it has waited for long enough, and does the rest in larger chunks.
    marks = kennel.count(MARK)
    kennel.reactor.advance(0.03125)
    assert len(kennel.late()) == 12
    assert kennel.count(MARK) == marks + 1
    assert kennel.nudges == 1


def test_a_storm_is_told_of_while_it_goes_on(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK_MOST", 1)
    monkeypatch.setattr(watchdog_module, "YIELD_S", 0.0)
    kennel.start()
    kennel.report(*[2] * 8)
    kennel.pass_time(1.75)
    nudged_after = []
    kennel.store.fault = lambda description: (
        kennel.clock.advance(TELL_S / 2) if description == MARK else None
    )
    monkeypatch.setattr(
        kennel.dog, "_alerts_raised", lambda: nudged_after.append(len(kennel.late()))
    )
    kennel.pass_time(0.25)
    assert nudged_after == [3, 6, 8]


def test_a_stop_does_not_wait_for_the_end_of_a_storm(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 3)
    kennel.start()
    kennel.report(*[2] * 9)
    kennel.pass_time(1.75)
    kennel.store.held = True
    kennel.pass_time(0.25)
    stopped = ensureDeferred(kennel.dog.stopService())
    kennel.store.held = False
    kennel.store.step()
    result_of(stopped)
    assert len(kennel.late()) <= 3


@pytest.mark.parametrize("count, looks", [(2, 1), (3, 2), (6, 3), (7, 3)])
def test_a_tick_ends_with_the_last_of_them(
    kennel: Kennel, monkeypatch: pytest.MonkeyPatch, count: int, looks: int
) -> None:
    monkeypatch.setattr(watchdog_module, "CHUNK", 2)
    monkeypatch.setattr(watchdog_module, "FOUND", 3)
    kennel.start()
    kennel.report(*[1] * count)
    kennel.pass_time(0.75)
    before = kennel.count(LOOK)
    kennel.pass_time(0.25)
    assert kennel.count(LOOK) == before + looks
    assert len(kennel.late()) == count
