"""The routes of what people do: change, delete, accept, and how the server is set up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from overc.web.about import About
from overc.web.answers import Answer
from overc.web.items import Items
from overc.web.rejected import RejectedKeys

Handler = Callable[..., Awaitable[Answer]]
"""Takes what was asked, and the ids in the path."""


class Actions(NamedTuple):
    items: Items
    rejected: RejectedKeys
    about: About

    def api(self) -> list[tuple[str, str, Handler]]:
        items, rejected = self.items, self.rejected
        return [
            ("PATCH", "/ui/api/item/server/<id:server_id>", items.rename),
            ("PATCH", "/ui/api/item/service/<id:service_id>", items.rename),
            ("DELETE", "/ui/api/item/server/<id:server_id>", items.delete),
            ("DELETE", "/ui/api/item/service/<id:service_id>", items.delete),
            ("GET", "/ui/api/item/server/<id:server_id>/extent", items.extent),
            ("GET", "/ui/api/item/service/<id:service_id>/extent", items.extent),
            ("POST", "/ui/api/forget", items.forget),
            ("GET", "/ui/api/rejected-keys", rejected.tell),
            ("POST", "/ui/api/rejected-keys/<id:rejected_id>/accept", rejected.accept),
            ("DELETE", "/ui/api/rejected-keys/<id:rejected_id>", rejected.dismiss),
            ("GET", "/ui/api/settings", self.about.answer),
        ]
