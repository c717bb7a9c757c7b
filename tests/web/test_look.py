"""The tokens of the design: every text can be read on every ground that it may stand on."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.contrast import contrast

from overc.web import pages as pages_module
from overc.web.icons import COUNTED_MAX, counting_icons, icon_name

STATIC = Path(pages_module.__file__).parent / "static"
SCHEMES = ("light", "dark")
STATES = ("fail", "late", "warn", "unk", "ok")
GROUNDS = ("ground", "panel", "hover")

TEXT_RATIO = 4.5
SHAPE_RATIO = 3.0
"""WCAG 2.2 AA: of text, and of the edges of what can be operated."""

TEXTS = [
    *product(("text", "quiet", "accent", "none", *STATES), GROUNDS),
    *((state, f"{state}-ground") for state in STATES),
    *product(("text", "quiet", "accent"), ("accent-ground", *(f"{one}-ground" for one in STATES))),
    ("on-accent", "accent"),
    # A message at the edge of the page, and a button of danger.
    ("ground", "text"),
]
SHAPES = [*product(("edge", "accent"), GROUNDS)]


def tokens(scheme: str) -> dict[str, str]:
    css = (STATIC / "overc.css").read_text()
    found = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", css)
    return {name: (light, dark)[SCHEMES.index(scheme)] for name, light, dark in found}


def ratio(one: str, other: str) -> float:
    return contrast(*(bytes.fromhex(colour[1:]) for colour in (one, other)))


def test_the_ratio_is_the_one_of_the_standard() -> None:
    assert ratio("#000000", "#ffffff") == pytest.approx(21)
    assert ratio("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("ink, paper", TEXTS)
def test_texts_have_contrast(scheme: str, ink: str, paper: str) -> None:
    known = tokens(scheme)
    assert ratio(known[ink], known[paper]) >= TEXT_RATIO


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shape, paper", SHAPES)
def test_edges_have_contrast(scheme: str, shape: str, paper: str) -> None:
    known = tokens(scheme)
    assert ratio(known[shape], known[paper]) >= SHAPE_RATIO


@pytest.mark.parametrize("file", sorted(STATIC.glob("*.css")), ids=lambda file: file.name)
def test_only_tokens_that_are_there_are_used(file: Path) -> None:
    text = re.sub(r"/\*.*?\*/", "", file.read_text(), flags=re.DOTALL)
    own = set(re.findall(r"(--[\w-]+):", text)) | {
        name
        for script in STATIC.glob("*.js")
        for name in re.findall(r"\"(--[\w-]+)\"", script.read_text())
    }
    shared = set(re.findall(r"(--[\w-]+):", (STATIC / "overc.css").read_text()))
    assert set(re.findall(r"var\((--[\w-]+)", text)) <= own | shared


def test_there_is_an_icon_for_each_count() -> None:
    icons = counting_icons()
    counts = [str(count) for count in range(1, COUNTED_MAX + 1)]
    assert sorted(icons) == sorted(f"icon-{name}.svg" for name in [*counts, "many"])
    for name, content in icons.items():
        shown = "".join(ElementTree.fromstring(content).itertext()).strip()
        assert shown == ("9+" if "many" in name else name.removeprefix("icon-")[:-4])
    assert not set(icons) & {file.name for file in STATIC.iterdir()}


def test_pages_name_icons_that_there_are() -> None:
    assert icon_name(0) == "icon.svg"
    assert {icon_name(count) for count in range(1, COUNTED_MAX + 3)} == set(counting_icons())
