from __future__ import annotations

import pytest

from overc.daemon.store.urls import MysqlDatabase, SqliteDatabase, parse_database

A_MYSQL = "expected mysql://user:password@host[:port]/name; wrong: "
A_SQLITE = "expected sqlite:///PATH, relative to this file's folder, or sqlite:////ABSOLUTE/PATH"
NEITHER = "expected sqlite:///PATH or mysql://user:password@host/name"
NO_EXTRAS = "a database URL has no ? and no #: write %3F and %23 in a password"
NO_PORT = "the port is not a number from 0 to 65535"


@pytest.mark.parametrize(
    "text, path",
    [
        ("sqlite:///overc.db", "/etc/overc/overc.db"),
        ("sqlite:///../data/./overc.db", "/etc/data/overc.db"),
        ("sqlite:////var/lib/overc.db", "/var/lib/overc.db"),
        ("sqlite:///a%20b%3F.db", "/etc/overc/a b?.db"),
        ("sqlite:///данные.db", "/etc/overc/данные.db"),
        ("SQLITE:///x", "/etc/overc/x"),
    ],
)
def test_a_file(text: str, path: str) -> None:
    found = parse_database(text, "/etc/overc")
    assert found == SqliteDatabase(path)
    # What is shown leads to the same file from wherever it is read.
    assert parse_database(str(SqliteDatabase("/a/b.db")), "/elsewhere") == SqliteDatabase("/a/b.db")


@pytest.mark.parametrize(
    "text, host, port, user, password, name",
    [
        ("mysql://u:p@h/db", "h", 3306, "u", "p", "db"),
        ("mysql://u:p@h:3307/db", "h", 3307, "u", "p", "db"),
        ("MySQL://u@h/db", "h", 3306, "u", "", "db"),
        ("mysql://u:a%3Ab%40c%2Fd%3F%23%25@h/db", "h", 3306, "u", "a:b@c/d?#%", "db"),
        ("mysql://%D1%91:%D1%91@h/%D1%91", "h", 3306, "ё", "ё", "ё"),
        ("mysql://u:p@[::1]:5/db", "::1", 5, "u", "p", "db"),
    ],
)
def test_a_server(text: str, host: str, port: int, user: str, password: str, name: str) -> None:
    found = parse_database(text, "/etc/overc")
    assert found == MysqlDatabase(host, port, user, password, name)
    assert str(found) == f"mysql://{user}@{host}:{port}/{name}"


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("", NEITHER),
        ("/var/lib/overc.db", NEITHER),
        ("postgres://u:hunter2@h/db", NEITHER),
        ("sqlite:", A_SQLITE),
        ("sqlite://", A_SQLITE),
        ("sqlite:///", A_SQLITE),
        ("sqlite://host/x", A_SQLITE),
        ("sqlite:///x?timeout=1", NO_EXTRAS),
        ("sqlite:///x#y", NO_EXTRAS),
        ("sqlite:///a%00b", "a path can't hold a NUL character"),
        ("mysql://u:hunter2?@h/db", NO_EXTRAS),
        ("mysql://u:hunter2#@h/db", NO_EXTRAS),
        ("mysql://h/db", A_MYSQL + "user"),
        ("mysql://u:hunter2@/db", A_MYSQL + "host"),
        ("mysql://u:hunter2@h", A_MYSQL + "name"),
        ("mysql://u:hunter2@h/", A_MYSQL + "name"),
        ("mysql://u:hunter2@h/a/b", A_MYSQL + "name"),
        ("mysql:", A_MYSQL + "user, host, name"),
        ("mysql://u:hunter2@h:port/db", NO_PORT),
        ("mysql://u:hunter2@h:70000/db", NO_PORT),
        ("mysql://u:hunter2@[h/db", "the host is not one: an IPv6 address stands in [ and ]"),
    ],
)
def test_no_database(text: str, sentence: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_database(text, "/etc/overc")
    assert str(raised.value) == sentence
    assert "hunter2" not in str(raised.value)
