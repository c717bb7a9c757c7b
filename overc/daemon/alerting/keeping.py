"""What keeps the alerts of a service back now, and what of that all may know. Pure."""

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
        of_windows: Sequence[SilenceRow] = (),
    ) -> None:
        """`running`: silences, those of open windows included.

        `of_windows`: the silences of windows, those that ended since the present windows began
        included.
        """
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
            is_waiting = name not in authors and not _has_begun(window, of_windows, now_at)
            if until_at is not None and is_waiting:
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


class OpenWindows:
    """Which services are in a window of maintenance, and since when; nothing of other silences.

    A window is a silence too, once somebody has looked (`WINDOW_AUTHOR`), and people may end that
    early or let it go on.
    """

    def __init__(
        self,
        maintenances: Sequence[Maintenance] = (),
        silences: Sequence[SilenceRow] = (),
        now_at: float = 0.0,
    ) -> None:
        """`silences`: of windows, those that ended since the present windows began included."""
        self._open = []
        for window in maintenances:
            # Anybody who may silence may call himself so: what is covered is said by the INI file.
            mine = [
                one
                for one in silences
                if (one.author, one.servers, one.services)
                == (WINDOW_AUTHOR + window.name, window.servers.text, window.services.text)
            ]
            running = [one.starts_at for one in mine if one.starts_at <= now_at < one.ends_at]
            begun_at = window.windows.begun_at(now_at)
            if running:
                self._open.append((window, min(running)))
            elif begun_at is not None and not _has_begun(window, mine, now_at):
                self._open.append((window, begun_at))

    def since(self, server: str, service: str) -> float | None:
        """Return since when a service is in a window, by its names; None: it is in none."""
        found = [
            begun_at
            for window, begun_at in self._open
            if window.servers.match(server) and window.services.match(service)
        ]
        return min(found, default=None)


def _has_begun(window: Maintenance, silences: Sequence[SilenceRow], now_at: float) -> bool:
    """Say whether the window that is open now has, or had, a silence of its own."""
    opened = WINDOW_AUTHOR + window.name, window.windows.begun_at(now_at)
    return any((one.author, one.starts_at) == opened for one in silences)


def looked_back_to(maintenances: Sequence[Maintenance], now_at: float) -> float:
    """Return when the first of the windows began that are open now; else now."""
    begun = [window.windows.begun_at(now_at) for window in maintenances]
    return min((at for at in begun if at is not None), default=now_at)
