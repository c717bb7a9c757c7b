"""overc.terminal: tables that fit."""

from __future__ import annotations

import io
import os
import pty

import pytest

from overc.model import State
from overc.terminal import Row, Screen, columns, cut, screen, table

ROWS = [
    Row(State.OK, ["load"], "load 0.5, 1.00 per core", "0.02 s"),
    Row(State.FAIL, ["größe"], "x" * 60, "12.00 s"),
    Row(State.UNK, ["a"], "", "0.00 s"),
]


def test_nothing_is_cut_where_nobody_looks() -> None:
    assert table(ROWS, Screen()).split("\n") == [
        "OK    load   load 0.5, 1.00 per core  0.02 s",
        f"FAIL  größe  {'x' * 60}  12.00 s",
        "UNK   a      0.00 s",
        "",
    ]


def test_every_line_fits_the_terminal() -> None:
    assert table(ROWS, Screen(50)).split("\n") == [
        "OK    load   load 0.5, 1.00 per core        0.02 s",
        "FAIL  größe  xxxxxxxxxxxxxxxxxxxxxxxxx...  12.00 s",
        "UNK   a                                     0.00 s",
        "",
    ]


@pytest.mark.parametrize("width", [1, 20, 40])
def test_a_narrow_terminal_leaves_some_of_the_text(width: int) -> None:
    assert "xxxxxxxxxxxxxxxxx..." in table(ROWS, Screen(width))


def test_colours_do_not_count() -> None:
    plain, coloured = table(ROWS, Screen(50)), table(ROWS, Screen(50, True))
    assert coloured.startswith("\x1b[32mOK  \x1b[0m  load")
    for code in ("32", "31", "35"):
        coloured = coloured.replace(f"\x1b[{code}m", "")
    assert coloured.replace("\x1b[0m", "") == plain


def test_no_rows() -> None:
    assert table([], Screen(80, True)) == ""


@pytest.mark.parametrize(
    "text, room, shown",
    [
        ("short", 5, "short"),
        ("longer", 5, "lo..."),
        ("längst", 5, "lä..."),
        ("漢字漢字", 7, "漢字..."),
        ("漢字漢字", 6, "漢..."),
        ("漢字漢字", 8, "漢字漢字"),
        ("anything", None, "anything"),
    ],
)
def test_cut(text: str, room: int | None, shown: str) -> None:
    assert cut(text, room) == shown
    assert room is None or columns(shown) <= room


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({"COLUMNS": "77"}, Screen(77, True)),
        ({"COLUMNS": "77", "NO_COLOR": ""}, Screen(77, True)),
        ({"COLUMNS": "77", "NO_COLOR": "1"}, Screen(77, False)),
        ({"COLUMNS": "77", "TERM": "dumb"}, Screen(77, False)),
        ({"COLUMNS": "wide"}, Screen(None, True)),
    ],
)
def test_what_a_terminal_is(environ: dict[str, str], expected: Screen) -> None:
    ours, theirs = pty.openpty()
    try:
        with open(theirs, "w") as stream:
            assert screen(stream, environ) == expected
    finally:
        os.close(ours)


def test_what_is_no_terminal() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, io.StringIO(), closed):
        assert screen(stream, {"COLUMNS": "77"}) == Screen()
