"""One alert plugin's part of the outbox: what is due is sent, in order, tried again, given up.

Note [Reports about plugins]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~
When a plugin starts to fail the others say so once, and once when it works again. It starts to fail
with a row that was not tried before: a message that is refused again and again, while others pass,
is one failure. What begins with a notice about another plugin ends only with something else that is
delivered. Without that, plugins that fail now and then would report each other for ever; with it,
every report has an alert that is none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred

from overc.clock import Clock
from overc.daemon.alerting import grouping
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.backoff import RETRY_MAX_S, Breaker, next_try_s
from overc.daemon.alerting.grouping import Parcel
from overc.daemon.alerting.messages import Message
from overc.daemon.alerting.outcomes import Outcomes, Raises, Retry
from overc.daemon.alerting.senders import Attempt, Sender
from overc.daemon.rest import Rest
from overc.daemon.store import deliveries
from overc.daemon.store.deliveries import Due, Failing, Look, Tried
from overc.daemon.store.engine import Store, Transaction
from overc.logging import get_logger, one_line
from overc.model import Channel

RETRY_S = 5.0
"""How long a worker rests after the store failed, and looks again if a nudge was lost."""

WINDOW = 1000
"""So many rows are looked at."""

CLAIM_S = 60.0
"""So much longer than the plugin's time another node waits before it sends what we have claimed."""

PLAN_S = 0.25
"""In a storm so much of what was planned is sent before there is a look at what else has come."""

TAKEN_S = 0.25
"""The pause after another node was first."""

STEP_S = 2.0
"""A clock that went back by more was set."""

SPARE = 8
"""So many messages may be under way beyond one for each plugin."""

SENT_ROWS = 32
"""So many rows of a message are marked in one transaction, so that reports need not wait."""

GIVEN_UP_ROWS = 500
"""In one transaction."""

BUSY_TRIES = 3
"""A receiver that names a time to come back is not reported for so many tries."""

log = get_logger(__name__)

T = TypeVar("T")


class Slots:
    """The bound on what all plugins run at once.

    Each plugin has one run for itself, so that those that hang leave room for the others. What a
    plugin runs beyond that is taken from a stock that all share.
    """

    def __init__(self, spare: int = SPARE) -> None:
        self._spare = spare

    def take(self, running: int) -> bool:
        """Ask for one more run; say whether a plugin that has so many may have it."""
        if running and not self._spare:
            return False
        if running:
            self._spare -= 1
        return True

    def give_back(self, running: int) -> None:
        """Note that a run has ended; `running`: how many the plugin has left."""
        if running:
            self._spare += 1


class Worker:
    """Sends one plugin's alerts until it is stopped."""

    def __init__(
        self,
        reactor: Any,
        store: Store,
        clock: Clock,
        plugin: AlertPlugin,
        sender: Sender,
        raiser: Raises,
        slots: Slots,
        node: str,
        jitter: Callable[[], float],
    ) -> None:
        self.notices_added: Callable[[], None] = lambda: None
        self._reactor = reactor
        self._store = store
        self._clock = clock
        self._plugin = plugin
        self._sender = sender
        self._outcomes = Outcomes(plugin, raiser)
        self._slots = slots
        self._node = node
        self._jitter = jitter
        self._breaker: Breaker | None = None
        """None: whether the plugin worked when the last process ended is still to be read."""
        self._failing: Failing | None = None
        """The others were told that it fails."""
        self._parcels: list[Parcel] = []
        """Planned, and not begun yet."""
        self._planned = False
        """Nothing has happened since that may forbid to send them."""
        self._planned_at = 0.0
        self._more = False
        """Something may have come since."""
        self._whole = False
        """All that was due then was planned, so there is more only when something happens."""
        self._shared = False
        self._next_due_at: float | None = None
        self._under_way: dict[int, Parcel] = {}
        """By their first rows."""
        self._sends: set[Deferred[Attempt]] = set()
        self._offset_s: float | None = None
        self._away = False
        """The store failed when it was last asked for what is due."""
        self._nudged = False
        self._stopping = False
        self._rest = Rest(reactor)
        self._storing: set[Rest] = set()

    def nudge(self) -> None:
        """Say that there may be something new."""
        self._more = True
        self._wake()

    def stop(self) -> None:
        """Begin nothing any more. What fails from here on stays pending."""
        self._stopping = True
        for rest in [self._rest, *self._storing]:
            rest.wake()

    def cancel(self) -> None:
        """End what is being sent, after `stop`."""
        for send in list(self._sends):
            send.cancel()

    async def work(self) -> None:
        while not self._stopping:
            self._nudged = False
            try:
                pause_s = await self._step()
            except Exception:
                self._store_failed()
                pause_s, self._planned, self._nudged = RETRY_S, False, False
            if pause_s > 0 and not self._nudged and not self._stopping:
                await self._rest.pause(pause_s)
        while self._under_way:
            await self._rest.pause(RETRY_S)

    def _wake(self) -> None:
        self._nudged = True
        self._rest.wake()

    def _store_failed(self) -> None:
        """Say so once for each series: a database that is away would fill the log."""
        if not self._away:
            log.failure("alert plugin {name}: the outbox failed", name=self._plugin.name)
        self._away = True

    async def _step(self) -> float:
        """Begin what may be begun; return after how long to look again, if nothing happens."""
        breaker = await self._known_breaker()
        await self._follow_the_clock()
        if not self._has_room(breaker):
            return RETRY_S
        wait_s = breaker.wait_s(self._clock.steady())
        if wait_s > 0:
            return wait_s
        if self._is_to_be_planned():
            await self._plan()
        self._begin(breaker)
        pause_s = PLAN_S if self._more else RETRY_S
        if self._next_due_at is not None:
            pause_s = min(pause_s, max(0.0, self._next_due_at - self._clock.wall()))
        return max(pause_s, PLAN_S) if self._parcels else pause_s

    async def _known_breaker(self) -> Breaker:
        if self._breaker is None:
            for failing in await self._store.read("read which plugins fail", deliveries.failing):
                if failing.plugin == self._plugin.name:
                    self._failing = failing
            self._breaker = Breaker(probing=self._failing is not None)
        return self._breaker

    async def _follow_the_clock(self) -> None:
        """Keep due what was due when somebody sets the clock back."""
        now_at, steady_at = self._clock.wall(), self._clock.steady()
        known_s = self._offset_s
        if known_s is not None and now_at - steady_at < known_s - STEP_S:
            await self._store.write(
                "follow the clock",
                deliveries.stay_due, self._plugin.name, steady_at + known_s, now_at, RETRY_MAX_S,
            )  # fmt: skip
            self._planned = False
        self._offset_s = now_at - steady_at

    def _has_room(self, breaker: Breaker) -> bool:
        most = 1 if breaker.probing else self._plugin.concurrency
        return len(self._under_way) < most

    def _is_to_be_planned(self) -> bool:
        """Say whether to look for what there is to send."""
        if not self._planned:
            return True
        age_s = self._clock.steady() - self._planned_at
        due = self._next_due_at is not None and self._next_due_at <= self._clock.wall()
        if self._more or due:
            return age_s >= PLAN_S or not self._parcels
        return not self._parcels and (not self._whole or age_s >= RETRY_S)

    async def _plan(self) -> None:
        self._planned, self._more, self._parcels = True, False, []
        self._planned_at = self._clock.steady()
        in_flight = {row.id for parcel in self._under_way.values() for row in parcel.rows}
        limit = WINDOW + len(in_flight)
        look, self._parcels = await self._store.read(
            "read the outbox", _look, self._plugin, self._clock.wall(), limit, in_flight
        )
        if self._away:
            log.info("alert plugin {name}: the outbox works again", name=self._plugin.name)
        self._away = False
        self._shared, self._next_due_at = look.shared, look.next_due_at
        planned = sum(len(parcel.rows) for parcel in self._parcels)
        self._whole = planned == len(look.rows) < limit

    def _begin(self, breaker: Breaker) -> None:
        left: list[Parcel] = []
        held = {lane for parcel in self._under_way.values() for lane in parcel.lanes}
        for parcel in self._parcels:
            begins = (
                not self._stopping
                and not held & parcel.lanes
                and not breaker.wait_s(self._clock.steady())
                and self._has_room(breaker)
                and self._slots.take(len(self._under_way))
            )
            # Nothing that follows it in its lanes may overtake it.
            held |= parcel.lanes
            if begins:
                self._under_way[parcel.rows[0].id] = parcel
                ensureDeferred(self._deliver(parcel, breaker))
            else:
                left.append(parcel)
        self._parcels = left

    async def _deliver(self, parcel: Parcel, breaker: Breaker) -> None:
        key = parcel.rows[0].id
        try:
            await self._try(parcel, breaker)
        except Exception:
            self._store_failed()
            self._planned = False
            breaker.hold(self._clock.steady(), RETRY_S)
        finally:
            del self._under_way[key]
            self._slots.give_back(len(self._under_way))
            self._wake()

    async def _try(self, parcel: Parcel, breaker: Breaker) -> None:
        until_at = self._clock.wall() + self._plugin.timeout_s + CLAIM_S
        # Where nobody else sends nothing is claimed: after a crash it is free at once.
        if self._shared and not await self._claim(parcel, until_at):
            self._planned = False
            breaker.hold(self._clock.steady(), TAKEN_S)
            return
        found = await self._store.read("read alerts", deliveries.load, parcel.ids)
        if not found:
            return  # deleted, with their service
        parcel = parcel._replace(rows=tuple(row for row in parcel.rows if row.id in found))
        message = grouping.message(parcel, found)
        begun_at = self._clock.steady()
        attempt = None if self._stopping else await self._send(message)
        if attempt is None or (self._stopping and not attempt.delivered):
            # The end was ours, not the plugin's: the rows stay pending for the next start.
            if self._shared:
                await self._store.write(
                    "give back alerts", deliveries.release, parcel.ids, self._node, until_at
                )
            return
        took_s = self._clock.steady() - begun_at
        tried = Tried(self._clock.wall(), took_s, attempt.words)
        by_notice = all(one.channel == Channel.ALERT_PLUGIN for one in message.notices)
        if attempt.delivered:
            await self._sent(parcel, breaker, tried, by_notice)
        else:
            await self._failed(parcel, breaker, tried, by_notice, message, attempt.retry_after_s)

    async def _claim(self, parcel: Parcel, until_at: float) -> bool:
        return await self._store.write(
            "claim alerts",
            deliveries.claim, parcel.ids, self._node, self._clock.wall(), until_at,
        )  # fmt: skip

    async def _send(self, message: Message) -> Attempt:
        send = ensureDeferred(self._sender.send(message))
        self._sends.add(send)
        try:
            return await send
        except CancelledError:
            return Attempt(False, "ended before its time")
        except Exception:
            log.failure("alert plugin {name}: the sender failed", name=self._plugin.name)
            return Attempt(False, "it failed inside OverC: the server's log says why")
        finally:
            self._sends.discard(send)

    async def _sent(self, parcel: Parcel, breaker: Breaker, tried: Tried, by_notice: bool) -> None:
        hurry = breaker.worked()
        works_again = self._failing is not None and not (by_notice and self._failing.by_notice)
        if works_again:
            self._failing = None
            log.info("alert plugin {name} works again", name=self._plugin.name)
        if hurry:
            self._planned = False
        *others, last = _steps(parcel)
        for rows in others:
            await self._keep_sent(rows, tried)
        await self._keep_sent(last, tried, works_again=works_again, hurry=hurry)
        if works_again:
            self.notices_added()

    async def _keep_sent(
        self,
        rows: Sequence[Due],
        tried: Tried,
        *,
        works_again: bool = False,
        hurry: bool = False,
    ) -> None:
        await self._keep(
            "mark an alert as sent",
            lambda tx: self._outcomes.sent(tx, rows, tried, works_again=works_again, hurry=hurry),
        )

    async def _failed(
        self,
        parcel: Parcel,
        breaker: Breaker,
        tried: Tried,
        by_notice: bool,
        message: Message,
        retry_after_s: float | None,
    ) -> None:
        name = self._plugin.name
        log.error("alert plugin {name} failed: {reason}", name=name, reason=one_line(tried.words))
        tries = parcel.rows[0].tries + 1
        pause_s = next_try_s(tries, self._jitter(), retry_after_s)
        breaker.failed(message.alert_id, self._clock.steady(), self._jitter(), retry_after_s)
        self._planned = False
        # See Note [Reports about plugins].
        begins = self._failing is None and tries == (1 if retry_after_s is None else BUSY_TRIES)
        if begins:
            self._failing = Failing(name, tried.tried_at, by_notice)
        retry = Retry(message.alert_id, tried.tried_at + pause_s, begins, by_notice)
        given_up = await self._keep(
            "mark an alert as failed",
            lambda tx: self._outcomes.failed(tx, parcel.rows, tried, retry),
        )
        if begins:
            self.notices_added()
        self._log_given_up(given_up or 0)
        if breaker.probing:
            await self._give_up()

    async def _give_up(self) -> None:
        """Give up what can't be tried in time, since the plugin is only probed."""
        total, more = 0, True
        while more and not self._stopping:
            given_up = await self._store.write(
                "give up alerts", self._outcomes.give_up, self._clock.wall(), GIVEN_UP_ROWS
            )
            total += given_up
            more = given_up == GIVEN_UP_ROWS
        self._log_given_up(total)

    def _log_given_up(self, n: int) -> None:
        if n:
            log.error("alert plugin {name}: {n} alerts given up", name=self._plugin.name, n=n)

    async def _keep(self, description: str, interaction: Callable[[Transaction], T]) -> T | None:
        """Store how an attempt went, however long the store takes; None: we stop without it.

        Until then nothing else of its lanes is begun, and it is not sent once more.
        """
        rest = Rest(self._reactor)
        while True:
            try:
                return await self._store.write(description, interaction)
            except Exception:
                self._store_failed()
            if self._stopping:
                return None
            self._storing.add(rest)
            await rest.pause(RETRY_S)
            self._storing.discard(rest)


def _steps(parcel: Parcel) -> Sequence[Sequence[Due]]:
    """Return the rows of a message that was delivered, in the parts in which that is kept.

    The first row comes last: what a crash leaves to be sent again has the same id then. What has an
    order among itself is kept, or sent again, as a whole.
    """
    rows = parcel.rows
    if len(parcel.lanes) < len(rows):
        return [rows]
    return [rows[place : place + SENT_ROWS] for place in range(0, len(rows), SENT_ROWS)][::-1]


def _look(
    tx: Transaction, plugin: AlertPlugin, now_at: float, limit: int, in_flight: Collection[int]
) -> tuple[Look, list[Parcel]]:
    """Find what a plugin has to send now, and put it into messages.

    Here and not on the reactor: after many alerts it takes milliseconds.
    """
    look = deliveries.look(tx, plugin.name, now_at, limit)
    parcels = grouping.plan(
        look.rows, look.hosts, plugin.digest_over, now_at, in_flight, look.servers
    )
    return look, parcels
