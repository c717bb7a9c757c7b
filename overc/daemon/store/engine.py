"""Runs functions in transactions, in database threads, through adbapi.

Note [Writer and readers]
~~~~~~~~~~~~~~~~~~~~~~~~~
Writers queue here, in order and without a time-out, instead of fighting for the database's locks;
readers have connections of their own and read beside them on snapshots, so that a page never holds
up a report. On a database server two transactions that write may overlap a little: see Note
[Overlapping transactions] in `succession.py`.

Note [Chunks of fixed sizes]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A driver that is asked row by row takes and drops the interpreter's lock for each of them, and the
reactor wants it too. So rows go in statements of many rows. The numbers of rows are a few fixed
ones: the texts of the statements are then few as well, and SQLite finds them compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import chain
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Row = tuple[Any, ...]

CHUNKS = (512, 256, 128, 64, 32, 16, 8, 4, 2, 1)
"""How many rows one statement takes. With the widest row it has less than 8,192 parameters."""


class Described(NamedTuple):
    """The database itself."""

    engine: str
    """With its version."""
    schema: int
    """The version of the tables."""
    size_bytes: int


class Transaction:
    """What a function in a database thread gets: SQL in, rows out. Parameters are `?`.

    This is SQLite's; other engines override what they say in another way.
    """

    for_update = ""
    """Ends a query whose rows the transaction will change."""

    indexed_histories = False
    """States have an index by service; without one only their chains lead through a history."""

    sole_writer = True
    """Nobody but this process writes to the database."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str, *values: Any) -> int:
        """Run one statement and return the number of rows that it changed."""
        self._run(sql, values)
        return int(self._cursor.rowcount)

    def fetch(self, sql: str, *values: Any) -> list[Row]:
        self._run(sql, values)
        rows: list[Row] = self._cursor.fetchall()
        return rows

    def fetch_in(self, sql: str, keys: Iterable[Any], *values: Any) -> list[Row]:
        """Run a query with `in (:keys)` for any number of keys, after its other values."""
        found: list[Row] = []
        # A key that stands twice finds its row once, so the last chunk may be filled up with it.
        for chunk in self._filled_chunks(list(keys)):
            marks = ",".join("?" * len(chunk))
            found += self.fetch(sql.replace(":keys", marks), *values, *chunk)
        return found

    def execute_in(
        self, sql: str, keys: Iterable[Any], *values: Any, after: Sequence[Any] = ()
    ) -> int:
        """Run a statement with `in (:keys)` for any number of keys, after its other values.

        `after`: the values behind the keys. Returns how many rows it changed.
        """
        changed = 0
        for chunk in self._filled_chunks(list(dict.fromkeys(keys))):
            marks = ",".join("?" * len(chunk))
            changed += self.execute(sql.replace(":keys", marks), *values, *chunk, *after)
        return changed

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> list[int]:
        """Insert rows by as few statements as can be; return their ids in order."""
        ids: list[int] = []
        sql = f"insert into {table} ({','.join(columns)}) values :rows"
        for chunk in self._chunks(rows):
            self._run_rows(sql, chunk)
            ids += self._inserted_ids(len(chunk))
        return ids

    def update(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Set columns of rows that exist. The first column is their key."""
        sql = self._update_sql(table, columns)
        for chunk in self._filled_chunks(rows):
            self._run_rows(sql, chunk)

    def update_from(
        self, table: str, other: str, sets: Mapping[str, str], where: str, *values: Any
    ) -> int:
        """Set columns to expressions in the rows that `where` joins with another table's.

        Returns how many rows were changed.
        """
        pairs = ",".join(f"{name} = {value}" for name, value in sets.items())
        return self.execute(f"update {table} set {pairs} from {other} where {where}", *values)

    def conditions(self, column: str, ids: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield conditions, with their values, that together select ids that `insert` returned."""
        if ids:
            yield f"{column} between ? and ?", (ids[0], ids[-1])

    def delete(self, table: str, ids: Sequence[int]) -> None:
        """Delete rows by their ids."""
        for chunk in self._filled_chunks(sorted(ids)):
            marks = ",".join("?" * len(chunk))
            self._run(f"delete from {table} where id in ({marks})", chunk)

    def ahead(self) -> AbstractContextManager[None]:
        """Within it statements do not wait for the end of the transaction before this one.

        For what neither needs what that has changed nor locks what that still has to lock: see
        Note [Overlapping transactions].
        """
        return nullcontext()

    def let_next_begin(self) -> None:
        """Let the next transaction that writes begin before this one ends, if the engine can.

        For one that only has to lock what the next one will not touch `ahead`.
        """

    def describe(self) -> Described:
        [(version,)] = self.fetch("select sqlite_version()")
        [(schema,)] = self.fetch("pragma user_version")
        [(pages,)] = self.fetch("pragma page_count")
        [(page_bytes,)] = self.fetch("pragma page_size")
        return Described(f"SQLite {version}", schema, pages * page_bytes)

    def _run(self, sql: str, values: Sequence[Any]) -> None:
        self._cursor.execute(sql, values)

    def _run_rows(self, sql: str, rows: Sequence[Row]) -> None:
        """Run a statement with rows of values, all of one length, for its `:rows`."""
        one = f"({','.join('?' * len(rows[0]))})"
        marks = ",".join([one] * len(rows))
        self._run(sql.replace(":rows", marks), list(chain.from_iterable(rows)))

    def _chunks(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        at = 0
        for size in CHUNKS:
            while len(items) - at >= size:
                yield items[at : at + size]
                at += size

    def _filled_chunks(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Yield chunks, the last of them filled up with its last item to the next fixed size."""
        at, most = 0, CHUNKS[0]
        while at < len(items):
            chunk = list(items[at : at + most])
            size = min(size for size in CHUNKS if size >= len(chunk))
            yield chunk + chunk[-1:] * (size - len(chunk))
            at += most

    def _inserted_ids(self, count: int) -> Iterable[int]:
        # There is one writer, so the ids of one statement follow each other.
        last = int(self._cursor.lastrowid)
        return range(last - count + 1, last + 1)

    def _update_sql(self, table: str, columns: Sequence[str]) -> str:
        sets = ",".join(
            f"{name} = v.column{place}" for place, name in enumerate(columns[1:], start=2)
        )
        return f"update {table} set {sets} from (values :rows) as v where {columns[0]} = v.column1"


class Store(Protocol):
    """The port that everything above the store uses."""

    may_be_away: bool
    """Whether a StorageError of `open` may pass by itself: the server is another process."""

    async def open(self) -> None:
        """Create or upgrade the tables and get ready. Raises StorageError."""
        ...

    def close(self) -> None:
        """End after the transactions that have begun."""
        ...

    async def write(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function in a transaction that may write, and return what it returned.

        It is durable when this returns. `description` completes "Unable to ..." in the StorageError
        that is raised when the database fails; nothing is stored then, nor when the function
        raises something of its own. The function may be run again, so it has no other effects.
        """
        ...

    async def read(
        self,
        description: str,
        interaction: Callable[Concatenate[Transaction, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The same on a snapshot that is only read."""
        ...
