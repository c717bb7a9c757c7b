"""What follows from an attempt to send, as functions that run inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.store import deliveries, standing
from overc.daemon.store.deliveries import Due, Failing, GivenUp, Tried
from overc.daemon.store.engine import Transaction
from overc.daemon.store.records import RaisedAlert
from overc.daemon.store.standing import Problem
from overc.model import Alert, Channel, Phase, State


class Raises(Protocol):
    """What this needs of `overc.daemon.alerting.raising.Raiser`."""

    def raise_alerts(
        self,
        tx: Transaction,
        raised: Sequence[RaisedAlert],
        now_at: float,
        without: str | None = None,
    ) -> int: ...


class Retry(NamedTuple):
    """How it goes on with a message that was not delivered."""

    message_id: int
    next_at: float
    begins: bool
    """Its plugin worked before, or nobody was told that it does not: the others say so now."""
    by_notice: bool
    """It was a notice about another plugin."""


class Outcomes:
    """Keeps how the attempts of one plugin went, and all that follows."""

    def __init__(self, plugin: AlertPlugin, raiser: Raises) -> None:
        self._name = plugin.name
        self._retry_for_s = plugin.retry_for_s
        self._remind_s = plugin.route.remind_s if plugin.route is not None else None
        self._raiser = raiser

    def sent(
        self, tx: Transaction, rows: Sequence[Due], tried: Tried, *, works_again: bool, hurry: bool
    ) -> None:
        """Keep that rows were delivered.

        `works_again`: the others say so. `hurry`: what waits for its next try need not wait.
        """
        deliveries.mark_sent(tx, [row.id for row in rows], tried)
        standing.told(tx, self._name, _problems(rows), tried.tried_at, self._remind_s)
        if hurry:
            deliveries.hurry(tx, self._name, tried.tried_at)
        if works_again:
            deliveries.clear_failing(tx, self._name)
            self._notify(tx, works_notice(self._name), tried.tried_at)

    def failed(self, tx: Transaction, rows: Sequence[Due], tried: Tried, retry: Retry) -> int:
        """Keep that rows were not delivered; return how many of them are given up."""
        given_up = deliveries.mark_failed(
            tx,
            [row.id for row in rows],
            retry.message_id,
            tried,
            retry.next_at,
            self._retry_for_s,
        )
        self._forget(tx, given_up, tried.tried_at)
        if retry.begins:
            failing = Failing(self._name, tried.tried_at, retry.by_notice)
            deliveries.set_failing(tx, failing)
            self._notify(tx, failure_notice(self._name, tried.words), tried.tried_at)
        return len(given_up)

    def give_up(self, tx: Transaction, now_at: float, limit: int) -> int:
        """Give up rows whose time is over, tried or not; return how many."""
        given_up = deliveries.give_up_expired(tx, self._name, now_at, self._retry_for_s, limit)
        self._forget(tx, given_up, now_at)
        return len(given_up)

    def _forget(self, tx: Transaction, given_up: Sequence[GivenUp], now_at: float) -> None:
        """Let no recovery follow for problems that the plugin was never told of."""
        problems = _problems(given_up)
        if problems:
            standing.drop_untold(tx, self._name, problems, now_at, self._remind_s)
            deliveries.cancel_recoveries(tx, self._name, {one.service_id for one in problems})

    def _notify(self, tx: Transaction, notice: Alert, now_at: float) -> None:
        raised = [RaisedAlert(notice, None, None, None)]
        self._raiser.raise_alerts(tx, raised, now_at, without=self._name)


def _problems(rows: Sequence[Due] | Sequence[GivenUp]) -> list[Problem]:
    return [
        Problem(row.service_id, row.topic, row.alert_id)
        for row in rows
        if row.service_id is not None and row.phase == Phase.PROBLEM
    ]


def failure_notice(plugin: str, reason: str) -> Alert:
    message = f"Alert plugin `{plugin}` failed: {reason}"
    return Alert(Channel.ALERT_PLUGIN, "failed", message, State.FAIL)


def works_notice(plugin: str) -> Alert:
    message = f"Alert plugin `{plugin}` works again"
    return Alert(Channel.ALERT_PLUGIN, "works", message, State.OK)
