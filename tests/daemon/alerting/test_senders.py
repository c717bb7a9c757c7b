"""Commands and Apprise, by real children; what a run's end means, as a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from message_doubles import RAISED_AT, a_note, a_notice, back, late, recovered, several, single
from process_doubles import PATIENCE_S, real_reactor
from support.http_receiver import HttpReceiver
from support_daemon import FakeClock
from twisted.internet.defer import Deferred

from overc.daemon.alerting.alert_settings import AlertPlugin, Format
from overc.daemon.alerting.messages import Kind, Message, render_text
from overc.daemon.alerting.secret_urls import mask
from overc.daemon.alerting.senders import Attempt, make_sender
from overc.daemon.alerting.senders.command import explain, last_words, plugin_environment
from overc.daemon.alerting.senders.notify import kind_of
from overc.daemon.alerting.senders.webhook import RETRY_AFTER_MOST_S, retry_after_s
from overc.process import Outcome, Runner

CLOCK = FakeClock(wall_at=RAISED_AT + 60)
HOSTILE = "-o 'a' \"b\" $(touch hacked) `touch hacked` ; touch hacked \\"


@dataclass
class FakeRunner:
    outcome: Outcome = field(default_factory=lambda: Outcome(exit_code=0))
    runs: list[dict[str, Any]] = field(default_factory=list)

    async def run(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        env: Mapping[str, str],
        stdin: bytes = b"",
        timeout_s: float,
    ) -> Outcome:
        run = {"argv": list(argv), "folder": folder, "env": env, "stdin": stdin}
        self.runs.append({**run, "timeout_s": timeout_s})
        return self.outcome


@pytest.fixture
def runner() -> Iterator[Runner]:
    runner = Runner(real_reactor)
    runner.startService()
    yield runner
    pytest_twisted.blockon(runner.stopService())


def send(plugin: AlertPlugin, runner: Any, message: Message, **environ: str) -> Deferred[Attempt]:
    env = {"PATH": os.environ["PATH"], **environ}
    sender = make_sender(plugin, runner, real_reactor, CLOCK, "https://mon", env)
    return Deferred.fromCoroutine(sender.send(message)).addTimeout(PATIENCE_S, real_reactor)


@pytest_twisted.ensureDeferred
async def test_a_command_gets_text_and_variables() -> None:
    plugin = AlertPlugin("p", ("mail", "-a"), "/folder", 7.0)
    fake = FakeRunner(Outcome(output=b"queued as 5\n", exit_code=0))
    environ = {"OVERC_UI_AUTH": "x", "OVERC_SERVER": "y", "OVERC_MAIL_FROM": "z"}
    message = single(recovered())
    assert await send(plugin, fake, message, **environ) == Attempt(True, "queued as 5")
    [run] = fake.runs
    assert (run["argv"], run["folder"], run["timeout_s"]) == (["mail", "-a"], "/folder", 7.0)
    assert run["stdin"].decode() == render_text(message, CLOCK.wall())
    assert run["env"]["OVERC_SERVER"] == "localhost"
    assert run["env"]["OVERC_URL"] == "https://mon/ui/service/4"
    assert run["env"]["PATH"] == os.environ["PATH"]
    assert run["env"]["OVERC_MAIL_FROM"] == "z"
    assert "OVERC_UI_AUTH" not in run["env"]


@pytest_twisted.ensureDeferred
async def test_a_command_gets_json() -> None:
    plugin = AlertPlugin("p", ("x",), "/", format=Format.JSON)
    fake = FakeRunner()
    await send(plugin, fake, single(a_notice(info="ü\ud800\n")))
    text = fake.runs[0]["stdin"].decode()
    assert text.count("\n") == 1
    assert json.loads(text)["alerts"][0]["info"] == "ü?\n"


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (Outcome(error="./x: no such file in /f"), "./x: no such file in /f"),
        (Outcome(b"a\nb\n", exit_code=3), "exit status 3: a\nb"),
        (Outcome(b" \n", exit_code=1), "exit status 1"),
        (Outcome(b"half", signal=9), "killed by signal 9: half"),
        (Outcome(b"half", signal=15, timed_out=True), "timed out after 7 s: half"),
        (Outcome(b"y", signal=9, flooded=True), "killed: its output did not end: y"),
        (Outcome(b"\xff" + b"x" * 600, exit_code=1), "exit status 1: " + "x" * 500),
        (Outcome(b"\xffx", exit_code=1), "exit status 1: \ufffdx"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_run_that_did_not_deliver(outcome: Outcome, reason: str) -> None:
    plugin = AlertPlugin("p", ("x",), "/", 7.0)
    assert await send(plugin, FakeRunner(outcome), single(a_notice())) == Attempt(False, reason)
    assert explain(outcome, 7.0) == reason


def test_the_last_words() -> None:
    assert last_words(Outcome(b"a" * 600 + b" b \n", exit_code=0)) == "a" * 496 + " b"


def test_which_variables_of_ours_plugins_see() -> None:
    environ = {"PATH": "/bin", "OVERC_API_AUTH": "s", "overc": "kept", "OVERC_MAIL_FROM": "f"}
    assert plugin_environment(environ) == {
        "PATH": "/bin",
        "overc": "kept",
        "OVERC_MAIL_FROM": "f",
    }


SHOW = """#!/bin/sh
# Uses what it is given as scripts do.
set -u
eval "name=\\$OVERC_SERVER"
printf '%s\\n' "$OVERC_SERVER" "$OVERC_SERVICE" "$OVERC_INFO" "$name"
cat >message
"""


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest_twisted.ensureDeferred
async def test_hostile_names_reach_a_script_as_they_are(runner: Runner, tmp_path: Path) -> None:
    script = tmp_path / "show"
    script.write_text(SHOW)
    script.chmod(0o755)
    hostile = f"{HOSTILE}\n\0"
    notice = a_notice(hostile, hostile, info=hostile + "日" * 100_000)
    plugin = AlertPlugin("p", ("./show",), str(tmp_path))
    attempt = await send(plugin, runner, single(notice), LANG="C.UTF-8")
    assert attempt.delivered, attempt.words
    assert files(tmp_path) == {"message", "show"}
    message = (tmp_path / "message").read_bytes()
    assert message == render_text(single(notice), CLOCK.wall()).encode()
    [*_, info, name] = attempt.words.splitlines()
    assert info.endswith("日...")
    assert name == HOSTILE


def test_variables_are_in_utf8_in_any_locale() -> None:
    """A child of ours in a locale that has no letter for what a service is called."""
    code = r"""if True:
        import os, sys
        assert sys.getfilesystemencoding() == "ascii", sys.getfilesystemencoding()
        from daemon.alerting.test_senders import FakeRunner, send
        from message_doubles import a_notice, single
        from overc.daemon.alerting.alert_settings import AlertPlugin
        fake = FakeRunner()
        send(AlertPlugin("p", ("x",)), fake, single(a_notice(info="\u65e5")))
        print(os.fsencode(fake.runs[0]["env"]["OVERC_INFO"]) == "\u65e5".encode())
    """
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **ascii_only},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


@pytest_twisted.ensureDeferred
async def test_a_command_that_is_missing(runner: Runner, tmp_path: Path) -> None:
    plugin = AlertPlugin("p", ("./none",), str(tmp_path))
    attempt = await send(plugin, runner, single(a_notice()))
    assert attempt == Attempt(False, f"./none: no such file in {tmp_path}")


@pytest.mark.parametrize(
    "message, kind",
    [
        (single(a_notice()), "warning"),
        (single(a_notice(severity="UNK")), "warning"),
        (single(late()), "failure"),
        (single(recovered()), "success"),
        (single(a_note()), "failure"),
        (single(a_note(severity="OK")), "info"),
        (several(Kind.BACK, back("a"), back("b")), "success"),
        (several(Kind.DIGEST, back("a"), a_notice()), "warning"),
        (several(Kind.DIGEST, back("a"), late()), "failure"),
    ],
)
def test_the_kinds_of_notifications(message: Message, kind: str) -> None:
    assert kind_of(message) == kind


SECRET_URL = "json://me:s3cr%C3%A9t@localhost:8080/path/tok3n?key=w0rdw0rd&to=x"


@pytest_twisted.ensureDeferred
async def test_the_child_gets_the_secret_on_its_input_alone() -> None:
    plugin = AlertPlugin("p", notify=SECRET_URL, timeout_s=7.0)
    # Only the last bytes are kept of it: they begin within a secret.
    said = b"json://me:s3cr%C3%A9t: s3cr\xc3\xa9t, tok3n " + b"w0rdw0rd" + b"." * 490 + b" tok3n"
    fake = FakeRunner(Outcome(said, exit_code=1))
    attempt = await send(plugin, fake, several(Kind.LATE, late("a"), late("b")), OVERC_X="y")
    [run] = fake.runs
    assert run["argv"] == [sys.executable, "-m", "overc.daemon.alerting.notify_child"]
    assert run["folder"] == "/"
    assert json.loads(run["stdin"]) == {
        "url": SECRET_URL,
        "title": "localhost: [plugin/offline] 2 services are late",
        "body": "- a (last state OK)\n- b (last state OK)",
        "type": "failure",
    }
    assert not [word for word in ("s3cr", "tok3n", "w0rd") if word in str(run["env"])]
    assert attempt.words.startswith("exit status 1: ")
    assert not [word for word in ("s3cr", "ét", "tok3n", "w0rd") if word in attempt.words]


@pytest.mark.parametrize(
    "text, url, hide_host, masked",
    [
        ("plain", "https://h.example.com/abcd", False, "plain"),
        ("h.example.com/abcd/efgh", "https://h.example.com/abcd/efgh", False, "h.example.com/***"),
        ("at efgh", "https://h.example.com/abcd/efgh", False, "at ***"),
        ("me:pass", "https://me:pass@h/", False, "***"),
        ("pass", "https://me:pass@h/", False, "***"),
        ("is slow: ab", "https://h/ab", False, "is slow: ab"),
        ("a tok=12345 b", "https://h?tok=12345", False, "a *** b"),
        ("12345", "https://h/x?tok=12345", False, "***"),
        ("a b%c a%20b%25c", "https://h/a%20b%25c", False, "*** ***"),
        ("tokenA at host", "slack://tokenA/tokenB", True, "*** at host"),
        ("tokenA at host", "slack://tokenA/tokenB", False, "tokenA at host"),
        ("slack://tokenA?x=yyyy", "slack://tokenA?x=yyyy", True, "***"),
    ],
)
def test_masking(text: str, url: str, hide_host: bool, masked: str) -> None:
    assert mask(text, url, hide_host) == masked


@pytest.mark.parametrize("status", [200, 500])
@pytest_twisted.ensureDeferred
async def test_apprise_delivers(runner: Runner, status: int) -> None:
    pytest.importorskip("apprise")
    message = single(a_notice(info="- *x* <b>{{y}}</b>\\n"))
    with HttpReceiver(status) as receiver:
        plugin = AlertPlugin("p", notify=f"json://me:s3cret@{receiver.address}/tok3n")
        attempt = await send(plugin, runner, message)
    [posted] = receiver.posted
    assert posted["title"] == 'localhost a: [service:state/WARN] State changed: "OK" -> "WARN"'
    assert posted["message"] == "Current: WARN: - *x* <b>{{y}}</b>\\n"
    assert posted["type"] == "warning"
    assert attempt.delivered is (status == 200), attempt.words
    assert "s3cret" not in attempt.words
    assert "tok3n" not in attempt.words
    if status == 500:
        assert attempt.words.startswith("exit status 1: ")
        assert "500" in attempt.words


@pytest_twisted.ensureDeferred
async def test_apprise_does_not_know_the_url(runner: Runner) -> None:
    pytest.importorskip("apprise")
    plugin = AlertPlugin("p", notify="nosuch://s3cret/tok3n")
    attempt = await send(plugin, runner, single(a_notice()))
    assert not attempt.delivered
    assert "Apprise does not know such a URL" in attempt.words
    assert "s3cret" not in attempt.words


def test_the_child_without_apprise(tmp_path: Path) -> None:
    """As after an upgrade that forgot the extra."""
    code = (
        "import sys, importlib.util as u; u.find_spec = lambda name: None;"
        "from overc.daemon.alerting.notify_child import main; sys.exit(main())"
    )
    told = {"url": "json://h", "title": "t", "body": "b", "type": "info"}
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(told), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == "Apprise is not installed: pip install 'overc[notify]'\n"


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("", None),
        ("0", None),
        ("-5", None),
        ("17", 17.0),
        ("1e9", None),
        ("²", None),
        ("9" * 400, RETRY_AFTER_MOST_S),
        ("Sun, 01 Mar 2026 09:00:00 GMT", None),
        ("Sun, 01 Mar 2026 10:00:30 GMT", 30.0),
        ("Sun, 99 Mar 9999999 10:00:30 GMT", None),
    ],
)
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after_s(text, RAISED_AT) == seconds
