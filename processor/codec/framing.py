"""What the bytes of an event are where they are not JSON: a producer's framing, a compression, another encoding.

A dead letter that names it saves its reader a hex dump. Only bytes that no JSON text has are recognized, so this table
never refuses a value that could be read. Sources: the wire formats of Confluent, Apicurio and AWS Glue, and the magic
numbers of the formats themselves.
"""

from __future__ import annotations

import re
from typing import Final

_SIGNATURES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xef\xbb\xbf", "a byte-order mark (EF BB BF) before the text; write UTF-8 without it"),
    (b"\xff\xfe\x00\x00", "UTF-32 text; write UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32 text; write UTF-8"),
    (b"\xff\xfe", "UTF-16 text; write UTF-8"),
    (b"\xfe\xff", "UTF-16 text; write UTF-8"),
    (b"\x1f\x8b", "gzip data; leave compression to Kafka (compression.type)"),
    (b"\x28\xb5\x2f\xfd", "zstd data; leave compression to Kafka (compression.type)"),
    (b"\x04\x22\x4d\x18", "LZ4 data; leave compression to Kafka (compression.type)"),
    (b"\x82SNAPPY\x00", "Snappy data; leave compression to Kafka (compression.type)"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy data; leave compression to Kafka (compression.type)"),
    (b"BZh", "bzip2 data; leave compression to Kafka (compression.type)"),
    (b"\xfd7zXZ\x00", "xz data; leave compression to Kafka (compression.type)"),
    (b"\x78\x01", "zlib data; leave compression to Kafka (compression.type)"),
    (b"\x78\x9c", "zlib data; leave compression to Kafka (compression.type)"),
    (b"\x78\xda", "zlib data; leave compression to Kafka (compression.type)"),
    (b"\x03\x00", "the framing of the AWS Glue schema registry; write bare JSON"),
    (b"\x03\x05", "the framing of the AWS Glue schema registry; write bare JSON"),
    (b"\xc3\x01", "Avro (single-object encoding); write JSON"),
    (b"Obj\x01", "an Avro file; write JSON"),
    (b"PAR1", "a Parquet file; write JSON"),
    (b"ARROW1", "an Arrow file; write JSON"),
    (b"\xac\xed\x00\x05", "a serialized Java object; write JSON"),
    (b"b'", "Python's way to print bytes (b'...'); write the bytes themselves"),
    (b'b"', "Python's way to print bytes (b'...'); write the bytes themselves"),
    (b"{'", "Python's way to print a dict ({'...'}); use json.dumps"),
    (b"<", "XML or HTML; write JSON"),
    (b"---\n", "YAML; write JSON"),
)
_OPENING: Final = b'{["'
_BASE64_JSON: Final = re.compile(rb"(?:eyJ|ew|W3|W1)[A-Za-z0-9+/_-]{8,}={0,2}\s*", re.ASCII)  # of '{"', '{ ', '[{', '['
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # JSON has these inside of no text and beside none
_LOOKED_AT: Final = 64  # bytes; and as many of Protobuf's fields
_SHOWN: Final = 8  # bytes


def foreign(value: bytes) -> str | None:
    """What a value that is no JSON is, in a few words of ASCII, or None where that is not known. Looks at its beginning
    alone, but for base64, which is read once."""
    if wide := _two_or_four_bytes(value):
        return wide
    if value[:1] == b"\x00" and len(value) > 5 and (registered := _registered(value)):
        return registered
    for signature, name in _SIGNATURES:
        if value.startswith(signature):
            return name
    if _BASE64_JSON.fullmatch(value):
        return "JSON in base64; write it as it is"
    if packed := _packed(value):
        return packed
    if value.lstrip(b" \t\r\n")[:1] in (b"{", b"[", b'"') or not _CONTROL.search(value[:_LOOKED_AT]):
        return None
    kind = "like Protobuf" if _like_protobuf(value) else "no known framing"
    return f"binary data ({kind}), which begins with {value[:_SHOWN].hex(' ').upper()}; write JSON"


def _two_or_four_bytes(value: bytes) -> str | None:
    """UTF-16 and UTF-32 without a byte-order mark: zeros around the first two signs of a JSON text."""
    head = value[:8]
    for bytes_each, name in ((4, "UTF-32"), (2, "UTF-16")):
        zeros = bytes(bytes_each - 1)
        for place in (0, bytes_each - 1):
            signs = head[place::bytes_each][:2]
            filled = b"".join(zeros[:place] + bytes([sign]) + zeros[place:] for sign in signs)
            if len(signs) == 2 and 0 not in signs and signs[0] in _OPENING and head.startswith(filled):
                return f"{name} text; write UTF-8"
    return None


def _registered(value: bytes) -> str | None:
    """A zero byte and a schema's number, as the serializers of schema registries write them."""
    if number := int.from_bytes(value[1:5], "big"):
        return f"Confluent's wire format (byte 0, schema id {number}), {_content(value[5:])}; write bare JSON"
    if number := int.from_bytes(value[5:9], "big"):
        return f"Apicurio's wire format (byte 0, global id {number}), {_content(value[9:])}; write bare JSON"
    return None


def _content(rest: bytes) -> str:
    if rest.lstrip(b" \t\r\n")[:1] in (b"{", b"["):
        return "then JSON"
    # Confluent puts the message's place in its schema before it; 0 stands for the first one.
    return "then Protobuf" if rest[:1] == b"\x00" and _like_protobuf(rest[1:]) else "then Avro or Protobuf"


def _packed(value: bytes) -> str | None:
    """JSON's binary relatives, by how an object or a pickle begins."""
    first, second = (*value[:2], 0, 0)[:2]
    if first == 0x80 and 2 <= second <= 5 and value.endswith(b"."):
        return "a Python pickle; write JSON"
    if (first & 0xF0 == 0x80 and second & 0xE0 == 0xA0) or first in (0xDE, 0xDF):
        return "like MessagePack; write JSON"
    if value.startswith(b"\xd9\xd9\xf7") or (first in (*range(0xA1, 0xB8), 0xBF) and 0x60 <= second < 0x7C):
        return "like CBOR; write JSON"
    if len(value) > 4 and int.from_bytes(value[:4], "little") == len(value) and value[-1] == 0:
        return "like BSON; write JSON"
    return None


def _like_protobuf(value: bytes) -> bool:
    """Whether the bytes are fields of Protobuf, one after the other; so many of them are looked at."""
    place = 0
    for _ in range(_LOOKED_AT):
        if place == len(value):
            return place > 0
        tag, place = _varint(value, place)
        kind = tag & 7
        if tag >> 3 == 0 or kind not in (0, 1, 2, 5) or place > len(value):
            return False
        if kind == 0:
            _, place = _varint(value, place)
        elif kind == 2:
            size, place = _varint(value, place)
            place += size
        else:
            place += 8 if kind == 1 else 4
        if place > len(value):
            return False
    return True


def _varint(value: bytes, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place behind it: beyond the end where it has none."""
    number = 0
    for rank, byte in enumerate(value[place : place + 10]):
        number |= (byte & 0x7F) << (7 * rank)
        if byte < 0x80:
            return number, place + rank + 1
    return 0, len(value) + 1
