from __future__ import annotations

import pytest

from overc.daemon.store.status import AlertView, StateView
from overc.daemon.store.told import Told
from overc.web import shapes

AT = 1_772_359_200.25  # 2026-03-01 10:00:00.250


@pytest.mark.parametrize(
    "at, text",
    [
        (0.0, "1970-01-01 00:00:00.000000"),
        (AT, "2026-03-01 10:00:00.250000"),
        (4102444800.0, "2100-01-01 00:00:00.000000"),
    ],
)
def test_utc(at: float, text: str) -> None:
    assert shapes.utc(at) == text


def an_alert(id_: int, state_id: int | None) -> AlertView:
    said = ("service:state", "WARN", "WARN", "changed")
    return AlertView(id_, "web1", 1, "disk", 3, state_id, AT, *said, "WARN", "90 %")


def test_a_history() -> None:
    history = [StateView(34, AT, AT + 5, "OK", ""), StateView(33, AT - 1, AT - 1, "WARN", "90 %")]
    raised = {33: [an_alert(5, 33), an_alert(6, 33)], None: [an_alert(7, None)]}
    said = {"channel": "service:state", "event": "WARN", "message": "changed", "severity": "WARN"}
    assert shapes.states(history, raised, 3, "disk") == [
        {
            "id": 34,
            "rtime": "2026-03-01 10:00:00.250000",
            "received": "2026-03-01 10:00:05.250000",
            "state": "OK",
            "info": "",
            "service": "disk",
            "service_id": 3,
            "alerts": [],
        },
        {
            "id": 33,
            "rtime": "2026-03-01 09:59:59.250000",
            "received": "2026-03-01 09:59:59.250000",
            "state": "WARN",
            "info": "90 %",
            "service": "disk",
            "service_id": 3,
            "alerts": [{"id": 5, **said}, {"id": 6, **said}],
        },
    ]


def test_alerts() -> None:
    own = AlertView(
        2, None, None, None, None, None, AT, "alert-plugin", "failed", "FAIL", "x", None, None
    )  # fmt: skip
    told = Told(5, "mail", "pending", AT + 1, 2, AT, "no route", False, 3, 4, AT + 2)
    untried = Told(5, "chat", "pending", AT, 0, None, None, True, None)
    assert shapes.alerts([an_alert(5, 33), own], {5: [told, untried]}) == {
        "alerts": [
            {
                "id": 5,
                "server": "web1",
                "server_id": 1,
                "service": "disk",
                "service_id": 3,
                "ctime": "2026-03-01 10:00:00.250000",
                "channel": "service:state",
                "event": "WARN",
                "severity": "WARN",
                "message": "changed",
                "state_info": "90 %",
                "deliveries": [
                    {
                        "plugin": "mail",
                        "status": "pending",
                        "due_at": "2026-03-01 10:00:01.250000",
                        "tries": 2,
                        "tried_at": "2026-03-01 10:00:00.250000",
                        "outcome": "no route",
                        "reminder": False,
                        "silence_id": 3,
                        "reminders": 4,
                        "reminded_at": "2026-03-01 10:00:02.250000",
                    },
                    {
                        "plugin": "chat",
                        "status": "pending",
                        "due_at": "2026-03-01 10:00:00.250000",
                        "tries": 0,
                        "tried_at": None,
                        "outcome": None,
                        "reminder": True,
                        "silence_id": None,
                        "reminders": 0,
                        "reminded_at": None,
                    },
                ],
            },
            {
                "id": 2,
                "server": None,
                "server_id": None,
                "service": None,
                "service_id": None,
                "ctime": "2026-03-01 10:00:00.250000",
                "channel": "alert-plugin",
                "event": "failed",
                "severity": "FAIL",
                "message": "x",
                "state_info": None,
                "deliveries": [],
            },
        ]
    }
