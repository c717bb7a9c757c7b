"""Keeps in mind whose reports are refused for their key, so that people can accept the new one.

Note [Refused keys]
~~~~~~~~~~~~~~~~~~~
A host that was set up anew has another key than the one that its name is registered with. Whoever
runs it wants to be asked, and anybody else may try keys too, as many as he likes. So what a refused
report costs has to be little: what is stored for its key falls off the proof that it does not fit,
since it is derived with the salt of the right one. It is gathered here and written down once in
PAUSE_S for each server, all servers in one transaction. A few keys for each server are kept, of a
limited number of servers, for a limited time (`overc.daemon.store.rejected_keys`). Each address
from which keys are tried has a place before another has a second one, and the address that the host
was known from has one in any case: whoever tries many keys drives out his own.

To accept a key is to put it in the place of the right one. No node needs to be told: each of them
remembers keys only together with what was stored for them.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service

from overc.clock import Clock
from overc.daemon.rounds import Rounds
from overc.daemon.store import rejected_keys
from overc.daemon.store.engine import Store
from overc.daemon.store.rejected_keys import KEYS_MAX, Tried, chosen
from overc.logging import get_logger

ROUND_S = 1.0

PAUSE_S = 60.0
"""So long nothing is written down of a server again."""

SERVERS_MAX = 200
"""So many servers wait to be written down; of others nothing is kept then."""

log = get_logger(__name__)


class Rejections(Service):
    """A LoopingCall that does not die. As long as no key is refused it does nothing."""

    def __init__(self, reactor: Any, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._tried: dict[int, dict[str, Tried]] = {}
        """By the server and the derivation."""
        self._written_at: dict[int, float] = {}
        """When something was last written down of a server, on the steady clock."""
        self._rounds = Rounds(
            reactor,
            log,
            self.round,
            failed="refused keys could not be noted",
            works="refused keys are noted again",
        )

    def startService(self) -> None:
        super().startService()
        self._rounds.start(ROUND_S, now=False)

    async def stopService(self) -> None:
        super().stopService()
        await self._rounds.stop()

    def note(self, server_id: int, key_derivation: str, ip: str, known_ip: str) -> None:
        """A report about a server was refused for its key.

        `known_ip`: from where the newest one came that had the right key.
        """
        now_at = self._clock.wall()
        if server_id not in self._tried and len(self._tried) >= SERVERS_MAX:
            return
        tried = self._tried.setdefault(server_id, {})
        known = tried.get(key_derivation)
        if known is not None:
            tried[key_derivation] = known._replace(last_at=now_at, ip=ip, tries=known.tries + 1)
            return
        tried[key_derivation] = Tried(server_id, key_derivation, ip, now_at, now_at, 1)
        if len(tried) > KEYS_MAX:
            # In the order in which they came, so that those that stay are counted.
            all_ = list(tried.values())
            kept = [all_[place] for place in chosen([one.ip for one in all_], known_ip)]
            self._tried[server_id] = {one.key_derivation: one for one in kept}

    def forget(self, server_id: int) -> None:
        """A key of this server was accepted: the next one that is refused is news."""
        self._tried.pop(server_id, None)
        self._written_at.pop(server_id, None)

    async def round(self) -> None:
        """Write down what may be written down by now."""
        if not self._tried:
            return
        now_at = self._clock.steady()
        self._written_at = {
            id_: at for id_, at in self._written_at.items() if 0 <= now_at - at < PAUSE_S
        }
        due = [id_ for id_ in self._tried if id_ not in self._written_at]
        if not due:
            return
        tried = [one for id_ in due for one in self._tried.pop(id_).values()]
        self._written_at |= dict.fromkeys(due, now_at)
        await self._store.write("note refused keys", rejected_keys.note, tried, self._clock.wall())
