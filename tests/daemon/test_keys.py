from __future__ import annotations

from base64 import b64decode, b64encode

import pytest

from overc.daemon import keys
from overc.daemon.keys import ProvedKeys, derive, verify


@pytest.mark.parametrize("key", ["1234", "", "ключ 🔑", "k" * 10_000, "with $ and \n"])
def test_a_key_fits_its_own_derivation_only(key: str) -> None:
    derivation = derive(key)
    assert verify(key, derivation)
    assert not verify(key + "x", derivation)
    assert not verify(key.upper() + " ", derivation)


def test_every_byte_of_the_hash_counts() -> None:
    front, _, digest = derive("key").rpartition("$")
    hashed = b64decode(digest)
    for place in range(len(hashed)):
        other = hashed[:place] + bytes([hashed[place] ^ 1]) + hashed[place + 1 :]
        assert not verify("key", f"{front}${b64encode(other).decode()}")
    assert not verify("key", f"{front}${b64encode(hashed[:16]).decode()}")


def test_a_derivation_names_how_it_was_made_but_not_the_key() -> None:
    derivation = derive("hunter2")
    kind, n, r, p, salt, digest = derivation.split("$")
    assert (kind, n, r, p) == ("scrypt", "4096", "8", "1")
    assert len(salt) == 24
    assert len(digest) == 44
    assert "hunter2" not in derivation


def test_equal_keys_have_different_derivations() -> None:
    assert derive("same") != derive("same")


def test_the_costs_are_read_from_the_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_N", 2)
    cheap = derive("key")
    monkeypatch.undo()
    assert cheap.startswith("scrypt$2$8$1$")
    assert verify("key", cheap)


def test_a_derivation_of_another_kind() -> None:
    with pytest.raises(ValueError, match="a key is stored as 'argon2', which this version can't"):
        verify("key", "argon2$1$2$3$c2FsdA==$aGFzaA==")


def test_what_was_proved_is_recalled_for_that_name_and_key_only() -> None:
    proved = ProvedKeys()
    assert proved.recall("web1", "key") is None
    proved.remember("web1", "key", "derivation")
    assert proved.recall("web1", "key") == "derivation"
    assert proved.recall("web1", "other") is None
    assert proved.recall("web2", "key") is None
    proved.remember("web1", "other", "newer")
    assert proved.recall("web1", "key") is None
    assert proved.recall("web1", "other") == "newer"


def test_forget() -> None:
    proved = ProvedKeys()
    proved.remember("web1", "key", "derivation")
    proved.remember("web2", "key", "derivation")
    proved.forget("web1")
    proved.forget("never known")
    assert proved.recall("web1", "key") is None
    assert proved.recall("web2", "key") == "derivation"


def test_no_key_stands_in_memory_as_it_is() -> None:
    proved = ProvedKeys()
    proved.remember("web1", "hunter2", "derivation")
    assert "hunter2" not in repr(vars(proved))
    # Another process digests the same key to something else.
    digest = proved._digest("hunter2")
    assert digest != ProvedKeys()._digest("hunter2")
