"""What stands above every page when alerts don't reach people."""

from __future__ import annotations

import pytest
from web.page_doubles import (
    NOW_AT,
    PAGES,
    Page,
    alert,
    overview,
    server,
    service,
    services,
    state,
    status,
)

from overc.daemon.store.deliveries import Failing
from overc.web.alert_log import Found
from overc.web.glance import Glance, Trouble, trouble

MAIL = Failing("mail", NOW_AT - 7200, False)
CHAT = Failing("my chat", NOW_AT - 5, True)


@pytest.mark.parametrize(
    "glance, found",
    [
        (Glance(), None),
        (
            Glance(failing=[MAIL]),
            Trouble("Alert plugin mail has been failing for 2 h.", "overcli alert-test mail"),
        ),
        (
            Glance(failing=[CHAT]),
            Trouble(
                "Alert plugin my chat has been failing for 5 s.", "overcli alert-test 'my chat'"
            ),
        ),
        (
            Glance(failing=[MAIL, CHAT]),
            Trouble("Alert plugins mail and my chat are failing.", "overcli alert-test"),
        ),
        (
            Glance(undelivered=[("mail", 1)]),
            Trouble(
                "1 alert was not delivered through mail in the last 24 hours.",
                "overcli alert-test mail",
            ),
        ),
        (
            Glance(undelivered=[("mail", 1200), ("sms", 1)]),
            Trouble(
                "1,201 alerts were not delivered through mail (1,200) and sms (1) in the last 24"
                " hours.",
                "overcli alert-test",
            ),
        ),
        (
            Glance(failing=[MAIL], undelivered=[("mail", 2)]),
            Trouble(
                "Alert plugin mail has been failing for 2 h. 2 alerts were not delivered"
                " through it in the last 24 hours.",
                "overcli alert-test mail",
            ),
        ),
        (
            Glance(failing=[MAIL], undelivered=[("sms", 2)]),
            Trouble(
                "Alert plugin mail has been failing for 2 h. 2 alerts were not delivered"
                " through sms in the last 24 hours.",
                "overcli alert-test",
            ),
        ),
    ],
)
def test_trouble(glance: Glance, found: Trouble | None) -> None:
    assert trouble(glance, NOW_AT) == found


@pytest.mark.parametrize("glance, shown", [(Glance(), False), (Glance(failing=[MAIL]), True)])
def test_every_page_has_the_banner(glance: Glance, shown: bool) -> None:
    one = status(server(1, "a", service(11, "s", state("OK"))))
    alerts = {"alerts": [alert(1)]}
    silences: dict[str, list[object]] = {"silences": [], "maintenance": []}
    pages = [
        overview(one, now_at=NOW_AT, base_url="http://x/", glance=glance),
        services(one, now_at=NOW_AT, glance=glance),
        PAGES.server(one, alerts, now_at=NOW_AT, glance=glance),
        PAGES.service(one, [], alerts, now_at=NOW_AT, base_url="http://x/", glance=glance),
        PAGES.alerts(Found(alerts), now_at=NOW_AT, glance=glance),
        PAGES.silences(silences, now_at=NOW_AT, glance=glance),
    ]
    words = "Repaired? Send a test: overcli alert-test mail"
    assert [words in Page(html).text for html in pages] == [shown] * 6
    assert ["mail has been failing for 2 h." in html for html in pages] == [shown] * 6
