"""Sends what is in the outbox: runs the alert plugins and keeps how each run went.

At least once: a row is marked only after its plugin has ended, so a crash in between sends it
again. Each plugin has a worker of its own that sends one alert at a time, in order: a plugin that
hangs delays no other one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from overc.clock import Clock
from overc.daemon.messages import render
from overc.daemon.rest import Rest
from overc.daemon.settings import AlertPlugin
from overc.daemon.store import deliveries
from overc.daemon.store.deliveries import Delivery
from overc.daemon.store.engine import Store
from overc.logging import get_logger, one_line
from overc.model import Alert, Channel, State
from overc.process import Outcome

RETRY_S = 5.0
"""How long a worker rests after the store failed, and looks again if a nudge was lost."""

CHUNK = 20
LAST_WORDS_BYTES = 500

log = get_logger(__name__)


class Runs(Protocol):
    """What dispatch needs of `overc.process.Runner`."""

    def startService(self) -> None: ...

    def stopService(self) -> Deferred[None]: ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
    ) -> Outcome: ...


class Dispatch(Service):
    """One worker for each alert plugin. It starts and stops the runner that is handed in."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        runner: Runs,
        plugins: Sequence[AlertPlugin],
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._store = store
        self._runner = runner
        self._names = [plugin.name for plugin in plugins]
        env = plugin_environment(environ)
        self._workers = [
            _Worker(reactor, store, clock, runner, plugin, self._others(plugin.name), env)
            for plugin in plugins
        ]
        for worker in self._workers:
            worker.notices_added = self.nudge
        self._ends: list[Deferred[None]] = []

    def nudge(self) -> None:
        """Say that the outbox has something new. A lost nudge costs RETRY_S, nothing else."""
        for worker in self._workers:
            worker.nudge()

    def startService(self) -> None:
        super().startService()
        self._runner.startService()
        self._ends = [ensureDeferred(self._forget_unknown())]
        self._ends += [ensureDeferred(worker.work()) for worker in self._workers]

    async def stopService(self) -> None:
        super().stopService()
        for worker in self._workers:
            worker.stop()
        # Only now: what ends from here on is not the plugins' failure.
        await self._runner.stopService()
        await gatherResults(self._ends)

    def _others(self, name: str) -> list[str]:
        return [other for other in self._names if other != name]

    async def _forget_unknown(self) -> None:
        try:
            dropped = await self._store.write(
                "clear the outbox", deliveries.drop_unknown_plugins, self._names
            )
        except Exception:
            log.failure("the outbox could not be cleared of plugins that are gone")
            return
        if dropped:
            log.warn("{n} alerts waited for plugins that are gone: dropped", n=dropped)


class _Worker:
    """Sends one plugin's alerts, one by one, until it is stopped."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        runner: Runs,
        plugin: AlertPlugin,
        others: Sequence[str],
        env: Mapping[str, str],
    ) -> None:
        self.notices_added: Callable[[], None] = lambda: None
        self._store = store
        self._clock = clock
        self._runner = runner
        self._plugin = plugin
        self._others = others
        self._env = env
        self._failing = False
        self._stopping = False
        self._nudged = False
        self._rest = Rest(reactor)

    def nudge(self) -> None:
        self._nudged = True
        self._rest.wake()

    def stop(self) -> None:
        self._stopping = True
        self._rest.wake()

    async def work(self) -> None:
        while not self._stopping:
            self._nudged = False
            try:
                sent = await self._send_some()
            except Exception:
                log.failure("alert plugin {name}: the outbox failed", name=self._plugin.name)
                idle = True
            else:
                idle = not sent and not self._nudged
            if idle and not self._stopping:
                await self._rest.pause(RETRY_S)

    async def _send_some(self) -> int:
        found = await self._store.read(
            "read the outbox", deliveries.pending, self._plugin.name, CHUNK
        )
        for delivery in found:
            if self._stopping:
                break
            await self._send(delivery)
        return len(found)

    async def _send(self, delivery: Delivery) -> None:
        outcome = await self._runner.run(
            self._plugin.command,
            folder=self._plugin.folder,
            env={**self._env, "OVERC_ALERT_ID": str(delivery.alert_id)},
            stdin=render(delivery).encode(),
            timeout_s=self._plugin.timeout_s,
        )
        if self._stopping and outcome.exit_code != 0:
            # The end was ours, not the plugin's: the row stays pending for the next start.
            return
        now_at = self._clock.wall()
        words = last_words(outcome)
        if outcome.exit_code == 0:
            await self._store.write(
                "mark an alert as sent", deliveries.mark, delivery.id, "sent", words, now_at
            )
            if self._failing:
                log.info("alert plugin {name} works again", name=self._plugin.name)
            self._failing = False
            return
        reason = explain(outcome, self._plugin.timeout_s)
        log.error(
            "alert plugin {name} failed: {reason}", name=self._plugin.name, reason=one_line(reason)
        )
        # Said once when it starts to fail: two broken plugins must not report each other for ever.
        notice = None if self._failing else failure_notice(self._plugin.name, reason)
        await self._store.write(
            "mark an alert as failed",
            deliveries.mark_failed, delivery.id, reason, now_at, notice, self._others,
        )  # fmt: skip
        self._failing = True
        if notice is not None:
            self.notices_added()


def plugin_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for plugins: the server's own, without its settings and secrets."""
    return {name: value for name, value in environ.items() if not name.startswith("OVERC_")}


def failure_notice(plugin: str, reason: str) -> Alert:
    message = f"Alert plugin `{plugin}` failed: {reason}"
    return Alert(Channel.ALERT_PLUGIN, "failed", message, State.FAIL)


def last_words(outcome: Outcome) -> str:
    return outcome.output[-LAST_WORDS_BYTES:].decode(errors="replace").strip()


def explain(outcome: Outcome, timeout_s: float) -> str:
    """Say in words why a plugin's run did not deliver, with what it said last."""
    if outcome.error is not None:
        return outcome.error
    if outcome.timed_out:
        reason = f"timed out after {timeout_s:g} s"
    elif outcome.flooded:
        reason = "killed: its output did not end"
    elif outcome.signal is not None:
        reason = f"killed by signal {outcome.signal}"
    else:
        reason = f"exit status {outcome.exit_code}"
    words = last_words(outcome)
    return f"{reason}: {words}" if words else reason
