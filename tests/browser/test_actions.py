"""What people do on the dashboard: with confirmation, with an undo, and without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect
from support.browser import Accessible, Complaints, NewPage, OpenPage
from support.daemon import eventually
from support.http_client import Host, a_service
from support.monitor import KEY, Monitor

SECTIONS = """
[alert:works]
command=/bin/cat
events=api/alert

[alert:broken]
command=/bin/sh -c "echo no line to the outside; exit 1"
events=api/alert
"""


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A host that no other test uses."""
    return f"host of {request.node.name}"


def service_page(monitor: Monitor, open_page: OpenPage, name: str, state: str = "FAIL") -> Page:
    monitor.report(name, "disk", state, "97 %")
    return open_page(f"service/{monitor.service_id(name, 'disk')}")


def fall_late(monitor: Monitor, name: str, *services: str) -> None:
    """Have services reported that promise another report within a second."""
    monitor.reports([(name, a_service(one, period=1)) for one in services])

    def late() -> bool:
        found = monitor.client.servers()[name]["services"]
        return all(one["state"]["timed_out"] for one in found if one["name"] in services)

    eventually(late, "they are late")


def test_rename_and_take_it_back(monitor: Monitor, open_page: OpenPage, name: str) -> None:
    page = service_page(monitor, open_page, name)
    page.get_by_text("Rename …").click()
    field = page.get_by_label("Title")
    expect(field).to_be_focused()
    field.fill("Disk <b>of</b> Bern")
    field.press("Enter")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Disk <b>of</b> Bern")
    expect(page.locator("#toasts")).to_contain_text("Renamed to Disk <b>of</b> Bern")
    expect(field).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(heading).to_have_text("disk")
    assert monitor.client.servers()[name]["services"][0]["title"] == "disk"


def test_what_is_no_title_is_told_beside_it(
    monitor: Monitor, open_page: OpenPage, name: str, complaints: Complaints
) -> None:
    complaints.expect(r"status of 400")
    page = service_page(monitor, open_page, name)
    page.get_by_text("Rename …").click()
    page.get_by_label("Title").fill("a\u2028b")
    page.get_by_role("button", name="Rename").click()
    expect(page.locator("#rename-form .refusal")).to_contain_text("control characters")
    expect(page.get_by_label("Title")).to_have_value("a\u2028b")


def test_acknowledge_and_silence_with_undo(
    monitor: Monitor, open_page: OpenPage, name: str, accessible: Accessible
) -> None:
    page = service_page(monitor, open_page, name)
    page.get_by_text("Acknowledge …").click()
    page.locator("#ack-reason").fill("on my way")
    accessible(page)
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    back = page.get_by_role("button", name="Take the acknowledgement back")
    expect(back).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(back).to_be_hidden()
    page.get_by_text("Silence …").click()
    expect(page.locator("#ack-reason")).to_be_hidden()
    page.locator("#silence-reason").fill("new disks")
    page.get_by_role("button", name="Silence", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Silenced for 2 hours.")
    expect(page.get_by_text("Silenced", exact=True)).to_be_visible()
    page.get_by_role("button", name="Undo").last.click()
    expect(page.get_by_text("Silenced", exact=True)).to_be_hidden()


def test_delete_says_what_is_removed(
    monitor: Monitor,
    open_page: OpenPage,
    name: str,
    accessible: Accessible,
    complaints: Complaints,
) -> None:
    # The page hears that it has changed, and looks for itself, before it is left.
    complaints.expect(r"status of 404")
    for info in ("1", "2", "3"):
        monitor.report(name, "disk", "FAIL", info)
    page = open_page(f"service/{monitor.service_id(name, 'disk')}")
    page.get_by_text("Delete …").click()
    dialog = page.get_by_role("dialog", name=re.compile("Delete the service disk"))
    expect(dialog).to_contain_text("3 states of its history")
    expect(dialog).to_contain_text("1 alert with its delivery log")
    expect(dialog).to_contain_text("It still reports")
    accessible(page)
    # Whoever presses Enter at once keeps it.
    expect(page.get_by_role("link", name="Keep it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete service").click()
    page.wait_for_url(re.compile(r"/ui/server/\d+$"))
    expect(page.locator("#toasts")).to_contain_text("disk is deleted.")
    assert monitor.client.servers()[name]["services"] == []
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete server").click()
    page.wait_for_url(f"{monitor.url}ui/")
    assert name not in monitor.client.servers()


def test_forget_what_is_silent(monitor: Monitor, open_page: OpenPage, name: str) -> None:
    monitor.report(name, "lives")
    fall_late(monitor, name, "old", "older", "oldest")
    page = open_page(f"server/{monitor.server_id(name)}")
    page.get_by_text("Forget silent services …").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("3 services are late:")
    dialog.get_by_role("link", name="1 hour").click()
    expect(dialog).to_contain_text("No service is silent for so long.")
    dialog.get_by_role("link", name="any time").click()
    expect(dialog).to_contain_text("oldest")
    # One of them reports before the answer.
    monitor.report(name, "old", "OK", "back again")
    dialog.get_by_role("button", name="Forget 3 services").click()
    expect(page.locator("#toasts")).to_contain_text("2 services forgotten.")
    expect(page.locator("#toasts")).to_contain_text("1 service reported meanwhile and stay.")
    found = {one["name"] for one in monitor.client.servers()[name]["services"]}
    assert found == {"lives", "old"}
    expect(page.get_by_role("link", name="oldest")).to_have_count(0)


def test_a_rejected_key_is_accepted(
    monitor: Monitor, open_page: OpenPage, name: str, accessible: Accessible
) -> None:
    monitor.report(name, "disk", "OK", "before")
    page = open_page("settings")
    reinstalled = Host(monitor.client, name, "another key")
    assert reinstalled.ping().status == 403
    card = page.get_by_role("article").filter(has_text=name)
    # It comes by itself, and stands above every page.
    expect(card).to_contain_text("reports with another key")
    expect(page.locator("#banners")).to_contain_text("another key")
    accessible(page)
    card.get_by_role("button", name="Accept the new key").click()
    expect(page.locator("#toasts")).to_contain_text("counts from now on")
    expect(card).to_have_count(0)
    assert reinstalled.ping().status == 200
    reinstalled.report(a_service("disk", "OK", "after"))
    assert Host(monitor.client, name, KEY).ping().status == 403


def test_a_rejected_key_is_dismissed(monitor: Monitor, open_page: OpenPage, name: str) -> None:
    monitor.report(name, "disk")
    assert Host(monitor.client, name, "another key").ping().status == 403
    eventually(lambda: name in monitor.client.request("GET", "/ui/settings").text)
    page = open_page("settings")
    card = page.get_by_role("article").filter(has_text=name)
    card.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#toasts")).to_contain_text("goes on being refused")
    expect(card).to_be_hidden()
    page.get_by_text(re.compile("keys? dismissed")).click()
    expect(card).to_be_visible()


def test_a_test_shows_how_it_went(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page("settings")
    works = page.get_by_role("row", name=re.compile("^works"))
    broken = page.get_by_role("row", name=re.compile("^broken"))
    works.get_by_role("button", name="Send a test through works").click()
    expect(works).to_contain_text("The test was delivered in")
    expect(broken).not_to_contain_text("The test")
    page.get_by_role("button", name="Test all").click()
    expect(broken).to_contain_text(
        "The test was not delivered: exit status 1: no line to the outside"
    )
    expect(works).to_contain_text("This is a test of the alert channel")


def test_all_of_it_without_javascript(monitor: Monitor, new_page: NewPage, name: str) -> None:
    monitor.report(name, "disk", "FAIL")
    fall_late(monitor, name, "old")
    page = new_page(java_script_enabled=False)
    page.goto(f"{monitor.url}ui/service/{monitor.service_id(name, 'disk')}")
    page.get_by_text("Rename …").click()
    page.get_by_label("Title").fill("Big disk")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Big disk")
    page.get_by_role("link", name="Delete …").click()
    expect(page.locator("main")).to_contain_text("1 state of its history")
    page.get_by_role("button", name="Delete service").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    page.get_by_role("link", name="Forget silent services …").click()
    page.get_by_role("button", name="Forget 1 service").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    assert monitor.client.servers()[name]["services"] == []
    assert Host(monitor.client, name, "another key").ping().status == 403
    eventually(lambda: name in monitor.client.request("GET", "/ui/settings").text)
    page.goto(f"{monitor.url}ui/settings")
    card = page.get_by_role("article").filter(has_text=name)
    card.get_by_role("button", name="Accept the new key").click()
    expect(card).to_have_count(0)
    assert Host(monitor.client, name, "another key").ping().status == 200
