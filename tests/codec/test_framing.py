"""Values that are no JSON: the dead letter names what they are."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import pickle
import struct
import zlib

import pytest

from codec.reference import THREE, batch
from processor.codec import event_decoder
from processor.codec.framing import foreign
from processor.config.settings import InputSettings
from processor.types import BadEvent, Reason

GOOD = b'{"features":[0.5,1,2]}'
TEXT = GOOD.decode()
FLOATS = struct.pack("<3f", 0.5, 1, 2)
DECODERS = {name: event_decoder(InputSettings(format=name), THREE, max_ahead_ms=0) for name in ("json", "float32")}

FOREIGN = {
    "Confluent, JSON": (b"\0" + struct.pack(">I", 42) + GOOD, ["Confluent", "schema id 42", "then JSON"]),
    "Confluent, JSON with spaces": (b"\0" + struct.pack(">I", 2**31) + b"\n " + GOOD, ["schema id 2147483648"]),
    "Confluent, Avro": (b"\0" + struct.pack(">I", 100_001) + b"\x06" + FLOATS, ["schema id 100001", "Avro"]),
    "Confluent, Protobuf": (b"\0" + struct.pack(">I", 7) + b"\0\x0a\x0c" + FLOATS, ["schema id 7", "then Protobuf"]),
    "Apicurio": (b"\0" + struct.pack(">Q", 9) + GOOD, ["Apicurio", "global id 9", "then JSON"]),
    "Glue": (b"\x03\x00" + bytes(range(16)) + GOOD, ["Glue"]),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + GOOD, ["byte-order mark"]),
    "UTF-16 with a mark": (TEXT.encode("utf-16"), ["UTF-16"]),
    "UTF-16 LE": (TEXT.encode("utf-16-le"), ["UTF-16"]),
    "UTF-16 BE": (TEXT.encode("utf-16-be"), ["UTF-16"]),
    "UTF-32 with a mark": (TEXT.encode("utf-32"), ["UTF-32"]),
    "UTF-32 LE": (TEXT.encode("utf-32-le"), ["UTF-32"]),
    "UTF-32 BE": (TEXT.encode("utf-32-be"), ["UTF-32"]),
    "gzip": (gzip.compress(GOOD * 50, mtime=0), ["gzip", "compression.type"]),
    "zlib": (zlib.compress(GOOD), ["zlib"]),
    "bzip2": (bz2.compress(GOOD), ["bzip2"]),
    "xz": (lzma.compress(GOOD), ["xz"]),
    "zstd": (b"\x28\xb5\x2f\xfd\x20" + GOOD, ["zstd"]),
    "base64": (base64.b64encode(GOOD), ["base64"]),
    "Python's bytes": (str(GOOD).encode(), ["b'...'"]),
    "Python's dict": (str(json.loads(TEXT)).encode(), ["json.dumps"]),
    "pickle": (pickle.dumps({"features": [0.5, 1, 2]}), ["pickle"]),
    "Protobuf": (b"\x0a\x0c" + FLOATS, ["like Protobuf", "0A 0C 00"]),
    "MessagePack": (b"\x81\xa8features\x93\x01\x02\x03", ["MessagePack"]),
    "CBOR": (b"\xa1\x68features\x83\x01\x02\x03", ["CBOR"]),
    "Avro, single object": (b"\xc3\x01" + bytes(range(8)) + b"\x06" + FLOATS, ["Avro"]),
    "Java": (b"\xac\xed\x00\x05sr\x00", ["Java"]),
    "XML": (b"<event/>", ["XML"]),
    "of our own": (FLOATS, ['input.format = "float32"']),
    "zeros": (bytes(40), ["binary data", "00 00 00"]),
    "brackets in bytes": (b"\x1f\x8b" + b"[" * 1000, ["gzip"]),
}


def why(value: bytes, form: str = "json") -> BadEvent:
    return DECODERS[form].decode(batch([value])).bad[0]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_dead_letter_names_what_the_bytes_are(name: str) -> None:
    value, words = FOREIGN[name]
    bad = why(value)
    assert bad.reason == Reason.UNDECODABLE
    assert all(word in bad.detail for word in words), bad.detail
    assert bad.detail.isascii()
    assert len(bad.detail) <= 300


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (GOOD, "looks like JSON"),
        (b"\0" + struct.pack(">I", 5) + FLOATS, "schema id 5"),
        (gzip.compress(FLOATS, mtime=0), "gzip"),
        (FLOATS + b"\0", "13 bytes, expected are 12 or 32"),
    ],
    ids=str,
)
def test_the_format_float32_names_it_too(value: bytes, words: str) -> None:
    assert words in why(value, "float32").detail


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (json.dumps(TEXT).encode(), "encoded twice"),
        (json.dumps(base64.b64encode(GOOD).decode()).encode(), "base64"),
        (b'{"features":[NaN,1,2]}', "'NaN,1,2]}'"),
        (b"hello", "'hello'"),
    ],
    ids=str,
)
def test_text_that_is_no_event(value: bytes, words: str) -> None:
    assert words in why(value).detail


def test_no_json_is_taken_for_anything_else() -> None:
    texts = [TEXT, *map(json.dumps, (None, True, -1.5, "eyJ", "b'", [], {}, {"\0": "\x7f"}, "\ufeff", 10**30))]
    for text in texts:
        for padding in (b"", b" ", b"\n", b"\r\n\t"):
            assert foreign(padding + text.encode() + padding) is None, text
