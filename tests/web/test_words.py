from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from web.page_doubles import BASE_URL, HOSTILE

from overc.web.words import (
    attribute_text,
    count_words,
    curl_line,
    epoch,
    first_line,
    listed,
    period_words,
    span_words,
    utc_text,
)

WORDS = [
    (span_words, -5, "0 s"), (span_words, 0.9, "0 s"),
    (span_words, 89, "89 s"), (span_words, 90, "2 min"), (span_words, 119.9, "2 min"),
    (span_words, 120, "2 min"), (span_words, 7199, "119 min"), (span_words, 7200, "2 h"),
    (span_words, 172_799, "47 h"), (span_words, 172_800, "2 d"), (span_words, 9_000_000, "104 d"),
    (period_words, 1, "1 s"), (period_words, 60, "1 min"), (period_words, 90, "90 s"),
    (period_words, 3600, "1 h"), (period_words, 5400, "90 min"), (period_words, 86400, "1 d"),
    (first_line, "", ""), (first_line, " \n ", ""), (first_line, "one\n", "one"),
    (first_line, "\n one\ntwo", "one …"),
    (first_line, "x" * 200, "x" * 200), (first_line, "x" * 201, "x" * 200 + " …"),
]  # fmt: skip


@pytest.mark.parametrize("words, value, expected", WORDS)
def test_words(words: Callable[[Any], str], value: Any, expected: str) -> None:
    assert words(value) == expected


@pytest.mark.parametrize("count, words", [(0, "0 states"), (1, "1 state"), (1440, "1,440 states")])
def test_count_words(count: int, words: str) -> None:
    assert count_words(count, "state") == words


def test_attribute_text_can_not_turn_what_follows() -> None:
    assert attribute_text("a\u202eb\u2067c\u200fd\ne") == "abcd …"


@pytest.mark.parametrize("name", [*HOSTILE.values(), "it's; rm -rf $HOME `id` !1"])
def test_curl_line_survives_the_shell(name: str) -> None:
    line = curl_line("http://mon/it's/", name, name, 90, "OK")
    assert line.isprintable()
    words = shlex.split(line)
    assert words[:3] == ["curl", "http://mon/it's/api/set/service/status", "-d"]
    assert json.loads(words[3]) == {
        "server": {"name": name, "key": "KEY"},
        "period": 90,
        "services": [{"name": name, "state": "OK", "info": "reported by curl"}],
    }


def test_curl_line_stays_readable() -> None:
    assert '"Серверная 🦉"' in curl_line(BASE_URL, "Серверная 🦉", "x", 60, "OK")


@pytest.mark.parametrize(
    "words, text",
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")],
)
def test_listed(words: list[str], text: str) -> None:
    assert listed(words) == text


def test_times() -> None:
    assert epoch("2026-03-01 10:00:00.750000") == 1_772_359_200
    assert utc_text(1_772_359_200.75) == "2026-03-01 10:00:00"
