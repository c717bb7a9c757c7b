"""Deliver through Apprise, which blocks and so runs in a child process of ours."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace

from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.messages import Message, headline, render_text
from overc.daemon.alerting.plaintext import clean
from overc.daemon.alerting.secret_urls import mask
from overc.daemon.alerting.senders.base import Attempt, Runs
from overc.daemon.alerting.senders.command import explain, last_words, plugin_environment
from overc.model import Phase, State

CHILD = "overc.daemon.alerting.notify_child"

FOLDER = "/"
"""Where the child runs. Python would import from any other one what somebody put there."""

TITLE_BYTES = 250


class NotifySender:
    """Runs the child for each message. The URL is a secret: it is told on the child's input."""

    def __init__(
        self,
        plugin: AlertPlugin,
        url: str,
        runner: Runs,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._plugin = plugin
        self._url = url
        self._runner = runner
        self._clock = clock
        self._env = plugin_environment(environ)

    async def send(self, message: Message) -> Attempt:
        text = render_text(message, self._clock.wall())
        first, _, rest = text.partition("\n")
        told = {
            "url": self._url,
            "title": clean(str(headline(message)), TITLE_BYTES),
            "body": rest.strip() or first,
            "type": kind_of(message),
        }
        outcome = await self._runner.run(
            [sys.executable, "-m", CHILD],
            folder=FOLDER,
            env=self._env,
            stdin=json.dumps(told).encode(),
            timeout_s=self._plugin.timeout_s,
        )
        # Before it is cut: half a secret would not be found.
        said = mask(outcome.output.decode(errors="replace"), self._url, hide_host=True)
        outcome = replace(outcome, output=said.encode(errors="replace"))
        if outcome.exit_code == 0:
            return Attempt(True, last_words(outcome))
        return Attempt(False, explain(outcome, self._plugin.timeout_s))


def kind_of(message: Message) -> str:
    """Return which of Apprise's kinds of notification a message is."""
    phases = {str(notice.phase) for notice in message.notices}
    severities = {str(notice.severity) for notice in message.notices}
    if phases == {Phase.RECOVERY.value}:
        return "success"
    if State.FAIL.value in severities:
        return "failure"
    return "info" if severities == {State.OK.value} else "warning"
