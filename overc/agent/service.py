"""The agent as one Service: plugins run on time, and what they say is delivered."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from overc.agent.delivery import Delivery, Pusher
from overc.agent.outbox import Outbox
from overc.agent.runner import Commands, PluginRunner
from overc.agent.settings import AgentSettings
from overc.logging import get_logger, one_line
from overc.model import AlertReport, ServiceReport

GATHER_MOST_S = 1.0
GATHER = 0.1
"""How long a report waits for those of the plugins still running, at most: a part of its period."""

REPEAT_S = 300.0
"""How soon the same failure of the monitor is sent as an alert again."""

log = get_logger(__name__)


class CommandService(Commands, Protocol):
    """Runs commands, and ends them when it is stopped; what `overc.process.Runner` promises."""

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


class ClosablePusher(Pusher, Protocol):
    """A Pusher that holds connections."""

    def close(self) -> Deferred[None]: ...


class MonitorService(Service):
    """Starts and stops the agent's parts in order, and carries reports from one to the other.

    Note [Gathering]: plugins that are due together end one after the other. A report waits until
    the last of them has ended, so that they travel in one request, but never so long that a slow
    plugin makes another service late.
    """

    def __init__(
        self,
        reactor: Any,
        settings: AgentSettings,
        commands: CommandService,
        pusher: ClosablePusher,
        *,
        environ: Mapping[str, str],
        random: Callable[[], float],
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._commands = commands
        self._pusher = pusher
        self._outbox = Outbox()
        self._failures: dict[str, float] = {}
        self._delivery = Delivery(
            reactor,
            pusher,
            self._outbox,
            random=random,
            failed=self.failed,
            shortest_period_s=min(service.period_s for service in settings.services),
        )
        self._plugins = PluginRunner(
            reactor,
            commands,
            settings.services,
            folder=settings.folder,
            environ=environ,
            listener=self,
        )

    def startService(self) -> None:
        super().startService()
        log.info(
            "reporting to {url} as {name}, watching {count} service{plural}",
            url=self._settings.server.url,
            name=one_line(self._settings.identity.name),
            count=(count := len(self._settings.services)),
            plural="" if count == 1 else "s",
        )
        self._commands.startService()
        self._delivery.startService()
        self._plugins.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        runs_ended = self._plugins.stopService()
        await self._commands.stopService()
        await runs_ended
        await self._delivery.stopService()
        await self._pusher.close()

    def reported(self, report: ServiceReport) -> None:
        """Take a plugin's word."""
        log.debug(
            "{name}: {state}: {info}",
            name=one_line(report.name),
            state=report.state.value,
            info=one_line(report.info),
        )
        self._outbox.put_state(report)
        self._send_in(min(GATHER_MOST_S, GATHER * report.period_s))

    def all_reported(self) -> None:
        """Wait for no more."""
        self._send_in(0.0)

    def failed(self, error: Exception) -> None:
        """Log an error that nobody expected, and tell the server's people of it."""
        message = f"Monitoring failure: {type(error).__name__}: {one_line(str(error))}"
        log.error("{message} ({where})", message=message, where=_where(error))
        now = self._reactor.seconds()
        self._failures = {m: at for m, at in self._failures.items() if now - at < REPEAT_S}
        if message not in self._failures:
            self._failures[message] = now
            self._outbox.put_alert(AlertReport(message))
            self._send_in(0.0)

    def _send_in(self, wait_s: float) -> None:
        self._delivery.send_by(self._reactor.seconds() + wait_s)


def _where(error: Exception) -> str:
    """Return the calls that led to an error, innermost first, on one line."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return ", called by ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in reversed(frames)
    )
