"""What can go wrong in the store. Driver exceptions stop here."""

from __future__ import annotations


class StorageError(Exception):
    """The database could not do what it was asked; the sentence says what and why.

    Nothing of the transaction is stored. The same may work later.
    """


class StorageRefused(StorageError):
    """The database can't be used as it is; trying again does not help."""


class Stale(Exception):
    """What a transaction took for granted does not hold any more; run again, it reads it anew."""
