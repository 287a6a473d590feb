"""The example model, trained and converted before one's eyes: what the commands of this package show things on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from processor.model.convert import convert
from processor.trial.live_display import step

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from processor.model.convert.example import Trained


def prepare(console: Console, model: Path, artifact: Path) -> Trained:
    """Trains the example, saves it as `model`, converts it to `artifact`, and shows the certificate's report.

    Raises:
        ConfigError: Keras or TensorFlow is not installed.
    """
    from processor.model.convert.example import INPUT, WINDOW, train

    with step(console, "Train a Keras model") as tell:
        tell("loading TensorFlow")
        trained = train(model, epoch_done=lambda n, of: tell(f"epoch {n} of {of}"))
        tell(
            f"LSTM(32), LSTM(16), Dense(1), {trained.parameters:,} weights, windows of {WINDOW} {INPUT}, "
            f"accuracy {trained.accuracy:.1%}"
        )
    with step(console, "Convert it to a step graph") as tell:
        report = convert(trained.path, artifact, mode="carry", progress=lambda stage, _: tell(stage))
        tell("")
    report.render(console)
    return trained
