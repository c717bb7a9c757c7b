from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import quote

import pytest
from support_daemon import FakeClock, a_database, a_recorder, a_report, a_state, change, record
from web.attention_doubles import Always
from web.doubles import API, UI, Fixture
from web.page_doubles import HOSTILE

from overc.daemon.alerting.routing import Maintenance
from overc.daemon.page_settings import PublicPieces
from overc.daemon.patterns import Patterns
from overc.daemon.store.errors import StorageError
from overc.model import State
from overc.web.public.badges import draw, readable, text_width
from overc.web.public.view import WORDS

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def database(tmp_path: Path) -> str:
    """web1 with disk (WARN), a/b (OK) and a dead one; db1, whose only service fails."""
    path = a_database(tmp_path)
    clock = FakeClock()
    states = (a_state("disk", State.WARN), a_state("a/b"), a_state("dead"))
    record(path, a_recorder(), clock, a_report(*states))
    record(path, a_recorder(), clock, a_report(a_state("disk", State.FAIL), name="db1", key="k"))
    record(path, a_recorder(), clock, a_report(name="bare", key="k"))
    change(path, "update services set timed_out = 1 where name = 'dead'")
    return path


def a_web(database: str, badges: str | None) -> Fixture:
    public = PublicPieces(badges=None if badges is None else Patterns(badges))
    return Fixture(database, API, UI, public=public)


def words(body: bytes) -> list[str]:
    """Return what stands on a badge."""
    return [text.text or "" for text in ET.fromstring(body).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "badges, path, shown",
    [
        ("*", "web1/disk.svg", ["disk", "warning"]),
        ("web1/*", "web1/disk.svg", ["disk", "warning"]),
        ("web1/disk", "web1/disk.svg", ["disk", "warning"]),
        ("*/disk", "db1/disk.svg", ["disk", "failing"]),
        ("*", "web1/a/b.svg", ["a/b", "OK"]),
        ("*", "web1/a%2Fb.svg", ["a/b", "OK"]),
        ("*", "web1%2fa%2Fb.svg", ["a/b", "OK"]),
        ("*", "web1/dead.svg", ["dead", "not reporting"]),
        ("*", "web1.svg", ["web1", "not reporting"]),
        ("web1", "web1.svg", ["web1", "not reporting"]),
        ("db*", "db1.svg", ["db1", "failing"]),
        ("*", "bare.svg", ["bare", "no data"]),
        ("w*b1/a/b", "web1/a/b.svg", ["a/b", "OK"]),
        ("web1/a/*, !web1/a/c", "web1/a/b.svg", ["a/b", "OK"]),
        ("!db1", "web1/disk.svg", ["disk", "warning"]),
        ("*, !web1/a/b", "web1.svg", ["web1", "not reporting"]),
        ("*", "web1/disk.svg?label=The%20disk", ["The disk", "warning"]),
        ("*", "web1/disk.svg?label=", ["disk", "warning"]),
        ("*", "web1/disk.svg?label=a&label=b", ["b", "warning"]),
        ("*", "web1/disk.svg?label=%FF", ["\N{REPLACEMENT CHARACTER}", "warning"]),
    ],
)
def test_a_badge_needs_no_login(database: str, badges: str, path: str, shown: list[str]) -> None:
    answer = a_web(database, badges).ask("GET", f"/badge/{path}")
    assert answer.code == 200
    assert answer.headers["content-type"] == "image/svg+xml"
    assert answer.headers["cache-control"] == "max-age=30"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert words(answer.body) == shown


@pytest.mark.parametrize(
    "badges, path",
    [
        (None, "web1/disk.svg"),
        (None, "web1.svg"),
        ("db1/*", "web1/disk.svg"),
        ("web1/*", "web1.svg"),
        ("web1", "web1/disk.svg"),
        ("*, !web1/*", "web1/disk.svg"),
        # A server as a whole is another thing than each of its services.
        ("web*", "web1/disk.svg"),
        ("web*, !web9/*", "web1/a/b.svg"),
        ("*, !web1", "web1/disk.svg"),
        ("*/*, !w*1", "web1/disk.svg"),
        # A wildcard stays in its part of the name.
        ("web*/b", "web1/a/b.svg"),
        ("*/b", "web1/a/b.svg"),
        ("*", "web1/nothing.svg"),
        ("*", "nothing.svg"),
        ("*", "web1/disk"),
        ("*", "web1/disk.png"),
        ("*", "WEB1/disk.svg"),
        ("*", "web1/disk.svg/"),
        ("*", "web1/.svg"),
        ("*", "/web1/disk.svg"),
        ("*", "web1//disk.svg"),
        ("*", ".svg"),
        ("*", "web1/disk%00.svg"),
        ("*", "web1/../web1/disk.svg"),
        ("*", "%2e%2e/%2e%2e/etc/passwd.svg"),
        ("*", "..%2f..%2fetc%2fpasswd.svg"),
        ("*", "web1%252Fdisk.svg"),
        ("*", "web1/disk.svg%20"),
        ("*", "a/" * 2000 + "b.svg"),
    ],
)
def test_what_may_not_be_seen_looks_like_what_does_not_exist(
    database: str, badges: str | None, path: str
) -> None:
    web = a_web(database, badges)
    answer = web.ask("GET", f"/badge/{path}")
    other = web.ask("GET", "/badge/surely/not.svg")
    assert answer.code == 404
    assert answer.body == other.body
    # The second may be another one by now.
    del answer.headers["date"], other.headers["date"]
    assert answer.headers == other.headers
    assert words(answer.body) == ["status", "not found"]


def test_while_the_database_is_away_a_badge_tells_nothing_of_it(database: str) -> None:
    web = a_web(database, "*")

    def fail(description: str) -> None:
        raise StorageError("Unable to read the status: no way to db7.internal")

    web.store.fault = fail
    answer = web.ask("GET", "/badge/web1/disk.svg")
    assert (answer.code, answer.headers["retry-after"]) == (503, "5")
    assert b"internal" not in answer.body
    assert words(answer.body) == ["status", "not known just now"]
    web.store.fault = lambda description: None
    assert web.ask("GET", "/badge/web1/disk.svg").code == 200


def test_the_client_s_copy_is_good_until_the_state_changes(database: str) -> None:
    web = a_web(database, "*")
    first = web.ask("GET", "/badge/db1/disk.svg")
    tag = {"If-None-Match": first.headers["etag"]}
    again = web.ask("GET", "/badge/db1/disk.svg", headers=tag)
    assert (again.code, again.body) == (304, b"")
    assert web.ask("GET", "/badge/db1/disk.svg", headers={"If-None-Match": '"x"'}).code == 200
    web.clock.advance(6)
    record(database, a_recorder(), web.clock, a_report(a_state("disk"), name="db1", key="k"))
    fresh = web.ask("GET", "/badge/db1/disk.svg", headers=tag)
    assert (fresh.code, words(fresh.body)) == (200, ["disk", "OK"])


def test_badges_in_a_window_of_maintenance(database: str) -> None:
    maintenance = Maintenance("x", Always(FakeClock().wall() + 60), Patterns("web1"))
    public = PublicPieces(badges=Patterns("*"))
    web = Fixture(database, API, UI, public=public, maintenances=[maintenance])
    for path, word in {
        "web1/disk": "maintenance", "web1/a/b": "OK", "web1": "maintenance", "db1": "failing",
    }.items():  # fmt: skip
        assert words(web.ask("GET", f"/badge/{path}.svg").body)[-1] == word


def test_the_database_is_not_asked_for_each_badge(database: str) -> None:
    web = a_web(database, "*")
    web.ask("GET", "/badge/db1.svg")
    record(database, a_recorder(), web.clock, a_report(a_state("disk"), name="db1", key="k"))
    web.clock.advance(4.9)
    for _ in range(10):
        assert words(web.ask("GET", "/badge/db1.svg").body) == ["db1", "failing"]
    web.clock.advance(0.2)
    assert words(web.ask("GET", "/badge/db1.svg").body) == ["db1", "OK"]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_labels(database: str, kind: str) -> None:
    web = a_web(database, "*")
    label = quote(HOSTILE[kind][:3000].encode())
    body = web.ask("GET", f"/badge/db1/disk.svg?label={label}").body
    picture = ET.fromstring(body)
    assert {part.tag.removeprefix(SVG) for part in picture.iter()} == {
        "svg", "title", "clipPath", "g", "rect", "text",
    }  # fmt: skip
    assert not [name for part in picture.iter() for name in part.attrib if name.startswith("on")]
    [text, word] = words(body)
    assert word == "failing"
    assert text.isprintable()
    assert len(text) <= 60


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_names(tmp_path: Path, kind: str) -> None:
    name = HOSTILE[kind][:200].replace("\x00", "")
    path = a_database(tmp_path)
    record(path, a_recorder(), FakeClock(), a_report(a_state(name), name=name))
    web = a_web(path, "*")
    place = quote(name.encode(), safe="")
    for answer in (
        web.ask("GET", f"/badge/{place}/{place}.svg"),
        web.ask("GET", f"/badge/{place}.svg"),
    ):
        assert answer.code == 200
        assert words(answer.body)[1] == "OK"


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("", "(blank)"),
        (" \t\n", "(blank)"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("a\ufffe\uffffb", "a b"),
        ("a\ud800b", "a b"),
        ("\u202eabc\u2066", "abc"),
        ("a\u200bb", "a b"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("日本", "日本"),
    ],
)
def test_readable_text(text: str, shown: str) -> None:
    assert readable(text) == shown
    ET.fromstring(draw(text, "OK", "OK"))


@pytest.mark.parametrize(
    "text, least, most",
    [
        ("", 7, 7),
        ("iiii", 10, 14),
        ("WWWW", 40, 48),
        ("OK", 14, 18),
        ("日本", 20, 24),
        ("e\u0301", 7, 7),
    ],
)
def test_widths(text: str, least: int, most: int) -> None:
    assert least <= text_width(text) <= most


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("condition", WORDS)
def test_white_text_can_be_read_on_every_colour(condition: str) -> None:
    picture = draw("label", condition, WORDS[condition]).decode()
    grounds = re.findall(r'height="20" fill="(#[0-9a-f]{6})"', picture)
    assert len(grounds) == 2
    for ground in grounds:
        assert 1.05 / (luminance(ground) + 0.05) >= 4.5


def test_a_badge_says_it_in_words_too() -> None:
    picture = ET.fromstring(draw('a "b" & <c>', "FAIL", "failing"))
    assert picture.attrib["role"] == "img"
    assert picture.attrib["aria-label"] == 'a "b" & <c>: failing'
    assert picture.findtext(f"{SVG}title") == 'a "b" & <c>: failing'


def test_each_state_has_a_shape_of_its_own() -> None:
    shapes = {draw("x", one, "x").partition(b"</g>")[2].partition(b"<g ")[0] for one in WORDS}
    assert len(shapes) == len(WORDS)
