from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from daemon.doubles import FAILED, OFFLINE, Post, failure_message
from support_daemon import WALL_AT, a_database, change, our_log, result_of, rows
from twisted.internet.defer import Deferred, ensureDeferred

from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.delivering import CLAIM_S, PLAN_S, RETRY_S
from overc.daemon.alerting.senders import Attempt
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import StorageError
from overc.process import Outcome


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


def test_an_alert_is_sent_and_marked_after_the_plugin_has_ended(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    [run] = post.runner.runs
    assert run.argv == ("mail", "an argument")
    assert (run.folder, run.timeout_s) == ("/folder", 7.0)
    assert run.stdin == b"web1: [api/alert] one\n"
    assert run.env["OVERC_ALERT_ID"] == "1"
    assert post.outbox("mail") == [("pending", None)]
    post.clock.advance(2.5)
    run.end(0, b"\n thanks \n")
    assert post.outbox("mail") == [("sent", "thanks")]
    assert rows(path, "select tried_at, tries from outbox") == [(WALL_AT + 2.5, 1)]
    attempts = "select outbox_id, tried_at, took_s, delivered, words from attempts"
    assert rows(path, attempts) == [(1, WALL_AT + 2.5, 2.5, 1, "thanks")]


def test_alerts_of_one_server_go_one_by_one_in_order(path: str) -> None:
    post = Post(path, "mail")
    wanted = [str(number) for number in range(7)]
    post.raise_alerts(*wanted)
    post.start()
    for done in range(7):
        assert post.messages("mail") == wanted[: done + 1]
        if done % 2:
            post.dispatch.nudge()
        post.end_one("mail")
    assert post.messages("mail") == wanted
    assert post.runner.most_at_once == {"mail": 1}
    assert post.statuses("mail") == ["sent"] * 7
    # What was planned was not asked for again, but for the nudges.
    assert post.store.calls.count("read the outbox") <= 2 + 3


def test_a_plugin_that_hangs_delays_no_other(path: str) -> None:
    post = Post(path, "slow", "mail")
    post.raise_alerts("one", "two")
    post.start()
    post.end_all("mail")
    assert post.messages("slow") == ["one"]
    assert post.messages("mail") == ["one", "two"]
    assert post.statuses("slow") == ["pending", "pending"]
    assert post.statuses("mail") == ["sent", "sent"]
    post.end_all("slow")
    assert post.statuses("slow") == ["sent", "sent"]
    for name in ("slow", "mail"):
        assert post.ids(name) == [1, 2]


def test_a_notice_wakes_the_others_at_once(path: str) -> None:
    post = Post(path, "bad", "mail")
    post.raise_alerts("one")
    post.start()
    post.end_all("mail")
    post.end_one("bad", 1)
    assert post.messages("mail") == ["one", failure_message("bad", "exit status 1")]
    assert post.reactor.seconds() == 0


def test_a_failing_plugin_alone_is_logged(path: str) -> None:
    post = Post(path, "bad")
    post.raise_alerts("one")
    post.start()
    with our_log() as lines:
        post.end_all("bad", 1, b"\x1b[31mtwo\nlines")
    assert lines == ["error: alert plugin bad failed: exit status 1:  [31mtwo lines"]
    assert rows(path, "select message from alerts where channel = 'alert-plugin'") == [
        (failure_message("bad", "exit status 1: \x1b[31mtwo\nlines"),)
    ]


def test_a_crash_between_the_run_and_the_mark_sends_again(path: str) -> None:
    before = Post(path, "mail")
    before.raise_alerts("one", "two")
    before.start()
    before.store.held = True
    before.runner.runs[0].end()
    assert before.statuses("mail") == ["pending", "pending"]
    # The process is gone here; another one starts on the same file.
    after = Post(path, "mail")
    after.start()
    after.end_all("mail")
    assert after.messages("mail") == ["one", "two"]
    assert after.runner.runs[0].env == before.runner.runs[0].env
    assert after.statuses("mail") == ["sent", "sent"]


def test_what_a_stop_interrupts_stays_pending(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one", "two")
    post.start()
    assert post.runner.running
    result_of(post.dispatch.stopService())
    assert not post.runner.running
    assert post.statuses("mail") == ["pending", "pending"]
    assert rows(path, "select count(*) from attempts") == [(0,)]
    assert post.messages("mail") == ["one"]
    assert post.reactor.getDelayedCalls() == []
    after = Post(path, "mail")
    after.start()
    after.end_all("mail")
    assert after.messages("mail") == ["one", "two"]


def test_what_ends_well_during_a_stop_is_marked(path: str) -> None:
    post = Post(path, "mail", "log")
    post.raise_alerts("one", "two")
    post.start()
    by_itself: Deferred[None] = Deferred()
    post.runner.stopService = lambda: by_itself  # type: ignore[method-assign]
    stopped = ensureDeferred(post.dispatch.stopService())
    post.runs("mail")[0].end()
    post.runs("log")[0].end_as(Outcome(signal=15))
    by_itself.callback(None)
    result_of(stopped)
    assert post.statuses("mail") == ["sent", "pending"]
    assert post.statuses("log") == ["pending", "pending"]
    assert len(post.runner.runs) == 2


def test_stop_waits_for_the_mark(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    post.store.held = True
    post.runner.runs[0].end()
    stopped = ensureDeferred(post.dispatch.stopService())
    assert not stopped.called
    post.store.step()
    result_of(stopped)
    assert post.statuses("mail") == ["sent"]


class Webhook:
    """A sender that is no command: nobody but its caller can end it."""

    def __init__(self) -> None:
        self.cancelled = False
        self.answer: Deferred[Attempt] = Deferred(self._cancel)

    def _cancel(self, answer: Deferred[Attempt]) -> None:
        self.cancelled = True

    async def send(self, message: object) -> Attempt:
        return await self.answer


def with_webhook(post: Post) -> Webhook:
    webhook = Webhook()
    post.dispatch._workers[0]._sender = webhook
    return webhook


def test_a_stop_ends_what_is_no_command(path: str) -> None:
    post = Post(path, "mail")
    webhook = with_webhook(post)
    post.raise_alerts("one")
    post.start()
    result_of(post.dispatch.stopService())
    assert webhook.cancelled
    assert post.statuses("mail") == ["pending"]
    assert post.reactor.getDelayedCalls() == []


def test_a_sender_with_a_fault_has_failed(path: str) -> None:
    post = Post(path, "mail")
    webhook = with_webhook(post)
    post.raise_alerts("one")
    post.start()
    with our_log() as lines:
        webhook.answer.errback(ZeroDivisionError("ours"))
    reason = "it failed inside OverC: the server's log says why"
    assert lines == [
        "critical: alert plugin mail: the sender failed",
        f"error: alert plugin mail failed: {reason}",
    ]
    assert post.outbox("mail") == [("pending", reason)]


def test_stop_while_resting(path: str) -> None:
    post = Post(path, "mail", "log")
    post.start()
    assert len(post.reactor.getDelayedCalls()) == 2
    result_of(post.dispatch.stopService())
    assert post.reactor.getDelayedCalls() == []


@pytest.mark.parametrize("reads", ["read the outbox", "read which plugins fail"])
def test_stop_while_the_store_fails(path: str, reads: str) -> None:
    post = Post(path, "mail")
    reading: Deferred[None] = Deferred()
    post.store.fault = lambda description: reading if description == reads else None
    post.start()
    stopped = ensureDeferred(post.dispatch.stopService())
    assert not stopped.called
    with our_log():
        reading.errback(StorageError("gone"))
    result_of(stopped)
    assert post.reactor.getDelayedCalls() == []


def test_stop_while_the_store_does_not_take_the_mark(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    post.store.fault = failing_at("mark an alert as sent")
    with our_log():
        post.end_one("mail")
        result_of(post.dispatch.stopService())
    assert post.reactor.getDelayedCalls() == []
    assert post.statuses("mail") == ["pending"]


def test_a_stop_just_before_the_run(path: str) -> None:
    post = Post(path, "mail")
    waiting: Deferred[None] = Deferred()
    post.store.fault = lambda description: waiting if description == "read alerts" else None
    post.raise_alerts("one")
    post.start()
    stopped = ensureDeferred(post.dispatch.stopService())
    waiting.callback(None)
    result_of(stopped)
    assert post.runner.runs == []
    assert post.statuses("mail") == ["pending"]


def test_alerts_for_plugins_that_are_gone(path: str) -> None:
    Post(path, "mail", "gone").raise_alerts("one", "two")
    post = Post(path, "mail")
    with our_log() as lines:
        post.start()
    post.end_all("mail")
    assert lines == ["warn: 2 alerts waited for plugins that are gone: dropped"]
    assert post.outbox("gone") == [("undelivered", "not configured any more")] * 2
    assert post.statuses("mail") == ["sent", "sent"]


def failing_at(failing: str) -> Callable[[str], None]:
    def fault(description: str) -> None:
        if description == failing:
            raise StorageError("gone")

    return fault


def test_an_outbox_that_can_not_be_cleared_is_no_reason_not_to_send(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.store.fault = failing_at("clear the outbox")
    with our_log() as lines:
        post.start()
    post.end_all("mail")
    assert lines == ["critical: the outbox could not be cleared of plugins that are gone"]
    assert post.statuses("mail") == ["sent"]


def test_a_nudge_ends_the_rest(path: str) -> None:
    post = Post(path, "mail")
    post.start()
    post.raise_alerts("one")
    assert post.messages("mail") == []
    post.dispatch.nudge()
    assert post.messages("mail") == ["one"]
    post.end_all("mail")
    assert len(post.reactor.getDelayedCalls()) == 1


def test_a_nudge_while_the_outbox_is_read_is_not_lost(path: str) -> None:
    post = Post(path, "mail")
    reading: Deferred[None] = Deferred()
    post.store.fault = lambda description: reading if description == "read the outbox" else None
    post.start()
    post.store.fault = lambda description: None
    assert post.store.calls.count("read the outbox") == 1
    post.dispatch.nudge()
    assert post.store.calls.count("read the outbox") == 1
    reading.callback(None)
    # Read again at once: what it was nudged for may have been stored after that snapshot.
    assert post.store.calls.count("read the outbox") == 2
    assert len(post.reactor.getDelayedCalls()) == 1


def test_a_lost_nudge_costs_one_rest(path: str) -> None:
    post = Post(path, "mail")
    post.start()
    post.raise_alerts("one")
    post.advance(RETRY_S - 0.1)
    assert post.messages("mail") == []
    post.advance(0.1)
    assert post.messages("mail") == ["one"]


def test_nudges_before_the_start_and_after_the_stop_do_nothing(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.dispatch.nudge()
    assert post.runner.runs == []
    post.start()
    result_of(post.dispatch.stopService())
    post.dispatch.nudge()
    post.advance(RETRY_S)
    assert len(post.runner.runs) == 1


@pytest.mark.parametrize("failing", ["read which plugins fail", "read the outbox", "read alerts"])
def test_a_store_that_fails_is_asked_again_later(path: str, failing: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one", "two")
    post.store.fault = failing_at(failing)
    with our_log() as lines:
        post.start()
    assert lines == ["critical: alert plugin mail: the outbox failed"]
    assert post.runner.runs == []
    post.store.fault = lambda description: None
    post.advance(RETRY_S - 0.1)
    assert post.runner.runs == []
    post.advance(0.1)
    post.end_all("mail")
    assert post.messages("mail") == ["one", "two"]
    assert post.statuses("mail") == ["sent", "sent"]


@pytest.mark.parametrize("exit_code, mark", [(0, "sent"), (1, "failed")])
def test_a_mark_that_can_not_be_stored_is_stored_later(
    path: str, exit_code: int, mark: str
) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one", "two")
    post.start()
    post.store.fault = failing_at(f"mark an alert as {mark}")
    with our_log() as lines:
        post.end_one("mail", exit_code)
        post.advance(3 * RETRY_S)
    assert lines.count("critical: alert plugin mail: the outbox failed") == 1
    # It is not sent once more, and nothing overtakes it.
    assert post.messages("mail") == ["one"]
    assert rows(path, "select tries from outbox") == [(0,), (0,)]
    post.store.fault = lambda description: None
    post.advance(RETRY_S)
    assert rows(path, "select tries from outbox")[0] == (1,)
    assert post.messages("mail") == ["one", "one" if exit_code else "two"]


def test_a_failure_that_could_not_be_kept_is_reported_when_it_can(path: str) -> None:
    post = Post(path, "bad", "mail")
    post.raise_alerts("one")
    post.start()
    post.end_all("mail")
    post.store.fault = failing_at("mark an alert as failed")
    with our_log():
        post.end_one("bad", 1)
    assert post.messages("mail") == ["one"]
    post.store.fault = lambda description: None
    post.advance(RETRY_S)
    post.end_all("mail")
    assert post.messages("bad") == ["one"]
    assert post.messages("mail") == ["one", failure_message("bad", "exit status 1")]


def test_an_alert_of_a_service_that_was_deleted_meanwhile(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", FAILED)
    post.raise_alerts("one")
    waiting: Deferred[None] = Deferred()
    post.store.fault = lambda description: waiting if description == "read alerts" else None
    post.start()
    post.store.fault = lambda description: None
    change(path, "delete from services")
    waiting.callback(None)
    post.advance(1)
    assert post.messages("mail") == ["one"]


def test_what_is_over_when_its_turn_comes_is_not_sent(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", OFFLINE, "cpu", OFFLINE)
    waiting: Deferred[None] = Deferred()
    post.store.fault = lambda description: waiting if description == "read alerts" else None
    post.start()
    post.store.fault = lambda description: None
    change(path, "update outbox set status = 'cancelled' where id = 1")
    waiting.callback(None)
    post.end_all("mail")
    assert post.ids("mail") == [2]
    assert post.statuses("mail") == ["cancelled", "sent"]


def test_where_others_send_too_it_is_claimed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "sole_writer", False)
    claims = "select claimed_until - ?, claimed_by from outbox"
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    assert rows(path, claims, WALL_AT) == [(7.0 + CLAIM_S, "here")]
    result_of(post.dispatch.stopService())
    assert rows(path, claims, WALL_AT) == [(None, "here")]
    # Another one was faster, and ends in the middle.
    change(path, "update outbox set claimed_until = ?, claimed_by = 'there'", WALL_AT + 30)
    after = Post(path, "mail")
    after.start()
    after.advance(29)
    assert after.runner.runs == []
    after.advance(1 + RETRY_S)
    after.end_all("mail")
    assert after.messages("mail") == ["one"]


def test_what_this_node_had_claimed_is_free_after_its_end(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transaction, "sole_writer", False)
    before = Post(path, "mail")
    before.raise_alerts("one")
    before.start()
    # The process is gone here, without a word.
    after = Post(path, "mail")
    after.start()
    assert after.messages("mail") == ["one"]


def test_another_node_that_is_faster(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Transaction, "sole_writer", False)
    post = Post(path, "mail")
    post.raise_alerts("one", server="web1")
    post.raise_alerts("two", server="web2")
    waiting: Deferred[None] = Deferred()
    post.store.fault = lambda description: waiting if description == "claim alerts" else None
    post.start()
    post.store.fault = lambda description: None
    change(
        path, "update outbox set claimed_until = ?, claimed_by = 'there' where id = 1", WALL_AT + 9
    )
    waiting.callback(None)
    post.advance(1)
    assert post.messages("mail") == ["two"]


def test_in_a_storm_not_each_nudge_is_a_look(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about(*[one for n in range(30) for one in (f"service {n}", FAILED)])
    post.start()
    for _ in range(20):
        post.dispatch.nudge()
        post.end_one("mail")
    assert post.store.calls.count("read the outbox") < 5
    # But soon.
    post.raise_alerts("news")
    post.dispatch.nudge()
    post.advance(PLAN_S)
    post.end_one("mail")
    assert post.store.calls.count("read the outbox") < 8
    post.end_all("mail")
    assert post.messages("mail")[-1] == "news"


def test_without_plugins(path: str) -> None:
    post = Post(path)
    post.start()
    post.dispatch.nudge()
    assert post.reactor.getDelayedCalls() == []
    result_of(post.dispatch.stopService())


def test_each_plugin_has_its_own_settings(path: str) -> None:
    post = Post(path, AlertPlugin("fast", ("fast",), "/", 3.0), "mail")
    post.raise_alerts("one")
    post.start()
    assert [run.timeout_s for run in post.runner.runs] == [3.0, 7.0]
