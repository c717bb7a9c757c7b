"""Where a database is: what the `database` option says."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

MYSQL_PORT = 3306


@dataclass(frozen=True, slots=True)
class SqliteDatabase:
    path: str
    """An absolute path; the folder may have to be created."""

    def __str__(self) -> str:
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class MysqlDatabase:
    host: str
    port: int
    user: str
    password: str = field(repr=False)
    name: str

    def __str__(self) -> str:
        """Without the password: it goes to logs."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{self.name}"


Database = SqliteDatabase | MysqlDatabase


def parse_database(text: str, folder: str) -> Database:
    """Read `sqlite:///PATH` or `mysql://user:pass@host[:port]/name`.

    A relative path starts at `folder`. Raises ValueError, without the text: it may hold a password.
    """
    # Before the port: a password with one of them ends the host's part, and there is no port in it.
    if "?" in text or "#" in text:
        raise ValueError("a database URL has no ? and no #: write %3F and %23 in a password")
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError("the host is not one: an IPv6 address stands in [ and ]") from None
    try:
        port = url.port
    except ValueError:
        raise ValueError("the port is not a number from 0 to 65535") from None
    if url.scheme == "sqlite":
        path = unquote(url.path[1:])
        if url.netloc or not path:
            raise ValueError(
                "expected sqlite:///PATH, relative to this file's folder,"
                " or sqlite:////ABSOLUTE/PATH"
            )
        if "\0" in path:
            raise ValueError("a path can't hold a NUL character")
        return SqliteDatabase(os.path.normpath(os.path.join(folder, path)))
    if url.scheme != "mysql":
        raise ValueError("expected sqlite:///PATH or mysql://user:password@host/name")
    name = unquote(url.path[1:])
    missing = [
        what
        for what, given in (("user", url.username), ("host", url.hostname), ("name", name))
        if not given
    ]
    if missing or "/" in name:
        wrong = ", ".join(missing) or "name"
        raise ValueError(f"expected mysql://user:password@host[:port]/name; wrong: {wrong}")
    return MysqlDatabase(
        host=str(url.hostname),
        port=MYSQL_PORT if port is None else port,
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        name=name,
    )
