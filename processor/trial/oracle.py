"""What must be published for a list of input records: the rules of an event, slowly, one record at a time.

It checks the processor, so it shares no code with it: plain `json`, plain dictionaries, one `if` for each
rule of "What an event does, in this order". It computes no probabilities: it finds which samples of a key form each
sequence, so that the trained model itself can be asked about whole sequences (`processor.trial.checker`).

Outside of it: objects in which a name occurs twice.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from processor.types import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_GREATEST_TIME: Final = 8_640_000_000_000_000
_DEEPEST: Final = 64

KeyName = tuple[int, bytes]
"""A key of a partition: the same key in two partitions would be two."""


class InputRecord(NamedTuple):
    """One record of the input topic; `timestamp` in ms since the epoch."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


class Sample(NamedTuple):
    """One step of a sequence: input name -> its numbers, nested as the sample's shape; and the record it came from.

    Static inputs are those that the sequence began with, whether the record repeats them or not.
    """

    features: dict[str, Any]
    partition: int
    offset: int


class Predicted(NamedTuple):
    """A prediction that must be published. `sequence`: which of the key's sequences, `step`: its how-maniest sample."""

    partition: int
    offset: int
    key: bytes
    time: int
    step: int
    sequence: int


class Rejected(NamedTuple):
    """A dead letter that must be published."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    reason: Reason


@dataclass(frozen=True, slots=True)
class Rules:
    """What the answer depends on, beside the records.

    inputs: input name -> one sample's shape; tokens: which of them are int32; static: which come with the first event
    of a sequence and need not come with the others. length: N of `tumbling N`, 0 for none.
    The durations are those of the settings `[sequence]`; largest_key in bytes, 0 for no limit.
    """

    inputs: Mapping[str, tuple[int, ...]]
    tokens: frozenset[str] = frozenset()
    static: frozenset[str] = frozenset()
    length: int = 0
    gap_seconds: float = 0
    idle_seconds: float = 0
    max_ahead_seconds: float = 86400
    max_behind_seconds: float = 946_728_000
    allowed_lateness_seconds: float = 0
    largest_key: int = 0


@dataclass(slots=True)
class Expected:
    """Everything that must be published, by input partition and in input order, and the sequences behind it."""

    predictions: dict[int, list[Predicted]] = field(default_factory=dict)
    dead_letters: dict[int, list[Rejected]] = field(default_factory=dict)
    sequences: dict[KeyName, list[list[Sample]]] = field(default_factory=dict)
    duplicates: int = 0
    forgotten: int = 0  # null values
    static: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Key:
    """What is known of a key. `open` is False when its next sample starts afresh."""

    time: int | None = None
    last_number: int | None = None
    open: bool = False


class _Bad(Exception):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def expected(
    records: Mapping[int, Iterable[InputRecord]],
    rules: Rules,
    is_finite: Callable[[list[Sample]], bool] | None = None,
) -> Expected:
    """What the processor must publish for these records (partition -> its records by rising offset).

    is_finite: whether the model's answer to the last sample of a sequence, after the others, and its state are finite
    (None: always).
    """
    result = Expected(static=rules.static)
    for partition, events in sorted(records.items()):
        _partition(partition, events, rules, is_finite, result)
    return result


def _partition(
    partition: int,
    records: Iterable[InputRecord],
    rules: Rules,
    is_finite: Callable[[list[Sample]], bool] | None,
    result: Expected,
) -> None:
    keys: dict[bytes, _Key] = {}
    stream_time: int | None = None
    predictions: list[Predicted] = []
    dead_letters: list[Rejected] = []
    result.predictions[partition], result.dead_letters[partition] = predictions, dead_letters

    def reject(record: InputRecord, reason: Reason) -> None:
        dead_letters.append(Rejected(partition, record.offset, record.key, record.value, reason))

    for record in records:
        # 1. Bad, or a null value: neither moves the stream time.
        try:
            event = _read(record, rules)
        except _Bad as bad:
            reject(record, bad.reason)
            continue
        assert record.key is not None
        if event is None:
            keys.pop(record.key, None)
            result.forgotten += 1
            continue

        # 2. Late: this does not move it either (it could not).
        lateness = rules.allowed_lateness_seconds * 1000
        if lateness and stream_time is not None and event.time < stream_time - lateness:
            reject(record, Reason.LATE)
            continue
        stream_time = event.time if stream_time is None else max(stream_time, event.time)

        # 3. Idle: as if never seen.
        key = keys.get(record.key, _Key())
        idle = rules.idle_seconds * 1000
        if idle and key.time is not None and stream_time - key.time > idle:
            key = _Key()

        # 4. Duplicate: changes nothing of its key, not even its time.
        if event.number is not None and key.last_number is not None and event.number <= key.last_number:
            result.duplicates += 1
            continue

        # 5. Afresh: nothing is taken along but the last sequence number.
        gap = rules.gap_seconds * 1000
        after_gap = bool(gap) and key.time is not None and event.time - key.time > gap
        afresh = not key.open or after_gap or event.start

        # 6. Step. A static input that is missing or another one than the sequence began with, and an answer that is
        # not finite, leave everything of the key as it was.
        sequences = result.sequences.setdefault((partition, record.key), [])
        features = _with_static(event.features, None if afresh else sequences[-1][0].features, rules)
        if features is None:
            reject(record, Reason.WRONG_STATIC)
            continue
        sample = Sample(features, partition, record.offset)
        if is_finite is not None and not is_finite([sample] if afresh else [*sequences[-1], sample]):
            reject(record, Reason.NOT_FINITE)
            continue
        if afresh:
            sequences.append([])
        sequences[-1].append(sample)
        count = len(sequences[-1])
        predictions.append(Predicted(partition, record.offset, record.key, event.time, count, len(sequences) - 1))

        number = key.last_number if event.number is None else event.number
        time = event.time if afresh or key.time is None else max(key.time, event.time)
        keys[record.key] = _Key(time, number, open=not (event.end or count == rules.length))


class _Event(NamedTuple):
    features: dict[str, Any]
    time: int
    number: int | None
    start: bool
    end: bool


def _read(record: InputRecord, rules: Rules) -> _Event | None:
    """The event of a record, None for a null value; raises _Bad with the first fault, in the documented order."""
    if record.key is None:
        raise _Bad(Reason.NO_KEY)
    if rules.largest_key and len(record.key) > rules.largest_key:
        raise _Bad(Reason.TOO_LARGE)
    if record.value is None:
        return None
    fields = _parse(record.value)
    if not isinstance(fields, dict):
        raise _Bad(Reason.WRONG_TYPE)
    features = _features(fields.get("features"), rules)
    time = _integer(fields.get("time"), -_GREATEST_TIME, _GREATEST_TIME)
    number = _integer(fields.get("sequence"), -(2**63), 2**63 - 1)
    start, end = _boolean(fields.get("start")), _boolean(fields.get("end"))
    if time is None:
        time = record.timestamp
    if abs(time) > _GREATEST_TIME:
        raise _Bad(Reason.WRONG_TYPE)
    ahead = rules.max_ahead_seconds * 1000
    if ahead and record.timestamp >= 0 and time - record.timestamp > ahead:
        raise _Bad(Reason.TIME_AHEAD)
    behind = rules.max_behind_seconds * 1000
    if behind and record.timestamp >= 0 and record.timestamp - time > behind:
        raise _Bad(Reason.TIME_BEHIND)
    return _Event(features, time, number, start, end)


def _with_static(given: dict[str, Any], first: dict[str, Any] | None, rules: Rules) -> dict[str, Any] | None:
    """The features with the static inputs of the running sequence (`first`: of its first sample; None: this is it).

    None where one is missing, or another one than that.
    """
    for name in rules.static:
        if first is None and name not in given:
            return None
        # As text, to the bit: -0.0 is another number than 0.0.
        if first is not None and name in given and repr(given[name]) != repr(first[name]):
            return None
    whole = given if first is None else {**given, **{name: first[name] for name in rules.static}}
    return {name: whole[name] for name in rules.inputs}


def _parse(value: bytes) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)

    try:
        fields = json.loads(value.decode("utf-8"), parse_constant=refuse, parse_int=_whole)
        too_deep = _depth(fields) > _DEEPEST
    except (ValueError, RecursionError):
        raise _Bad(Reason.UNDECODABLE) from None
    if too_deep:
        raise _Bad(Reason.UNDECODABLE)
    return fields


def _whole(digits: str) -> float:
    """An integer; one that is beyond every type, and that Python may refuse to convert, is infinite."""
    return int(digits) if len(digits) < 400 else math.inf


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _features(given: Any, rules: Rules) -> dict[str, Any]:
    if given is None:
        raise _Bad(Reason.MISSING_FEATURES)
    if not isinstance(given, dict):
        if len(rules.inputs) > 1:
            raise _Bad(Reason.WRONG_TYPE)
        given = dict.fromkeys(rules.inputs, given)
    if not given.keys() <= rules.inputs.keys():
        raise _Bad(Reason.UNKNOWN_INPUT)
    there = {name: shape for name, shape in rules.inputs.items() if given.get(name) is not None}
    if not there.keys() >= rules.inputs.keys() - rules.static:
        raise _Bad(Reason.MISSING_FEATURES)
    return {name: _numbers(given[name], shape, name in rules.tokens) for name, shape in there.items()}


def _numbers(given: Any, shape: tuple[int, ...], token: bool) -> Any:
    """Numbers nested as `shape`: floats that float32 can hold, or integers of 32 bits."""
    if type(given) not in (int, float, list):
        raise _Bad(Reason.WRONG_TYPE)
    if (type(given) is list) != bool(shape) or (shape and len(given) != shape[0]):
        raise _Bad(Reason.WRONG_SHAPE)
    if shape:
        return [_numbers(item, shape[1:], token) for item in given]
    if token:
        return _integer(given, -(2**31), 2**31 - 1)
    return _float32(given)


def _float32(given: float) -> float:
    """The nearest float32."""
    try:
        nearest: float = struct.unpack("<f", struct.pack("<f", given))[0]
    except (OverflowError, struct.error):
        raise _Bad(Reason.NOT_FINITE) from None
    if not math.isfinite(nearest):
        raise _Bad(Reason.NOT_FINITE)
    return nearest


def _integer(given: Any, least: int, greatest: int) -> int | None:
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= greatest:
        raise _Bad(Reason.WRONG_TYPE)
    return given


def _boolean(given: Any) -> bool:
    if given is not None and not isinstance(given, bool):
        raise _Bad(Reason.WRONG_TYPE)
    return bool(given)
