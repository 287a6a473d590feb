"""Generated events, good, nearly good and hopeless: the codec says of each what a naive reader says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from codec.reference import GREATEST_TIME, THREE, batch, expected, row_of
from processor.codec import event_decoder
from processor.config.settings import InputSettings
from processor.types import TensorSpec

MODELS = [
    THREE,
    [TensorSpec("number", ())],
    [TensorSpec("one", (1,))],
    [TensorSpec("nested", (2, 3))],
    [TensorSpec("token", (), "int32")],
    [TensorSpec("tokens", (2,), "int32")],
    [TensorSpec("place", (2,), static=True), TensorSpec("x", ()), TensorSpec("kind", (1,), "int32", static=True)],
    [TensorSpec("samples", (3,)), TensorSpec("to ken é", (), "int32"), TensorSpec("nested", (1, 2, 1))],
]

decimals = st.one_of(
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    # Around the greatest float32, and the number from where on rounding gives infinity.
    st.sampled_from([3.4028234663852886e38, 3.4028235677973362e38, 3.4028235677973366e38, -3.5e38, 1e39, 5e-324, -0.0]),
).map(repr)
integers = st.one_of(
    st.integers(-1000, 1000),
    st.sampled_from([2**31, -(2**31) - 1, 2**31 - 1, 2**63, 2**63 - 1, -(2**63), -(2**63) - 1, 2**64, 10**30]),
    st.sampled_from([GREATEST_TIME, GREATEST_TIME + 1, -GREATEST_TIME, -GREATEST_TIME - 1]),
).map(str)
NUMBERS = "-0 1.0 1e2 1e400 -1e400 1E-400 NaN -Infinity 01 +1 .5 1. - 1e 0x1 /**/1"
TEXTS = r""" "1" "" "é\u00e9" "\ud83d\ude00" "\ud800" "\udc00" "\ud800\u0041" "\ud800\ud800" "\x" "\u12" 'a' """
NESTED = [
    *("[" * depth + "]" * depth for depth in (62, 63, 64, 5000)),
    '{"a":' * 63 + "1" + "}" * 63,
    '["\\"[",' * 32 + "1" + "]" * 32,
    '"' + "[" * 99 + '"',
    "[" * 99,
]
OTHERS = [
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "[[1]]",
    '{"a":1}',
    "tru",
    "",
    "1 2",
    '"\x01"',
    '"\x7f"',
    "\ufeff1",
]
odd = st.sampled_from([*OTHERS, *NUMBERS.split(), *TEXTS.split(), *NESTED, "9" * 400, "9" * 5000])
space = st.sampled_from(["", "", "", " ", "\n\t ", "\r"])


def mostly(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 15).flatmap(lambda n: odd if n == 0 else strategy)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], dtype: str) -> str:
    if not shape:
        tokens = st.integers(-(2**31), 2**31 - 1).map(str)
        tokens = st.one_of(tokens, tokens, tokens.map(lambda token: f"{token}.0"), decimals)
        number = tokens if dtype == "int32" else st.one_of(decimals, integers)
        return draw(mostly(number))
    size = shape[0] if draw(st.integers(0, 15)) else draw(st.integers(0, 4))
    items = [draw(mostly(arrays(shape[1:], dtype))) for _ in range(size)]
    return "[" + ",".join(draw(space) + item for item in items) + "]"


@st.composite
def objects(draw: st.DrawFn, fields: list[tuple[str, str]]) -> str:
    text = ""
    for at, (name, value) in enumerate(fields):
        written = json.dumps(name, ensure_ascii=draw(st.booleans()))
        text += ("," if at else "") + draw(space) + written + draw(space) + ":" + draw(space) + value
    return "{" + text + draw(space) + "}"


@st.composite
def features(draw: st.DrawFn, inputs: list[TensorSpec]) -> str:
    if len(inputs) == 1 and draw(st.booleans()):
        return draw(arrays(inputs[0].shape, inputs[0].dtype))
    names = [spec.name for spec in inputs]
    if draw(st.integers(0, 7)) == 0:
        names = draw(st.lists(st.sampled_from([*names, "unknown"]), max_size=4))
    specs = {spec.name: spec for spec in inputs}
    fields = []
    for name in draw(st.permutations(names)):
        spec = specs.get(name, inputs[0])
        if spec.static and draw(st.booleans()):
            if draw(st.booleans()):
                fields.append((name, "null"))
            continue
        fields.append((name, draw(mostly(arrays(spec.shape, spec.dtype)))))
    return draw(objects(fields))


@st.composite
def event_texts(draw: st.DrawFn, inputs: list[TensorSpec]) -> bytes:
    """Mostly good events; each part has a small chance to be something else."""
    fields = [("features", draw(mostly(features(inputs))))]
    truth = st.sampled_from(["true", "false", "null"])
    for name, strategy in (("time", integers), ("sequence", integers), ("start", truth), ("end", truth), ("x", odd)):
        if draw(st.integers(0, 2)) == 0:
            fields.append((name, draw(mostly(strategy) if name != "x" else st.one_of(truth, odd))))
    if draw(st.integers(0, 7)) == 0:
        name, _ = draw(st.sampled_from(fields))
        fields.append((name, draw(odd)))
    if draw(st.integers(0, 7)) == 0:
        fields = draw(st.permutations(fields))
    value = draw(objects(fields)).encode("utf-8", "surrogatepass")
    return draw(st.one_of(st.just(value), st.just(value), damaged(value)))


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    at = draw(st.integers(0, len(value)))
    junk = draw(
        st.one_of(
            st.binary(max_size=3), st.sampled_from([b'"', b"\\", b"{", b"]", b",", b" ", b"\xc3", b"\xed\xa0\x80"])
        )
    )
    return value[:at] + junk + value[at + draw(st.integers(0, 3)) :]


FRAGMENTS = (
    rb"""{ } [ ] , : " \ "features" "features":[1,2,3] {"features":[1,2,3] "x": "time": "start":true 1 - e5 null"""
)
fragments = st.sampled_from([*FRAGMENTS.split(), b" ", b"\xff", b"\x00"])
soup = st.lists(fragments, max_size=12).map(b"".join)


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[TensorSpec], Any, dict[str, Any]]:
    inputs = draw(st.sampled_from(MODELS))
    value = st.one_of(event_texts(inputs), event_texts(inputs), event_texts(inputs), soup, st.binary(max_size=20))
    key = st.one_of(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6), st.none())
    rows = draw(st.lists(st.tuples(st.one_of(key, key), st.one_of(value, value, value, st.none())), max_size=12))
    stamps = draw(st.lists(st.integers(0, 10**13), min_size=len(rows), max_size=len(rows)))
    limits = {
        "max_ahead_ms": draw(st.sampled_from([0, 1, 86_400_000])),
        "max_behind_ms": draw(st.sampled_from([0, 1, 86_400_000, 946_728_000_000])),
        "largest_key": draw(st.sampled_from([None, 0, 5])),
    }
    return inputs, batch([value for _, value in rows], [key for key, _ in rows], stamps), limits


@settings(deadline=None, max_examples=300)
@given(batches())
def test_a_batch_is_read_as_a_naive_reader_reads_its_events_one_by_one(case: tuple[list[TensorSpec], Any, Any]) -> None:
    inputs, given_batch, limits = case
    events = event_decoder(InputSettings(), inputs, **limits).decode(given_batch)
    for row, (key, value) in enumerate(zip(given_batch.keys, given_batch.values, strict=True)):
        stamp = int(given_batch.timestamps[row])
        assert row_of(events, row) == expected(key, value, inputs, stamp, **limits), value
    assert list(events.bad) == [row for row in range(len(given_batch)) if events.kind[row] == 2]
    assert all(why.detail.isascii() and 0 < len(why.detail) <= 300 for why in events.bad.values())


@settings(deadline=None, max_examples=60)
@given(batches())
def test_a_row_is_read_the_same_alone_and_in_company(case: tuple[list[TensorSpec], Any, Any]) -> None:
    inputs, given_batch, limits = case
    decoder = event_decoder(InputSettings(), inputs, **limits)
    together = decoder.decode(given_batch)
    for row in range(len(given_batch)):
        alone = decoder.decode(
            batch([given_batch.values[row]], [given_batch.keys[row]], [int(given_batch.timestamps[row])])
        )
        assert row_of(alone, 0) == row_of(together, row)
        assert alone.bad.get(0) == together.bad.get(row)
