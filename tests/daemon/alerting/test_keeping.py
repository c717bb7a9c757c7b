from __future__ import annotations

from typing import NamedTuple

import pytest

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.alerting.keeping import Keepers
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.daemon.store.kept_back import SilenceRow

NOW = 1000.0


class Window(NamedTuple):
    until_at: float | None

    def until(self, now_at: float) -> float | None:
        assert now_at == NOW
        return self.until_at


def a_window(until_at: float | None, servers: Patterns = EVERYTHING) -> Maintenance:
    return Maintenance("swap", Window(until_at), servers, Patterns("disk"))  # type: ignore[arg-type]


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
