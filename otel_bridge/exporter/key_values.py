"""Attributes as OTLP bytes.

Nearly all attributes are short texts under names that come with every record. On the wire such a one is a few
bytes that depend on the name and on the text's length alone, then the text. So these bytes are made once; the
rest is one look-up an attribute, a quarter of what filling and serialising a message takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from opentelemetry.proto.common.v1 import common_pb2

from otel_bridge.errors import BridgeError

if TYPE_CHECKING:
    from otel_bridge.signals import Attributes, AttributeValue

# Receivers stop at 100 nested messages (upb, prost, C++). A span's attribute stands at 6, and each object or
# list inside it adds at most 3.
_MOST_DEPTH: Final = 30

# KeyValue.key, KeyValue.value and AnyValue.string_value: field number and wire type, see
# opentelemetry/proto/common/v1/common.proto.
_KEY: Final = b"\x0a"
_VALUE: Final = b"\x12"
_STRING: Final = b"\x0a"
_SHORT: Final = 120  # bytes of a text whose AnyValue's length still takes one byte
_MOST_NAMES: Final = 512


class EncodingError(BridgeError):
    """One record can't be written as OTLP. Says why, and holds nothing of the record."""


def varint(number: int) -> bytes:
    """A length as protobuf writes it."""
    if number < 1 << 7:
        return bytes((number,))
    if number < 1 << 14:  # nearly every record
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number >= 1 << 7:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


class KeyValues:
    """Writes attributes as a repeated field of ``KeyValue``.

    Args:
        tag: The field's number and wire type.
    """

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        # By name: what stands before a text of 0, 1, 2 … bytes, where that was needed already.
        self._heads: dict[str, list[bytes | None]] = {}

    def encode(self, attributes: Attributes) -> bytes:
        """All of them, in their order.

        Raises:
            EncodingError: One is nested too deep, or of a type that OTLP does not have.
            ValueError: A text that is no UTF-8, or a number beyond its 64 bits.
            TypeError: A name that is no text.
        """
        parts: list[bytes] = []
        known = self._heads.get
        for name, value in attributes.items():
            if type(value) is str:
                text = value.encode()
                size = len(text)
                if size < _SHORT:
                    heads = known(name)
                    head = None if heads is None else heads[size]
                    parts += (self._head(name, size) if head is None else head, text)
                    continue
            pair = _pair(name, value)
            parts += (self._tag, varint(len(pair)), pair)
        return b"".join(parts)

    def _head(self, name: str, size: int) -> bytes:
        heads = self._heads.get(name)
        if heads is None:
            if len(self._heads) >= _MOST_NAMES:
                self._heads.clear()  # names are made of records' keys too: what is remembered is bounded
            heads = self._heads[name] = [None] * _SHORT
        key = name.encode()
        # An empty text is protobuf's default, which is left out; but not in AnyValue, a choice of types.
        named = b"%b%b%b" % (_KEY, varint(len(key)), key) if key else b""
        inner = b"%b%b%b%b%b" % (named, _VALUE, varint(size + 2), _STRING, varint(size))
        head = heads[size] = b"%b%b%b" % (self._tag, varint(len(inner) + size), inner)
        return head


def _pair(name: str, value: AttributeValue) -> bytes:
    pair = common_pb2.KeyValue(key=name)
    _fill(pair.value, value, 1)
    return pair.SerializeToString()


def _fill(target: common_pb2.AnyValue, value: AttributeValue, depth: int) -> None:  # noqa: C901 - a case a type
    if depth > _MOST_DEPTH:
        raise EncodingError(f"an attribute is nested more than {_MOST_DEPTH} deep")
    match value:
        case None:
            target.SetInParent()
        case bool():
            target.bool_value = value
        case str():
            target.string_value = value
        case int():
            target.int_value = value
        case float():
            target.double_value = value
        case bytes():
            target.bytes_value = value
        case Mapping():
            target.kvlist_value.SetInParent()
            for key, inner in value.items():
                pair = target.kvlist_value.values.add()
                pair.key = key
                _fill(pair.value, inner, depth + 1)
        case Sequence():
            target.array_value.SetInParent()
            for inner in value:
                _fill(target.array_value.values.add(), inner, depth + 1)
        case _:
            raise EncodingError("an attribute holds something that OTLP has no type for")
