from __future__ import annotations

import json
from collections.abc import Sequence

import msgspec
import pytest

from overc.daemon.rollups import DAY_S, HOUR_S, Values
from overc.web import graphs
from overc.web.graphs import Graph, Line, Point

NOW_AT = 1_772_359_200
DAY = 86400.0

Infos = Sequence[tuple[float, str]]


def drawn(infos: Infos, newest: str = "", span_s: float = DAY, period_s: float = 60) -> list[Graph]:
    return graphs.of_states(infos, newest, span_s, period_s)


def points(graph: Graph, place: int = 0) -> list[tuple[int, float | None]]:
    return [(point.at, point.avg) for point in graph.lines[place].points]


@pytest.mark.parametrize(
    "infos, expected",
    [
        pytest.param([], {}, id="empty"),
        pytest.param([(NOW_AT, "no perfdata")], {}, id="no perfdata"),
        pytest.param([(NOW_AT, "")], {}, id="no info"),
        pytest.param([(NOW_AT, "ok | a=1;; b")], {"": ["a"]}, id="bad items are left out"),
        pytest.param([(NOW_AT, "ok | a=1 b=2 c=3%")], {"": ["a", "b"], "%": ["c"]}, id="by unit"),
        pytest.param([(NOW_AT, "| a=1ms b=2s c=3us")], {"s": ["a", "b", "c"]}, id="times"),
        pytest.param([(NOW_AT, "| a=1KB b=2MB c=3B")], {"B": ["a", "b", "c"]}, id="bytes"),
        pytest.param([(NOW_AT, "| a=1c")], {}, id="one value of a counter is no rate"),
        pytest.param([(NOW_AT, "| a=1Foo")], {"Foo": ["a"]}, id="any unit"),
        pytest.param([(NOW_AT, "| 'a b'=1 '  '=2")], {"": ["a b", "  "]}, id="any label"),
    ],
)
def test_series_of_a_unit_are_on_one_graph(infos: Infos, expected: dict[str, list[str]]) -> None:
    found = drawn(infos, infos[-1][1] if infos else "")
    assert {graph.unit: [line.label for line in graph.lines] for graph in found} == expected


def test_the_order_is_that_of_the_newest_info() -> None:
    infos = [(NOW_AT - 60.0, "| gone=1 a=1"), (NOW_AT, "| b=1 a=1")]
    [graph] = drawn(infos, infos[-1][1])
    assert [line.label for line in graph.lines] == ["b", "a", "gone"]


@pytest.mark.parametrize(
    "text, value, unit",
    [
        ("1500ms", 1.5, "s"),
        ("2us", 0.000002, "s"),
        ("3s", 3, "s"),
        ("1KB", 1024, "B"),
        ("2GB", 2 * 1024**3, "B"),
        ("0.5TB", 0.5 * 1024**4, "B"),
        ("7%", 7, "%"),
        ("7", 7, ""),
        ("-1.5", -1.5, ""),
        ("1e99", 1e99, ""),
    ],
)
def test_units_are_brought_to_their_base(text: str, value: float, unit: str) -> None:
    [graph] = drawn([(NOW_AT, f"| a={text}")])
    assert graph.unit == unit
    [(at, avg)] = points(graph)
    assert at == NOW_AT
    assert avg == pytest.approx(value, rel=1e-6)


def every(step_s: float, *values: str) -> list[tuple[float, str]]:
    return [(NOW_AT + step_s * place, f"| a={value}") for place, value in enumerate(values)]


@pytest.mark.parametrize(
    "infos, expected",
    [
        pytest.param(every(60, "5c", "65c", "125c"), [1, 1], id="steady"),
        pytest.param(every(60, "5c", "65c", "5c", "11c"), [1, 0.1], id="started anew"),
        pytest.param(every(60, "5c", "5c"), [0], id="stands still"),
        pytest.param(every(0, "5c", "9c"), [], id="at one moment"),
    ],
)
def test_counters_become_rates(infos: Infos, expected: list[float]) -> None:
    # So short a range that no values are put together.
    found = drawn(infos, span_s=300)
    assert [avg for graph in found for _, avg in points(graph)] == expected
    assert [graph.unit for graph in found] == ["/s"] * bool(expected)


def test_a_line_is_broken_where_reports_are_missing() -> None:
    infos = [(NOW_AT + minute * 60.0, "| a=1") for minute in (0, 1, 2, 5, 6)]
    [graph] = drawn(infos, span_s=600)
    assert [avg for _, avg in points(graph)] == [1, 1, 1, None, 1, 1]
    assert points(graph)[3][0] == NOW_AT + 210
    # One missing report is no gap yet.
    [graph] = drawn([*infos[:3], (NOW_AT + 240.0, "| a=1")], span_s=600)
    assert None not in [avg for _, avg in points(graph)]


def test_reports_in_any_order_and_slow_ones_are_one_line() -> None:
    infos = [(NOW_AT + hour * 3600.0, f"| a={hour}") for hour in (2, 0, 1)]
    [graph] = drawn(infos, period_s=3600)
    assert points(graph) == [(NOW_AT, 0), (NOW_AT + 3600, 1), (NOW_AT + 7200, 2)]


def test_many_values_are_put_together() -> None:
    infos = [(NOW_AT + second, f"| a={second % 3}") for second in range(0, 86400, 10)]
    [graph] = drawn(infos, period_s=10)
    line = graph.lines[0]
    assert len(line.points) <= graphs.POINTS_MAX + 1
    assert {(point.low, point.high) for point in line.points[1:-1]} == {(0, 2)}
    assert line.points[5].avg == pytest.approx(1, abs=0.1)


def rolled(*avgs: float | None, bucket_s: int = HOUR_S) -> dict[int, Values]:
    start = NOW_AT // DAY_S * DAY_S
    return {
        start + place * bucket_s: Values(2, 2 * avg, avg - 1, avg + 1)
        for place, avg in enumerate(avgs)
        if avg is not None
    }


def of_sums(
    uom: str, sums: dict[int, Values], bucket_s: int = HOUR_S, now_at: float = NOW_AT + 1e6
) -> list[Graph]:
    return graphs.of_sums({("a", uom): sums}, "", bucket_s, 60, now_at)


def test_roll_ups_are_drawn() -> None:
    [graph] = of_sums("ms", rolled(1000, 2000, None, 4000))
    assert graph.unit == "s"
    assert [tuple(point[1:4]) for point in graph.lines[0].points] == [
        (1, 0.999, 1.001),
        (2, 1.999, 2.001),
        (None, None, None),
        (4, 3.999, 4.001),
    ]
    assert of_sums("", {}) == []


def test_rates_of_roll_ups_are_between_neighbours() -> None:
    sums = rolled(3600, 7200, None, 10800, 3600, 7200)
    [graph] = of_sums("c", sums)
    # Not across the gap, nor where it started anew.
    assert [avg for _, avg in points(graph)] == [1, None, 1]
    # An hour in which reports are missing would look like less.
    [second] = [at for at in sums if at == min(sums) + HOUR_S]
    fewer = {**sums, second: sums[second]._replace(n=1)}
    [graph] = of_sums("c", fewer)
    assert [avg for _, avg in points(graph)] == [1]
    # And so would what is not over yet.
    [graph] = of_sums("c", sums, now_at=max(sums) + 1800)
    assert [avg for _, avg in points(graph)] == [1]


def test_very_long_ranges_are_thinned() -> None:
    [graph] = of_sums("", rolled(*map(float, range(1000)), bucket_s=DAY_S), DAY_S)
    line = graph.lines[0]
    assert len(line.points) == 334
    assert line.points[0][1:4] == (1, -1, 3)


def test_an_average_is_of_all_values_however_unevenly_they_came() -> None:
    """Ten values of 10 and one of 40."""
    values = {NOW_AT // DAY_S * DAY_S: Values(10, 100, 10, 10)}
    values[NOW_AT // DAY_S * DAY_S + HOUR_S] = Values(1, 40, 40, 40)
    [graph] = of_sums("", values)
    [figures] = graphs.figures(graph)
    assert figures.avg == graphs.value_words(140 / 11, "")
    states = [*[(NOW_AT + place, "|a=10") for place in range(10)], (NOW_AT + 500.0, "|a=40")]
    [graph] = drawn(states)
    [figures] = graphs.figures(graph)
    assert figures.avg == graphs.value_words(140 / 11, "")


def test_thinned_points_weigh_their_values() -> None:
    start = NOW_AT // DAY_S * DAY_S
    values = {start + place * DAY_S: Values(1, 40, 40, 40) for place in range(800)}
    values[start] = Values(9, 90, 10, 10)
    [graph] = of_sums("", values, DAY_S)
    assert graph.lines[0].points[0].avg == 13


@pytest.mark.parametrize(
    "range_, ends",
    [
        ("", []),
        ("10", [10]),
        ("5:", [5]),
        ("~:10", [10]),
        ("5:10", [5, 10]),
        ("@5:10", [5, 10]),
        ("@-1.5", [-1.5]),
        ("1e999", []),
        (":", []),
    ],
)
def test_limits_of_ranges(range_: str, ends: list[float]) -> None:
    assert graphs.limits(range_) == ends


@pytest.mark.parametrize(
    "perf, warn, crit, low, high",
    [
        ("a=1;5;10;0;20", (5,), (10,), 0, 20),
        ("a=1ms;500;800", (0.5,), (0.8,), None, None),
        ("a=1;5;10 b=2;5;10", (5,), (10,), None, None),
        ("a=1;5;10 b=2", (5,), (10,), None, None),
        # Whose limits would these be?
        ("a=1;5;10 b=2;6;10", (), (10,), None, None),
        ("a=1;5:8", (5, 8), (), None, None),
    ],
)
def test_limits_of_a_graph(
    perf: str, warn: object, crit: object, low: object, high: object
) -> None:
    [graph] = drawn([(NOW_AT, f"| {perf}")], f"| {perf}")
    assert (graph.warn, graph.crit, graph.low, graph.high) == (warn, crit, low, high)


def test_limits_of_a_counter_are_not_those_of_its_rate() -> None:
    [graph] = drawn(every(60, "5c;1;2;0;9", "65c;1;2;0;9"), "| a=65c;1;2;0;9", span_s=300)
    assert graph == Graph("/s", graph.lines)


def test_a_graph_as_json() -> None:
    [found] = json.loads(msgspec.json.encode(graphs.as_json(drawn(every(60, "1.5;2;3")))))
    assert found == {
        "unit": "",
        "series": [{"label": "a", "times": [NOW_AT], "avg": [1.5], "min": [1.5], "max": [1.5]}],
        "warn": [],
        "crit": [],
        "min": None,
        "max": None,
    }


def test_a_graph_as_figures() -> None:
    some = (Point(1, 1024.0, 512.0, 2048.0), Point(2, None, None, None), Point(3, 0.0, 0.0, 0.0))
    graph = Graph("B", (Line("used", some), Line("empty", ())))
    assert list(graphs.figures(graph)) == [("used", "0 B", "0 B", "512 B", "2 KiB")]


@pytest.mark.parametrize(
    "value, unit, words",
    [
        (0, "B", "0 B"),
        (1023, "B", "1,023 B"),
        (1536, "B", "1.5 KiB"),
        (-(1024.0**4), "B", "-1 TiB"),
        (1e30, "B", "867,361,737,988 EiB"),
        (0, "s", "0 s"),
        (0.25, "s", "250 ms"),
        (0.0000021, "s", "2.1 µs"),
        (1e-12, "s", "1e-12 s"),
        (90, "s", "90 s"),
        (12.345, "%", "12.3 %"),
        (999, "", "999"),
        (12_000, "", "12 k"),
        (3.4e9, "/s", "3.4 G/s"),
        (0.001234, "", "0.00123"),
        (1e99, "", "1e+87 T"),
        (5, "Foo", "5 Foo"),
    ],
)
def test_a_value_in_words(value: float, unit: str, words: str) -> None:
    assert graphs.value_words(value, unit) == words


@pytest.mark.parametrize("unit, words", [("s", "Time"), ("B", "Bytes"), ("", "Values"), ("x", "x")])
def test_a_unit_in_words(unit: str, words: str) -> None:
    assert graphs.unit_words(unit) == words
