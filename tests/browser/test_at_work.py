"""Pages change around those who are at work with them: forms in use, rows that are held."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect
from support.browser import Complaints, OpenPage
from support.http_client import a_service
from support.monitor import Monitor


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A host that no other test uses."""
    return f"host-of-{request.node.name}"


def to_rename(monitor: Monitor, open_page: OpenPage, name: str) -> Page:
    """Open the page of a service, and its form for another title."""
    monitor.report(name, "disk", "OK", "before")
    page = open_page(f"service/{monitor.service_id(name, 'disk')}")
    page.get_by_text("Rename …").click()
    expect(page.get_by_label("Title")).to_be_focused()
    return page


def test_a_field_does_not_change_under_the_cursor(
    monitor: Monitor, open_page: OpenPage, name: str
) -> None:
    page = to_rename(monitor, open_page, name)
    path = f"/ui/api/item/service/{monitor.service_id(name, 'disk')}"
    assert monitor.client.request("PATCH", path, b'{"title": "Big disk"}').status == 200
    expect(page.get_by_role("heading", level=1)).to_have_text("Big disk")
    # Nothing is typed yet, so a new default would show.
    expect(page.get_by_label("Title")).to_have_value("")
    expect(page.get_by_label("Title")).to_be_focused()
    # It catches up when nobody is in it.
    page.get_by_role("heading", level=1).click()
    monitor.report(name, "disk", "WARN", "after")
    expect(page.locator("main")).to_contain_text("after")
    expect(page.get_by_label("Title")).to_have_value("Big disk")


def test_what_a_form_was_refused_for_stays_beside_it(
    monitor: Monitor, open_page: OpenPage, name: str, complaints: Complaints
) -> None:
    complaints.expect("status of 400")
    page = to_rename(monitor, open_page, name)
    page.get_by_label("Title").fill("a\u2028b")
    page.get_by_role("button", name="Rename").click()
    refusal = page.locator("#rename-form .refusal")
    expect(refusal).to_contain_text("control characters")
    expect(page.get_by_label("Title")).not_to_be_focused()
    monitor.report(name, "disk", "WARN", "after")
    expect(page.locator("main")).to_contain_text("after")
    expect(refusal).to_contain_text("control characters")
    expect(page.get_by_label("Title")).to_have_value("a\u2028b")


def test_what_somebody_types_is_not_taken_away(
    monitor: Monitor, open_page: OpenPage, name: str, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    monitor.report(name, "disk", "FAIL", "full")
    page = open_page(f"service/{monitor.service_id(name, 'disk')}")
    page.get_by_text("Acknowledge …").click()
    page.locator("#ack-reason").fill("a new disk")
    monitor.report(name, "disk", "OK", "empty again")
    expect(page.locator("main")).to_contain_text("empty again")
    expect(page.locator("#ack-reason")).to_have_value("a new disk")
    expect(page.locator("#ack-reason")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#ack .refusal")).to_contain_text("Nothing is wrong with")
    # What is not needed any more goes with the next news.
    page.locator("#ack-reason").fill("")
    page.get_by_role("heading", level=1).click()
    monitor.report(name, "disk", "OK", "half full")
    expect(page.locator("main")).to_contain_text("half full")
    expect(page.get_by_text("Acknowledge …")).to_have_count(0)


def held(monitor: Monitor, page: Page, name: str) -> None:
    """Let a problem come that waits for its place, until nothing else makes the list anew."""
    monitor.report(name, "load", "WARN", "high")
    load = page.locator(".services tbody tr", has_text="high")
    expect(load.and_(page.locator(".fresh"))).to_have_count(1)
    expect(load.and_(page.locator(".fresh"))).to_have_count(0)
    expect(page.locator(".services tbody tr .what")).to_have_text(["disk", "load"])


def test_rows_are_let_go_when_the_pointer_leaves(
    monitor: Monitor, open_page: OpenPage, name: str
) -> None:
    monitor.reports([(name, a_service(service)) for service in ("disk", "load")])
    page = open_page(f"services?server={name}")
    page.locator(".services tbody tr .info").first.hover()
    held(monitor, page, name)
    page.mouse.move(5, 5)
    expect(page.locator(".services tbody tr .what")).to_have_text(["load", "disk"])


def test_rows_are_let_go_when_a_question_is_closed(
    monitor: Monitor, open_page: OpenPage, name: str
) -> None:
    monitor.reports([(name, a_service(service)) for service in ("disk", "load")])
    page = open_page(f"services?server={name}")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    held(monitor, page, name)
    page.keyboard.press("Escape")
    expect(page.locator(".services tbody tr .what")).to_have_text(["load", "disk"])
