"""What each kind of layer costs to step, and how large its artifact is, beside the trained model's own speed.

    python -m benchmarks.layers [--rows 1,64,512]

Each model has 3 features and 32 units, with a Dense(1) behind; the last column is the trained model itself on 512 whole
sequences of 100 samples at once, per sample.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import processor
from processor.model.artifact import load_artifact
from processor.model.convert.quiet import prepare
from processor.model.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable

_SAMPLES = 100
_SEQUENCES = 512


def main() -> None:
    """Prints a table: layer, mode, bytes of the step graph, words of a state, microseconds a row and step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", default="1,64,512")
    rows = [int(size) for size in parser.parse_args().rows.split(",")]
    prepare()
    head = "".join(f"{f'us, {size} rows':>15}" for size in rows)
    print(f"{'layer':<34}{'mode':>14}{'graph bytes':>13}{'words':>7}{head}{'steps/s':>11}{'whole, us':>11}")
    for name, model, mode in _models():
        with tempfile.TemporaryDirectory() as directory:
            report = processor.convert(model, Path(directory) / "a", mode=mode, force=True)
            engine = Engine(load_artifact(Path(directory) / "a"))
            costs = [_step_us(engine, size, model.input_shape[2:]) for size in rows]
        length = "" if report.length is None else f" {report.length}"
        shown = "".join(f"{cost:>15.2f}" for cost in costs)
        print(
            f"{name:<34}{report.mode + length:>14}{report.graph_bytes:>13}{report.words:>7}{shown}"
            f"{1e6 / min(costs):>11.0f}{_whole_us(model):>11.2f}"
        )


def _models() -> list[tuple[str, Any, str]]:
    import keras
    from keras import layers

    def chain(*middle: Any, shape: tuple[int | None, ...] = (None, 3)) -> Any:
        return keras.Sequential([keras.Input(shape), *middle, layers.Dense(1, activation="sigmoid")])

    image = (None, 8, 8, 3)
    flat = [layers.LSTM(32, return_sequences=True), layers.LSTM(16, return_sequences=True), layers.Flatten()]
    return [
        ("LSTM", chain(layers.LSTM(32)), "carry"),
        ("GRU", chain(layers.GRU(32)), "carry"),
        ("GRU(reset_after=False)", chain(layers.GRU(32, reset_after=False)), "carry"),
        ("SimpleRNN", chain(layers.SimpleRNN(32)), "carry"),
        ("RNN([LSTMCell, GRUCell])", chain(layers.RNN([layers.LSTMCell(32), layers.GRUCell(32)])), "carry"),
        ("Masking, LSTM", chain(layers.Masking(), layers.LSTM(32)), "carry"),
        ("Conv1D(causal, 5, dilation 4)", chain(
            layers.Conv1D(32, 5, padding="causal", dilation_rate=4), layers.GlobalMaxPooling1D()), "carry"),
        ("ConvLSTM2D(8, 3) on 8x8x3", chain(layers.ConvLSTM2D(8, 3), layers.Flatten(), shape=image), "carry"),
        ("Dense, GlobalAveragePooling1D", chain(layers.Dense(32), layers.GlobalAveragePooling1D()), "carry"),
        ("LSTM, LSTM, Flatten", chain(*flat, shape=(_SAMPLES, 3)), "tumbling"),
        ("LSTM, LSTM, Flatten", chain(*flat, shape=(_SAMPLES, 3)), "window"),
        ("Bidirectional(LSTM)", chain(layers.Bidirectional(layers.LSTM(32)), shape=(_SAMPLES, 3)), "window"),
    ]  # fmt: skip


def _step_us(engine: Engine, rows: int, shape: tuple[int, ...]) -> float:
    features = {engine.artifact.inputs[0].name: np.random.default_rng(1).normal(size=(rows, *shape)).astype("f4")}
    state = engine.initial_state(rows)

    def step() -> None:
        nonlocal state
        _, state = engine.step(features, state)

    return _timed(step) / rows


def _whole_us(model: Any) -> float:
    shape = (_SEQUENCES, _SAMPLES, *model.input_shape[2:])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    return _timed(lambda: model.predict_on_batch(x), least=2) / (_SEQUENCES * _SAMPLES)


def _timed(function: Callable[[], object], least: int = 10) -> float:
    """Microseconds of a call: the median of as many as half a second holds, after two that do not count."""
    function()
    function()
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < least or time.perf_counter() - began < 0.5:
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    main()
