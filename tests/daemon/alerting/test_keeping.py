from __future__ import annotations

from typing import NamedTuple

import pytest

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.alerting.keeping import Keepers, OpenWindows, looked_back_to
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.store.kept_back import SilenceRow

NOW = 1000.0


class Window(NamedTuple):
    until_at: float | None

    begun: float | None = None

    def until(self, now_at: float) -> float | None:
        assert now_at == NOW
        return self.until_at

    def begun_at(self, now_at: float) -> float | None:
        assert now_at == NOW
        return self.begun


def a_window(until_at: float | None, servers: Patterns = EVERYTHING) -> Maintenance:
    return Maintenance("swap", Window(until_at), servers, Patterns("disk"))


def a_silence(id_: int, author: str = "ann") -> SilenceRow:
    return SilenceRow(id_, "web*", "disk, cpu", author, "x", NOW, NOW, NOW + 60)


BY_ANN = KeepsBack("silence 1", NOW + 60, "ann", "x")
BY_WINDOW = KeepsBack("maintenance swap", NOW + 30)
OPENED = KeepsBack("silence 2", NOW + 60, "maintenance swap", "x")


@pytest.mark.parametrize(
    "silences, windows, server, service, found",
    [
        ([], [], "web1", "disk", []),
        ([a_silence(1)], [], "web1", "disk", [BY_ANN]),
        ([a_silence(1)], [], "web1", "cpu", [BY_ANN]),
        ([a_silence(1)], [], "web1", "swap", []),
        ([a_silence(1)], [], "db1", "disk", []),
        ([], [a_window(NOW + 30)], "web1", "disk", [BY_WINDOW]),
        ([], [a_window(NOW + 30)], "web1", "cpu", []),
        ([], [a_window(NOW + 30, Patterns("db*"))], "web1", "disk", []),
        ([], [a_window(None)], "web1", "disk", []),
        ([a_silence(1)], [a_window(NOW + 30)], "web1", "disk", [BY_ANN, BY_WINDOW]),
        # The window has a silence of its own by now.
        ([a_silence(2, "maintenance swap")], [a_window(NOW + 30)], "web1", "disk", [OPENED]),
        ([a_silence(2, "maintenance swap")], [a_window(NOW + 30)], "db1", "disk", []),
    ],
)
def test_what_keeps_a_service_back(
    silences: list[SilenceRow],
    windows: list[Maintenance],
    server: str,
    service: str,
    found: list[KeepsBack],
) -> None:
    assert Keepers(silences, windows, NOW).of(server, service) == found


BEGUN = NOW - 100.0


@pytest.mark.parametrize(
    "starts_at, author, found",
    [
        (BEGUN, "maintenance swap", []),
        (BEGUN - 86400, "maintenance swap", [BY_WINDOW]),
        (BEGUN, "maintenance move", [BY_WINDOW]),
    ],
)
def test_a_window_that_people_ended_keeps_nothing_back(
    starts_at: float, author: str, found: list[KeepsBack]
) -> None:
    window = Maintenance("swap", Window(NOW + 30, BEGUN), EVERYTHING, Patterns("disk"))
    ended = SilenceRow(7, "*", "disk", author, "", starts_at, starts_at, NOW - 1)
    assert Keepers([], [window], NOW, [ended]).of("web1", "disk") == found


def a_maintenance(
    begun_at: float | None = BEGUN, servers: str = "web*", services: str = "disk, cpu"
) -> Maintenance:
    window = Window(None, begun_at)
    return Maintenance("swap", window, Patterns(servers), Patterns(services))


def its_silence(
    starts_at: float = BEGUN, ends_at: float = NOW + 60, author: str = "maintenance swap"
) -> SilenceRow:
    return a_silence(1, author)._replace(starts_at=starts_at, ends_at=ends_at)


@pytest.mark.parametrize(
    "maintenances, silences, since",
    [
        pytest.param([], [], None, id="no maintenance"),
        pytest.param([a_maintenance(None)], [], None, id="a closed window"),
        pytest.param([a_maintenance()], [], BEGUN, id="a window nobody has looked at yet"),
        pytest.param([a_maintenance()], [its_silence()], BEGUN, id="an open window"),
        pytest.param([a_maintenance(servers="db*")], [], None, id="another server's"),
        pytest.param([a_maintenance(services="load")], [], None, id="another service's"),
        pytest.param([a_maintenance()], [its_silence(ends_at=NOW)], None, id="ended by hand"),
        pytest.param(
            [a_maintenance(None)], [its_silence(NOW - 900)], NOW - 900, id="goes on by hand"
        ),
        pytest.param(
            [a_maintenance()], [its_silence(NOW - 900, NOW - 500)], BEGUN, id="one before it"
        ),
        pytest.param([a_maintenance(None)], [its_silence(author="ann")], None, id="a silence"),
        pytest.param(
            [a_maintenance(None, servers="*")], [its_silence()], None,
            id="a silence whose author says that it is one",
        ),
        pytest.param(
            [a_maintenance(NOW - 5), a_maintenance()], [], BEGUN, id="two: since the first one"
        ),
    ],
)  # fmt: skip
def test_which_services_are_under_maintenance(
    maintenances: list[Maintenance], silences: list[SilenceRow], since: float | None
) -> None:
    assert OpenWindows(maintenances, silences, NOW).since("web1", "disk") == since


def test_how_far_windows_are_looked_back_to() -> None:
    assert looked_back_to([], NOW) == NOW
    assert looked_back_to([a_maintenance(None)], NOW) == NOW
    assert looked_back_to([a_maintenance(NOW - 5), a_maintenance()], NOW) == BEGUN
