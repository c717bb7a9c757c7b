"""Hosts that report with another key than before, and taking the new one."""

from __future__ import annotations

from collections.abc import Callable

from overc.clock import Clock
from overc.daemon.store import rejected_keys
from overc.daemon.store.engine import Store
from overc.daemon.store.rejected_keys import Rejected
from overc.logging import get_logger, one_line
from overc.web.access import Refusal
from overc.web.answers import Answer, as_json
from overc.web.attention import Asked
from overc.web.shapes import Json, utc

log = get_logger(__name__)


class RejectedKeys:
    """Every method returns an Answer or raises what `overc.web.answers.refusal_of` knows."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        accepted: Callable[[int, str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`accepted` is told the id and the name of a server that has another key now.

        `changed` is called when one less is to be looked at.
        """
        self._store = store
        self._clock = clock
        self._accepted = accepted
        self._changed = changed

    async def tell(self, asked: Asked) -> Answer:
        return as_json({"rejected_keys": await self.all()})

    async def all(self) -> list[Json]:
        """Return what was refused lately, as it is told."""
        found = await self._store.read("read refused keys", rejected_keys.find, self._clock.wall())
        return [rejected_json(one) for one in found]

    async def accept(self, asked: Asked, rejected_id: int) -> Answer:
        found = await self._store.write("accept a key", rejected_keys.accept, rejected_id)
        if found is None:
            raise _unknown(rejected_id)
        server_id, name = found
        self._accepted(server_id, name)
        self._changed()
        log.warn(
            "{who} accepted another key for {name}",
            who=one_line(asked.author(None)),
            name=one_line(name),
        )
        return as_json({"ok": 1, "server_id": server_id, "server": name})

    async def dismiss(self, asked: Asked, rejected_id: int) -> Answer:
        name = await self._store.write("dismiss a key", rejected_keys.dismiss, rejected_id)
        if name is None:
            raise _unknown(rejected_id)
        self._changed()
        return as_json({"ok": 1, "server": name})


def rejected_json(one: Rejected) -> Json:
    """Nothing in it tells anything of the key."""
    return {
        "id": one.id,
        "server_id": one.server_id,
        "server": one.server,
        "title": one.title,
        "ip": one.ip,
        "first": utc(one.first_at),
        "last": utc(one.last_at),
        "tries": one.tries,
        "dismissed": one.dismissed,
        "known_ip": one.known_ip,
        "reported": None if one.reported_at is None else utc(one.reported_at),
        # Two hosts, or one and somebody who would like to be it.
        "both_report": one.reported_at is not None and one.reported_at > one.first_at,
    }


def _unknown(id_: int) -> Refusal:
    return Refusal(404, f"there is no refused key {id_}: somebody may have looked after it already")
