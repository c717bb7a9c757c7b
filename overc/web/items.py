"""What people do with servers and services: other titles, deleting, forgetting what is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from overc.clock import Clock
from overc.daemon.recording import Recorder
from overc.daemon.snapshot import Selection, Snapshot
from overc.daemon.store import items
from overc.daemon.store.engine import Store
from overc.daemon.store.items import Extent, Silent
from overc.web import reports
from overc.web.access import Refusal
from overc.web.answers import Answer, as_json
from overc.web.attention import Asked, parse_time
from overc.web.shapes import Json, utc

TITLE_MAX = 255
FORGOTTEN_MAX = 20_000
"""Services in one request."""

FORGOTTEN_AT_ONCE = 50
"""Services in one transaction, so that reports need not wait for long."""


class _Title(msgspec.Struct):
    title: str

    def count_keys(self) -> int:
        return 1


class _Forget(msgspec.Struct):
    services: list[int]
    silent_since: int | float | str | UnsetType | None = UNSET

    def count_keys(self) -> int:
        return 1 + (self.silent_since is not UNSET)


_TITLE = msgspec.json.Decoder(_Title)
_FORGET = msgspec.json.Decoder(_Forget)


class Items:
    """Every method returns what it says, or raises what `overc.web.answers.refusal_of` knows."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        snapshot: Snapshot,
        clock: Clock,
        forget_server: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`forget_server` is told the names of servers that were deleted.

        `changed` is called when something has another title or is gone.
        """
        self._store = store
        self._recorder = recorder
        self._snapshot = snapshot
        self._clock = clock
        self._forget_server = forget_server
        self._changed = changed

    async def rename(self, asked: Asked, **ids: int) -> Answer:
        title = parse_title(reports.decode(_TITLE, asked.body).title)
        selected = Selection(**ids)
        if selected.service_id is not None:
            changed = await self._store.write(
                "rename a service", items.rename_service, selected.service_id, title
            )
        else:
            assert selected.server_id is not None
            changed = await self._store.write(
                "rename a server", items.rename_server, selected.server_id, title
            )
        if changed is None:
            raise unknown(selected)
        self._snapshot.look_again()
        self._changed()
        return as_json({"ok": 1, "title": changed[0], "before": changed[1]})

    async def extent(self, asked: Asked, **ids: int) -> Answer:
        return as_json(extent_json(await self.extent_of(Selection(**ids))))

    async def extent_of(self, selected: Selection) -> Extent:
        """Return what a deletion would remove."""
        found = await self._store.read("count what there is", _read_extent, selected)
        if found is None:
            raise unknown(selected)
        return found

    async def delete(self, asked: Asked, **ids: int) -> Answer:
        selected = Selection(**ids)
        if selected.server_id is not None:
            name = await self._store.write(
                "delete a server", self._recorder.delete_server, selected.server_id
            )
            if name is not None:
                self._forget_server(name)
        else:
            assert selected.service_id is not None
            name = await self._store.write(
                "delete a service", self._recorder.delete_service, selected.service_id
            )
        if name is None:
            raise unknown(selected)
        self._snapshot.forget()
        self._changed()
        return as_json({"ok": 1})

    async def silent(self, span_s: float, server_id: int | None) -> tuple[list[Silent], float]:
        """Return the services that are late and silent for so long, and since when they are."""
        before_at = self._clock.wall() - span_s
        found = await self._store.read(
            "look for silent services", items.silent, before_at, server_id
        )
        return found, before_at

    async def forget(self, asked: Asked) -> Answer:
        sent = reports.decode(_FORGET, asked.body)
        since_at = parse_time(sent.silent_since, "silent_since")
        forgotten, kept = await self.forget_services(sent.services, since_at)
        return as_json({"ok": 1, "forgotten": forgotten, "kept": kept})

    async def forget_services(
        self, service_ids: list[int], before_at: float | None
    ) -> tuple[int, int]:
        """Delete services; return how many were deleted, and how many reported meanwhile.

        What is not there any more counts neither way. When the database fails on the way, what was
        deleted until then is deleted.
        """
        if len(service_ids) > FORGOTTEN_MAX:
            raise Refusal(400, f"services: expected {FORGOTTEN_MAX} at most: forget them in parts")
        wanted = [id_ for id_ in dict.fromkeys(service_ids) if 0 <= id_ < reports.SEQ_MAX]
        forgotten = kept = 0
        try:
            for at in range(0, len(wanted), FORGOTTEN_AT_ONCE):
                gone, stayed = await self._store.write(
                    "forget services",
                    self._recorder.forget_services,
                    wanted[at : at + FORGOTTEN_AT_ONCE],
                    before_at,
                )
                forgotten, kept = forgotten + gone, kept + stayed
        finally:
            self._snapshot.forget()
            self._changed()
        return forgotten, kept


def _read_extent(tx: Any, selected: Selection) -> Extent | None:
    if selected.service_id is not None:
        return items.extent_of_service(tx, selected.service_id)
    assert selected.server_id is not None
    return items.extent_of_server(tx, selected.server_id)


def parse_title(text: str) -> str:
    """Return a title in the form in which it is kept; empty: the name. Raises Refusal."""
    title = text.strip()
    if len(title) > TITLE_MAX:
        raise Refusal(400, f"title: expected {TITLE_MAX} characters at most, got {len(title)}")
    if any(is_control(char) for char in title):
        raise Refusal(400, "title: leave out line breaks and other control characters")
    return title


def is_control(char: str) -> bool:
    """Say whether nothing is to be seen of it but what it does to others; a lone half of a pair
    can't be stored."""
    code = ord(char)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000 or char in "\u2028\u2029"


def extent_json(extent: Extent) -> Json:
    return {
        "server_id": extent.server_id,
        "server": extent.server,
        "service": extent.service,
        "title": extent.title,
        "services": extent.services,
        "states": extent.states,
        "states_more": extent.states >= items.COUNTED_MAX,
        "alerts": extent.alerts,
        "series": extent.series,
        "last_report": None if extent.last_at is None else utc(extent.last_at),
        "awaited": extent.awaited,
    }


def unknown(selected: Selection) -> Refusal:
    if selected.service_id is not None:
        return Refusal(404, f"there is no service {selected.service_id}: it may have been deleted")
    return Refusal(404, f"there is no server {selected.server_id}: it may have been deleted")
