from __future__ import annotations

import pytest

from overc.daemon.alerting.backoff import (
    FAILURES,
    PATIENCE,
    RETRY_AFTER_MAX_S,
    RETRY_MAX_S,
    RETRY_MIN_S,
    Breaker,
    delay_s,
    next_try_s,
)


@pytest.mark.parametrize(
    "tries, jitter, expected_s",
    [
        (1, 0.0, 15.0),
        (1, 1.0, 22.5),
        (2, 0.0, 30.0),
        (3, 0.5, 75.0),
        (6, 0.0, 480.0),
        (7, 0.0, 600.0),
        (7, 1.0, 900.0),
        (5000, 1.0, 900.0),
    ],
)
def test_pauses_grow_to_a_quarter_of_an_hour(tries: int, jitter: float, expected_s: float) -> None:
    assert delay_s(tries, jitter) == expected_s


def test_pauses_stay_within_their_bounds_and_differ() -> None:
    pauses = [delay_s(tries, n / 10) for tries in range(1, 40) for n in range(11)]
    assert min(pauses) == RETRY_MIN_S
    assert max(pauses) == RETRY_MAX_S
    assert all(delay_s(tries, 0.0) < delay_s(tries, 1.0) for tries in range(1, 40))


@pytest.mark.parametrize(
    "tries, asked_s, expected_s",
    [
        (1, None, 15.0),
        (1, 2.0, 2.0),
        (1, 0.0, 1.0),
        (1, -5.0, 1.0),
        (1, 1200.0, 1200.0),
        (1, 1e9, RETRY_AFTER_MAX_S),
        (PATIENCE, 2.0, 2.0),
        (PATIENCE + 1, 2.0, 480.0),
        (PATIENCE + 1, 1200.0, 1200.0),
    ],
)
def test_a_receiver_says_when_to_come_back(
    tries: int, asked_s: float | None, expected_s: float
) -> None:
    assert next_try_s(tries, 0.0, asked_s) == expected_s


def test_after_failures_of_different_messages_a_plugin_is_only_probed() -> None:
    breaker = Breaker()
    for n in range(FAILURES - 1):
        breaker.failed(n, 100.0, 0.0, None)
    assert not breaker.probing
    assert breaker.wait_s(100.0) == 0
    breaker.failed(FAILURES, 100.0, 0.0, None)
    assert breaker.probing
    assert breaker.wait_s(100.0) == 15
    assert breaker.wait_s(114.0) == 1
    assert breaker.wait_s(115.0) == breaker.wait_s(9999.0) == 0
    # And more and more seldom.
    breaker.failed(1, 115.0, 0.0, None)
    assert breaker.wait_s(115.0) == 30
    assert breaker.worked()
    assert not breaker.probing
    assert breaker.wait_s(115.0) == 0
    assert not breaker.worked()
    for n in range(FAILURES):
        breaker.failed(n, 200.0, 0.0, None)
    assert breaker.wait_s(200.0) == 15


def test_one_message_that_fails_again_and_again_does_not_stop_the_others() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(7, 100.0, 0.0, None)
    assert not breaker.probing


def test_failures_with_successes_in_between_are_not_in_a_row() -> None:
    breaker = Breaker()
    for n in range(10):
        breaker.failed(2 * n, 100.0, 0.0, None)
        breaker.failed(2 * n + 1, 100.0, 0.0, None)
        assert not breaker.worked()


def test_a_plugin_that_failed_before_the_start_is_probed_at_once() -> None:
    breaker = Breaker(probing=True)
    assert breaker.wait_s(0.0) == 0
    breaker.failed(1, 0.0, 0.0, None)
    assert breaker.wait_s(0.0) == 15


@pytest.mark.parametrize("asked_s, wait_s", [(40.0, 40.0), (1e9, RETRY_AFTER_MAX_S)])
def test_nothing_is_sent_to_a_receiver_that_wants_to_be_left_alone(
    asked_s: float, wait_s: float
) -> None:
    breaker = Breaker()
    breaker.failed(1, 100.0, 0.0, asked_s)
    assert not breaker.probing
    assert breaker.wait_s(100.0) == wait_s
    breaker.hold(100.0, 5.0)
    assert breaker.wait_s(100.0) == wait_s
