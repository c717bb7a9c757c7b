from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support_daemon import (
    WALL_AT,
    FakeClock,
    FakeRunner,
    SteppedStore,
    a_database,
    in_transaction,
    our_log,
    result_of,
    rows,
)
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from overc.daemon import dispatch as dispatch_module
from overc.daemon.dispatch import RETRY_S, Dispatch, explain, last_words, plugin_environment
from overc.daemon.settings import AlertPlugin
from overc.daemon.store import records
from overc.daemon.store.engine import Transaction
from overc.daemon.store.errors import StorageError
from overc.daemon.store.records import RaisedAlert
from overc.model import Alert, Channel, State
from overc.process import Outcome

OUTBOX = "select plugin, status, outcome from outbox where plugin = ? order by id"


class Post:
    """A dispatch with plugins that end when the test says so."""

    def __init__(self, path: str, *plugins: str, environ: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.names = plugins
        self.store = SteppedStore(path)
        self.reactor = Clock()
        self.clock = FakeClock()
        self.runner = FakeRunner()
        self.dispatch = Dispatch(
            self.reactor,
            self.store,
            self.clock,
            self.runner,
            [AlertPlugin(name, (name, "an argument"), "/folder", 7.0) for name in plugins],
            environ or {},
        )

    def raise_alerts(self, *messages: str) -> None:
        in_transaction(self.path, add_alerts, messages, self.names)

    def start(self) -> None:
        self.dispatch.startService()

    def messages(self, program: str) -> list[str]:
        """Return what the runs of a plugin were about."""
        texts = [run.stdin.decode() for run in self.runner.of(program)]
        return [text.partition("] ")[2].rstrip("\n") for text in texts]

    def outbox(self, plugin: str) -> list[tuple[str, str | None]]:
        return [(status, words) for _, status, words in rows(self.path, OUTBOX, plugin)]

    def statuses(self, plugin: str) -> list[str]:
        return [status for status, _ in self.outbox(plugin)]

    def end_all(self, program: str, exit_code: int = 0, output: bytes = b"") -> None:
        while going_on := [run for run in self.runner.under_way if run.argv[0] == program]:
            going_on[0].end(exit_code, output)


def add_alerts(tx: Transaction, messages: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    [server] = records.find_servers(tx, ["web1"]) or [
        records.add_server(tx, "web1", "k", "ip", WALL_AT)
    ]
    for message in messages:
        alert = Alert(Channel.API, "alert", message, State.FAIL)
        records.add_alerts(tx, [RaisedAlert(alert, server.id, None, None)], WALL_AT, plugins)


def failure_message(plugin: str, exit_code: int) -> str:
    return f"Alert plugin `{plugin}` failed: exit status {exit_code}"


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
    assert run.env == {"OVERC_ALERT_ID": "1"}
    assert post.outbox("mail") == [("pending", None)]
    run.end(output=b"thanks\n")
    assert post.outbox("mail") == [("sent", "thanks")]
    assert rows(path, "select tried_at from outbox") == [(WALL_AT,)]


def test_the_environment_is_our_own_without_our_secrets(path: str) -> None:
    environ = {"PATH": "/bin", "OVERC_UI_AUTH": "a:b", "OVERC_ALERT_ID": "7", "overc": "kept"}
    post = Post(path, "mail", environ=environ)
    post.raise_alerts("one")
    post.start()
    assert post.runner.runs[0].env == {"PATH": "/bin", "overc": "kept", "OVERC_ALERT_ID": "1"}
    assert plugin_environment(environ) == {"PATH": "/bin", "overc": "kept"}


@pytest.mark.parametrize("nudged", [True, False])
def test_alerts_go_one_by_one_in_order(
    path: str, monkeypatch: pytest.MonkeyPatch, nudged: bool
) -> None:
    monkeypatch.setattr(dispatch_module, "CHUNK", 2)
    post = Post(path, "mail")
    wanted = [str(number) for number in range(7)]
    post.raise_alerts(*wanted)
    post.start()
    for done in range(7):
        assert post.messages("mail") == wanted[: done + 1]
        if nudged:
            post.dispatch.nudge()
        post.runner.runs[-1].end()
    assert post.messages("mail") == wanted
    assert post.runner.most_at_once == {"mail": 1}
    assert post.statuses("mail") == ["sent"] * 7


def test_a_failure_does_not_stop_the_queue(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one", "two", "three")
    post.start()
    for code in (0, 1, 0):
        post.runner.runs[-1].end(code)
    assert post.messages("mail") == ["one", "two", "three"]
    assert post.statuses("mail") == ["sent", "failed", "sent"]


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
        assert [run.env["OVERC_ALERT_ID"] for run in post.runner.of(name)] == ["1", "2"]


def test_the_others_say_that_a_plugin_fails_once_for_each_series(path: str) -> None:
    post = Post(path, "bad", "mail", "log")
    post.raise_alerts("one", "two")
    post.start()
    with our_log() as lines:
        post.end_all("bad", 3, b"no route\n")
    assert post.outbox("bad") == [("failed", "exit status 3: no route")] * 2
    assert lines == ["error: alert plugin bad failed: exit status 3: no route"] * 2
    notice = "Alert plugin `bad` failed: exit status 3: no route"
    for name in ("mail", "log"):
        post.end_all(name)
        assert post.messages(name) == ["one", "two", notice]
    assert post.runner.of("mail")[-1].stdin == f"OverC: [alert-plugin/failed] {notice}\n".encode()
    post.raise_alerts("three", "four")
    post.dispatch.nudge()
    with our_log() as lines:
        post.runner.of("bad")[-1].end()
    assert lines == ["info: alert plugin bad works again"]
    post.end_all("bad", 4)
    post.end_all("mail")
    assert post.messages("mail")[3:] == ["three", "four", failure_message("bad", 4)]
    assert len(post.messages("bad")) == 4


def test_a_notice_wakes_the_others_at_once(path: str) -> None:
    post = Post(path, "bad", "mail")
    post.raise_alerts("one")
    post.start()
    post.end_all("mail")
    post.end_all("bad", 1)
    assert post.messages("mail") == ["one", failure_message("bad", 1)]
    assert post.reactor.seconds() == 0


def test_two_broken_plugins_do_not_report_each_other_for_ever(path: str) -> None:
    post = Post(path, "bad", "worse")
    post.raise_alerts("one")
    post.start()
    for _ in range(20):
        for run in list(post.runner.under_way):
            run.end(1)
    assert len(post.runner.runs) == 4
    assert post.runner.under_way == []


def test_a_failing_plugin_alone_is_only_logged(path: str) -> None:
    post = Post(path, "bad")
    post.raise_alerts("one")
    post.start()
    with our_log() as lines:
        post.end_all("bad", 1, b"\x1b[31mtwo\nlines")
    assert lines == ["error: alert plugin bad failed: exit status 1:  [31mtwo lines"]
    assert post.runner.under_way == []


def test_what_failed_is_not_sent_again(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.start()
    post.end_all("mail", 1)
    post.reactor.pump([RETRY_S] * 5)
    assert post.messages("mail") == ["one"]


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
    post.runner.of("mail")[0].end()
    post.runner.of("log")[0].end_as(Outcome(signal=15))
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


def test_stop_while_resting(path: str) -> None:
    post = Post(path, "mail", "log")
    post.start()
    assert len(post.reactor.getDelayedCalls()) == 2
    result_of(post.dispatch.stopService())
    assert post.reactor.getDelayedCalls() == []


def test_stop_while_the_store_fails(path: str) -> None:
    post = Post(path, "mail")
    reading: Deferred[None] = Deferred()
    post.store.fault = lambda description: reading if description == "read the outbox" else None
    post.start()
    stopped = ensureDeferred(post.dispatch.stopService())
    assert not stopped.called
    reading.errback(StorageError("gone"))
    result_of(stopped)
    assert post.reactor.getDelayedCalls() == []


def test_alerts_for_plugins_that_are_gone(path: str) -> None:
    Post(path, "mail", "gone").raise_alerts("one", "two")
    post = Post(path, "mail")
    with our_log() as lines:
        post.start()
    post.end_all("mail")
    assert lines == ["warn: 2 alerts waited for plugins that are gone: dropped"]
    assert post.outbox("gone") == [("failed", "not configured any more")] * 2
    assert post.statuses("mail") == ["sent", "sent"]


def test_an_outbox_that_can_not_be_cleared_is_no_reason_not_to_send(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")

    def fault(description: str) -> None:
        if description == "clear the outbox":
            raise StorageError("gone")

    post.store.fault = fault
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
    post.reactor.advance(RETRY_S - 0.1)
    assert post.messages("mail") == []
    post.reactor.advance(0.1)
    assert post.messages("mail") == ["one"]


def test_nudges_before_the_start_and_after_the_stop_do_nothing(path: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one")
    post.dispatch.nudge()
    assert post.runner.runs == []
    post.start()
    result_of(post.dispatch.stopService())
    post.dispatch.nudge()
    post.reactor.advance(RETRY_S)
    assert len(post.runner.runs) == 1


@pytest.mark.parametrize("failing", ["read the outbox", "mark an alert as sent"])
def test_a_store_that_fails_is_tried_again_later(path: str, failing: str) -> None:
    post = Post(path, "mail")
    post.raise_alerts("one", "two")

    def fault(description: str) -> None:
        if description == failing:
            raise StorageError("gone")

    post.store.fault = fault
    with our_log() as lines:
        post.start()
        post.end_all("mail")
    assert lines == ["critical: alert plugin mail: the outbox failed"]
    post.store.fault = lambda description: None
    post.reactor.advance(RETRY_S - 0.1)
    assert post.statuses("mail") == ["pending", "pending"]
    post.reactor.advance(0.1)
    post.end_all("mail")
    assert post.statuses("mail") == ["sent", "sent"]
    # At least once: what was sent but not marked goes out again.
    again = ["one"] if failing == "mark an alert as sent" else []
    assert post.messages("mail") == [*again, "one", "two"]


def test_a_failure_that_could_not_be_kept_is_reported_when_it_can(path: str) -> None:
    post = Post(path, "bad", "mail")
    post.raise_alerts("one")
    post.start()
    post.end_all("mail")

    def fault(description: str) -> None:
        if description == "mark an alert as failed":
            raise StorageError("gone")

    post.store.fault = fault
    with our_log():
        post.end_all("bad", 1)
    post.store.fault = lambda description: None
    post.reactor.advance(RETRY_S)
    post.end_all("bad", 1)
    post.end_all("mail")
    assert post.messages("bad") == ["one", "one"]
    assert post.messages("mail") == ["one", failure_message("bad", 1)]


def test_without_plugins(path: str) -> None:
    post = Post(path)
    post.start()
    post.dispatch.nudge()
    assert post.reactor.getDelayedCalls() == []
    result_of(post.dispatch.stopService())


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (Outcome(exit_code=1), "exit status 1"),
        (Outcome(exit_code=127, output=b" not found \n"), "exit status 127: not found"),
        (Outcome(signal=9), "killed by signal 9"),
        (Outcome(signal=15, timed_out=True), "timed out after 7.5 s"),
        (Outcome(exit_code=1, timed_out=True, output=b"x"), "timed out after 7.5 s: x"),
        (Outcome(signal=9, flooded=True, output=b"yyy"), "killed: its output did not end: yyy"),
        (Outcome(error="mail: command not found in PATH"), "mail: command not found in PATH"),
        (Outcome(error="still runs", timed_out=True), "still runs"),
        (Outcome(exit_code=1, output=b"caf\xe9"), "exit status 1: caf\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_explain(outcome: Outcome, reason: str) -> None:
    assert explain(outcome, 7.5) == reason


def test_last_words_are_the_last_ones() -> None:
    assert last_words(Outcome(output=b"first" + b"x" * 600)) == "x" * 500
