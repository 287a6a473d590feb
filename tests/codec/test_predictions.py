"""Predictions: settled bytes, in settled order, with floats that read back as the very same float32."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from processor.codec import PredictionEncoder, prediction_encoder
from processor.config import load_settings
from processor.config.settings import OutputSettings
from processor.errors import ConfigError
from processor.types import TensorSpec

ONE = [TensorSpec("probability", (1,))]


def encode(encoder: PredictionEncoder, outputs: dict[str, Any], first: int = 0) -> list[bytes]:
    n = len(next(iter(outputs.values())))
    rows = np.arange(first, first + n)
    return encoder.encode(outputs, rows + 1, 1000 * rows, 3, rows + 2**40, rows % 3 > 0)


def test_the_bytes_of_a_prediction() -> None:
    encoder = prediction_encoder(OutputSettings(), ONE, "0a1b2c3d")
    assert encode(encoder, {"probability": np.array([[0.1], [1]], np.float32)}) == [
        b'{"probability":0.1,"step":1,"time":0,"partition":3,"offset":1099511627776,"warm":false,"model":"0a1b2c3d"}',
        b'{"probability":1.0,"step":2,"time":1000,"partition":3,"offset":1099511627777,"warm":true,"model":"0a1b2c3d"}',
    ]


@pytest.mark.parametrize(
    ("shape", "printed"),
    [
        ((), b"0.5"),
        ((1,), b"0.5"),
        ((3,), b"[0.5,1.5,2.5]"),
        ((1, 1), b"[[0.5]]"),
        ((2, 1), b"[[0.5],[1.5]]"),
        ((1, 2), b"[[0.5,1.5]]"),
        ((2, 1, 2), b"[[[0.5,1.5]],[[2.5,3.5]]]"),
    ],
)
def test_an_output_is_nested_as_its_shape_and_one_unit_is_a_number(shape: tuple[int, ...], printed: bytes) -> None:
    encoder = prediction_encoder(OutputSettings(), [TensorSpec("y", shape)], "00000000")
    size = int(np.prod(shape))
    numbers = (np.arange(2 * size, dtype=np.float32) + 0.5).reshape(2, *shape)
    first, second = encode(encoder, {"y": numbers})
    assert first.startswith(b'{"probability":' + printed + b',"step":1,')
    assert json.loads(second)["probability"] == (numbers[1].item() if shape in ((), (1,)) else numbers[1].tolist())


def test_several_outputs_come_by_name_in_the_model_s_order() -> None:
    specs = [TensorSpec('z "quoted" é', (1,)), TensorSpec("a", (2,))]
    encoder = prediction_encoder(OutputSettings(), specs, "00000000")
    outputs = {"a": np.array([[1, 2]], np.float32), 'z "quoted" é': np.array([[0.25]], np.float32)}
    (line,) = encode(encoder, outputs)
    assert line.startswith('{"probability":{"z \\"quoted\\" é":0.25,"a":[1.0,2.0]},"step":1,'.encode())
    assert json.loads(line)["probability"] == {'z "quoted" é': 0.25, "a": [1, 2]}


@settings(deadline=None)
@given(hnp.arrays(np.uint32, st.integers(1, 200)))
def test_every_finite_float32_reads_back_as_the_same_bits(bits: np.ndarray[Any, np.dtype[np.uint32]]) -> None:
    numbers = bits.view(np.float32)
    numbers = np.where(np.isfinite(numbers), numbers, np.float32(-0.0))
    lines = encode(prediction_encoder(OutputSettings(), [TensorSpec("y", ())], "00000000"), {"y": numbers})
    read = np.array([json.loads(line)["probability"] for line in lines], np.float64).astype(np.float32)
    assert read.tobytes() == numbers.tobytes()


def test_thousands_of_random_bit_patterns_read_back_from_the_shortest_digits() -> None:
    numbers = np.random.default_rng(7).integers(0, 2**32, 21_000, np.uint32).view(np.float32)
    numbers = numbers[np.isfinite(numbers)].reshape(-1, 1)[:20_000]
    lines = encode(prediction_encoder(OutputSettings(), ONE, "00000000"), {"probability": numbers})
    printed = [line[len('{"probability":') : line.index(b",")] for line in lines]
    assert np.array([float(text) for text in printed]).astype(np.float32).tobytes() == numbers.tobytes()
    # The shortest such digits: a float32 never needs more than nine.
    assert max(len(text.split(b"e")[0].strip(b"-").replace(b".", b"").strip(b"0")) for text in printed) <= 9


@pytest.mark.parametrize("bits", [0x15AE43FD, 0x95AE43FD])
@pytest.mark.parametrize("neighbour", [-1, 0, 1])
def test_the_one_float32_that_is_rounded_twice_reads_back(bits: int, neighbour: int) -> None:
    # Its shortest digits, 7.038531e-26, read as a double and then rounded to float32, give the float32 above it.
    number = np.full((3, 2), bits + neighbour, np.uint32).view(np.float32)
    for line in encode(prediction_encoder(OutputSettings(), [TensorSpec("y", (2,))], "00000000"), {"y": number}):
        assert np.array(json.loads(line)["probability"]).astype(np.float32).tobytes() == number[0].tobytes()


def test_a_prediction_does_not_depend_on_what_is_encoded_with_it() -> None:
    encoder = prediction_encoder(OutputSettings(), [TensorSpec("y", (2, 2))], "00000000")
    numbers = np.random.default_rng(1).normal(size=(5000, 2, 2)).astype(np.float32)
    together = encode(encoder, {"y": numbers})
    assert len(together) == 5000
    for row in (0, 1, 2047, 2048, 2049, 4095, 4096, 4999):
        assert encode(encoder, {"y": numbers[row : row + 1]}, first=row) == [together[row]]


def test_columns_may_be_views_of_others_and_of_other_integers() -> None:
    encoder = prediction_encoder(OutputSettings(), [TensorSpec("y", (2,))], "00000000")
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    rows = np.arange(8)[::2]
    (_, second, _, _) = encoder.encode({"y": wide[:, 1:5:2]}, rows.astype(np.uint32), rows, 0, rows, rows > 0)
    assert json.loads(second)["probability"] == [7, 9]
    assert json.loads(second)["step"] == 2


def test_nothing_to_encode() -> None:
    assert (
        encode(prediction_encoder(OutputSettings(), ONE, "00000000"), {"probability": np.zeros((0, 1), np.float32)})
        == []
    )


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_json_has_no_number_for_is_never_written(number: float) -> None:
    encoder = prediction_encoder(OutputSettings(), ONE, "00000000")
    with pytest.raises(ValueError, match="not finite"):
        encode(encoder, {"probability": np.array([[0], [number], [0]], np.float32)})


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"output\.format is 'yaml', .*\nIt must be one of json, float32\."):
        load_settings(None, {}, ["output.format=yaml"])
