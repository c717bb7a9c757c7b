"""What holds for every page, full of hostile names: accessible, fits a phone, text stays text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Dialog, Page, expect
from support.browser import Accessible, Complaints, NewPage, OpenPage
from support.http_client import Json, a_service
from support.monitor import Monitor

OVERC = ("badges=*",)
SECTIONS = """
[alert:broken]
command=sh -c 'cat >/dev/null; echo "<b>no</b> \u202e way"; exit 1'
retry-for=1s

[page:all]
title=All of it
servers=*

[maintenance:sundays]
calendar=Sun 02:00
duration=1h
reason=<i>updates</i>
"""

MARKUP = "<img src=x onerror=alert(1)><b class=evil>x</b>"
SCRIPT = "</script><script>alert(2)</script>"
QUOTES = "\" onmouseover=\"alert(3)\" ' onfocus='alert(4)' autofocus='"
BIDI = "abc\u202egnp.exe\u2066\u200f"
BLANK = " \t\u2003 "
CONTROLS = "one\x1b[31m\x07\x7f two\u2028three\ttab\x01"
URL = "javascript:alert(5)"
TEMPLATE = "{{ 7 * 7 }}${7*7}{% raw %}"
LONG = "w" * 255
HUGE = "ab<c " * (64 * 1024 // 5)
UNICODE = "Серверная 🦉 e\u0301 日本"
PERFDATA = f"<i>ok</i>|'{MARKUP}'=3;5;9;0;10 {URL}=5s '=1 x=2%;80;90"

NAMES = {
    "markup": MARKUP, "script": SCRIPT, "quotes": QUOTES, "bidi": BIDI, "blank": BLANK,
    "controls": CONTROLS, "url": URL, "template": TEMPLATE, "long": LONG, "unicode": UNICODE,
}  # fmt: skip
PLAIN = "web1"

SERVER = "<b class=evil>db</b> \u202e1"

WIDTHS = {390: 844, 1280: 800}

Path = Callable[[Monitor], str]

PAGES: dict[str, Path] = {
    "overview": lambda monitor: "",
    "services": lambda monitor: "services",
    "services filtered": lambda monitor: "services?q=a&state=FAIL",
    "server": lambda monitor: f"server/{monitor.server_id(SERVER)}",
    "service": lambda monitor: f"service/{monitor.service_id(SERVER, MARKUP)}",
    "service without a name": lambda monitor: f"service/{monitor.service_id(SERVER, BLANK)}",
    "service with graphs": lambda monitor: f"service/{monitor.service_id(PLAIN, 'graphs')}",
    "huge info": lambda monitor: f"service/{monitor.service_id(PLAIN, 'huge')}",
    "alerts": lambda monitor: "alerts",
    "silences": lambda monitor: "silences",
    "settings": lambda monitor: "settings",
    "delete a server": lambda monitor: f"server/{monitor.server_id(SERVER)}/delete",
    "nothing there": lambda monitor: "service/999999",
}

INJECTED = """() => [...document.querySelectorAll(
    '.evil, img[onerror], [onmouseover], [onfocus], [autofocus], script:not([src])')]
  .map((one) => one.outerHTML.slice(0, 200))"""

# Text that could turn the words around it has to stand on its own.
UNBOUND = """() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!/[\\u202a-\\u202e\\u2066-\\u2069]/.test(text.data)) continue;
    let one = text.parentElement;
    while (one && one !== document.body
        && !/isolate|plaintext/.test(getComputedStyle(one).unicodeBidi)) one = one.parentElement;
    if (!one || one === document.body) found.push(text.parentElement.outerHTML.slice(0, 200));
  }
  return found;
}"""

# What makes a page wider than the window.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [`${document.documentElement.scrollWidth} px`, ...[...document.body.querySelectorAll("*")]
    .filter((one) => one.getBoundingClientRect().right > width + 1)
    .slice(0, 8).map((one) => one.cloneNode(false).outerHTML.slice(0, 120))];
}"""


def hostile_services() -> list[Json]:
    states = ["FAIL", "WARN", "UNK", "OK"]
    return [
        a_service(name, states[at % 4], f"{name} {SCRIPT}\n{MARKUP}", period=3600)
        for at, name in enumerate(NAMES.values())
    ]


@pytest.fixture(scope="module")
def full(monitor: Monitor) -> Monitor:
    """A server on which everything that people and programs can name has a hostile name."""
    monitor.reports([(SERVER, one) for one in hostile_services()])
    monitor.report(PLAIN, "huge", "FAIL", HUGE)
    for value in range(3):
        monitor.report(PLAIN, "graphs", "OK", PERFDATA.replace("=3", f"={value}"))
    monitor.alert(SERVER, f"{MARKUP} {BIDI}\n{HUGE}", MARKUP)
    monitor.client.post("/api/ping", {"server": {"name": SERVER, "key": "another one"}})
    acked = {"server": SERVER, "service": MARKUP, "author": MARKUP, "reason": f"{SCRIPT} {BIDI}"}
    monitor.post("/ui/api/ack", acked)
    for services in (MARKUP[:200], "*"):
        monitor.post("/ui/api/silences", {
            "servers": "no-such*", "services": services, "for": "1h", "author": BIDI,
            "reason": f"{QUOTES} {MARKUP}",
        })  # fmt: skip
    return monitor


@pytest.fixture
def calm(full: Monitor, new_page: NewPage, complaints: Complaints) -> Iterator[Page]:
    """A page on which no script of a name may open a dialog."""
    opened: list[str] = []
    page = new_page(reduced_motion="reduce")

    def refuse(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    yield page
    assert opened == []


def open_one(
    name: str, full: Monitor, calm: Page, open_page: OpenPage, complaints: Complaints
) -> None:
    if name == "nothing there":
        complaints.expect("status of 404")
    open_page(PAGES[name](full), calm)


@pytest.mark.parametrize("name", PAGES)
def test_it_is_accessible_and_fits_in_light_and_dark(
    name: str,
    full: Monitor,
    calm: Page,
    open_page: OpenPage,
    complaints: Complaints,
    accessible: Accessible,
) -> None:
    open_one(name, full, calm, open_page, complaints)
    for width, height in WIDTHS.items():
        calm.set_viewport_size({"width": width, "height": height})
        assert calm.evaluate(TOO_WIDE) == [], f"it scrolls sideways at {width} px"
        for scheme in ("light", "dark"):
            calm.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            accessible(calm)
    calm.set_viewport_size({"width": 320, "height": 640})
    assert calm.evaluate(TOO_WIDE) == [], "it scrolls sideways at 320 px"


@pytest.mark.parametrize("name", PAGES)
def test_names_and_infos_stay_text(
    name: str, full: Monitor, calm: Page, open_page: OpenPage, complaints: Complaints
) -> None:
    open_one(name, full, calm, open_page, complaints)
    assert calm.evaluate(INJECTED) == []
    assert calm.evaluate(UNBOUND) == []
    title = calm.title()
    assert not any("\u202a" <= one <= "\u202e" or "\u2066" <= one <= "\u2069" for one in title)
    links = calm.eval_on_selector_all("a[href]", "(all) => all.map((one) => one.protocol)")
    assert set(links) <= {"http:"}


def test_every_name_can_be_read_and_opened(full: Monitor, calm: Page, open_page: OpenPage) -> None:
    open_page(f"server/{full.server_id(SERVER)}", calm)
    for name in (MARKUP, SCRIPT, QUOTES, URL, TEMPLATE, LONG[:60], UNICODE):
        expect(calm.get_by_role("link", name=name).first).to_be_visible()
    calm.get_by_role("link", name="(blank)").first.click()
    expect(calm.locator("h1")).to_contain_text("(blank)")
    calm.wait_for_selector("html[data-ready]", state="attached")


@pytest.mark.parametrize("path", ["", "services"])
def test_without_scripts_the_states_show(path: str, full: Monitor, new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{full.url}ui/{path}")
    main = page.locator("main")
    for words in ("FAIL", "WARN", "UNK", MARKUP, "huge"):
        expect(main).to_contain_text(words)
    page.get_by_role("link", name="huge").first.click()
    expect(page.locator("h1")).to_contain_text("huge")
    expect(page.locator("main")).to_contain_text("FAIL")


def test_the_public_page_shows_text_as_text(
    full: Monitor, calm: Page, accessible: Accessible
) -> None:
    calm.goto(f"{full.url}status/all")
    expect(calm.locator("h1").first).to_contain_text("All of it")
    assert calm.evaluate(INJECTED) == []
    assert calm.evaluate(UNBOUND) == []
    accessible(calm)
    calm.set_viewport_size({"width": 390, "height": 844})
    assert calm.evaluate(TOO_WIDE) == []
    calm.emulate_media(color_scheme="dark")
    accessible(calm)


@pytest.mark.parametrize(
    "added, check",
    [
        ('<b class="evil">x</b>', INJECTED),
        ('<p onmouseover="x()">x</p>', INJECTED),
        ("<span>\u202egnp.exe</span>", UNBOUND),
        ('<svg width="3000" height="1"></svg>', TOO_WIDE),
    ],
)
def test_the_checks_find_what_they_look_for(
    added: str, check: str, full: Monitor, calm: Page, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expect("Content Security Policy")
    open_page("settings", calm)
    assert calm.evaluate(check) == []
    calm.evaluate("(html) => document.body.insertAdjacentHTML('beforeend', html)", added)
    assert len(calm.evaluate(check)) > 0
