"""The forms of the dashboard's pages: what they send goes the way of the JSON API."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from overc.web.access import Refusal
from overc.web.answers import Answer
from overc.web.attention import Asked, Attention
from overc.web.items import Items
from overc.web.rejected import RejectedKeys
from overc.web.shapes import Json

FIELDS_MAX = 10


class Forms:
    """Every method does what was asked and leads back to the page, or raises a refusal."""

    def __init__(self, attention: Attention, items: Items, rejected: RejectedKeys) -> None:
        self._attention = attention
        self._items = items
        self._rejected = rejected

    async def acknowledge(self, asked: Asked, service_id: int) -> Answer:
        sent = _fields(asked, "reason", "author")
        await self._attention.acknowledge(_as_json(asked, {**sent, "service_id": service_id}))
        return _see(f"../{service_id}")

    async def unacknowledge(self, asked: Asked, service_id: int) -> Answer:
        await self._attention.unacknowledge(_as_json(asked, {"service_id": service_id}))
        return _see(f"../{service_id}")

    async def silence(self, asked: Asked, **ids: int) -> Answer:
        """Silence a service, or all services of a server."""
        sent = _fields(asked, "for", "reason", "author")
        await self._attention.silence(_as_json(asked, {**sent, **ids}))
        return _back_to_item(ids)

    async def begin_silence(self, asked: Asked) -> Answer:
        sent = _fields(asked, "servers", "services", "for", "until", "reason", "author")
        if "until" in sent:
            # A form without a script sends both.
            sent.pop("for", None)
        answer = await self._attention.silence(_as_json(asked, sent))
        begun = msgspec.json.decode(answer.body)
        return _see(f"silences#silence-{begun['id']}")

    async def change_silence(self, asked: Asked, silence_id: int) -> Answer:
        sent = _fields(asked, "for")
        await self._attention.change_silence(_as_json(asked, sent), silence_id)
        return _see(f"../../silences#silence-{silence_id}")

    async def end_silence(self, asked: Asked, silence_id: int) -> Answer:
        await self._attention.end_silence(asked, silence_id)
        return _see("../../silences")

    async def rename(self, asked: Asked, **ids: int) -> Answer:
        # What is empty is not sent along.
        sent = {"title": "", **_fields(asked, "title")}
        await self._items.rename(_as_json(asked, sent), **ids)
        return _back_to_item(ids)

    async def delete(self, asked: Asked, **ids: int) -> Answer:
        sent = _fields(asked, "server") if asked.body else {}
        await self._items.delete(asked, **ids)
        return _see(_page_of_server(sent, "../../"))

    async def forget(self, asked: Asked) -> Answer:
        sent = _fields(asked, "services", "silent_since", "server")
        try:
            service_ids = [int(word) for word in sent["services"].split(",")]
            since_at = float(sent["silent_since"])
        except (KeyError, ValueError):
            raise _no_form() from None
        await self._items.forget_services(service_ids, since_at)
        return _see(_page_of_server(sent, "") or "services")

    async def accept_key(self, asked: Asked, rejected_id: int) -> Answer:
        await self._rejected.accept(asked, rejected_id)
        return _see("../../settings#rejected")

    async def dismiss_key(self, asked: Asked, rejected_id: int) -> Answer:
        await self._rejected.dismiss(asked, rejected_id)
        return _see("../../settings#rejected")


def _fields(asked: Asked, *names: str) -> dict[str, str]:
    """Return what was typed into the fields of a form; what is empty was not given."""
    try:
        found = parse_qs(
            asked.body.decode("ascii"),
            strict_parsing=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        raise _no_form() from None
    # A reason that is missing is told of by those who want it.
    given = {name: found[name][-1] for name in names if name in found}
    return {"reason": "", **given} if "reason" in names else given


def _page_of_server(sent: dict[str, str], root: str) -> str:
    """Return the way to the page of the server that a form names; without one, the root."""
    server_id = sent.get("server", "")
    if not (server_id.isascii() and server_id.isdigit()):
        return root
    return f"{root}server/{server_id}"


def _no_form() -> Refusal:
    return Refusal(400, "this is no form of a page: reload the page and try again")


def _as_json(asked: Asked, content: Json) -> Asked:
    return asked._replace(body=msgspec.json.encode(content))


def _back_to_item(ids: dict[str, int]) -> Answer:
    [id_] = ids.values()
    return _see(f"../{id_}")


def _see(location: str) -> Answer:
    # Relative, so that it holds under a proxy's path too. The next page is a GET.
    return Answer(b"", code=303, headers={"Location": location})
