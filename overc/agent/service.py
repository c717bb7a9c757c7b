"""The agent as one Service: plugins run on time, and what they say is delivered."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock

from overc.agent import own_state
from overc.agent.goodbye import Goodbye
from overc.agent.link import Link, Parts
from overc.agent.own_state import OwnState, Vitals
from overc.agent.runner import Changes, Commands, PluginRunner
from overc.agent.settings import OWN_SERVICE, AgentSettings
from overc.logging import get_logger, is_told, one_line
from overc.model import AlertReport, ServiceReport

GATHER_MOST_S = 1.0
GATHER = 0.1
"""How long a report waits for others at most: a part of its period."""

REPEAT_S = 300.0
"""How soon the same failure of the monitor is sent as an alert again."""

ALIVE_S = 30.0
"""How long the schedule may be left alone before the agent counts as dead."""

log = get_logger(__name__)


class CommandService(Commands, Protocol):
    """Runs commands, and ends them when it is stopped; what `overc.process.Runner` promises."""

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...


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
        parts: Parts,
        *,
        environ: Mapping[str, str],
        random: Callable[[], float],
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._reactor = reactor
        self._settings = settings
        self._commands = commands
        self._failures: dict[str, float] = {}
        self._refused = ""
        self._changing = DeferredLock()
        self._goodbye = Goodbye()
        self._link = Link(reactor, settings, parts, random=random, failed=self.failed)
        self._own = OwnState(reactor, self._vitals, self._reported_own)
        self._plugins = PluginRunner(
            reactor,
            commands,
            settings.services,
            host=settings.identity.name,
            environ=environ,
            listener=self,
            concurrency=settings.concurrency,
            seconds=seconds,
        )

    def startService(self) -> None:
        super().startService()
        log.info("{status}", status=self.status())
        for warning in self._settings.warnings:
            log.warn("{warning}", warning=warning)
        self._commands.startService()
        self._link.start()
        self._plugins.startService()
        self._own.startService()
        self._own.report_every(self._settings.own_period_s)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self._changing.run(lambda: Deferred.fromCoroutine(self._stop()))

    async def _stop(self) -> None:
        self._own.stopService()
        runs_ended = self._plugins.stopService()
        await self._commands.stopService()
        await runs_ended
        if self._settings.goodbye_s is not None:
            for report in self._goodbye.reports(self._settings.goodbye_s):
                self._link.outbox.put_state(report)
        await self._link.stop()

    def status(self) -> str:
        """Return what it does, in words."""
        count = len(self._settings.services)
        servers = ", or ".join(server.url for server in self._settings.servers)
        name = one_line(self._settings.identity.name)
        return (
            f"reporting to {servers} as {name}, watching {count} service{'' if count == 1 else 's'}"
        )

    def is_alive(self) -> bool:
        """Say whether the schedule is being kept."""
        age_s = self._plugins.age_s()
        return age_s is not None and age_s <= ALIVE_S

    def reload(self, settings: AgentSettings) -> Deferred[Changes | None]:
        """Go by other settings from now on, and return what that changed; None at a stop.

        Services whose settings are the same go on as if nothing had happened.
        """
        return self._changing.run(lambda: Deferred.fromCoroutine(self._reload(settings)))

    async def _reload(self, settings: AgentSettings) -> Changes | None:
        if not self.running:
            return None
        self._settings = settings
        self._refused = ""
        for warning in settings.warnings:
            log.warn("{warning}", warning=warning)
        await self._link.renew(settings)
        self._goodbye.keep([OWN_SERVICE, *(service.name for service in settings.services)])
        changes = self._plugins.watch(
            settings.services, settings.identity.name, settings.concurrency
        )
        self._own.report_every(settings.own_period_s)
        self._own.look()
        return changes

    def refuse(self, reason: str) -> None:
        """Keep the settings, and tell people why new ones were not taken."""
        self._refused = f"the new configuration is not in force: {one_line(reason)}"
        self._own.look()

    def reported(self, report: ServiceReport) -> None:
        """Take a plugin's word."""
        if is_told("DEBUG"):
            log.debug(
                "{name}: {state}: {info}",
                name=one_line(report.name),
                state=report.state.value,
                info=one_line(report.info),
            )
        if self._settings.goodbye_s is not None:
            self._goodbye.heard(report)
        self._link.outbox.put_state(report)
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
            self._link.outbox.put_alert(AlertReport(message))
            self._send_in(0.0)

    def _vitals(self) -> Vitals:
        condition = self._link.outbox.condition()
        troubles = [self._refused] if self._refused else []
        return Vitals(
            services=len(self._settings.services),
            concurrency=self._settings.concurrency,
            lag=self._plugins.lag(),
            waiting=condition.reports,
            oldest_s=condition.oldest_s,
            skew_s=self._link.pusher.clock_skew_s,
            memory_mb=own_state.memory_mb(),
            troubles=(*troubles, *condition.troubles),
        )

    def _reported_own(self, report: ServiceReport) -> None:
        self._plugins.forget_lag()
        self.reported(report)

    def _send_in(self, wait_s: float) -> None:
        self._link.delivery.send_by(self._reactor.seconds() + wait_s)


def _where(error: Exception) -> str:
    """Return the calls that led to an error, innermost first, on one line."""
    frames = traceback.extract_tb(error.__traceback__)[-5:]
    return ", called by ".join(
        f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
        for frame in reversed(frames)
    )
