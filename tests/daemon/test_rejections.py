"""Refused keys cost little, and are kept to be accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    IntakeDesk,
    SteppedStore,
    a_database,
    a_recorder,
    a_report,
    in_transaction,
    our_log,
    record,
    result_of,
    rows,
    said,
)
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock

from overc.daemon import intake as intake_module
from overc.daemon import keys
from overc.daemon.intake import Intake
from overc.daemon.recording import WrongKey
from overc.daemon.rejections import PAUSE_S, ROUND_S, SERVERS_MAX, Rejections
from overc.daemon.store import rejected_keys
from overc.daemon.store.errors import StorageError
from overc.daemon.store.rejected_keys import KEYS_MAX

IP = "192.0.2.66"
KNOWN_IP = "192.0.2.1"
FOUND = "select server_id, key_derivation, ip, first_at, last_at, tries from rejected_keys"


class Desk:
    """Rejections over a store with web1 (1), web2 (2) and so on, and time that a test lets pass."""

    def __init__(self, path: str, servers: int = 3) -> None:
        self.reactor = Clock()
        self.clock = FakeClock()
        self.store = SteppedStore(path)
        record(path, a_recorder(), self.clock, *(a_report(name=f"web{n}") for n in range(servers)))
        self.rejections = Rejections(self.reactor, self.store, self.clock)
        self.rejections.startService()

    def wait(self, span_s: float) -> None:
        """Let time pass, second by second."""
        for _ in range(round(span_s)):
            self.clock.advance(1)
            self.reactor.advance(1)

    def found(self) -> list[tuple[object, ...]]:
        return rows(self.store.path, f"{FOUND} order by id")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(a_database(tmp_path))


def test_without_refused_keys_nothing_is_done(desk: Desk) -> None:
    desk.wait(300)
    assert desk.store.calls == []


def test_the_first_one_is_written_down_at_once(desk: Desk) -> None:
    desk.rejections.note(1, "new", IP, KNOWN_IP)
    assert desk.store.calls == []
    desk.wait(ROUND_S)
    assert desk.found() == [(1, "new", IP, WALL_AT, WALL_AT, 1)]


def test_a_server_costs_one_write_a_minute(desk: Desk) -> None:
    for _ in range(180):
        for number in range(10):
            desk.rejections.note(1, f"new{number}", IP, KNOWN_IP)
        desk.wait(1)
    assert len(desk.store.calls) == 180 / PAUSE_S
    desk.wait(PAUSE_S)
    assert len(desk.store.calls) == 180 / PAUSE_S + 1
    assert [row[1] for row in desk.found()] == [f"new{number}" for number in range(KEYS_MAX)]
    assert {row[5] for row in desk.found()} == {180}
    # When it is quiet again, so is everything.
    desk.wait(300)
    assert len(desk.store.calls) == 180 / PAUSE_S + 1


@pytest.mark.parametrize("ip", ["192.0.2.7", KNOWN_IP])
def test_whoever_tries_many_keys_hides_no_other_host(desk: Desk, ip: str) -> None:
    """They come first within each minute, and last too."""
    for _ in range(3):
        for number in range(20):
            desk.rejections.note(1, f"wrong{number}", IP, KNOWN_IP)
        desk.rejections.note(1, "new", ip, KNOWN_IP)
        for number in range(20, 40):
            desk.rejections.note(1, f"wrong{number}", IP, KNOWN_IP)
        desk.wait(PAUSE_S + 1)
    found = {row[1]: row[5] for row in desk.found()}
    assert found.pop("new") == 3
    assert len(found) == KEYS_MAX - 1


def test_not_even_many_addresses_hide_the_one_that_is_known(desk: Desk) -> None:
    for number in range(20):
        desk.rejections.note(1, f"wrong{number}", f"192.0.2.{100 + number}", KNOWN_IP)
    desk.rejections.note(1, "new", KNOWN_IP, KNOWN_IP)
    desk.wait(1)
    assert "new" in [row[1] for row in desk.found()]
    assert len(desk.found()) == KEYS_MAX


def test_servers_share_a_transaction(desk: Desk) -> None:
    for server_id in (1, 2, 3, 1):
        desk.rejections.note(server_id, "new", IP, KNOWN_IP)
    desk.wait(1)
    assert [row[::5] for row in desk.found()] == [(1, 2), (2, 1), (3, 1)]
    assert len(desk.store.calls) == 1


def test_there_is_an_end_to_what_waits(desk: Desk) -> None:
    for server_id in range(1, 3 * SERVERS_MAX):
        desk.rejections.note(server_id, "new", IP, KNOWN_IP)
    desk.wait(1)
    [[tried, _]] = desk.store.arguments
    assert len(tried) == SERVERS_MAX


def test_after_it_was_accepted_the_next_one_is_news(desk: Desk) -> None:
    desk.rejections.note(1, "new", IP, KNOWN_IP)
    desk.wait(1)
    desk.rejections.note(1, "new", IP, KNOWN_IP)
    in_transaction(desk.store.path, rejected_keys.accept, 1)
    desk.rejections.forget(1)
    desk.wait(2 * PAUSE_S)
    assert desk.found() == []
    desk.rejections.note(1, "old", IP, KNOWN_IP)
    desk.wait(1)
    assert [row[1] for row in desk.found()] == ["old"]


def test_a_database_that_fails_is_left_alone_and_tried_again(desk: Desk) -> None:
    def fail(description: str) -> None:
        raise StorageError("gone")

    desk.store.fault = fail
    with our_log() as log:
        desk.rejections.note(1, "new", IP, KNOWN_IP)
        desk.wait(PAUSE_S)
    assert [line for line in log if "refused keys could not be noted" in line]
    desk.store.fault = lambda description: None
    desk.rejections.note(1, "new", IP, KNOWN_IP)
    desk.wait(PAUSE_S)
    assert [row[5] for row in desk.found()] == [1]


def test_it_stops(desk: Desk) -> None:
    result_of(desk.rejections.stopService())
    desk.rejections.note(1, "new", IP, KNOWN_IP)
    desk.wait(5)
    assert desk.found() == []


@pytest.fixture
def intake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IntakeDesk:
    monkeypatch.setattr(intake_module, "deferToThread", maybeDeferred)
    return IntakeDesk(a_database(tmp_path), queue_max=50)


def test_an_accepted_key_is_good_on_every_node_at_once(intake: IntakeDesk) -> None:
    path, clock = intake.store.path, intake.clock
    refused: list[tuple[int, str, str, str]] = []

    def another_node() -> Intake:
        node = Intake(
            intake.reactor, intake.store, clock, a_recorder(), lambda: None,
            key_refused=lambda *found: refused.append(found),
        )  # fmt: skip
        node.startService()
        return node

    here, there = another_node(), another_node()
    for node in (here, there):
        result_of(node.submit(said("old", key="old")))
    with pytest.raises(WrongKey, match="accept this key on the dashboard"):
        result_of(here.submit(said("new", key="new", ip=IP)))
    [(server_id, derivation, ip, known_ip)] = refused
    assert (server_id, ip, known_ip) == (1, IP, KNOWN_IP)
    assert keys.verify("new", derivation)
    assert not keys.verify("old", derivation)
    assert "new" not in derivation
    tried = rejected_keys.Tried(server_id, derivation, ip, WALL_AT, WALL_AT, 1)
    in_transaction(path, rejected_keys.note, [tried], WALL_AT)
    in_transaction(path, rejected_keys.accept, 1)
    for node in (here, there):
        result_of(node.submit(said("new", key="new")))
        with pytest.raises(WrongKey):
            result_of(node.submit(said("old", key="old")))
        # Once more: now neither of them is remembered wrongly.
        result_of(node.submit(said("new", key="new")))
    assert intake.infos() == ["old", "old", "new", "new", "new", "new"]
    assert [one[0] for one in refused[1:]] == [1] * len(refused[1:])


def test_a_refused_key_costs_one_derivation(
    intake: IntakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    result_of(intake.intake.submit(said("x", key="old")))
    derived = []
    real = keys._scrypt

    def counted(*arguments: object) -> bytes:
        derived.append(arguments)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(keys, "_scrypt", counted)
    with pytest.raises(WrongKey):
        result_of(intake.intake.submit(said("x", key="new")))
    assert len(derived) == 1
