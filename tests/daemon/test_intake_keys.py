from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from support_daemon import (
    IntakeDesk,
    a_database,
    a_recorder,
    change,
    result_of,
    rows,
    said,
)
from twisted.internet.defer import Deferred, maybeDeferred

from overc.daemon import intake as intake_module
from overc.daemon import keys
from overc.daemon.intake import Intake
from overc.daemon.keys import derive
from overc.daemon.recording import WrongKey

RECORD = "store a report"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IntakeDesk:
    # Threads would end in any order.
    monkeypatch.setattr(intake_module, "deferToThread", maybeDeferred)
    return IntakeDesk(a_database(tmp_path), queue_max=50)


def test_a_key_is_proved_once_and_then_recalled(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(keys, name)

        def call(*args: Any) -> Any:
            proofs.append(name)
            return real(*args)

        return call

    monkeypatch.setattr(keys, "derive", counted("derive"))
    monkeypatch.setattr(keys, "derive_like", counted("derive_like"))
    for _ in range(3):
        result_of(desk.intake.submit(said("x")))
    assert proofs == ["derive"]
    # Another process does not know it yet.
    other = Intake(desk.reactor, desk.store, desk.clock, a_recorder(), lambda: None)
    other.startService()
    for _ in range(3):
        result_of(other.submit(said("x")))
    assert proofs == ["derive", "derive_like"]


def test_keys_that_are_tried_leave_threads_for_others(
    desk: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    result_of(desk.intake.submit(said("x")))
    begun: list[Deferred[str]] = []

    def thread(*call: object) -> Deferred[str]:
        begun.append(Deferred())
        return begun[-1]

    monkeypatch.setattr(intake_module, "deferToThread", thread)
    tried = desk.submit(*(said("y", key=f"wrong {n}") for n in range(10)))
    tried += desk.submit(*(said("y", name=f"new {n}") for n in range(10)))
    assert len(begun) == intake_module.PROOFS_MAX
    for number in range(20):
        begun[number].callback(f"another one {number}")
    assert len(begun) == 20
    for one in tried[:10]:
        with pytest.raises(WrongKey):
            result_of(one)
    for one in tried[10:]:
        result_of(one)


def test_a_wrong_key(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("x", ip="192.0.2.1")))
    for _ in range(2):
        with pytest.raises(WrongKey, match=r'^Invalid server key for "web1"'):
            result_of(desk.intake.submit(said("y", key="wrong", ip="192.0.2.6")))
    result_of(desk.intake.submit(said("z")))
    assert desk.infos() == ["x", "z"]
    assert rows(desk.store.path, "select ip from servers") == [("192.0.2.1",)]


def test_a_name_that_another_key_took_meanwhile(desk: IntakeDesk) -> None:
    """Both were derived for a name that nobody had yet; the first in the queue has it."""
    desk.store.held = True
    first, second = desk.submit(said("first", key="one"), said("second", key="two"))
    desk.store.step()
    desk.store.step()
    result_of(first)
    with pytest.raises(WrongKey):
        result_of(second)
    desk.store.held = False
    with pytest.raises(WrongKey):
        result_of(desk.intake.submit(said("third", key="two")))
    result_of(desk.intake.submit(said("fourth", key="one")))
    assert desk.infos() == ["first", "fourth"]


def test_a_deleted_server_is_forgotten(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("x", key="old")))
    desk.delete_server(1)
    result_of(desk.intake.submit(said("y", key="new")))
    assert desk.infos() == ["y"]
    sql = "select key_derivation from servers"
    before = rows(desk.store.path, sql)
    desk.delete_server(2)
    result_of(desk.intake.submit(said("y", key="new")))
    assert rows(desk.store.path, sql) != before
    with pytest.raises(WrongKey):
        result_of(desk.intake.submit(said("z", key="old")))


def test_a_key_that_was_changed_behind_our_back(desk: IntakeDesk) -> None:
    result_of(desk.intake.submit(said("x", key="old")))
    change(desk.store.path, "update servers set key_derivation = ?", derive("new"))
    with pytest.raises(WrongKey):
        result_of(desk.intake.submit(said("y", key="old")))
    # From now on it is turned away before it costs the writer's thread anything.
    writes = desk.store.calls.count(RECORD)
    with pytest.raises(WrongKey):
        result_of(desk.intake.submit(said("y", key="old")))
    assert desk.store.calls.count(RECORD) == writes
    result_of(desk.intake.submit(said("z", key="new")))
    assert desk.infos() == ["x", "z"]


@pytest_twisted.ensureDeferred
async def test_keys_are_proved_in_threads_of_their_own(tmp_path: Path) -> None:
    desk = IntakeDesk(a_database(tmp_path), queue_max=50)
    answers = desk.submit(*(said(str(number), name=f"web{number}") for number in range(8)))
    assert not any(one.called for one in answers)
    for one in answers:
        await one
    assert sorted(desk.infos()) == [str(number) for number in range(8)]
