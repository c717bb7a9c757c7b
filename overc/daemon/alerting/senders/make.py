"""Choose the sender for an alert plugin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.senders.base import Runs, Sender
from overc.daemon.alerting.senders.command import CommandSender
from overc.daemon.alerting.senders.notify import NotifySender
from overc.daemon.alerting.senders.webhook import WebhookSender


def make_sender(
    plugin: AlertPlugin,
    runner: Runs,
    reactor: Any,
    clock: Clock,
    base_url: str | None,
    environ: Mapping[str, str],
) -> Sender:
    """Return what delivers by a plugin.

    `base_url`: where people reach the dashboard, for links; None: messages have no links.
    `environ`: the server's environment, of which children get all but our own settings.
    """
    if plugin.webhook is not None:
        return WebhookSender(plugin, plugin.webhook, reactor, clock, base_url)
    if plugin.notify is not None:
        return NotifySender(plugin, plugin.notify, runner, clock, environ)
    return CommandSender(plugin, runner, clock, base_url, environ)
