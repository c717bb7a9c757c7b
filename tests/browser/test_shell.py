"""The shell of every page: theme, title, banners, keys, toasts, and how pages are renewed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from support.browser import CONNECTION_LOST, Complaints, NewPage, OpenPage
from support.monitor import Monitor

SECTIONS = "[alert:log]\ncommand=/bin/cat\n"

PAGES = ("", "services", "alerts", "silences", "settings", "server/1", "service/1")


@pytest.fixture(scope="module", autouse=True)
def populated(monitor: Monitor) -> None:
    monitor.report("web1", "disk", "OK", "all is well")
    monitor.report("web1", "http", "OK", "200")
    monitor.report("db1", "disk", "OK", "fine")


def background(page: Page) -> str:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert isinstance(colour, str)
    return colour


def test_the_theme_is_kept(open_page: OpenPage) -> None:
    page = open_page("alerts")
    light = background(page)
    switch = page.get_by_role("button", name="Theme")
    expect(switch).to_have_accessible_name("Theme: as the system has it")
    switch.click()
    expect(switch).to_have_accessible_name("Theme: light")
    assert background(page) == light
    switch.click()
    expect(switch).to_have_accessible_name("Theme: dark")
    dark = background(page)
    assert dark != light
    # Another page has it before its first paint, without the modules.
    page.route("**/overc.js", lambda route: route.fulfill(content_type="text/javascript"))
    page.goto(page.url.replace("alerts", "silences"), wait_until="commit")
    page.wait_for_selector("body", state="attached")
    assert background(page) == dark
    page.unroute("**/overc.js")
    open_page("services", page)
    expect(switch).to_have_accessible_name("Theme: dark")
    switch.click()
    assert background(page) == light


def test_title_and_icon_count_the_problems(open_page: OpenPage, monitor: Monitor) -> None:
    page = open_page("silences")
    icon = page.locator('link[rel="icon"]')
    expect(page).to_have_title("Silences · OverC")
    expect(icon).to_have_attribute("href", re.compile(r"/icon\.svg$"))
    monitor.report("web1", "http", "FAIL", "500")
    expect(page).to_have_title("(1) Silences · OverC")
    expect(icon).to_have_attribute("href", re.compile(r"/icon-1\.svg$"))
    expect(page.locator("#said")).to_have_text("1 problem needs attention.")
    # A problem that somebody has taken on needs nobody else.
    service_id = monitor.service_id("web1", "http")
    monitor.post("/ui/api/ack", {"service_id": service_id, "reason": "on it"})
    expect(page).to_have_title("Silences · OverC")
    monitor.report("web1", "http", "OK", "200")
    for name in ("icon.svg", "icon-1.svg", "icon-many.svg"):
        assert page.request.get(f"{monitor.url}ui/static/{name}").ok


def test_title_and_icon_are_right_from_the_first_paint(
    new_page: NewPage, open_page: OpenPage, monitor: Monitor, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    monitor.report("(1) rack", "power", "FAIL", "cut")
    path = f"server/{monitor.server_id('(1) rack')}"
    plain, deaf = new_page(java_script_enabled=False), new_page()
    plain.goto(f"{monitor.url}ui/{path}")
    deaf.route("**/api/live?*", lambda route: route.abort())
    open_page(path, deaf)
    for page in (plain, deaf):
        expect(page).to_have_title("(1) (1) rack · OverC")
        icon = page.locator('link[rel="icon"]')
        expect(icon).to_have_attribute("href", re.compile(r"/icon-1\.svg$"))
    # Also where nothing else on the page is about services.
    monitor.report("(1) rack", "fan", "WARN", "slow")
    plain.goto(f"{monitor.url}ui/settings")
    expect(plain).to_have_title("(2) Settings · OverC")
    monitor.report("(1) rack", "fan", "OK", "fast")
    # A page that is renewed is not counted twice, and the number goes when the problem does.
    deaf.unroute("**/api/live?*")
    monitor.report("(1) rack", "power", "FAIL", "cut for good")
    expect(deaf.locator("main")).to_contain_text("cut for good")
    expect(deaf).to_have_title("(1) (1) rack · OverC")
    monitor.report("(1) rack", "power", "OK", "on")
    expect(deaf).to_have_title("(1) rack · OverC")
    expect(deaf.locator('link[rel="icon"]')).to_have_attribute("href", re.compile(r"/icon\.svg$"))


def test_the_title_counts_where_no_events_come(
    open_page: OpenPage, page: Page, monitor: Monitor
) -> None:
    page.add_init_script("delete window.EventSource")
    page.clock.install()
    open_page("silences", page)
    expect(page).to_have_title("Silences · OverC")
    monitor.report("rack2", "power", "FAIL", "cut")
    # It is fetched anew at times.
    page.clock.run_for(31_000)
    expect(page).to_have_title("(1) Silences · OverC")
    monitor.report("rack2", "power", "OK", "on")


def test_a_broken_connection(open_page: OpenPage, monitor: Monitor, complaints: Complaints) -> None:
    complaints.expect(CONNECTION_LOST)
    page = open_page("alerts")
    lost = page.locator("#lost")
    expect(lost).to_be_hidden()
    monitor.stop()
    expect(lost).to_be_visible()
    expect(lost).to_contain_text("The server does not answer. What you see is from")
    monitor.start()
    expect(lost).to_be_hidden()
    # And what came meanwhile is there.
    monitor.alert("web1", "the roof is hot")
    expect(page.get_by_text("the roof is hot")).to_be_visible()


def test_keys(open_page: OpenPage) -> None:
    page = open_page("alerts")
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text("undo what was just done")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.keyboard.press("/")
    search = page.locator("[data-search]")
    expect(search).to_be_focused()
    # While typing no key means anything else.
    page.keyboard.type("g?su")
    expect(search).to_have_value("g?su")
    expect(dialog).to_be_hidden()
    page.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("i")
    expect(page).to_have_title(re.compile("Silences"))
    page.get_by_role("button", name="Keys").click()
    expect(dialog).to_be_visible()


def test_a_page_is_renewed_around_those_who_use_it(open_page: OpenPage, monitor: Monitor) -> None:
    page = open_page("silences")
    reason = page.get_by_label("Reason")
    reason.fill("new disks")
    page.evaluate("window.kept = document.getElementById('s-reason')")
    monitor.post("/ui/api/silences", {"servers": "db1", "for": "1h", "reason": "from afar"})
    expect(page.get_by_text("from afar")).to_be_visible()
    expect(reason).to_be_focused()
    expect(reason).to_have_value("new disks")
    assert page.evaluate("window.kept === document.getElementById('s-reason')")
    page.keyboard.type(" and more")
    expect(reason).to_have_value("new disks and more")


def test_silence_and_undo(open_page: OpenPage, monitor: Monitor) -> None:
    page = open_page("silences?servers=web1")
    expect(page.locator("#s-preview")).to_contain_text("Matches 2 services on 1 server")
    page.get_by_label("Services", exact=True).fill("http")
    expect(page.locator("#s-preview")).to_contain_text("Matches 1 service on 1 server: web1 / http")
    page.get_by_label("Reason").fill("deploy")
    page.get_by_role("button", name="Silence", exact=True).click()
    row = page.locator("tr", has_text="deploy")
    expect(row).to_contain_text("1 service on 1 server")
    toast = page.locator(".toast")
    expect(toast).to_contain_text("keeps alerts back")
    page.keyboard.press("u")
    expect(page.locator("tr.ended", has_text="deploy")).to_be_visible()
    expect(toast).to_have_count(0)


def test_end_a_silence_and_take_that_back(open_page: OpenPage, monitor: Monitor) -> None:
    monitor.post("/ui/api/silences", {"servers": "w?b1", "for": "1h", "reason": "windy"})
    page = open_page("silences")
    running = page.locator("tr.running", has_text="windy")
    running.get_by_role("button", name="Extend").click()
    expect(page.locator(".toast")).to_contain_text("lasts 1 hour longer")
    expect(running).to_contain_text(re.compile("11[89] min left|2 h left"))
    page.get_by_role("button", name="Close this message").click()
    running.get_by_role("button", name="End it now").click()
    expect(page.locator("tr.ended", has_text="windy")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(running).to_have_count(1)


def test_a_toast_waits_for_who_reads_it(open_page: OpenPage) -> None:
    page = open_page("alerts")
    page.clock.install()
    page.evaluate(
        "import('./static/toast.js').then(({ toast }) => toast('Done.', { undo: async () => {} }))"
    )
    toast = page.locator(".toast")
    toast.hover()
    page.clock.run_for(60_000)
    expect(toast).to_be_visible()
    # By the keyboard too.
    page.get_by_role("button", name="Undo").focus()
    page.mouse.move(5, 5)
    page.clock.run_for(60_000)
    expect(toast).to_be_visible()
    page.locator("#main").focus()
    page.clock.run_for(60_000)
    expect(toast).to_have_count(0)


def test_filters_are_obeyed_at_once(open_page: OpenPage, monitor: Monitor) -> None:
    monitor.alert("web1", "from the first")
    monitor.alert("db1", "from the second")
    page = open_page("alerts")
    page.get_by_label("Server").fill("db")
    expect(page.get_by_text("from the first")).to_have_count(0)
    expect(page.get_by_text("from the second")).to_be_visible()
    assert "server=db" in page.url
    page.get_by_label("Outcome").select_option("nobody")
    expect(page.locator("main").get_by_text("No alert like this")).to_be_visible()
    open_page(page.url.partition("/ui/")[2], page)
    expect(page.get_by_label("Server")).to_have_value("db")
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_text("from the first")).to_be_visible()


def test_times_are_the_viewer_s(open_page: OpenPage, monitor: Monitor) -> None:
    monitor.alert("web1", "what time is it")
    page = open_page("alerts")
    row = page.locator("tr", has_text="what time is it")
    shown = row.locator("time").first
    expect(page.get_by_role("columnheader", name="Time (local)")).to_be_visible()
    # The context is in Berlin: an hour or two ahead.
    utc = shown.get_attribute("datetime")
    assert utc is not None
    assert shown.inner_text() != utc[:19].replace("T", " ")
    expect(shown).to_have_attribute("title", re.compile(re.escape(utc[:19].replace("T", " "))))
    ago = row.locator("time.span")
    page.clock.install()
    page.clock.run_for(2_000)
    page.clock.fast_forward("05:00")
    expect(ago).to_have_text("5 min ago")


def test_words_of_spans_are_those_of_the_server(open_page: OpenPage) -> None:
    from overc.web.words import span_words

    page = open_page("alerts")
    spans = [-5, 0, 1, 59, 119, 120, 3599, 7199, 7200, 86400, 172799, 172800, 9e6]
    said = page.evaluate(
        "async (spans) => { const { spanWords } = await import('./static/times.js');"
        " return spans.map(spanWords); }",
        spans,
    )
    assert said == [span_words(span_s) for span_s in spans]


def test_a_screen_on_the_wall(open_page: OpenPage, monitor: Monitor) -> None:
    page = open_page("alerts?kiosk=1")
    expect(page.locator("header")).to_be_hidden()
    expect(page.get_by_role("heading", name="Alerts")).to_be_visible()
    monitor.alert("web1", "look up")
    expect(page.get_by_text("look up")).to_be_visible()
    page.get_by_role("link", name="web1").first.click()
    expect(page).to_have_url(re.compile(r"/server/\d+\?kiosk=1$"))
    expect(page.locator("header")).to_be_hidden()


@pytest.mark.parametrize("path", PAGES)
def test_on_paper(open_page: OpenPage, path: str) -> None:
    page = open_page(path)
    page.emulate_media(media="print", color_scheme="dark")
    expect(page.locator("header nav")).to_be_hidden()
    assert page.locator("main button:visible, main form:visible").count() == 0
    # Dark is for screens.
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_wider_than_the_screen(open_page: OpenPage, path: str) -> None:
    page = open_page(path)
    for width in (360, 1280, 2560):
        page.set_viewport_size({"width": width, "height": 800})
        room = page.evaluate(
            "document.documentElement.clientWidth - document.documentElement.scrollWidth"
        )
        assert room >= 0, width


def test_without_scripts(new_page: NewPage, monitor: Monitor) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{monitor.url}ui/alerts?server=db1")
    expect(page.get_by_role("button", name="Show")).to_be_visible()
    expect(page.get_by_role("button", name="Theme")).to_have_count(0)
    page.get_by_label("Event").select_option("FAIL")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No alert like this")).to_be_visible()
    page.goto(f"{monitor.url}ui/silences")
    page.get_by_label("Servers").fill("db*")
    page.get_by_label("Reason").fill("by hand")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.locator("tr:target")).to_contain_text("1 service on 1 server")


def test_pages_that_are_not_there(open_page: OpenPage, complaints: Complaints) -> None:
    complaints.expect(r"the server responded with a status of 404")
    page = open_page("service/999")
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    page.get_by_role("link", name="To the overview").click()
    expect(page).to_have_title(re.compile("Overview"))
