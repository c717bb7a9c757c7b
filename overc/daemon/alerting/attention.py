"""What is due by the wall clock: reminders, and what is said of silences that end.

All that is due is found in the database, so nothing is lost while the server is stopped, and what
fell due meanwhile is said once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.application.service import Service

from overc.clock import Clock
from overc.daemon.alerting import resuming
from overc.daemon.alerting.raising import Raiser, add_rows, as_silence, hush, let_stand
from overc.daemon.alerting.resuming import Due, Kept
from overc.daemon.alerting.routing import Key, Route, find_silence, open_at
from overc.daemon.rounds import Rounds
from overc.daemon.store import alerts, silences, standing
from overc.daemon.store.alerts import KeptRow
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.silences import SilenceRow
from overc.logging import get_logger
from overc.model import Alert, Channel, State
from overc.wording import span

ROUND_S = 5.0
ROUND_TIMEOUT_S = 60.0
"""A round that takes longer is given up, so that a stuck one does not stop all others."""

CHUNK = 200
"""How many reminders one transaction writes."""

WARN_S = 600.0
WARN_SHARE = 0.1
"""So long before its end a silence is said to end, or so much of its whole time if that is less."""

LISTED = 10

log = get_logger(__name__)


class Attention(Service):
    """The LoopingCall that does not die: what a round raises is logged, and the next one runs."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        raiser: Raiser,
        routes: Sequence[Route],
        alerts_raised: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._store = store
        self._clock = clock
        self._attend = Attend(raiser, routes)
        self._routes = tuple(routes)
        self._alerts_raised = alerts_raised
        self._rounds = Rounds(
            reactor,
            log,
            self.round,
            failed="reminders and silences were not looked at",
            works="reminders and silences are looked at again",
            timeout_s=ROUND_TIMEOUT_S,
        )
        self._taken_up = False

    def startService(self) -> None:
        super().startService()
        self._taken_up = False
        self._rounds.start(ROUND_S)

    async def stopService(self) -> None:
        super().stopService()
        await self._rounds.stop()

    async def round(self) -> None:
        """Do all that is due."""
        if not self._taken_up:
            await self._store.write(
                "take up reminders", take_up_reminders, self._routes, self._clock.wall()
            )
            self._taken_up = True
        if await self._store.write("look at silences", self._attend.silences, self._clock.wall()):
            self._alerts_raised()
        more = True
        while more and self.running:
            found, sent = await self._store.write(
                "write reminders", self._attend.reminders, self._clock.wall()
            )
            if sent:
                self._alerts_raised()
            more = found == CHUNK


def take_up_reminders(tx: Transaction, routes: Iterable[Route], now_at: float) -> None:
    """Remind of problems that were told before there was a rule to remind of them."""
    for route in routes:
        if route.remind_s is not None:
            standing.take_up(tx, route.name, now_at + route.remind_s)


class Attend:
    """What a round does, each method in one transaction."""

    def __init__(self, raiser: Raiser, routes: Sequence[Route]) -> None:
        self._raiser = raiser
        self._routes = tuple(routes)
        self._holding = any(route.holds_back for route in routes)

    def silences(self, tx: Transaction, now_at: float) -> int:
        """Look at silences that begin, end soon, or ended; return how many messages follow."""
        in_force = self._raiser.in_force(tx, now_at)
        if in_force and self._holding:
            hush(tx, [as_silence(row) for row in in_force], now_at)
        return self._sum_up(tx, in_force, now_at) + self._warn(tx, in_force, now_at)

    def reminders(self, tx: Transaction, now_at: float) -> tuple[int, int]:
        """Write what reminders are due; return how many were found, and how many are sent."""
        standing.lock(tx, now_at, CHUNK)
        found = standing.due(tx, now_at, CHUNK)
        if not found:
            return 0, 0
        due = [
            Due(
                Key(row.service_id, row.topic, row.plugin),
                row.alert_id, row.server_id, row.server, row.service, row.acked,
            )
            for row in found
        ]  # fmt: skip
        in_force = [as_silence(row) for row in self._raiser.in_force(tx, now_at)]
        reminders = resuming.remind(due, self._routes, in_force, now_at)
        add_rows(tx, reminders.rows)
        standing.set_remind_at(tx, reminders.remind_at)
        return len(found), len(reminders.rows)

    def _sum_up(self, tx: Transaction, in_force: Sequence[SilenceRow], now_at: float) -> int:
        """Tell what silences kept back that ended, and is a problem still.

        All that ended since the last round is told at once.
        """
        ended = silences.ended(tx, now_at)
        if not ended:
            return 0
        silences.close(tx, [row.id for row in ended], now_at)
        rows = alerts.kept_back(tx, [row.id for row in ended])
        kept = [
            Kept(
                row.id, Key(row.service_id, row.topic, row.plugin), row.alert_id,
                row.server_id, row.server, row.service, row.raised_at, row.acked,
            )
            for row in rows
        ]  # fmt: skip
        stands = {
            Key(row.service_id, row.topic, row.plugin)
            for row in standing.find(tx, {row.service_id for row in rows})
        }
        summary = resuming.sum_up(
            ended[-1].id, kept, self._routes, [as_silence(row) for row in in_force], stands, now_at
        )
        alerts.keep_back(tx, summary.moved)
        add_rows(tx, summary.rows)
        let_stand(tx, summary.began)
        standing.set_remind_at(tx, ((key, None) for key in summary.again))
        told = {row.alert_id for row in summary.rows}
        for silence in ended:
            there = [row for row in rows if row.silence_id == silence.id and row.alert_id in told]
            if there:
                self._raiser.tell(tx, ended_alert(silence, there), (), now_at)
        return len(summary.rows)

    def _warn(self, tx: Transaction, in_force: Sequence[SilenceRow], now_at: float) -> int:
        """Tell of silences that end soon while there are problems that they keep back."""
        soon = [
            row
            for row in in_force
            if now_at >= warn_at(row) and silences.set_warned(tx, row.id, now_at)
        ]
        if not soon:
            return 0
        rows = alerts.kept_back(tx, [row.id for row in soon])
        awake = {route.name for route in self._routes if open_at(route, now_at) <= now_at}
        told = 0
        for silence in soon:
            others = [as_silence(row) for row in in_force if row.ends_at > silence.ends_at]
            there = [
                row
                for row in rows
                if row.silence_id == silence.id
                and row.plugin in awake
                and not row.acked
                and find_silence(others, row.server, row.service) is None
            ]
            # Plugins that are told of the same problems get the same alert.
            texts: dict[str, list[str]] = {}
            for plugin in dict.fromkeys(row.plugin for row in there):
                text = listed(row for row in there if row.plugin == plugin)
                texts.setdefault(text, []).append(plugin)
            for text, plugins in texts.items():
                self._raiser.tell(tx, ending_alert(silence, text, now_at), plugins, now_at)
                told += len(plugins)
        return told


def warn_at(silence: SilenceRow) -> float:
    """Return when it is said that a silence ends soon."""
    if silence.warned_at is not None or silence.author.startswith(silences.WINDOW_AUTHOR):
        return float("inf")
    lasts_s = silence.ends_at - silence.starts_at
    return silence.ends_at - min(WARN_S, WARN_SHARE * lasts_s)


def ending_alert(silence: SilenceRow, there: str, now_at: float) -> Alert:
    message = f"{_named(silence)} ends in {span(silence.ends_at - now_at)}; still wrong: {there}"
    return Alert(Channel.OVERC, "silence-ending", message, State.WARN)


def ended_alert(silence: SilenceRow, there: Iterable[KeptRow]) -> Alert:
    message = f"{_named(silence)} has ended; still wrong: {listed(there)}"
    return Alert(Channel.OVERC, "silence-ended", message, State.FAIL)


def listed(rows: Iterable[KeptRow]) -> str:
    """Return the services that have problems, in a line that people can read."""
    names = list(dict.fromkeys(f"{row.server_title} {row.service_title}" for row in rows))
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _named(silence: SilenceRow) -> str:
    if silence.author.startswith(silences.WINDOW_AUTHOR):
        return silence.author[:1].upper() + silence.author[1:]
    return f"Silence {silence.id} by {silence.author} ({silence.reason})"
