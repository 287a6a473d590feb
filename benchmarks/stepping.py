"""The library against the ways in which people step a Keras model today: equality, and time a sample.

    python -m benchmarks.stepping [--keys 10000] [--samples 7]

1. `predict_on_batch` of a `stateful=True` twin of batch 1 with copied weights: one key, one sample at a time;
2. `predict` of the trained model on the whole sequence so far, again at every sample;
3. padding with zeros to the trained length, and `predict_on_batch`: the fall-back of those who have no state;
4. the step graph, one key at a time, and all keys at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import processor
from processor.model.convert.quiet import prepare


def main() -> None:
    """Prints a table: way, keys, microseconds a sample and key, greatest distance from the trained model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=7)
    asked = parser.parse_args()
    prepare()
    import keras
    from keras import layers

    def model(batch: int | None, length: int | None, *, stateful: bool) -> Any:
        chain = [
            layers.LSTM(32, return_sequences=True, stateful=stateful),
            layers.LeakyReLU(),
            layers.LSTM(16, stateful=stateful),
            layers.LeakyReLU(),
            layers.Dense(1, activation="sigmoid"),
        ]
        return keras.Sequential([keras.Input((length, 3), batch_size=batch), *chain])

    keras.utils.set_random_seed(1)
    trained, twin = model(None, None, stateful=False), model(1, 1, stateful=True)
    twin.set_weights(trained.get_weights())
    x = np.random.default_rng(2).standard_normal((asked.keys, asked.samples, 3)).astype(np.float32)
    steps = range(asked.samples)
    truth = np.stack([trained.predict_on_batch(x[:1, : t + 1]) for t in steps], axis=1)
    with tempfile.TemporaryDirectory() as directory:
        processor.convert(trained, Path(directory) / "artifact")
        stepper = processor.load(Path(directory) / "artifact")
    print(f"{'way':<52}{'keys':>7}{'us':>12}{'error':>10}")

    def tell(way: str, keys: int, seconds: float, answers: Any) -> None:
        error = float(np.abs(np.asarray(answers)[:1] - truth).max())
        print(f"{way:<52}{keys:>7}{seconds * 1e6 / (keys * asked.samples):>12.2f}{error:>10.1e}")

    def timed(function: Any) -> tuple[float, Any]:
        function()  # what is traced or opened at the first call is no part of it
        began = time.perf_counter()
        answers = function()
        return time.perf_counter() - began, answers

    def stateful() -> Any:
        for layer in twin.layers:
            if hasattr(layer, "reset_state"):
                layer.reset_state()
        return np.stack([twin.predict_on_batch(x[:1, t : t + 1]) for t in steps], axis=1)

    def zeros() -> Any:
        padded = [
            np.concatenate([np.zeros((1, asked.samples - t - 1, 3), np.float32), x[:1, : t + 1]], 1) for t in steps
        ]
        return np.stack([trained.predict_on_batch(some) for some in padded], axis=1)

    def whole() -> Any:
        return np.stack([trained.predict(x[:1, : t + 1], verbose=0) for t in steps], axis=1)

    tell("stateful twin, predict_on_batch", 1, *timed(stateful))
    tell("predict of the sequence so far", 1, *timed(whole))
    tell("padded with zeros, predict_on_batch (not the same)", 1, *timed(zeros))
    tell("step graph", 1, *timed(lambda: stepper.run(x[:1])))
    tell("step graph, all keys at once", asked.keys, *timed(lambda: stepper.run(x)))


if __name__ == "__main__":
    main()
