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
from overc.web.words import count_words, listed, span_words

LATELY_S = 86400
"""What ended, or was given up, is shown for so long."""


@dataclass(frozen=True, slots=True)
class Glance:
    acks: Mapping[int, AckFacts] = field(default_factory=dict)
    """By the service."""
    keepers: Keepers = field(default_factory=Keepers)
    failing: Sequence[Failing] = ()
    """The alert plugins that fail now."""
    undelivered: Sequence[tuple[str, int]] = ()
    """How many alerts each alert plugin lost lately."""

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
        sentences.append(
            f"{count_words(lost, 'alert')} {were} not delivered in the last 24 hours, through"
            f" {through}."
        )
    if not sentences:
        return None
    plugins = {*failing, *(plugin for plugin, _ in glance.undelivered)}
    only = f" {shlex.quote(plugins.pop())}" if len(plugins) == 1 else ""
    return Trouble(" ".join(sentences), f"overcli alert-test{only}")
