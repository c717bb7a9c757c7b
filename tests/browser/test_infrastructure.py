"""What the other tests of this folder trust: a page that misbehaves is seen to."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page
from support.browser import CONNECTION_LOST, Accessible, Complaints, OpenPage, violations
from support.daemon import eventually
from support.monitor import Monitor


def test_a_page_is_quiet_and_ready(monitor: Monitor, open_page: OpenPage) -> None:
    monitor.report("web1", "disk", "FAIL", "full")
    page = open_page()
    assert "web1" in page.inner_text("main")


@pytest.mark.parametrize(
    "script, words",
    [
        ("console.error('oh')", "console: oh"),
        ("setTimeout(() => { throw new Error('ouch') })", "uncaught: Error: ouch"),
        ("document.body.append(Object.assign(document.createElement('script'),"
         " {textContent: '1'}))", "Content Security Policy"),
        ("document.body.append(Object.assign(new Image(), {src: 'http://other.example/x.png'}))",
         "another host: http://other.example/x.png"),
        ("fetch('nowhere')", "404"),
    ],
)  # fmt: skip
def test_a_complaint_is_noticed(
    script: str, words: str, open_page: OpenPage, complaints: Complaints
) -> None:
    page = open_page()
    complaints.expect(r"oh", r"ouch", r"Content Security Policy", r"other\.example", r"404")
    page.evaluate(f"() => {{ {script} }}")
    # The browser's events come while something of it is waited for.
    eventually(lambda: page.evaluate("1") and any(words in one for one in complaints.found))
    assert complaints.unexpected() == []


def test_an_expected_complaint_hides_no_other(complaints: Complaints) -> None:
    complaints.expect("503")
    complaints.found += ["console: status of 503", "console: status of 500"]
    assert complaints.unexpected() == ["console: status of 500"]


def test_axe_finds_what_is_wrong(page: Page, open_page: OpenPage, accessible: Accessible) -> None:
    open_page()
    page.evaluate("() => document.body.append(new Image())")
    found = violations(page)
    assert any(one.startswith("image-alt ") and "<img>" in one for one in found)
    assert not any(
        one.startswith("image-alt ") for one in violations(page, leave_out=("image-alt",))
    )
    with pytest.raises(AssertionError, match="image-alt"):
        accessible(page)


def test_the_server_comes_back_on_its_port(
    monitor: Monitor, open_page: OpenPage, complaints: Complaints
) -> None:
    url = open_page().url
    complaints.expect(CONNECTION_LOST)
    monitor.stop()
    monitor.start()
    assert open_page().url == url
