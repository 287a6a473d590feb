"""Bad input by the hundred thousand, and single values made to hurt: no exception, no stack, no memory, a reason each.

PROCESSOR_BAD_EVENTS=1000000 runs the first test with that many.
"""

from __future__ import annotations

import os
import time
import tracemalloc
from itertools import islice

import numpy as np
import pytest

from codec.reference import THREE, batch, expected, row_of
from junk import GOOD, KEYS, junk
from processor.codec import event_decoder
from processor.config.settings import InputSettings
from processor.types import Kind

EVENTS = int(os.environ.get("PROCESSOR_BAD_EVENTS", "60000"))
BATCH = 10_000
DAY_MS = 86_400_000
DECODER = event_decoder(InputSettings(), THREE, max_ahead_ms=DAY_MS, max_behind_ms=DAY_MS, largest_key=250)

N = 60_000
HOSTILE = {
    "a number of many digits": b'{"features":[' + b"9" * N + b",1,1]}",
    "a long fraction": b'{"features":[0.' + b"1" * N + b",1,1]}",
    "a long exponent": b'{"features":[1e' + b"9" * N + b",1,1]}",
    "a long sequence number": b'{"features":[1,1,1],"sequence":' + b"9" * N + b"}",
    "a long time": b'{"features":[1,1,1],"time":-' + b"9" * N + b"}",
    "many numbers": b'{"features":[' + b"1," * (N // 2) + b"1]}",
    "many lists": b'{"features":[' + b"[]," * (N // 3) + b"1]}",
    "many objects": b'{"features":[' + b"{}," * (N // 3) + b"1]}",
    "many names": b"{" + b'"":0,' * (N // 5) + b'"features":1}',
    "features again and again": b"{" + b'"features":[1,1,1],' * (N // 19) + b'"features":1}',
    "inputs again and again": b'{"features":{' + b'"samples":[1,1,1],' * (N // 18) + b'"samples":1}}',
    "open brackets": b"[" * N,
    "deep lists": b"[" * (N // 2) + b"]" * (N // 2),
    "deep objects": b'{"a":' * (N // 5),
    "deep lists where nobody looks": b'{"features":[1,1,1],"x":' + b"[" * (N // 2) + b"]" * (N // 2) + b"}",
    "deep enough, and often": b'{"features":[1,1,1],"x":[' + (b"[" * 50 + b"]" * 50 + b",") * (N // 101) + b"1]}",
    "backslashes": b'{"features":[1,1,1],"x":"' + b"\\" * N + b'"}',
    "quotes": b'"' * N,
    "a text without end": b'{"features":[1,1,1],"x":"' + b"a" * N,
    "half surrogates": b'{"features":[1,1,1],"x":"' + b"\\ud800" * (N // 6) + b'"}',
    "no UTF-8": b"\xff" * N,
    "zeros": b"\0" * N,
    "spaces": b" " * N,
    "one wrong byte at the end": b'{"features":[1,1,1],"x":"' + b"a" * N + b'\xff"}',
    "a long name": b'{"features":{"' + b"a" * N + b'":1}}',
    "events in a row": GOOD * (N // len(GOOD)),
}


def test_of_a_flood_each_event_gets_its_reason_and_the_good_ones_among_them_are_read() -> None:
    """The naive reader judges each tenth batch; of every batch the good events must be as they always are."""
    values = junk(seed=5, count=EVENTS)
    alone = row_of(DECODER.decode(batch([GOOD])), 0)
    for number, start in enumerate(range(0, EVENTS, BATCH)):
        flood: list[bytes | None] = list(islice(values, BATCH))
        flood[7::50] = [GOOD] * len(flood[7::50])
        keys: list[bytes | None] = [b"key"] * len(flood)
        keys[11::50] = ([*KEYS, None, b"k" * 251] * len(flood))[: len(flood[11::50])]
        events = DECODER.decode(batch(flood, keys))
        assert all(row_of(events, row) == alone for row in range(7, len(flood), 50))
        assert list(events.bad) == np.flatnonzero(events.kind == Kind.BAD).tolist()
        assert all(why.detail.isascii() and 0 < len(why.detail) <= 300 for why in events.bad.values())
        assert len(events.bad) > len(flood) // 2
        if number % 10 == 0:
            for row in range(len(flood)):
                wanted = expected(
                    keys[row], flood[row], THREE, max_ahead_ms=DAY_MS, max_behind_ms=DAY_MS, largest_key=250
                )
                assert row_of(events, row) == wanted, (start, flood[row])


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_value_made_to_hurt_costs_time_and_memory_in_proportion_to_its_length(value: bytes) -> None:
    assert row_of(DECODER.decode(batch([value])), 0) == expected(
        b"key", value, THREE, max_ahead_ms=DAY_MS, max_behind_ms=DAY_MS
    )
    tracemalloc.start()
    try:
        events = DECODER.decode(batch([value]))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80 * len(value)
    assert kept < 200_000  # the interpreter keeps some small objects for itself
    assert len(events.kind) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_ten_times_the_length_is_about_ten_times_the_work(name: str) -> None:
    """The processor's own time is compared with itself, on the same machine, at the same moment."""
    value = HOSTILE[name]
    # The best of three: another process may have the machine at any moment.
    short, long = (min(seconds(value[:size]) for _ in range(3)) for size in (N // 10, N))
    assert long < 40 * short + 0.1


def seconds(value: bytes) -> float:
    started = time.process_time()
    DECODER.decode(batch([value]))
    return time.process_time() - started
