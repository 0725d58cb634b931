"""Protobuf's wire format, as much as it takes to put a large message together without copying its weights.

The library serialises into a buffer that it grows by copying, which for megabytes of weights takes longer than
everything else; the parts are already bytes, so they only need their tags and lengths.
Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Sequence

_LENGTH_DELIMITED = 2


def field(number: int, parts: Sequence[bytes]) -> list[bytes]:
    """A length-delimited field (bytes, string or message), in parts: its head, then its content as given."""
    return [_varint(number << 3 | _LENGTH_DELIMITED) + _varint(sum(map(len, parts))), *parts]


def _varint(value: int) -> bytes:
    """An unsigned number in groups of seven bits, lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
