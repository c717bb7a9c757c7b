"""The INI reader: what it reads, and the exact line about each mistake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from overc.config import (
    Config,
    ConfigError,
    Mistake,
    Section,
    parse_command,
    parse_duration,
)

Write = Callable[[str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes an INI file and returns its path."""

    def write(content: str | bytes) -> str:
        path = tmp_path / "overc.ini"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def number(text: str) -> int:
    if not text.isdigit():
        raise ValueError(f"expected a number, got {text!r}")
    return int(text)


def read_overc(config: Config, **more: Mapping[str, str]) -> tuple[Section, str, int]:
    section = config.section("overc", more.get("environ"), more.get("overrides"))
    return section, section.read("server", str, "nowhere"), section.read("port", number, 0)


def mistakes_of(config: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.finish()
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.mistakes)
    return [line.replace(f"{config.folder}/", "") for line in lines]


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("90", 90.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("90s", 90.0),
        ("0.25s", 0.25),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h30m1.5s", 5401.5),
        ("2d", 172800.0),
        ("1w", 604800.0),
        ("1y", 31536000.0),
        ("1w1d1h1m1s", 694861.0),
        (" 5m\n", 300.0),
        ("999999999", 999999999.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-5",
        "+5",
        "5 m",
        "m",
        "1.5h",
        "30m1h",
        "1h30",
        "5M",
        "1e3",
        "inf",
        "nan",
        "1,5",
        "٣",
        "1_0",
        ".5",
        "5.",
        "9" * 10,
        "9" * 400 + "w",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_duration(text)
    assert str(caught.value) == f"expected a duration such as 90, 5m or 1h30m, got {text!r}"


@pytest.mark.parametrize(
    "text, words",
    [
        ("./a.sh", ("./a.sh",)),
        ("./a.sh  b\tc", ("./a.sh", "b", "c")),
        ("./a.sh 'b c' \"d 'e'\" f\\ g", ("./a.sh", "b c", "d 'e'", "f g")),
        ("check_disk -w 10% # no comment", ("check_disk", "-w", "10%", "#", "no", "comment")),
        ("a '' b", ("a", "", "b")),
        ("a\nb", ("a", "b")),
        ("echo $HOME | grep ü && true", ("echo", "$HOME", "|", "grep", "ü", "&&", "true")),
    ],
)
def test_commands(text: str, words: tuple[str, ...]) -> None:
    assert parse_command(text) == words


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "expected a command, got nothing"),
        ("  ", "expected a command, got nothing"),
        ("'' a", "expected a command, got nothing"),
        ("a 'b", "can't be split into words: no closing quotation"),
        ("a \\", "can't be split into words: no escaped character"),
    ],
)
def test_what_is_no_command_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_command(text)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "mistake, line",
    [
        (Mistake("a.ini:3", "is bad", "overc", "port"), "a.ini:3: [overc] port: is bad"),
        (Mistake("a.ini:3", "is bad", "overc"), "a.ini:3: [overc] is bad"),
        (Mistake("a.ini", "is bad"), "a.ini: is bad"),
    ],
)
def test_a_mistake_in_words(mistake: Mistake, line: str) -> None:
    assert str(mistake) == line


@pytest.mark.parametrize(
    "content, server",
    [
        ("[overc]\nserver=a\n", "a"),
        ("[overc]\nserver = a b \n", "a b"),
        ("[overc]\nSERVER=a\n", "a"),
        ("[overc]\r\nserver=a\r\n", "a"),
        ("\ufeff[overc]\nserver=a\n", "a"),
        ("\n# c\n; c\n[overc]\n  # c\nserver=a\n# c", "a"),
        ("[overc]\nserver=a=b=c\n", "a=b=c"),
        ("[overc]\nserver=a: b # c ; d\n", "a: b # c ; d"),
        ("[overc]\nserver=10% %(port)s %%\n", "10% %(port)s %%"),
        ("[overc]\nserver=München ☃ 監視\n", "München ☃ 監視"),
        ("[overc]\nserver=a\u2028b\x0cc\x85d\n", "a\u2028b\x0cc\x85d"),
        ("[overc]\nserver=\n", ""),
        ("[overc]\nserver=a\n  b=c\n\t[d]\n", "a\nb=c\n[d]"),
        ("[overc]\nserver=a\n # c\n b\n", "a\nb"),
        ("[overc]\nserver=\n a\n", "\na"),
        ("[overc]\n  server=a\n", "a"),
        ("[overc]\n  server=a\n  port=1\n", "a"),
        ("[overc]\n  server=a\n port=1\n", "a"),
        ("[overc]\n  server=a\n   port=1\n", "a\nport=1"),
        ("[overc]\n  port=1\n  server=a\n    b\n\n  # c\n    d\n", "a\nb\n\nd"),
        ("  [overc]\n  server=a\n  [service:b]\n", "a"),
        ("[overc]\n\tserver=a\n\t; c\n\tport=1\n", "a"),
        ("  [overc]\nserver=a\n", "a"),
        ("[overc]\nport=1\n", "nowhere"),
        ("", "nowhere"),
    ],
)
def test_values(write: Write, content: str, server: str) -> None:
    config = Config(write(content))
    assert read_overc(config)[1] == server
    list(config.sections("service"))
    config.finish()


def test_without_a_file_there_are_the_defaults() -> None:
    config = Config()
    assert read_overc(config)[1:] == ("nowhere", 0)
    config.finish()
    config.section("overc").mistake("server", "is wrong")
    assert mistakes_of(config) == ["built-in defaults: [overc] server: is wrong"]


@pytest.mark.parametrize(
    "content, lines",
    [
        ("server=a\n", ["overc.ini:1: expected a [section] before the first option"]),
        (
            "[overc]\n\nserver\n",
            ["overc.ini:3: [overc] expected option=value, got 'server'"],
        ),
        ("[overc]\nserver: a\n", ["overc.ini:2: [overc] expected option=value, got 'server: a'"]),
        ("[overc]\n=a\n", ["overc.ini:2: [overc] expected option=value, got '=a'"]),
        ("[overc]\n[]\n", ["overc.ini:2: [overc] expected option=value, got '[]'"]),
        ("[overc]\n  server\n", ["overc.ini:2: [overc] expected option=value, got 'server'"]),
        (
            "[overc]\nserver=a\nbad\n  port=x\n",
            [
                "overc.ini:3: [overc] expected option=value, got 'bad'",
                "overc.ini:4: [overc] port: expected a number, got 'x'",
            ],
        ),
        ("[overc]\nport=x\n", ["overc.ini:2: [overc] port: expected a number, got 'x'"]),
        ("[overc]\nport=\n", ["overc.ini:2: [overc] port: expected a number, got ''"]),
        (
            "[overc]\nserver=a\u2028b\nport=x\n",
            ["overc.ini:3: [overc] port: expected a number, got 'x'"],
        ),
        (
            "[overc]\nserver=a\n b\n\n c\nport=x\n",
            ["overc.ini:6: [overc] port: expected a number, got 'x'"],
        ),
        (
            "[overc]\nservers=a\n",
            ["overc.ini:2: [overc] servers: unknown option; known here: port, server"],
        ),
        ("[overc]\n[Overc]\nserver=a\n", ["overc.ini:2: [Overc] unknown section"]),
        ("[DEFAULT]\nserver=a\n", ["overc.ini:1: [DEFAULT] unknown section"]),
        ("[service:a b]\nperiod=1\n", ["overc.ini:1: [service:a b] unknown section"]),
        ("[overc]\n[overc]\n", ["overc.ini:2: [overc] the section stands in line 1 too"]),
        (
            "[overc]\nserver=a\nServer=b\n",
            ["overc.ini:3: [overc] server: stands in line 2 too"],
        ),
        (
            "[overc]\nserver=a\n[overc]\nserver=b\n",
            [
                "overc.ini:3: [overc] the section stands in line 1 too",
                "overc.ini:4: [overc] server: stands in line 2 too",
            ],
        ),
        (b"[overc]\n# caf\xe9\n", ["overc.ini:2: is not UTF-8 text: invalid continuation byte"]),
        (b"\xef\xbb\xbf[overc]\n\n\xff", ["overc.ini:3: is not UTF-8 text: invalid start byte"]),
        (
            "first\n[overc]\nport=x\nbad\n  worse\nserver=\nextra=1\n[odd]\na=1\n",
            [
                "overc.ini:1: expected a [section] before the first option",
                "overc.ini:3: [overc] port: expected a number, got 'x'",
                "overc.ini:4: [overc] expected option=value, got 'bad'",
                "overc.ini:5: [overc] expected option=value, got 'worse'",
                "overc.ini:7: [overc] extra: unknown option; known here: port, server",
                "overc.ini:8: [odd] unknown section",
            ],
        ),
    ],
)
def test_mistakes_in_the_order_of_the_file(
    write: Write, content: str | bytes, lines: list[str]
) -> None:
    config = Config(write(content))
    read_overc(config)
    assert mistakes_of(config) == lines


def test_the_last_of_several_values_is_read_so_that_it_too_is_checked(write: Write) -> None:
    config = Config(write("[overc]\nport=1\nport=x\n"))
    read_overc(config)
    assert mistakes_of(config) == [
        "overc.ini:3: [overc] port: stands in line 2 too",
        "overc.ini:3: [overc] port: expected a number, got 'x'",
    ]


@pytest.mark.parametrize(
    "name, reason",
    [("missing.ini", "No such file or directory"), ("missing.2", "No such file or directory")],
)
def test_an_unreadable_file(tmp_path: Path, name: str, reason: str) -> None:
    config = Config(str(tmp_path / name))
    assert read_overc(config)[1] == "nowhere"
    assert mistakes_of(config) == [f"{name}: can't be read: {reason}"]


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "overc.ini").mkdir()
    config = Config(str(tmp_path / "overc.ini"))
    assert mistakes_of(config) == ["overc.ini: can't be read: Is a directory"]


def test_the_folder_is_the_files_and_absolute(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("")
    monkeypatch.chdir(tmp_path)
    assert Config("overc.ini").folder == str(tmp_path)
    assert Config().folder == str(tmp_path)


@pytest.mark.parametrize(
    "environ, overrides, server",
    [
        ({}, {}, "file"),
        ({"OVERC_SERVER": "env"}, {}, "env"),
        ({"OVERC_SERVER": ""}, {}, ""),
        ({"SERVER": "env", "OVERC_PORT": "5"}, {}, "file"),
        ({"OVERC_SERVER": "env"}, {"server": "line"}, "line"),
        ({"OVERC_SERVER": "env"}, {"server": None}, "env"),
        ({}, {"server": ""}, ""),
    ],
)
def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    write: Write, environ: dict[str, str], overrides: dict[str, str | None], server: str
) -> None:
    section = Config(write("[overc]\nserver=file\n")).section("overc", environ, overrides)
    assert section.read("server", str, "nowhere") == server


@pytest.mark.parametrize(
    "environ, overrides, line",
    [
        ({}, {}, "overc.ini:2: [overc] max-lag: expected a number, got 'file'"),
        (
            {"OVERC_MAX_LAG": "env"},
            {},
            "environment OVERC_MAX_LAG: [overc] max-lag: expected a number, got 'env'",
        ),
        (
            {"OVERC_MAX_LAG": "env"},
            {"max-lag": "line"},
            "--max-lag: [overc] max-lag: expected a number, got 'line'",
        ),
    ],
)
def test_a_mistake_names_where_its_value_came_from(
    write: Write, environ: dict[str, str], overrides: dict[str, str | None], line: str
) -> None:
    config = Config(write("[overc]\nmax-lag=file\n"))
    section = config.section("overc", environ, overrides)
    assert section.read("max-lag", number, 7) == 7
    assert mistakes_of(config) == [line]


def test_mistakes_from_outside_the_file_come_first(write: Write) -> None:
    config = Config(write("[overc]\nserver=a\nodd=1\n"))
    section = config.section("overc", {"OVERC_LEVEL2": "x"}, {"port": "y"})
    section.read("server", str, "")
    section.read("port", number, 0)
    section.read("level2", number, 0)
    assert mistakes_of(config) == [
        "--port: [overc] port: expected a number, got 'y'",
        "environment OVERC_LEVEL2: [overc] level2: expected a number, got 'x'",
        "overc.ini:3: [overc] odd: unknown option; known here: level2, port, server",
    ]


@pytest.mark.parametrize(
    "content, lines",
    [
        ("[overc]\nport=1\n", []),
        ("[overc]\n", ["overc.ini:1: [overc] port: is missing"]),
        ("", ["overc.ini: [overc] port: is missing"]),
        ("[overc]\nport=x\n", ["overc.ini:2: [overc] port: expected a number, got 'x'"]),
    ],
)
def test_a_required_option(write: Write, content: str, lines: list[str]) -> None:
    config = Config(write(content))
    config.section("overc").require("port", number, 0)
    if lines:
        assert mistakes_of(config) == lines
    else:
        config.finish()


def test_sections_of_a_kind_in_the_order_of_the_file(write: Write) -> None:
    content = "[service:z]\np=1\n[overc]\n[service: 監 視 ]\np=2\n[service:a:b=c]\np=3\n"
    config = Config(write(content))
    config.section("overc")
    found = [(name, section.read("p", number, 0)) for name, section in config.sections("service")]
    assert found == [("z", 1), ("監 視", 2), ("a:b=c", 3)]
    config.finish()


def test_sections_of_a_kind_need_a_name_of_their_own(write: Write) -> None:
    content = "[service:]\n[service]\n[service:a]\n[service: a]\n[services:b]\n"
    config = Config(write(content))
    assert [name for name, _ in config.sections("service")] == ["", "", "a", "a"]
    assert mistakes_of(config) == [
        "overc.ini:1: [service:] expected [service:NAME]",
        "overc.ini:2: [service] expected [service:NAME]",
        "overc.ini:4: [service: a] the same name as [service:a]: each needs its own",
        "overc.ini:5: [services:b] unknown section",
    ]


def test_a_mistake_that_only_the_reader_can_know(write: Write) -> None:
    config = Config(write("[overc]\nserver=a\nport=1\n"))
    section, _, _ = read_overc(config)
    section.mistake("port", "is taken")
    section.mistake("absent", "goes with port")
    assert mistakes_of(config) == [
        "overc.ini:1: [overc] absent: goes with port",
        "overc.ini:3: [overc] port: is taken",
    ]


def test_a_warning_is_no_mistake(write: Write) -> None:
    config = Config(write("[overc]\nserver=a\nport=1\n"))
    section, _, _ = read_overc(config)
    section.warn("port", "is unusual")
    section.warn("", "says little")
    config.finish()
    assert [str(warning).rpartition("/")[2] for warning in config.warnings] == [
        "overc.ini:3: [overc] port: is unusual",
        "overc.ini:1: [overc] says little",
    ]
