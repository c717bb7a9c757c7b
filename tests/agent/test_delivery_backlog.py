from __future__ import annotations

from typing import Any

import pytest
from agent.delivery_doubles import HOLD_S, Bench, raising

from overc.agent.delivery import BACKLOG_PACE, backlog_s, retry_s
from overc.agent.push import Unavailable
from overc.agent.stamps import Skew


@pytest.fixture
def bench() -> Bench:
    return Bench().start()


def test_a_backlog_is_less_than_twice_the_usual() -> None:
    per_s = 1000 / (0.8 * 60)
    assert 1 / backlog_s(1, per_s) == pytest.approx(BACKLOG_PACE * per_s)
    # With what is reported beside it.
    assert backlog_s(10, per_s) == pytest.approx(10 * backlog_s(1, per_s))
    assert BACKLOG_PACE + 1 < 3


def test_a_backlog_follows_slowly_and_the_present_goes_before_it(bench: Bench) -> None:
    bench.pusher.answer = raising(Unavailable("away"))
    for info in range(5):
        bench.report("a", info=str(info))
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(1) == 1
    # Other agents may not have found the server yet.
    assert bench.sent_after(HOLD_S) == 1
    assert bench.numbers() == [5, 1]
    bench.report("a", info="5")
    assert bench.numbers() == [5, 1, 6]
    # One state in a second is usual here.
    assert [bench.sent_after(1 / BACKLOG_PACE) for _ in range(3)] == [1, 1, 1]
    assert bench.numbers() == [5, 1, 6, 2, 3, 4]
    assert bench.infos()[-1] == [("a", "3")]
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("random", [0.0, 1.0])
def test_a_backlog_waits_for_the_last_of_the_other_agents(random: float) -> None:
    bench = Bench()
    bench.random = random
    bench.start()
    bench.pusher.answer = raising(Unavailable("away"))
    for info in range(2):
        bench.report("a", info=str(info))
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    assert bench.sent_after(retry_s(1, random, 3600)) == 1
    # It may have begun the longest wait of all just before the server came back.
    last_s, own_s = retry_s(100, 1.0, 3600), retry_s(100, random, 3600)
    assert bench.sent_after(last_s + own_s) == 1


def test_a_former_runs_spool_is_sealed_before_it_is_sent(tmp_path: Any) -> None:
    path = str(tmp_path / "spool.db")
    former = Bench(path)
    former.pusher.answer = raising(Unavailable("away"))
    former.start()
    former.report("a", "h", info="1")
    former.report("a", info="2")
    former.stop()
    former.pusher.sent.clear()
    bench = Bench(path)
    bench.pusher.answer = raising(Unavailable("away"))
    bench.start()
    bench.report("a", info="3")
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    bench.clock.pump([1.0] * 60)
    ours, theirs = bench.outbox.spool, former.outbox.spool
    assert [one.spooled for one in bench.pusher.sent] == [
        (ours, 1), (theirs, 3), (theirs, 1), (theirs, 2)
    ]  # fmt: skip
    assert bench.infos() == [[("a", "3")], [], [("a", "1"), ("h", "1")], [("a", "2")]]
    bench.stop()


def test_what_a_former_run_has_left_is_sent_at_the_start(tmp_path: Any) -> None:
    path = str(tmp_path / "spool.db")
    former = Bench(path)
    former.pusher.answer = raising(Unavailable("away"))
    former.start()
    former.report("a")
    former.stop()
    bench = Bench(path).start()
    assert bench.pusher.names() == [["a"]]
    bench.stop()


def test_an_old_state_is_older_than_the_present_one_whatever_the_clock_did() -> None:
    bench = Bench().start()
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a", info="1")
    bench.clocks.stepped_s -= 3600
    bench.report("a", info="2")
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    bench.clock.pump([1.0] * 60)
    times = [one.services[0].seen_at for one in bench.pusher.sent]
    assert times == [996_400.0, 996_399.999]


def test_a_clock_that_is_ahead_is_taken_into_account() -> None:
    bench = Bench().start()
    assert bench.delivery.clock_skew_s is None
    bench.pusher.answer = raising(Unavailable("away"))
    bench.report("a", info="1")
    bench.clock.advance(60)
    bench.report("a", info="2")
    bench.pusher.sent.clear()
    bench.pusher.answer = lambda _: None
    bench.pusher.skew = Skew(3600.5, True, 0.1)
    bench.clock.pump([1.0] * 60)
    assert bench.delivery.clock_skew_s == 3600.5
    times = [one.services[0].seen_at for one in bench.pusher.sent]
    assert times == [1_000_060.0, 1_000_000.0 - 3600.5]
