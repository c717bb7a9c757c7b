"""Deliver by a POST. A 2xx answer means delivered; redirects are not followed."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

from overc import __version__
from overc.clock import Clock
from overc.daemon.alerting.alert_settings import AlertPlugin, Format
from overc.daemon.alerting.message_formats import render_alertmanager, render_json
from overc.daemon.alerting.messages import Message, render_text
from overc.daemon.alerting.plaintext import clean
from overc.daemon.alerting.secret_urls import mask, shown, webhook
from overc.daemon.alerting.senders.base import Attempt
from overc.transport import ExchangeError, Reply, exchange

REPLY_BYTES = 64 * 1024
"""How much of an answer is read."""

WORDS_BYTES = 500

RETRY_AFTER_MOST_S = 3600.0
"""No receiver is left alone for longer than this, whatever it asks for."""


class WebhookSender:
    """Posts each message, over a connection of its own."""

    def __init__(
        self, plugin: AlertPlugin, url: str, reactor: Any, clock: Clock, base_url: str | None
    ) -> None:
        self._plugin = plugin
        self._secret = url
        self._webhook = webhook(url)
        self._reactor = reactor
        self._clock = clock
        self._base_url = base_url

    async def send(self, message: Message) -> Attempt:
        now_at = self._clock.wall()
        kind, body = self._body(message, now_at)
        headers = {"Content-Type": kind, "User-Agent": f"overc/{__version__}"}
        first = message.notices[0]
        if not any(notice.reminder for notice in message.notices):
            # A reminder is another message about the same alert: its receiver must not drop it.
            headers["Idempotency-Key"] = f"overc-{first.alert_id}-{int(first.raised_at)}"
        try:
            reply = await exchange(
                self._reactor,
                "POST",
                self._webhook.url,
                headers=headers,
                body=body.encode(errors="replace"),
                credentials=self._webhook.credentials,
                deadline_s=self._plugin.timeout_s,
                reply_bytes=REPLY_BYTES,
            )
        except ExchangeError as e:
            return Attempt(False, f"{shown(self._secret)} {mask(str(e), self._secret)}")
        return self._judged(reply, now_at)

    def _body(self, message: Message, now_at: float) -> tuple[str, str]:
        if self._plugin.format is Format.ALERTMANAGER:
            text = render_alertmanager(message, self._plugin.name, self._base_url)
        elif self._plugin.format is Format.JSON:
            text = render_json(message, now_at, self._base_url)
        else:
            return "text/plain; charset=utf-8", render_text(message, now_at)
        return "application/json", text

    def _judged(self, reply: Reply, now_at: float) -> Attempt:
        said = mask(reply.body.decode(errors="replace").strip(), self._secret)
        status = f"status {reply.code}"
        told = f"{status}: {clean(said, WORDS_BYTES)}" if said else status
        if 200 <= reply.code < 300:
            return Attempt(True, told)
        host = shown(self._secret)
        if 300 <= reply.code < 400:
            target = _header(reply, b"location")
            where = shown(target) if "://" in target else "another path"
            reason = f"{host} redirects to {where}: put the final address into webhook="
        elif reply.code == 401:
            reason = f"{host} wants a user and a password: put user:password@ before the host"
        else:
            reason = f"{host} does not take it: {told}"
        return Attempt(False, reason, retry_after_s(_header(reply, b"retry-after"), now_at))


def retry_after_s(text: str, now_at: float) -> float | None:
    """Read a Retry-After header, seconds or a date; None when there is nothing to go by."""
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now_at
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(seconds, RETRY_AFTER_MOST_S) if seconds > 0 else None


def _header(reply: Reply, name: bytes) -> str:
    values = reply.headers.getRawHeaders(name) or [b""]
    return clean(values[0].decode("utf-8", "replace").strip(), WORDS_BYTES)
