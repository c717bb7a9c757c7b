"""Fold a service's history: long runs of the same state become one line. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SMALLEST_GROUP = 2
# As many digits as an id can have in any database.
_RANGE = re.compile(r"(\d{1,19})-(\d{1,19})", re.ASCII)


def parse_range(text: str) -> tuple[int, int]:
    """Return the ids in `12-40`. Raises ValueError with a sentence for anything else."""
    found = _RANGE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected two ids such as 12-40, got {text[:50]!r}")
    lowest, highest = int(found[1]), int(found[2])
    if lowest > highest:
        raise ValueError(f"expected the lower id first, as in {highest}-{lowest}, got {text!r}")
    return lowest, highest


def fold(
    states: Sequence[Mapping[str, Any]], expand: Sequence[tuple[int, int]] = ()
) -> list[dict[str, Any]]:
    """Return the states, newest first as they came, with the inside of each run as one group.

    An item that has alerts, or another state than the item above it, opens a new run. A run keeps
    its first and last item; two or more between them become
    `{"id": lowest, "state", "group": "<lowest>-<highest>", "group_count"}`, unless their ids
    overlap one of the `expand` ranges, ends included.
    """
    folded: list[dict[str, Any]] = []
    for run in _runs(states):
        inside = run[1:-1]
        group = _group(inside) if len(inside) >= _SMALLEST_GROUP else None
        if group is None or any(_overlaps(inside, wanted) for wanted in expand):
            folded.extend(map(dict, run))
        else:
            folded += [dict(run[0]), group, dict(run[-1])]
    return folded


def _runs(states: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    run: list[Mapping[str, Any]] = []
    for item in states:
        if run and (item["alerts"] or item["state"] != run[-1]["state"]):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _id_span(items: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    # Newest first need not mean highest id first: a late report may tell of an earlier time.
    ids = [item["id"] for item in items]
    return min(ids), max(ids)


def _group(inside: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lowest, highest = _id_span(inside)
    return {
        "id": lowest,
        "state": inside[0]["state"],
        "group": f"{lowest}-{highest}",
        "group_count": len(inside),
    }


def _overlaps(inside: Sequence[Mapping[str, Any]], wanted: tuple[int, int]) -> bool:
    lowest, highest = _id_span(inside)
    return lowest <= wanted[1] and wanted[0] <= highest
