"""What lies in a shared store is believed only if it was sealed for that very key."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from mizan_core.seal import seal, sealing_key, unseal

SEALING = sealing_key("s" * 32)


@given(st.binary(max_size=50))
def test_what_was_sealed_for_a_key_opens_for_that_key_alone(data: bytes):
    sealed = seal(SEALING, "ab", data)
    assert unseal(SEALING, "ab", sealed) == data
    assert unseal(SEALING, "a", sealed) is None
    assert unseal(sealing_key("t" * 32), "ab", sealed) is None


@given(st.binary(max_size=20), st.data())
def test_no_changed_cut_or_extended_seal_holds(payload: bytes, data: st.DataObject):
    sealed = seal(SEALING, "k", payload)
    position = data.draw(st.integers(0, len(sealed) - 1))
    flipped = bytearray(sealed)
    flipped[position] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(flipped), sealed[:position], sealed + b"x", sealed[position + 1 :], b""):
        assert unseal(SEALING, "k", changed) is None


def test_the_sealing_key_is_not_the_secret():
    assert SEALING != b"s" * 32


@given(st.binary(min_size=32, max_size=64), st.binary(max_size=200))
def test_the_seal_is_an_hmac_of_key_and_data(sealing: bytes, data: bytes):
    assert seal(sealing, "ab", data) == hmac.digest(sealing, b"ab\0" + data, "sha256") + data
