from __future__ import annotations

from typing import Any

import pytest

from overc.daemon.expectations import DEFAULT, Expectation, Expectations, Grace, Rule
from overc.daemon.patterns import Patterns
from overc.model import ServiceReport, State


def rule(name: str, servers: str, services: str, **options: Any) -> Rule:
    return Rule(name, Patterns(servers), Patterns(services), options)


RULES = Expectations(
    [
        rule("backups", "*", "backup*", after=1, expire_after_s=None),
        rule("lab", "lab*", "*", after=5, quiet_states=frozenset({State.WARN})),
        rule("rest", "*", "*", after=2, grace=Grace(30.0), expire_after_s=86400.0),
    ]
)


@pytest.mark.parametrize(
    "server, service, after, quiet, expires",
    [
        ("web1", "disk", 2, False, 86400.0),
        ("lab1", "disk", 5, True, 86400.0),
        ("web1", "backup", 1, False, None),
        ("lab1", "backup of /", 1, True, None),
    ],
)
def test_the_first_rule_that_gives_an_option_decides_it(
    server: str, service: str, after: int, quiet: bool, expires: float | None
) -> None:
    found = RULES.of(server, service)
    assert (found.after, State.WARN in found.quiet_states) == (after, quiet)
    assert (found.grace, found.expire_after_s) == (Grace(30.0), expires)


def test_what_no_rule_matches_is_as_ever() -> None:
    assert Expectations().of("web1", "disk") is DEFAULT
    assert Expectations([rule("lab", "lab*", "*", after=5)]).of("web1", "disk") is DEFAULT
    assert Expectation() == DEFAULT


def test_many_services_share_one_value() -> None:
    assert RULES.of("web1", "disk") is RULES.of("web2", "cpu")


def test_which_rule_decided() -> None:
    assert RULES.deciding("lab1", "backup") == {
        "after": "backups",
        "expire_after_s": "backups",
        "quiet_states": "lab",
        "grace": "rest",
    }
    assert Expectations().deciding("lab1", "backup") == {}


@pytest.mark.parametrize(
    "grace, period_s, grace_s",
    [(Grace(), 60, 0.0), (Grace(30.0), 60, 30.0), (Grace(share=0.25), 60, 15.0)],
)
def test_grace(grace: Grace, period_s: int, grace_s: float) -> None:
    assert grace.of(period_s) == grace_s
    report = ServiceReport("disk", State.OK, "", period_s)
    assert Expectation(grace).grace_s(report) == grace_s
    assert Expectation(grace).grace_s(report._replace(grace_s=7.0)) == 7.0


def test_the_shortest_time_to_expire() -> None:
    assert RULES.shortest_expiry_s() == 86400.0
    assert Expectations().shortest_expiry_s() is None
    assert Expectations([rule("keep", "*", "*", expire_after_s=None)]).shortest_expiry_s() is None
