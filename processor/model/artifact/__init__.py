"""The artifact: the directory that the converter writes and the service loads, and nothing that runs it.

Three files: `manifest.json` (everything that is read by people or decided before a step), `step.tflite` (the step
graph) and `golden.npz` (sequences with the predictions that the step graph must give again, wherever it runs).

Invariants of an `Artifact`:
- its layout is as the module `layout` defines, and all its parts fit together;
- `initial_state` has one word a column and is read-only;
- the fingerprint covers all that decides a prediction, and nothing else: a new version of a tool leaves it as it is.
"""

from __future__ import annotations

from processor.model.artifact.directory import (
    OtherModel,
    check_target,
    load_artifact,
    refuse_another_model,
    write_artifact,
)
from processor.model.artifact.files import GOLDEN, MANIFEST, STEP_GRAPH
from processor.model.artifact.layout import HELD, STEPS, Mode, Slot, state_size, static_slot, static_slots
from processor.model.artifact.values import Artifact, Golden, Parts

__all__ = [
    "GOLDEN",
    "HELD",
    "MANIFEST",
    "STEPS",
    "STEP_GRAPH",
    "Artifact",
    "Golden",
    "Mode",
    "OtherModel",
    "Parts",
    "Slot",
    "check_target",
    "load_artifact",
    "refuse_another_model",
    "state_size",
    "static_slot",
    "static_slots",
    "write_artifact",
]
