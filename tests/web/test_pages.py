from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
from web.page_doubles import (
    BASE_URL,
    HOSTILE,
    NOW_AT,
    PAGES,
    Page,
    alert,
    every_way,
    history,
    overview,
    server,
    service,
    services,
    silence,
    state,
    status,
    window,
)

from overc.daemon.alerting.keeping import Keepers
from overc.daemon.store.deliveries import Failing
from overc.daemon.store.explain import AckFacts
from overc.daemon.store.kept_back import SilenceRow
from overc.web import pages as pages_module
from overc.web.alert_log import AlertSearch, Found
from overc.web.folding import parse_range
from overc.web.glance import Glance
from overc.web.words import span_words

STATIC = Path(pages_module.__file__).parent / "static"


def a_glance(text: str) -> Glance:
    """Return one in which each mark and banner shows."""
    running = SilenceRow(3, "*", "*", text, text, NOW_AT, NOW_AT, NOW_AT + 3600)
    return Glance(
        {11: AckFacts(text, text, NOW_AT)},
        Keepers([running]),
        [Failing(text, NOW_AT - 60, False)],
        [(text, 2)],
    )


def every_page(text: str) -> dict[str, str]:
    """Render each page with `text` wherever a stranger can put one."""
    broken = service(11, text, state("FAIL", info=text))
    whole = status(
        server(1, text, broken, service(12, text, None, period=None), n_alerts=2),
        server(2, text),
    )
    alone = status(server(1, text, broken))
    alerts = {
        "alerts": [
            alert(3, text, deliveries=every_way(text)),
            alert(2, text, service=None, service_id=None, channel="api", event=text),
            alert(1, text, server=None, server_id=None, service=None, service_id=None,
                  state_info=None),
        ]
    }  # fmt: skip
    glance = a_glance(text)
    silences = {
        "silences": [silence(id_, now, text) for id_, now in enumerate(STATUSES)],
        "maintenance": [window(text), window(text, None)],
    }
    why: list[list[str | float]] = [[text, NOW_AT, text], [text]]
    return {
        "overview": overview(whole, now_at=NOW_AT, base_url=text, glance=glance),
        "services": services(whole, now_at=NOW_AT, glance=glance),
        "server": PAGES.server(whole, alerts, now_at=NOW_AT, glance=glance),
        "service": PAGES.service(
            alone, history(text), alerts, now_at=NOW_AT, base_url=text, expand=[(1, 2)],
            glance=glance, why=why,
        ),
        "plain service": PAGES.service(
            alone, history(text), alerts, now_at=NOW_AT, base_url=text, expand=[(1, 2)]
        ),
        "alerts": PAGES.alerts(Found(alerts), now_at=NOW_AT, glance=glance),
        "silences": PAGES.silences(silences, now_at=NOW_AT, glance=glance),
        "error": PAGES.error(404, text, root="../"),
        "empty overview": overview(status(), now_at=NOW_AT, base_url=text),
    }  # fmt: skip


def bare_pages() -> dict[str, str]:
    """Render each page with nothing on it that may be missing."""
    silent = status(server(1, "web1", service(11, "cpu", None, period=None)))
    none: dict[str, Any] = {"alerts": []}
    return {
        "overview": overview(status(), now_at=NOW_AT, base_url=BASE_URL),
        "services": services(status(), now_at=NOW_AT),
        "server": PAGES.server(status(server(1, "web1")), none, now_at=NOW_AT),
        "service": PAGES.service(silent, [], none, now_at=NOW_AT, base_url=BASE_URL),
        "alerts": PAGES.alerts(Found(none), now_at=NOW_AT),
        "silences": PAGES.silences({"silences": [], "maintenance": []}, now_at=NOW_AT),
    }


STATUSES = ("running", "coming", "ended")
ADDRESSES = {
    "overview": "",
    "empty overview": "",
    "services": "services",
    "server": "server/1",
    "service": "service/11?hours=24",
    "plain service": "service/11?hours=24",
    "alerts": "alerts",
    "silences": "silences",
    "error": "server/99",
}
KNOWN = re.compile(
    r"(|services|alerts|silences|settings|static/(vendor/)?[\w.-]+\.(css|js|svg)"
    r"|(server|service)/\d+(/\w+)?|forget|api/item/(server|service)/\d+"
    r"|silences/\d+/(end|extend))"
)


PLAIN = every_page("plain")
HOSTILE_PAGES = [
    pytest.param(page, html, name, id=f"{page}-{name}")
    for name, text in HOSTILE.items()
    for page, html in every_page(text).items()
]
BARE_PAGES = [
    pytest.param(page, html, "", id=f"{page}-bare") for page, html in bare_pages().items()
]


@pytest.mark.parametrize("page, html, name", HOSTILE_PAGES + BARE_PAGES)
def test_every_page_runs_no_code_and_links_inside_only(page: str, html: str, name: str) -> None:
    parsed = Page(html)
    for tag, attrs in parsed.elements:
        assert tag not in {"style", "iframe", "object", "base", "c"}
        # Nothing inline; one of them runs before the page is painted.
        assert tag != "script" or attrs in (
            {"type": "module", "src": attrs["src"]},
            {"src": attrs["src"]},
        )
        assert tag != "script" or "type" in attrs or attrs["src"].endswith("static/theme.js")
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
    folder = "http://proxy.example/deep/mon/ui/"
    for link in parsed.values("href", "src", "data-delete", "data-then", "action"):
        target = urlsplit(urljoin(folder + ADDRESSES[page], link))
        assert target.geturl().startswith(folder)
        assert KNOWN.fullmatch(target.path.removeprefix("/deep/mon/ui/")), link
        assert not urlsplit(link).scheme
        assert not link.startswith("/")


@pytest.mark.parametrize("page, html, name", HOSTILE_PAGES)
def test_hostile_text_changes_no_element(page: str, html: str, name: str) -> None:
    # A text of several lines, or a long one, has its own element to unfold or to scroll it.
    whole = page in {"overview", "services", "silences", "error"}
    if whole or name not in {"lines", "huge"}:
        assert Page(html).skeleton == Page(PLAIN[page]).skeleton


@pytest.mark.parametrize("name", HOSTILE)
def test_a_service_shows_its_whole_info_as_text(name: str) -> None:
    texts = Page(every_page(HOSTILE[name])["service"]).texts
    assert HOSTILE[name] in texts


def test_names_and_infos_are_isolated_from_the_text_around() -> None:
    for page, html in every_page("\u202egnp").items():
        # What scripts read out of an attribute is not shown.
        html = re.sub(r' (data-[\w-]+|value)="[^"]*"', "", html)
        for found in re.finditer("\u202e", html):
            tag, attrs = re.findall(r"<(\w+)([^>]*)>", html[: found.start()])[-1]
            assert tag in {"bdi", "code"} or "dir=" in attrs, (page, html[: found.end()][-80:])


def test_lists_leave_long_infos_out() -> None:
    one = status(server(1, "a", service(1, "b", state("FAIL", info=HOSTILE["huge"]))))
    assert len(services(one, now_at=NOW_AT)) < 20_000


TROUBLES = status(
    server(1, "alpha", service(11, "a-ok", state("OK")), service(12, "b-warn", state("WARN"))),
    server(
        2,
        "beta",
        service(21, "a-none", None),
        service(22, "b-late", state("OK", late=True, age_s=240)),
        service(23, "c-unk", state("UNK")),
        service(24, "d-late-fail", state("FAIL", late=True, age_s=240)),
    ),
    server(3, "gamma", service(31, "a-fail", state("FAIL")), service(32, "b-ok", state("OK"))),
)
TROUBLED_ORDER = ["31", "22", "24", "12", "23", "11", "32", "21"]


def linked_services(html: str) -> list[str]:
    hrefs = Page(html).values("href")
    return [href.rpartition("/")[2] for href in hrefs if "service/" in href]


def test_services_order() -> None:
    assert linked_services(services(TROUBLES, now_at=NOW_AT)) == TROUBLED_ORDER


def test_overview_order_is_problems_then_servers() -> None:
    html = overview(TROUBLES, now_at=NOW_AT, base_url=BASE_URL)
    in_server_order = ["11", "12", "21", "22", "23", "24", "31", "32"]
    assert linked_services(html) == TROUBLED_ORDER[:5] + in_server_order


def test_each_service_is_counted_once() -> None:
    whole = overview(TROUBLES, now_at=NOW_AT, base_url=BASE_URL)
    for html in (whole, services(TROUBLES, now_at=NOW_AT)):
        assert "1 FAIL 2 late 1 WARN 1 UNK 2 OK 1 no state" in Page(html).text


def test_no_state_is_not_counted_when_there_is_none() -> None:
    html = services(status(server(1, "a", service(1, "b", state("OK")))), now_at=NOW_AT)
    assert "no state" not in Page(html).text


@pytest.mark.parametrize(
    "one, sentence",
    [
        (service(1, "s", state("FAIL")), "seen 10 s ago"),
        (service(1, "s", state("FAIL"), since=NOW_AT - 7300), "for 2 h seen 10 s ago"),
        (service(1, "s", state("OK", late=True, age_s=240)), "late by 3 min was OK 4 min ago"),
        (service(1, "s", state("OK", late=True, age_s=240), period=None), "was OK 4 min ago"),
        (service(1, "s", state("HEY")), "UNK"),
        (service(1, " ", state("FAIL")), "a/(blank)"),
        (service(1, "s", state("FAIL", info="\n\none\ntwo")), "one …"),
    ],
)
def test_a_problem_in_words(one: dict[str, Any], sentence: str) -> None:
    html = overview(status(server(1, "a", one)), now_at=NOW_AT, base_url=BASE_URL)
    assert sentence in Page(html).text
    assert "Overview · OverC" in Page(html).text


def test_all_well() -> None:
    one = service(1, "s", state("OK"))
    html = overview(status(server(1, "a", one)), now_at=NOW_AT, base_url=BASE_URL)
    assert "Nothing needs attention." in Page(html).text


@pytest.mark.parametrize("lag_s, shown", [(0, False), (5, False), (6, True), (3600, True)])
def test_a_watchdog_that_is_behind_shows_a_banner(lag_s: int, shown: bool) -> None:
    one = status(server(1, "a", service(1, "s", state("OK"))), lag_s=lag_s)
    behind = Glance(lag_s=lag_s)
    pages = [
        overview(one, now_at=NOW_AT, base_url=BASE_URL),
        services(one, now_at=NOW_AT),
        PAGES.server(one, {"alerts": []}, now_at=NOW_AT, glance=behind),
        PAGES.service(one, [], {"alerts": []}, now_at=NOW_AT, base_url=BASE_URL, glance=behind),
    ]
    assert [f"The watchdog is {span_words(lag_s)} behind" in html for html in pages] == [shown] * 4


def test_the_empty_overview_says_how_to_begin() -> None:
    text = Page(bare_pages()["overview"]).text
    assert f"curl {BASE_URL}api/set/service/status -d '{{" in text
    assert f"overcli -s {BASE_URL} -i web1:KEY ping" in text
    assert f"overcli -s {BASE_URL} -i web1:KEY service-status 60 disk OK" in text


def test_the_overview_works_from_the_root_of_the_site() -> None:
    html = overview(TROUBLES, now_at=NOW_AT, base_url=BASE_URL, root="./ui/")
    links = Page(html).values("href", "src")
    assert all(link.startswith(("./ui/", "#")) for link in links)


def service_page(hours: int = 24, expand: list[tuple[int, int]] | None = None) -> Page:
    one = status(server(1, "web1", service(11, "cpu", state("WARN"), n_alerts=4)))
    return Page(
        PAGES.service(
            one,
            history("load 9"),
            {"alerts": [alert(1)]},
            now_at=NOW_AT,
            base_url=BASE_URL,
            hours=hours,
            expand=expand or [],
        )
    )


@pytest.mark.parametrize(
    "hours, expand, ranges, can_fold",
    [
        (24, [], ["43-49"], False),
        (168, [(1, 2)], ["1-2", "43-49"], True),
        (24, [(1, 2), (5, 9)], ["1-2", "5-9", "43-49"], True),
    ],
)
def test_a_group_links_to_itself_unfolded(
    hours: int, expand: list[tuple[int, int]], ranges: list[str], can_fold: bool
) -> None:
    page = service_page(hours, expand)
    assert "7 × WARN, expand" in page.text
    link = next(href for href in page.values("href") if "expand=" in href)
    query = parse_qs(urlsplit(link).query)
    assert query == {"hours": [str(hours)], "expand": ranges}
    assert urlsplit(link).fragment == "state-49"
    assert [parse_range(text) for text in ranges]
    assert ("fold all again" in page.text) is can_fold


@pytest.mark.parametrize("hours, current", [(24, "?hours=24"), (720, "?hours=720"), (5, None)])
def test_the_hours_choice_shows_the_current_one(hours: int, current: str | None) -> None:
    search = AlertSearch(hours)
    page = Page(PAGES.alerts(Found({"alerts": [alert(1)]}), now_at=NOW_AT, search=search))
    choices = [attrs for _, attrs in page.elements if attrs.get("href", "").startswith("?hours")]
    marked = [attrs["href"] for attrs in choices if "aria-current" in attrs]
    assert marked == ([current] if current else [])
    assert {"?hours=24", "?hours=168", "?hours=720"} <= {attrs["href"] for attrs in choices}


LIVE = {
    "overview": "rows=yes",
    "services": "rows=yes",
    "server": "server=1",
    "service": "service=11",
    "alerts": "topic=alerts",
    "silences": "topic=silences",
}


@pytest.mark.parametrize("page", PLAIN)
def test_what_keeps_a_page_fresh(page: str) -> None:
    expected = LIVE.get(page.rpartition(" ")[2], "")
    assert Page(PLAIN[page]).element("body")["data-live"] == expected


def test_times_are_utc_with_their_zone() -> None:
    html = PAGES.alerts(
        Found({"alerts": [alert(1, ctime="2026-02-03 04:05:06.789")]}), now_at=NOW_AT
    )
    assert '<time datetime="2026-02-03T04:05:06Z">2026-02-03 04:05:06</time>' in html
    assert "Time (UTC)" in Page(html).text
    assert "As of 2026-03-01 10:00:00 (UTC)" in Page(html).text


def test_every_mark_that_is_used_is_drawn() -> None:
    alerts = {
        "alerts": [
            alert(1, event=event)
            for event in ("OK", "WARN", "FAIL", "UNK", "offline", "online", "x")
        ]
    }
    html = services(TROUBLES, now_at=NOW_AT) + PAGES.alerts(Found(alerts), now_at=NOW_AT)
    html += PLAIN["service"] + PLAIN["silences"]
    used = set(re.findall(r'href="#(mark-[\w-]+)"', html))
    drawn = set(re.findall(r'<symbol id="(mark-[\w-]+)"', html))
    assert used <= drawn
    # Those of the banners and of the theme's switch are put in by scripts.
    by_scripts = {mark for mark in drawn if mark.startswith(("mark-banner-", "mark-theme-"))}
    assert drawn - used <= by_scripts


@pytest.mark.parametrize(
    "file", sorted(file for file in STATIC.iterdir() if file.is_file()), ids=lambda file: file.name
)
def test_static_files_load_nothing_from_other_hosts(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|//\w+\.|@import|url\(", text)
