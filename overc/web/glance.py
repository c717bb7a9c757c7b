"""What every page shows of the alerting: who takes care, what is kept back, what fails. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from overc.daemon.alerting.explaining import KeepsBack
from overc.daemon.alerting.keeping import Keepers
from overc.daemon.store.deliveries import Failing
from overc.daemon.store.explain import AckFacts
from overc.web.words import count_words, listed, span_words, title_words

LATELY_S = 86400
"""What ended, or was given up, is shown for so long."""

NAMED_MAX = 3
"""So many servers are named in a sentence."""


@dataclass(frozen=True, slots=True)
class Glance:
    acks: Mapping[int, AckFacts] = field(default_factory=dict)
    """By the service."""
    keepers: Keepers = field(default_factory=Keepers)
    failing: Sequence[Failing] = ()
    """The alert plugins that fail now."""
    undelivered: Sequence[tuple[str, int]] = ()
    """How many alerts each alert plugin lost lately."""
    lag_s: float = 0
    """By how much the watchdog is behind."""
    attention: int | None = None
    """How many problems there are of which nobody takes care; None: that is not known."""
    version: int | None = None
    """Of what the page shows: its stream tells what came after it."""
    told: Mapping[int, Sequence[str]] = field(default_factory=dict)
    """The alert plugins that were told of a problem that stands, by the service."""
    rejected: Sequence[str] = ()
    """The titles of the servers whose keys were refused lately, and nobody has dismissed them."""

    def silence_of(self, server: str, service: str) -> KeepsBack | None:
        """Return what keeps the alerts of a service back for the longest."""
        return max(self.keepers.of(server, service), key=lambda one: one.until_at, default=None)


class Trouble(NamedTuple):
    """That people may not hear of what happens."""

    sentences: str
    command: str
    """What to try when it is repaired."""


def trouble(glance: Glance, now_at: float) -> Trouble | None:
    """Return what stands above every page; None: alerts reach people."""
    sentences = []
    failing = [one.plugin for one in glance.failing]
    if len(failing) == 1:
        lasts = span_words(now_at - glance.failing[0].since_at)
        sentences.append(f"Alert plugin {failing[0]} has been failing for {lasts}.")
    elif failing:
        sentences.append(f"Alert plugins {listed(failing)} are failing.")
    lost = sum(count for _, count in glance.undelivered)
    if lost:
        were = "was" if lost == 1 else "were"
        through = listed([f"{plugin} ({count:,})" for plugin, count in glance.undelivered])
        if len(glance.undelivered) == 1:
            through = glance.undelivered[0][0]
        if failing == [through]:
            through = "it"
        sentences.append(
            f"{count_words(lost, 'alert')} {were} not delivered through {through}"
            " in the last 24 hours."
        )
    if not sentences:
        return None
    plugins = {*failing, *(plugin for plugin, _ in glance.undelivered)}
    only = f" {shlex.quote(plugins.pop())}" if len(plugins) == 1 else ""
    return Trouble(" ".join(sentences), f"overcli alert-test{only}")


def rejected_words(glance: Glance) -> str | None:
    """Return what is said of hosts whose key is refused; None: there are none."""
    titles = [title_words(title) for title in glance.rejected]
    if not titles:
        return None
    if len(titles) == 1:
        return f"{titles[0]} reports with another key than before and is refused."
    named = listed(titles) if len(titles) <= NAMED_MAX else f"{len(titles):,} servers"
    return f"{named} report with other keys than before and are refused."
