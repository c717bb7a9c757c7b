"""What may be wrong with the spool."""

from __future__ import annotations


class SpoolError(Exception):
    """The file can't be used, now at least; `str()` is a sentence."""


class SpoolInUse(SpoolError):
    """Another process has the file."""


class SpoolCorrupt(SpoolError):
    """The file does not hold what was written."""
