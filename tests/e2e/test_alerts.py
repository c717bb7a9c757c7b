"""The alerts that the server raises, and what alert plugins are told."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from support.alert_plugins import Recorder
from support.daemon import Daemon, eventually, running
from support.http_client import ALERTS, Client, Host, Json, a_service

STATES = ("OK", "WARN", "FAIL", "UNK")
Told = tuple[str, str, str, str]

OFFLINE = ("plugin", "offline", "FAIL", "Monitoring plugin offline")
ONLINE = ("plugin", "online", "OK", "Monitoring plugin back online")


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    return Recorder(tmp_path_factory.mktemp("server"), "kept")


@pytest.fixture(scope="module")
def daemon(recorder: Recorder) -> Iterator[Daemon]:
    with running(recorder.folder, sections=recorder.section) as daemon:
        yield daemon


def told(host: Host) -> list[Told]:
    return [(a["channel"], a["event"], a["severity"], a["message"]) for a in host.alerts()]


def change(before: str, after: str) -> Told:
    return ("service:state", after, after, f'State changed: "{before}" -> "{after}"')


def messages_of(recorder: Recorder, host: Host, n: int) -> list[str]:
    """Return what the plugin was told of one host, once it is n messages."""

    def found() -> list[str]:
        return [text for text in recorder.messages() if text.startswith(host.name)]

    eventually(lambda: len(found()) >= n, f"{n} alerts sent")
    assert len(found()) == n
    return found()


@pytest.mark.parametrize("first", STATES)
def test_a_first_report_counts_as_coming_from_ok(host: Host, first: str) -> None:
    host.report(a_service("s", first))
    host.report(a_service("s", first))
    assert told(host) == ([] if first == "OK" else [change("(?)", first)])


@pytest.mark.parametrize("before, after", list(itertools.permutations(STATES, 2)))
def test_each_change_of_state_raises_one_alert(host: Host, before: str, after: str) -> None:
    for state in (before, before, after, after, after):
        host.report(a_service("s", state))
    first = [] if before == "OK" else [change("(?)", before)]
    assert told(host) == [*first, change(before, after)]
    assert [len(s["alerts"]) for s in host.history("s")] == [0, 0, 1, 0, len(first)]


def test_err_and_fail_are_one_state(host: Host) -> None:
    for state in ("FAIL", "ERR", "FAIL", "HEY", "UNK"):
        host.report(a_service("s", state))
    assert told(host) == [change("(?)", "FAIL"), change("FAIL", "UNK")]


def test_alerts_from_outside(host: Host) -> None:
    host.report(a_service("s"))
    alerts: list[Json] = [{"message": "one"}, {"message": "two", "service": "s"}]
    alerts += [{"message": ""}, {"message": "one", "service": None}, {"message": "one"}]
    assert host.send(ALERTS, alerts=alerts).status == 200
    assert told(host) == [("api", "alert", "FAIL", m) for m in ("one", "two", "", "one", "one")]
    assert [a["service"] for a in host.alerts()] == [None, "s", None, None, None]


def test_offline_once_and_online_when_it_reports_again(host: Host) -> None:
    host.report(a_service("s", "WARN"), a_service("gone"), period=1)
    host.alert("can't be late", "silent")
    eventually(lambda: host.state("s")["timed_out"] and host.state("gone")["timed_out"])
    assert host.state("s")["state"] == "WARN"
    # A witness that is late later shows that the watchdog has looked again since.
    host.report(a_service("witness"), period=1)
    eventually(lambda: host.state("witness")["timed_out"])
    assert told(host)[2:] == [OFFLINE] * 3
    host.report(a_service("s", "OK"))
    assert host.state("s")["timed_out"] is False
    host.report(a_service("s", "OK"))
    assert told(host)[5:] == [ONLINE, change("WARN", "OK")]
    assert host.services()["silent"]["state"] is None
    offline = host.history("s")[2]
    assert [a["event"] for a in offline["alerts"]] == ["WARN", "offline"]


def test_late_again_after_it_was_back(host: Host) -> None:
    for n in range(2):
        host.report(a_service("s"), period=1)
        eventually(lambda: host.state("s")["timed_out"])
        assert told(host) == [OFFLINE, ONLINE] * n + [OFFLINE]


def test_what_a_plugin_reads(host: Host, recorder: Recorder) -> None:
    host.report(a_service("a", "OK", "fine"))
    host.report(a_service("a", "WARN", "hey3"))
    host.alert("The disk is gone")
    host.alert("Seen by a person", "a")
    host.alert("Nothing is known of it", "b")
    host.report(a_service("c", "HEY"))
    assert messages_of(recorder, host, 5) == [
        f'{host.name} a: [service:state/WARN] State changed: "OK" -> "WARN"\nCurrent: WARN: hey3\n',
        f"{host.name}: [api/alert] The disk is gone\n",
        f"{host.name} a: [api/alert] Seen by a person\nCurrent: WARN: hey3\n",
        f"{host.name} b: [api/alert] Nothing is known of it\n",
        f'{host.name} c: [service:state/UNK] State changed: "(?)" -> "UNK"\n'
        'Current: UNK:  (sent unsupported state: "HEY")\n',
    ]


def test_what_a_plugin_reads_of_a_late_service(host: Host, recorder: Recorder) -> None:
    host.report(a_service("a", "OK", "fine"), period=1)
    first = f"{host.name} a: [plugin/offline] Monitoring plugin offline\nCurrent: OK: fine\n"
    assert messages_of(recorder, host, 1) == [first]
    host.report(a_service("a", "FAIL", "broken"))
    _, back, changed = messages_of(recorder, host, 3)
    assert re.fullmatch(
        rf"{host.name} a: \[plugin/online\] Monitoring plugin back online\n"
        r"Current: FAIL: broken\nLasted: \S+\n",
        back,
    )
    assert changed == (
        f'{host.name} a: [service:state/FAIL] State changed: "OK" -> "FAIL"\n'
        "Current: FAIL: broken\n"
    )


def test_an_alert_tells_the_state_it_was_raised_in(host: Host, recorder: Recorder) -> None:
    host.report(a_service("a", "WARN", "1"), a_service("a", "FAIL", "2"), a_service("a", "OK", "3"))
    assert [m.splitlines()[1] for m in messages_of(recorder, host, 3)] == [
        "Current: WARN: 1", "Current: FAIL: 2", "Current: OK: 3",
    ]  # fmt: skip


HOSTILE = [
    "$(touch hacked)", "`touch hacked`", "; touch hacked; #", "' ; touch hacked '",
    "| touch hacked", "\n touch hacked\n", "--help", "-", "%s %n {0}", "\N{PILE OF POO} \u202e é",
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_names_and_texts_do_nothing(
    daemon: Daemon, client: Client, recorder: Recorder, number: int
) -> None:
    text = HOSTILE[number]
    host = Host(client, f"{text} {number}")
    host.report(a_service(text, "FAIL", text))
    host.alert(text, text)
    assert messages_of(recorder, host, 2) == [
        f'{host.name} {text}: [service:state/FAIL] State changed: "(?)" -> "FAIL"\n'
        f"Current: FAIL: {text}\n",
        f"{host.name} {text}: [api/alert] {text}\nCurrent: FAIL: {text}\n",
    ]
    assert not (daemon.folder / "hacked").exists()


def test_a_large_text_reaches_the_plugin_whole(host: Host, recorder: Recorder) -> None:
    info, message = "i" * 64_000, "é" * 32_000
    host.report(a_service("a", "OK", info))
    host.alert(message, "a")
    [text] = messages_of(recorder, host, 1)
    assert text == f"{host.name} a: [api/alert] {message}\nCurrent: OK: {info}\n"


def test_the_alert_s_id_goes_with_it(host: Host, recorder: Recorder) -> None:
    for n in range(5):
        host.alert(f"number {n}")
    messages_of(recorder, host, 5)
    sent = {run.alert_id: run.message for run in recorder.runs()}
    for alert in host.alerts():
        assert sent[alert["id"]] == f"{host.name}: [api/alert] {alert['message']}\n"
