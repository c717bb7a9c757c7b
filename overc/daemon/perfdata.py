"""Nagios perfdata, read out of what a plugin printed. Pure.

After the monitoring-plugins guidelines:

    TEXT | PERF
    LONG TEXT
    LONG TEXT | PERF
    PERF

with items `'label'=value[UOM];[warn];[crit];[min];[max]` between white space. What plugins really
print is taken too: a decimal comma (no thousands are ever grouped in perfdata), exponents, units
that the guidelines do not name, `'` inside of a label without quotes. An item that can't be read is
left out, and the rest of the line is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

ITEMS_MAX = 64
"""Further items of one info are left out."""

LABEL_MAX = 255
"""Characters. Items with longer labels are left out: cut ones might turn out the same."""

VALUE_MAX = 1e100
"""Larger values are left out: they are mistakes, and their sums would not stay finite."""


class Perfdata(NamedTuple):
    """One measured value. All numbers are finite."""

    label: str
    value: float
    uom: str
    """As printed: empty, s, ms, us, %, B, KB, MB, GB, TB, c (a counter), or another unit."""
    warn: str
    """A range such as `10`, `5:`, `~:10` or `@5:10`; empty where there is none."""
    crit: str
    min: float | None
    max: float | None


# Every repetition is bounded, so that no text takes longer than its length.
_NUMBER = r"[-+]?(?:[0-9]{1,40}(?:[.,][0-9]{0,40})?|[.,][0-9]{1,40})(?:[eE][-+]?[0-9]{1,3})?"
_UOM = r"[%°]?[^\W\d_]{0,12}(?:/[^\W\d_]{1,12})?"
_VALUE = re.compile(f"({_NUMBER})({_UOM})")
_LIMIT = re.compile(f"({_NUMBER})(?:{_UOM})")
_RANGE = re.compile(f"@?(?:~:|{_NUMBER}:)?(?:{_NUMBER})?")
_WORD = re.compile(r"\S+")
_REST = re.compile(r"\S*")
_CUT = re.compile(r"\n\(output cut after [0-9]{1,12} bytes\)\Z")
"""Our agent's mark. The item before it may lack digits."""


def parse(info: str) -> tuple[Perfdata, ...]:
    """Return the items of an info in their order, none where it has no perfdata.

    Raises nothing, and takes time in proportion to the length.
    """
    cut = _CUT.search(info)
    first, _, more = (info[: cut.start()] if cut else info).partition("\n")
    _, _, perf = first.partition("|")
    _, last_part, last_perf = more.partition("|")
    perf = f"{perf}\n{last_perf}".rstrip()
    cut_within = cut is not None and (not more or bool(last_part))
    found: list[Perfdata] = []
    for label, values, end in _items(perf):
        if len(found) == ITEMS_MAX:
            break
        item = _item(label, values)
        if item is not None and not (cut_within and end == len(perf)):
            found.append(item)
    return tuple(found)


def _items(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield label, what stands behind its `=`, and where the item ends."""
    at = 0
    while word := _WORD.search(text, at):
        at = word.end()
        if word[0].startswith("'"):
            quote = _closing_quote(text, word.start() + 1)
            if quote is None:
                continue  # a mistake in its own word only
            rest = _REST.match(text, quote + 1)
            assert rest is not None
            at = rest.end()
            label = text[word.start() + 1 : quote].replace("''", "'")
            values = rest[0][1:] if rest[0].startswith("=") else ""
        else:
            label, _, values = word[0].partition("=")
        yield label, values, at


def _closing_quote(text: str, start: int) -> int | None:
    """Return where a label ends, in its line at the latest; two quotes in it stand for one."""
    at = start
    while (at := text.find("'", at)) >= 0:
        if not text.startswith("''", at):
            return None if "\n" in text[start:at] else at
        at += 2
    return None


def _item(label: str, values: str) -> Perfdata | None:
    value, *limits = values.split(";", 5)
    read = _VALUE.fullmatch(value)
    if read is None or not 0 < len(label) <= LABEL_MAX:
        return None
    number = _number(read[1])
    if number is None:
        return None
    warn, crit, low, high = [*limits, "", "", "", ""][:4]
    return Perfdata(label, number, read[2], _range(warn), _range(crit), _limit(low), _limit(high))


def _number(text: str) -> float | None:
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) and abs(number) <= VALUE_MAX else None


def _range(text: str) -> str:
    return text.replace(",", ".") if _RANGE.fullmatch(text) else ""


def _limit(text: str) -> float | None:
    read = _LIMIT.fullmatch(text)
    return _number(read[1]) if read else None
