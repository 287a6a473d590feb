"""What must be true in the end: what one undisturbed pass over the input says, byte for byte and in order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from processor.recovery.partition import Partition, Phase
from processor.state.arena import Arena
from processor.state.record import CHECKPOINT_KEY, STATE_TAG, encode_records, state_key
from processor.types import NO_TIME, Batch, Cursor
from protocol.abstract.client import CHANGELOG, DEAD_LETTERS, OUTPUT
from protocol.history import PARTITIONS
from protocol.toy import ARTIFACT, FINGERPRINT, new_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.stepping.sequence import SequenceRules
    from protocol.history import History
    from protocol.world import World

Published = list[tuple[Any, ...]]


class Violation(AssertionError):
    """The promise is broken."""


@dataclass(slots=True)
class Truth:
    """What one pass over the whole input publishes and leaves, by partition."""

    predictions: dict[int, Published] = field(default_factory=lambda: {p: [] for p in PARTITIONS})
    dead_letters: dict[int, Published] = field(default_factory=lambda: {p: [] for p in PARTITIONS})
    states: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    stream_time: dict[int, int] = field(default_factory=dict)


class _Empty:
    """A store that has nothing."""

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        return [None] * len(keys)


def undisturbed(history: History) -> Truth:
    """One pass of the pipeline, with room for all keys. `tests/stepping` compares the pipeline with the oracle."""
    records = sorted([*history.records, *history.probes], key=lambda record: record[:2])
    arena = Arena(16, ARTIFACT.initial_state, FINGERPRINT, 0.0)
    pipeline = new_pipeline(arena, history.rules)
    partitions = {number: Partition(number) for number in PARTITIONS}
    for number, partition in partitions.items():
        partition.phase, partition.cursor = Phase.RUNNING, Cursor(0)
        arena.attach(number, _Empty())
        arena.flush_queue.stamp(number, partition.cursor)
    work = pipeline.decode(
        Batch(
            partitions=np.array([record[0] for record in records], np.int32),
            offsets=np.array([record[1] for record in records], np.int64),
            timestamps=np.zeros(len(records), np.int64),
            keys=[record[2] for record in records],
            values=[record[3] for record in records],
        ),
        partitions,
    )
    truth = Truth()
    while len(work):
        produced = pipeline.step(work, partitions, 1000)
        for number, keys, values in produced.predictions:
            truth.predictions[number] += zip(keys, values, strict=True)
        for number, _, letter in produced.dead_letters:
            truth.dead_letters[number].append((letter.key, letter.value, tuple(letter.headers)))
    for number, partition in partitions.items():
        slots = np.flatnonzero(arena.partition_of == number).astype(np.int32)
        values = encode_records(arena.records_of(slots), FINGERPRINT)
        truth.states[number] = dict(zip(map(state_key, arena.keys_of(slots)), values, strict=True))
        truth.stream_time[number] = partition.cursor.stream_time
    return truth


# The check ------------------------------------------------------------------------------------------------------


def check(world: World, truth: Truth) -> None:
    """What a read_committed reader sees, and with `exactly_once` the states that are left.

    Raises:
        Violation: it is not what the undisturbed pass says.
    """
    for partition in PARTITIONS:
        predictions, letters = _predictions(world, partition), _dead_letters(world, partition)
        if world.kafka.input_id:  # recreated: what there is must be of the former input
            _compare(f"predictions of {partition}", predictions, truth.predictions[partition][: len(predictions)])
            _compare(f"dead letters of {partition}", letters, truth.dead_letters[partition][: len(letters)])
            continue
        if not world.history.exactly_once:
            predictions = _first_ones(predictions, lambda row: (row[0], json.loads(row[1])["offset"]))
            letters = _first_ones(letters, lambda row: row[2][-1])
        _compare(f"predictions of partition {partition}", predictions, truth.predictions[partition])
        _compare(f"dead letters of partition {partition}", letters, truth.dead_letters[partition])
        if world.history.exactly_once:
            _compare_states(world, truth, partition)
            _compare_stores(world, partition)


def _predictions(world: World, partition: int) -> Published:
    return [(entry.key, entry.value) for entry in world.kafka.log(OUTPUT, partition).visible()]


def _dead_letters(world: World, partition: int) -> Published:
    entries = world.kafka.log(DEAD_LETTERS, partition).visible()
    return [(entry.key, entry.value, tuple(entry.headers or ())) for entry in entries]


def _states(world: World, partition: int) -> dict[bytes, bytes]:
    """What a restore from the changelog alone would find."""
    found: dict[bytes, bytes] = {}
    for entry in world.kafka.log(CHANGELOG, partition).visible():
        assert entry.key is not None
        found.pop(entry.key, None)
        if entry.value is not None and entry.key != CHECKPOINT_KEY:
            found[entry.key] = entry.value
    return found


def _first_ones(rows: Published, name: Callable[[tuple[Any, ...]], Any]) -> Published:
    """Without repetitions, which must have the same bytes."""
    seen: dict[Any, tuple[Any, ...]] = {}
    for row in rows:
        if seen.setdefault(name(row), row) != row:
            raise Violation(f"a repetition differs: {row} and {seen[name(row)]}")
    return list(seen.values())


def _compare(what: str, found: Published, wanted: Published) -> None:
    if found == wanted:
        return
    same = (i for i, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1])
    at = next(same, min(len(found), len(wanted)))
    here, there = found[at : at + 1], wanted[at : at + 1]
    raise Violation(f"{what}: {len(found)} found, {len(wanted)} wanted; at {at}: {here}, wanted {there}")


def _compare_states(world: World, truth: Truth, partition: int) -> None:
    """The same bytes; or nothing, where the state answers as if it were absent."""
    found, wanted = _states(world, partition), truth.states[partition]
    for key in sorted(found.keys() | wanted.keys()):
        here, there = found.get(key), wanted.get(key)
        if here == there:
            continue
        if here is None and there and _answers_as_absent(there, truth.stream_time[partition], world.history.rules):
            continue
        raise Violation(f"the state of {key!r} in partition {partition}: {here!r}, wanted {there!r}")


def _answers_as_absent(value: bytes, stream_time: int, rules: SequenceRules) -> bool:
    flags, time = value[1], int.from_bytes(value[16:24], "little", signed=True)
    is_idle = bool(rules.idle_ms) and time != NO_TIME and stream_time - time > rules.idle_ms
    return is_idle or (flags & 2 != 0 and flags & 1 == 0)


def _compare_stores(world: World, partition: int) -> None:
    """The store of the last owner has what the changelog has."""
    wanted = _states(world, partition)
    store = world.last_owners[partition].databases[partition].content
    found = {key: value for key, value in store.items() if key[:1] == STATE_TAG}
    if found != wanted:
        raise Violation(f"the store of partition {partition} has {found}, its changelog {wanted}")
