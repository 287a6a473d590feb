"""Random model graphs, thousands of them: each converts and says what the trained model says, or is refused for a
reason of the closed list. A few are drawn in every run of the tests; as many as one likes by

    PYTHONPATH=tests python -m model.draw_graphs --graphs 2000 [--first SEED]

Each is converted as a user's model is, and the greatest time and memory of a conversion are printed. `--first` goes on
from a seed.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import processor
from model import random_graphs
from model.peak import peak_afresh, peak_bytes
from processor.model.convert import ConversionRefused, Obstacle

SAMPLES = 7
WINDOW = 4
"""The length of a window over a model that has none of its own."""


def reason(refusal: ConversionRefused) -> str:
    """Why a drawn model is refused; it must be a reason that a drawn model can give, and say what would help."""
    drifts = refusal.reason is Obstacle.NOT_EXACT and "no step can be nearer" in refusal.cause
    assert refusal.reason in random_graphs.REASONS or drifts, refusal
    assert refusal.remedies, refusal
    return str(refusal.reason)


def outcome(model: Any, directory: Path) -> str:
    """Converts a model, and holds the artifact against it by other means than the certificate; or why it is refused.

    A refused model that is offered the mode `window` is converted so, and held against the model there.
    """
    length = model.inputs[0].shape[1]
    try:
        report = processor.convert(model, directory / "a", force=True)
    except ConversionRefused as refusal:
        found, steps = reason(refusal), length or WINDOW
        if not any("mode='window'" in remedy for remedy in refusal.remedies):
            return found
        report = processor.convert(model, directory / "a", mode="window", length=steps, force=True)
        hold(model, report, directory / "a", [(t - steps, t) for t in range(steps, SAMPLES + 1)])
        return f"{found}, then window"
    hold(model, report, directory / "a", [(0, t) for t in range(1, SAMPLES + 1) if length in (None, t)])
    return "converted"


def hold(model: Any, report: Any, directory: Path, spans: list[tuple[int, int]]) -> None:
    """The artifact's answer after each span (start, stop) of samples, against the model's to the span alone."""
    rng = np.random.default_rng(11)
    x = {
        spec.name: rng.integers(0, 7, (3, SAMPLES)).astype(np.int32)
        if spec.dtype == "int32"
        else rng.standard_normal((3, SAMPLES, *spec.shape)).astype(np.float32)
        for spec in report.inputs
    }
    for values in x.values():
        values[0, 2], values[1, :2] = 0, 0  # missing, where the model heeds that
    got = processor.load(directory).run(x)
    answers = list(got.values()) if isinstance(got, dict) else [got]
    for start, stop in spans:
        inputs = [x[spec.name][:, start:stop] for spec in report.inputs]
        known = keras.tree.flatten(model(inputs if len(model.inputs) > 1 else inputs[0], training=False))
        for mine, spec, output in zip(answers, report.outputs, known, strict=True):
            truth = np.asarray(output)
            truth = truth[:, -1] if truth.ndim > 1 + len(spec.shape) else truth
            finite = np.isfinite(truth)
            error = np.abs(mine[:, stop - 1][finite] - truth[finite]) / np.maximum(1, np.abs(truth[finite]))
            assert error.size == 0 or error.max() <= 2e-5


def drawn(seed: int) -> str:
    """What becomes of the graph that a seed draws."""
    source = random.Random(seed)
    keras.backend.clear_session()
    with tempfile.TemporaryDirectory() as directory:
        return outcome(random_graphs.model(lambda options: source.choice(list(options))), Path(directory))


def main() -> None:
    """Prints how many converted, how many were refused for what, and each that went wrong; exits with 1 if any did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--graphs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the seed of the first")
    asked = parser.parse_args()
    seen: collections.Counter[str] = collections.Counter()
    began = time.monotonic()
    longest, largest = (0.0, 0.0, -1), (0, -1)
    for seed in range(asked.first, asked.first + asked.graphs):
        peak_afresh()
        cpu, wall = time.process_time(), time.monotonic()
        try:
            seen[drawn(seed)] += 1
        except Exception as error:  # all that went wrong is to be seen, whatever it is
            seen["wrong"] += 1
            print(f"wrong: the seed {seed}: {type(error).__name__}: {str(error)[:500]}", flush=True)
        longest = max(longest, (time.process_time() - cpu, time.monotonic() - wall, seed))
        largest = max(largest, (peak_bytes(), seed))
        if seed % 25 == 24 or seed == asked.first + asked.graphs - 1:
            print(sum(seen.values()), json.dumps(seen), f"{time.monotonic() - began:.0f} s", flush=True)
            print(
                f"  the longest: {longest[0]:.0f} s of CPU, {longest[1]:.0f} s in all (seed {longest[2]}); "
                f"the most memory of the process: {largest[0] >> 20} MB (seed {largest[1]})",
                flush=True,
            )
    sys.exit(bool(seen["wrong"]))


if __name__ == "__main__":
    main()
