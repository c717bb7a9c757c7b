"""What stands above every page while the monitoring itself is in trouble."""

from __future__ import annotations

import pytest
from web.page_doubles import NOW_AT

from overc.daemon.store.deliveries import Failing
from overc.web.banners import Banner, banners
from overc.web.glance import Glance

MAIL = Failing("ma\u202eil", NOW_AT - 7200, False)
TEST = " Repaired? Send a test: overcli alert-test"
LOST = ("alerts?hours=168&told=lost", "See which")


@pytest.mark.parametrize(
    "glance, lag_s, found",
    [
        (Glance(), 0, []),
        (Glance(), 5, []),
        (
            Glance(),
            6,
            [
                Banner(
                    "lag",
                    "The watchdog is 6 s behind. Services that have become late may not show it"
                    " yet. Look at the server's log and at the load of its machine.",
                )
            ],
        ),
        (
            Glance(failing=[MAIL]),
            0,
            [
                Banner(
                    "failing",
                    # What could turn the text around is left out.
                    f"Alert plugin mail has been failing for 2 h.{TEST} 'mail'",
                    *LOST,
                )
            ],
        ),
        (
            Glance(undelivered=[("mail", 2)]),
            0,
            [
                Banner(
                    "undelivered",
                    f"2 alerts were not delivered through mail in the last 24 hours.{TEST} mail",
                    *LOST,
                )
            ],
        ),
    ],
)
def test_banners(glance: Glance, lag_s: float, found: list[Banner]) -> None:
    assert banners(glance, lag_s, NOW_AT) == found


def test_servers_with_other_keys() -> None:
    [banner] = banners(Glance(rejected=["web1"]), 0, NOW_AT)
    assert (banner.kind, banner.href) == ("rejected", "settings#rejected")
    assert "web1" in banner.text


def test_all_at_once() -> None:
    everything = Glance(failing=[MAIL], undelivered=[("mail", 1)], rejected=["a", "b"])
    kinds = [banner.kind for banner in banners(everything, 60, NOW_AT)]
    assert kinds == ["lag", "failing", "rejected"]
