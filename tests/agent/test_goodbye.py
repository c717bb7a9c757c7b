from __future__ import annotations

from overc.agent.goodbye import Goodbye
from overc.model import ServiceReport, State


def test_the_last_report_of_each_service_is_repeated_with_another_promise() -> None:
    goodbye = Goodbye()
    goodbye.heard(ServiceReport("a", State.OK, "old", 10))
    goodbye.heard(ServiceReport("a", State.FAIL, "bad | x=1", 10, seen_at=5.0, grace_s=3.0))
    goodbye.heard(ServiceReport("b", State.OK, "", 60))
    goodbye.heard(ServiceReport("gone", State.OK, "", 60))
    goodbye.keep(["b", "never heard of", "a"])
    words = "(the agent was stopped; nothing is expected of it for 1d)"
    assert sorted(goodbye.reports(86400)) == [
        ServiceReport("a", State.FAIL, f"bad | x=1\n{words}", 86400),
        ServiceReport("b", State.OK, words, 86400),
    ]
