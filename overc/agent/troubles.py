"""What people should know of the spool. Times are on the steady clock. Pure."""

from __future__ import annotations

SHOWN_S = 3600.0
"""How long a trouble that is over is told after the server has begun to take reports again."""


class Troubles:
    """Keeps what went wrong until it had its time to be told."""

    def __init__(self) -> None:
        self.broken: str | None = None
        """Why the file can't be used now."""
        self._incident: str | None = None
        self._dropped = 0
        self._reason = ""
        self._until: float | None = None
        """None: the server may not have heard of it."""

    def note(self, sentence: str) -> None:
        """Tell of something that has happened."""
        self._incident = sentence
        self._until = None

    def drop(self, states: int, reason: str, now: float) -> bool:
        """Count states that are lost; say whether they are the first ones."""
        self._forget(now)
        first = not self._dropped
        self._dropped += states
        self._reason = reason
        self._until = None
        return first

    def heard(self, now: float) -> None:
        """Take it that the server listens: from now on the time counts."""
        if self._until is None:
            self._until = now + SHOWN_S

    def dropped(self, now: float) -> int:
        """Return how many states were lost of late."""
        self._forget(now)
        return self._dropped

    def sentences(self, now: float) -> list[str]:
        """Return all of it; nothing when all is well."""
        self._forget(now)
        found = []
        if self.broken is not None:
            found.append(f"{self.broken}; reports are kept in memory")
        if self._incident is not None:
            found.append(self._incident)
        if self._dropped:
            plural = "1 state was" if self._dropped == 1 else f"{self._dropped} states were"
            found.append(f"{plural} dropped: {self._reason}")
        return found

    def _forget(self, now: float) -> None:
        if self._until is not None and now >= self._until:
            self._incident, self._dropped, self._until = None, 0, None
