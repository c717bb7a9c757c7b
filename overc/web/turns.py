"""Lets one thing be done at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock

T = TypeVar("T")


class TooManyWait(Exception):
    """Nothing was begun, and one more would only wait."""


class Turns:
    """Who stops waiting before its turn is forgotten.

    Who stops waiting within its turn does not end it: a thread can't be stopped, so the next one
    begins when it has ended.
    """

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._lock = DeferredLock()

    async def take(self, do: Callable[[], Coroutine[Deferred[Any], Any, T]]) -> T:
        """Wait for a turn, do it, and return what it returned. Raises TooManyWait."""
        if len(self._lock.waiting) >= self._waiting_max:
            raise TooManyWait
        await self._lock.acquire()
        told: Deferred[T] = Deferred()
        Deferred.fromCoroutine(do()).addBoth(self._end).chainDeferred(told)
        return await told

    def _end(self, result: Any) -> Any:
        self._lock.release()
        return result
