"""What a run found: figures in rows, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.goals import Goal, goal_of


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once or more often."""

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(slots=True)
class Row:
    """Figures that belong together. `fault`: why none of them counts."""

    name: str
    engine: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fault: str | None = None

    def add(self, name: str, unit: str, *values: float) -> None:
        self.figures.append(Figure(name, unit, values))

    def goal(self, figure: Figure) -> Goal | None:
        return goal_of(self.engine, self.name, figure.name)


def table(row: Row) -> str:
    """Return a row's figures as lines for the terminal."""
    lines = [f"{row.name} on {row.engine}: {row.title}"]
    if row.fault is not None:
        lines.append(f"  INVALID: {row.fault}")
    for figure in row.figures:
        goal = row.goal(figure)
        words = f"  {figure.name:<34}{shown(figure.median):>10} {figure.unit:<9}"
        if len(figure.values) > 1:
            words += f" {shown(min(figure.values))} to {shown(max(figure.values))}"
        if goal is not None:
            met = "reached" if goal.is_met(figure.median) else "MISSED"
            words = f"{words:<78} goal {goal}: {met}"
        lines.append(words.rstrip())
    lines += [f"  {note}" for note in row.notes]
    return "\n".join(lines)


def shown(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def write_json(path: Path, conditions: Mapping[str, Any], rows: Sequence[Row]) -> None:
    document = {"conditions": dict(conditions), "rows": [_as_json(row) for row in rows]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _as_json(row: Row) -> dict[str, Any]:
    figures = []
    for figure in row.figures:
        goal = row.goal(figure)
        figures.append(
            {
                "name": figure.name,
                "unit": figure.unit,
                "median": figure.median,
                "min": min(figure.values),
                "max": max(figure.values),
                "values": figure.values,
                "goal": str(goal) if goal else None,
                "reached": goal.is_met(figure.median) if goal and row.fault is None else None,
            }
        )
    return {
        "name": row.name,
        "engine": row.engine,
        "title": row.title,
        "valid": row.fault is None,
        "fault": row.fault,
        "notes": row.notes,
        "figures": figures,
    }
