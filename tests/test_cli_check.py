"""`overcli check-config`: every mistake with its file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from overc.cli import main

AGENT = """\
[overc]
server=http://mon:5000/
my-name=a
my-key=b
[service:load]
period=60
command=/bin/true
"""
SERVER = """\
[overc]
listen=tcp:5000
[alert:log]
command=/bin/cat
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("OVERC_SERVER", "OVERC_MY_NAME", "OVERC_MY_KEY", "OVERC_LISTEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


class Ran:
    def __init__(self, capsys: pytest.CaptureFixture[str], *args: str) -> None:
        self.status = main(["check-config", *args])
        self.out, self.err = capsys.readouterr()
        assert self.err == ""


@pytest.mark.parametrize(
    "text, status, said",
    [
        (AGENT, 0, "a.ini: good for the agent, 1 service\n"),
        (SERVER, 0, "a.ini: good for the server, 1 alert channel\n"),
        ("", 0, "a.ini: good for the server, 0 alert channels\n"),
        (
            AGENT.replace("60", "1m30").replace("my-key=b\n", "my-key=b\nmy-kee=c\n"),
            1,
            "a.ini:5: [overc] my-kee: unknown option; known here: ",
        ),
        (AGENT.replace("60", "1m30"), 1, "a.ini:6: [service:load] period: expected a duration"),
        (AGENT.replace("/true", "/true 'x"), 1, "a.ini:7: [service:load] command: can't be split"),
        (AGENT.partition("[service")[0], 1, "a.ini: nothing to watch: add a section [service:"),
        (SERVER.replace("tcp:5000", "udp:5000"), 1, "a.ini:2: [overc] listen: 'udp:5000' is not"),
        (SERVER + "[other]\nx=1\n", 1, "a.ini:5: [other] unknown section\n"),
    ],
)
def test_one_file(
    here: Path, capsys: pytest.CaptureFixture[str], text: str, status: int, said: str
) -> None:
    put(here / "a.ini", text)
    ran = Ran(capsys, "a.ini")
    assert ran.status == status
    assert ran.out.startswith(said), ran.out
    assert ran.out.splitlines()[-1].startswith("a.ini: ")
    assert (" mistake" in ran.out.splitlines()[-1]) == (status == 1)


def test_all_mistakes_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(here / "a.ini", AGENT.replace("60", "x").replace("http:", "ftp:").replace("/bin/true", ""))
    ran = Ran(capsys, "a.ini")
    lines = ran.out.splitlines()
    assert [line.split(" ")[0] for line in lines[:3]] == ["a.ini:2:", "a.ini:6:", "a.ini:7:"]
    assert lines[3:] == ["a.ini: 3 mistakes"]


def test_what_will_work_but_hardly_as_meant(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(here / "a.ini", AGENT.replace("/bin/true", "./gone -x"), 0o644)
    ran = Ran(capsys, "a.ini")
    assert ran.status == 0
    assert ran.out == (
        f"a.ini:7: [service:load] command: ./gone: no such file in {here} (warning)\n"
        "a.ini:4: [overc] my-key: everybody on this machine can read it: chmod o= the file"
        " (warning)\n"
        "a.ini: good for the agent, 1 service, 2 warnings\n"
    )
    put(
        here / "s.ini",
        SERVER.replace("/bin/cat", "nosuch").replace("[alert", "ui-auth=a:b\n[alert"),
        0o644,
    )
    ran = Ran(capsys, "s.ini")
    assert ran.status == 0
    assert "s.ini:5: [alert:log] command: nosuch: command not found in PATH (warning)\n" in ran.out
    assert "s.ini:3: [overc] ui-auth: everybody on this machine can read it" in ran.out


def test_files_of_an_agent_belong_together(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "conf").mkdir()
    put(here / "conf/a.ini", AGENT)
    put(here / "conf/b.ini", "[service:disk]\nperiod=60\ncommand=/bin/true\n")
    put(here / "s.ini", SERVER)
    assert Ran(capsys, "conf", "s.ini").out == (
        "conf: good for the agent, 2 services\ns.ini: good for the server, 1 alert channel\n"
    )
    put(here / "conf/b.ini", "[service:load]\nperiod=60\ncommand=/bin/true\n")
    ran = Ran(capsys, "conf/a.ini", "conf/b.ini")
    assert (ran.status, "conf/b.ini:1: [service:load] the same name as in" in ran.out) == (1, True)


def test_the_environment_counts_as_for_the_daemon(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(here / "a.ini", AGENT.replace("my-key=b\n", ""))
    assert Ran(capsys, "a.ini").status == 1
    monkeypatch.setenv("OVERC_MY_KEY", "k")
    assert Ran(capsys, "a.ini").status == 0


def test_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(here / "a.ini", AGENT.replace("60", "x"), 0o644)
    ran = Ran(capsys, "--json", "a.ini")
    assert ran.status == 1
    told = json.loads(ran.out)
    reason = "[service:load] period: expected a duration such as 90, 5m or 1h30m, got 'x'"
    assert told.pop("mistakes") == [{"file": "a.ini", "line": 6, "reason": reason}]
    [warning] = told.pop("warnings")
    assert (warning["file"], warning["line"]) == ("a.ini", 4)
    assert told == {"ok": False, "files": [{"paths": ["a.ini"], "kind": "agent"}]}


@pytest.mark.parametrize("name", ["gone.ini", "empty"])
def test_what_can_not_be_read(here: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (here / "empty").mkdir()
    ran = Ran(capsys, name)
    assert ran.status == 1
    assert ran.out.startswith(f"{name}: can't be read: ")


@pytest.mark.parametrize("missing", ["twisted", "cronsim"])
def test_without_its_modules_it_says_what_to_install(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def check(*_: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=f"{missing}.sub")

    monkeypatch.setattr("overc.cli_check.check", check)
    put(here / "a.ini", AGENT)
    assert main(["check-config", "a.ini"]) == 1
    assert capsys.readouterr().err == (
        f"overcli: check-config: needs the module {missing}: pip install 'overc[agent]' or,"
        " for a server's file, 'overc[server]'\n"
    )
    missing = "overc"
    with pytest.raises(ModuleNotFoundError):
        main(["check-config", "a.ini"])
