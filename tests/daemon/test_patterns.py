from __future__ import annotations

import pytest

from overc.daemon.patterns import EVERYTHING, Patterns


@pytest.mark.parametrize(
    "text, name, matches",
    [
        ("web1", "web1", True),
        ("web1", "web10", False),
        ("web1", "Web1", False),
        ("web*", "web", True),
        ("web*, db1", "db1", True),
        ("web*, db1", "db2", False),
        ("web?", "web12", False),
        ("web[12]", "web2", True),
        ("web[!12]", "web2", False),
        ("!web9", "web9", False),
        ("!web9", "web1", True),
        ("web*, !web9", "web9", False),
        ("!web9, web*", "web9", False),
        ("web*, !web9", "web1", True),
        ("*, !web*", "web1", False),
        ("!web*, !db*", "mail", True),
        ("! web9", "web9", False),
        ("disk of /home", "disk of /home", True),
        (",web1,,", "web1", True),
        ("*", "two\nlines", True),
        ("a.c", "abc", False),
        ("*", "", True),
    ],
)
def test_match(text: str, name: str, matches: bool) -> None:
    assert Patterns(text).match(name) == matches


@pytest.mark.parametrize("text", ["", " , ", "!", "web1, !"])
def test_no_pattern(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected names such as web\*, db1 or !web9"):
        Patterns(text)


@pytest.mark.parametrize(
    "text, everything", [("*", True), ("*, web1", True), ("web*", False), ("*, !web1", False)]
)
def test_everything(text: str, everything: bool) -> None:
    assert Patterns(text).everything == everything


def test_equal_patterns() -> None:
    assert Patterns("web*,db1") == Patterns(" web*, db1 ")
    assert hash(Patterns("web*,db1")) == hash(Patterns("web*, db1"))
    assert Patterns("web*") != Patterns("db*")
    assert Patterns("*") == EVERYTHING
    assert repr(Patterns("web*")) == "Patterns('web*')"


@pytest.mark.parametrize(
    ("text", "in_vain"),
    [
        ("*", False),
        ("!web*", False),
        ("web*, !web9", False),
        ("web1, db*, !web*", False),
        ("web*, !web*", True),
        ("web1, !web*", True),
        ("web1, db1, !web*, !db1", True),
        ("!*", True),
        ("web*, !*", True),
    ],
)
def test_a_list_that_matches_nothing(text: str, in_vain: bool) -> None:
    assert Patterns(text).in_vain is in_vain
