"""A model that answers in one's head, and a pipeline for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.codec import event_decoder, prediction_encoder
from processor.config.settings import InputSettings, OutputSettings
from processor.stepping.pipeline import Pipeline
from processor.stepping.publishing import Limits, Publisher
from processor.types import TensorSpec
from protocol.abstract.client import INPUT

if TYPE_CHECKING:
    from processor.state.arena import Arena
    from processor.stepping.sequence import SequenceRules

FINGERPRINT: Final = 0x0123456789ABCDEF
ARTIFACT: Any = SimpleNamespace(
    inputs=(TensorSpec("x", (1,)),),
    outputs=(TensorSpec("mixed", (1,)),),
    layout=(SimpleNamespace(name="mix#0.mixed", start=0, stop=1, dtype="float32"),),
    initial_state=np.array([3.0], np.float32),
    model_id=f"{FINGERPRINT:016x}"[:8],
)
_DECODER = event_decoder(InputSettings(), ARTIFACT.inputs, max_ahead_ms=0, largest_key=1000)
_ENCODER = prediction_encoder(OutputSettings(), ARTIFACT.outputs, ARTIFACT.model_id)


class MixingEngine:
    """A step whose answer depends on every sample of the sequence and on their order; exact in float32."""

    def step(self, features: Any, state: Any) -> tuple[dict[str, Any], Any]:
        with np.errstate(invalid="ignore"):  # behind a step that is not finite
            mixed = np.where(features["x"] < 0, np.float32("inf"), (state * 5 + features["x"]) % 9973)
        return {"mixed": mixed}, mixed

    def step_run(self, features: Any, state: Any, sizes: list[int]) -> tuple[dict[str, Any], Any]:
        states, start = [], 0
        for size in sizes:
            _, state = self.step({"x": features["x"][start : start + size]}, state[:size])
            states.append(state)
            start += size
        after = np.concatenate(states)
        return {"mixed": after.copy()}, after

    def warm(self, state: Any) -> Any:
        return np.ones(len(state), np.bool_)


def new_pipeline(arena: Arena, rules: SequenceRules) -> Pipeline:
    engine: Any = MixingEngine()
    return Pipeline(ARTIFACT, engine, arena, _DECODER, Publisher(_ENCODER, INPUT, Limits()), rules)
