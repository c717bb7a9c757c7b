"""The alert scripts of etc/overc/alert.d, run as the server runs them."""

from __future__ import annotations

import email
import email.message
import email.policy
import os
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from message_doubles import RAISED_AT, a_notice, single

from overc.daemon.alerting.message_formats import environment
from overc.daemon.alerting.messages import render_text

ALERTS = Path(__file__).parents[2] / "etc/overc/alert.d"
MESSAGE = 'localhost a: [service:state/WARN] State changed: "OK" -> "WARN"\nCurrent: WARN: hey3\n'
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
# Stands in for the mail server: keeps what it was given beside itself.
SENDMAIL = """#!/bin/sh
printf '%s\\n' "$@" > "$0.args"
cat > "$0.mail"
exit "${SENDMAIL_EXIT:-0}"
"""


def alert(
    script: str, *args: str | Path, message: str = MESSAGE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [ALERTS / script, *args],
        input=message.encode(),
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


class Mailer:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "sendmail"
        self.path.write_text(SENDMAIL)
        self.path.chmod(0o755)

    def send(
        self, *args: str, message: str = MESSAGE, **environment: str
    ) -> subprocess.CompletedProcess[bytes]:
        path = f"{self.path.parent}:{os.environ['PATH']}"
        return alert("mail.sh", *args, message=message, PATH=path, **environment)

    @property
    def args(self) -> list[str]:
        return Path(f"{self.path}.args").read_text().splitlines()

    @property
    def sent(self) -> bool:
        return Path(f"{self.path}.mail").exists()

    @property
    def raw(self) -> bytes:
        return Path(f"{self.path}.mail").read_bytes()

    @property
    def mail(self) -> email.message.EmailMessage:
        parsed = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(parsed, email.message.EmailMessage)
        return parsed


@pytest.fixture
def mailer(tmp_path: Path) -> Mailer:
    return Mailer(tmp_path)


@pytest.mark.parametrize("script", ["log.sh", "mail.sh"])
def test_shell_syntax_and_help(script: str) -> None:
    subprocess.run(["sh", "-n", ALERTS / script], check=True)
    done = alert(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: {script}".encode())


def test_log_appends_blocks(tmp_path: Path) -> None:
    log = tmp_path / "alerts.log"
    before = datetime.now(timezone.utc).replace(microsecond=0)
    for message in ("ünï\nsecond", "back\\slash %s -n\n\n"):
        done = alert("log.sh", log, message=message, TZ="Asia/Tokyo")
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    text = log.read_text(encoding="utf-8")
    expected = rf"({STAMP})\nünï\n  second\n\n{STAMP}\nback\\slash %s -n\n\n"
    match = re.fullmatch(expected, text)
    assert match is not None
    stamp = datetime.strptime(match[1], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    assert before <= stamp <= datetime.now(timezone.utc)


def test_log_of_a_forged_alert(tmp_path: Path) -> None:
    """A host names its services, and says what it likes of them."""
    log = tmp_path / "alerts.log"
    forged = "h: [api/alert] x\r\n\n2026-01-01T00:00:00Z\nh2: [api/alert] \x1b[2J\0y\tz\n"
    assert alert("log.sh", log, message=forged).returncode == 0
    stamp, *lines = log.read_text().splitlines()
    assert re.fullmatch(STAMP, stamp)
    assert lines == [
        "h: [api/alert] x",
        "",
        "  2026-01-01T00:00:00Z",
        "  h2: [api/alert] [2Jy\tz",
        "",
    ]


def test_log_takes_nothing_for_no_message(tmp_path: Path) -> None:
    """A server that is killed between starting the script and writing to it sends it again."""
    done = alert("log.sh", tmp_path / "log", message="")
    assert done.returncode == 1
    assert done.stderr == b"log.sh: there is no message on standard input\n"
    assert list(tmp_path.iterdir()) == []


def test_log_of_parallel_runs_does_not_interleave(tmp_path: Path) -> None:
    log = tmp_path / "alerts.log"
    # Longer than what a shell prints at once, so that only a single write keeps it whole.
    messages = [f"alert {number}\n" + chr(97 + number) * 300_000 for number in range(20)]
    running = [subprocess.Popen([ALERTS / "log.sh", log], stdin=subprocess.PIPE) for _ in messages]
    for process, message in zip(running, messages, strict=True):
        assert process.stdin is not None
        process.stdin.write(message.encode())
        process.stdin.flush()
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait(60) for process in running] == [0] * len(running)
    blocks = re.split(rf"^{STAMP}\n", log.read_text(), flags=re.MULTILINE)
    assert sorted(blocks) == sorted(
        ["", *(message.replace("\n", "\n  ") + "\n\n" for message in messages)]
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "usage: log.sh FILE"),
        ([""], "usage: log.sh FILE"),
        (["a", "b"], "usage: log.sh FILE"),
        (["/nonexistent/alerts.log"], "cannot write to /nonexistent/alerts.log"),
        (["/"], "cannot write to /, "),
        (["/dev/full"], "cannot write to /dev/full, "),
    ],
)
def test_log_failure_has_a_sentence(args: list[str], said: str) -> None:
    done = alert("log.sh", *args)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_mail(mailer: Mailer) -> None:
    done = mailer.send("admin@example.com", "root", TZ="Asia/Tokyo")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert mailer.args == ["-i", "admin@example.com", "root"]
    mail = mailer.mail
    assert mail["Subject"] == MESSAGE.splitlines()[0]
    assert b'\nSubject: localhost a: [service:state/WARN] State changed: "OK"' in mailer.raw
    assert mail["To"] == "admin@example.com, root"
    assert mail["From"].startswith("OverC <")
    assert mail["MIME-Version"] == "1.0"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content() == MESSAGE
    age = datetime.now(timezone.utc) - mail["Date"].datetime
    assert timedelta(0) <= age < timedelta(hours=1)


def test_mail_takes_nothing_for_no_message(mailer: Mailer) -> None:
    done = mailer.send("root", message="")
    assert done.returncode == 1
    assert done.stderr == b"mail.sh: there is no message on standard input\n"


@pytest.mark.parametrize(
    ("message", "subject"),
    [
        ("ünïcødé 日本語", "ünïcødé 日本語"),
        ("日本語" * 24 + "\nmore", "日本語" * 24),
        ("plain and long " * 5 + "end", "plain and long " * 5 + "end"),
        ("a\rBcc: x@example.com\nBcc: y@example.com", "a Bcc: x@example.com"),
        ("tab\tbell\a escape\x1b[31m ünï", "tab bell  escape [31m ünï"),
        ("=?UTF-8?Q?forged?=", "=?UTF-8?Q?forged?="),
        ("-n %s \\n `id` $(id)", "-n %s \\n `id` $(id)"),
        ("\nsecond", "OverC alert"),
    ],
)
def test_mail_subject(mailer: Mailer, message: str, subject: str) -> None:
    assert mailer.send("root", message=message).returncode == 0
    mail = mailer.mail
    assert mail["Subject"] == subject
    assert mail["Bcc"] is None
    assert mail.defects == []
    assert mailer.raw.isascii()
    head = mailer.raw.split(b"\n\n")[0]
    assert all(line.strip() and len(line) <= 78 for line in head.splitlines())
    assert mail.get_payload(decode=True) == message.rstrip("\n").encode() + b"\n"


def test_mail_subject_is_cut_between_characters(mailer: Mailer) -> None:
    line = "x" + "日" * 2000
    assert mailer.send("root", message=line).returncode == 0
    subject = str(mailer.mail["Subject"])
    assert line.startswith(subject)
    assert 50 < len(subject) < 200
    words = re.findall(rb"=\?UTF-8\?B\?[^?]*\?=", mailer.raw)
    for word in words:
        decoded, _ = email.header.decode_header(word.decode())[0]
        assert isinstance(decoded, bytes)
        decoded.decode("utf-8")


def test_mail_sender_from_the_environment(mailer: Mailer) -> None:
    assert mailer.send("root", OVERC_MAIL_FROM="Watch <watch@example.com>").returncode == 0
    assert mailer.mail["From"] == "Watch <watch@example.com>"


@pytest.mark.parametrize("sender", ["a@example.com\nBcc: b@example.com", "ünï@example.com"])
def test_mail_refuses_a_bad_sender(mailer: Mailer, sender: str) -> None:
    done = mailer.send("root", OVERC_MAIL_FROM=sender)
    assert done.returncode == 1
    assert b"OVERC_MAIL_FROM" in done.stderr
    assert not mailer.sent


@pytest.mark.parametrize(
    "address", ["", "-t", "-oQ/tmp", "a b", "a,b", "a@example.com\nBcc: b@example.com", "é@é.fr"]
)
def test_mail_refuses_a_bad_address(mailer: Mailer, address: str) -> None:
    done = mailer.send("root", address)
    assert done.returncode == 1
    assert b"is not one plain address" in done.stderr
    assert not mailer.sent


def test_mail_without_an_address(mailer: Mailer) -> None:
    done = mailer.send()
    assert done.returncode == 1
    assert b"usage: mail.sh ADDRESS" in done.stderr


def test_mail_that_sendmail_refuses(mailer: Mailer) -> None:
    done = mailer.send("root", SENDMAIL_EXIT="75")
    assert done.returncode == 1
    assert b"did not take the message, its exit status was 75" in done.stderr


def test_mail_without_sendmail(tmp_path: Path) -> None:
    without_sendmail(tmp_path)
    done = alert("mail.sh", "root", PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(b"mail.sh: no sendmail or mail in PATH")


def without_sendmail(folder: Path) -> None:
    """Make a folder into a PATH that has all but a mail program."""
    if any(os.path.exists(f"{folder}/sendmail") for folder in ("/usr/sbin", "/usr/lib")):
        pytest.skip("this machine has a sendmail, which must not be used")
    for tool in ("awk", "base64", "cat", "date", "head", "id", "sed", "sh", "tr", "uname"):
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)


def test_mail_by_mail(tmp_path: Path) -> None:
    without_sendmail(tmp_path)
    program = tmp_path / "mail"
    program.write_text(SENDMAIL)
    program.chmod(0o755)
    hostile = "日本語\r\n~!touch hacked\n~r /etc/passwd\nBcc: x@example.com"
    sender = "Watch <watch@example.com>"
    done = alert(
        "mail.sh", "root", "a@b.c", message=hostile, PATH=str(tmp_path), OVERC_MAIL_FROM=sender
    )
    assert (done.returncode, done.stderr) == (0, b"")
    subject = "=?UTF-8?B?5pel5pys6Kqe?="
    wanted = ["-r", sender, "-s", subject, "root", "a@b.c"]
    assert Path(f"{program}.args").read_text().splitlines() == wanted
    body = Path(f"{program}.mail").read_bytes().decode()
    assert body == "日本語\r\n ~!touch hacked\n ~r /etc/passwd\nBcc: x@example.com\n"
    done = alert("mail.sh", "root", message="x" * 200, PATH=str(tmp_path), SENDMAIL_EXIT="3")
    assert done.returncode == 1
    assert b"did not take the message, its exit status was 3" in done.stderr
    [_, subject, _] = Path(f"{program}.args").read_text().splitlines()
    assert subject.count("=?UTF-8?B?") > 1


def test_mail_has_a_link(mailer: Mailer) -> None:
    url = "https://mon.example.com/ui/service/7"
    assert mailer.send("root", OVERC_URL=url).returncode == 0
    assert mailer.mail.get_content() == f"{MESSAGE}\n{url}\n"


HOSTILE = (
    "-o -t 'a' \"b\" $(touch hacked) `touch hacked` \\ %s\nBcc: x@example.com\r\n\r\nbody\0\x1b[31m"
)


@pytest.mark.parametrize("script, argument", [("mail.sh", "root"), ("log.sh", "alerts.log")])
def test_hostile_names_are_harmless(
    mailer: Mailer, tmp_path: Path, script: str, argument: str
) -> None:
    """With all that the server hands over, by names that a hostile host has chosen."""
    notice = a_notice(HOSTILE, HOSTILE, info=HOSTILE)
    message = single(notice)
    text = render_text(message, RAISED_AT)
    before = {path.name for path in tmp_path.iterdir()}
    done = subprocess.run(
        [ALERTS / script, argument],
        input=text.encode(),
        env={
            **os.environ,
            **environment(message, RAISED_AT, "https://mon.example.com"),
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
        },
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    made = {path.name for path in tmp_path.iterdir()} - before
    if script == "log.sh":
        assert made == {"alerts.log"}
        return
    assert made == {"sendmail.args", "sendmail.mail"}
    assert mailer.args == ["-i", "root"]
    assert mailer.mail["Bcc"] is None
    first = text.splitlines()[0]
    assert str(mailer.mail["Subject"]) == first
    assert mailer.mail["To"] == "root"
    assert mailer.mail.defects == []
