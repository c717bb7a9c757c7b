"""Reads who was told and why, for pages and JSON alike; nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from overc.clock import Clock
from overc.daemon.alerting import attending, explaining
from overc.daemon.alerting.explaining import Explanation
from overc.daemon.alerting.keeping import Keepers, looked_back_to
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.patterns import Patterns
from overc.daemon.store import deliveries, explain, kept_back, rejected_keys, status, told
from overc.daemon.store.engine import Store, Transaction
from overc.daemon.store.explain import Facts
from overc.web import attention_json
from overc.web.glance import LATELY_S, Glance
from overc.web.matching import Match, by_server, match
from overc.web.shapes import Json

COUNT_S = 30.0
"""So often it is counted what was not delivered: that looks through the whole outbox."""

TOLD_S = 10.0
"""So often it is read who was told of what, where that is of very many problems."""

TOLD_MANY = 2_000


class Insight:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        maintenances: Sequence[Maintenance],
        plugins: Sequence[str] = (),
    ) -> None:
        """`plugins`: the names of the alert plugins that are configured."""
        self.plugins = tuple(plugins)
        self._store = store
        self._clock = clock
        self._maintenances = tuple(maintenances)
        self._undelivered: list[tuple[str, int]] = []
        self._counted_at: float | None = None
        self._told: Mapping[int, Sequence[str]] = {}
        self._told_at: float | None = None

    async def glance(self) -> Glance:
        """Return what each page shows of the alerting."""
        now_at, steady_at = self._clock.wall(), self._clock.steady()
        counts = self._counted_at is None or not 0 <= steady_at - self._counted_at < COUNT_S
        tells = (
            self._told_at is None
            or len(self._told) < TOLD_MANY
            or not 0 <= steady_at - self._told_at < TOLD_S
        )

        def read(tx: Transaction) -> Glance:
            return Glance(
                told.acks(tx),
                self._keepers(tx, now_at),
                deliveries.failing(tx),
                told.undelivered(tx, now_at - LATELY_S) if counts else self._undelivered,
                told=told.plugins_told(tx) if tells else self._told,
                rejected=rejected_keys.titles(tx, now_at),
            )

        found = await self._store.read("read what happens to alerts", read)
        if tells:
            self._told, self._told_at = found.told, steady_at
        if counts:
            self._undelivered, self._counted_at = list(found.undelivered), steady_at
        return found

    async def silences(self) -> Json:
        """Return the reply of /ui/api/silences."""
        now_at = self._clock.wall()

        def read(tx: Transaction) -> list[Json]:
            found = kept_back.silences(tx, now_at - LATELY_S)
            counts = kept_back.count_alerts(tx, [one.id for one in found])
            return [
                attention_json.silence(
                    one,
                    counts.get(one.id, 0),
                    kept_back.alerts(tx, one.id) if one.id in counts else [],
                    now_at,
                )
                for one in found
            ]

        silences = await self._store.read("read silences", read)
        windows = [attention_json.maintenance(one, now_at) for one in self._maintenances]
        return {"silences": silences, "maintenance": windows}

    async def matched(self, reply: Json) -> dict[int, Match]:
        """Return what the silences of a reply, but for those that ended, match now, by the id."""
        wanted = {
            one["id"]: (Patterns(one["servers"]), Patterns(one["services"]))
            for one in reply["silences"]
            if one["status"] != "ended"
        }
        if not wanted:
            return {}

        def read(tx: Transaction) -> dict[int, Match]:
            names = by_server(kept_back.names(tx))
            return {id_: match(names, *patterns) for id_, patterns in wanted.items()}

        return await self._store.read("match silences", read)

    async def preview(self, servers: str, services: str) -> Match:
        """Return what a silence would match now. Raises ValueError with a sentence."""
        patterns = attending.parse_patterns(servers, services)

        def read(tx: Transaction) -> Match:
            return match(by_server(kept_back.names(tx)), *patterns)

        return await self._store.read("match a silence", read)

    async def explain(self, find: Callable[[Transaction], int | None]) -> Explanation | None:
        """Return why a service is as it is; None where there is none.

        `find` returns its id, in the same transaction; what it raises is raised.
        """
        now_at = self._clock.wall()

        def read(tx: Transaction) -> tuple[Facts, Keepers] | None:
            service_id = find(tx)
            facts = None if service_id is None else explain.facts(tx, service_id)
            return None if facts is None else (facts, self._keepers(tx, now_at))

        found = await self._store.read("explain a service", read)
        if found is None:
            return None
        facts, keepers = found
        keeps_back = keepers.of(facts.service.server, facts.service.name)
        return explaining.explain(facts, now_at, self._clock.steady(), keeps_back)

    def _keepers(self, tx: Transaction, now_at: float) -> Keepers:
        of_windows = kept_back.of_windows(
            tx,
            [one.name for one in self._maintenances],
            looked_back_to(self._maintenances, now_at),
        )
        return Keepers(kept_back.running(tx, now_at), self._maintenances, now_at, of_windows)

    async def names(self, service_id: int) -> tuple[str, str] | None:
        """Return the names of a service's server and of the service itself."""
        return await self._store.read("read the names of a service", explain.names, service_id)

    async def server_name(self, server_id: int) -> str | None:
        return await self._store.read("read the name of a server", status.server_name, server_id)
