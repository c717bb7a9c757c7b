"""Tables and colours for people who look at a terminal."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TextIO

from overc.model import State

_COLOURS = {State.OK: 32, State.WARN: 33, State.FAIL: 31, State.UNK: 35}

_GAP = "  "
_MARK = "..."

LEAST = 20
"""Columns that the text of a row keeps, however narrow the terminal is."""


class Screen(NamedTuple):
    """What is known of where text is shown."""

    width: int | None = None
    """Columns; None: no terminal, so nothing is cut."""
    colours: bool = False


class Row(NamedTuple):
    """One line of a table."""

    state: State
    cells: Sequence[str]
    text: str
    end: str = ""


def screen(stream: TextIO | None, environ: Mapping[str, str]) -> Screen:
    """Return what a stream leads to. NO_COLOR in the environment, unless empty, forbids colours."""
    try:
        if stream is None or not stream.isatty():
            return Screen()
        columns = environ.get("COLUMNS", "")
        width = int(columns) if columns.isdigit() else os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        # It is closed, or says that it is a terminal and is none.
        return Screen()
    colours = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Screen(width or None, colours)


def table(rows: Sequence[Row], on: Screen) -> str:
    """Return a line for each row: the state, the cells in columns, the text, and the end.

    The text is cut where the line would be too long for the terminal.
    """
    widths = [
        max(map(columns, column)) for column in zip(*(row.cells for row in rows), strict=True)
    ]
    ends = max((columns(row.end) for row in rows), default=0)
    taken = len("WARN") + len(_GAP) + sum(widths) + len(_GAP) * len(widths) + ends
    room = None if on.width is None else max(on.width - taken - len(_GAP), LEAST)
    texts = [cut(row.text, room) for row in rows]
    longest = max(map(columns, texts), default=0)
    lines = []
    for row, text in zip(rows, texts, strict=True):
        cells = [_padded(cell, width) for cell, width in zip(row.cells, widths, strict=True)]
        # The ends stand below each other where that needs no line to be longer.
        middle = _padded(text, longest) if room is not None else text
        end = " " * (ends - columns(row.end)) + row.end if room is not None else row.end
        words = [_coloured(row.state, on), *cells, middle, end]
        lines.append(_GAP.join(word for word in words if word).rstrip() + "\n")
    return "".join(lines)


def cut(text: str, room: int | None) -> str:
    """Return as much of a text as fits into so many columns, with a mark where it was longer."""
    if room is None or columns(text) <= room:
        return text
    used, kept = columns(_MARK), ""
    for character in text:
        used += columns(character)
        if used > room:
            break
        kept += character
    return kept + _MARK


def columns(text: str) -> int:
    """Return how wide a terminal shows a text."""
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _coloured(state: State, on: Screen) -> str:
    word = f"{state.word:<4}"
    return f"\x1b[{_COLOURS[state]}m{word}\x1b[0m" if on.colours else word
