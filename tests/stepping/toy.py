"""A toy model whose answers can be checked in one's head: it adds up what it has seen. And events for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from processor.codec import event_decoder, prediction_encoder
from processor.config.settings import InputSettings, OutputSettings
from processor.model.artifact import Slot
from processor.state.arena import Arena
from processor.stepping.pipeline import Pipeline
from processor.stepping.publishing import Limits, Publisher
from processor.stepping.sequence import SequenceRules
from processor.types import Batch, TensorSpec

FINGERPRINT = 0x0123456789ABCDEF
TOPIC = "samples"


@dataclass
class SumEngine:
    """`total` of all samples of the sequence: a step as pure as a real engine's, in float32."""

    calls: list[int] = field(default_factory=list)
    runs: list[list[int]] = field(default_factory=list)

    def step(self, features: Any, state: Any) -> tuple[dict[str, Any], Any]:
        self.calls.append(len(state))
        with np.errstate(over="ignore"):
            total = state[:, :1] + features["x"]
        return {"total": total}, np.concatenate([total, state[:, 1:]], axis=1)

    def step_run(self, features: Any, state: Any, sizes: Any) -> tuple[dict[str, Any], Any]:
        self.runs.append(list(sizes))
        states, start = [], 0
        for size in sizes:
            samples = {name: column[start : start + size] for name, column in features.items()}
            _, state = self.step(samples, state[:size])
            states.append(state)
            start += size
        after = np.concatenate(states)
        return {"total": after[:, :1].copy()}, after

    def warm(self, state: Any) -> Any:
        return np.ones(len(state), np.bool_)


@dataclass
class FactorEngine(SumEngine):
    """`total` of all samples, each times the static `factor` that the sequence began with."""

    def step(self, features: Any, state: Any) -> tuple[dict[str, Any], Any]:
        self.calls.append(len(state))
        held = state[:, 2:].view(np.int32)
        factor = np.where(held > 0, state[:, 1:2], features["factor"])
        with np.errstate(over="ignore"):
            total = state[:, :1] + features["x"] * factor
        ones = np.ones_like(held).view(np.float32)
        return {"total": total}, np.concatenate([total, factor, ones], axis=1)


ARTIFACT: Any = SimpleNamespace(
    inputs=(TensorSpec("x", (1,)),),
    outputs=(TensorSpec("total", (1,)),),
    layout=(SimpleNamespace(name="sum#0.total", start=0, stop=2, dtype="float32"),),
    initial_state=np.array([0.0, 7.0], np.float32),
    model_id=f"{FINGERPRINT:016x}"[:8],
)

WITH_FACTOR: Any = SimpleNamespace(
    inputs=(TensorSpec("factor", (1,), static=True), TensorSpec("x", (1,))),
    outputs=ARTIFACT.outputs,
    layout=(
        Slot("sum#0.total", (1,), "float32", 0, 1),
        Slot("factor.static", (1,), "float32", 1, 2),
        Slot("static", (), "int32", 2, 3),
    ),
    initial_state=np.zeros(3, np.float32),
    model_id=ARTIFACT.model_id,
)


def new_arena(slots: int, now: float = 0.0, artifact: Any = ARTIFACT) -> Arena:
    return Arena(slots, artifact.initial_state, FINGERPRINT, now)


def new_pipeline(
    arena: Arena,
    rules: SequenceRules,
    limits: Limits | None = None,
    max_ahead_ms: int = 0,
    max_behind_ms: int = 0,
    artifact: Any = ARTIFACT,
) -> Pipeline:
    limits_of_time = {"max_ahead_ms": max_ahead_ms, "max_behind_ms": max_behind_ms}
    decoder = event_decoder(InputSettings(), artifact.inputs, **limits_of_time, largest_key=1000)
    encoder = prediction_encoder(OutputSettings(), artifact.outputs, artifact.model_id)
    engine: Any = SumEngine() if artifact is ARTIFACT else FactorEngine()
    publisher = Publisher(encoder, TOPIC, limits or Limits())
    return Pipeline(artifact, engine, arena, decoder, publisher, rules)


def event(x: Any, factor: float | None = None, **fields: Any) -> bytes:
    return json.dumps({"features": [x] if factor is None else {"x": [x], "factor": [factor]}, **fields}).encode()


def bare(x: Any, **fields: Any) -> bytes:
    """An event that leaves the factor out."""
    return json.dumps({"features": {"x": [x]}, **fields}).encode()


def batch(records: list[tuple[int, int, bytes | None, bytes | None]], timestamp: int = 0) -> Batch:
    """(partition, offset, key, value), ordered by partition."""
    return Batch(
        partitions=np.array([record[0] for record in records], np.int32),
        offsets=np.array([record[1] for record in records], np.int64),
        timestamps=np.full(len(records), timestamp, np.int64),
        keys=[record[2] for record in records],
        values=[record[3] for record in records],
    )
