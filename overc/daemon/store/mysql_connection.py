"""PyMySQL's connections, as adbapi makes them: a module with `connect`."""

from __future__ import annotations

import ssl
from typing import Any

from pymysql import apilevel, threadsafety
from pymysql.connections import Connection

__all__ = ["SharedTlsConnection", "apilevel", "connect", "is_mariadb", "threadsafety"]


class SharedTlsConnection(Connection):
    """A connection that uses TLS where the server offers it, as PyMySQL's own does.

    PyMySQL makes a context for each attempt to connect, with the certificates of all authorities:
    30 ms of processor time and most of a megabyte, held in a cycle until somebody looks for cycles.
    While a database is away there are ten attempts a second. Here all connections share one.
    """

    _context: ssl.SSLContext | None = None

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        context = SharedTlsConnection._context
        if context is None:
            context = SharedTlsConnection._context = super()._create_ssl_ctx(sslp)  # type: ignore[misc]
        return context


connect = SharedTlsConnection


def is_mariadb(cursor: Any) -> bool:
    """Say whether the server at the other end is MariaDB's; otherwise it is MySQL's."""
    return "MariaDB" in cursor.connection.server_version
