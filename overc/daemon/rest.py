"""A pause that can be ended early: by a stop, or because there is something to do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred


class Rest:
    """For one task at a time."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._end: Deferred[None] | None = None

    async def pause(self, pause_s: float) -> None:
        """Return after a time, or as soon as `wake` is called."""
        end = self._end = Deferred()
        timer = self._reactor.callLater(pause_s, self.wake)
        try:
            await end
        finally:
            self._end = None
            if timer.active():
                timer.cancel()

    def wake(self) -> None:
        """End the pause; without one, do nothing."""
        end, self._end = self._end, None
        if end is not None:
            end.callback(None)
