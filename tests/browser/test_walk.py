"""A morning with the dashboard: from the first report to a deleted server, page after page.

One test, since each step stands on those before it; what the parts do in detail has its own tests.
"""

from __future__ import annotations

import json
import re
import shlex

from playwright.sync_api import Locator, Page, expect
from support.browser import CONNECTION_LOST, Complaints, NewPage, OpenPage
from support.http_client import STATUS, Client, Reply
from support.monitor import Monitor

SECTIONS = """
[alert:chat]
command=sh -c cat

[alert:sms]
command=sh -c 'cat >/dev/null; echo no credit left; exit 1'
retry-for=1s
"""

FULL = "/ 98.2% used|'/'=98.2%;85;95;0;100 inodes=61%;90;95;0;100"


def test_a_morning(
    monitor: Monitor, new_page: NewPage, open_page: OpenPage, complaints: Complaints
) -> None:
    wall = new_page(viewport={"width": 1920, "height": 1080})
    open_page("", wall)
    the_empty_page_teaches(wall, monitor.client)
    open_page("?kiosk=1", wall)
    reports_appear(wall, monitor)
    desk = new_page()
    open_page("", desk)
    a_problem_comes_to_the_top(desk, wall, monitor)
    its_page_tells_all(desk, monitor)
    acknowledge_it(desk, wall)
    silence_it(desk)
    rename_it(desk)
    look_at_the_alerts(desk)
    accept_a_new_key(desk, monitor)
    choose_the_dark(desk)
    take_the_phone(new_page, open_page)
    the_server_goes_and_comes(desk, monitor, complaints)
    it_recovers(desk, wall, monitor)
    delete_the_server(desk, wall)


def row(page: Page, service: str) -> Locator:
    link = page.get_by_role("link", name=service, exact=True)
    return page.locator(".services tbody tr", has=link)


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
    expect(page).to_have_title(re.compile(name))
    page.wait_for_selector("html[data-ready]", state="attached")


def the_empty_page_teaches(page: Page, client: Client) -> None:
    """What stands there can be copied and works."""
    expect(page.locator("main")).to_contain_text("Nothing reports here yet")
    [curl] = [text for text in page.locator("code").all_inner_texts() if text.startswith("curl")]
    command, url, option, body = shlex.split(curl)
    assert (command, option) == ("curl", "-d")
    assert url.endswith(STATUS)
    assert client.post(STATUS, body.replace("KEY", "1234")).status == 200
    expect(page.get_by_role("link", name=json.loads(body)["server"]["name"])).to_be_visible()


def reports_appear(page: Page, monitor: Monitor) -> None:
    for value in (41, 42, 43):
        monitor.report("db1", "disk", "OK", f"/ {value}% used|'/'={value}%;85;95;0;100")
    monitor.report("db1", "load", "OK", "load 0.4|load1=0.4;5;10")
    expect(page.locator(".servers").get_by_role("link", name="db1", exact=True)).to_be_visible()


def a_problem_comes_to_the_top(desk: Page, wall: Page, monitor: Monitor) -> None:
    monitor.report("db1", "load", "WARN", "load 6.1|load1=6.1;5;10")
    expect(row(wall, "load")).to_be_visible()
    monitor.report("db1", "disk", "FAIL", FULL)
    for page in (desk, wall):
        expect(page.locator(".services tbody tr").first).to_contain_text("disk")
        expect(page).to_have_title(re.compile(r"^\(2\) "))
        expect(row(page, "disk")).not_to_contain_text("'/'=")
    row(desk, "disk").get_by_role("link", name="disk", exact=True).click()


def its_page_tells_all(page: Page, monitor: Monitor) -> None:
    expect(page.get_by_role("heading", name="disk", level=1)).to_be_visible()
    page.wait_for_selector("html[data-ready]", state="attached")
    main = page.locator("main")
    for words in ("FAIL", "98.2% used", "every 1 h", "no credit left", "OK or WARN", "curl "):
        expect(main).to_contain_text(words)
    graph = page.locator("figure", has_text="inodes").locator("canvas, svg").first
    graph.scroll_into_view_if_needed()
    box = graph.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) > 60
    monitor.report("db1", "disk", "FAIL", FULL.replace("98.2", "98.9"))
    expect(main).to_contain_text("98.9% used")


def acknowledge_it(desk: Page, wall: Page) -> None:
    desk.get_by_text("Acknowledge …").click()
    desk.get_by_label("Reason").locator("visible=true").fill("a new disk comes")
    desk.get_by_label("Your name").locator("visible=true").fill("ann")
    desk.get_by_role("button", name="Acknowledge").click()
    expect(desk.locator("#toasts")).to_contain_text("Acknowledged")
    expect(desk.locator("main")).to_contain_text("a new disk comes")
    expect(row(wall, "disk")).to_contain_text("ann")
    expect(wall).to_have_title(re.compile(r"^\(1\) "))


def silence_it(page: Page) -> None:
    page.get_by_text("Silence …").click()
    page.locator("#silence-form").get_by_label("Reason").fill("it is swapped")
    page.locator("#silence-form").get_by_role("button", name="Silence").click()
    expect(page.locator("#toasts")).to_contain_text("Silenced")
    go(page, "Silences")
    silence = page.locator("tr", has_text="it is swapped")
    expect(silence).to_contain_text("disk")
    silence.locator("button", has_text="End it now").click()
    expect(page.locator("button", has_text="End it now")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("it is swapped")


def rename_it(page: Page) -> None:
    go(page, "Services")
    page.get_by_role("link", name="disk", exact=True).first.click()
    page.wait_for_selector("html[data-ready]", state="attached")
    page.get_by_text("Rename …").click()
    page.get_by_label("Title").fill("root disk")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="root disk", level=1)).to_be_visible()
    page.locator("#toasts").get_by_role("button", name="Undo").first.click()
    expect(page.get_by_role("heading", name="disk", exact=True, level=1)).to_be_visible()


def look_at_the_alerts(page: Page) -> None:
    go(page, "Alerts")
    alert = page.locator("tr", has_text="98.2% used").first
    for words in ("FAIL", "chat sent", "sms undelivered", "no credit left"):
        expect(alert).to_contain_text(words)
    expect(page.locator("#banners")).to_contain_text("sms")


def accept_a_new_key(page: Page, monitor: Monitor) -> None:
    again = {"server": {"name": "db1", "key": "made anew"}}
    refused: Reply = monitor.client.post("/api/ping", again)
    assert refused.status == 403
    expect(page.locator("#banners")).to_contain_text("db1 reports with another key")
    page.locator("#banners a[href*=settings]").click()
    page.get_by_role("button", name="Accept the new key").click()
    expect(page.get_by_role("button", name="Accept the new key")).to_have_count(0)
    assert monitor.client.post("/api/ping", again).status == 200
    expect(page.locator("#banners")).not_to_contain_text("another key")


def choose_the_dark(page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    theme = page.get_by_role("button", name=re.compile("^Theme"))
    for _ in range(3):
        if (page.evaluate("document.documentElement.dataset.theme") or "") == "dark":
            break
        theme.click()
    assert background() != light
    dark = background()
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert background() == dark


def take_the_phone(new_page: NewPage, open_page: OpenPage) -> None:
    phone = new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    open_page("", phone)
    expect(row(phone, "disk")).to_be_visible()
    for name in ("Services", "Alerts", "Silences", "Settings", "Overview"):
        go(phone, name)
    row(phone, "load").get_by_role("link", name="load", exact=True).tap()
    expect(phone.get_by_role("heading", name="load", level=1)).to_be_visible()
    phone.context.close()


def the_server_goes_and_comes(page: Page, monitor: Monitor, complaints: Complaints) -> None:
    go(page, "Overview")
    complaints.expect(CONNECTION_LOST)
    monitor.stop()
    expect(page.locator("#lost")).to_be_visible()
    monitor.start()
    expect(page.locator("#lost")).to_be_hidden()
    monitor.report("db2", "swap", "FAIL", "nothing is left")
    expect(row(page, "swap")).to_contain_text("nothing is left")


def it_recovers(desk: Page, wall: Page, monitor: Monitor) -> None:
    identity = {"name": "db1", "key": "made anew"}
    well = [{"name": "load", "state": "OK"}, {"name": "disk", "state": "OK", "info": "/ 12% used"}]
    monitor.post(STATUS, {"server": identity, "period": 3600, "services": well})
    for page in (desk, wall):
        expect(row(page, "disk")).to_have_count(0)
        expect(page).to_have_title(re.compile(r"^\(1\) "))


def delete_the_server(desk: Page, wall: Page) -> None:
    desk.locator(".servers").get_by_role("link", name="db2", exact=True).click()
    desk.wait_for_selector("html[data-ready]", state="attached")
    desk.get_by_text("Delete …").click()
    expect(desk.get_by_role("listitem").filter(has_text="1 service")).to_be_visible()
    desk.get_by_role("button", name="Delete server").click()
    expect(wall.get_by_role("link", name="db2", exact=True)).to_have_count(0)
    expect(wall).not_to_have_title(re.compile(r"^\("))
