"""The routes, joined: the reporting API, the dashboard, its static files; who may use them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Protocol

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import IntegerConverter

from overc.daemon.settings import Credentials
from overc.model import Report
from overc.web import reports
from overc.web.access import is_allowed, is_cross_site
from overc.web.answers import Answer, Refusal, as_json, refusal_as_json, respond
from overc.web.dashboard import Dashboard, Query

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

Route = Callable[[], Awaitable[Answer]]
Handler = Callable[..., Awaitable[Answer]]

DASHBOARD_API: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/ui/api/status/", Dashboard.status),
    ("GET", "/ui/api/status/server/<id:server_id>", Dashboard.status),
    ("GET", "/ui/api/status/service/<id:service_id>", Dashboard.status),
    ("GET", "/ui/api/status/service/<id:service_id>/states", Dashboard.states),
    ("GET", "/ui/api/status/alerts/", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/server/<id:server_id>", Dashboard.alerts),
    ("GET", "/ui/api/status/alerts/service/<id:service_id>", Dashboard.alerts),
    ("DELETE", "/ui/api/item/server/<id:server_id>", Dashboard.delete),
    ("DELETE", "/ui/api/item/service/<id:service_id>", Dashboard.delete),
)

PAGES: tuple[tuple[str, Handler], ...] = (
    ("/ui/", Dashboard.overview_page),
    ("/ui/services", Dashboard.services_page),
    ("/ui/server/<id:server_id>", Dashboard.server_page),
    ("/ui/service/<id:service_id>", Dashboard.service_page),
    ("/ui/alerts", Dashboard.alerts_page),
)


class _Id(IntegerConverter):
    # Databases and int() fail on longer ones instead of saying that there is no such row.
    regex = r"\d{1,18}"


class Intake(Protocol):
    """What the reporting API needs of `overc.daemon.intake.Intake`."""

    async def submit(self, report: Report) -> None: ...


class Routes:
    """The tables above as one resource, with access checked before anything else."""

    def __init__(
        self,
        reactor: Any,
        intake: Intake,
        dashboard: Dashboard,
        *,
        api_auth: Credentials | None,
        ui_auth: Credentials | None,
        timeout_s: float,
    ) -> None:
        """`timeout_s`: how long a request may take once it has arrived whole."""
        self._reactor = reactor
        self._intake = intake
        self._dashboard = dashboard
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

        for path, (decode, reply) in reports.DECODERS.items():
            add("POST", path, self._reporting(decode, reply))
        for method, path, handler in DASHBOARD_API:
            add(method, path, self._api_of_ui(handler), strict_slashes=False)
        for path, handler in PAGES:
            add("GET", path, self._page(handler, _root(path)))
        add("GET", "/ui/static/<string:name>", self._static_file)
        add("GET", "/", self._to_overview)
        add("GET", "/ui", self._to_overview)
        no_route: Any = self._no_route  # Klein's annotation knows synchronous handlers only
        app.handle_errors(HTTPException)(no_route)
        return app.resource()

    def _reporting(
        self, decode: Callable[[bytes, str], Report], reply: dict[str, int]
    ) -> Callable[[Request], Awaitable[bytes]]:
        async def serve(request: Request) -> bytes:
            async def store() -> Answer:
                _refuse_encoding(request)
                assert request.content is not None
                await self._intake.submit(decode(request.content.read(), _peer_ip(request)))
                return as_json(reply)

            return await self._guard(request, store, self._api_auth, refusal_as_json)

        return serve

    def _api_of_ui(self, handler: Handler) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def read() -> Answer:
                return await handler(self._dashboard, _query(request), **ids)

            return await self._guard(request, read, self._ui_auth, refusal_as_json)

        return serve

    def _page(self, handler: Handler, root: str) -> Callable[..., Awaitable[bytes]]:
        async def serve(request: Request, **ids: int) -> bytes:
            async def render() -> Answer:
                return await handler(self._dashboard, _query(request), **ids)

            def show(refusal: Refusal) -> Answer:
                return self._dashboard.error_page(refusal, root)

            return await self._guard(request, render, self._ui_auth, show)

        return serve

    async def _to_overview(self, request: Request) -> bytes:
        async def redirect() -> Answer:
            # Relative, so that it holds under a proxy's path too.
            return Answer(b"", code=302, headers={"Location": "ui/"})

        return await self._guard(request, redirect, self._ui_auth, refusal_as_json)

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
    ) -> bytes:
        async def guarded() -> Answer:
            if not is_allowed(_header(request, "authorization"), wanted):
                challenge = {"WWW-Authenticate": 'Basic realm="OverC", charset="UTF-8"'}
                raise Refusal(401, "give the user and the password for this part", challenge)
            if request.method not in (b"GET", b"HEAD") and is_cross_site(
                _header(request, "sec-fetch-site"),
                _header(request, "origin"),
                _header(request, "host"),
            ):
                raise Refusal(403, "this request came from another site's page")
            return await route()

        return await respond(request, guarded, self._reactor, self._timeout_s, show)


def _header(request: Request, name: str) -> str | None:
    # Asked for text, Twisted raises for a header that is not UTF-8.
    value = request.getHeader(name.encode())
    return None if value is None else value.decode(errors="replace")


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


def _refuse_encoding(request: Request) -> None:
    encoding = _header(request, "content-encoding")
    if encoding not in (None, "", "identity"):
        raise Refusal(
            415, f"Content-Encoding {encoding!r:.40} is not taken: send the body as it is"
        )


def _peer_ip(request: Request) -> str:
    # A Unix socket's peer has no host.
    return getattr(request.getClientAddress(), "host", "")


def _query(request: Request) -> Query:
    scheme = "https" if request.isSecure() else "http"
    host = _header(request, "host") or "127.0.0.1"
    return Query(request.args or {}, f"{scheme}://{host}/")
