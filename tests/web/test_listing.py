from __future__ import annotations

import pytest
from web.page_doubles import NOW_AT, Page, look, overview, server, service, services, state, status

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.store.explain import AckFacts
from overc.web import listing
from overc.web.glance import Glance
from overc.web.listing import MARKS, ROWS, SERVERS, WELL, Care, Filter, find, natural, page_of

WALL = status(
    server(
        1, "web10",
        service(1, "Disk", state("WARN", info="/var 90 % full | x=1\nsecond line")),
        service(2, "cpu", state("FAIL")),
        service(3, "apache", state("OK")),
    ),
    server(
        2, "web2",
        service(4, "disk", state("OK", late=True)),
        service(5, "b", None),
        service(6, "a", state("UNK", info="no route")),
        service(7, "cpu", state("FAIL")),
    ),
    server(3, "idle"),
)  # fmt: skip
GLANCE = Glance(acks={7: AckFacts("ann", "mine", NOW_AT)})
LOOK = look(WALL, GLANCE)


def ids(wanted: Filter) -> list[int]:
    return [entry.row.id for _, entry in find(LOOK, wanted)]


@pytest.mark.parametrize(
    "lower, higher",
    [("web2", "web10"), ("Web2", "web3"), ("a", "B"), ("9", "10"), ("x1y2", "x1y10")],
)
def test_names_are_ordered_as_people_do(lower: str, higher: str) -> None:
    assert natural(lower) < natural(higher)


def test_trouble_comes_first_and_of_that_what_nobody_takes_care_of() -> None:
    # FAIL, late, WARN, UNK, then what is acknowledged, OK, and what never spoke; among equal ones
    # web2 before web10.
    assert ids(Filter()) == [2, 4, 1, 6, 7, 3, 5]
    assert listing.care(LOOK) == Care(4, 1)


@pytest.mark.parametrize(
    "wanted, found",
    [
        (Filter(state="FAIL"), [2, 7]),
        (Filter(state="late"), [4]),
        (Filter(state="none"), [5]),
        (Filter(state="problem"), [2, 4, 1, 6, 7]),
        (Filter(state="attention"), [2, 4, 1, 6]),
        (Filter(state="cared"), [7]),
        (Filter(q="disk"), [4, 1]),
        (Filter(q=" DISK  web10 "), [1]),
        (Filter(q="90 full"), [1]),
        (Filter(q="second line"), []),
        (Filter(q="route"), [6]),
        (Filter(q="web"), [2, 4, 1, 6, 7, 3, 5]),
        (Filter(server="B2"), [4, 6, 7, 5]),
        (Filter(server="b2", q="cpu"), [7]),
        (Filter(acknowledged="yes"), [7]),
        (Filter(acknowledged="no", state="FAIL"), [2]),
        (Filter(silenced="yes"), []),
        (Filter(q="nothing like it"), []),
    ],
)
def test_what_is_looked_for(wanted: Filter, found: list[int]) -> None:
    assert ids(wanted) == found


def test_what_is_silenced() -> None:
    silenced = look(WALL)
    keeps = KeepsBack("silence 1", NOW_AT + 60)
    silenced = listing.Look(silenced.servers, silenced.services, {}, {2: keeps})
    found = [entry.row.id for _, entry in find(silenced, Filter(silenced="yes"))]
    assert found == [2]
    assert [entry.row.id for _, entry in find(silenced, Filter(state="cared"))] == [2]
    # It is listed behind its equals.
    assert [entry.row.id for _, entry in find(silenced, Filter(state="FAIL"))] == [7, 2]


@pytest.mark.parametrize(
    "number, n_items, at, newer, older",
    [
        (1, 0, (1, 1), None, None),
        (1, 10, (1, 1), None, None),
        (1, 11, (1, 2), None, "?q=x+%26&page=2"),
        (2, 11, (2, 2), "?q=x+%26&page=1", None),
        (2, 30, (2, 3), "?q=x+%26&page=1", "?q=x+%26&page=3"),
        (99, 30, (3, 3), "?q=x+%26&page=2", None),
        (0, 30, (1, 3), None, "?q=x+%26&page=2"),
    ],
)
def test_where_a_list_is_cut(
    number: int, n_items: int, at: tuple[int, int], newer: str | None, older: str | None
) -> None:
    page = page_of(number, n_items, 10, {"q": "x &", "state": ""})
    assert (page.number, page.n_pages) == at
    assert (page.newer, page.older) == (newer, older)
    assert len(page.cut(range(n_items), 10)) == max(0, min(10, n_items - (page.number - 1) * 10))


def linked(html: str, kind: str) -> list[str]:
    hrefs = Page(html).values("href")
    return [href.rpartition("/")[2] for href in hrefs if f"./{kind}/" in href]


def test_a_page_has_its_bounds() -> None:
    broken = [service(id_, f"s{id_:04}", state("FAIL")) for id_ in range(1, 2 * ROWS + 2)]
    whole = status(server(1, "web1", *broken))
    for number, size in [(1, ROWS), (2, ROWS), (3, 1)]:
        html = services(whole, Filter(), number, now_at=NOW_AT)
        assert len(linked(html, "service")) == size
        assert f"page {number} of 3" in Page(html).text
    html = overview(whole, now_at=NOW_AT, base_url="http://x/")
    assert MARKS < len(linked(html, "service")) <= ROWS + MARKS
    assert f"+ {len(broken) - MARKS} more" in Page(html).text
    assert f"Show all {len(broken)} problems" in Page(html).text


def test_servers_come_in_pages_too() -> None:
    whole = status(*(server(id_, f"web{id_}") for id_ in range(1, SERVERS + 3)))
    first = overview(whole, with_well=True, now_at=NOW_AT, base_url="http://x/")
    second = overview(whole, 2, with_well=True, now_at=NOW_AT, base_url="http://x/")
    assert linked(first, "server") == [str(id_) for id_ in range(1, SERVERS + 1)]
    assert linked(second, "server") == [str(SERVERS + 1), str(SERVERS + 2)]
    assert "?well=yes&page=2" in Page(first).values("href")
    assert f"{SERVERS + 2} servers" in Page(second).text


@pytest.mark.parametrize("n_more, n_shown", [(0, WELL), (1, WELL + 1), (2, WELL), (30, WELL)])
def test_servers_where_all_is_well_wait_behind_their_number(n_more: int, n_shown: int) -> None:
    well = [
        server(id_, f"web{id_}", service(id_, "disk", state("OK")))
        for id_ in range(1, WELL + n_more + 1)
    ]
    ill = server(500, "zzz", service(500, "disk", state("FAIL")))
    html = overview(status(*well, ill), now_at=NOW_AT, base_url="http://x/")
    rows = [attrs["id"] for tag, attrs in Page(html).elements if tag == "tr" and "id" in attrs]
    servers = [id_ for id_ in rows if id_.startswith("server-")]
    assert servers == [*(f"server-{id_}" for id_ in range(1, n_shown + 1)), "server-500"]
    folded = WELL + n_more - n_shown
    assert (f"{folded} more servers, all well" in Page(html).text) is bool(folded)
    assert ("?well=yes" in Page(html).values("href")) is bool(folded)


def test_the_form_keeps_what_was_asked_for() -> None:
    wanted = Filter(q='"<x>', state="FAIL", acknowledged="yes")
    page = Page(services(WALL, wanted, now_at=NOW_AT))
    fields = {
        attrs.get("name"): attrs.get("value") for tag, attrs in page.elements if tag == "input"
    }
    assert fields["q"] == '"<x>'
    assert "No service is like this." in page.text


def test_the_worst_of_a_large_server_show() -> None:
    many = [service(id_, f"s{id_:04}", state("OK"), n_alerts=1) for id_ in range(1, MARKS + 2)]
    worst = service(9999, "zzz", state("FAIL"), n_alerts=1)
    whole = look(status(server(1, "a", *many, worst, n_alerts=5)))
    [line] = listing.server_lines(whole, whole.servers, page_of(1, 1, SERVERS, {}))
    assert line.marks[0].id == 9999
    assert (len(line.marks), line.more, line.n_alerts) == (MARKS, 2, MARKS + 2 + 5)
