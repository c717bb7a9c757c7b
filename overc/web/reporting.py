"""The reporting API's routes, on the short way (see Note [Short way] in `overc.web.limits`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request

from overc.model import Report
from overc.web import reports
from overc.web.access import Gate, Refusal, header
from overc.web.answers import ALWAYS, Answer, as_json, refusal_as_json, refusal_of
from overc.web.shortcut import Post, Serve
from overc.web.unpacking import ADVERTISEMENT, unpack

BODY_MAX_BYTES = 1024 * 1024


class Intake(Protocol):
    """What the reporting API needs of `overc.daemon.intake.Intake`."""

    def submit(self, report: Report) -> Deferred[None]: ...


class Reporting:
    """Takes the requests of `overc.web.reports.DECODERS` in, and answers after the commit."""

    def __init__(self, intake: Intake, gate: Gate, max_body_bytes: int = BODY_MAX_BYTES) -> None:
        """`max_body_bytes`: how large a body may be that came compressed."""
        self._intake = intake
        self._gate = gate
        self._max_body_bytes = max_body_bytes

    def exact(self) -> dict[tuple[bytes, bytes], Serve]:
        """Return the routes for `LimitedSite`."""
        return {(b"POST", path.encode()): self._short_way(path) for path in reports.DECODERS}

    async def answer(self, request: Request, path: str) -> Answer:
        """Serve a request that came by Klein. Raises what `refusal_of` knows."""
        decode, reply = reports.DECODERS[path]
        assert request.content is not None
        await self._take(request, request.content.read(), decode)
        return replace(as_json(reply), headers=ADVERTISEMENT)

    def _short_way(self, path: str) -> Serve:
        decode, reply = reports.DECODERS[path]
        answer = replace(as_json(reply), headers=ADVERTISEMENT)
        body, headers = answer.body, header_lines(answer)

        def serve(request: Post) -> None:
            try:
                self._gate.admit(request)
                stored = self._take(request, request.body(), decode)
            except Exception as error:
                refuse(request, error)
                return
            stored.addCallbacks(
                lambda _: request.send(200, headers, body),
                lambda failure: refuse(request, failure.value, failure),
            )

        return serve

    def _take(
        self, request: Request | Post, body: bytes, decode: Callable[[bytes, str], Report]
    ) -> Deferred[None]:
        encoding = header(request, b"content-encoding")
        if encoding is not None:
            body = unpack(body, encoding, self._max_body_bytes)
        return self._intake.submit(decode(body, self._gate.peer_ip(request)))


def check_encoding(request: Request | Post) -> None:
    """Raise Refusal for a body that is not sent as it is."""
    encoding = header(request, b"content-encoding")
    if (encoding or "").lower() not in ("", "identity"):
        raise Refusal(
            415, f"Content-Encoding {encoding!r:.40} is not taken: send the body as it is"
        )


def refuse(request: Post, error: Exception, failure: Failure | None = None) -> None:
    answer = refusal_as_json(refusal_of(error, request.path, failure))
    request.send(answer.code, header_lines(answer), answer.body)


def header_lines(answer: Answer) -> bytes:
    headers = {"Content-Type": answer.content_type, **ALWAYS, **answer.headers}
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
