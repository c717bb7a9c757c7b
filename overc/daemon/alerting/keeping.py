"""What keeps the alerts of a service back now. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import Patterns
from overc.daemon.store.kept_back import SilenceRow
from overc.daemon.store.silences import WINDOW_AUTHOR


class Keepers:
    """The silences and the windows of maintenance that are in force."""

    def __init__(
        self,
        running: Sequence[SilenceRow] = (),
        maintenances: Sequence[Maintenance] = (),
        now_at: float = 0.0,
    ) -> None:
        """`running`: silences, those of open windows included."""
        self._known = [
            (
                Patterns(one.servers),
                Patterns(one.services),
                KeepsBack(f"silence {one.id}", one.ends_at, one.author, one.reason),
            )
            for one in running
        ]
        # A window that has just opened may have no silence of its own yet.
        authors = {one.author for one in running}
        for window in maintenances:
            name = WINDOW_AUTHOR + window.name
            until_at = window.windows.until(now_at)
            if until_at is not None and name not in authors:
                keeps_back = KeepsBack(name, until_at)
                self._known.append((window.servers, window.services, keeps_back))

    def of(self, server: str, service: str) -> list[KeepsBack]:
        """Return what keeps back the alerts of a service, by its names."""
        return [one for services, one in self.of_server(server) if services.match(service)]

    def of_server(self, server: str) -> list[tuple[Patterns, KeepsBack]]:
        """Return what keeps back alerts of a server's services, with those that it is about."""
        return [
            (services, keeps_back)
            for servers, services, keeps_back in self._known
            if servers.match(server)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keepers) and other._known == self._known

    __hash__ = None  # type: ignore[assignment]  # nobody keeps them in a set
