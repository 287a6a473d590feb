"""An independent, naive reader of JSON events: the standard library's parser, one event at a time, and the words of the
interface turned into checks one by one. What the codec says is compared with what this says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from processor.types import Batch, Events, Kind, Reason, TensorSpec

THREE = [TensorSpec("samples", (3,))]
GREATEST_TIME = 8_640_000_000_000_000


def batch(
    values: list[bytes | None], keys: list[bytes | None] | None = None, timestamps: list[int] | None = None
) -> Batch:
    n = len(values)
    return Batch(
        partitions=np.zeros(n, np.int32),
        offsets=np.arange(n, dtype=np.int64),
        timestamps=np.array([1_700_000_000_000] * n if timestamps is None else timestamps, np.int64),
        keys=[b"key"] * n if keys is None else keys,
        values=values,
    )


def row_of(events: Events, row: int) -> dict[str, Any]:
    """One row as plain Python, floats as their bits, so that rows can be compared with ==."""
    bad = events.bad.get(row)
    return {
        "kind": Kind(events.kind[row]),
        "reason": bad.reason if bad else None,
        "features": {name: (column.dtype, column[row].tobytes()) for name, column in events.features.items()},
        "time": int(events.time[row]),
        "sequence": int(events.sequence[row]) if events.has_sequence[row] else None,
        "start": bool(events.start[row]),
        "end": bool(events.end[row]),
        "given": {name: bool(column[row]) for name, column in events.given.items()},
    }


class Bad(Exception):
    pass


class Number(str):
    """A number as written; parsers of numbers differ, so that this one reads them only where they are wanted."""


def refuse(name: str) -> None:
    raise ValueError(name)


def deepest(text: bytes) -> int:
    depth = most = 0
    inside = escaped = False
    for code in text:
        character = chr(code)
        if inside:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == '"':
                inside = False
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            most = max(most, depth)
        elif character in "]}":
            depth -= 1
    return most


def parse(value: bytes) -> Any:
    if deepest(value) > 64:
        raise Bad(Reason.UNDECODABLE)
    try:
        text = value.decode("utf-8")
        parsed = json.loads(
            text,
            parse_int=Number,
            parse_float=Number,
            parse_constant=refuse,
            object_pairs_hook=lambda pairs: {"pairs": pairs},
        )
        json.dumps(parsed, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no text
    except ValueError:
        raise Bad(Reason.UNDECODABLE) from None
    return parsed


def whole(number: Any, least: int, greatest: int) -> int:
    if type(number) is not Number or not number.lstrip("-").isdigit():
        raise Bad(Reason.WRONG_TYPE)
    if len(number) > 1000 or not least <= int(number) <= greatest:
        raise Bad(Reason.WRONG_TYPE)
    return int(number)


def tensor(given: Any, shape: tuple[int, ...], dtype: str) -> Any:
    if not isinstance(given, (list, Number)):
        raise Bad(Reason.WRONG_TYPE)
    if not shape:
        if isinstance(given, list):
            raise Bad(Reason.WRONG_SHAPE)
        if dtype == "int32":
            if given.lstrip("-").isdigit() or not float(given).is_integer():
                return whole(given, -(2**31), 2**31 - 1)
            return whole(Number(int(float(given))), -(2**31), 2**31 - 1)
        with np.errstate(over="ignore"):
            # An integer has no negative zero.
            number = np.float32(0.0 if given == "-0" else float(given))
        if not np.isfinite(number):
            raise Bad(Reason.NOT_FINITE)
        return number
    if not isinstance(given, list) or len(given) != shape[0]:
        raise Bad(Reason.WRONG_SHAPE)
    return [tensor(item, shape[1:], dtype) for item in given]


def features_of(given: Any, inputs: list[TensorSpec]) -> dict[str, Any]:
    if given is None:
        raise Bad(Reason.MISSING_FEATURES)
    if not isinstance(given, dict):
        if len(inputs) > 1:
            raise Bad(Reason.WRONG_TYPE)
        return {inputs[0].name: tensor(given, inputs[0].shape, inputs[0].dtype)}
    specs = {spec.name: spec for spec in inputs}
    pairs = given["pairs"]
    if any(name not in specs for name, _ in pairs):
        raise Bad(Reason.UNKNOWN_INPUT)
    static = {spec.name for spec in inputs if spec.static}
    if not {name for name, _ in pairs} >= set(specs) - static:
        raise Bad(Reason.MISSING_FEATURES)
    if any(numbers is None and name not in static for name, numbers in pairs):
        raise Bad(Reason.MISSING_FEATURES)
    features: dict[str, Any] = {}
    for name, numbers in pairs:  # of a static input that comes twice the last counts, null too
        features.pop(name, None)
        if numbers is not None:
            features[name] = tensor(numbers, specs[name].shape, specs[name].dtype)
    return features


def read(
    value: bytes, inputs: list[TensorSpec], timestamp: int, max_ahead_ms: int, max_behind_ms: int
) -> dict[str, Any]:
    event = parse(value)
    if not isinstance(event, dict):
        raise Bad(Reason.WRONG_TYPE)
    fields: dict[str, list[Any]] = {}
    for name, given in event["pairs"]:
        fields.setdefault(name, []).append(given)
    if "features" not in fields:
        raise Bad(Reason.MISSING_FEATURES)
    features = [features_of(given, inputs) for given in fields["features"]][-1]
    time, sequence = None, None
    for given in fields.get("time", []):
        time = None if given is None else whole(given, -GREATEST_TIME, GREATEST_TIME)
    for given in fields.get("sequence", []):
        sequence = None if given is None else whole(given, -(2**63), 2**63 - 1)
    marks = {"start": False, "end": False}
    for name in marks:
        for given in fields.get(name, []):
            if given is not None and not isinstance(given, bool):
                raise Bad(Reason.WRONG_TYPE)
            marks[name] = bool(given)
    if time is None:
        time = timestamp
    if max_ahead_ms and time - timestamp > max_ahead_ms:
        raise Bad(Reason.TIME_AHEAD)
    if max_behind_ms and timestamp - time > max_behind_ms:
        raise Bad(Reason.TIME_BEHIND)
    return {"features": features, "time": time, "sequence": sequence, **marks}


def expected(
    key: bytes | None,
    value: bytes | None,
    inputs: list[TensorSpec],
    timestamp: int = 1_700_000_000_000,
    max_ahead_ms: int = 0,
    max_behind_ms: int = 0,
    largest_key: int | None = None,
) -> dict[str, Any]:
    """The row that the codec should give, in `row_of`'s form."""
    blank: Mapping[str, Any] = {"features": {}, "time": 0, "sequence": None, "start": False, "end": False}
    kind, reason, event = Kind.SAMPLE, None, blank
    try:
        if key is None:
            raise Bad(Reason.NO_KEY)
        if largest_key is not None and len(key) > largest_key:
            raise Bad(Reason.TOO_LARGE)
        if value is None:
            kind = Kind.FORGET
        else:
            event = read(value, inputs, timestamp, max_ahead_ms, max_behind_ms)
    except Bad as fault:
        kind, reason = Kind.BAD, fault.args[0]
    features = {}
    for spec in inputs:
        dtype = np.dtype(spec.dtype)
        numbers = event["features"].get(spec.name, np.zeros(spec.shape))
        features[spec.name] = (dtype, np.array(numbers, dtype).reshape(spec.shape).tobytes())
    given = {spec.name: spec.name in event["features"] for spec in inputs if spec.static}
    return {**event, "kind": kind, "reason": reason, "features": features, "given": given}
