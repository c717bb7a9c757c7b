"""The overview as few rows: dead hosts, what is taken care of, servers where all is well."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect
from support.browser import Complaints, OpenPage
from support.daemon import eventually
from support.http_client import a_service
from support.monitor import Monitor


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """A server that no other test uses, since all tests here share one database."""
    return f"host{zlib.crc32(request.node.name.encode())}"


def shown(page: Page) -> list[str]:
    """Return the rows that a page shows, in their order, as they say it."""
    found = page.locator("#live tbody tr:not(.space)").evaluate_all(
        "all => all.map(one => [one.id, ...[...one.cells]"
        ".filter(cell => !cell.matches('.acts, .pick, .when'))"
        ".map(cell => cell.textContent.replace(/\\s+/g, '').replace(/\\d+(s|min)ago/, '...'))]"
        ".map(text => text.trim()).join('; '))"
    )
    return [str(one) for one in found]


def trouble(monitor: Monitor, server: str) -> None:
    """Report one of each, of which some are taken care of, and a dead host."""
    monitor.reports([(f"{server}-dead", a_service(f"s{n}", period=1)) for n in range(4)])
    monitor.reports([(f"{server}-half", a_service(f"s{n}", period=1)) for n in range(2)])
    states = ["OK", "UNK", "WARN", "FAIL"]
    for host in ("web10", "web9"):
        many = [a_service(f"{state} {n}", state) for state in states for n in range(2)]
        monitor.reports([(f"{server}-{host}", one) for one in many])
        for name in ("WARN 0", "FAIL 1"):
            acknowledge(monitor, f"{server}-{host}", name)

    def fell() -> bool:
        found = monitor.client.servers()
        return all(
            one["state"]["timed_out"]
            for host in ("dead", "half")
            for one in found[f"{server}-{host}"]["services"]
        )

    eventually(fell, "they are late")


def acknowledge(monitor: Monitor, server: str, service: str) -> None:
    service_id = monitor.service_id(server, service)
    monitor.post("/ui/api/ack", {"service_id": service_id, "author": "ann", "reason": "mine"})


@pytest.mark.parametrize(
    "path", ["", "services", "services?state=attention", "services?state=cared"]
)
def test_rows_and_their_order_are_those_of_the_server(
    path: str, monitor: Monitor, open_page: OpenPage,
    new_page: Callable[..., Page], complaints: Complaints, server: str,
) -> None:  # fmt: skip
    trouble(monitor, server)
    complaints.expect("ERR_FAILED")
    size = {"width": 1700, "height": 6000}
    plain = new_page(viewport=size)
    plain.route("**/static/lists.js", lambda route: route.abort())
    pages = [open_page(path, page) for page in (plain, new_page(viewport=size))]
    expect(pages[1].locator("[data-key]").first).to_be_attached()
    rendered, live = map(shown, pages)
    assert len(live) >= 4
    # The server cuts what is long into pages.
    assert rendered == (live[: len(rendered)] if path.startswith("services") else live)
    counts = [page.locator(".counts").inner_text() for page in pages]
    assert counts[0] == counts[1]


def test_a_dead_host_is_one_row_that_opens(
    monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    trouble(monitor, server)
    page = open_page()
    # Rows that are far out of view are not there.
    page.set_viewport_size({"width": 1280, "height": 3000})
    host = page.locator(".host", has=page.get_by_role("link", name=f"{server}-dead"))
    expect(host).to_contain_text("all 4 services")
    expect(page.locator(".host", has_text=f"{server}-half")).to_have_count(0)
    button = host.get_by_role("button", name="all 4 services", exact=True)
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".inner")).to_have_count(4)
    # By the keyboard: the row has the focus.
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator(".inner")).to_have_count(0)
    host.get_by_role("button", name="Silence the server").click()
    expect(page.get_by_role("dialog")).to_contain_text("Silence this server?")
    page.keyboard.press("Escape")
    host.get_by_role("button", name="Acknowledge").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Acknowledge 4 problems?")
    dialog.get_by_label("Reason").fill("it is off")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".toast")).to_contain_text("Acknowledged 4 problems.")
    page.mouse.move(5, 5)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    dead = page.locator(".host", has_text=f"{server}-dead")
    # It goes down to what somebody takes care of as soon as nobody is at work with the rows.
    expect(page.locator(".host:not(.cares ~ .host)", has_text=f"{server}-dead")).to_have_count(0)
    cares = page.get_by_role("button", name=re.compile("Taken care of"))
    if cares.get_attribute("aria-expanded") == "false":
        cares.click()
    expect(dead).to_have_class(re.compile("cared"))
    page.get_by_role("button", name="Undo").click()


def test_a_server_is_silenced(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    trouble(monitor, server)
    page = open_page()
    host = page.locator(".host", has=page.get_by_role("link", name=f"{server}-dead"))
    host.get_by_role("button", name="Silence the server").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("it is off")
    dialog.get_by_role("button", name="Silence").click()
    expect(page.locator(".toast")).to_contain_text(f"Silenced {server}-dead.")
    (found,) = [one for one in _silences(monitor) if one["servers"] == f"{server}-dead"]
    assert (found["services"], found["reason"]) == ("*", "it is off")


def test_servers_where_all_is_well_open_and_stay_open(
    monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    monitor.reports([(f"{server}-{n}", a_service("disk")) for n in range(16)])
    page = open_page()
    rows = page.locator(".servers tbody tr", has_text=f"{server}-")
    more = page.get_by_role("button", name=re.compile("more servers, all well"))
    expect(more).to_have_attribute("aria-expanded", "false")
    assert rows.count() < 16
    more.click()
    expect(page.get_by_role("button", name="Fold the servers")).to_be_visible()
    page.reload()
    fold = page.get_by_role("button", name="Fold the servers")
    expect(fold).to_be_visible()
    fold.click()
    expect(more).to_be_visible()


@pytest.mark.parametrize("path", ["", "services"])
def test_who_may_only_look_has_nothing_to_press(
    path: str, monitor: Monitor, open_page: OpenPage, page: Page, server: str
) -> None:
    trouble(monitor, server)

    def look(route: Route) -> None:
        reply = route.fetch()
        body = reply.text().replace('data-can-change="yes"', 'data-can-change="no"')
        route.fulfill(response=reply, body=body)

    page.route(lambda url: url.rstrip("/").endswith(("/ui", "/services")), look)
    open_page(path, page)
    expect(page.locator("[data-key]").first).to_be_attached()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("a")
    page.keyboard.press("s")
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator("[data-act], #live input[type=checkbox], .acts, .pick")).to_have_count(0)


def _silences(monitor: Monitor) -> list[dict[str, str]]:
    found: list[dict[str, str]] = monitor.get_json("/ui/api/silences")["silences"]
    return found
