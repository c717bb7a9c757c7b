"""A real Chromium: started once, quiet and without any other host; what its pages complain of."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Error,
    Page,
    Request,
    expect,
    sync_playwright,
)

PATIENCE_MS = 30_000
"""No figure of ours: a machine that is busy with other tests may be slow."""

ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-component-update",
    "--disable-gpu",
    # A page that asks another host finds none, wherever the tests run.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

# What a browser says of a server that was stopped on purpose.
CONNECTION_LOST = (
    r"net::ERR_(CONNECTION|INCOMPLETE_CHUNKED|EMPTY_RESPONSE|NETWORK|ABORTED)"
    r"|Failed to fetch|EventSource's response|text/event-stream"
)

WCAG_AA = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


class NewPage(Protocol):
    """Make a page in a context of its own, with the options of Browser.new_context."""

    def __call__(self, **options: Any) -> Page: ...


class OpenPage(Protocol):
    """Open a path below /ui/, in `page` unless another one is given; return when it is ready."""

    def __call__(self, path: str = "", page: Page | None = None) -> Page: ...


class Accessible(Protocol):
    """Check a page as it is now against WCAG 2 A and AA."""

    def __call__(self, page: Page, *, leave_out: tuple[str, ...] = ()) -> None: ...


_RUN_AXE = """async (tags) => {
  const found = await axe.run(document, {
    runOnly: {type: "tag", values: tags}, resultTypes: ["violations"],
  });
  return found.violations.map(({id, impact, help, nodes}) => ({
    id, impact, help,
    nodes: nodes.map((node) => [node.target.join(" "), node.html, node.failureSummary]),
  }));
}"""


def chromium_path() -> str:
    """Return where Chromium is; without one skip the test. With CI set that is a failure."""
    found = shutil.which("chromium")
    if found is None:
        reason = "chromium is missing: install the Debian package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@contextlib.contextmanager
def a_browser(path: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Complaints:
    """What a page must not do: log an error, break its policy, ask another host."""

    def __init__(self, home: str) -> None:
        self._home = urlsplit(home).netloc
        self._expected: list[re.Pattern[str]] = []
        self.found: list[str] = []

    def expect(self, *patterns: str) -> None:
        """From now on and for what came before: these are no failure of the test."""
        self._expected += [re.compile(pattern) for pattern in patterns]

    def watch(self, page: Page) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", self._on_error)
        page.on("request", self._on_request)
        page.on("crash", lambda page: self.found.append(f"{page.url} crashed"))

    def _on_console(self, message: ConsoleMessage) -> None:
        # A broken Content-Security-Policy is one of these too.
        if message.type in ("error", "assert"):
            where = message.location
            self.found.append(f"console: {message.text} ({where['url']}:{where['lineNumber']})")

    def _on_error(self, error: Error) -> None:
        self.found.append(f"uncaught: {error.stack or error.message}")

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in ("data", "blob", "about") and url.netloc != self._home:
            self.found.append(f"another host: {request.url[:200]}")

    def unexpected(self) -> list[str]:
        return [one for one in self.found if not any(p.search(one) for p in self._expected)]


def violations(page: Page, *, leave_out: tuple[str, ...] = ()) -> list[str]:
    """Return what axe finds in a page against WCAG 2 A and AA, one text for each rule."""
    # Evaluated by the debugger, so the page's policy has no say in it.
    if not page.evaluate("() => 'axe' in window"):
        axe = files("axe_playwright_python") / "axe.min.js"
        page.evaluate(axe.read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate(_RUN_AXE, list(WCAG_AA))
    return [_as_text(one) for one in found if one["id"] not in leave_out]


def _as_text(violation: dict[str, Any]) -> str:
    lines = [f"{violation['id']} ({violation['impact']}): {violation['help']}"]
    for target, html, summary in violation["nodes"][:10]:
        lines += [f"  {target}", f"    {html[:300]}", "    " + summary.replace("\n", "\n    ")]
    if len(violation["nodes"]) > 10:
        lines.append(f"  and {len(violation['nodes']) - 10} more")
    return "\n".join(lines)
