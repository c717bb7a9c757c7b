"""`overcli init`: what it chooses, what it writes, what it says."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer, reply, running

from overc import cli_init
from overc.agent.settings import load
from overc.cli import main
from overc.cli_init import Check, Machine, choose, ini

NAGIOS = frozenset({"check_load", "check_disk", "check_procs", "check_swap", "check_ssh"})
SHIPPED = frozenset({"load", "memory", "swap", "disk", "process", "tcp", "systemd"})


@pytest.mark.parametrize(
    "machine, names",
    [
        (Machine(), []),
        (Machine("/n", NAGIOS), ["load", "disk", "zombies"]),
        (
            Machine("/n", NAGIOS, "/s", SHIPPED, ("/",), True, True, frozenset({22, 80})),
            ["load", "memory", "disk", "zombies", "swap", "systemd", "ssh"],
        ),
        (
            Machine("", frozenset(), "/s", SHIPPED, has_swap=True),
            ["load", "memory", "disk", "swap"],
        ),
        (Machine("/n", frozenset({"check_disk"}), "/s", SHIPPED), ["load", "memory", "disk"]),
    ],
)
def test_which_checks_fit(machine: Machine, names: list[str]) -> None:
    assert [check.name for check in choose(machine)] == names


def test_nagios_plugins_go_before_ours() -> None:
    machine = Machine("/n", NAGIOS, "/s", SHIPPED, ("/", "/my home"), ports=frozenset({22}))
    commands = {check.name: check.command for check in choose(machine)}
    assert commands["load"][0] == "/n/check_load"
    assert commands["memory"][0] == "/s/memory"
    assert commands["disk"][-4:] == ("-p", "/", "-p", "/my home")
    assert commands["ssh"] == ("/n/check_ssh", "localhost")
    ours = {
        check.name: check.command for check in choose(machine._replace(nagios_plugins=frozenset()))
    }
    assert ours["disk"] == ("/s/disk", "-w", "80", "-c", "90", "/", "/my home")
    assert ours["ssh"] == ("/s/tcp", "--expect", "SSH-", "localhost:22")


def test_the_file_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "agent.ini"
    checks = [Check("disk", 300, ("/p/disk", "/my home", "50%")), Check("load", 60, ("/p/load",))]
    path.write_text(ini("http://u:p%40@mon:5000/", "größe #1", "k", checks, str(path)))
    settings = load(str(path), {}, {})
    assert settings.identity == ("größe #1", "k")
    assert settings.server.credentials == ("u", "p@")
    assert [(s.name, s.period_s, s.command) for s in settings.services] == checks


def test_what_is_looked_at(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    (tmp_path / "my home").mkdir()
    escaped = str(tmp_path).replace(" ", "\\040") + "/my\\040home"
    mounts.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/loop1 /proc squashfs ro 0 0\n"
        f"/dev/sda2 /proc ext4 rw 0 0\n/dev/sda3 {escaped} ext4 rw 0 0\n"
        f"/dev/sda4 /gone xfs rw 0 0\n/dev/sda5 /etc/hosts ext4 rw 0 0\nshort\n"
    )
    found = cli_init._disks(str(mounts))
    assert found[:2] == ("/", "/proc")
    assert set(found[2:]) <= {f"{tmp_path}/my home"}
    assert cli_init._disks("/nonexistent") == ("/",)
    ports = tmp_path / "tcp"
    ports.write_text(
        "  sl  local_address rem_address   st\n"
        "   0: 0100007F:0016 00000000:0000 0A 0\n"
        "   1: 0100007F:0050 0100007F:1234 01 0\n"
        "   2: 00000000000000000000000000000000:01BB 00000000000000000000000000000000:0000 0A\n"
    )
    assert cli_init._ports(str(ports)) == {22, 443}
    for text, there in (("SwapTotal: 0 kB\n", False), ("SwapTotal: 9 kB\n", True), ("", False)):
        (tmp_path / "meminfo").write_text(text)
        assert cli_init._has_swap(str(tmp_path / "meminfo")) is there
    real = cli_init.look()
    assert {"load", "memory", "certificate"} <= real.shipped_plugins
    assert "_nagios.py" not in real.shipped_plugins


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Ran:
    def __init__(self, capsys: pytest.CaptureFixture[str], *args: str) -> None:
        self.status = main(["init", *args])
        self.out, self.err = capsys.readouterr()


def key_in(path: Path) -> str:
    found = re.search(r"^my-key=(.+)$", path.read_text(), flags=re.MULTILINE)
    assert found is not None
    return found[1]


def test_init(server: FakeServer, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    ran = Ran(capsys, server.url, "--name", "web1")
    assert (ran.status, ran.err) == (0, "")
    path = here / "agent.ini"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    [request] = server.requests
    assert request.path == "/api/ping"
    assert request.json["server"] == {"name": "web1", "key": key_in(path)}
    assert len(key_in(path)) == 48
    assert key_in(path) not in ran.out
    assert ran.out.startswith("wrote agent.ini: web1 with a random key, ")
    assert f"\n{server.url} answers and knows web1\nnext:\n" in ran.out
    for command in (
        "overcli monitor --once agent.ini",
        "overcli monitor agent.ini",
        "twistd overc-agent --config agent.ini",
    ):
        assert f"  {command} " in ran.out
    assert len(load("agent.ini", {}, {}).services) >= 2


@pytest.mark.parametrize(
    ("has_systemd", "folder", "told"),
    [
        (True, "share/overc", True),
        (False, "share/overc", False),
        # A checkout, and plugins that somebody has put elsewhere.
        (True, "etc/overc", False),
        (True, "", False),
    ],
)
def test_the_unit_is_named_where_it_can_be_used(
    server: FakeServer, capsys: pytest.CaptureFixture[str], here: Path,
    monkeypatch: pytest.MonkeyPatch, has_systemd: bool, folder: str, told: bool,
) -> None:  # fmt: skip
    unit = here / "share/overc/systemd/overc-agent.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    shipped = str(here / folder / "plugin.d") if folder else ""
    machine = Machine(shipped=shipped, shipped_plugins=SHIPPED, has_systemd=has_systemd)
    monkeypatch.setattr(cli_init, "look", lambda: machine)
    ran = Ran(capsys, server.url)
    assert ran.status == 0
    assert (f"  less {unit} " in ran.out) is told


def test_the_name_is_this_machines(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "host7")
    assert Ran(capsys, server.url, "--config", "a b.ini").status == 0
    assert load("a b.ini", {}, {}).identity.name == "host7"


def test_what_is_there_stays(
    server: FakeServer, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "agent.ini").write_text("mine")
    ran = Ran(capsys, server.url)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == (
        "overcli: agent.ini: is there, and stays as it is: name another one with --config,"
        " or give --force\n"
    )
    assert (here / "agent.ini").read_text() == "mine"
    (here / "agent.ini").unlink()
    (here / "agent.ini").symlink_to(here / "elsewhere")
    assert Ran(capsys, server.url).status == 1
    assert not (here / "elsewhere").exists()
    assert server.requests == []


def test_force_keeps_the_key_that_the_server_knows(
    server: FakeServer, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    path = here / "agent.ini"
    assert Ran(capsys, server.url, "--name", "web1").status == 0
    key = key_in(path)
    path.chmod(0o644)
    ran = Ran(capsys, server.url, "--name", "web1", "--force")
    assert (ran.status, "web1 with the key that it had, " in ran.out) == (0, True)
    assert key_in(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Ran(capsys, server.url, "--name", "web2", "--force").status == 0
    assert key_in(path) != key
    path.write_text("[overc\nno ini at all")
    assert Ran(capsys, server.url, "--name", "web1", "--force").status == 0


@pytest.mark.parametrize("away", [True, False])
def test_without_an_answer_the_file_is_kept(
    server: FakeServer, capsys: pytest.CaptureFixture[str], here: Path, away: bool
) -> None:
    url, sentence = server.url, "HTTP 403: Invalid server key for x"
    server.answer = [reply(403, {"error": "Invalid server key for x"})]
    if away:
        with running() as gone:
            url, sentence = gone.url, f"{gone.authority}: Connection refused"
    ran = Ran(capsys, url.replace("//", "//u:s3cret@"), "--name", "web1")
    assert ran.status == 1
    assert ran.err == (
        f"overcli: {sentence}\novercli: agent.ini is kept; overcli init --force tries again\n"
    )
    assert ran.out.startswith("wrote agent.ini: ")
    assert "answers" not in ran.out
    assert "s3cret" not in ran.out
    assert "//u:s3cret@" in (here / "agent.ini").read_text()


def test_json(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, server.url, "--name", "web1", "--json")
    told = json.loads(ran.out)
    services = told.pop("services")
    assert told == {
        "file": "agent.ini", "server": server.url, "name": "web1", "pong": True, "error": None,
    }  # fmt: skip
    assert {"name", "period", "command"} == set(services[0])


@pytest.mark.parametrize(
    "args, said",
    [
        (["http://a/", "--config", "no/such/agent.ini"], "can't be written: No such file or dir"),
        (["http://a/", "--config", "no/such/agent.ini", "--force"], "can't be written: No such"),
        (["http://a/", "--config", "a\nb.ini"], "can't be the name of a file here"),
        (["http://a/", "--name", "a\nb"], "can't be a name: pick one with --name"),
        (["http://a/", "--name", " "], "can't be a name: pick one with --name"),
    ],
)
def test_what_can_not_be_written(
    capsys: pytest.CaptureFixture[str], here: Path, args: list[str], said: str
) -> None:
    ran = Ran(capsys, *args)
    assert (ran.status, ran.out, said in ran.err) == (1, "", True), ran.err
    assert os.listdir(here) == []


@pytest.mark.parametrize(
    "args, said",
    [
        ([], "the following arguments are required: URL"),
        (["mon:5000"], "argument URL: expected a URL such as http://mon.example.com:5000/"),
        (["http://a/ b"], "argument URL: a URL can't hold white space"),
        (["http://u:s3/cret@a/"], "argument URL: expected a URL such as"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], args: list[str], said: str) -> None:
    ran = Ran(capsys, *args)
    assert (ran.status, said in ran.err, "s3" in ran.err) == (2, True, False)


def test_the_url_stands_in_one_place(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert main(["-s", "http://a/", "init", "http://b/"]) == 1
    assert "the URL stands behind it, without -s" in capsys.readouterr().err
    assert os.listdir(here) == []


def test_a_machine_without_plugins_gets_a_file_that_says_so(tmp_path: Path) -> None:
    text = ini("http://a/", "n", "k", [], "agent.ini")
    assert "apt install monitoring-plugins-basic" in text
    (tmp_path / "a.ini").write_text(
        text.replace("\n#[", "\n[").replace("\n#p", "\np").replace("\n#c", "\nc")
    )
    assert [service.name for service in load(str(tmp_path / "a.ini"), {}, {}).services] == ["load"]
