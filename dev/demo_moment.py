"""One moment of one make-believe service: smooth noise, the hour of the day, small accidents. Pure.

Everything follows from the service's name and the time, so the past that is told later is the same
as the one that was seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple
from zlib import crc32

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400

SHORT_SLOT_S = 3 * HOUR_S
SHORT_CHANCE = 0.06
SHORT_S = 150, 840

LONG_SLOT_S = 6 * DAY_S
LONG_CHANCE = 0.22
LONG_S = 0.4 * HOUR_S, 6 * HOUR_S


class Reading(NamedTuple):
    """What a check reports."""

    state: str
    info: str


class Moment(NamedTuple):
    """A time, and whose it is."""

    who: str
    """Server and service."""
    at: float

    def chance(self, *what: object) -> float:
        """Return a number from 0 to 1, always the same one for the same words."""
        words = ":".join([self.who, *map(str, what)])
        # Twice: of words that differ in their ends alone one checksum is too much alike.
        return crc32(crc32(words.encode()).to_bytes(4, "big") + b"demo") / 2**32

    def between(self, low: float, high: float, *what: object) -> float:
        return low + (high - low) * self.chance(*what)

    def noise(self, step_s: float, *what: object) -> float:
        """Return a number from 0 to 1 that moves smoothly, to a new one at each step."""
        place, part = divmod(self.at / step_s, 1)
        before = self.chance(*what, "noise", int(place))
        after = self.chance(*what, "noise", int(place) + 1)
        return before + (after - before) * (3 - 2 * part) * part * part

    def day_curve(self) -> float:
        """Return how busy the hour is: 0 in the night, 1 in the afternoon, less on weekends."""
        hour = self.at % DAY_S / HOUR_S
        weekday = int(self.at // DAY_S + 3) % 7
        return (0.5 - 0.5 * math.cos((hour - 3) * math.pi / 12)) * (0.55 if weekday > 4 else 1)

    def busy(self, low: float, high: float) -> float:
        """Return a value that follows the day, with the noise of minutes and hours in it."""
        share = 0.68 * self.day_curve() + 0.2 * self.noise(HOUR_S) + 0.12 * self.noise(200, "fine")
        return low + (high - low) * share

    def filling(self, low: float, high: float, days: float) -> float:
        """Return a value that grows for so many days and then begins anew, as disks do."""
        share = (self.at / DAY_S / days + self.chance("phase")) % 1
        return low + (high - low) * (0.94 * share + 0.06 * self.noise(2 * HOUR_S))

    def trouble(self) -> float:
        """Return 0 when all is well, 0.5 in a small accident, 1 in a large one."""
        if self._is_within(LONG_SLOT_S, LONG_CHANCE, LONG_S, "long"):
            return 1.0
        if self._is_within(SHORT_SLOT_S, SHORT_CHANCE, SHORT_S, "short"):
            return 0.5
        return 0.0

    def _is_within(
        self, slot_s: float, chance: float, span_s: tuple[float, float], kind: str
    ) -> bool:
        slot, passed = divmod(self.at, slot_s)
        if self.chance(kind, slot) >= chance:
            return False
        lasts_s = self.between(*span_s, kind, slot, "lasts")
        begins_s = self.between(0, slot_s - lasts_s, kind, slot, "begins")
        return begins_s <= passed < begins_s + lasts_s


def level(value: float, warn: float, crit: float) -> str:
    """Return the state of a value that should be low, or, with crit below warn, high."""
    if warn > crit:
        value, warn, crit = -value, -warn, -crit
    return "FAIL" if value >= crit else "WARN" if value >= warn else "OK"
