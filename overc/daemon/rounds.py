"""A LoopingCall that does not die."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Rounds:
    """Runs a coroutine function again and again, never twice at once.

    What a round raises is logged once for each series of failures, and the next round follows.
    """

    def __init__(
        self,
        reactor: Any,
        log: Logger,
        run: Callable[[], Coroutine[Any, Any, None]],
        *,
        failed: str,
        works: str,
        timeout_s: float | None = None,
    ) -> None:
        """`failed` and `works`: what the log says when a series of failures begins and ends.

        `timeout_s`: a round that takes longer is given up, so that a stuck one does not stop all
        others.
        """
        self._reactor = reactor
        self._log = log
        self._run = run
        self._words = failed, works
        self._timeout_s = timeout_s
        self._loop = LoopingCall(self._round)
        self._loop.clock = reactor
        self._failing = False
        self._under_way: Deferred[None] | None = None

    def start(self, every_s: float, *, now: bool = True) -> None:
        self._loop.start(every_s, now=now)

    async def stop(self) -> None:
        """Begin no more rounds, and wait for the one under way."""
        if self._loop.running:
            self._loop.stop()
        if self._under_way is not None:
            await self._under_way

    def _round(self) -> Deferred[None]:
        under_way = ensureDeferred(self._run())
        if self._timeout_s is not None:
            under_way.addTimeout(self._timeout_s, self._reactor)
        under_way.addCallbacks(self._succeeded, self._failed)
        self._under_way = under_way
        return under_way

    def _succeeded(self, _: None) -> None:
        if self._failing:
            self._log.info("{words}", words=self._words[1])
        self._failing = False

    def _failed(self, failure: Any) -> None:
        if not self._failing:
            self._log.failure("{words}", failure=failure, words=self._words[0])
        self._failing = True
