"""An artifact's parts with something of everything, which no engine could run: what the files need, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np

from processor.model.artifact import Golden, Slot
from processor.types import TensorSpec

LAYOUT = (
    Slot("encoder/lstm_1#0.h", (2, 3), "float32", 0, 6),
    Slot("lstm_2#0.c", (1,), "float32", 6, 7),
    Slot("steps", (), "int32", 7, 8),
    Slot("token.static", (), "int32", 8, 9),
    Slot("static", (), "int32", 9, 10),
)


def parts(**changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(3)
    initial = np.arange(10, dtype=np.float32) / 7
    initial.view(np.int32)[7] = 0x7FA00001  # as float32 a signalling NaN
    given: dict[str, Any] = {
        "inputs": (TensorSpec("../odd name", (3,)), TensorSpec("token", (), "int32", static=True)),
        "outputs": (TensorSpec("dense", (1,)),),
        "mode": "tumbling",
        "length": 7,
        "layout": LAYOUT,
        "initial_state": initial,
        "step_graph": bytes(range(256)) * 8,
        "golden": Golden(
            {"../odd name": random.normal(size=(2, 4, 3)).astype("f4"), "token": np.ones((2, 4), "i4")},
            {"dense": random.normal(size=(2, 4, 1)).astype("f4")},
            np.tile(initial, (2, 1)),
        ),
        "tolerance": 1e-5,
        "certificate": {"errors": {"dense": np.float64(1.25e-7)}, "growth": [1e-8, np.float32(0.5)], "ok": np.True_},
        "layers": [{"name": "lstm_1", "class": "LSTM", "rule": "recurrent"}],
        "weights": [{"layer": "lstm_1", "name": "kernel", "shape": [3, 128], "dtype": "float32"}],
        "versions": {"keras": "3.15.1"},
        "repairs": ["lstm_1: time_major was dropped"],
        "tile": 64,
        "exact_prefix": False,
    }
    return given | changes
