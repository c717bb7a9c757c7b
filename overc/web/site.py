"""The routes, joined: the reporting API, the dashboard, its static files; who may use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, IntegerConverter

from overc.web import reports, static_files
from overc.web.access import Gate, Refusal, Visitor, header
from overc.web.actions import Actions
from overc.web.answers import Answer, refusal_as_json, respond
from overc.web.attention import Asked, Attention
from overc.web.dashboard import Dashboard, Query
from overc.web.forms import Forms
from overc.web.health import Health
from overc.web.live import Live
from overc.web.public.routes import OPEN_PATHS, PublicRoutes, Serve, Show
from overc.web.reporting import Reporting, check_encoding

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
    ("GET", "/ui/api/rows", Dashboard.rows),
    ("GET", "/ui/api/timeline/server/<id:server_id>", Dashboard.timeline),
    ("GET", "/ui/api/timeline/service/<id:service_id>", Dashboard.timeline),
    ("GET", "/ui/api/graphs/service/<id:service_id>", Dashboard.graphs),
    ("GET", "/ui/api/status/alerts/", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/server/<id:server_id>", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/service/<id:service_id>", Dashboard.alerts),
)

ATTENTION_API: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/ui/api/ack", Attention.acknowledge),
    ("DELETE", "/ui/api/ack", Attention.unacknowledge),
    ("GET", "/ui/api/silences", Attention.silences),
    ("POST", "/ui/api/silences", Attention.silence),
    ("GET", "/ui/api/silences/preview", Attention.preview),
    ("POST", "/ui/api/silences/<id:silence_id>", Attention.change_silence),
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
    ("/ui/settings", Dashboard.settings_page),
    ("/ui/server/<id:server_id>/delete", Dashboard.deletion_page),
    ("/ui/service/<id:service_id>/delete", Dashboard.deletion_page),
    ("/ui/forget", Dashboard.forget_page),
)

FORMS: tuple[tuple[str, Handler], ...] = (
    ("/ui/service/<id:service_id>/ack", Forms.acknowledge),
    ("/ui/service/<id:service_id>/unack", Forms.unacknowledge),
    ("/ui/service/<id:service_id>/silence", Forms.silence),
    ("/ui/silences", Forms.begin_silence),
    ("/ui/silences/<id:silence_id>/extend", Forms.change_silence),
    ("/ui/silences/<id:silence_id>/end", Forms.end_silence),
    ("/ui/server/<id:server_id>/silence", Forms.silence),
    ("/ui/server/<id:server_id>/rename", Forms.rename),
    ("/ui/service/<id:service_id>/rename", Forms.rename),
    ("/ui/server/<id:server_id>/delete", Forms.delete),
    ("/ui/service/<id:service_id>/delete", Forms.delete),
    ("/ui/forget", Forms.forget),
    ("/ui/rejected-keys/<id:rejected_id>/accept", Forms.accept_key),
    ("/ui/rejected-keys/<id:rejected_id>/dismiss", Forms.dismiss_key),
)


class _Id(IntegerConverter):
    # Databases and int() fail on longer ones instead of saying that there is no such row.
    regex = r"\d{1,18}"


class _Rest(BaseConverter):
    # All that follows, line feeds and slashes too: they are legal in names.
    regex = r"[\s\S]+"
    part_isolating = False


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
        actions: Actions,
        *,
        live: Live,
        public: PublicRoutes,
        api_gate: Gate,
        ui_gate: Gate,
        timeout_s: float,
    ) -> None:
        """`timeout_s`: how long a request may take once it has arrived whole."""
        self._reactor = reactor
        self._reporting = reporting
        self._dashboard = dashboard
        self._readers_dashboard = dashboard.for_readers()
        self._attention = attention
        self._forms = forms
        self._health = health
        self._actions = actions
        self._live = live
        self._public = public
        self._api_gate = api_gate
        self._ui_gate = ui_gate
        self._timeout_s = timeout_s
        self._static = static_files.load()

    def resource(self) -> IResource:
        app = Klein()
        app.url_map.converters["id"] = _Id
        app.url_map.converters["rest"] = _Rest

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
        for method, path, handler in self._actions.api():
            add(method, path, self._act(handler), strict_slashes=False)
        add("GET", "/ui/api/live", self._stream)
        for path, handler in PAGES:
            add("GET", path, self._page(handler, _root(path)))
        for path, handler in FORMS:
            add("POST", path, self._form(handler, _root(path)))
        add("GET", "/ui/static/<path:name>", self._static_file)
        for path, serve, show in self._public.routes():
            add("GET", path, self._without_login(serve, show), merge_slashes=False)
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

            return await self._guard(request, store, self._api_gate, refusal_as_json)

        return serve

    def _api_of_ui(self, handler: Handler) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def read() -> Answer:
                return await handler(self._dashboard, self._query(request), **ids)

            return await self._guard(request, read, self._ui_gate, refusal_as_json)

        return serve

    def _attend(self, handler: Handler, path: str) -> Callable[..., Awaitable[bytes]]:
        gate = self._api_gate if path.startswith("/api/") else self._ui_gate
        slow = handler is Attention.test_alerts
        timeout_s = ALERT_TEST_S if slow else self._timeout_s

        async def serve(request: Request, **ids: int) -> bytes:
            async def attend() -> Answer:
                return await handler(self._attention, _asked(request, gate), **ids)

            return await self._guard(request, attend, gate, refusal_as_json, timeout_s)

        return serve

    def _act(self, handler: Handler) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def act() -> Answer:
                return await handler(_asked(request, self._ui_gate), **ids)

            return await self._guard(request, act, self._ui_gate, refusal_as_json)

        return serve

    def _page(self, handler: Handler, root: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def render() -> Answer:
                visitor = self._ui_gate.visitor(request)
                return await handler(self._shown_to(visitor), self._query(request), **ids)

            return await self._guard(request, render, self._ui_gate, self._as_page(request, root))

        return serve

    def _form(self, handler: Handler, root: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def take() -> Answer:
                return await handler(self._forms, _asked(request, self._ui_gate), **ids)

            return await self._guard(request, take, self._ui_gate, self._as_page(request, root))

        return serve

    def _as_page(self, request: Request, root: str) -> Callable[[Refusal], Answer]:
        def show(refusal: Refusal) -> Answer:
            try:
                visitor = self._ui_gate.visitor(request)
            except Refusal:
                # Who may not come in.
                visitor = Visitor(can_change=False)
            return self._shown_to(visitor).error_page(refusal, root)

        return show

    def _shown_to(self, visitor: Visitor) -> Dashboard:
        return self._dashboard if visitor.can_change else self._readers_dashboard

    def _query(self, request: Request) -> Query:
        return Query(request.args or {}, self._ui_gate.base_url(request))

    async def _to_overview(self, request: Request) -> bytes:
        async def redirect() -> Answer:
            # Relative, so that it holds under a proxy's path too.
            return Answer(b"", code=302, headers={"Location": "ui/"})

        # Whoever is no friend is asked there: a proxy may ask for a login at /ui/ only.
        return await self._guard(request, redirect, None, refusal_as_json)

    def _without_login(self, serve: Serve, show: Show) -> Callable[..., Awaitable[bytes]]:
        async def serve_all(request: Request, **parts: str) -> bytes:
            async def answer() -> Answer:
                return await serve(request)

            return await self._guard(request, answer, None, show)

        return serve_all

    async def _stream(self, request: Request) -> bytes:
        """Serve a stream of events, which takes as long as somebody looks."""
        try:
            self._ui_gate.admit(request)
            over = self._live.open(request)
        except Refusal as refusal:
            return await self._guard(request, _raising(refusal), None, refusal_as_json)
        await over
        return b""

    async def _healthz(self, request: Request) -> bytes:
        return await self._guard(request, self._health.answer, None, refusal_as_json)

    async def _static_file(self, request: Request, name: str) -> bytes:
        async def read() -> Answer:
            found = self._static.get(name)
            if found is None:
                raise Refusal(404, f"there is no file {name!r}")
            return found

        return await self._guard(request, read, self._ui_gate, refusal_as_json)

    async def _no_route(self, request: Request, failure: Failure) -> bytes:
        error: Any = failure.value

        path = request.path.decode(errors="replace")

        async def refuse() -> Answer:
            if error.code == 405:
                methods = ", ".join(sorted(error.valid_methods or ()))
                method = request.method.decode(errors="replace")
                sentence = f"{path} does not take {method}: use {methods}"
                raise Refusal(405, sentence, {"Allow": methods})
            raise Refusal(404, f"there is nothing at {path}")

        gate: Gate | None = self._ui_gate
        if request.path.startswith(b"/api/"):
            gate = self._api_gate
        elif request.path.startswith(OPEN_PATHS):
            gate = None
        shown = self._as_page(request, _root(path)) if wants_page(request) else refusal_as_json
        return await self._guard(request, refuse, gate, shown)

    async def _guard(
        self,
        request: Request,
        route: Route,
        gate: Gate | None,
        show: Callable[[Refusal], Answer],
        timeout_s: float | None = None,
    ) -> bytes:
        async def guarded() -> Answer:
            if gate is not None:
                gate.admit(request)
            return await route()

        return await respond(request, guarded, self._reactor, timeout_s or self._timeout_s, show)


def _raising(refusal: Refusal) -> Route:
    async def refuse() -> Answer:
        raise refusal

    return refuse


def wants_page(request: Request) -> bool:
    """Say whether a person looks for a page of the dashboard, not a program for data."""
    path = request.path
    is_page = path.startswith(b"/ui/") and not path.startswith((b"/ui/api/", b"/ui/static/"))
    return is_page and "text/html" in (header(request, b"accept") or "")


def _root(path: str) -> str:
    """Return the way from a page's URL back to /ui/."""
    return "../" * (path.count("/") - 2) or "./"


def _asked(request: Request, gate: Gate) -> Asked:
    """`gate`: where the request came in."""
    assert request.content is not None
    check_encoding(request)
    visitor = gate.visitor(request)
    return Asked(
        request.content.read(),
        request.args or {},
        gate.peer_ip(request),
        visitor.user,
        visitor.is_remote,
    )
