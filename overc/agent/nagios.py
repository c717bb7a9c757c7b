"""The Nagios plugin API: how a command ended and what it printed, read as a state. Pure."""

from __future__ import annotations

import codecs
import signal
from dataclasses import dataclass
from typing import Protocol

from overc.model import EXIT_STATES, State

EXPLAINED = {
    126: "exit status 126: the command, or one that it calls, can't be executed",
    127: "exit status 127: the command, or one that it calls, was not found",
}
"""What a shell means by these; scripts seldom do."""


class Ended(Protocol):
    """How a run ended, as `overc.process.Outcome` says it."""

    @property
    def output(self) -> bytes: ...
    @property
    def exit_code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def timed_out(self) -> bool: ...
    @property
    def flooded(self) -> bool: ...
    @property
    def truncated(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a plugin says of its service."""

    state: State
    info: str
    own_word: bool = True
    """The plugin came to its own end; else it was ended, or could not be run."""


def read(ended: Ended, timeout_s: float) -> Reading:
    """Return the state and the info of a run.

    The info is what was printed, without trailing white space. Where the exit status is not the
    plugin's word, the reason stands in a line before that.
    """
    reason = _reason(ended, timeout_s)
    state = State.UNK
    if reason is None and ended.exit_code is not None:
        state = EXIT_STATES.get(ended.exit_code, State.UNK)
    lines = [reason, _printed(ended)]
    if ended.truncated:
        lines.append(f"(output cut after {len(ended.output)} bytes)")
    return Reading(state, "\n".join(line for line in lines if line), reason is None)


def clean(text: str) -> str:
    """Return text without what no server stores.

    The server refuses a NUL, and a lone surrogate (Python's word for a byte of a file name or of
    the environment that is not UTF-8) can't be encoded. Either would cost the whole request.
    """
    without_nul = text.replace("\0", "")
    return without_nul.encode("utf-8", "ignore").decode("utf-8")


def _reason(ended: Ended, timeout_s: float) -> str | None:
    if ended.error is not None:
        return clean(ended.error)
    if ended.timed_out:
        return f"timed out after {timeout_s:g} s"
    if ended.flooded:
        return "killed: it printed without an end"
    if ended.signal is not None:
        return f"killed by {_signal_name(ended.signal)}"
    return EXPLAINED.get(ended.exit_code or 0)


def _printed(ended: Ended) -> str:
    # Where the output is cut, it may be cut inside a character; that part of one is left out.
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return clean(decoder.decode(ended.output, final=not ended.truncated)).rstrip()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
