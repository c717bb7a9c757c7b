"""What pages say while the server gives them no answer, and that they go on when it does."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect
from support.browser import Complaints, OpenPage
from support.monitor import Monitor

ROWS = "**/api/rows?*"
LOST = "document.addEventListener('overc:lost', () => document.documentElement.dataset.told = '')"


@pytest.fixture(scope="module", autouse=True)
def populated(monitor: Monitor) -> None:
    monitor.report("web1", "disk", "FAIL", "full")


def failing(page: Page, times: int) -> Callable[[Route], None]:
    """Return what ends so many requests without an answer, and lets others pass."""
    left = times

    def handle(route: Route) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            route.abort()
        else:
            route.continue_()

    return handle


@pytest.mark.parametrize("path", ["", "services"])
def test_a_list_that_can_t_be_loaded_says_so(
    path: str, monitor: Monitor, page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    page.route(ROWS, lambda route: route.abort())
    page.goto(f"{monitor.url}ui/{path}", wait_until="load")
    # What the server has rendered can be read meanwhile.
    expect(page.get_by_role("link", name="disk", exact=True)).to_be_visible()
    lost = page.locator("#lost")
    expect(lost).to_contain_text("The server does not answer. What you see is from")
    page.unroute(ROWS)
    expect(lost).to_be_hidden()
    monitor.report("web1", "disk", "FAIL", f"full again, {path or 'overview'}")
    expect(page.locator(".services")).to_contain_text(f"full again, {path or 'overview'}")


def test_a_short_break_is_not_told(
    monitor: Monitor, open_page: OpenPage, page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    page.add_init_script(LOST)
    page.route(ROWS, failing(page, 2))
    open_page("services", page)
    expect(page.locator(".services [data-act]").first).to_be_attached()
    expect(page.locator("html[data-told]")).to_have_count(0)


def test_a_list_that_is_refused_says_why(
    open_page: OpenPage, page: Page, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    page.route(ROWS, lambda route: route.fulfill(status=401, body=""))
    open_page("services", page)
    expect(page.locator(".toast.problem")).to_contain_text("You are not logged in any more.")


def test_a_fault_of_ours_is_no_secret(
    open_page: OpenPage, page: Page, complaints: Complaints
) -> None:
    complaints.expect("uncaught: TypeError")
    page.route(ROWS, lambda route: route.fulfill(body="{}"))
    with page.expect_event("pageerror"):
        open_page("services", page)
    expect(page.locator(".toast")).to_have_count(0)


def test_a_filter_that_can_t_be_obeyed_says_so(
    monitor: Monitor, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    monitor.alert("web1", "from the first")
    monitor.alert("db1", "from the second")
    page = open_page("alerts")
    expect(page.get_by_text("from the second")).to_be_visible()
    filtered = re.compile(r"/ui/alerts\?.*server=db")
    page.route(filtered, lambda route: route.abort())
    field = page.get_by_label("Server")
    field.fill("db")
    expect(page.locator(".toast.problem")).to_contain_text("the list is as it was. Try again.")
    expect(page.get_by_text("from the first")).to_be_visible()
    expect(page.locator("#filters[aria-busy]")).to_have_count(0)
    page.unroute(filtered)
    # The same again: it has not been obeyed yet.
    field.press("Enter")
    expect(page.get_by_text("from the first")).to_have_count(0)
    expect(page.get_by_text("from the second")).to_be_visible()
