"""What the settings page shows: how this server is set up, and how it does. Never a secret."""

from __future__ import annotations

from dataclasses import dataclass

from overc import __version__
from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin
from overc.daemon.alerting.routing import Maintenance
from overc.daemon.alerting.secret_urls import shown
from overc.daemon.store import channels, deliveries
from overc.daemon.store.channels import Doing
from overc.daemon.store.deliveries import Failing
from overc.daemon.store.engine import Described, Store, Transaction
from overc.daemon.vitals import Pulse
from overc.web import attention_json
from overc.web.answers import Answer, as_json
from overc.web.attention import Asked
from overc.web.health import health_json
from overc.web.rejected import RejectedKeys
from overc.web.shapes import Json, optional_utc, utc


@dataclass(frozen=True, slots=True)
class SetUp:
    """What does not change while the server runs."""

    node: str
    database: str
    """Without a password."""
    path: str | None
    """The INI file."""
    listen: tuple[str, ...]
    url: str | None
    timezone: str
    keep_history_s: float
    keep_alerts_s: float
    keep_rollups_s: float
    warnings: tuple[str, ...]
    """What was said at the start."""
    plugins: tuple[AlertPlugin, ...] = ()
    maintenances: tuple[Maintenance, ...] = ()


class About:
    """Reads what there is to say."""

    def __init__(
        self, store: Store, clock: Clock, pulse: Pulse, rejected: RejectedKeys, set_up: SetUp
    ) -> None:
        self._store = store
        self._clock = clock
        self._pulse = pulse
        self._rejected = rejected
        self._set_up = set_up

    async def answer(self, asked: Asked) -> Answer:
        return as_json(await self.tell())

    async def tell(self) -> Json:
        now_at, set_up = self._clock.wall(), self._set_up

        def read(tx: Transaction) -> tuple[Described, dict[str, Doing], list[Failing]]:
            return tx.describe(), channels.doing(tx), deliveries.failing(tx)

        vitals = await self._pulse.take()
        described, doing, failing = await self._store.read("read the settings", read)
        since = {one.plugin: one.since_at for one in failing}
        return {
            "version": __version__,
            "node": set_up.node,
            "config": set_up.path,
            "warnings": list(set_up.warnings),
            "listen": list(set_up.listen),
            "url": set_up.url,
            "timezone": set_up.timezone,
            "database": {
                "engine": described.engine,
                "where": set_up.database,
                "schema": described.schema,
                "bytes": described.size_bytes,
            },
            "keep": {
                "history_s": set_up.keep_history_s,
                "alerts_s": set_up.keep_alerts_s,
                "rollups_s": set_up.keep_rollups_s,
            },
            "health": health_json(vitals, now_at),
            "channels": [
                channel_json(one, doing.get(one.name, Doing()), since.get(one.name))
                for one in set_up.plugins
            ],
            "maintenance": [
                {**attention_json.maintenance(one, now_at), "reason": one.reason}
                for one in set_up.maintenances
            ],
            "rejected_keys": await self._rejected.all(),
        }


def channel_json(plugin: AlertPlugin, doing: Doing, failing_since_at: float | None) -> Json:
    """`failing_since_at`: None unless the plugin fails now."""
    kind, where = way(plugin)
    route = plugin.route
    return {
        "name": plugin.name,
        "kind": kind,
        "where": where,
        "servers": route.servers.text,
        "services": route.services.text,
        "events": route.events.text,
        "delay_s": route.delay_s,
        "remind_s": route.remind_s,
        "quiet_hours": getattr(route.quiet, "text", None),
        "failing_since": optional_utc(failing_since_at),
        "sent": None if doing.delivered is None else utc(doing.delivered.at),
        "failed": None if doing.failed is None else utc(doing.failed.at),
        "failed_words": None if doing.failed is None else doing.failed.words,
        "waiting": doing.waiting,
    }


def way(plugin: AlertPlugin) -> tuple[str, str]:
    """Return how a plugin sends, and as much of where to as anybody may see.

    Arguments of a command may be passwords, and in an Apprise URL all but the scheme may be one.
    """
    if plugin.webhook is not None:
        return "webhook", shown(plugin.webhook)
    if plugin.notify is not None:
        return "notify", plugin.notify.partition("://")[0] + "://"
    return "command", plugin.command[0] if plugin.command else ""


def described_zone(zone: object) -> str:
    return "that of the server's machine" if zone is None else str(zone)
