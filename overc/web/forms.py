"""The forms of the dashboard's pages: what they send goes the way of the JSON API."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec

from overc.daemon.alerting import attending
from overc.web.access import Refusal
from overc.web.answers import Answer
from overc.web.attention import Asked, Attention
from overc.web.insight import Insight
from overc.web.shapes import Json

FIELDS_MAX = 10


class Forms:
    """Every method does what was asked and leads back to the page, or raises a refusal."""

    def __init__(self, attention: Attention, insight: Insight) -> None:
        self._attention = attention
        self._insight = insight

    async def acknowledge(self, asked: Asked, service_id: int) -> Answer:
        sent = _fields(asked, "reason", "author")
        await self._attention.acknowledge(_as_json(asked, {**sent, "service_id": service_id}))
        return _back_to_service(service_id)

    async def unacknowledge(self, asked: Asked, service_id: int) -> Answer:
        await self._attention.unacknowledge(_as_json(asked, {"service_id": service_id}))
        return _back_to_service(service_id)

    async def silence(self, asked: Asked, service_id: int) -> Answer:
        names = await self._insight.names(service_id)
        if names is None:
            raise Refusal(404, f"there is no service {service_id}: it may have been deleted")
        server, service = map(attending.exactly, names)
        sent = _fields(asked, "for", "reason", "author")
        await self._attention.silence(
            _as_json(asked, {**sent, "servers": server, "services": service})
        )
        return _back_to_service(service_id)

    async def end_silence(self, asked: Asked, silence_id: int) -> Answer:
        await self._attention.end_silence(asked, silence_id)
        return _see("../../silences")


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
        raise Refusal(400, "this is no form of a page: reload the page and try again") from None
    # A reason that is missing is told of by those who want it.
    given = {name: found[name][-1] for name in names if name in found}
    return {"reason": "", **given} if "reason" in names else given


def _as_json(asked: Asked, content: Json) -> Asked:
    return asked._replace(body=msgspec.json.encode(content))


def _back_to_service(service_id: int) -> Answer:
    return _see(f"../{service_id}")


def _see(location: str) -> Answer:
    # Relative, so that it holds under a proxy's path too. The next page is a GET.
    return Answer(b"", code=303, headers={"Location": location})
