from __future__ import annotations

import pytest

from overc.daemon.messages import render
from overc.daemon.store.deliveries import Delivery


def a_delivery(
    server: str | None,
    service: str | None,
    state: str | None = None,
    info: str | None = None,
    *,
    channel: str = "service:state",
    event: str = "WARN",
    message: str = 'State changed: "OK" -> "WARN"',
) -> Delivery:
    return Delivery(1, 2, channel, event, message, server, service, state, info)


CHANGED = '[service:state/WARN] State changed: "OK" -> "WARN"\n'


@pytest.mark.parametrize(
    "delivery, text",
    [
        (
            a_delivery("localhost", "a", "WARN", "hey3"),
            f"localhost a: {CHANGED}Current: WARN: hey3\n",
        ),
        (a_delivery("localhost", "a", "OK", ""), f"localhost a: {CHANGED}Current: OK: \n"),
        (a_delivery("localhost", "a"), f"localhost a: {CHANGED}"),
        (a_delivery("localhost", None), f"localhost: {CHANGED}"),
        (a_delivery(None, None), f"OverC: {CHANGED}"),
        (a_delivery("узел", "диск 🦉", "UNK", "ё"), f"узел диск 🦉: {CHANGED}Current: UNK: ё\n"),
        (
            a_delivery("h", None, channel="api", event="alert", message="two\nlines"),
            "h: [api/alert] two\nlines\n",
        ),
    ],
)
def test_render(delivery: Delivery, text: str) -> None:
    assert render(delivery) == text
