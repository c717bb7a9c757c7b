"""The pages' scripts below a path of a real nginx: the stream, what they fetch, what they send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect
from support.browser import PATIENCE_MS
from support.monitor import Monitor
from support.nginx import Front, free_port, running_nginx

OVERC = ("ui-auth=admin:secret", "trusted-proxies=127.0.0.1")


@pytest.fixture(scope="module")
def front(monitor: Monitor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder: Path = tmp_path_factory.mktemp("below") / "nginx"
    with running_nginx(folder, free_port(), monitor.client.port) as front:
        yield front


@pytest.fixture
def opened(browser: Browser, front: Front) -> Iterator[Page]:
    """The overview below the path; nothing outside of the path may be asked for."""
    context = browser.new_context(
        ignore_https_errors=True, http_credentials={"username": "admin", "password": "secret"}
    )
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    complaints: list[str] = []
    home = f"{front.url}monitoring/"

    def look(request: Request) -> None:
        if not request.url.startswith((home, "data:", "blob:")):
            complaints.append(request.url)

    page.on("request", look)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{home}ui/")
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    context.close()
    assert complaints == []


def test_a_report_shows_by_itself(monitor: Monitor, opened: Page) -> None:
    monitor.report("web1", "disk", "OK", "fine")
    expect(opened.get_by_role("link", name="web1")).to_be_visible()
    monitor.report("web1", "disk", "FAIL", "full at last")
    expect(opened.locator("main")).to_contain_text("full at last")
    expect(opened).to_have_title("(1) Overview · OverC")


def test_the_way_to_a_service_and_an_acknowledgement(monitor: Monitor, opened: Page) -> None:
    monitor.report("web1", "disk", "FAIL", "full at last")
    opened.get_by_role("link", name="disk").first.click()
    expect(opened.locator("h1")).to_have_text("disk")
    opened.wait_for_selector("html[data-ready]", state="attached")
    expect(opened.locator("#section-report")).to_contain_text("/monitoring/api/set/service/status")
    opened.get_by_text("Acknowledge …").click()
    opened.get_by_label("Reason").first.fill("on it")
    opened.get_by_role("button", name="Acknowledge", exact=True).click()
    expect(opened.locator("#fact-ack")).to_contain_text("by admin")
    opened.get_by_role("link", name="Services").click()
    expect(opened).to_have_url(f"{opened.url.partition('/monitoring/')[0]}/monitoring/ui/services")
    expect(opened.locator("main")).to_contain_text("full at last")
