"""What dispatch asks of a sender, and a sender of the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from overc.daemon.alerting.messages import Message
from overc.process import Outcome


class Attempt(NamedTuple):
    """How one try to deliver a message went."""

    delivered: bool
    words: str
    """The plugin's last words, or in words why it was not delivered."""
    retry_after_s: float | None = None
    """The receiver wants to be left alone for so long."""


class Sender(Protocol):
    """Delivers messages by one alert plugin."""

    async def send(self, message: Message) -> Attempt:
        """Try once. A failure is an Attempt, too; cancelling ends the try and raises
        CancelledError."""


class Runs(Protocol):
    """What senders need of `overc.process.Runner`."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
    ) -> Outcome: ...
