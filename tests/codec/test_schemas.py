"""Schemas, examples and code agree, both ways."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jsonschema import Draft202012Validator

from codec.reference import THREE, batch
from codec.test_fuzz import MODELS, event_texts
from processor.codec import dead_letter, event_decoder, prediction_encoder
from processor.config.settings import InputSettings, OutputSettings
from processor.types import BadEvent, Kind, Reason, TensorSpec

SCHEMAS = Path(__file__).parents[2] / "schemas"
VALIDATORS = {
    name: Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")))
    for name in ("event", "prediction", "dead-letter")
}
STATIC = [*THREE, TensorSpec("weight", (1,), static=True), TensorSpec("kind", (), "int32", static=True)]
MODEL_OF = {
    "static-first": STATIC,
    "static-left-out": STATIC,
    "one-number": [TensorSpec("samples", ())],
    "nested-sample": [TensorSpec("samples", (2, 3))],
    "token": [TensorSpec("token", (), "int32")],
    "several-inputs": [*THREE, TensorSpec("token", (), "int32")],
}
BEYOND_A_SCHEMA = {
    "unknown_input",
    "wrong_shape-too-short",
    "wrong_shape-nested",
    "time_ahead",
    "time_behind-in-seconds",
    "wrong_type-sequence-written-as-decimal",
}


def examples(kind: str) -> Any:
    paths = sorted((SCHEMAS / "examples" / kind).glob("*.json"))
    assert paths
    return pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in paths])


def valid(schema: str, instance: object) -> bool:
    return bool(VALIDATORS[schema].is_valid(instance))


def properties(schema: str) -> dict[str, Any]:
    document: Any = VALIDATORS[schema].schema
    found: dict[str, Any] = document["properties"]
    return found


def decode(value: bytes, inputs: list[TensorSpec]) -> Any:
    decoder = event_decoder(InputSettings(), inputs, max_ahead_ms=86_400_000, max_behind_ms=946_728_000_000)
    return decoder.decode(batch([value], timestamps=[1_735_689_600_000]))


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def test_the_schemas_are_schemas() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--check-metaschema"]
    run = subprocess.run([*command, *SCHEMAS.glob("*.schema.json")], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


@examples("event/good")
def test_a_good_event_is_valid_and_read(path: Path) -> None:
    value = path.read_bytes()
    assert valid("event", json.loads(value))
    events = decode(value, MODEL_OF.get(path.stem, THREE))
    assert events.bad == {}
    assert events.kind.tolist() == [Kind.SAMPLE]


@examples("event/bad")
def test_a_bad_event_is_bad_for_the_reason_in_its_name_and_invalid_where_a_schema_can_tell(path: Path) -> None:
    value = path.read_bytes()
    reason = path.stem.partition("-")[0]
    assert decode(value, THREE).bad[0].reason == reason
    try:
        instance = json.loads(value, parse_constant=refuse_constant)
    except ValueError:
        assert reason == Reason.UNDECODABLE
    else:
        assert reason != Reason.UNDECODABLE
        assert valid("event", instance) == (path.stem in BEYOND_A_SCHEMA)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(MODELS).flatmap(lambda inputs: st.tuples(st.just(inputs), event_texts(inputs))))
def test_whatever_the_processor_reads_is_valid(case: tuple[list[TensorSpec], bytes]) -> None:
    inputs, value = case
    if event_decoder(InputSettings(), inputs, max_ahead_ms=0).decode(batch([value])).bad == {}:
        # Numbers beyond a double, which the processor ignores in fields that it does not know, are none to this parser.
        assert valid("event", json.loads(value, parse_int=lambda digits: int(digits) if len(digits) < 99 else 0))


@examples("prediction/good")
def test_a_good_prediction_is_valid_and_exactly_what_the_processor_writes(path: Path) -> None:
    line = path.read_bytes().rstrip(b"\n")
    fields = json.loads(line)
    assert valid("prediction", fields)
    named = fields["probability"] if isinstance(fields["probability"], dict) else {"y": fields["probability"]}
    outputs = {name: np.array([numbers], np.float32) for name, numbers in named.items()}
    specs = [TensorSpec(name, column.shape[1:]) for name, column in outputs.items()]
    step, time, offset = (np.array([fields[name]]) for name in ("step", "time", "offset"))
    encoder = prediction_encoder(OutputSettings(), specs, fields["model"])
    assert encoder.encode(outputs, step, time, fields["partition"], offset, np.array([fields["warm"]])) == [line]


@examples("prediction/bad")
def test_a_bad_prediction_is_invalid(path: Path) -> None:
    assert not valid("prediction", json.loads(path.read_bytes()))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(1, 3), max_size=3).map(tuple), min_size=1, max_size=3), st.data())
def test_whatever_the_processor_writes_is_valid(shapes: list[tuple[int, ...]], data: st.DataObject) -> None:
    specs = [TensorSpec(f"output {rank}", shape) for rank, shape in enumerate(shapes)]
    floats = st.floats(width=32, allow_nan=False, allow_infinity=False)
    outputs = {spec.name: data.draw(hnp.arrays(np.float32, (2, *spec.shape), elements=floats)) for spec in specs}
    step, offset = np.array([1, 2**32 - 1]), np.array([0, 2**63 - 1])
    time = np.array([-8_640_000_000_000_000, 8_640_000_000_000_000])
    encoder = prediction_encoder(OutputSettings(), specs, "00ff00ff")
    for line in encoder.encode(outputs, step, time, 2**31 - 1, offset, np.array([True, False])):
        fields = json.loads(line)
        assert valid("prediction", fields)
        assert list(fields) == list(properties("prediction")), "in the schema's order"


@examples("dead-letter/good")
def test_a_good_dead_letter_is_valid_and_exactly_what_the_processor_writes(path: Path) -> None:
    headers = json.loads(path.read_bytes())
    assert valid("dead-letter", headers)
    letter = dead_letter(
        b"key",
        b"value",
        BadEvent(Reason(headers["processor.reason"]), headers["processor.detail"]),
        topic=headers["processor.topic"],
        partition=int(headers["processor.partition"]),
        offset=int(headers["processor.offset"]),
        limit=1_000_000,
    )
    assert [(name, content.decode()) for name, content in letter.headers] == list(headers.items())
    assert path.stem == headers["processor.reason"]


@examples("dead-letter/bad")
def test_a_bad_dead_letter_is_invalid(path: Path) -> None:
    assert not valid("dead-letter", json.loads(path.read_bytes()))


def test_every_reason_is_in_the_schema_and_has_an_example() -> None:
    reasons = [str(reason) for reason in Reason]
    assert properties("dead-letter")["processor.reason"]["enum"] == reasons
    shown = {path.stem for path in (SCHEMAS / "examples" / "dead-letter" / "good").glob("*.json")}
    assert shown == set(reasons)
