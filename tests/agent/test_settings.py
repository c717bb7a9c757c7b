from __future__ import annotations

import pathlib
import pwd

import pytest

from overc.agent.delivery_settings import Server, parse_server
from overc.agent.service_settings import ServiceSettings
from overc.agent.settings import AgentSettings, load
from overc.config import ConfigError

HEAD = "[overc]\nserver=http://mon:5000/\nmy-name=a\nmy-key=k\n"


def written(folder: pathlib.Path, text: str) -> str:
    path = folder / "agent.ini"
    path.write_text(text, encoding="utf-8")
    return str(path)


def mistakes(path: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ, {})
    return [str(m).removeprefix(path) for m in caught.value.mistakes]


def test_a_whole_file(tmp_path: pathlib.Path) -> None:
    text = HEAD + "loglevel=warn\n[service:que]\nperiod=1m30s\nmax-lag=3\ncommand=./q '1 2' 10%\n"
    settings = load(written(tmp_path, text), {}, {})
    (service,) = settings.services
    assert settings.server == Server("http://mon:5000/")
    assert (settings.identity.name, settings.identity.key) == ("a", "k")
    assert (settings.folder, settings.loglevel) == (str(tmp_path), "WARN")
    assert (service.name, service.period_s, service.max_lag_s) == ("que", 90, 3.0)
    assert service.command == ("./q", "1 2", "10%")


@pytest.mark.parametrize(
    "options, timeout_s",
    [("period=10", 10), ("period=1h", 60), ("period=1h\ntimeout=5m", 300), ("period=1", 1)],
)
def test_time_limit(tmp_path: pathlib.Path, options: str, timeout_s: float) -> None:
    text = f"{HEAD}[service:x]\ncommand=x\n{options}\n"
    assert load(written(tmp_path, text), {}, {}).services[0].timeout_s == timeout_s


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    tmp_path: pathlib.Path,
) -> None:
    path = written(tmp_path, HEAD + "[service:x]\nperiod=1\ncommand=x\n")
    environ = {"OVERC_SERVER": "http://env/", "OVERC_MY_NAME": "env", "OVERC_MY_KEY": "env"}
    settings = load(path, environ, {"server": None, "my-name": "line", "my-key": None})
    assert settings.server.url == "http://env/"
    assert (settings.identity.name, settings.identity.key) == ("line", "env")


def test_secrets_are_not_shown(tmp_path: pathlib.Path) -> None:
    text = "[overc]\nserver=http://u:hunter2@mon/\nmy-name=a\nmy-key=s3cret\n"
    settings = load(written(tmp_path, text + "[service:x]\nperiod=1\ncommand=x\n"), {}, {})
    assert "hunter2" not in repr(settings)
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    "text, url, credentials",
    [
        ("http://h", "http://h/", None),
        ("http://h:5000/overc", "http://h:5000/overc/", None),
        ("https://h/a/b/", "https://h/a/b/", None),
        ("http://[::1]:5000/", "http://[::1]:5000/", None),
        ("http://u:p@h:1/x/", "http://h:1/x/", ("u", "p")),
        ("http://u%40x:p%3Aq%2F@h/", "http://h/", ("u@x", "p:q/")),
        ("http://u@h/", "http://h/", ("u", "")),
    ],
)
def test_server(text: str, url: str, credentials: tuple[str, str] | None) -> None:
    assert parse_server(text) == Server(url, credentials)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "start with http"),
        ("mon.example.com:5000", "start with http"),
        ("ftp://u:hunter2@h/", "start with http"),
        ("http://", "host is missing"),
        ("http://u:hunter2@:80/", "host is missing"),
        ("http://u:hunter2@h:port/", "port"),
        ("http://u:hunter2@h:99999/", "port"),
        ("http://u:hunter2@h:0/", "port"),
        ("http://u:hunter2/3@h/", "port"),
        ("http://u:hunter2@h/?a=1", "?"),
        ("http://u:hunter2@h/#x", "#"),
        ("http://u:hunter2@[h/", "host"),
        ("http://u:hunter2@my host/", "white space"),
    ],
)
def test_bad_server(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_server(text)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_mistake_is_found_at_once(tmp_path: pathlib.Path) -> None:
    text = (
        "[overc]\nserver=nowhere\nmy-name=\nloglevel=loud\nwat=1\n"
        "[service:a]\nperiod=0\ncommand='\n[service:b]\nperiod=0.5\n"
        "[service:c]\nperiod=5\nmax-lag=soon\ntimeout=0\ncommand=c\n[service:]\n[other]\n"
    )
    found = mistakes(written(tmp_path, text))
    places = [m.split(":", 2)[1] for m in found]
    assert places == [
        "1",
        "2",
        "3",
        "4",
        "5",
        "7",
        "8",
        "9",
        "10",
        "13",
        "14",
        "16",
        "16",
        "16",
        "17",
    ]
    assert ":1: [overc] my-key: is missing" in found
    assert ":7: [service:a] period: expected a whole number of seconds above 0, got '0'" in found
    assert ":14: [service:c] timeout: expected a time above 0, got '0'" in found


def test_without_services(tmp_path: pathlib.Path) -> None:
    assert mistakes(written(tmp_path, HEAD)) == [
        ": nothing to watch: add a section [service:NAME] with a period and a command"
    ]


def test_a_file_that_cannot_be_read_is_the_only_mistake(tmp_path: pathlib.Path) -> None:
    assert mistakes(str(tmp_path / "none.ini")) == [": can't be read: No such file or directory"]
    path = tmp_path / "latin.ini"
    path.write_bytes(b"[overc]\nmy-name=\xe9\n")
    (found,) = mistakes(str(path))
    assert found.startswith(":2: is not UTF-8 text")


def test_names_that_the_wire_cannot_carry(tmp_path: pathlib.Path) -> None:
    path = written(tmp_path, HEAD + "[service:a\0b]\nperiod=1\ncommand=x\n")
    found = mistakes(path, OVERC_MY_NAME="\udce9")
    assert "environment OVERC_MY_NAME: [overc] my-name: is not UTF-8 text" in found
    assert any("can't hold a NUL" in m for m in found)


def test_ten_years_is_the_longest_period(tmp_path: pathlib.Path) -> None:
    (found,) = mistakes(written(tmp_path, HEAD + "[service:a]\nperiod=3651d\ncommand=x\n"))
    assert "ten years at most" in found


def service_of(tmp_path: pathlib.Path, options: str) -> ServiceSettings:
    text = f"{HEAD}[service:x]\nperiod=100\ncommand=x\n{options}\n"
    return load(written(tmp_path, text), {}, {}).services[0]


def test_where_and_how_a_command_runs(tmp_path: pathlib.Path) -> None:
    assert service_of(tmp_path, "").folder == str(tmp_path)
    assert service_of(tmp_path, "cwd=plugin.d/../srv").folder == str(tmp_path / "srv")
    service = service_of(tmp_path, "cwd=/srv\nenv=A=1 B='two words' C= D=x=y A=2")
    assert service.folder == "/srv"
    assert service.env == (("A", "2"), ("B", "two words"), ("C", ""), ("D", "x=y"))


@pytest.mark.parametrize(
    "text, grace_s", [("30", 30.0), ("1m30s", 90.0), ("10%", 10.0), ("250 %", 250.0), ("0%", 0.0)]
)
def test_grace(tmp_path: pathlib.Path, text: str, grace_s: float) -> None:
    assert service_of(tmp_path, f"grace={text}").grace_s == grace_s


def test_whom_a_command_runs_as(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    nobody = pwd.getpwnam("nobody")
    assert service_of(tmp_path, "user=nobody").user == (
        "nobody",
        nobody.pw_uid,
        nobody.pw_gid,
        nobody.pw_dir,
    )
    assert service_of(tmp_path, "user=root").user is None
    monkeypatch.setattr("os.geteuid", lambda: nobody.pw_uid)
    assert service_of(tmp_path, "user=nobody").user is None
    with pytest.raises(ConfigError, match="user: only root may run commands as another user"):
        service_of(tmp_path, "user=root")


@pytest.mark.parametrize(
    "option, reason",
    [
        ("env=A", "expected NAME=VALUE words, got A"),
        ("env==1", "expected NAME=VALUE words, got =1"),
        ("env=", "expected NAME=VALUE words, got nothing"),
        ("env=A='", "can't be split into words"),
        ("cwd=", "can't be empty"),
        ("user=no such user", "there is no user 'no such user' on this machine"),
        ("grace=often", "expected a duration"),
        ("grace=x%", "or a part of the period, 10%"),
        ("grace=11y", "ten years at most"),
    ],
)
def test_mistakes_of_a_service(tmp_path: pathlib.Path, option: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        service_of(tmp_path, option)
    (mistake,) = caught.value.mistakes
    assert mistake.where.endswith(":8")
    assert reason in mistake.reason


def test_what_the_agent_says_of_itself(tmp_path: pathlib.Path) -> None:
    def settings_of(options: str) -> AgentSettings:
        text = f"{HEAD}{options}\n[service:x]\nperiod=1\ncommand=x\n"
        return load(written(tmp_path, text), {}, {})

    default = settings_of("")
    assert (default.own_period_s, default.goodbye_s, default.concurrency) == (300, None, 8)
    chosen = settings_of("own-state-period=1h\ngoodbye=2h\nconcurrency=20")
    assert (chosen.own_period_s, chosen.goodbye_s, chosen.concurrency) == (3600, 7200, 20)
    assert settings_of("own-state=no").own_period_s is None
    for number in ("0", "-1", "1001", "many", "1.5", "\u0663"):
        with pytest.raises(ConfigError, match="concurrency: expected a number from 1 to 1000"):
            settings_of(f"concurrency={number}")
    with pytest.raises(ConfigError, match="own-state: expected yes or no"):
        settings_of("own-state=maybe")


def test_the_name_of_its_own_state_is_taken(tmp_path: pathlib.Path) -> None:
    text = HEAD + "{}[service:overc-agent]\nperiod=1\ncommand=x\n"
    (mistake,) = mistakes(written(tmp_path, text.format("")))
    assert "take another one, or own-state=no" in mistake
    assert load(written(tmp_path, text.format("own-state=no\n")), {}, {}).own_period_s is None


SERVICE = "[service:{}]\nperiod=1\ncommand=x\n"


def test_several_files(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "more.d"
    folder.mkdir()
    (folder / "20-b.ini").write_text(SERVICE.format("b"))
    (folder / "10-c.ini").write_text(SERVICE.format("c"))
    for ignored in (".hidden.ini", "x.ini~", "x.txt"):
        (folder / ignored).write_text("no [configuration")
    main = written(tmp_path, HEAD + SERVICE.format("a"))
    settings = load([str(folder), main], {}, {})
    assert [service.name for service in settings.services] == ["c", "b", "a"]
    assert [service.folder for service in settings.services] == [str(folder)] * 2 + [str(tmp_path)]
    assert (settings.identity.name, settings.folder) == ("a", str(tmp_path))


def test_mistakes_in_several_files(tmp_path: pathlib.Path) -> None:
    main = written(tmp_path, HEAD + SERVICE.format("a"))
    more = tmp_path / "more.ini"
    more.write_text("[overc]\nserver=http://x/\n" + SERVICE.format("a") + "[service:b]\nperiod=0\n")
    empty = tmp_path / "empty.d"
    empty.mkdir()
    with pytest.raises(ConfigError) as caught:
        load([main, str(more), str(empty), str(tmp_path / "gone.ini")], {}, {})
    assert [str(mistake).replace(f"{tmp_path}/", "") for mistake in caught.value.mistakes] == [
        "empty.d: is a folder without a file *.ini: put one there",
        "more.ini:1: [overc] stands in agent.ini too: leave it in one of the files",
        "more.ini:3: [service:a] the same name as in agent.ini:5: each service needs its own",
        "more.ini:6: [service:b] command: is missing",
        "more.ini:7: [service:b] period: expected a whole number of seconds above 0, got '0'",
        "gone.ini: can't be read: No such file or directory",
    ]


def test_nowhere_an_overc_section(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.ini").write_text(SERVICE.format("a"))
    (tmp_path / "b.ini").write_text(SERVICE.format("b"))
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path), {}, {})
    assert {str(mistake) for mistake in caught.value.mistakes} == {
        f"{tmp_path}/a.ini: [overc] {option}: is missing"
        for option in ("server", "my-name", "my-key")
    }


def test_an_empty_folder_is_the_only_mistake(tmp_path: pathlib.Path) -> None:
    assert mistakes(str(tmp_path)) == [": is a folder without a file *.ini: put one there"]
