"""Which time a state is sent with, so that the server sees what is newer. Pure.

Note [Times of a backlog]
~~~~~~~~~~~~~~~~~~~~~~~~~
The server takes a report that comes after newer ones of its spool for history where its states are
older than those that it knows, and for news otherwise. It goes by the times in it, but takes none
from the future: of a host whose clock is ahead it knows the present state by its own time, and all
that the host saw in its last minutes would look newer. And a clock may have been set back. So a
state that is older than a confirmed one is sent with a time before that one's, and a newer one with
a time that is not. Where the clock is surely ahead of the server's, times of a backlog are taken
back by as much as it is; it is known from the Date of an answer, in whole seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from overc.agent.kept import Mark

BEFORE_S = 0.001


class Skew(NamedTuple):
    """What an answer tells of our clock."""

    ahead_s: float
    """By how much it is ahead of the server's, to a second."""
    surely: bool
    """It is ahead, even if the answer took as long as it seemed to."""
    took_s: float
    """How long the answer took."""


def skew_of(date_at: float, now_at: float, took_s: float) -> Skew:
    """Return the skew, of an answer that has just come."""
    ahead_s = now_at - date_at
    # The Date is cut to whole seconds, and up to the whole time of the exchange old.
    return Skew(ahead_s, ahead_s - took_s > 1.0, took_s)


def time_to_send(seen_at: float, id_: int, mark: Mark | None, skew: Skew | None) -> float:
    """Return the time to send a state with. `id_` and `mark`: its report, and the confirmed one."""
    if mark is None:
        return seen_at
    if id_ > mark.id:
        return max(seen_at, mark.at)
    if skew is not None and skew.surely:
        seen_at -= skew.ahead_s
    return min(seen_at, mark.at - BEFORE_S)


def known_at(sent_at: float, now_at: float, skew: Skew | None) -> float:
    """Return the earliest time that the server may know a state by that it has just confirmed."""
    if skew is None or not skew.surely:
        return sent_at
    return min(sent_at, now_at - skew.ahead_s - skew.took_s)
