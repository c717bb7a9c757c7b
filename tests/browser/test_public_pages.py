"""What people without a login see, and what those see who may only look."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from support.browser import Accessible, Complaints, NewPage, OpenPage
from support.monitor import Monitor

OVERC = ("ui-auth=admin:secret", "ui-readers=anna:looks", "badges=*")
SECTIONS = """
[page:shop]
title=Our shop
servers=web*
show-info=yes
"""

AGAIN = "document.dispatchEvent(new Event('visibilitychange'))"
"""What the page does by itself twice a minute."""

LOGIN = {"username": "anna", "password": "looks"}


@pytest.fixture(autouse=True)
def states(monitor: Monitor) -> None:
    monitor.client.headers = {}
    monitor.report("web1", "disk", "OK", "12 % used")
    monitor.report("web1", "queue", "OK", "7 items")
    monitor.report("db1", "vault", "FAIL", "nobody's business")


def status_page(monitor: Monitor, page: Page) -> Page:
    page.goto(f"{monitor.url}status/shop")
    return page


def test_a_status_page_keeps_itself_fresh(monitor: Monitor, page: Page) -> None:
    status_page(monitor, page)
    expect(page.locator(".sentence")).to_have_text("All systems work")
    expect(page).to_have_title("All systems work · Our shop")
    expect(page.locator("body")).not_to_contain_text("business")
    # By the reader's clock, not the server's.
    expect(page.locator(".zone")).to_have_count(0)
    monitor.report("web1", "queue", "FAIL", "7,000 items")
    page.wait_for_function(
        f"() => {{ {AGAIN}; return document.title === '1 problem · Our shop'; }}", polling=500
    )
    expect(page.locator("li.fail")).to_contain_text("7,000 items")
    expect(page.locator("li.fail .state")).to_contain_text("failing")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_status_page_is_accessible(
    monitor: Monitor, new_page: NewPage, accessible: Accessible, scheme: str, width: int
) -> None:
    page = status_page(
        monitor, new_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    )
    expect(page.locator(".group li")).to_have_count(2)
    accessible(page)
    sideways = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert page.evaluate(sideways) is False


def test_a_status_page_without_a_script(monitor: Monitor, new_page: NewPage) -> None:
    page = status_page(monitor, new_page(java_script_enabled=False))
    expect(page.locator("main")).to_contain_text("12 % used")
    expect(page.locator(".zone")).to_have_text("UTC")


@pytest.mark.parametrize("path", ["web1/disk.svg", "db1.svg", "nothing.svg"])
def test_a_badge_is_a_picture(
    monitor: Monitor, page: Page, complaints: Complaints, path: str
) -> None:
    if path == "nothing.svg":
        complaints.expect("404")
    # From a page of the same server: elsewhere a policy of that page's own counts.
    status_page(monitor, page)
    width = page.evaluate(
        """async address => {
            const picture = new Image();
            picture.src = address;
            await picture.decode();
            return picture.naturalWidth;
        }""",
        f"../badge/{path}",
    )
    assert 50 < width < 200


def test_who_may_only_look_is_offered_nothing_else(
    monitor: Monitor, new_page: NewPage, open_page: OpenPage
) -> None:
    page = new_page(http_credentials=LOGIN)
    open_page("", page)
    expect(page.locator("html")).to_have_attribute("data-can-change", "no")
    page.get_by_role("link", name="vault").first.click()
    expect(page.locator("h1")).to_have_text("vault")
    for path in ("services", "alerts", "silences", "settings"):
        open_page(path, page)
        expect(page.locator("html")).to_have_attribute("data-can-change", "no")
        expect(page.locator("form[method=post]")).to_have_count(0)
