"""Generated histories of alerts, silences, acknowledgements and deliveries that fail.

They run through the real routing and its SQL, on SQLite in memory, and are held against what people
may expect. A few run with the other tests; 10,000 of them by

    OVERC_NIGHTLY=1 make test TESTS=tests/daemon/alerting/test_routing_model.py
"""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_routing import BEGIN_AT, PLUGINS, SERVICES, Span, World, a_transaction

from overc.daemon.alerting.routing import Maintenance, Route
from overc.daemon.patterns import EVERYTHING, Patterns
from overc.model import State

HISTORIES = 10_000 if os.environ.get("OVERC_NIGHTLY") else 60


def routes() -> st.SearchStrategy[list[Route]]:
    quiet = st.none() | st.builds(
        lambda at, lasts: Span(BEGIN_AT + at, BEGIN_AT + at + lasts),
        st.sampled_from([0, 50, 200]),
        st.sampled_from([30, 300]),
    )
    names = [EVERYTHING, EVERYTHING, EVERYTHING, Patterns("web1")]
    events = [
        EVERYTHING,
        EVERYTHING,
        EVERYTHING,
        Patterns("service:state/FAIL, plugin/*"),
        Patterns("service:state/WARN"),
        Patterns("!plugin/*"),
    ]
    return st.tuples(
        *(
            st.builds(
                Route,
                st.just(name),
                st.sampled_from(names),
                st.sampled_from([EVERYTHING, EVERYTHING, EVERYTHING, Patterns("disk")]),
                st.sampled_from(events),
                st.sampled_from([0.0, 0.0, 40.0]),
                st.sampled_from([None, 60.0]),
                quiet,
            )
            for name in PLUGINS
        )
    ).map(list)


def maintenances() -> st.SearchStrategy[list[Maintenance]]:
    window = st.builds(
        lambda at, servers: Maintenance(
            "nightly", Span(BEGIN_AT + at, BEGIN_AT + at + 100), Patterns(servers)
        ),
        st.sampled_from([0, 60]),
        st.sampled_from(["*", "web1"]),
    )
    return st.just([]) | st.lists(window, max_size=1)


a_service = st.sampled_from(sorted(SERVICES))
a_change = st.tuples(
    a_service, st.sampled_from([State.OK, State.OK, State.WARN, State.FAIL, True, False])
)
a_silence = st.tuples(
    st.sampled_from(["*", "*", "web1"]),
    st.just("*"),
    st.sampled_from([0.0, 0.0, 20.0]),
    st.sampled_from([30.0, 120.0]),
)
DO = {
    "change": st.tuples(st.lists(a_change, min_size=1, max_size=3)),
    "note": st.tuples(a_service),
    "silence": a_silence,
    "end_silence": st.tuples(st.integers(0, 3)),
    "acknowledge": st.tuples(a_service),
    "look": st.tuples(),
    "deliver": st.tuples(
        st.lists(st.booleans(), min_size=1, max_size=4) | st.just([True] * 9) | st.just([False] * 9)
    ),
}
OFTEN = ["change"] * 6 + ["deliver"] * 5 + ["look"] * 3 + ["silence"] * 2 + list(DO)
a_step = st.sampled_from(OFTEN).flatmap(lambda name: st.tuples(st.just(name), DO[name]))
a_wait = st.sampled_from([0.0, 0.0, 1.0, 10.0, 20.0, 45.0, 150.0])


@settings(
    max_examples=HISTORIES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(routes(), maintenances(), st.lists(st.tuples(a_wait, a_step), min_size=10, max_size=60))
def test_what_people_may_expect_of_any_history(
    routes: list[Route], maintenances: list[Maintenance], history: list[tuple[float, Any]]
) -> None:
    with a_transaction() as tx:
        world = World(tx, routes, maintenances)
        for wait_s, (step, arguments) in history:
            world.now_at += wait_s
            getattr(world, step)(*arguments)
        world.settle()
        world.check()
        world.recover()
        world.settle()
        world.check()
