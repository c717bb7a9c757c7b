"""What a page of many services costs in a real Chromium: to open, to filter, to follow changes.

The page sets marks when the browser has painted; the times are the browser's own. Playwright only
presses the keys.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from playwright.sync_api import Browser, Error, Page, sync_playwright

from bench import history
from bench.databases import empty_database
from bench.fleet import Fleet
from bench.load import STATUS_PATH
from bench.processes import Process, StartError, overc_server
from bench.results import Row
from bench.run import Refused, Run, report_all

PATIENCE_MS = 60_000

USABLE = "overc:usable"
"""All rows are there, can be filtered, and those in view are painted."""
FILTERED = "overc:filtered"
ARRIVED = "overc:delta-arrived"
APPLIED = "overc:delta-applied"

SEARCH = "[data-search]"
TYPED = "service-0012"
CHANGES = 5

FAILURES = (Error,)
"""What Playwright raises when the browser or the page does not do what it should."""

_STARTED = """(name) => performance.getEntriesByName(name).map((entry) => entry.startTime)"""
_LISTEN = """() => {
  globalThis.keyAt = 0;
  addEventListener("keydown", (event) => { globalThis.keyAt = event.timeStamp; }, true);
}"""
_FIRST_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


def dashboard10k(run: Run, engine: str) -> Row:
    fleet = Fleet(max(2, min(run.services, 10_000) // 50), 50, run.perfdata)
    row = Row("dashboard10k", engine, f"the page of {fleet.services:,} services in Chromium")
    with (
        run.folder() as folder,
        empty_database(engine, folder) as database,
        overc_server(folder, database.url) as server,
    ):
        report_all(server.port, fleet.registration(50, Random(1)))
        _measure(row, run, server, fleet)
    return row


def dashboard100k(run: Run, engine: str) -> Row:
    fleet = history.fleet(run)
    row = Row("dashboard100k", engine, f"the page of {fleet.services:,} services in Chromium")
    with (
        history.database(run, fleet, 0) as (folder, database),
        overc_server(folder, database.url) as server,
    ):
        _measure(row, run, server, fleet)
    return row


def _measure(row: Row, run: Run, server: Process, fleet: Fleet) -> None:
    with chromium() as browser:
        row.notes.append(f"Chromium {browser.version}")
        for path, name in (("", "overview"), ("services", "services")):
            opened = [_open(browser, server, path) for _ in range(2 * run.runs + 1)]
            row.add(f"{name}: first paint", "ms", *(one.painted_ms for one in opened))
            row.add(f"{name}: usable", "ms", *(one.usable_ms for one in opened))
            row.add(f"{name}: elements", "", opened[-1].elements)
        page = _new_page(browser)
        _goto(page, server, "services")
        row.add("filter, key to painted", "ms", *_filter(page, run.runs))
        applied, shown = _follow(page, server, fleet, CHANGES * run.runs)
        row.add("delta of 100, event to painted", "ms", *applied)
        row.add("delta of 100, report to painted", "ms", *shown)
        heap = page.evaluate("performance.memory.usedJSHeapSize")
        row.add("memory of its scripts", "MB", heap / 1e6)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium. Raises StartError."""
    path = shutil.which("chromium")
    if path is None:
        raise StartError("chromium is missing: install the Debian package chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Opened(NamedTuple):
    """From the beginning of the navigation on."""

    painted_ms: float
    usable_ms: float
    elements: int


def _open(browser: Browser, server: Process, path: str) -> Opened:
    """Open a page with nothing cached."""
    page = _new_page(browser)
    _goto(page, server, path)
    elements = page.evaluate("document.querySelectorAll('*').length")
    opened = Opened(page.evaluate(_FIRST_PAINT), _marks(page, USABLE)[0], elements)
    page.context.close()
    return opened


def _new_page(browser: Browser) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    return context.new_page()


def _goto(page: Page, server: Process, path: str) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/ui/{path}")
    _wait_for_mark(page, USABLE, 1)


def _marks(page: Page, name: str) -> list[float]:
    found: list[float] = page.evaluate(_STARTED, name)
    return found


def _wait_for_mark(page: Page, name: str, count: int) -> list[float]:
    """Return when the marks were set, once there are so many. Raises Refused."""
    end = time.monotonic() + PATIENCE_MS / 1000
    while len(found := _marks(page, name)) < count:
        if time.monotonic() > end:
            raise Refused(f"the page sets no mark {name}")
        page.wait_for_timeout(5)
    return found


def _filter(page: Page, times: int) -> list[float]:
    """Type into the search field, one key after the other; return how long each took."""
    page.evaluate(_LISTEN)
    took_ms = []
    for _ in range(times):
        page.locator(SEARCH).fill("")
        page.wait_for_timeout(300)
        for key in TYPED:
            count = len(_marks(page, FILTERED))
            page.locator(SEARCH).press(key)
            painted_at = _wait_for_mark(page, FILTERED, count + 1)[-1]
            took_ms.append(painted_at - page.evaluate("globalThis.keyAt"))
    page.locator(SEARCH).fill("")
    return took_ms


def _follow(
    page: Page, server: Process, fleet: Fleet, times: int
) -> tuple[list[float], list[float]]:
    """Change 100 services at a time; return the times from event and from report to the paint."""
    random = Random(3)
    origin_at: float = page.evaluate("performance.timeOrigin")
    applied_ms, shown_ms = [], []
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in range(times):
        page.wait_for_timeout(600)
        before = len(_marks(page, APPLIED))
        state = "WARN" if number % 2 == 0 else "OK"
        each = min(fleet.services_each, 100)
        sent_at = 1000 * time.time()
        for at in range(100 // each):
            server_number = (number // 2 * 2 + at) % fleet.servers
            body = json.loads(fleet.body(server_number, range(each), random))
            for service in body["services"]:
                service["state"] = state
            connection.request("POST", STATUS_PATH, json.dumps(body))
            answer = connection.getresponse()
            if answer.read() and answer.status != 200:
                raise Refused(f"a report was answered {answer.status}")
        _wait_for_mark(page, APPLIED, before + 1)
        page.wait_for_timeout(600)
        # A report of two servers may come as two events: the slower one counts.
        arrived, applied = _marks(page, ARRIVED)[before:], _marks(page, APPLIED)[before:]
        applied_ms.append(max(done - come for come, done in zip(arrived, applied, strict=True)))
        shown_ms.append(origin_at + applied[-1] - sent_at)
    connection.close()
    return applied_ms, shown_ms
