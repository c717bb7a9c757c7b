"""Sets of whole numbers as ranges: which reports of a spool were stored. Pure.

An agent numbers its reports from 1 up and sends nearly all of them, so what was stored is nearly
one range, whatever the order in which they came.
"""

from __future__ import annotations

RANGES_MAX = 1000
"""Beyond so many ranges the lowest are forgotten: what is missing there was long given up."""

Ranges = list[tuple[int, int]]
"""First and last number of each, ascending, never touching each other."""


def parse(text: str) -> Ranges:
    """Read `1-57,60`. Raises ValueError for what `show` never wrote."""
    found = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        found.append((int(first), int(last) if dash else int(first)))
    return found


def show(ranges: Ranges) -> str:
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def add(ranges: Ranges, number: int) -> Ranges | None:
    """Return the ranges with a number added; None where they have it already."""
    # From the end: a new report has the highest number.
    place = len(ranges)
    while place and ranges[place - 1][0] > number:
        place -= 1
    before = ranges[place - 1] if place else None
    after = ranges[place] if place < len(ranges) else None
    if before and number <= before[1]:
        return None
    first = last = number
    low, high = place, place
    if before and before[1] == number - 1:
        first, low = before[0], place - 1
    if after and after[0] == number + 1:
        last, high = after[1], place + 1
    return [*ranges[:low], (first, last), *ranges[high:]][-RANGES_MAX:]
