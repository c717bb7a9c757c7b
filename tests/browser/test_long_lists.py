"""The live lists with 10,000 services: only the rows in view are in the page."""

from __future__ import annotations

from playwright.sync_api import expect
from support.browser import OpenPage
from support.http_client import a_service
from support.monitor import Monitor


def test_only_rows_in_view_are_there(monitor: Monitor, open_page: OpenPage) -> None:
    monitor.reports(
        [(f"host-{host:03}", a_service(f"s{n:02}")) for host in range(250) for n in range(40)]
    )
    page = open_page("services?server=host")
    expect(page.locator(".tally")).to_contain_text("10,000 of")

    def rows() -> int:
        return page.locator("tr").count()

    assert rows() < 120
    last = page.locator(".services tr", has_text="host-249").last
    page.keyboard.press("j")
    page.keyboard.press("End")
    expect(last).to_contain_text("s39")
    expect(last).to_be_focused()
    assert rows() < 120
    # One that is in view changes where it is.
    monitor.report("host-249", "s38", "FAIL", "down here")
    expect(page.locator("tr", has_text="down here")).to_be_in_viewport()
    expect(page.get_by_role("button", name="1 new problem: show")).to_be_visible()
    overview = open_page("", page)
    expect(overview.locator(".total")).to_contain_text("services")
    assert rows() < 200
