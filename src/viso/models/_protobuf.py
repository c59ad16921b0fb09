"""Reads the fields of a protobuf message, without its schema and without protobuf.

The reader has what a check of an ONNX file needs: numbers, and slices of the bytes that are not
copied. The writer has what a card needs: fields of bytes.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["MOST_FIELDS", "Reader", "Value", "bytes_field"]

Value = int | memoryview
"""A number, or the bytes of a text, of a message or of packed numbers."""

MOST_FIELDS = 2_000_000
_LONGEST_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Reader:
    """Splits messages into fields, and counts the fields to limit the work.

    Examples
    --------
    >>> list(Reader().fields(memoryview(b"\\x08\\x09")))
    [(1, 9)]
    """

    def __init__(self) -> None:
        self._n_fields = 0

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        """Yield the number and the value of each field of a message.

        Parameters
        ----------
        message : memoryview of bytes

        Raises
        ------
        ValueError
            If the bytes are not a message, or this reader has read more than `MOST_FIELDS` fields.
        """
        at, end = 0, len(message)
        while at < end:
            self._n_fields += 1
            if self._n_fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS} fields")
            key, at = _varint(message, at)
            number, kind = key >> 3, key & 7
            if not 0 < number < 1 << 29:
                raise ValueError(f"no field has the number {number}")
            value: Value
            if kind == _VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            if kind == _BYTES:
                size, at = _varint(message, at)
            elif kind in (_FIXED32, _FIXED64):
                size = 4 if kind == _FIXED32 else 8
            else:
                raise ValueError(f"a field of kind {kind}")
            if size > end - at:
                raise ValueError(f"a field of {size} bytes in {end - at}")
            yield number, message[at : at + size]
            at += size

    def numbers(self, value: Value) -> Iterator[int]:
        """Yield the numbers of a repeated int64 field, packed or alone.

        Raises
        ------
        ValueError
            If the bytes are not numbers, or the reader exceeds `MOST_FIELDS`.
        """
        if isinstance(value, int):
            yield _signed(value)
            return
        at = 0
        while at < len(value):
            self._n_fields += 1
            if self._n_fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS} numbers")
            number, at = _varint(value, at)
            yield _signed(number)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return a number of 64 bits and the position after it."""
    value = 0
    for place, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise ValueError("a number without an end")


def bytes_field(number: int, content: bytes) -> bytes:
    """Return a field of bytes, of a text or of a message, as it stands in a message.

    Examples
    --------
    >>> bytes_field(1, b"ab")
    b'\\n\\x02ab'
    """
    return _as_varint(number << 3 | _BYTES) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
