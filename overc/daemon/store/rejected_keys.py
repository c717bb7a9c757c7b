"""The SQL of keys that were refused: who tried them, and taking one in the place of the old one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from overc.daemon.store.engine import Transaction

KEYS_MAX = 5
"""So many are kept for each server: those that `chosen` chooses."""

ROWS_MAX = 1000
"""And so many for all servers."""

KEPT_S = 7 * 86400.0
"""After its last try."""


class Tried(NamedTuple):
    """A key that did not fit, and how often it was tried since this was last written down."""

    server_id: int
    key_derivation: str
    ip: str
    first_at: float
    last_at: float
    tries: int


class Rejected(NamedTuple):
    """A key that does not fit, without the key."""

    id: int
    server_id: int
    server: str
    title: str
    ip: str
    first_at: float
    last_at: float
    tries: int
    dismissed: bool
    known_ip: str
    """From where the newest report came that had the right key."""
    reported_at: float | None
    """When the host with the right key last saw something that it has reported."""


def chosen(ips: Sequence[str], known_ip: str) -> list[int]:
    """Return the places of the keys that are kept of a server, given from where each was tried.

    Each address has a place before another has a second one, the address that the server itself
    reported from first of all: so nobody who tries many keys drives out those of others. Otherwise
    who comes first in `ips` is kept.
    """
    known = _origin(known_ip)
    before: Counter[str] = Counter()
    ranked = []
    for place, ip in enumerate(ips):
        origin = _origin(ip)
        ranked.append((before[origin], origin != known, place))
        before[origin] += 1
    return sorted(place for _, _, place in sorted(ranked)[:KEYS_MAX])


def _origin(ip: str) -> str:
    """Return what stands for all addresses that one host may have at will."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return ip
    if not isinstance(address, IPv6Address):
        return ip
    # A network of IPv6 is the least that anybody has.
    return str(address.ipv4_mapped or int(address) >> 64)


def note(tx: Transaction, tried: Iterable[Tried], now_at: float) -> None:
    """Write down keys that were refused, and forget what is too old or too much."""
    known_ips = {}
    for one in tried:
        rows = tx.fetch("select key_derivation, ip from servers where id = ?", one.server_id)
        # The server is gone, or somebody has accepted the key meanwhile.
        if not rows or rows[0][0] == one.key_derivation:
            continue
        known_ips[one.server_id] = rows[0][1]
        known = tx.execute(
            "update rejected_keys set tries = tries + ?, last_at = ?, ip = ?"
            " where server_id = ? and key_derivation = ?",
            one.tries, one.last_at, one.ip, one.server_id, one.key_derivation,
        )  # fmt: skip
        if not known:
            tx.insert("rejected_keys", Tried._fields, [one])
    tx.execute("delete from rejected_keys where last_at < ?", now_at - KEPT_S)
    for server_id, known_ip in known_ips.items():
        found = tx.fetch(
            "select id, ip from rejected_keys where server_id = ? order by last_at desc, id desc",
            server_id,
        )
        kept = chosen([ip for _, ip in found], known_ip)
        tx.delete(
            "rejected_keys", [id_ for place, (id_, _) in enumerate(found) if place not in kept]
        )
    [(count,)] = tx.fetch("select count(*) from rejected_keys")
    if count > ROWS_MAX:
        oldest = "select id from rejected_keys order by last_at, id limit ?"
        tx.delete("rejected_keys", [id_ for (id_,) in tx.fetch(oldest, count - ROWS_MAX)])


def titles(tx: Transaction, now_at: float) -> list[str]:
    """Return the titles of the servers whose keys somebody should look at."""
    sql = (
        "select title from servers where id in"
        " (select server_id from rejected_keys where last_at >= ? and dismissed = 0) order by id"
    )
    return [title for (title,) in tx.fetch(sql, now_at - KEPT_S)]


def find(tx: Transaction, now_at: float) -> list[Rejected]:
    """Return the keys that were refused lately, the newest first."""
    sql = (
        "select rejected_keys.id, server_id, servers.name, servers.title, rejected_keys.ip,"
        " first_at, last_at, tries, dismissed, servers.ip,"
        " (select max(seen_at) from services join latest on latest.service_id = services.id"
        " where services.server_id = servers.id)"
        " from rejected_keys join servers on servers.id = server_id"
        " where last_at >= ? order by last_at desc, rejected_keys.id desc"
    )
    return [
        Rejected._make((*row[:8], row[8] == 1, *row[9:])) for row in tx.fetch(sql, now_at - KEPT_S)
    ]


def accept(tx: Transaction, id_: int) -> tuple[int, str] | None:
    """Put a refused key in the place of its server's own one.

    Returns the server's id and name; None where there is no such key.
    """
    rows = tx.fetch(
        "select server_id, name, rejected_keys.key_derivation from rejected_keys"
        f" join servers on servers.id = server_id where rejected_keys.id = ? {tx.for_update}",
        id_,
    )
    if not rows:
        return None
    [(server_id, name, derivation)] = rows
    tx.execute("update servers set key_derivation = ? where id = ?", derivation, server_id)
    # The others were refused beside a key that does not count any more.
    tx.execute("delete from rejected_keys where server_id = ?", server_id)
    return server_id, name


def dismiss(tx: Transaction, id_: int) -> str | None:
    """Tell nobody of a refused key any more; return its server's name, None without such a key."""
    rows = tx.fetch(
        "select name from rejected_keys join servers on servers.id = server_id"
        " where rejected_keys.id = ?",
        id_,
    )
    tx.execute("update rejected_keys set dismissed = 1 where id = ?", id_)
    return rows[0][0] if rows else None
