"""The pages of a service and of a server: timeline, graphs, range, live, from phone to wide."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import Accessible, NewPage, OpenPage
from support.http_client import Json, a_service
from support.monitor import Monitor

SECTIONS = """
[alert:broken]
command=sh -c 'cat >/dev/null; echo "the <b>gateway</b> is away"; exit 1'
retry-for=1s
"""

HOSTILE = "<img src=x onerror=alert(1)>\u202eb"
MINUTES = 180
GAP = range(60, 90)
FAILED = range(30, 40)


def of_minute(minute: int) -> Json | None:
    if minute in GAP:
        return None
    state = "FAIL" if minute in FAILED else "OK"
    value = 9 if state == "FAIL" else 1 + minute % 3
    info = (
        f"answered {value} | time={value * 100}ms;400;800 'mem'={value}MB;;;0;64"
        f" hits={(MINUTES - minute) * 60}c load1={value} load5={value}"
    )
    return a_service("http", state, info, period=60, time=time.time() - minute * 60)


@pytest.fixture(scope="module", autouse=True)
def reported(monitor: Monitor) -> None:
    states = [of_minute(minute) for minute in reversed(range(MINUTES))]
    body = {"server": {"name": "web1", "key": "1234"}, "period": 60}
    services = [one for one in states if one is not None]
    monitor.post(
        "/api/set/service/status", {**body, "services": services, "spool": "past", "seq": 1}
    )
    info = f"{HOSTILE} | '{HOSTILE}'=3;5;9 ' '=1"
    monitor.report("web1", HOSTILE, "FAIL", info)
    monitor.report("web1", HOSTILE, "FAIL", f"{info}\n{HOSTILE}")
    monitor.report("web1", "overc-agent", "OK", "OverC 2.3.4, 5 services | runs=5c")


def service_path(monitor: Monitor, service: str = "http", hours: int = 24) -> str:
    return f"service/{monitor.service_id('web1', service)}?hours={hours}"


def graphs(page: Page) -> Locator:
    return page.locator("#graphs .graph")


def painted(page: Page, place: int = 0) -> int:
    """Return how many pixels of a graph are not as the empty canvas is."""
    count = page.evaluate(
        """(place) => {
          const canvas = document.querySelectorAll("#graphs canvas")[place];
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          let count = 0;
          for (let at = 3; at < data.length; at += 4) count += data[at] > 0;
          return count;
        }""",
        place,
    )
    assert isinstance(count, int)
    return count


FIRST_CANVAS = 'document.querySelector("#graphs canvas").toDataURL()'


def test_the_graphs_are_drawn_with_numbers_on_hover(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor))
    titles = ["time", "mem", "hits", "Values"]
    expect(graphs(page).locator("h3")).to_have_text(titles)
    expect(graphs(page).nth(2).locator(".u-over")).to_be_visible()
    for place in range(len(titles)):
        assert painted(page, place) > 500
    expect(graphs(page).nth(0)).to_contain_text("warn 400 ms")
    expect(graphs(page).nth(0)).to_contain_text("crit 800 ms")
    # One series needs no legend, two do.
    expect(graphs(page).nth(0).locator(".swatch")).to_have_count(0)
    expect(graphs(page).nth(3).locator(".graph-legend")).to_contain_text("load1")
    plot = graphs(page).nth(1).locator(".u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 4, box["y"] + 40)
    tip = page.locator(".tip")
    expect(tip).to_be_visible()
    expect(tip).to_contain_text(re.compile(r"\d+ \w+, \d\d:\d\dmem\d(\.\d+)? MiB"))
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()


def test_the_figures_are_a_table_too(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor))
    page.get_by_text("The figures as a table").click()
    row = page.locator("#figures tr", has_text="time")
    expect(row.locator("td").nth(1)).to_have_text("100 ms")
    expect(row.locator("td").nth(3)).to_have_text("900 ms")


def test_graphs_follow_the_theme_and_the_width(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor))
    before = page.evaluate(FIRST_CANVAS)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(before) => {FIRST_CANVAS} !== before", arg=before)
    before = page.evaluate(FIRST_CANVAS)
    page.locator("#theme").click()
    page.wait_for_function(f"(before) => {FIRST_CANVAS} !== before", arg=before)
    page.set_viewport_size({"width": 900, "height": 800})
    page.wait_for_function(
        """() => [...document.querySelectorAll("#graphs .plot")].every((plot) =>
          Math.abs(plot.querySelector(".uplot").clientWidth - plot.clientWidth) < 2)"""
    )


def test_the_timeline_says_what_was_when(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor))
    strip = page.locator("#strip")
    expect(strip.locator("rect[data-at]")).to_have_count(96)
    assert strip.locator("rect.fail").count() in (1, 2)
    assert strip.locator("rect.gap").count() in (2, 3)
    assert strip.locator("rect.none").count() > 80
    expect(page.locator(".availability")).to_contain_text(re.compile(r"9\d\.\d+ % OK or WARN"))
    image = strip.locator("svg")
    expect(image).to_have_attribute("aria-label", re.compile(r"available\. FAIL for \d+ min, no "))
    strip.locator("rect.fail").first.scroll_into_view_if_needed()
    box = strip.locator("rect.fail").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(page.locator(".tip")).to_contain_text(re.compile(r"\d\d:\d\d – .*FAIL"))
    page.mouse.move(0, 0)
    # The same by the keyboard, and for ears.
    strip.focus()
    page.keyboard.press("End")
    expect(page.locator(".tip")).to_contain_text("OK")
    page.keyboard.press("Home")
    expect(page.locator("#said")).to_contain_text("nothing known")
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()


def test_one_range_for_the_whole_page(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor))
    for name, hours, ticks in (("7 days", 168, 84), ("90 days", 2160, 90)):
        page.get_by_role("link", name=name).click()
        expect(page).to_have_url(re.compile(f"hours={hours}#section-timeline"))
        expect(page.get_by_role("link", name=name)).to_have_attribute("aria-current", "true")
        expect(page.locator("#strip rect[data-at]")).to_have_count(ticks)
        expect(page.locator("#graphs")).to_have_attribute("data-source", re.compile(str(hours)))
        expect(page.locator("h2", has_text="History")).to_contain_text(name)
        expect(page.locator("#graphs canvas").first).to_be_visible()


def test_a_report_shows_at_once_and_the_graphs_live_on(
    monitor: Monitor, open_page: OpenPage
) -> None:
    page = open_page(service_path(monitor))
    page.evaluate("document.querySelector('#graphs canvas').dataset.mine = 'yes'")
    before = page.evaluate("performance.getEntriesByType('resource').length")
    monitor.report("web1", "http", "WARN", "slow | time=5000ms;400;800", period=60)
    expect(page.locator("#fact-state")).to_contain_text("WARN")
    expect(page.locator("#output")).to_contain_text("slow")
    expect(page.locator("#graphs canvas[data-mine]")).to_have_count(1)
    # It is fed anew: what came is drawn within the rest between two requests.
    page.wait_for_function(
        """(before) => performance.getEntriesByType("resource").slice(before)
          .some((one) => one.name.includes("api/graphs"))""",
        arg=before,
    )
    expect(page.locator("#graphs canvas").first).to_be_visible()
    monitor.report("web1", "http", "OK", "fine | time=100ms;400;800", period=60)
    expect(page.locator("#fact-state")).to_contain_text("OK")


def test_hostile_labels_and_infos_are_text(
    monitor: Monitor, open_page: OpenPage, accessible: Accessible
) -> None:
    page = open_page(service_path(monitor, HOSTILE))
    expect(graphs(page)).to_have_count(1)
    expect(graphs(page).locator(".graph-legend")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(graphs(page).locator(".graph-legend")).to_contain_text("(blank)")
    plot = graphs(page).locator(".u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
    expect(page.locator(".tip")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("main img, .tip img").count() == 0
    page.mouse.move(0, 0)
    accessible(page)


def test_the_delivery_log_has_the_plugins_words(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page(service_path(monitor, HOSTILE))
    log = page.locator("details.log").first
    expect(log).to_be_visible()
    log.locator("summary").click()
    line = log.locator("li").first
    expect(line).to_contain_text("broken")
    expect(line).to_contain_text("the <b>gateway</b> is away")


@pytest.mark.parametrize("width", [320, 390, 1280, 1920])
def test_it_fits(monitor: Monitor, open_page: OpenPage, new_page: NewPage, width: int) -> None:
    paths = [
        service_path(monitor),
        service_path(monitor, HOSTILE, 2160),
        f"server/{monitor.server_id('web1')}",
    ]
    page = new_page(viewport={"width": width, "height": 800})
    for path in paths:
        open_page(path, page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_server_shows_how_its_services_were(
    monitor: Monitor, open_page: OpenPage, accessible: Accessible
) -> None:
    page = open_page(f"server/{monitor.server_id('web1')}")
    expect(page.locator("#fact-agent")).to_contain_text("OverC 2.3.4")
    expect(page.locator("#fact-address")).to_contain_text("127.0.0.1")
    expect(page.locator("#fact-known")).to_be_visible()
    row = page.locator("tr", has=page.get_by_role("link", name="http", exact=True))
    strip = row.locator(".short-strip")
    expect(strip).to_have_attribute("aria-label", re.compile("Last 24 hours: .* available"))
    expect(row.locator(".share")).to_contain_text("%")
    box = strip.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 3, box["y"] + 10)
    expect(page.locator(".tip")).to_contain_text(re.compile(r"\d\d:\d\d – "))
    page.mouse.move(0, 0)
    accessible(page)


def test_without_scripts_all_of_it_can_be_read(monitor: Monitor, new_page: NewPage) -> None:
    page = new_page(java_script_enabled=False)
    page.goto(f"{monitor.url}ui/{service_path(monitor)}")
    expect(page.locator("#strip rect[data-at]")).to_have_count(96)
    assert "UTC: " in (page.locator("#strip title").last.text_content() or "")
    page.get_by_text("The figures as a table").click()
    expect(page.locator("#figures tr", has_text="time")).to_be_visible()
    expect(page.locator("#graphs")).to_be_hidden()


@pytest.mark.parametrize(
    "zone, day, words",
    [
        ("UTC", "2026-02-28", "Sat 28 Feb"),
        ("Europe/London", "2026-02-28", "Sat 28 Feb"),
        ("Europe/Berlin", "2026-02-28", "Sat 28 Feb, 01:00 – 1 Mar, 01:00"),
        ("America/New_York", "2026-02-28", "Fri 27 Feb, 19:00 – 28 Feb, 19:00"),
        ("Asia/Kolkata", "2026-02-28", "Sat 28 Feb, 05:30 – 1 Mar, 05:30"),
        # The clocks go forward on the day: it ends at one o'clock.
        ("Europe/London", "2026-03-29", "Sun 29 Mar, 00:00 – 30 Mar, 01:00"),
        ("Europe/London", "2026-10-25", "Sun 25 Oct, 01:00 – 26 Oct, 00:00"),
    ],
)
def test_a_day_of_utc_by_the_reader_s_clock(
    new_page: NewPage, open_page: OpenPage, zone: str, day: str, words: str
) -> None:
    page = new_page(timezone_id=zone)
    open_page("", page)
    said = page.evaluate(
        """async (day) => {
            const { spanText } = await import('./static/strips.js');
            const at = Date.parse(`${day}T00:00:00Z`) / 1000;
            return spanText(at, at + 86400);
        }""",
        day,
    )
    assert said == words
