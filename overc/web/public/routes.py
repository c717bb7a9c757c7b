"""The routes that need no login, as the site's table takes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import unquote_to_bytes

from twisted.web.server import Request

from overc.web import static_files
from overc.web.access import Refusal
from overc.web.answers import Answer, refusal_as_json
from overc.web.public.badges import Badges
from overc.web.public.status_pages import StatusPages

OPEN_PATHS = (b"/status/", b"/badge/")

STYLE = "public.css"
SCRIPT = "public.js"
ICON = "icon.svg"

Serve = Callable[[Request], Awaitable[Answer]]
Show = Callable[[Refusal], Answer]


class PublicRoutes:
    """Serves `/status/` and `/badge/`. Every method returns an Answer or raises a refusal."""

    def __init__(self, pages: StatusPages, badges: Badges) -> None:
        self._pages = pages
        self._badges = badges
        found = static_files.load()
        self._files = {name: found[name] for name in (STYLE, SCRIPT, ICON)}

    def routes(self) -> Iterator[tuple[str, Serve, Show]]:
        """Yield each path, what serves it, and what makes an answer of a refusal."""
        yield "/status/<rest:name>", self._status, self._pages.error_page
        yield "/badge/<rest:name>", self._badge, self._badges.error_badge

    async def _status(self, request: Request) -> Answer:
        name = _rest(request)
        if name in self._files:
            return self._files[name]
        if name.endswith(".json"):
            try:
                return await self._pages.json(name.removesuffix(".json"))
            except Refusal as refusal:
                return refusal_as_json(refusal)
        return await self._pages.page(name)

    async def _badge(self, request: Request) -> Answer:
        labels = (request.args or {}).get(b"label")
        text = labels[-1].decode(errors="replace") if labels else None
        return await self._badges.badge(_rest(request), text)


def _rest(request: Request) -> str:
    # As it was sent: routing loses empty parts.
    path: bytes = request.path
    return unquote_to_bytes(path).split(b"/", 2)[2].decode(errors="replace")
