"""The overview's problems: one row for a dead host, and what is taken care of at the end."""

from __future__ import annotations

from typing import Any

import pytest
from web.page_doubles import NOW_AT, Page, look, overview, server, service, state, status

from overc.daemon.store.explain import AckFacts
from overc.web.glance import Glance
from overc.web.problems import CARED_SHOWN, SHOWN, Host, problems
from overc.web.rows import ServiceRow


def late(id_: int, age_s: int = 100, **more: Any) -> dict[str, Any]:
    return service(id_, f"s{id_}", state("OK", age_s=age_s, late=True), **more)


def failing(*ids: int) -> list[dict[str, Any]]:
    return [service(id_, f"s{id_}", state("FAIL")) for id_ in ids]


def acked(*ids: int) -> Glance:
    return Glance(acks={id_: AckFacts("ann", "mine", NOW_AT) for id_ in ids})


def named(items: Any) -> list[str]:
    """Return services by their ids, hosts by what is said of them."""
    return [
        str(one.id) if isinstance(one, ServiceRow) else f"{one.server['name']}: {one.words}"
        for one in items
    ]


@pytest.mark.parametrize(
    "services, glance, attention, cared",
    [
        ([late(1), late(2)], acked(), ["1", "2"], []),
        ([late(1), late(2), late(3)], acked(), ["a: all 3 services"], []),
        ([late(1), late(2), late(3), *failing(4)], acked(), ["4", "a: 3 of 4 services"], []),
        ([late(1), late(2), late(3)], acked(2), ["1", "3"], ["2"]),
        (
            [late(1), late(2), late(3), late(4), *failing(5)], acked(4, 5),
            ["a: 3 of 5 services"], ["5", "4"],
        ),
        ([late(1), late(2), late(3)], acked(1, 2, 3), [], ["a: all 3 services"]),
        (failing(1, 2, 3), acked(2), ["1", "3"], ["2"]),
    ],
)  # fmt: skip
def test_what_is_one_row(
    services: list[dict[str, Any]], glance: Glance, attention: list[str], cared: list[str]
) -> None:
    found = problems(look(status(server(1, "a", *services)), glance), NOW_AT)
    assert (named(found.attention), named(found.cared)) == (attention, cared)
    assert found.n_cared == len(glance.acks)


def test_each_server_has_its_own_row() -> None:
    servers = [server(n, f"web{n}", *(late(10 * n + m) for m in range(3))) for n in (10, 9)]
    found = problems(look(status(*servers)), NOW_AT)
    assert named(found.attention) == ["web9: all 3 services", "web10: all 3 services"]


def test_what_a_dead_host_says() -> None:
    services = [
        late(1, 400, n_alerts=2),
        late(2, 700, n_alerts=1, period=600),
        late(3, 300, period=None),
        service(4, "ok", state("OK", age_s=240), n_alerts=9),
        service(5, "never", None),
    ]
    found = problems(look(status(server(1, "a&b", *services))), NOW_AT)
    [host] = found.attention
    assert isinstance(host, Host)
    assert (host.seen, host.late_by, host.n_alerts) == ("3 min", "5 min", 3)
    assert (host.words, host.href) == ("3 of 5 services", "server=a%26b&state=late")


def test_much_that_is_taken_care_of_waits_behind_its_number() -> None:
    ids = range(1, CARED_SHOWN + 2)
    for n_acked, n_shown in [(CARED_SHOWN, CARED_SHOWN), (CARED_SHOWN + 1, 0)]:
        reply, glance = status(server(1, "a", *failing(*ids))), acked(*ids[:n_acked])
        found = problems(look(reply, glance), NOW_AT)
        assert (found.n_cared, len(found.cared)) == (n_acked, n_shown)
        page = Page(overview(reply, glance=glance, now_at=NOW_AT, base_url="http://x/"))
        assert f"Taken care of: {n_acked}" in page.text
        assert "./services?state=cared" in page.values("href")


def test_nothing_needs_attention() -> None:
    reply, glance = status(server(1, "a", *failing(1))), acked(1)
    page = Page(overview(reply, glance=glance, now_at=NOW_AT, base_url="http://x/"))
    assert "Nothing needs attention." in page.text
    assert "0 need attention 1 taken care of" in page.text
    assert "service-1" in page.values("id")


def test_hosts_count_as_one_row() -> None:
    dead = [
        server(n, f"web{n}", *(late(10 * n + m) for m in range(9))) for n in range(1, SHOWN + 2)
    ]
    for servers, is_cut in [(dead[:SHOWN], False), (dead, True)]:
        found = problems(look(status(*servers)), NOW_AT)
        assert (len(found.attention), found.is_cut) == (SHOWN, is_cut)
        assert found.n_attention == 9 * len(servers)


def test_who_was_told() -> None:
    reply = status(server(1, "a", *failing(1), service(2, "ok", state("OK"))))
    glance = Glance(told={1: ("chat", "<mail>"), 2: ("chat",)})
    whole = look(reply, glance)
    [row] = problems(whole, NOW_AT).attention
    assert isinstance(row, ServiceRow)
    page = Page(overview(reply, glance=glance, now_at=NOW_AT, base_url="http://x/"))
    assert row.told == ("chat", "<mail>")
    assert page.text.count("told chat, <mail>") == 1
