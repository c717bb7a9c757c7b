"""What travels in one message, what runs at once, and that nothing overtakes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from daemon.doubles import FAILED, GOOD, OFFLINE, ONLINE, Post
from hypothesis import given, settings
from hypothesis import strategies as st
from support_daemon import WALL_AT, a_database, change, result_of, rows

from overc.daemon.alerting import delivering
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.delivering import RETRY_S, SENT_ROWS, SPARE, Slots
from overc.daemon.alerting.routing import Route
from overc.daemon.store.errors import StorageError
from overc.model import Alert

MARK = "mark an alert as sent"
LOOK = "read the outbox"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return a_database(tmp_path)


def a_plugin(name: str, **more: object) -> AlertPlugin:
    return AlertPlugin(name, (name, "an argument"), "/folder", 7.0, **more)  # type: ignore[arg-type]


def let_be(path: str, *late: str) -> None:
    """Let services be late and all others be awaited."""
    marks = ",".join("?" * len(late))
    change(path, "update services set timed_out = 0, period_s = 60")
    change(path, "update latest set deadline_at = 7.0")
    change(path, f"update services set timed_out = 1 where name in ({marks})", *late)
    change(
        path,
        "update latest set deadline_at = null"
        f" where service_id in (select id from services where name in ({marks}))",
        *late,
    )


def first_line(post: Post, plugin: str, n: int) -> str:
    return post.runs(plugin)[n].stdin.decode().partition("\n")[0]


def test_a_dead_host_is_one_message(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", OFFLINE, "cpu", OFFLINE, "net", OFFLINE)
    let_be(path, "disk", "cpu", "net")
    post.start()
    assert post.ids("mail") == [1]
    assert "Server silent: 3 services are late" in first_line(post, "mail", 0)
    post.end_all("mail")
    assert post.statuses("mail") == ["sent"] * 3
    assert post.standing("mail") == [("late", True)] * 3
    assert rows(path, "select outbox_id from attempts") == [(1,), (2,), (3,)]
    # And comes back as one.
    post.raise_about("net", ONLINE, "disk", ONLINE, "cpu", ONLINE)
    let_be(path)
    post.dispatch.nudge()
    post.end_all("mail")
    assert "Server back: 3 services report again" in first_line(post, "mail", 1)
    assert post.ids("mail") == [1, 4]


def test_some_services_of_a_host(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", OFFLINE, "cpu", OFFLINE, "net", FAILED)
    let_be(path, "disk", "cpu")
    post.start()
    post.end_all("mail")
    assert "2 services are late" in first_line(post, "mail", 0)
    assert "silent" not in first_line(post, "mail", 0)
    assert post.ids("mail") == [1, 3]
    post.raise_about("disk", ONLINE)
    let_be(path, "cpu")
    post.dispatch.nudge()
    assert first_line(post, "mail", 2) == (
        "web1 disk: [plugin/online] Monitoring plugin back online"
    )


def test_a_single_late_service_reads_as_ever(path: str) -> None:
    post = Post(path, "mail")
    post.raise_about("disk", OFFLINE)
    let_be(path, "disk")
    post.start()
    assert first_line(post, "mail", 0) == "web1 disk: [plugin/offline] Monitoring plugin offline"


def test_a_storm_is_a_few_messages(path: str) -> None:
    post = Post(path, a_plugin("mail", digest_over=20), a_plugin("all", digest_over=10**6))
    for n in range(40):
        post.raise_about("disk", FAILED, "cpu", FAILED, server=f"web{n}")
    post.start()
    post.end_all("mail")
    post.end_all("all")
    assert len(post.runs("mail")) == 1
    assert len(post.runs("all")) == 80
    assert first_line(post, "mail", 0) == "OverC: [overc/digest] 80 alerts in one message"
    assert post.statuses("mail") == post.statuses("all") == ["sent"] * 80


def test_a_storm_of_thousands_is_marked_in_short_transactions(path: str) -> None:
    post = Post(path, "mail")
    about = [one for n in range(3000) for one in (f"service {n}", FAILED)]
    post.raise_about(*about)
    post.start()
    post.end_all("mail")
    assert set(post.statuses("mail")) == {"sent"}
    # Reports wait for one of them at most, and not for hundreds of rows.
    marks = post.store.calls.count(MARK)
    assert 3000 / SENT_ROWS <= marks <= 3000 / SENT_ROWS + len(post.runs("mail"))
    assert len(post.store.calls) - marks < 50


def test_what_a_crash_leaves_of_a_message_has_its_id(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "SENT_ROWS", 2)
    before = Post(path, "mail")
    before.raise_about("disk", OFFLINE, "cpu", OFFLINE, "net", OFFLINE)
    before.start()
    before.store.held = True
    before.runs("mail")[0].end()
    before.store.step()
    assert before.statuses("mail") == ["pending", "pending", "sent"]
    # The process is gone here; another one starts on the same file.
    after = Post(path, "mail")
    after.start()
    after.end_all("mail")
    assert after.ids("mail") == before.ids("mail") == [1]
    assert after.statuses("mail") == ["sent"] * 3


def test_what_has_an_order_is_marked_as_a_whole(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "SENT_ROWS", 1)
    post = Post(path, a_plugin("mail", digest_over=1))
    post.raise_about("disk", FAILED, "cpu", FAILED)
    post.raise_about("disk", GOOD)
    post.start()
    post.end_all("mail")
    assert len(post.runs("mail")) == 1
    # Or else a crash in between would let the problem be told after its end.
    assert post.store.calls.count(MARK) == 1


def test_the_outbox_is_left_alone_when_all_of_it_is_under_way(path: str) -> None:
    post = Post(path, a_plugin("mail", concurrency=4))
    post.raise_about("disk", FAILED, "cpu", FAILED, "net", FAILED)
    post.start()
    assert len(post.runs("mail")) == 3
    looks = post.store.calls.count(LOOK)
    post.end_all("mail")
    assert post.store.calls.count(LOOK) == looks
    # A nudge that got lost costs a moment.
    post.raise_about("disk", GOOD)
    post.advance(RETRY_S)
    assert len(post.runs("mail")) == 4


def test_many_dead_hosts_are_a_storm(path: str) -> None:
    post = Post(path, a_plugin("mail", digest_over=20))
    for host in range(30):
        services = [one for n in range(50) for one in (f"service {n}", OFFLINE)]
        post.raise_about(*services, server=f"web{host}")
    post.start()
    post.end_all("mail")
    assert post.statuses("mail") == ["sent"] * 1500
    # Until the rest makes no more messages than people can read.
    assert ["overc/digest" in first_line(post, "mail", n) for n in range(2)] == [True, True]
    assert len(post.runs("mail")) < 20


def test_what_is_due_later_is_sent_on_time(path: str) -> None:
    post = Post(path, a_plugin("mail", route=Route("mail", delay_s=3.3)), "log")
    post.start()
    post.raise_about("disk", FAILED)
    post.dispatch.nudge()
    assert post.messages("log") == ["it failed"]
    post.advance(3.2)
    assert post.messages("mail") == []
    post.advance(0.11)
    assert post.messages("mail") == ["it failed"]


def test_a_problem_that_is_over_before_its_delay_is_never_sent(path: str) -> None:
    post = Post(path, a_plugin("mail", route=Route("mail", delay_s=300)))
    post.start()
    post.raise_about("disk", FAILED)
    post.advance(100)
    post.raise_about("disk", GOOD)
    post.advance(1000)
    assert post.messages("mail") == []
    assert set(post.statuses("mail")) == {"cancelled"}


@pytest.mark.parametrize("concurrency", [1, 2, 3, 5])
def test_so_many_run_at_once(path: str, concurrency: int) -> None:
    post = Post(path, a_plugin("mail", concurrency=concurrency))
    post.raise_about("a", FAILED, "b", FAILED, "a", GOOD, "c", FAILED, "d", FAILED)
    post.start()
    assert len(post.under_way("mail")) == min(concurrency, 4)
    for _ in range(5):
        # The last one to begin ends first.
        post.under_way("mail")[-1].end()
    assert post.statuses("mail") == ["sent"] * 5
    assert post.runner.most_at_once["mail"] == min(concurrency, 4)
    told = [run.stdin.decode().partition(":")[0] for run in post.runs("mail")]
    assert sorted(told) == ["web1 a", "web1 a", "web1 b", "web1 c", "web1 d"]


def test_no_plugin_leaves_another_one_without_a_run() -> None:
    slots = Slots(2)
    assert [slots.take(n) for n in range(5)] == [True, True, True, False, False]
    # Others have their own one.
    assert slots.take(0)
    assert not slots.take(1)
    slots.give_back(2)
    assert slots.take(1)
    for running in (1, 1):
        slots.give_back(running)
    slots.give_back(0)
    assert [slots.take(n) for n in range(4)] == [True, True, True, False]


def test_all_plugins_together_have_a_bound(path: str) -> None:
    greedy = [a_plugin(f"plugin {n}", concurrency=10) for n in range(3)]
    post = Post(path, *greedy)
    for n in range(30):
        post.raise_about(f"service {n}", FAILED)
    post.start()
    assert len(post.runner.under_way) == SPARE + 3


MOVES = [
    "disk failed",
    "disk good",
    "cpu late",
    "cpu online",
    "note",
    "time",
    "fine",
    "bad",
    "kill",
]
ALERTS: dict[str, tuple[str | None, Alert]] = {
    "disk failed": ("disk", FAILED),
    "disk good": ("disk", GOOD),
    "cpu late": ("cpu", OFFLINE),
    "cpu online": ("cpu", ONLINE),
}


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(MOVES), max_size=25), st.integers(1, 3), st.sampled_from((0.0, 30.0))
)
def test_nothing_is_lost_and_nothing_overtakes(
    moves: Sequence[str], concurrency: int, delay_s: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = a_database(Path(folder))
        posts = [_started(path, concurrency, delay_s, 0.0)]
        raised = 0
        for move in moves:
            post = posts[-1]
            if move in ALERTS:
                post.raise_about(*ALERTS[move])
            elif move == "note":
                raised += 1
                post.raise_alerts(f"note {raised}")
            elif move == "time":
                post.clock.advance(20)
            elif move == "kill":
                _kill(post)
                posts.append(_started(path, concurrency, delay_s, post.clock.wall_at - WALL_AT))
            elif post.runner.under_way:
                post.runner.under_way[0].end(int(move == "bad"))
            posts[-1].dispatch.nudge()
        post = posts[-1]
        for _ in range(6):
            post.end_all("mail")
            post.clock.advance(1000)
            post.dispatch.nudge()
        # What was over before its time is not told.
        assert set(post.statuses("mail")) <= {"sent", "cancelled"}
        _check_order(path, posts, delayed=delay_s > 0)
        result_of(post.dispatch.stopService())


def _kill(post: Post) -> None:
    """Let nothing of a dispatch reach the database any more."""

    def gone(description: str) -> None:
        raise StorageError("killed")

    post.store.fault = gone
    result_of(post.dispatch.stopService())


def _started(path: str, concurrency: int, delay_s: float, passed_s: float) -> Post:
    route = Route("mail", delay_s=delay_s)
    post = Post(path, a_plugin("mail", concurrency=concurrency, digest_over=4, route=route))
    post.clock.advance(passed_s)
    post.start()
    return post


def _check_order(path: str, posts: Sequence[Post], *, delayed: bool) -> None:
    """Each row's delivery is kept after those of the rows before it in its lane.

    With a delay, problems may be told after what came later and is about something else.
    """
    delivered = rows(
        path,
        "select outbox.lane, alerts.topic, outbox.id from attempts"
        " join outbox on outbox.id = outbox_id join alerts on alerts.id = alert_id"
        " where delivered = 1 order by attempts.id",
    )
    for lane, topic in {(lane, topic if delayed else "") for lane, topic, _ in delivered}:
        ids = [id_ for one, about, id_ in delivered if one == lane and topic in ("", about)]
        assert ids == sorted(ids) or (delayed and topic == "")
    if delayed:
        return
    for post in posts:
        begun: dict[str, int] = {}
        for run in post.runs("mail"):
            if run.env["OVERC_KIND"] == "single":
                who, id_ = run.stdin.decode().partition(":")[0], int(run.env["OVERC_ALERT_ID"])
                assert begun.get(who, 0) <= id_
                begun[who] = id_
