"""The routes, joined: the reporting API, the dashboard, its static files; who may use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from overc.daemon.settings import Credentials
from overc.web import reports
from overc.web.access import Refusal, check_access, header, user_of
from overc.web.answers import Answer, refusal_as_json, respond
from overc.web.attention import Asked, Attention
from overc.web.dashboard import Dashboard, Query
from overc.web.forms import Forms
from overc.web.health import Health
from overc.web.reporting import Reporting, check_encoding, peer_ip

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

ALERT_TEST_S = 600.0
"""Alert plugins have time limits of their own, which may be longer than a request's."""

Route = Callable[[], Awaitable[Answer]]
Handler = Callable[..., Awaitable[Answer]]

DASHBOARD_API: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/ui/api/status/", Dashboard.status),
    ("GET", "/ui/api/status/server/<id:server_id>", Dashboard.status),
    ("GET", "/ui/api/status/service/<id:service_id>", Dashboard.status),
    ("GET", "/ui/api/status/service/<id:service_id>/states", Dashboard.states),
    ("GET", "/ui/api/changes", Dashboard.changes),
    ("GET", "/ui/api/status/alerts/", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/server/<id:server_id>", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/service/<id:service_id>", Dashboard.alerts),
    ("DELETE", "/ui/api/item/server/<id:server_id>", Dashboard.delete),
    ("DELETE", "/ui/api/item/service/<id:service_id>", Dashboard.delete),
)

ATTENTION_API: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/ui/api/ack", Attention.acknowledge),
    ("DELETE", "/ui/api/ack", Attention.unacknowledge),
    ("GET", "/ui/api/silences", Attention.silences),
    ("POST", "/ui/api/silences", Attention.silence),
    ("DELETE", "/ui/api/silences/<id:silence_id>", Attention.end_silence),
    ("GET", "/ui/api/explain", Attention.explain),
    ("GET", "/ui/api/explain/service/<id:service_id>", Attention.explain),
    ("POST", "/ui/api/alert-test", Attention.test_alerts),
    ("POST", "/api/set/silence", Attention.snooze),
)

PAGES: tuple[tuple[str, Handler], ...] = (
    ("/ui/", Dashboard.overview_page),
    ("/ui/services", Dashboard.services_page),
    ("/ui/server/<id:server_id>", Dashboard.server_page),
    ("/ui/service/<id:service_id>", Dashboard.service_page),
    ("/ui/alerts", Dashboard.alerts_page),
    ("/ui/silences", Dashboard.silences_page),
)

FORMS: tuple[tuple[str, Handler], ...] = (
    ("/ui/service/<id:service_id>/ack", Forms.acknowledge),
    ("/ui/service/<id:service_id>/unack", Forms.unacknowledge),
    ("/ui/service/<id:service_id>/silence", Forms.silence),
    ("/ui/silences/<id:silence_id>/end", Forms.end_silence),
)


class _Id(IntegerConverter):
    # Databases and int() fail on longer ones instead of saying that there is no such row.
    regex = r"\d{1,18}"


class Routes:
    """The tables above as one resource, with access checked before anything else."""

    def __init__(
        self,
        reactor: Any,
        reporting: Reporting,
        dashboard: Dashboard,
        attention: Attention,
        forms: Forms,
        health: Health,
        *,
        api_auth: Credentials | None,
        ui_auth: Credentials | None,
        timeout_s: float,
    ) -> None:
        """`timeout_s`: how long a request may take once it has arrived whole."""
        self._reactor = reactor
        self._reporting = reporting
        self._dashboard = dashboard
        self._attention = attention
        self._forms = forms
        self._health = health
        self._api_auth = api_auth
        self._ui_auth = ui_auth
        self._timeout_s = timeout_s
        self._static = _load_static()

    def resource(self) -> IResource:
        app = Klein()
        app.url_map.converters["id"] = _Id

        def add(
            method: str, path: str, serve: Callable[..., Awaitable[bytes]], **rule: Any
        ) -> None:
            # Klein would name the endpoint after the function, and all of one kind are one name.
            app.route(path, methods=[method], endpoint=f"{method} {path}", **rule)(serve)

        for path in reports.DECODERS:
            add("POST", path, self._report(path))
        for method, path, handler in DASHBOARD_API:
            add(method, path, self._api_of_ui(handler), strict_slashes=False)
        for method, path, handler in ATTENTION_API:
            add(method, path, self._attend(handler, path), strict_slashes=False)
        for path, handler in PAGES:
            add("GET", path, self._page(handler, _root(path)))
        for path, handler in FORMS:
            add("POST", path, self._form(handler, _root(path)))
        add("GET", "/ui/static/<string:name>", self._static_file)
        add("GET", "/healthz", self._healthz)
        add("GET", "/", self._to_overview)
        add("GET", "/ui", self._to_overview)
        no_route: Any = self._no_route  # Klein's annotation knows synchronous handlers only
        app.handle_errors(HTTPException)(no_route)
        return app.resource()

    def _report(self, path: str) -> Callable[[Request], Awaitable[bytes]]:
        async def serve(request: Request) -> bytes:
            async def store() -> Answer:
                return await self._reporting.answer(request, path)

            return await self._guard(request, store, self._api_auth, refusal_as_json)

        return serve

    def _api_of_ui(self, handler: Handler) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def read() -> Answer:
                return await handler(self._dashboard, _query(request), **ids)

            return await self._guard(request, read, self._ui_auth, refusal_as_json)

        return serve

    def _attend(self, handler: Handler, path: str) -> Callable[..., Awaitable[bytes]]:
        wanted = self._api_auth if path.startswith("/api/") else self._ui_auth
        slow = handler is Attention.test_alerts
        timeout_s = ALERT_TEST_S if slow else self._timeout_s

        async def serve(request: Request, **ids: int) -> bytes:
            async def attend() -> Answer:
                return await handler(self._attention, _asked(request), **ids)

            return await self._guard(request, attend, wanted, refusal_as_json, timeout_s)

        return serve

    def _page(self, handler: Handler, root: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def render() -> Answer:
                return await handler(self._dashboard, _query(request), **ids)

            return await self._guard(request, render, self._ui_auth, self._as_page(root))

        return serve

    def _form(self, handler: Handler, root: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def take() -> Answer:
                return await handler(self._forms, _asked(request), **ids)

            return await self._guard(request, take, self._ui_auth, self._as_page(root))

        return serve

    def _as_page(self, root: str) -> Callable[[Refusal], Answer]:
        def show(refusal: Refusal) -> Answer:
            return self._dashboard.error_page(refusal, root)

        return show

    async def _to_overview(self, request: Request) -> bytes:
        async def redirect() -> Answer:
            # Relative, so that it holds under a proxy's path too.
            return Answer(b"", code=302, headers={"Location": "ui/"})

        return await self._guard(request, redirect, self._ui_auth, refusal_as_json)

    async def _healthz(self, request: Request) -> bytes:
        return await self._guard(request, self._health.answer, None, refusal_as_json)

    async def _static_file(self, request: Request, name: str) -> bytes:
        async def read() -> Answer:
            found = self._static.get(name)
            if found is None:
                raise Refusal(404, f"there is no file {name!r}")
            return found

        return await self._guard(request, read, self._ui_auth, refusal_as_json)

    async def _no_route(self, request: Request, failure: Failure) -> bytes:
        error: Any = failure.value

        async def refuse() -> Answer:
            path = request.path.decode(errors="replace")
            if error.code == 405:
                methods = ", ".join(sorted(error.valid_methods or ()))
                method = request.method.decode(errors="replace")
                sentence = f"{path} does not take {method}: use {methods}"
                raise Refusal(405, sentence, {"Allow": methods})
            raise Refusal(404, f"there is nothing at {path}")

        wanted = self._api_auth if request.path.startswith(b"/api/") else self._ui_auth
        return await self._guard(request, refuse, wanted, refusal_as_json)

    async def _guard(
        self,
        request: Request,
        route: Route,
        wanted: Credentials | None,
        show: Callable[[Refusal], Answer],
        timeout_s: float | None = None,
    ) -> bytes:
        async def guarded() -> Answer:
            check_access(request, wanted)
            return await route()

        return await respond(request, guarded, self._reactor, timeout_s or self._timeout_s, show)


def _root(path: str) -> str:
    """Return the way from a page's URL back to /ui/."""
    return "../" * (path.count("/") - 2) or "./"


def _load_static() -> dict[str, Answer]:
    """Read the files once: what is not among them can't be asked for."""
    return {
        entry.name: Answer(
            entry.read_bytes(),
            CONTENT_TYPES["." + entry.name.rpartition(".")[2]],
            headers={"Cache-Control": "no-cache"},
        )
        for entry in (files("overc.web") / "static").iterdir()
        if entry.is_file()
    }


def _asked(request: Request) -> Asked:
    assert request.content is not None
    check_encoding(request)
    return Asked(
        request.content.read(),
        request.args or {},
        peer_ip(request),
        user_of(header(request, b"authorization")),
    )


def _query(request: Request) -> Query:
    scheme = "https" if request.isSecure() else "http"
    host = header(request, b"host") or "127.0.0.1"
    return Query(request.args or {}, f"{scheme}://{host}/")
