"""Bytes of a serial port become text, whatever they are and wherever they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.telemetry.serial import decode


def test_control_characters_are_kept() -> None:
    assert decode(b"\x1b[31mred\x1b[0m\r\n\x07") == ("\x1b[31mred\x1b[0m\r\n\x07", 15)


def test_nul_is_replaced_because_postgresql_stores_none() -> None:
    assert decode(b"a\0b") == ("a\ufffdb", 3)


def test_what_is_no_utf8_is_replaced_and_consumed() -> None:
    assert decode(b"a\xff\xfeb") == ("a\ufffd\ufffdb", 4)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_character_cut_in_two_waits_for_its_end(cut: int) -> None:
    raw = "x😀".encode()
    text, used = decode(raw[: 1 + cut])
    assert (text, used) == ("x", 1)
    assert decode(raw[used:]) == ("😀", 4)


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.integers(0, 400))
def test_text_read_in_pieces_is_the_text(text: str, cut: int) -> None:
    raw = text.encode()
    first, used = decode(raw[:cut])
    second, _used = decode(raw[used:])
    assert first + second == text


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_but_for_a_short_end(raw: bytes) -> None:
    text, used = decode(raw)
    assert len(raw) - used <= 3
    text.encode()
