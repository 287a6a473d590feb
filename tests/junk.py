"""What producers send that no event is: made fast, by a seed, as much of it as is wanted.

Each value comes from a pool of templates, or from a good event to which something happened. Some of it is good by
chance; whoever needs to know asks a reader.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from random import Random

GOOD = b'{"features":[0.25,-1.5,3],"time":1700000000000}'
THREE_NUMBERS = b"[0.25,-1.5,3]"

NUMBERS = [
    *b"NaN -NaN Infinity -Infinity nan 1e39 -1e39 1e400 1e-400 0x1F 01 +1 .5 1. 1e 1,5 1_000 - null true".split(),
    *(b"9" * digits for digits in (20, 39, 40, 310, 5000)),
    b"1" + b"0" * 400 + b".5",
    b"340282356779733661637539395458142568448",  # from here on a float32 rounds to infinity
    b'"1"',
    b"[1]",
    b"{}",
    b"\xef\xbc\x91",  # a full-width one
]
SHAPES = [
    *(b"[" + b",".join([b"1"] * size) + b"]" for size in (0, 1, 2, 4, 5, 100, 3000)),
    b"[[1,2,3]]",
    b"[[1],[2],[3]]",
    b"[1,[2],3]",
    b"1",
    b'""',
    b'"AAAAAAAAgD8="',
    b"{}",
    b'{"samples":[1,2]}',
    b'{"samples":null}',
    b'{"sample":[1,2,3]}',
    b'{"samples":[1,2,3],"other":[1,2,3]}',
    b"[1,2,3",
    b"[1,2,3,]",
    b"[1 2 3]",
    b"null",
    b"false",
]
FIELDS = [
    *(b'"time":' + value for value in (b"1.0", b'"2024-01-01"', b"true", b"[]", b"1e12", b"-8640000000000001")),
    *(b'"time":' + value for value in (b"8640000000000001", b"9223372036854775808", b"4102444800000", b"9" * 400)),
    *(b'"sequence":' + value for value in (b"1.5", b'"7"', b"9223372036854775808", b"-9223372036854775809", b"{}")),
    *(b'"%b":%b' % (name, value) for name in (b"start", b"end") for value in (b"1", b'"true"', b"[]", b"0.0")),
    *(b'"features":' + value for value in (b"null", b"[1]", b"[NaN,1,1]", b'"x"')),  # a second time
    b'"x":"\xff"',
    b'"x":"\xc0\xaf"',
    b'"x":"\xed\xa0\x80"',
    b'"x":"\\ud800"',
    b'"x":"\\x"',
    b'"x":"\x00"',
    b'"x":\t',
    b'"x":' + b"[" * 65 + b"]" * 65,
    b'"x":' + b'{"x":' * 65 + b"1" + b"}" * 65,
    b'"x":' + b"[" * 3000,
    b'"\\u0000',
]
WHOLE = [
    b"",
    b" ",
    b"\n",
    b"null",
    b"0",
    b"[]",
    b"{}",
    b'"text"',
    b"[" * 20_000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 5_000,
    b'"' * 1001,
    b"\\" * 999,
    b"\x00" * 100,
    b"\xff\xfe" + GOOD.decode().encode("utf-16-le"),
    b"\xef\xbb\xbf" + GOOD,
    GOOD * 2,
    GOOD + b",",
    b"[" + GOOD + b"]",
    zlib.compress(GOOD),
    b"\x00\x00\x00\x00\x07" + GOOD,  # as a schema registry's client frames it
    b"key=1;value=2",
    b"<event><features>1 2 3</features></event>",
    b'{"features":"' + b"A" * 30_000 + b'"}',
    b'{"features":[' + b"1," * 20_000 + b"1]}",
    b'{"' + b"x" * 30_000 + b'":1}',
]
KEYS = [b"", b"\x00", b"\xff\xfe\xfd", b"key" * 100, "ключ".encode(), b"\n", b'"', b"null", b"\x01key-1"]


def junk(seed: int, count: int) -> Iterator[bytes]:
    """`count` values, most of them bad."""
    random = Random(seed)
    templates = [
        *WHOLE,
        *(b'{"features":%b,"time":1700000000000}' % shape for shape in SHAPES),
        *(b'{"features":[1,%b,1]}' % number for number in NUMBERS),
        *(b'{"features":%b,%b}' % (THREE_NUMBERS, field) for field in FIELDS),
        *(b'{%b,"features":%b}' % (field, THREE_NUMBERS) for field in FIELDS),
    ]
    for rank in range(count):
        way = rank % 4
        if way == 0:
            yield templates[rank // 4 % len(templates)]
        elif way == 1:
            yield random.randbytes(random.randrange(60))
        elif way == 2:
            yield GOOD[: random.randrange(len(GOOD))] + random.randbytes(random.randrange(4))
        else:
            at = random.randrange(len(GOOD))
            yield GOOD[:at] + random.randbytes(1) + GOOD[at + random.randrange(3) :]
