from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_diag.logs import wire
from tests.logs.writers import field, varint

NUMBERS = st.integers(1, 2**20)


@given(st.lists(st.tuples(NUMBERS, st.one_of(st.integers(0, 2**64 - 1), st.binary(max_size=300)))))
def test_what_was_written_is_read(content: list[tuple[int, int | bytes]]) -> None:
    assert list(wire.fields(b"".join(field(n, c) for n, c in content))) == content


@given(st.integers(-(2**63), 2**63 - 1))
def test_negative_numbers(number: int) -> None:
    ((_, content),) = wire.fields(varint(1 << 3) + varint(number))
    assert isinstance(content, int) and wire.signed(content) == number


@given(st.binary(max_size=60))
def test_anything_else_is_a_value_error_and_nothing_worse(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(wire.fields(data))


def test_a_torn_message_is_refused() -> None:
    whole = field(1, b"abcdef")
    with pytest.raises(ValueError, match="torn"):
        list(wire.fields(whole[:-1]))
    with pytest.raises(ValueError, match="wire type 3"):
        list(wire.fields(bytes([1 << 3 | 3])))


@given(st.integers(0, 2**70))
def test_a_number_too_wide_for_its_type_is_a_value_error(content: int) -> None:
    for read, bits in ((wire.float32, 32), (wire.float64, 64)):
        with contextlib.nullcontext() if content < 2**bits else pytest.raises(ValueError, match="more than"):
            read(content)
