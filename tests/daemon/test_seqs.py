from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.daemon.seqs import RANGES_MAX, Ranges, add, parse, show


@pytest.mark.parametrize(
    "text, ranges",
    [
        ("", []),
        ("1", [(1, 1)]),
        ("1-57", [(1, 57)]),
        ("1-57,60", [(1, 57), (60, 60)]),
        ("2,4-5,9007199254740992", [(2, 2), (4, 5), (2**53, 2**53)]),
    ],
)
def test_as_text(text: str, ranges: Ranges) -> None:
    assert parse(text) == ranges
    assert show(ranges) == text


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1-2-3", "1;2"])
def test_what_was_never_written(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@pytest.mark.parametrize(
    "before, number, after",
    [
        ("", 1, "1"),
        ("", 7, "7"),
        ("1", 2, "1-2"),
        ("1-5", 6, "1-6"),
        ("1-5", 7, "1-5,7"),
        ("3", 2, "2-3"),
        ("3-4", 1, "1,3-4"),
        ("1-3,5-9", 4, "1-9"),
        ("1,3,5", 4, "1,3-5"),
        ("1,3,5", 2, "1-3,5"),
        ("1-2,6-7", 4, "1-2,4,6-7"),
        ("1-2,6-7", 3, "1-3,6-7"),
        ("1-2,6-7", 5, "1-2,5-7"),
        ("1-2,6-7,20", 8, "1-2,6-8,20"),
        ("1", 1, None),
        ("1-5", 1, None),
        ("1-5", 3, None),
        ("1-5", 5, None),
        ("1-5,9,20-30", 9, None),
        ("1-5,9,20-30", 25, None),
    ],
)
def test_add(before: str, number: int, after: str | None) -> None:
    ranges = parse(before)
    found = add(ranges, number)
    assert (None if found is None else show(found)) == after
    assert show(ranges) == before


@given(st.lists(st.integers(1, 40), max_size=80))
def test_in_any_order_it_is_a_set(numbers: list[int]) -> None:
    ranges: Ranges = []
    known: set[int] = set()
    for number in numbers:
        found = add(ranges, number)
        assert (found is None) == (number in known)
        known.add(number)
        ranges = parse(show(ranges if found is None else found))
        assert {n for first, last in ranges for n in range(first, last + 1)} == known
        # As few ranges as can be: ascending, and never touching.
        assert all(first <= last for first, last in ranges)
        assert all(a[1] + 1 < b[0] for a, b in pairwise(ranges))


def test_beyond_so_many_ranges_the_lowest_are_forgotten() -> None:
    ranges: Ranges = []
    for number in range(1, 2 * RANGES_MAX + 1, 2):
        ranges = add(ranges, number) or []
    assert len(ranges) == RANGES_MAX
    ranges = add(ranges, 2 * RANGES_MAX + 1) or []
    assert len(ranges) == RANGES_MAX
    assert (ranges[0], ranges[-1]) == ((3, 3), (2 * RANGES_MAX + 1,) * 2)
    # A gap that is filled makes room.
    ranges = add(ranges, 4) or []
    assert (len(ranges), ranges[0]) == (RANGES_MAX - 1, (3, 5))
