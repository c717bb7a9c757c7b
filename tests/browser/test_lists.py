"""The live lists: the overview and the services page."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect
from support.browser import CONNECTION_LOST, Accessible, Complaints, OpenPage
from support.http_client import a_service
from support.monitor import Monitor

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "${alert(1)}{{7*7}}",
    "a\u202eb\u2066c",
    " ",
    "ß" * 64,
]


def row(page: Page, service: str) -> Locator:
    link = page.get_by_role("link", name=service, exact=True)
    return page.locator(".services tbody tr", has=link)


def names(page: Page, selector: str = ".services") -> list[str]:
    return page.locator(f"{selector} tbody tr .what").all_inner_texts()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """A server that no other test uses, since all tests here share one database."""
    return f"host{zlib.crc32(request.node.name.encode())}"


def only(server: str, **more: str) -> str:
    query = "&".join(f"{key}={value}" for key, value in {"server": server, **more}.items())
    return f"services?{query}"


# The first test of the module: nothing has reported yet.
def test_the_first_report_makes_the_list(monitor: Monitor, open_page: OpenPage) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="Nothing reports here yet")).to_be_visible()
    monitor.report("first", "disk", "FAIL", "full")
    expect(row(page, "disk")).to_contain_text("full")
    expect(page.get_by_role("heading", name="Nothing reports here yet")).to_have_count(0)


def test_a_report_appears(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.report(server, "disk", "OK", "42 %")
    page = open_page(only(server))
    expect(row(page, "disk")).to_contain_text("42 %")
    monitor.report(server, "swap", "WARN", "90 % used")
    expect(row(page, "swap")).to_contain_text("90 % used")
    assert names(page) == ["swap", "disk"]
    monitor.report(server, "disk", "OK", "43 %")
    expect(row(page, "disk")).to_contain_text("43 %")


def test_a_problem_comes_to_the_top_of_the_overview(
    monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    monitor.reports([(server, a_service(name)) for name in ("disk", "load")])
    page = open_page()
    expect(page.locator(".servers").get_by_role("link", name=server, exact=True)).to_be_visible()
    expect(row(page, "load")).to_have_count(0)
    monitor.report(server, "load", "FAIL", "much too high")
    expect(row(page, "load")).to_contain_text("much too high")
    expect(row(page, "load")).to_have_class(re.compile("fresh"))
    expect(page.locator("[aria-live]", has_text=f"FAIL: {server} / load")).to_have_count(1)
    expect(page.locator(".servers tr", has_text=server).locator(".dot.fail")).to_have_count(1)
    monitor.report(server, "load", "OK", "")
    expect(row(page, "load")).to_have_count(0)


def test_rows_keep_their_places_while_they_are_used(
    monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    monitor.reports([(server, a_service(name)) for name in ("disk", "load", "swap")])
    page = open_page(only(server))
    row(page, "load").locator(".info").hover()
    monitor.report(server, "swap", "FAIL", "none left")
    expect(row(page, "swap")).to_contain_text("none left")
    assert names(page) == ["disk", "load", "swap"]
    page.get_by_role("button", name="1 new problem: show").click()
    expect(page.locator(".services tbody tr .what").first).to_have_text("swap")
    expect(page.locator(".news")).to_have_count(0)


def test_the_filter_is_in_the_url(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.report(server, "disk", "FAIL", "Full up")
    monitor.report(server, "load", "WARN", "high")
    monitor.report(server, "swap")
    page = open_page(only(server))
    page.get_by_label("Search services").fill("FULL dis")
    expect(page.locator(".services tbody tr .what")).to_have_text(["disk"])
    expect(page).to_have_url(re.compile(r"[?&]q=FULL(\+|%20)dis"))
    page.reload()
    expect(page.locator(".services tbody tr .what")).to_have_text(["disk"])
    expect(page.get_by_label("Search services")).to_have_value("FULL dis")
    page.get_by_label("Search services").fill("")
    page.locator(".counts").get_by_role("link", name=re.compile("need")).click()
    expect(page.locator(".services tbody tr .what")).to_have_text(["disk", "load"])
    page.locator(".counts").get_by_role("link", name=re.compile("WARN")).click()
    expect(page.locator(".services tbody tr .what")).to_have_text(["load"])
    expect(page).to_have_url(re.compile("state=WARN"))
    page.get_by_label("Search services").fill("no such thing")
    expect(page.get_by_text("No service is like this.")).to_be_visible()
    page.get_by_role("link", name="Show all").click()
    expect(page).to_have_url(re.compile("/ui/services$"))


def test_a_count_of_the_overview_leads_to_those_services(
    monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    monitor.report(server, "disk", "UNK", "no such file")
    page = open_page()
    page.locator(".counts").get_by_role("link", name=re.compile("UNK")).click()
    expect(page).to_have_url(re.compile(r"services\?state=UNK"))
    expect(row(page, "disk")).to_contain_text("no such file")


def test_acknowledge_and_take_it_back(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.report(server, "disk", "FAIL", "full")
    page = open_page(only(server))
    row(page, "disk").get_by_role("button", name="Acknowledge").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{server} / disk")
    dialog.get_by_label("Reason").fill("on <b>it</b>")
    dialog.get_by_label("Your name").fill("ann")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(row(page, "disk").locator(".care")).to_contain_text("ann")
    assert monitor.get_json(_explain(server, "disk"))["ack"]["reason"] == "on <b>it</b>"
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "disk").locator(".care")).to_have_count(0)
    assert monitor.get_json(_explain(server, "disk"))["ack"] is None
    # The name is remembered.
    row(page, "disk").get_by_role("button", name="Acknowledge").click()
    expect(dialog.get_by_label("Your name")).to_have_value("ann")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_silence_and_take_it_back(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.report(server, "disk", "WARN", "nearly full")
    page = open_page(only(server))
    row(page, "disk").get_by_role("button", name="Silence").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("For").select_option("8 hours")
    dialog.get_by_label("Reason").fill("new disk")
    dialog.get_by_role("button", name="Silence").click()
    expect(row(page, "disk").locator(".care")).to_contain_text("until")
    (found,) = [one for one in _silences(monitor) if one["servers"] == server]
    assert (found["services"], found["reason"], found["status"]) == ("disk", "new disk", "running")
    page.get_by_role("button", name="Undo").click()
    expect(row(page, "disk").locator(".care")).to_have_count(0)


def test_a_refusal_is_shown(monitor: Monitor, open_page: OpenPage, server: str,
                            complaints: Complaints) -> None:  # fmt: skip
    complaints.expect("404")
    monitor.report(server, "disk", "FAIL", "full")
    page = open_page(only(server))
    row(page, "disk").get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Reason").fill("late")
    service_id = monitor.service_id(server, "disk")
    assert monitor.client.request("DELETE", f"/ui/api/item/service/{service_id}").status == 200
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".toast.problem")).to_contain_text("There is no service")


def test_several_at_once(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.reports([(server, a_service(f"disk {n}", "FAIL")) for n in range(6)])
    page = open_page(only(server))
    row(page, "disk 1").get_by_role("checkbox").check()
    row(page, "disk 4").get_by_role("checkbox").click(modifiers=["Shift"])
    expect(page.locator(".tally")).to_contain_text("4 services marked")
    page.locator(".tally").get_by_role("button", name="Acknowledge").click()
    page.get_by_label("Reason").fill("all of them")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator(".toast")).to_contain_text("Acknowledged 4 problems.")
    expect(page.locator(".services .care")).to_have_count(4)
    expect(page.locator(".tally")).to_contain_text("6 of")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".services .care")).to_have_count(0)


def test_the_keyboard(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.report(server, "a", "FAIL")
    monitor.reports([(server, a_service(name)) for name in ("b", "c")])
    page = open_page("services")
    press = page.keyboard.press
    press("/")
    expect(page.get_by_label("Search services")).to_be_focused()
    page.keyboard.type(f"{server}")
    expect(page.locator(".services tbody tr")).to_have_count(3)
    press("Enter")
    expect(row(page, "a")).to_be_focused()
    press("j")
    press("ArrowDown")
    press("ArrowDown")
    expect(row(page, "c")).to_be_focused()
    press("k")
    expect(row(page, "b")).to_be_focused()
    press("Home")
    expect(row(page, "a")).to_be_focused()
    press("x")
    expect(page.locator(".tally")).to_contain_text("1 service marked")
    press("Escape")
    expect(page.locator(".tally")).to_contain_text("3 of")
    press("a")
    page.keyboard.type("mine")
    press("Enter")
    expect(row(page, "a").locator(".care")).to_have_count(1)
    expect(row(page, "a")).to_be_focused()
    press("s")
    expect(page.get_by_role("dialog")).to_contain_text("Silence this service?")
    press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    press("?")
    expect(page.get_by_role("dialog")).to_contain_text("acknowledge, or take it back")
    press("Escape")
    press("Enter")
    expect(page).to_have_url(re.compile(f"/ui/service/{monitor.service_id(server, 'a')}$"))


@pytest.mark.parametrize("path", ["", "services"])
def test_hostile_names_and_infos_are_text(
    path: str, monitor: Monitor, open_page: OpenPage, server: str
) -> None:
    for number, name in enumerate(HOSTILE):
        monitor.report(f"{name}{server}", f"{name}{number}", "FAIL", f"{name}\nsecond line")
    monitor.report(server, f"long{server}", "FAIL", "x" * 65536)
    page = open_page(path)
    for more in page.get_by_role("link", name=re.compile("Show all .* problems")).all():
        more.click()
    expect(page.locator("tr", has_text="${alert(1)}{{7*7}}2").first).to_be_visible()
    assert page.locator("main img, main script").count() == 0
    expect(row(page, f"long{server}")).to_be_attached()
    heights = {
        round(box["height"])
        for one in page.locator(".services tbody tr:not(.space)").all()
        if (box := one.bounding_box())
    }
    assert len(heights) == 1
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_is_deleted_vanishes(monitor: Monitor, open_page: OpenPage, server: str) -> None:
    monitor.reports([(server, a_service(name, "WARN")) for name in ("disk", "load")])
    page = open_page(only(server))
    expect(row(page, "disk")).to_be_visible()
    service_id = monitor.service_id(server, "disk")
    assert monitor.client.request("DELETE", f"/ui/api/item/service/{service_id}").status == 200
    expect(row(page, "disk")).to_have_count(0)
    server_id = monitor.server_id(server)
    assert monitor.client.request("DELETE", f"/ui/api/item/server/{server_id}").status == 200
    expect(row(page, "load")).to_have_count(0)


def test_the_list_goes_on_after_a_restart(
    monitor: Monitor, open_page: OpenPage, complaints: Complaints, server: str
) -> None:
    complaints.expect(CONNECTION_LOST, "ERR_FAILED")
    monitor.report(server, "disk", "OK", "before")
    page = open_page(only(server))
    expect(row(page, "disk")).to_contain_text("before")
    # What comes before the page is back would be missed, if it were not asked for.
    page.route("**/api/live?*", lambda route: route.abort())
    monitor.stop()
    expect(page.locator("#lost")).to_be_visible()
    monitor.start()
    monitor.report(server, "disk", "FAIL", "after")
    monitor.report(server, "load", "WARN", "new")
    page.unroute("**/api/live?*")
    expect(row(page, "disk")).to_contain_text("after")
    expect(row(page, "load")).to_contain_text("new")
    expect(page.locator("#lost")).to_be_hidden()


@pytest.mark.parametrize("width", [390, 1280, 2560])
@pytest.mark.parametrize("path", ["", "services"])
def test_nothing_moves_when_the_script_takes_over(
    path: str, width: int, monitor: Monitor, open_page: OpenPage,
    new_page: Callable[..., Page], complaints: Complaints, server: str,
) -> None:  # fmt: skip
    monitor.report(server, "disk", "FAIL", "full")
    monitor.reports([(server, a_service(f"other {n}")) for n in range(50)])
    complaints.expect("ERR_FAILED")
    size = {"width": width, "height": 900}
    plain = new_page(viewport=size)
    plain.route("**/static/lists.js", lambda route: route.abort())
    pages = [open_page(path, page) for page in (plain, new_page(viewport=size))]
    expect(pages[0].locator(".services tbody [data-act]")).to_have_count(0)
    expect(pages[1].locator(".services tbody [data-act]").first).to_be_attached()
    selectors = [".counts", ".services"]
    selectors += [f".services tbody tr:first-child .{name}" for name in ("is", "info", "when")]
    if path == "":
        selectors += [".servers", ".servers tbody tr:first-child .marks a:nth-child(1)"]
    for selector in selectors:
        before, after = [_box(page.locator(selector).first) for page in pages]
        assert before == pytest.approx(after, abs=1), selector


def _box(found: Locator) -> list[float]:
    # One page is older than the other by the time that it took to open: "9 s" is narrower than
    # "10 s", so both say the same while they are measured.
    box = found.evaluate("""(found) => {
      for (const time of document.querySelectorAll("time.span")) {
        time.firstChild.data = time.textContent.replace(/\\d+ s/, "5 s");
      }
      const { x, y, width, height } = found.getBoundingClientRect();
      return { x, y: y + scrollY, width, height };
    }""")
    # The whole table is longer where all rows are rendered.
    return [box["x"], box["y"], box["width"], min(box["height"], 60)]


@pytest.mark.parametrize("path", ["", "services"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(
    path: str, scheme: str, monitor: Monitor, open_page: OpenPage,
    new_page: Callable[..., Page], accessible: Accessible, server: str,
) -> None:  # fmt: skip
    monitor.report(server, "disk", "FAIL", "full")
    service_id = monitor.service_id(server, "disk")
    monitor.post("/ui/api/ack", {"service_id": service_id, "author": "ann", "reason": "mine"})
    monitor.report(server, "load", "WARN", "high")
    page = open_page(path, new_page(color_scheme=scheme))
    page.keyboard.press("j")
    accessible(page)
    page.keyboard.press("s")
    expect(page.get_by_role("dialog")).to_be_visible()
    accessible(page)


def _explain(server: str, service: str) -> str:
    return f"/ui/api/explain?server={server}&service={service}"


def _silences(monitor: Monitor) -> list[dict[str, str]]:
    found: list[dict[str, str]] = monitor.get_json("/ui/api/silences")["silences"]
    return found
