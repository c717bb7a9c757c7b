"""A service's perfdata over a range of time: one graph for each unit. Pure.

Series begin as values with the times when they were seen, or as roll-ups of hours and days. Units
are brought to their base (ms to s, KB to B of 1,024 each), and counters, which only grow until they
start anew, to rates per second.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from overc.daemon import perfdata
from overc.daemon.perfdata import Perfdata
from overc.daemon.rollups import Values

POINTS_MAX = 400
"""Of each series."""

VALUES_MAX = 100_000
"""So many of all series are read one by one: a day of the most that a report each minute has."""

_BASES = {
    "s": ("s", 1.0),
    "ms": ("s", 1e-3),
    "us": ("s", 1e-6),
    "µs": ("s", 1e-6),
    "ns": ("s", 1e-9),
    "B": ("B", 1.0),
    "KB": ("B", 1024.0),
    "kB": ("B", 1024.0),
    "MB": ("B", 1024.0**2),
    "GB": ("B", 1024.0**3),
    "TB": ("B", 1024.0**4),
    "c": ("/s", 1.0),
}
_COUNTER = "c"
_WHOLE_SHARE = 0.9
_RANGE = re.compile(r"@?(?:(?P<low>[^:]*):)?(?P<high>.*)")


T = TypeVar("T")


class TooManyValues(Exception):
    """More than VALUES_MAX."""


class Point(NamedTuple):
    at: int
    """Epoch seconds."""
    avg: float | None
    """None: nothing was reported here; the line is broken."""
    low: float | None
    high: float | None
    n: int = 1
    """Of how many values the average is."""


class Line(NamedTuple):
    label: str
    points: tuple[Point, ...]


class Graph(NamedTuple):
    unit: str
    lines: tuple[Line, ...]
    warn: tuple[float, ...] = ()
    crit: tuple[float, ...] = ()
    low: float | None = None
    """What no value is below of, such as 0 %, and above of."""
    high: float | None = None


Named = tuple[str, str]
"""The label and the unit of a series, as printed."""


def of_states(
    states: Iterable[tuple[float, str]], newest_info: str, span_s: float, period_s: float
) -> list[Graph]:
    """Return the graphs of infos and of when they were seen, in any order.

    Raises TooManyValues.
    """
    values: dict[Named, list[tuple[float, float]]] = {}
    n_values = 0
    for at, info in sorted(states):
        items = perfdata.parse(info) if info else ()
        n_values += len(items)
        if n_values > VALUES_MAX:
            raise TooManyValues
        for item in items:
            values.setdefault((item.label, item.uom), []).append((at, item.value))
    bucket_s = max(1, -(-int(span_s) // POINTS_MAX))
    gap_s = max(2.5 * period_s, 2.0 * bucket_s)
    drawn = {
        name: _broken(_gathered(_rates(of) if name[1] == _COUNTER else of, bucket_s), gap_s)
        for name, of in values.items()
    }
    return _graphs(drawn, perfdata.parse(newest_info))


def of_sums(
    series: Mapping[Named, Mapping[int, Values]],
    newest_info: str,
    bucket_s: int,
    period_s: float,
    now_at: float,
) -> list[Graph]:
    """Return the graphs of roll-ups, which are `bucket_s` long, by when they start."""
    drawn = {}
    for name, sums in series.items():
        rolled = sorted(sums.items())
        if name[1] == _COUNTER:
            points = _rolled_rates(rolled, bucket_s, now_at)
        else:
            points = [Point(at, v.total / v.n, v.low, v.high, v.n) for at, v in rolled if v.n]
        size = -(-len(points) // POINTS_MAX) or 1
        gap_s = max(2.5 * period_s, (size + 0.5) * bucket_s)
        drawn[name] = _broken(_thinned(points, size), gap_s)
    return _graphs(drawn, perfdata.parse(newest_info))


def _rates(values: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return by how much a counter grew each second; nothing for where it started anew."""
    return [
        (at, (value - before) / (at - before_at))
        for (before_at, before), (at, value) in pairwise(values)
        if at > before_at and value >= before
    ]


def _rolled_rates(
    rolled: Sequence[tuple[int, Values]], bucket_s: int, now_at: float
) -> list[Point]:
    """The same of roll-ups: a counter's highest value is its last one, unless it started anew.

    Of what is not over yet nothing can be said, nor where reports are missing.
    """
    points = []
    for (before_at, before), (at, values) in pairwise(rolled):
        is_whole = min(before.n, values.n) >= _WHOLE_SHARE * max(before.n, values.n)
        is_over = at + bucket_s <= now_at
        if is_over and is_whole and values.high >= before.high and at - before_at == bucket_s:
            rate = (values.high - before.high) / bucket_s
            points.append(Point(at, rate, rate, rate))
    return points


def _gathered(values: Iterable[tuple[float, float]], bucket_s: int) -> list[Point]:
    """Return one point for each so many seconds in which there are values, in their middle."""
    gathered: dict[int, list[tuple[float, float]]] = {}
    for at, value in values:
        gathered.setdefault(int(at) // bucket_s, []).append((at, value))
    points = []
    for of in gathered.values():
        numbers = [value for _, value in of]
        mean_at = round(sum(at for at, _ in of) / len(of))
        avg = sum(numbers) / len(of)
        points.append(Point(mean_at, avg, min(numbers), max(numbers), len(of)))
    return points


def _thinned(points: Sequence[Point], size: int) -> list[Point]:
    """Put so many neighbours together at a time."""
    thinned = []
    for place in range(0, len(points), size):
        of = points[place : place + size]
        lows = [one.low for one in of if one.low is not None]
        highs = [one.high for one in of if one.high is not None]
        n = sum(one.n for one in of)
        thinned.append(Point(of[0].at, _average(of), min(lows), max(highs), n))
    return thinned


def _average(points: Iterable[Point]) -> float:
    """Return the mean of all values of points, one of which has some."""
    known = [(one.avg, one.n) for one in points if one.avg is not None]
    return sum(avg * n for avg, n in known) / sum(n for _, n in known)


def _broken(points: Sequence[Point], gap_s: float) -> tuple[Point, ...]:
    """Put a point without a value where the next one is too far away."""
    found: list[Point] = []
    for point in points:
        if found and point.at - found[-1].at > gap_s:
            found.append(Point((found[-1].at + point.at) // 2, None, None, None))
        found.append(point)
    return tuple(found)


def _graphs(drawn: Mapping[Named, Sequence[Point]], newest: Sequence[Perfdata]) -> list[Graph]:
    """Put series of one unit on one graph, in the order in which the plugin prints them."""
    order = {(item.label, item.uom): place for place, item in enumerate(newest)}
    lines: dict[str, list[Line]] = {}
    for name in sorted(drawn, key=lambda name: (order.get(name, len(order)), name)):
        label, uom = name
        unit, factor = _BASES.get(uom, (uom, 1.0))
        points = tuple(_scaled(point, factor) for point in drawn[name])
        if points:
            lines.setdefault(unit, []).append(Line(label, points))
    return [_with_limits(unit, of, newest) for unit, of in lines.items()]


def _scaled(point: Point, factor: float) -> Point:
    numbers = (point.avg, point.low, point.high)
    avg, low, high = (None if one is None else _rounded(one * factor) for one in numbers)
    return Point(point.at, avg, low, high, point.n)


def _rounded(value: float) -> float:
    """Leave out what no graph shows."""
    return float(f"{value:.7g}")


def _with_limits(unit: str, lines: Sequence[Line], newest: Sequence[Perfdata]) -> Graph:
    """Put limits on a graph, where all of its series have the same ones, or no other has any."""
    labels = {line.label for line in lines}
    warn: set[tuple[float, ...]] = set()
    crit: set[tuple[float, ...]] = set()
    lows: set[float | None] = set()
    highs: set[float | None] = set()
    for item in newest:
        base, factor = _BASES.get(item.uom, (item.uom, 1.0))
        # The limits of a counter are not those of its rate.
        if base != unit or item.uom == _COUNTER or item.label not in labels:
            continue
        warn.add(tuple(limit * factor for limit in limits(item.warn)))
        crit.add(tuple(limit * factor for limit in limits(item.crit)))
        lows.add(None if item.min is None else item.min * factor)
        highs.add(None if item.max is None else item.max * factor)
    low, high = _only(lows), _only(highs)
    return Graph(unit, tuple(lines), _only(warn - {()}) or (), _only(crit - {()}) or (), low, high)


def _only(found: set[T]) -> T | None:
    return next(iter(found)) if len(found) == 1 else None


def limits(range_: str) -> list[float]:
    """Return the ends of a range such as `10`, `5:`, `~:10` or `@5:10`, those that can be hit.

    The lower end of a range that names none is 0, which few values get below of: it is left out.
    """
    found = _RANGE.fullmatch(range_)
    ends = [] if found is None else [found["low"], found["high"]]
    numbers = [float(end) for end in ends if end and end != "~"]
    return [number for number in numbers if math.isfinite(number)]


def as_json(graphs: Iterable[Graph]) -> list[dict[str, Any]]:
    return [
        {
            "unit": graph.unit,
            "series": [
                {
                    "label": line.label,
                    "times": [point.at for point in line.points],
                    "avg": [point.avg for point in line.points],
                    "min": [point.low for point in line.points],
                    "max": [point.high for point in line.points],
                }
                for line in graph.lines
            ],
            "warn": graph.warn,
            "crit": graph.crit,
            "min": graph.low,
            "max": graph.high,
        }
        for graph in graphs
    ]


class Figures(NamedTuple):
    """A series in numbers."""

    label: str
    last: str
    low: str
    avg: str
    high: str


def figures(graph: Graph) -> Iterator[Figures]:
    """Yield a line of a table for each series."""
    for line in graph.lines:
        known = [one for one in line.points if one.avg is not None]
        avgs = [one.avg for one in known if one.avg is not None]
        lows = [one.low for one in known if one.low is not None]
        highs = [one.high for one in known if one.high is not None]
        if avgs:
            numbers = (avgs[-1], min(lows), _average(known), max(highs))
            yield Figures(line.label, *(value_words(one, graph.unit) for one in numbers))


_IEC = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k"))


def value_words(value: float, unit: str) -> str:
    """Return a value with its unit as people write it: `1.5 GiB`, `230 ms`, `42 %`."""
    size = abs(value)
    if unit == "B":
        place = 0
        while size >= 1024 and place < len(_IEC) - 1:
            size, value, place = size / 1024, value / 1024, place + 1
        return f"{_number(value)} {_IEC[place]}"
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")):
            if size >= scale:
                return f"{_number(value / scale)} {name}"
        return f"{_number(value)} s"
    if unit == "%":
        return f"{_number(value)} %"
    for scale, letter in _SI:
        if size >= scale:
            return f"{_number(value / (scale if letter != 'k' else 1e3))} {letter}{unit}".rstrip()
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    """Return three digits that count, and all those before the point."""
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def unit_words(unit: str) -> str:
    """Return what stands above a graph."""
    named = {"s": "Time", "B": "Bytes", "%": "Percent", "/s": "Rate per second", "": "Values"}
    return named.get(unit, unit)
