"""GET /healthz: whether this server does its work. For balancers and for whoever watches it."""

from __future__ import annotations

import msgspec

from overc.clock import Clock
from overc.daemon.vitals import Pulse, Vitals
from overc.web.answers import Answer
from overc.web.shapes import Json


class Health:
    """Open to all: it tells no names and no secrets."""

    def __init__(self, pulse: Pulse, clock: Clock) -> None:
        self._pulse = pulse
        self._clock = clock

    async def answer(self) -> Answer:
        """Return 200, or 503 with what is wrong."""
        vitals = await self._pulse.take()
        body = health_json(vitals, self._clock.wall())
        return Answer(msgspec.json.encode(body), code=200 if vitals.healthy else 503)


def health_json(vitals: Vitals, now_at: float) -> Json:
    age_s, backlog, outbox = vitals.tick_age_s, vitals.backlog, None
    if backlog is not None:
        oldest_at = backlog.oldest_at
        # The wall clock may have been set back since.
        oldest_s = 0.0 if oldest_at is None else max(now_at - oldest_at, 0.0)
        outbox = {"pending": backlog.rows, "oldest_s": round(oldest_s, 1)}
    return {
        "status": "ok" if vitals.healthy else "failing",
        "database": vitals.database or "ok",
        "watchdog": "ok" if vitals.on_time else f"behind by {vitals.lag_s:g} s",
        "watchdog_lag_s": vitals.lag_s,
        "watchdog_tick_age_s": None if age_s is None else round(age_s, 2),
        "outbox": outbox,
    }
