"""A browser and a server for each module, a fresh context for each page.

A module may say what stands in its server's INI file: OVERC, lines for the [overc] section, and
SECTIONS, the text of whole sections.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page
from support.browser import (
    PATIENCE_MS,
    Accessible,
    Complaints,
    NewPage,
    OpenPage,
    a_browser,
    chromium_path,
    violations,
)
from support.daemon import running
from support.monitor import Monitor


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser(chromium_path()) as browser:
        yield browser


@pytest.fixture(scope="module")
def monitor(
    browser: Browser, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitor]:
    """A server of the module's own. The browser first: without one there is nothing to serve."""
    lines = getattr(request.module, "OVERC", ())
    sections = getattr(request.module, "SECTIONS", "")
    with running(tmp_path_factory.mktemp("monitor"), *lines, sections=sections) as daemon:
        yield Monitor(daemon)


@pytest.fixture
def complaints(monitor: Monitor) -> Complaints:
    """What the test's pages complained of; `expect` names what they may."""
    return Complaints(monitor.url)


@pytest.fixture
def new_page(browser: Browser, complaints: Complaints) -> Iterator[NewPage]:
    """Pages of which none may complain: the test fails for it at its end."""
    contexts = []

    def make(**options: Any) -> Page:
        # Not UTC, so that a time which is not made local shows.
        options = {
            "viewport": {"width": 1280, "height": 800},
            "timezone_id": "Europe/Berlin",
            "locale": "en-GB",
            **options,
        }
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        complaints.watch(page)
        return page

    yield make
    unexpected = complaints.unexpected()
    for context in contexts:
        for page in context.pages:
            # Contexts go with the module's browser: to close one takes for ever once in a while.
            with contextlib.suppress(Error):
                page.goto("about:blank")
    assert unexpected == []


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture
def open_page(monitor: Monitor, request: pytest.FixtureRequest) -> OpenPage:
    def open_it(path: str = "", page: Page | None = None) -> Page:
        if page is None:
            page = request.getfixturevalue("page")
            assert isinstance(page, Page)
        page.goto(f"{monitor.url}ui/{path}", wait_until="load")
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    return open_it


@pytest.fixture
def accessible() -> Accessible:
    def check(page: Page, *, leave_out: tuple[str, ...] = ()) -> None:
        found = violations(page, leave_out=leave_out)
        assert not found, f"{page.url}\n" + "\n".join(found)

    return check
