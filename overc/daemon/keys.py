"""Server keys: derived for storage, remembered for speed.

Note [Keys]
~~~~~~~~~~~
A key is stored only as an scrypt derivation with a salt of its own, so a copy of the database gives
no key away. A derivation costs about ten milliseconds on purpose, so each process remembers, keyed
with a secret that never leaves its memory, which key it has already seen proved against which
derivation. What is compared is always bytes of a hash, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import b64decode, b64encode

_N, _R, _P = 2**12, 8, 1
_SALT_BYTES = 16


def derive(key: str) -> str:
    """Return what is stored for a key: `scrypt$n$r$p$salt$hash`. Takes about 10 ms."""
    salt = os.urandom(_SALT_BYTES)
    digest = _scrypt(key, salt, _N, _R, _P)
    return f"scrypt${_N}${_R}${_P}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def verify(key: str, derivation: str) -> bool:
    """Say whether a key is the one that a derivation was made of. Takes about 10 ms.

    Raises ValueError for a derivation of another kind.
    """
    return same(derive_like(derivation, key), derivation)


def derive_like(derivation: str, key: str) -> str:
    """Return what would be stored for a key, with another derivation's salt. Takes about 10 ms.

    It is `same` as that one only if it was made of the same key. Raises ValueError for a derivation
    of another kind.
    """
    kind, n, r, p, salt, _ = derivation.split("$")
    if kind != "scrypt":
        raise ValueError(f"a key is stored as {kind!r}, which this version can't read")
    digest = _scrypt(key, b64decode(salt), int(n), int(r), int(p))
    return f"{kind}${n}${r}${p}${salt}${b64encode(digest).decode()}"


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _scrypt(key: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(key.encode(), salt=salt, n=n, r=r, p=p, dklen=32)


class ProvedKeys:
    """Remembers which key was proved for a name. Not for use from several threads at once."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._proved: dict[str, tuple[bytes, str]] = {}

    def recall(self, name: str, key: str) -> str | None:
        """Return the derivation that this key was proved against, or None."""
        known = self._proved.get(name)
        if known is None or not hmac.compare_digest(known[0], self._digest(key)):
            return None
        return known[1]

    def remember(self, name: str, key: str, derivation: str) -> None:
        self._proved[name] = (self._digest(key), derivation)

    def forget(self, name: str) -> None:
        self._proved.pop(name, None)

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(), key=self._secret, digest_size=32).digest()
