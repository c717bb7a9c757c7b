"""SQL as MariaDB and MySQL say it, with PyMySQL's cursors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from types import NoneType
from typing import Any

from pymysql import converters

from overc.daemon.store.engine import Described, Row, T, Transaction
from overc.daemon.store.mysql_connection import is_mariadb
from overc.daemon.store.mysql_migrations import VERSION_TABLE
from overc.daemon.store.succession import Succession

STATEMENT_CHARS = 2**19
"""Of text in one statement. Encoded and escaped it is four times as much at most, and the smallest
max_allowed_packet that servers come with is 4 MiB."""

ROWS_MAX = 900
"""Rows in one statement. More than a thousand keys MariaDB looks up in another way."""


class MysqlTransaction(Transaction):
    """A transaction on a MariaDB or MySQL server."""

    for_update = "for update"
    sole_writer = False
    # MariaDB takes seconds for a chain of ten thousand, and writes to an index with less trouble.
    indexed_histories = True

    def __init__(
        self, cursor: Any, succession: Succession | None = None, end_at: float = 0.0
    ) -> None:
        """`succession`: what it is a part of, if it may write; `end_at`: see there."""
        super().__init__(cursor)
        self._succession = succession
        self._end_at = end_at
        self._behind = succession is not None
        """The former one may not have ended."""

    @contextmanager
    def ahead(self) -> Iterator[None]:
        behind, self._behind = self._behind, False
        yield
        self._behind = behind

    def let_next_begin(self) -> None:
        if self._succession is not None:
            self._come_up()
            self._succession.let_next_begin()

    def fetch(self, sql: str, *values: Any) -> list[Row]:
        return list(super().fetch(sql, *values))  # PyMySQL's are tuples, and some are lists

    def update_from(
        self, table: str, other: str, sets: Mapping[str, str], where: str, *values: Any
    ) -> int:
        pairs = ",".join(f"{table}.{name} = {value}" for name, value in sets.items())
        return self.execute(f"update {table} join {other} set {pairs} where {where}", *values)

    def conditions(self, column: str, ids: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        for at in range(0, len(ids), ROWS_MAX):
            some = ids[at : at + ROWS_MAX]
            first, last = some[0], some[-1]
            if last - first == len(some) - 1:
                # A range is found with less trouble than each of its ids. But the server also looks
                # at what comes after its end, and would wait there for the next transaction.
                yield f"({column} between {first} and {last - 1} or {column} = {last})", ()
            else:
                # Between ours there may be those of other nodes.
                yield f"{column} in ({','.join(map(str, some))})", ()

    def describe(self) -> Described:
        [(version,)] = self.fetch("select version()")
        number = version.partition("-")[0]
        [(schema,)] = self.fetch(f"select version from {VERSION_TABLE}")
        # What the server estimates; it counts rows only now and then.
        [(size_bytes,)] = self.fetch(
            "select coalesce(sum(data_length + index_length), 0) from information_schema.tables"
            " where table_schema = database()"
        )
        engine = "MariaDB" if is_mariadb(self._cursor) else "MySQL"
        return Described(f"{engine} {number}", schema, int(size_bytes))

    def _come_up(self) -> None:
        if self._behind and self._succession is not None:
            self._succession.wait_for_former(self._end_at)
            self._behind = False

    def _run(self, sql: str, values: Sequence[Any]) -> None:
        # PyMySQL would look the way of each value up in three places: half of what it does at all.
        literals = [_LITERALS.get(type(value), self._literal)(value) for value in values]
        pieces = sql.split("?")
        if len(pieces) != len(literals) + 1:
            raise TypeError(f"{len(pieces) - 1} values are asked for, got {len(literals)}")
        literals.append("")
        self._execute("".join(chain.from_iterable(zip(pieces, literals, strict=True))))

    def _literal(self, value: object) -> str:
        text: str = self._cursor.mogrify("%s", (value,))
        return text

    def _run_rows(self, sql: str, rows: Sequence[Row]) -> None:
        # Most columns have values of one type: then nothing has to be asked for each of them.
        columns: list[Iterable[str]] = []
        for column in zip(*rows, strict=True):
            kinds = set(map(type, column))
            if len(kinds) == 1:
                columns.append(map(_LITERALS.get(kinds.pop(), self._literal), column))
            else:
                columns.append(
                    [_LITERALS.get(type(value), self._literal)(value) for value in column]
                )
        # Only MySQL's update has a table of values, and there each of its rows says that it is one.
        row = "row(" if sql.startswith("update") else "("
        literals = f"),{row}".join(map(",".join, zip(*columns, strict=True)))
        self._execute(sql.replace(":rows", f"{row}{literals})"))

    def _execute(self, sql: str) -> None:
        self._come_up()
        self._cursor.execute(sql)

    def _chunks(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield parts whose text fits into a statement. Of any size: nothing is kept compiled."""
        for at in range(0, len(items), ROWS_MAX):
            yield from _fitting(items[at : at + ROWS_MAX])

    def _filled_chunks(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        return self._chunks(items)

    def _inserted_ids(self, count: int) -> Iterable[int]:
        # The first one is told. In a Galera cluster each node leaves room for the others' ids.
        first = int(self._cursor.lastrowid)
        step = 1
        if count > 1:
            [(step,)] = self.fetch("select @@auto_increment_increment")
        return range(first, first + count * step, step)

    def _update_sql(self, table: str, columns: Sequence[str]) -> str:
        if is_mariadb(self._cursor):
            # The rows exist, so each of them meets its own id and nothing is inserted.
            sets = ",".join(f"{name} = values({name})" for name in columns[1:])
            return (
                f"insert into {table} ({','.join(columns)}) values :rows"
                f" on duplicate key update {sets}"
            )
        # MySQL 9.6 and newer look first whether the row refers to others that exist. MariaDB has no
        # such rows in an update. The joins are said so that only rows with these keys are locked,
        # in their order.
        key, *others = columns
        names = ",".join(f"column_{name}" for name in columns)
        sets = ",".join(f"{table}.{name} = v.column_{name}" for name in others)
        return (
            f"update (values :rows) as v ({names})"
            f" straight_join {table} force index (primary) on {table}.{key} = v.column_{key}"
            f" set {sets}"
        )


def _fitting(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Halve what is too long for a statement, until it fits or cannot be halved."""
    values = chain.from_iterable(item if isinstance(item, tuple) else (item,) for item in items)
    chars = sum([len(value) for value in values if type(value) is str])
    if chars <= STATEMENT_CHARS or len(items) == 1:
        yield items
    else:
        middle = len(items) // 2
        yield from _fitting(items[:middle])
        yield from _fitting(items[middle:])


def _quoted(text: str) -> str:
    # Right for SQL_MODE, in which a backslash escapes. Most texts have nothing to be escaped, and
    # to ask for it takes a tenth of the time.
    if "'" in text or "\\" in text:
        text = converters.escape_string(text)
    return f"'{text}'"


_LITERALS: Mapping[type, Callable[[Any], str]] = {
    str: _quoted,
    int: str,
    # The same few times stand in all rows of a batch.
    float: lru_cache(64)(converters.escape_float),
    NoneType: lambda _: "NULL",
}
