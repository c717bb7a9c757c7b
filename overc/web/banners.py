"""What stands above every page while something is wrong with the monitoring itself. Pure."""

from __future__ import annotations

from typing import NamedTuple

from overc.web.glance import Glance, rejected_words, trouble
from overc.web.words import span_words, undirected

LAG_SHOWN_S = 5


class Banner(NamedTuple):
    """A sentence that says what is wrong and what to do, and where to look."""

    kind: str
    """`lag`, `failing`, `undelivered` or `rejected`."""
    text: str
    href: str = ""
    """Relative to /ui/; empty: there is no page about it."""
    label: str = ""
    """What the link says."""


def banners(glance: Glance, lag_s: float, now_at: float) -> list[Banner]:
    """Return what people must know before they trust a page; nothing: all is well."""
    found = []
    if lag_s > LAG_SHOWN_S:
        found.append(
            Banner(
                "lag",
                f"The watchdog is {span_words(lag_s)} behind. Services that have become late may"
                " not show it yet. Look at the server's log and at the load of its machine.",
            )
        )
    wrong = trouble(glance, now_at)
    if wrong is not None:
        kind = "failing" if glance.failing else "undelivered"
        text = f"{wrong.sentences} Repaired? Send a test: {wrong.command}"
        found.append(Banner(kind, undirected(text), "alerts?hours=168&told=lost", "See which"))
    rejected = rejected_words(glance)
    if rejected is not None:
        text = undirected(rejected)
        found.append(Banner("rejected", text, "settings#rejected", "Look at their keys"))
    return found
