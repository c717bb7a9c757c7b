from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overc.daemon.perfdata import ITEMS_MAX, LABEL_MAX, VALUE_MAX, Perfdata, parse


def item(
    label: str,
    value: float,
    uom: str = "",
    warn: str = "",
    crit: str = "",
    low: float | None = None,
    high: float | None = None,
) -> Perfdata:
    return Perfdata(label, value, uom, warn, crit, low, high)


@pytest.mark.parametrize(
    "info, items",
    [
        ("", []),
        ("all is well", []),
        ("all is well |", []),
        ("OK | time=0.5s", [item("time", 0.5, "s")]),
        ("OK|time=0.5s", [item("time", 0.5, "s")]),
        ("a=1 | b=2", [item("b", 2)]),
        ("| a=1 | b=2", [item("a", 1), item("b", 2)]),
        (
            "DISK OK | /=2643MB;5948;5958;0;5968",
            [item("/", 2643, "MB", "5948", "5958", 0, 5968)],
        ),
        (
            "OK | /=1MB;2;3\nlong=7 text\nmore | /boot=68MB\n/home=69357MB;;;0\n",
            [
                item("/", 1, "MB", "2", "3"),
                item("/boot", 68, "MB"),
                item("/home", 69357, "MB", low=0),
            ],
        ),
        ("OK\nlong | a=1\nb=2", [item("a", 1), item("b", 2)]),
        ("timed out after 5 s\nOK | a=1", [item("a", 1)]),
        # Labels
        ("| 'a b'=1 c=2", [item("a b", 1), item("c", 2)]),
        ("| 'it''s'=1", [item("it's", 1)]),
        ("| ''''=1", [item("'", 1)]),
        ("| 'a=b'=1", [item("a=b", 1)]),
        ("| it's=1", [item("it's", 1)]),
        ("| größe=1", [item("größe", 1)]),
        ("| C:\\=1", [item("C:\\", 1)]),
        (f"| {'x' * LABEL_MAX}=1", [item("x" * LABEL_MAX, 1)]),
        # Values
        ("| a=-1.5 b=+2 c=.5 d=3.", [item("a", -1.5), item("b", 2), item("c", 0.5), item("d", 3)]),
        ("| a=0,5s;1,5;2,5;0,1;9,5", [item("a", 0.5, "s", "1.5", "2.5", 0.1, 9.5)]),
        ("| a=1e-05 b=2E3B", [item("a", 1e-05), item("b", 2000, "B")]),
        ("| a=1s b=1ms c=1us d=1% e=1c", [
            item("a", 1, "s"), item("b", 1, "ms"), item("c", 1, "us"),
            item("d", 1, "%"), item("e", 1, "c"),
        ]),
        ("| a=1B b=1KB c=1MB d=1GB e=1TB", [
            item("a", 1, "B"), item("b", 1, "KB"), item("c", 1, "MB"),
            item("d", 1, "GB"), item("e", 1, "TB"),
        ]),
        ("| a=1rpm b=21°C c=5B/s", [item("a", 1, "rpm"), item("b", 21, "°C"), item("c", 5, "B/s")]),
        # Limits
        ("| a=1;@5:10;~:10", [item("a", 1, "", "@5:10", "~:10")]),
        ("| a=1;5:;:6", [item("a", 1, "", "5:", "")]),
        ("| a=1;;;-5;5;further", [item("a", 1, low=-5, high=5)]),
        ("| a=1;;;0B;10B", [item("a", 1, low=0, high=10)]),
        ("| a=1;high;low;no;limit", [item("a", 1)]),
        ("| a=1 'b\n | '=2 c=3", [item("a", 1), item("c", 3)]),
        # White space
        ("|   a=1    b=2\t c=3  ", [item("a", 1), item("b", 2), item("c", 3)]),
        ("OK | a=1\r\nlong | b=2\r\n", [item("a", 1), item("b", 2)]),
        # The server's and the agent's words at the end
        ('| a=1 (sent unsupported state: "HEY")', [item("a", 1)]),
        ("| a=1 b=23... (cut)", [item("a", 1)]),
        ("| a=1 b=23\n(output cut after 8192 bytes)", [item("a", 1)]),
        ("| a=1\nlong | b=1 c=2\n(output cut after 8192 bytes)", [item("a", 1), item("b", 1)]),
        ("| a=1\nlong text\n(output cut after 8192 bytes)", [item("a", 1)]),
    ],
)  # fmt: skip
def test_what_is_read(info: str, items: list[Perfdata]) -> None:
    assert parse(info) == tuple(items)


@pytest.mark.parametrize(
    "bad",
    [
        "a",
        "a=",
        "=1",
        "''=1",
        "a=U",
        "a=nan",
        "a=inf",
        "a=1e999",
        f"a={VALUE_MAX * 10:g}",
        "a=1.2.3",
        "a=1,2,3",
        "a=--1",
        "a=12:30",
        "a=0x10",
        "a=1s2",
        "a= 1",
        "a =1",
        "a b=U",
        "'a'1",
        "'a' =1",
        "'open",
        "'open=1",
        f"{'x' * (LABEL_MAX + 1)}=1",
        "a=" + "9" * 500,
        "a=1" + "x" * 100,
        "|",
        ";;;",
        "a=;1",
        "٣=٣",
    ],
)
def test_a_bad_item_is_left_out_and_no_other(bad: str) -> None:
    assert parse(f"| first=1 {bad} last=2") == (item("first", 1), item("last", 2))


def test_the_number_of_items_is_bounded() -> None:
    items = parse("| " + " ".join(f"a{number}={number}" for number in range(ITEMS_MAX + 5)))
    assert [one.value for one in items] == list(range(ITEMS_MAX))


@given(st.text(alphabet=st.sampled_from("|'=;,. \n1aeU%@:~-") | st.characters()))
def test_no_text_is_too_odd(text: str) -> None:
    for one in parse("|" + text):
        assert math.isfinite(one.value)
        assert 0 < len(one.label) <= LABEL_MAX
        assert len(one.uom) <= 32
        assert all(limit is None or math.isfinite(limit) for limit in (one.min, one.max))


labels = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)
numbers = st.floats(-VALUE_MAX, VALUE_MAX)


@given(st.lists(st.tuples(labels.filter(lambda label: len(label) <= LABEL_MAX), numbers)))
def test_every_label_can_be_quoted(measured: list[tuple[str, float]]) -> None:
    quoted = [(label.replace("'", "''"), value) for label, value in measured]
    info = "OK | " + " ".join(f"'{label}'={value!r}" for label, value in quoted)
    expected = [(label, value) for label, value in measured][:ITEMS_MAX]
    assert [(one.label, one.value) for one in parse(info)] == expected


@pytest.mark.parametrize(
    "part",
    [
        "'", "''", "'''", "'a ", "'a ''b ", "'a '''b ", "a=", "a=1", "a='", " '=", "=", ";", "a=1;",
        "1", "a=1e", "a=1,", "|", "\n|", "\n(output cut after ", "'\n", "a=%", "a=1/", " ", "\n",
        "a=@", "a=1;~:1",
    ],
)  # fmt: skip
def test_hostile_infos_take_no_longer_than_others(part: str) -> None:
    info = "|" + part * (64 * 1024 // len(part))
    begun_at = time.process_time()
    parse(info)
    parse(info + " a=1")
    # Some milliseconds; anything quadratic takes minutes.
    assert time.process_time() - begun_at < 1
