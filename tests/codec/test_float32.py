"""Packed records: they say what JSON says, byte for byte as `schemas/README.md` has it, and nothing else passes."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.reference import GREATEST_TIME, THREE, batch, row_of
from processor.codec import event_decoder, prediction_encoder
from processor.config.settings import InputSettings, OutputSettings
from processor.types import BadEvent, Events, Kind, Reason, TensorSpec

SEVERAL = [TensorSpec("ecg", (2, 2)), TensorSpec("token", (), "int32")]


def decode(*values: bytes | None, inputs: list[TensorSpec] = THREE) -> Events:
    return event_decoder(InputSettings(format="float32"), inputs, max_ahead_ms=0).decode(batch(list(values)))


def bad(value: bytes, inputs: list[TensorSpec] = THREE) -> BadEvent:
    events = decode(struct.pack("<3f", 1, 2, 3), value, inputs=inputs)
    assert events.kind.tolist() == [Kind.SAMPLE, Kind.BAD]
    assert row_of(events, 1)["features"] == {"samples": (np.dtype(np.float32), bytes(12))}
    return events.bad[1]


def test_events_of_both_lengths_lie_beside_each_other() -> None:
    events = decode(
        struct.pack("<3f", 1, 2.5, -3e-2),
        struct.pack("<3f qq I", 4, 5, 6, 1_699_999_999_999, -7, 1 + 2 + 4 + 8),
        None,
        struct.pack("<3f qq I", 7, 8, 9, 12, 13, 8),
    )
    assert events.kind.tolist() == [Kind.SAMPLE, Kind.SAMPLE, Kind.FORGET, Kind.SAMPLE]
    np.testing.assert_array_equal(
        events.features["samples"], np.array([[1, 2.5, -0.03], [4, 5, 6], [0, 0, 0], [7, 8, 9]], np.float32)
    )
    assert events.features["samples"].dtype == np.float32
    assert events.time.tolist() == [1_700_000_000_000, 1_699_999_999_999, 0, 1_700_000_000_000]
    assert events.sequence.tolist() == [0, -7, 0, 0]
    assert events.has_sequence.tolist() == [False, True, False, False]
    assert events.start.tolist() == [False, True, False, False]
    assert events.end.tolist() == [False, True, False, True]
    assert events.bad == {}


def test_inputs_follow_each_other_and_tokens_are_whole_numbers() -> None:
    events = decode(struct.pack("<4f i", 1, 2, 3, 4, -5), inputs=SEVERAL)
    assert events.features["ecg"].tolist() == [[[1, 2], [3, 4]]]
    assert events.features["token"].tolist() == [-5]
    assert events.features["token"].dtype == np.int32


def test_a_static_input_is_in_every_value() -> None:
    inputs = [*THREE, TensorSpec("weight", (1,), static=True)]
    nan = struct.pack("<4f", 1, 2, 3, float("nan"))
    events = decode(struct.pack("<4f", 1, 2, 3, 70.5), struct.pack("<3f", 1, 2, 3), nan, None, inputs=inputs)
    assert events.kind.tolist() == [Kind.SAMPLE, Kind.BAD, Kind.BAD, Kind.FORGET]
    assert [why.reason for why in events.bad.values()] == [Reason.UNDECODABLE, Reason.NOT_FINITE]
    assert events.given["weight"].tolist() == [True, False, False, False]
    assert events.features["weight"].tolist() == [[70.5], [0], [0], [0]]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"\0" * 11, Reason.UNDECODABLE),
        (b"\0" * 13, Reason.UNDECODABLE),
        (b"\0" * 31, Reason.UNDECODABLE),
        (b"\0" * 1_000_000, Reason.UNDECODABLE),
        (b"", Reason.UNDECODABLE),
        (b'{"features":[1,2,3]}', Reason.UNDECODABLE),
        (struct.pack("<3f qq I", 1, 2, 3, 0, 0, 16), Reason.UNDECODABLE),
        (struct.pack("<3f qq I", 1, float("nan"), 3, 0, 0, 2**31 + 1), Reason.UNDECODABLE),
        (struct.pack("<3f", 1, float("nan"), 3), Reason.NOT_FINITE),
        (struct.pack("<3f qq I", 1, 2, float("-inf"), GREATEST_TIME + 1, 0, 1), Reason.NOT_FINITE),
        (struct.pack("<3f qq I", 1, 2, 3, GREATEST_TIME + 1, 0, 1), Reason.WRONG_TYPE),
        (struct.pack("<3f qq I", 1, 2, 3, -GREATEST_TIME - 1, 0, 1), Reason.WRONG_TYPE),
    ],
)
def test_what_is_not_as_said_is_bad(value: bytes, reason: Reason) -> None:
    why = bad(value)
    assert why.reason is reason
    assert why.detail.isascii()


def test_a_time_that_does_not_count_may_be_anything() -> None:
    events = decode(struct.pack("<3f qq I", 1, 2, 3, GREATEST_TIME + 1, 9, 0))
    assert (events.time[0], events.sequence[0]) == (1_700_000_000_000, 0)


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
events_of_three = st.tuples(
    st.tuples(finite, finite, finite),
    st.none() | st.integers(-GREATEST_TIME, GREATEST_TIME),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(events_of_three, max_size=12))
def test_both_formats_say_the_same(told: list[tuple[Any, int | None, int | None, bool, bool]]) -> None:
    packed, text = [], []
    for features, time, sequence, start, end in told:
        flags = (time is not None) + 2 * (sequence is not None) + 4 * start + 8 * end
        packed.append(struct.pack("<3f qq I", *features, time or 0, sequence or 0, flags))
        text.append(
            json.dumps(
                {"features": features, "time": time, "sequence": sequence, "start": start, "end": end},
            ).encode()
        )
    one = decode(*packed)
    other = event_decoder(InputSettings(), THREE, max_ahead_ms=0).decode(batch(list(text)))
    assert [row_of(one, row) for row in range(len(told))] == [row_of(other, row) for row in range(len(told))]


@given(st.lists(st.none() | st.binary(max_size=40) | st.binary(min_size=12, max_size=12), max_size=12))
def test_any_bytes_give_what_each_gives_alone(values: list[bytes | None]) -> None:
    together = decode(*values)
    assert [row_of(together, row) for row in range(len(values))] == [row_of(decode(value), 0) for value in values]


def test_the_bytes_of_a_prediction() -> None:
    encoder = prediction_encoder(OutputSettings(format="float32"), [TensorSpec("y", (1,))], "0a1b2c3d")
    rows = np.arange(2)
    values = encoder.encode({"y": np.array([[0.1], [1]], np.float32)}, rows + 1, rows - 5, 3, rows + 2**40, rows > 0)
    assert values == [
        struct.pack("<qqQiIIf", 2**40, -5, 1, 3, 0, 0x0A1B2C3D, 0.1),
        struct.pack("<qqQiIIf", 2**40 + 1, -4, 2, 3, 1, 0x0A1B2C3D, 1),
    ]


def test_outputs_follow_each_other_and_a_batch_may_be_empty() -> None:
    encoder = prediction_encoder(
        OutputSettings(format="float32"), [TensorSpec("a", (2, 2)), TensorSpec("b", ())], "00000000"
    )
    outputs = {"b": np.array([5], np.float32), "a": np.array([[[1, 2], [3, 4]]], np.float32)}
    zero = np.zeros(1, np.int64)
    (value,) = encoder.encode(outputs, zero + 1, zero, 0, zero, zero == 0)
    assert struct.unpack("<5f", value[36:]) == (1, 2, 3, 4, 5)
    none = {name: column[:0] for name, column in outputs.items()}
    assert encoder.encode(none, zero[:0], zero[:0], 0, zero[:0], zero[:0] == 0) == []
