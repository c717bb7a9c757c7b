"""Deliver messages: by a command, through Apprise, as a webhook."""

from __future__ import annotations

from overc.daemon.alerting.senders.base import Attempt, Runs, Sender
from overc.daemon.alerting.senders.make import make_sender

__all__ = ["Attempt", "Runs", "Sender", "make_sender"]
