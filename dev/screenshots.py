"""Every page at three widths, light and dark, as pictures to look at: what `make screenshots` does.

`python -m dev.screenshots overview alerts` makes those of some pages; `--past` waits until the
demo's past has been rolled up too, for graphs of 90 days.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import TimeoutError as NotInTime

from dev import demo
from dev.demo_fleet import DEAD_HOST
from dev.run import ROOT, StartError, start, stop, wait_for_port

FOLDER = ROOT / "var/screenshots"
README = ROOT / "docs/images/overview.png"
WIDTHS = {390: 844, 1280: 800, 1920: 1080}
SCHEMES = ("light", "dark")
TALLEST = 4000
"""Pixels of a page that goes on and on."""

IN_VIEW = "overview", "services"
"""Their lists have only the rows that are in view."""

READY_MS = 15_000
LATE_S = 90.0

Ids = Callable[[str, str], int]

PAGES: dict[str, Callable[[Ids], str]] = {
    "overview": lambda id_of: "ui/",
    "overview-kiosk": lambda id_of: "ui/?kiosk=1",
    "services": lambda id_of: "ui/services",
    "services-filtered": lambda id_of: "ui/services?state=FAIL&q=db",
    "services-nothing": lambda id_of: "ui/services?q=nothing-is-called-so",
    "server": lambda id_of: f"ui/server/{id_of('db-2', '')}",
    "server-dead": lambda id_of: f"ui/server/{id_of(DEAD_HOST, '')}",
    "service-failing": lambda id_of: f"ui/service/{id_of('db-2', 'replication')}",
    "service-acknowledged": lambda id_of: f"ui/service/{id_of('backup-1', 'backup db')}",
    "service-graphs": lambda id_of: f"ui/service/{id_of('web-1', 'load')}",
    "service-graphs-7d": lambda id_of: f"ui/service/{id_of('web-1', 'http')}?hours=168",
    "service-graphs-90d": lambda id_of: f"ui/service/{id_of('db-1', 'disk /')}?hours=2160",
    "service-late": lambda id_of: f"ui/service/{id_of(DEAD_HOST, 'bgp')}",
    "alerts": lambda id_of: "ui/alerts",
    "alerts-undelivered": lambda id_of: "ui/alerts?hours=168&lost=yes",
    "silences": lambda id_of: "ui/silences",
    "settings": lambda id_of: "ui/settings",
    "delete-server": lambda id_of: f"ui/server/{id_of('db-2', '')}/delete",
    "status-page": lambda id_of: "status/shop",
    "error": lambda id_of: "ui/service/999999",
}

EMPTY = {"empty-overview": "ui/", "empty-services": "ui/services", "empty-alerts": "ui/alerts"}


def main() -> int:
    parser = argparse.ArgumentParser("python -m dev.screenshots", description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join([*PAGES, *EMPTY]))
    parser.add_argument("--past", action="store_true", help="wait for the roll-ups")
    parser.add_argument("--readme", action="store_true", help=f"only {README.relative_to(ROOT)}")
    parser.add_argument("--url", help="of a demo that runs already")
    options = parser.parse_args()
    unknown = set(options.pages) - {*PAGES, *EMPTY}
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join([*PAGES, *EMPTY])}")
    names = ["overview"] if options.readme else options.pages or [*PAGES, *EMPTY]
    try:
        status = take(names, options.past, options.url)
    except (StartError, demo.Refused) as e:
        print(f"overc: {e}", file=sys.stderr)
        return 1
    if options.readme:
        README.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(FOLDER / "overview-1280-light.png", README)
    return status


def take(names: list[str], with_past: bool, url: str | None) -> int:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise StartError("chromium is missing: install the Debian package chromium")
    FOLDER.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, _demo(url, with_past) as port:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        id_of = _ids(port)
        found = {name: PAGES[name](id_of) for name in names if name in PAGES}
        complaints = _shoot(browser, port, found)
        empty = {name: EMPTY[name] for name in names if name in EMPTY}
        if empty:
            with _empty_server() as empty_port:
                complaints += _shoot(browser, empty_port, empty)
        browser.close()
    print(f"overc: the pictures are in {FOLDER}")
    for one in dict.fromkeys(complaints):
        print(f"overc: {one}", file=sys.stderr)
    return 1 if complaints else 0


@contextmanager
def _demo(url: str | None, with_past: bool) -> Iterator[int]:
    if url is not None:
        yield int(url.rstrip("/").rpartition(":")[2])
        return
    stopping = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        demo.running(Path(folder) / "demo", _free_port(), stopping) as running,
    ):
        running.past_is_told.wait()
        _wait_for_the_dead(running.port)
        if with_past:
            # Housekeeping rolls up what is a round of a minute old, in batches.
            print("overc: waits 4 minutes for the roll-ups", flush=True)
            stopping.wait(240)
        yield running.port
        stopping.set()


def _wait_for_the_dead(port: int) -> None:
    """Return when the dead host is late."""
    api, end = demo.Api(port), time.monotonic() + LATE_S
    while time.monotonic() < end:
        servers = api.send("GET", "/ui/api/status/")["servers"]
        dead = next(one for one in servers if one["name"] == DEAD_HOST)
        if all(service["state"]["timed_out"] for service in dead["services"]):
            return
        time.sleep(1)
    raise StartError(f"{DEAD_HOST} is still not late")


@contextmanager
def _empty_server() -> Iterator[int]:
    port = _free_port()
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "server.log"
        (Path(name) / "server.ini").write_text("[overc]\ndatabase=sqlite:///overc.db\n")
        listen = {"OVERC_LISTEN": f"tcp:{port}:interface=127.0.0.1"}
        server = start(["overc-server", "--config", f"{name}/server.ini"], listen, log)
        try:
            wait_for_port(server, port, [], log)
            yield port
        finally:
            stop(server)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def _ids(port: int) -> Ids:
    servers: list[dict[str, Any]] = demo.Api(port).send("GET", "/ui/api/status/")["servers"]
    ids = {(one["name"], ""): int(one["id"]) for one in servers}
    ids |= {
        (one["name"], svc["name"]): int(svc["id"]) for one in servers for svc in one["services"]
    }
    return lambda server, service: ids[server, service]


def _shoot(browser: Browser, port: int, pages: dict[str, str]) -> list[str]:
    """Take the pictures; return what the pages complained of."""
    complaints: list[str] = []
    for width, height in WIDTHS.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
                timezone_id="Europe/Berlin",
                has_touch=width < 500,
            )
            page = context.new_page()
            _listen(page, complaints)
            for name, path in pages.items():
                page.goto(f"http://127.0.0.1:{port}/{path}", wait_until="load")
                _wait_until_ready(page, complaints)
                _take(page, FOLDER / f"{name}-{width}-{scheme}.png", name)
            context.close()
    return complaints


def _listen(page: Page, complaints: list[str]) -> None:
    def on_console(message: ConsoleMessage) -> None:
        # The page of an error is one of the pages.
        if message.type == "error" and "404 (Not Found)" not in message.text:
            complaints.append(f"{page.url}: {message.text}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))


def _wait_until_ready(page: Page, complaints: list[str]) -> None:
    if page.locator("script[src$='/overc.js'], script[src='./static/overc.js']").count() == 0:
        return  # a page of its own kind, such as a status page
    try:
        page.wait_for_selector("html[data-ready]", state="attached", timeout=READY_MS)
    except NotInTime:
        complaints.append(f"{page.url}: never gets ready")


def _take(page: Page, path: Path, name: str) -> None:
    size = page.viewport_size
    assert size is not None
    if name.startswith(IN_VIEW):
        page.screenshot(path=path, animations="disabled")
        return
    tall = int(page.evaluate("() => document.documentElement.scrollHeight"))
    clip = {"x": 0, "y": 0, "width": size["width"], "height": min(tall, TALLEST)}
    page.screenshot(path=path, full_page=True, clip=clip, animations="disabled")  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
