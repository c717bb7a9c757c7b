from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.certificates import Certificate

from overc.agent.delivery_settings import (
    SPOOL_AGE_S,
    SPOOL_BYTES,
    Server,
    SpoolSettings,
    TlsSettings,
    default_spool,
    parse_servers,
    parse_size,
)
from overc.agent.settings import AgentSettings, load
from overc.config import ConfigError

HEAD = "my-name=me\nmy-key=k\n"
SERVICE = "[service:a]\nperiod=60\ncommand=true\n"


def read(folder: Path, *lines: str, server: str = "http://h/") -> AgentSettings:
    path = folder / "agent.ini"
    path.write_text(f"[overc]\nserver={server}\n{HEAD}" + "\n".join(lines) + "\n" + SERVICE)
    return load(str(path), {"STATE_DIRECTORY": "/state:/other"}, {})


def mistakes(folder: Path, *lines: str, server: str = "http://h/") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, *lines, server=server)
    return [str(one).rpartition("agent.ini:")[2] for one in caught.value.mistakes]


def test_the_defaults(tmp_path: Path) -> None:
    settings = read(tmp_path)
    assert settings.servers == (Server("http://h/"),)
    assert settings.tls == TlsSettings(None, True)
    assert settings.spool == SpoolSettings("/state/spool-me.db", SPOOL_AGE_S, SPOOL_BYTES)
    assert (SPOOL_AGE_S, SPOOL_BYTES) == (86400, 64 * 1024 * 1024)


def test_several_servers(tmp_path: Path) -> None:
    settings = read(tmp_path, server="https://u:p@a/  http://b:5000/over")
    assert settings.server == Server("https://a/", ("u", "p"))
    assert settings.servers[1:] == (Server("http://b:5000/over/"),)
    assert "u:p" not in repr(settings)
    assert parse_servers("http://a/") == (Server("http://a/"),)


@pytest.mark.parametrize(
    "line, path",
    [
        ("spool=yes", "/state/spool-me.db"),
        ("spool=YES", "/state/spool-me.db"),
        ("spool=no", None),
        ("spool=/var/x.db", "/var/x.db"),
        ("spool=here/x.db", "{folder}/here/x.db"),
    ],
)
def test_where_the_spool_is(tmp_path: Path, line: str, path: str | None) -> None:
    expected = None if path is None else path.replace("{folder}", str(tmp_path))
    assert read(tmp_path, line).spool.path == expected


def test_how_much_it_takes(tmp_path: Path) -> None:
    spool = read(tmp_path, "spool-max-age=2d", "spool-max-size=1G").spool
    assert (spool.max_age_s, spool.max_bytes) == (2 * 86400, 1024**3)


@pytest.mark.parametrize(
    "name, environ, expected",
    [
        ("h", {"STATE_DIRECTORY": "/s"}, "/s/spool-h.db"),
        ("../é b", {"STATE_DIRECTORY": "/s"}, "/s/spool-..%2F%C3%A9%20b.db"),
        ("h", {}, "/var/lib/overc/spool-h.db"),
    ],
)
def test_the_default_file(
    name: str, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_spool(name, environ) == expected


def test_the_default_file_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", "/home/u")
    assert default_spool("h", {}) == "/home/u/.local/state/overc/spool-h.db"
    assert default_spool("h", {"XDG_STATE_HOME": "/x"}) == "/x/overc/spool-h.db"


def test_long_names_have_files_of_their_own() -> None:
    one, other = (default_spool("ж" * 255 + end, {"STATE_DIRECTORY": "/s"}) for end in "ab")
    assert one != other
    assert len(os.path.basename(one)) < 150


@pytest.mark.parametrize(
    "text, size",
    [("64M", 64 << 20), ("64MiB", 64 << 20), ("2 GB", 2 << 30), ("1048576", 1 << 20),
     ("2048k", 2 << 20)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "line, expected",
    [
        ("spool=", "5: [overc] spool: expected yes, no or a file's path"),
        ("spool-max-age=0", "5: [overc] spool-max-age: expected a time above 0, got '0'"),
        ("spool-max-age=long", "5: [overc] spool-max-age: expected"),
        ("spool-max-size=1k", "5: [overc] spool-max-size: expected 1M at least, got '1k'"),
        ("spool-max-size=much", "5: [overc] spool-max-size: expected a size such as 64M"),
        ("insecure=perhaps", "5: [overc] insecure: expected yes or no, got 'perhaps'"),
        ("ca-file=nowhere.pem", "nowhere.pem can't be read: No such file or directory"),
        ("ca-file=agent.ini", "holds no certificate in PEM format that can be read"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, expected: str) -> None:
    [told] = mistakes(tmp_path, line)
    assert expected in told


@pytest.mark.parametrize(
    "server, expected",
    [
        ("", "expected a URL such as"),
        ("http://a/ b", "it has to start with http:// or https://"),
        ("http://a/ http://u:p@a/", "one of the servers is there twice"),
    ],
)
def test_mistakes_in_servers(tmp_path: Path, server: str, expected: str) -> None:
    [told] = mistakes(tmp_path, server=server)
    assert expected in told
    assert "u:p" not in told


def test_whom_to_trust(tmp_path: Path) -> None:
    Certificate(tmp_path, "ca", "x")
    tls = read(tmp_path, "ca-file=ca.pem").tls
    assert tls == TlsSettings((tmp_path / "ca.pem").read_bytes(), True)
    [told] = mistakes(tmp_path, "ca-file=ca.pem", "insecure=yes")
    assert "insecure: with ca-file nothing has to be insecure" in told


def test_to_trust_anybody_is_worth_a_warning(tmp_path: Path) -> None:
    settings = read(tmp_path, "insecure=yes")
    assert settings.tls == TlsSettings(None, False)
    [warning] = settings.warnings
    assert "whoever answers is taken for the server and gets the key" in warning
    assert read(tmp_path, "insecure=no").warnings == ()
