"""The SQL of the clocks by which the processes that share a database count deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from overc.daemon.store.engine import Transaction


class Told(NamedTuple):
    """What a process last told of its clock."""

    process: str
    node: str
    """As people know it."""
    steady_at: float


def told(tx: Transaction) -> list[Told] | None:
    """Return what each process told; None where there is never more than one."""
    if tx.sole_writer:
        return None
    return [Told(*row) for row in tx.fetch("select process, node, steady_at from clocks")]


def tell(tx: Transaction, mine: Told) -> None:
    """Keep what time a process has."""
    sql = "update clocks set steady_at = ? where process = ?"
    if not tx.execute(sql, mine.steady_at, mine.process):
        tx.insert("clocks", Told._fields, [mine])


def forget(tx: Transaction, processes: Sequence[str]) -> None:
    """Forget processes that have ended."""
    tx.execute_in("delete from clocks where process in (:keys)", processes)
