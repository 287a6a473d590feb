"""What a conversion costs, by default, of models that people have: seconds and the most memory of the whole command.

    python -m benchmarks.conversion [--only WORD] [--thorough]

Each model is saved as a `.keras` file and converted by a process of its own, as `processor convert` does it. `budget`
says whether the conversion kept 2 GB and 60 s.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS, BYTES = 60.0, 2 << 30
_MOST_SECONDS = 300


@dataclass(frozen=True)
class Case:
    """A model by name, how it is built, and the options of its conversion."""

    name: str
    build: Callable[[], Any]
    options: tuple[str, ...] = ()


def cases() -> list[Case]:
    """All models of the table, the small ones first."""
    import keras
    from keras import layers

    def chain(shape: tuple[int | None, ...], *middle: Any, dtype: str = "float32") -> Any:
        return keras.Sequential([keras.Input(shape, dtype=dtype), *middle])

    def tokens(size: int, units: int, *, each: bool = False) -> Any:
        cell = layers.LSTM(units, return_sequences=each)
        return chain((None,), layers.Embedding(size, 64), cell, layers.Dense(size, "softmax"), dtype="int32")

    def images(side: int, length: int | None = None) -> Any:
        each = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(16, 3, activation="relu"),
                layers.GlobalAveragePooling2D()]  # fmt: skip
        return chain((length, side, side, 3), *map(td, each), layers.LSTM(32), head)

    def large_images() -> Any:
        eye = keras.applications.MobileNetV2(
            input_shape=(224, 224, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
        )
        return chain((10, 224, 224, 3), td(eye), layers.LSTM(64), head)

    def flattened(length: int) -> Any:
        return chain((length, 3), layers.LSTM(16, return_sequences=True), layers.Flatten(), layers.Dense(1))

    def stacked(units: int, depth: int) -> Any:
        return chain((None, 16), *(layers.LSTM(units, return_sequences=True) for _ in range(depth)), layers.Dense(1))

    def lstm(units: int) -> Any:
        return layers.LSTM(units, return_sequences=True)

    def both(length: int) -> Any:
        return chain((length, 3), layers.Bidirectional(layers.LSTM(16)), head)

    def recurrent_images() -> Any:
        cell = layers.ConvLSTM2D(16, 3, padding="same")
        return chain((None, 64, 64, 3), cell, layers.GlobalAveragePooling2D(), head)

    def small_images() -> Any:
        return chain((None, 16, 16, 3), td(layers.Conv2D(8, 3)), td(layers.Flatten()), layers.LSTM(16), head)

    def with_model_inside() -> Any:
        chained = [keras.Input((6,)), layers.Dense(12, "relu"), layers.LayerNormalization(), layers.Dense(4)]
        first = layers.EinsumDense("btf,fg->btg", (None, 6))
        return chain((None, 3), first, td(keras.Sequential(chained)), layers.GRU(8), head)

    head, td = layers.Dense(1, "sigmoid"), layers.TimeDistributed
    window, tumbling = ("--mode", "window"), ("--mode", "tumbling")
    return [
        Case("LSTM(8), TimeDistributed(Dense(1))", lambda: chain((None, 3), lstm(8), td(layers.Dense(1)))),
        Case("TimeDistributed(LSTM(4)) on 5x3", lambda: chain((None, 5, 3), td(layers.LSTM(4)))),
        Case("the same, LSTM(4)", lambda: chain((None, 5, 3), td(layers.LSTM(4)), layers.LSTM(4), head)),
        Case("TimeDistributed(Conv2D(8)) on 16x16x3, LSTM(16)", small_images),
        Case("EinsumDense, TimeDistributed(Sequential), GRU(8)", with_model_inside),
        Case("next word of 20,000", lambda: tokens(20_000, 128)),
        Case("next word of 20,000 at each checkpoint", lambda: tokens(20_000, 64, each=True)),
        Case("next word of 50,000", lambda: tokens(50_000, 256)),
        Case("LSTM(32) over T = 10", lambda: chain((10, 3), layers.LSTM(32), head)),
        Case("LSTM(32) over T = 5,000", lambda: chain((5000, 3), layers.LSTM(32), head)),
        Case("the same behind TimeDistributed(Dense(8))",
             lambda: chain((5000, 3), td(layers.Dense(8)), layers.LSTM(32), head)),
        Case("LSTM(16), Flatten over T = 1,000", lambda: flattened(1000), tumbling),
        Case("Bidirectional(LSTM(16)) over T = 100", lambda: both(100), window),
        Case("Bidirectional(LSTM(16)) over T = 200", lambda: both(200), tumbling),
        Case("ConvLSTM2D(16) on 64x64x3", recurrent_images),
        Case("two Conv2D on 64x64x3, LSTM(32)", lambda: images(64)),
        Case("two Conv2D on 128x128x3, LSTM(32) over T = 30", lambda: images(128, 30)),
        Case("MobileNetV2(0.35) on 224x224x3, LSTM(64) over T = 10", large_images),
        Case("two LSTM(450)", lambda: stacked(450, 2)),
        Case("three LSTM(1,050)", lambda: stacked(1050, 3)),
    ]  # fmt: skip


def main() -> None:
    """Prints a row for each model as it ends, and exits with 1 where one was not converted within the budget."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", metavar="WORD", help="models whose name holds it")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the models from the N-th on")
    parser.add_argument("--thorough", action="store_true")
    parser.add_argument("--build", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if asked.build:
        next(case for case in cases() if case.name == asked.build[0]).build().save(asked.build[1])
        return
    missed = 0
    print("| model | weights, MB | s | s of CPU | peak, MB | compared |\n|---|---:|---:|---:|---:|---|", flush=True)
    for case in cases()[asked.first :]:
        if asked.only in case.name:
            row, kept = _row(case, ["--thorough"] if asked.thorough else [])
            missed += not kept
            print(row, flush=True)
    sys.exit(bool(missed))


def _row(case: Case, more: list[str]) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory() as place:
        file = str(Path(place) / "model.keras")
        subprocess.run([sys.executable, "-m", "benchmarks.conversion", "--build", case.name, file], check=True)
        command = [sys.executable, "-m", "processor", "convert", file, "-o", f"{place}/artifact", "--json"]
        began = time.perf_counter()
        code, out, err, cpu, peak = _measured([*command, *case.options, *more])
        seconds = time.perf_counter() - began
        weights = Path(file).stat().st_size / 2**20
    said = _compared(json.loads(out)["certificate"]) if code == 0 else " ".join(err.split()[-40:])
    said = f"exit {code}: {said}" if code else said
    row = f"| {case.name} | {weights:.1f} | {seconds:.0f} | {cpu:.0f} | {peak / 2**20:.0f} | {said} |"
    return row, code == 0 and seconds <= SECONDS and peak <= BYTES


def _compared(certificate: dict[str, Any]) -> str:
    """Lengths of prefixes, samples of the long run, random predictions."""
    detail = {check["name"]: check["detail"] for check in certificate["checks"]}
    prefixes = (detail.get("every prefix") or detail.get("every window", "")).partition(";")[0]
    reach = detail.get("the long run", "").partition(":")[0]
    predictions = (certificate["spread"] or {}).get("predictions", 0)
    return "; ".join(part for part in (prefixes, reach, f"{predictions:,} predictions") if part)


def _measured(command: list[str]) -> tuple[int, str, str, float, int]:
    """Runs a command: its exit code, what it wrote, seconds of CPU, and its most resident memory in bytes."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err)
        ends = time.monotonic() + _MOST_SECONDS
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > ends:
                child.kill()
                _, status, usage = os.wait4(child.pid, 0)
                break
            time.sleep(0.1)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return child.returncode, out.read(), err.read(), cpu, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
