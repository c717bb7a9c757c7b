"""Transactions that overlap and still come one after the other.

Note [Overlapping transactions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
While a database server works on a statement, or syncs a commit, Python could prepare the next
batch. So a transaction that only has statements left that the next one has no part in lets that
begin (`Transaction.let_next_begin`), on another connection. The next one is behind it until it has
ended: each statement waits for that, but for those that are run `ahead`. These must not need what
the former one has changed, nor lock what it still has to lock: the former one would wait in the
database, and this one for the former one, until a time-out.

So of two transactions only the latter's preparation and the former's rest overlap; all else happens
in order, as if there were one connection. Where the former one fails, the latter finds that what it
was prepared on is not there, as if another node had interfered, and runs again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable


class TooLate(Exception):
    """A transaction's turn did not come while somebody waited for it."""

    def __init__(self) -> None:
        super().__init__("the database did not answer in time")


class Succession:
    """Lets the transactions of several threads, one of each, begin in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[int] = deque()
        """Threads; it is the first one's turn."""
        self._former: int | None = None
        """The thread whose transaction has let the next one begin, and goes on."""

    def wait_for_turn(self, end_at: float) -> None:
        """Wait for what came before to end, or to let this begin. Raises TooLate.

        `end_at`: by `time.monotonic`; a turn that comes later is none.
        """
        me = threading.get_ident()
        with self._changed:
            self._waiting.append(me)
            try:
                self._wait(lambda: self._waiting[0] == me, end_at)
            except TooLate:
                self._waiting.remove(me)
                self._changed.notify_all()
                raise

    def wait_for_former(self, end_at: float) -> None:
        """Wait for the end of the transaction that let this one begin. Raises TooLate."""
        with self._changed:
            if self._former is not None:
                self._wait(lambda: self._former is None, end_at)

    def let_next_begin(self) -> None:
        """End this thread's turn, but not its transaction. The former one has to have ended."""
        with self._changed:
            assert self._former is None
            assert self._waiting[0] == threading.get_ident()
            self._former = self._waiting.popleft()
            self._changed.notify_all()

    def end(self) -> None:
        """This thread's transaction has ended, also if it never had its turn."""
        me = threading.get_ident()
        with self._changed:
            if self._former == me:
                self._former = None
            elif self._waiting and self._waiting[0] == me:
                self._waiting.popleft()
            self._changed.notify_all()

    def _wait(self, come: Callable[[], bool], end_at: float) -> None:
        left_s = end_at - time.monotonic()
        if left_s <= 0 or not self._changed.wait_for(come, left_s):
            raise TooLate
