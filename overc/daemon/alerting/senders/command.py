"""Deliver by a command: the message on its standard input, exit status 0 for delivered."""

from __future__ import annotations

import os
from collections.abc import Mapping

from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin, Format
from overc.daemon.alerting.message_formats import environment, render_json
from overc.daemon.alerting.messages import Message, render_text
from overc.daemon.alerting.senders.base import Attempt, Runs
from overc.process import Outcome

LAST_WORDS_BYTES = 500

KEPT_PREFIX = "OVERC_MAIL_"
"""Variables that are there for the mail plugin, and no settings of ours."""


class CommandSender:
    """Runs the plugin's command for each message."""

    def __init__(
        self,
        plugin: AlertPlugin,
        runner: Runs,
        clock: Clock,
        base_url: str | None,
        environ: Mapping[str, str],
    ) -> None:
        self._plugin = plugin
        self._runner = runner
        self._clock = clock
        self._base_url = base_url
        self._env = plugin_environment(environ)

    async def send(self, message: Message) -> Attempt:
        now_at = self._clock.wall()
        text = (
            render_json(message, now_at, self._base_url) + "\n"
            if self._plugin.format is Format.JSON
            else render_text(message, now_at)
        )
        outcome = await self._runner.run(
            self._plugin.command,
            folder=self._plugin.folder,
            env={**self._env, **_as_utf8(environment(message, now_at, self._base_url))},
            stdin=text.encode(errors="replace"),
            timeout_s=self._plugin.timeout_s,
        )
        if outcome.exit_code == 0:
            return Attempt(True, last_words(outcome))
        return Attempt(False, explain(outcome, self._plugin.timeout_s))


def plugin_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for plugins: the server's own, without its settings and secrets."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("OVERC_") or name.startswith(KEPT_PREFIX)
    }


def _as_utf8(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables that reach a child in UTF-8, whatever the locale of the server is."""
    return {name: os.fsdecode(value.encode()) for name, value in variables.items()}


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
