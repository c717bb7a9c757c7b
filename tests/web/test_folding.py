from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.web.folding import fold, parse_range

ALERT = {"id": 1, "channel": "service:state", "event": "WARN", "message": "m", "severity": "WARN"}


def item(id_: int, state: str, *, alerts: bool = False) -> dict[str, Any]:
    return {
        "id": id_,
        "rtime": "2026-03-01 10:00:00",
        "state": state,
        "info": f"info {id_}",
        "service": "cpu",
        "service_id": 7,
        "alerts": [ALERT] if alerts else [],
    }


def history(words: str, newest_id: int = 100) -> list[dict[str, Any]]:
    """Build states, newest first: `OK OK! WARN`, where `!` marks one with an alert."""
    return [
        item(newest_id - place, word.rstrip("!"), alerts=word.endswith("!"))
        for place, word in enumerate(words.split())
    ]


def shown(folded: list[dict[str, Any]]) -> list[str]:
    return [
        f"{entry['group_count']}x{entry['state']}:{entry['group']}"
        if "group" in entry
        else str(entry["id"])
        for entry in folded
    ]


@pytest.mark.parametrize(
    "words, expected",
    [
        pytest.param("", [], id="nothing"),
        pytest.param("OK", ["100"], id="one"),
        pytest.param("OK OK", ["100", "99"], id="two"),
        pytest.param("OK OK OK", ["100", "99", "98"], id="one-between-stays"),
        pytest.param("OK OK OK OK", ["100", "2xOK:98-99", "97"], id="two-between-fold"),
        pytest.param(
            "WARN WARN WARN WARN WARN", ["100", "3xWARN:97-99", "96"], id="any-state-folds"
        ),
        pytest.param(
            "OK OK WARN WARN OK OK",
            ["100", "99", "98", "97", "96", "95"],
            id="other-state-opens-a-run",
        ),
        pytest.param(
            "OK OK OK OK FAIL FAIL FAIL FAIL",
            ["100", "2xOK:98-99", "97", "96", "2xFAIL:94-95", "93"],
            id="two-runs",
        ),
        pytest.param(
            "OK OK OK OK! OK OK OK",
            ["100", "99", "98", "97", "2xOK:95-96", "94"],
            id="alert-opens-a-run",
        ),
        pytest.param(
            "OK! OK OK OK", ["100", "2xOK:98-99", "97"], id="alert-on-the-newest-changes-nothing"
        ),
        pytest.param(
            "OK OK OK OK!", ["100", "99", "98", "97"], id="alert-on-the-oldest-is-its-own-run"
        ),
        pytest.param(
            "OK! OK! OK! OK! OK!", ["100", "99", "98", "97", "96"], id="alerts-are-never-folded"
        ),
    ],
)
def test_runs(words: str, expected: list[str]) -> None:
    assert shown(fold(history(words))) == expected


def test_a_group_has_these_keys_and_the_rest_is_untouched() -> None:
    states = history("OK OK OK OK")
    folded = fold(states)
    assert folded[1] == {"id": 98, "state": "OK", "group": "98-99", "group_count": 2}
    assert [folded[0], folded[2]] == [states[0], states[3]]


def test_a_group_names_its_lowest_and_highest_id_in_any_order() -> None:
    states = [item(id_, "OK") for id_ in (50, 12, 48, 30, 10)]
    assert shown(fold(states)) == ["50", "3xOK:12-48", "10"]


# The history below folds into groups 96-99 and 90-93.
@pytest.mark.parametrize(
    "expand, open_groups",
    [
        ([], ()),
        ([(96, 99)], ("96-99",)),
        ([(90, 93)], ("90-93",)),
        ([(90, 93), (96, 99)], ("90-93", "96-99")),
        ([(1, 1000)], ("90-93", "96-99")),
        ([(93, 96)], ("90-93", "96-99")),
        ([(99, 99)], ("96-99",)),
        ([(96, 96)], ("96-99",)),
        ([(94, 95)], ()),
        ([(100, 100)], ()),
        ([(1, 89)], ()),
    ],
)
def test_expand(expand: list[tuple[int, int]], open_groups: tuple[str, ...]) -> None:
    states = history("OK OK OK OK OK OK FAIL FAIL FAIL FAIL FAIL FAIL")
    groups = {entry["group"] for entry in fold(states, expand) if "group" in entry}
    assert groups == {"96-99", "90-93"} - set(open_groups)


def test_the_input_is_left_alone() -> None:
    states = history("OK OK OK OK WARN")
    for entry in fold(states):
        entry["state"] = "changed"
    assert states == history("OK OK OK OK WARN")


@given(
    st.lists(
        st.tuples(st.sampled_from(["OK", "WARN", "FAIL"]), st.integers(0, 9)), max_size=60
    ).map(
        lambda drawn: [
            item(len(drawn) - place, state, alerts=dice == 0)
            for place, (state, dice) in enumerate(drawn)
        ]
    )
)
def test_nothing_is_lost(states: list[dict[str, Any]]) -> None:
    folded = fold(states)
    covered: list[int] = []
    for entry in folded:
        if "group" in entry:
            lowest, highest = parse_range(entry["group"])
            assert entry["id"] == lowest
            assert entry["group_count"] == highest - lowest + 1 >= 2
            covered.extend(range(highest, lowest - 1, -1))
        else:
            covered.append(entry["id"])
    assert covered == [state["id"] for state in states]
    every_group = [parse_range(entry["group"]) for entry in folded if "group" in entry]
    assert fold(states, every_group) == states


@pytest.mark.parametrize(
    "text, expected",
    [("12-40", (12, 40)), ("7-7", (7, 7)), ("0-1", (0, 1)), ("007-10", (7, 10))],
)
def test_parse_range(text: str, expected: tuple[int, int]) -> None:
    assert parse_range(text) == expected


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", "expected two ids such as 12-40"),
        ("12", "expected two ids such as 12-40"),
        ("12-", "expected two ids such as 12-40"),
        ("-12-40", "expected two ids such as 12-40"),
        ("12 - 40", "expected two ids such as 12-40"),
        ("12-40\n", "expected two ids such as 12-40"),
        ("a-b", "expected two ids such as 12-40"),
        ("١-٢", "expected two ids such as 12-40"),
        ("1-" + "9" * 5000, "expected two ids such as 12-40"),
        ("40-12", "the lower id first, as in 12-40"),
    ],
)
def test_parse_range_refuses(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as refused:
        parse_range(text)
    assert len(str(refused.value)) < 120
