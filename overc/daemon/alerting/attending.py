"""Acknowledge and silence, as functions that run inside one transaction."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterable

from overc.daemon.alerting.raising import as_silence, hush, take_care
from overc.daemon.patterns import Patterns
from overc.daemon.store import silences
from overc.daemon.store.engine import Transaction
from overc.model import State
from overc.wording import span

LONGEST_S = 366 * 86400.0
WORDS_MAX = 500
PATTERNS_MAX = 2000


def acknowledge(
    tx: Transaction, service_id: int, author: str, reason: str, now_at: float
) -> str | None:
    """Keep that somebody takes care of a service's problems; return a refusal, or None.

    Nobody is reminded any more, and what is not due yet, because its alert plugin speaks after a
    delay, is not sent. Raises ValueError with a sentence for words that can't be kept.
    """
    author, reason = _words("an author", author), _words("a reason", reason)
    service = silences.find_service(tx, service_id)
    if service is None:
        return f"There is no service {service_id}: it may have been deleted, look for its new id"
    if not service.timed_out and service.state in (None, State.OK.word):
        return f'Nothing is wrong with "{service.name}": only a problem can be acknowledged'
    silences.acknowledge(tx, service_id, author, reason, now_at)
    take_care(tx, service_id, now_at)
    return None


def clear_acks(tx: Transaction, service_ids: Iterable[int]) -> None:
    """Forget the acknowledgements of services that are well again."""
    silences.clear_acks(tx, service_ids)


def silence(
    tx: Transaction,
    servers: str,
    services: str,
    author: str,
    reason: str,
    starts_at: float,
    ends_at: float,
    now_at: float,
) -> int:
    """Keep the alerts of services back for a time; return the silence's id.

    `servers` and `services` are lists of patterns, see `overc.daemon.patterns` and, for a name,
    `exactly`. Raises ValueError with a sentence.
    """
    author, reason = _words("an author", author), _words("a reason", reason)
    servers, services = _patterns("servers", servers), _patterns("services", services)
    if not (math.isfinite(starts_at) and math.isfinite(ends_at)):
        raise ValueError("a silence needs a time when it starts and a time when it ends")
    starts_at = max(starts_at, now_at)
    if ends_at <= starts_at:
        raise ValueError("the silence would end before it starts: give a later end")
    if ends_at - starts_at > LONGEST_S:
        raise ValueError(
            f"a silence lasts {span(LONGEST_S)} at most: for what is not to be sent at all,"
            " change the [alert:...] section"
        )
    id_ = silences.add(tx, servers, services, author, reason, starts_at, ends_at, now_at)
    if starts_at <= now_at:
        hush(
            tx, [as_silence(row) for row in silences.in_force(tx, now_at) if row.id == id_], now_at
        )
    return id_


def end_silence(tx: Transaction, silence_id: int, now_at: float) -> str | None:
    """End a silence now, or take it back before it starts; return a refusal, or None."""
    found = silences.find(tx, silence_id)
    if found is None:
        return f"There is no silence {silence_id}: look at the list of silences for its number"
    if found.ends_at <= now_at:
        return f"Silence {silence_id} is over already"
    silences.end(tx, silence_id, min(found.starts_at, now_at), now_at)
    return None


def change_silence(tx: Transaction, silence_id: int, ends_at: float, now_at: float) -> str | None:
    """Let a silence end at another time, later or sooner; return a refusal, or None.

    Raises ValueError with a sentence for a time at which no silence can end.
    """
    found = silences.find(tx, silence_id)
    if found is None:
        return f"There is no silence {silence_id}: look at the list of silences for its number"
    if found.ends_at <= now_at:
        return f"Silence {silence_id} is over already: begin another one"
    if not ends_at > max(found.starts_at, now_at):
        raise ValueError("the silence would be over by then: give a later end, or end it now")
    if ends_at - found.starts_at > LONGEST_S:
        raise ValueError(f"a silence lasts {span(LONGEST_S)} at most: give a sooner end")
    silences.change_end(tx, silence_id, ends_at)
    return None


def parse_patterns(servers: str, services: str) -> tuple[Patterns, Patterns]:
    """Return the patterns of a silence. Raises ValueError with a sentence."""
    texts = _patterns("servers", servers), _patterns("services", services)
    return Patterns(texts[0]), Patterns(texts[1])


def exactly(name: str) -> str:
    """Return a pattern for one name, whatever is in it.

    What no pattern can say is said by `?`: a comma, white space at an end, a `!` at the beginning.
    """
    stripped = name.strip()
    left = len(name) - len(name.lstrip())
    right = len(name) - left - len(stripped)
    pattern = "?" * left + glob.escape(stripped).replace(",", "?") + "?" * right
    return "?" + pattern[1:] if pattern.startswith("!") else pattern


def _words(what: str, text: str) -> str:
    """Return a text in one line."""
    line = " ".join(text.split())
    if not line:
        raise ValueError(f"{what} is missing: say who you are and why, others will read it")
    if len(line) > WORDS_MAX:
        raise ValueError(f"{what} has {WORDS_MAX} characters at most, this one has {len(line)}")
    return line


def _patterns(what: str, text: str) -> str:
    # Before it is put together: what is made of a list of a megabyte takes a while.
    if len(text) > PATTERNS_MAX:
        raise _too_long(what)
    try:
        patterns = Patterns(text)
    except ValueError as e:
        raise ValueError(f"{what}: {e}") from None
    # With a space behind each comma it may have got longer.
    if len(patterns.text) > PATTERNS_MAX:
        raise _too_long(what)
    return patterns.text


def _too_long(what: str) -> ValueError:
    return ValueError(f"{what}: expected {PATTERNS_MAX} characters at most; use a pattern")
