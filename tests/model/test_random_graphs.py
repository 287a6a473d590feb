"""Random model graphs: each converts, and says what the trained model says; or is refused for a reason of the list.

A few are drawn in every run of the tests. Thousands:

    PROCESSOR_RANDOM_GRAPHS=2000 python -m pytest -q -s tests/model/test_random_graphs.py
"""

from __future__ import annotations

import collections
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import processor
from model import random_graphs
from processor.model.convert import ConversionRefused, Obstacle

MANY = int(os.environ.get("PROCESSOR_RANDOM_GRAPHS", "0"))
SAMPLES = 7


def reason(refusal: ConversionRefused) -> str:
    drifts = refusal.reason is Obstacle.NOT_EXACT and "no step can be nearer" in refusal.cause
    assert refusal.reason in random_graphs.REASONS or drifts, refusal
    assert refusal.remedies, refusal
    return str(refusal.reason)


def outcome(model: Any, directory: Path) -> str:
    """Converts a model, and holds the artifact against it by other means than the certificate; or why it is refused."""
    try:
        report = processor.convert(model, directory / "a")
    except ConversionRefused as refusal:
        return reason(refusal)
    rng = np.random.default_rng(11)
    x = {
        spec.name: rng.integers(0, 7, (3, SAMPLES)).astype(np.int32)
        if spec.dtype == "int32"
        else rng.standard_normal((3, SAMPLES, *spec.shape)).astype(np.float32)
        for spec in report.inputs
    }
    for values in x.values():
        values[0, 2], values[1, :2] = 0, 0  # missing, where the model heeds that
    got = processor.load(directory / "a").run(x)
    answers = list(got.values()) if isinstance(got, dict) else [got]
    length = model.inputs[0].shape[1]
    for t in range(1, SAMPLES + 1) if length is None else [length]:
        inputs = [x[spec.name][:, :t] for spec in report.inputs]
        known = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
        for mine, spec, output in zip(answers, report.outputs, known, strict=True):
            truth = np.asarray(output)
            truth = truth[:, -1] if truth.ndim > 1 + len(spec.shape) else truth
            finite = np.isfinite(truth)
            error = np.abs(mine[:, t - 1][finite] - truth[finite]) / np.maximum(1, np.abs(truth[finite]))
            assert error.size == 0 or error.max() <= 2e-5
    return "converted"


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_random_graph_converts_or_says_why_not(data: st.DataObject) -> None:
    def draw(options: Any) -> Any:
        return data.draw(st.sampled_from(list(options)))

    with tempfile.TemporaryDirectory() as directory:
        outcome(random_graphs.model(draw), Path(directory))


def test_thousands_of_them() -> None:
    """Nothing where nobody asked for them; else how many converted, and how many were refused for what."""
    seen: collections.Counter[str] = collections.Counter()
    for seed in range(MANY):
        source = random.Random(seed)
        keras.backend.clear_session()

        def draw(options: Any, source: random.Random = source) -> Any:
            return source.choice(list(options))

        with tempfile.TemporaryDirectory() as directory:
            try:
                seen[outcome(random_graphs.model(draw), Path(directory))] += 1
            except Exception as error:
                error.add_note(f"drawn with the seed {seed}")
                raise
        if seed % 50 == 49:
            print(seed + 1, dict(seen), flush=True)
    assert sum(seen.values()) == MANY
