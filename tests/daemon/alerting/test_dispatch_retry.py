"""Plugins that fail: trying again, giving up, probing, and what the others say of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from daemon.doubles import (
    FAILED,
    GOOD,
    OFFLINE,
    ONLINE,
    Post,
    failure_message,
    works_message,
)
from support_daemon import STEADY_AT, WALL_AT, a_database, our_log, result_of, rows

from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.backoff import FAILURES
from overc.daemon.alerting.delivering import BUSY_TRIES
from overc.daemon.alerting.routing import Route
from overc.daemon.alerting.senders import Attempt
from overc.model import Alert, Channel, State

FAILING = "select plugin from failing_plugins order by plugin"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


def warned(state: State) -> Alert:
    return FAILED._replace(event=state.value, severity=state, message=f"now {state.value}")


def impatient(name: str, retry_for_s: float) -> AlertPlugin:
    return AlertPlugin(name, (name, "an argument"), "/folder", 7.0, retry_for_s=retry_for_s)


def test_what_failed_is_tried_again_after_growing_pauses(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    pauses = []
    for _ in range(8):
        begun_s = post.reactor.seconds()
        post.end_one("mail", 3, b"no route\n")
        while not post.under_way("mail"):
            post.advance(0.5)
        pauses.append(round(post.reactor.seconds() - begun_s))
    assert pauses == [15, 30, 60, 120, 240, 480, 600, 600]
    assert post.ids("mail") == [1] * 9
    post.end_one("mail")
    assert post.statuses("mail") == ["sent"]
    attempts = "select delivered, words from attempts order by id"
    assert rows(path, attempts) == [(0, "exit status 3: no route")] * 8 + [(1, "")]
    assert rows(path, "select tries from outbox where status = 'sent'") == [(9,)]


def test_what_failed_holds_up_its_service_and_no_other(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", FAILED, "cpu", warned(State.WARN), "disk", GOOD)
    post.raise_alerts("about the server")
    post.start()
    post.end_one("mail", 1)
    post.end_all("mail")
    assert post.messages("mail") == ["it failed", "now WARN", "about the server"]
    post.advance(14)
    assert len(post.runs("mail")) == 3
    post.advance(1)
    post.end_all("mail")
    assert post.messages("mail")[3:] == ["it failed", "it works"]


def test_a_failure_survives_a_restart(path: str) -> None:
    before = Post(path, "mail")
    before.raise_about("disk", FAILED, "disk", GOOD)
    before.start()
    before.end_one("mail", 1)
    result_of(before.dispatch.stopService())
    after = Post(path, "mail")
    after.start()
    assert after.runner.runs == []
    after.advance(15)
    after.end_all("mail")
    assert after.messages("mail") == ["it failed", "it works"]


def test_a_message_is_tried_again_as_it_was_under_the_same_id(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", OFFLINE, "cpu", OFFLINE)
    post.start()
    post.end_one("mail", 1)
    # More of the server is late when it is tried again.
    post.clock.advance(15)
    post.raise_about("load", OFFLINE, "net", OFFLINE)
    post.dispatch.nudge()
    post.end_all("mail")
    assert post.ids("mail") == [1, 1, 4]
    first, again, _ = (run.stdin for run in post.runs("mail"))
    assert again == first
    assert post.statuses("mail") == ["sent"] * 4


def test_the_others_say_once_that_a_plugin_fails_and_that_it_works_again(path: str) -> None:
    post = Post(path, "bad", "mail", "log")
    post.raise_about("disk", FAILED, "cpu", FAILED)
    post.start()
    with our_log() as lines:
        post.end_all("bad", 3, b"no route\n")
    reason = "exit status 3: no route"
    assert lines == [f"error: alert plugin bad failed: {reason}"] * 2
    assert post.outbox("bad") == [("pending", reason)] * 2
    for name in ("mail", "log"):
        post.end_all(name)
        assert post.messages(name) == ["it failed"] * 2 + [failure_message("bad", reason)]
    notice = f"OverC: [alert-plugin/failed] {failure_message('bad', reason)}\n"
    assert post.runs("mail")[-1].stdin == notice.encode()
    assert rows(path, FAILING) == [("bad",)]
    # It goes on failing: nothing more is said.
    post.advance(20)
    post.end_all("bad", 3)
    post.end_all("mail")
    assert len(post.messages("mail")) == 3
    with our_log() as lines:
        post.advance(40)
        post.end_all("bad")
    assert lines == ["info: alert plugin bad works again"]
    assert rows(path, FAILING) == []
    for name in ("mail", "log"):
        post.end_all(name)
        assert post.messages(name)[3:] == [works_message("bad")]
    assert post.runs("mail")[-1].stdin == (
        b"OverC: [alert-plugin/works] Alert plugin `bad` works again\n"
    )
    assert post.messages("bad").count(works_message("bad")) == 0
    # And from the beginning.
    post.raise_about("disk", GOOD)
    post.dispatch.nudge()
    post.end_one("bad", 4)
    post.end_all("mail")
    assert post.messages("mail")[4:] == ["it works", failure_message("bad", "exit status 4")]


def test_a_message_that_is_refused_for_ever_is_one_failure(path: str) -> None:
    post = Post(path, "picky", "mail")
    post.raise_about("poison", FAILED)
    post.start()
    post.end_one("picky", 1)
    for n in range(10):
        post.raise_about(f"service {n}", FAILED)
        post.dispatch.nudge()
        post.end_all("picky")
        post.advance(700)
        post.end_one("picky", 1)
    post.end_all("mail")
    notices = [text for text in post.messages("mail") if "picky" in text]
    assert notices == [failure_message("picky", "exit status 1"), works_message("picky")]


def test_two_broken_plugins_do_not_report_each_other_for_ever(path: str) -> None:
    post = Post(path, "bad", "worse")
    post.raise_alerts("one")
    post.start()
    for _ in range(100):
        post.clock.advance(100)
        post.dispatch.nudge()
        for run in list(post.runner.under_way):
            run.end(1)
    assert rows(path, "select message from alerts where channel <> 'api' order by id") == [
        (failure_message("bad", "exit status 1"),),
        (failure_message("worse", "exit status 1"),),
    ]


@pytest.mark.parametrize("n_plugins", [2, 3])
def test_plugins_that_fail_every_other_time_come_to_rest(path: str, n_plugins: int) -> None:
    names = [f"plugin {n}" for n in range(n_plugins)]
    post = Post(path, *names)
    post.raise_alerts("one")
    post.start()
    for _ in range(400):
        post.clock.advance(30)
        post.dispatch.nudge()
        for run in list(post.runner.under_way):
            run.end(len(post.runs(run.argv[0])) % 2)
    assert rows(path, "select count(*) from outbox where status = 'pending'") == [(0,)]
    said = rows(path, "select message from alerts where channel = 'alert-plugin'")
    assert len(said) < 10 * n_plugins


def test_a_plugin_that_fails_is_not_reported_again_after_a_restart(path: str) -> None:
    before = Post(path, "bad", "mail")
    before.raise_about("disk", FAILED, "cpu", FAILED, "net", FAILED)
    before.start()
    before.end_all("mail")
    before.end_all("bad", 1)
    before.end_all("mail")
    result_of(before.dispatch.stopService())
    after = Post(path, "bad", "mail")
    after.clock.advance(3600)
    after.start()
    # One message, and not each of those that wait.
    assert len(after.runs("bad")) == 1
    after.end_all("bad", 1)
    after.end_all("mail")
    assert after.messages("mail") == []
    after.advance(16)
    after.end_all("bad")
    after.end_all("mail")
    assert after.messages("mail") == [works_message("bad")]
    assert after.statuses("bad") == ["sent"] * 3


def test_a_plugin_that_always_fails_is_only_probed(path: str) -> None:
    patient = AlertPlugin("bad", ("bad", "an argument"), digest_over=10_000)
    post = Post(path, patient)
    for n in range(200):
        post.raise_about(f"service {n}", FAILED)
    post.start()
    post.end_all("bad", 1)
    assert len(post.runs("bad")) == FAILURES
    for _ in range(8):
        post.advance(900)
        assert len(post.under_way("bad")) == 1
        post.end_all("bad", 1)
    assert len(post.runs("bad")) == FAILURES + 8
    # When one gets through, all that waits goes at once, also what would have waited longer.
    post.advance(900)
    now_s = post.reactor.seconds()
    post.end_all("bad")
    assert post.reactor.seconds() == now_s
    assert post.statuses("bad") == ["sent"] * 200


def test_given_up_after_its_time(path: str) -> None:
    post = Post(path, impatient("bad", 100.0), "mail")
    post.raise_about("disk", FAILED)
    post.start()
    with our_log() as lines:
        for _ in range(12):
            post.end_all("bad", 1)
            post.advance(10)
    # The last try is when its time is over: after 15, 45 and 100 s.
    assert len(post.runs("bad")) == 4
    assert post.outbox("bad") == [("undelivered", "exit status 1")]
    assert lines[-1] == "error: alert plugin bad: 1 alerts given up"
    # Its recovery goes to who was told of the problem.
    assert post.standing("bad") == []
    assert post.standing("mail") == [("state", False)]
    post.end_all("mail")
    assert post.standing("mail") == [("state", True)]
    post.raise_about("disk", GOOD)
    post.dispatch.nudge()
    post.end_all("mail")
    assert "it works" not in post.messages("bad")
    assert post.messages("mail")[-1] == "it works"


def test_no_recovery_of_a_problem_that_was_given_up(path: str) -> None:
    post = Post(path, impatient("bad", 100.0))
    post.raise_about("disk", FAILED)
    post.start()
    post.end_all("bad", 1)
    post.raise_about("disk", GOOD)
    for _ in range(12):
        post.advance(10)
        post.end_all("bad", 1)
    assert post.messages("bad") == ["it failed"] * 4
    assert post.statuses("bad") == ["undelivered", "cancelled"]
    # A service that was bad again in between is another matter.
    post.raise_about("disk", FAILED, "disk", GOOD)
    post.advance(10)
    post.end_all("bad")
    assert post.messages("bad")[4:] == ["it failed", "it works"]


def test_what_a_dead_plugin_never_got_to_is_given_up_too(path: str) -> None:
    post = Post(path, impatient("bad", 3600.0))
    for n in range(40):
        post.raise_about(f"service {n}", OFFLINE, f"service {n}", ONLINE, server=f"web{n}")
    post.start()
    for _ in range(12):
        post.end_all("bad", 1)
        post.advance(600)
    assert len(post.runs("bad")) < 12
    found = post.statuses("bad")
    assert set(found) == {"undelivered"}
    assert post.standing("bad") == []


def test_a_long_time_off_is_no_reason_to_give_up_untried(path: str) -> None:
    before = Post(path, impatient("mail", 3600.0))
    before.raise_about("disk", FAILED, "cpu", FAILED)
    after = Post(path, impatient("mail", 3600.0))
    after.clock.advance(7200)
    after.start()
    after.end_one("mail")
    after.end_one("mail", 1)
    assert after.statuses("mail") == ["sent", "undelivered"]


class Receiver:
    """A sender that answers what the test says."""

    def __init__(self) -> None:
        self.answers: list[Attempt] = []
        self.times: list[float] = []
        self.post: Post

    async def send(self, message: object) -> Attempt:
        self.times.append(round(self.post.reactor.seconds()))
        return self.answers.pop(0) if self.answers else Attempt(True, "")


def with_receiver(post: Post, *answers: Attempt) -> Receiver:
    receiver = Receiver()
    receiver.post = post
    receiver.answers = list(answers)
    post.dispatch._workers[0]._sender = receiver
    return receiver


def test_a_receiver_that_wants_to_be_left_alone_is(path: str) -> None:
    post = Post(path, "chat", "mail")
    receiver = with_receiver(post, Attempt(False, "429", 2.0), Attempt(False, "429", 40.0))
    post.raise_about("disk", FAILED, "cpu", FAILED)
    post.start()
    post.advance(60)
    assert receiver.times == [0, 2, 42, 42]
    # It only asked for some patience.
    post.end_all("mail")
    assert post.messages("mail") == ["it failed"] * 2


def test_a_receiver_that_always_wants_to_be_left_alone_is_reported(path: str) -> None:
    post = Post(path, "chat", "mail")
    with_receiver(post, *[Attempt(False, "429", 2.0)] * 10)
    post.raise_about("disk", FAILED)
    post.start()
    post.advance(2 * BUSY_TRIES - 3)
    post.end_all("mail")
    assert len(post.messages("mail")) == 1
    post.advance(600)
    post.end_all("mail")
    assert post.messages("mail")[1:] == [failure_message("chat", "429")]


def test_a_clock_that_was_set_back_holds_up_nothing(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", FAILED)
    post.start()
    post.end_one("mail", 1)
    post.raise_about("cpu", FAILED)
    post.clock.wall_at -= 3600
    post.dispatch.nudge()
    post.end_all("mail")
    # The next try waited for a time that is an hour off now.
    assert post.messages("mail") == ["it failed"] * 3
    assert post.statuses("mail") == ["sent", "sent"]
    assert (post.clock.wall_at, post.clock.steady_at) == (WALL_AT - 3600, STEADY_AT)


def test_a_reminder_is_planned_when_a_problem_was_told(path: str) -> None:
    reminding = AlertPlugin("mail", ("mail", ""), route=Route("mail", remind_s=600.0))
    post = Post(path, reminding)
    post.raise_about("disk", FAILED)
    post.raise_alerts("a note")
    post.start()
    assert rows(path, "select told_at, remind_at from standing") == [(None, None)]
    post.clock.advance(5)
    post.end_all("mail")
    assert rows(path, "select told_at, remind_at from standing") == [(WALL_AT + 5, WALL_AT + 605)]


def test_notices_about_plugins_are_no_alerts_of_the_plugin_itself(path: str) -> None:
    post = Post(path, "bad")
    post.raise_alerts("one")
    post.start()
    post.end_one("bad", 1)
    own = "select count(*) from outbox join alerts on alerts.id = alert_id where channel = ?"
    assert rows(path, own, Channel.ALERT_PLUGIN.value) == [(0,)]
    assert rows(path, FAILING) == [("bad",)]
