"""Timelines as JSON. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from overc.web.timeline import Grid, Strip


def service(strip: Strip) -> dict[str, Any]:
    return {
        **_range(strip.grid),
        **_known(strip),
        "ticks": [
            {
                "at": tick.starts_at,
                "until": tick.ends_at,
                "state": tick.state,
                "words": tick.words,
            }
            for tick in strip.ticks
        ],
    }


def server(grid: Grid, strips: Mapping[int, Strip]) -> dict[str, Any]:
    """Return the strips of a server's services: a letter for each tick."""
    return {
        **_range(grid),
        "services": [
            {"id": id_, **_known(strip), "ticks": strip.letters} for id_, strip in strips.items()
        ],
    }


def _range(grid: Grid) -> dict[str, Any]:
    return {"starts_at": grid.starts_at, "ends_at": grid.ends_at, "tick_s": grid.tick_s}


def _known(strip: Strip) -> dict[str, Any]:
    availability = strip.availability
    return {
        "availability": None if availability is None else round(availability, 4),
        "known_s": round(strip.known_ms / 1000),
    }
