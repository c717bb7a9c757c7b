"""Screens of other kinds: the colours that a system forces, and the screen on the wall."""

from __future__ import annotations

import re
from itertools import combinations

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import NewPage, OpenPage
from support.contrast import contrast
from support.monitor import Monitor

SHAPE_RATIO = 3.0
"""WCAG 2.2 AA: of what has to be seen, and is no text."""

STATES = ("OK", "WARN", "FAIL", "UNK")

WAKE_LOCK = """
window.asked = [];
Object.defineProperty(navigator, "wakeLock", {value: {request: async (kind) => {
  asked.push(kind);
  if (!ANSWERS) throw new DOMException("the battery is low", "NotAllowedError");
}}});
window.see = (isSeen) => {
  Object.defineProperty(document, "hidden", {value: !isSeen, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
};
"""


@pytest.fixture(scope="module", autouse=True)
def populated(monitor: Monitor) -> None:
    for state in STATES:
        monitor.report("web1", state, state, "so it is | load=3;5;9")
    acked = {"service_id": monitor.service_id("web1", "WARN"), "reason": "mine"}
    monitor.post("/ui/api/ack", acked)


def style(found: Locator, name: str) -> str:
    return str(found.evaluate("(one, name) => getComputedStyle(one)[name]", name))


def ratio(one: str, other: str) -> float:
    return contrast(
        *([int(part) for part in re.findall(r"\d+", colour)[:3]] for colour in (one, other))
    )


@pytest.fixture(params=["light", "dark"])
def forced(request: pytest.FixtureRequest, new_page: NewPage) -> Page:
    """A page whose colours the system decides, and a theme that was chosen before."""
    page = new_page(forced_colors="active", color_scheme=request.param)
    other = {"light": "dark", "dark": "light"}[request.param]
    page.add_init_script(f"localStorage.setItem('overc:theme', '{other}')")
    return page


def test_forced_colours_tell_where_one_is(open_page: OpenPage, forced: Page) -> None:
    page = open_page("services?state=FAIL", forced)
    ground = style(page.locator("body"), "backgroundColor")
    for name in ("Overview", "Alerts"):
        link = page.locator("header nav").get_by_role("link", name=name)
        assert style(link, "borderBottomColor") == style(link, "borderTopColor") == ground
    assert style(page.locator("header nav [aria-current]"), "borderBottomColor") != ground
    assert style(page.locator(".counts [aria-current]"), "outlineStyle") == "solid"
    assert style(page.locator(".counts a:not([aria-current])").first, "outlineStyle") == "none"
    open_page("services", page)
    page.keyboard.press("j")
    page.keyboard.press("j")
    cursor = page.locator(".rows.live tbody tr[tabindex='0']")
    expect(cursor).to_be_focused()
    assert style(cursor, "outlineStyle") == "solid"
    row = page.locator(".rows.live tbody tr[tabindex='-1']").first
    assert style(row, "outlineStyle") == "none"
    pressed = page.locator(".act[aria-pressed='true']")
    assert style(pressed, "backgroundColor") != ground


def test_forced_colours_leave_states_apart(open_page: OpenPage, forced: Page) -> None:
    page = open_page("", forced)
    ground = style(page.locator("body"), "backgroundColor")
    for state in STATES:
        dot = page.locator(f".servers .dot.{state.lower()}")
        assert ratio(style(dot, "color"), ground) >= SHAPE_RATIO
    # What a graph is painted with.
    tokens = ["--line", "--line-1", "--warn", "--fail"]
    colours = page.evaluate(
        "tokens => import('./static/look.js').then(({ colour }) => tokens.map(colour))", tokens
    )
    assert len(set(colours)) == len(tokens)
    assert all(ratio(colour, ground) >= SHAPE_RATIO for colour in colours[1:])
    open_page(f"service/{page.locator('.servers .dot').first.evaluate(ID)}", page)
    dashes = [page.locator(f".graph-legend .{kind} .dash") for kind in ("warn", "crit")]
    for one, other in combinations(dashes, 2):
        assert style(one, "borderTopColor") != style(other, "borderTopColor")


ID = "dot => dot.closest('a').href.split('/').at(-1)"


def asked(page: Page) -> int:
    kinds: list[str] = page.evaluate("asked")
    assert set(kinds) <= {"screen"}
    return len(kinds)


@pytest.mark.parametrize("answers", ["true", "false"])
def test_a_screen_on_the_wall_stays_awake(answers: str, open_page: OpenPage, page: Page) -> None:
    page.add_init_script(WAKE_LOCK.replace("ANSWERS", answers))
    open_page("alerts", page)
    assert asked(page) == 0
    # Where it is refused, the page goes on without a complaint.
    open_page("alerts?kiosk=1", page)
    assert asked(page) == 1
    # A page that is not seen loses it, and may not ask for it.
    page.evaluate("see(false)")
    assert asked(page) == 1
    page.evaluate("see(true)")
    assert asked(page) == 2


def test_a_browser_that_can_t_keep_a_screen_awake(open_page: OpenPage, page: Page) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'wakeLock', {value: undefined})")
    open_page("alerts?kiosk=1", page)
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
