"""SIGHUP: read the configuration again, and keep the old one where the new one is no good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from overc.agent.runner import Changes
from overc.agent.settings import AgentSettings
from overc.config import ConfigError
from overc.logging import get_logger, set_level

log = get_logger(__name__)


class Agent(Protocol):
    """What `overc.agent.service.MonitorService` promises."""

    def status(self) -> str: ...

    def reload(self, settings: AgentSettings) -> Deferred[Changes | None]: ...

    def refuse(self, reason: str) -> None: ...

    def failed(self, error: Exception) -> None: ...


class Supervisor(Protocol):
    """What `overc.supervision.Supervision` promises."""

    def reloading(self) -> None: ...

    def ready(self, status: str) -> None: ...


class Reload:
    """Does it, once for any number of times that it was asked for while it was doing it."""

    def __init__(
        self, read: Callable[[], AgentSettings], agent: Agent, supervisor: Supervisor
    ) -> None:
        self._read = read
        self._agent = agent
        self._supervisor = supervisor
        self._going_on = False
        self._again = False

    def ask(self) -> None:
        """Do it now, or once more after the one that goes on."""
        self._again = True
        if not self._going_on:
            self._going_on = True
            Deferred.fromCoroutine(self._do())

    async def _do(self) -> None:
        while self._again:
            self._again = False
            self._supervisor.reloading()
            status = ""
            try:
                status = await self._reload()
            except Exception as e:
                self._agent.failed(e)
            self._supervisor.ready(status + self._agent.status())
        self._going_on = False

    async def _reload(self) -> str:
        try:
            settings = self._read()
        except ConfigError as e:
            for mistake in e.mistakes:
                log.error("{mistake}", mistake=mistake)
            log.error("the configuration is not taken over; the one before stays in force")
            more = f" (and {len(e.mistakes) - 1} more)" if len(e.mistakes) > 1 else ""
            self._agent.refuse(f"{e.mistakes[0]}{more}")
            return f"not reloaded: {e.mistakes[0]}{more}; still "
        set_level(settings.loglevel)
        changes = await self._agent.reload(settings)
        if changes is not None:
            log.info("{status}: {changes}", status=self._agent.status(), changes=changes)
        return ""
