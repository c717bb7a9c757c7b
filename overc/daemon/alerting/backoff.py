"""When something that failed is tried again, and when a plugin is only probed. Pure.

Note [Probing]
~~~~~~~~~~~~~~
A plugin of which each try fails would be started once for each of ten thousand alerts. So after
some failures in a row, of different messages, it is only probed: one message at a time, after
pauses that grow. When one gets through, all that waits is sent at once.
"""

from __future__ import annotations

RETRY_MIN_S = 15.0
RETRY_MAX_S = 900.0

RETRY_AFTER_MAX_S = 3600.0
"""A receiver that wants to be left alone for longer is asked again after this."""

PATIENCE = 5
"""So many tries in a row go by the receiver's own word about when to come back."""

FAILURES = 3
"""So many messages in a row fail before the plugin is only probed."""


def delay_s(tries: int, jitter: float) -> float:
    """Return how long to wait after the given number of tries that failed, from 1 up.

    `jitter`: at random from 0 to 1, so that not all who failed together come back together.
    """
    # A third of the longest pause is left to chance.
    pause_s: float = min(RETRY_MIN_S * 2.0 ** min(tries - 1, 10), RETRY_MAX_S / 1.5)
    return pause_s * (1 + jitter / 2)


def next_try_s(tries: int, jitter: float, retry_after_s: float | None) -> float:
    """Return how long to wait, where the receiver may have said when to come back."""
    pause_s = delay_s(tries, jitter)
    if retry_after_s is None:
        return pause_s
    asked_s = min(max(retry_after_s, 1.0), RETRY_AFTER_MAX_S)
    return asked_s if tries <= PATIENCE else max(asked_s, pause_s)


class Breaker:
    """Whether a plugin may be tried. Times are on a clock that never steps."""

    def __init__(self, probing: bool = False) -> None:
        """`probing`: it has failed already, before this process began."""
        self.probing = probing
        """Only one message may be under way."""
        self._failed: set[int] = set()
        self._probes = 0
        self._not_before = 0.0

    def wait_s(self, now_at: float) -> float:
        """Return how long nothing may be tried; 0: something may be."""
        return max(0.0, self._not_before - now_at)

    def failed(
        self, message_id: int, now_at: float, jitter: float, retry_after_s: float | None
    ) -> None:
        """Note that a message was not delivered."""
        self._failed.add(message_id)
        if len(self._failed) >= FAILURES:
            self.probing = True
        if self.probing:
            self._probes += 1
            self._not_before = now_at + delay_s(self._probes, jitter)
        if retry_after_s is not None:
            self.hold(now_at, retry_after_s)

    def hold(self, now_at: float, pause_s: float) -> None:
        """Let nothing be tried for a while."""
        self._not_before = max(self._not_before, now_at + min(pause_s, RETRY_AFTER_MAX_S))

    def worked(self) -> bool:
        """Note that a message was delivered; say whether the plugin was only probed until now."""
        was_probing, self.probing = self.probing, False
        self._failed.clear()
        self._probes = 0
        self._not_before = 0.0
        return was_probing
