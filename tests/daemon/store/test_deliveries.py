"""What the outbox's questions cost on SQLite; what they answer is in tests/contract."""

from __future__ import annotations

from pathlib import Path

import pytest
from support_daemon import a_database, in_transaction, rows

from overc.daemon.store import deliveries, records
from overc.daemon.store.engine import Transaction


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = a_database(tmp_path)
    in_transaction(path, populate)
    return path


def populate(tx: Transaction) -> None:
    """Leave a long history of what was sent, with some rows that still wait."""
    server = records.add_server(tx, "web1", "k", "ip", 1.0)
    services = records.add_services(tx, server.id, [str(n) for n in range(100)])
    columns = ("server_id", "service_id", "raised_at", "channel", "event", "severity", "message")
    about = [(server.id, one.id, 1.0, "api", "alert", "FAIL", "") for one in services]
    ids = tx.insert("alerts", columns, about)
    row = ("alert_id", "plugin", "server_id", "service_id", "status")
    for status in ("sent", "sent", "pending"):
        found = zip(ids, services, strict=True)
        outbox = [(id_, "log", server.id, one.id, status) for id_, one in found]
        tx.insert("outbox", row, outbox)
    tx.execute("analyze")


@pytest.mark.parametrize(
    "sql, values, indexes",
    [
        (deliveries._DUE, ("log", 1.0, 1.0, 9), ("outbox_pending", "outbox_by_lane")),
        (
            deliveries._NEEDLESS.replace(":keys", "?"),
            ("log", 7),
            ("outbox_by_service", "alerts_by_service", "outbox_by_alert"),
        ),
    ],
)
def test_what_was_sent_long_ago_costs_nothing(
    path: str, sql: str, values: tuple[object, ...], indexes: tuple[str, ...]
) -> None:
    plan = [row[3] for row in rows(path, f"explain query plan {sql}", *values)]
    for index in indexes:
        assert any(index in line for line in plan), plan
    assert not [line for line in plan if line.startswith("SCAN") and "CORRELATED" not in line], plan
    if sql == deliveries._DUE:
        assert not any("TEMP B-TREE" in line for line in plan), plan
