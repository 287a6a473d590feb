"""What comes after the last sample that a model was trained on: said wherever it is shown."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from keras import layers
from rich.console import Console

import processor
from model import models
from model.example import parts
from processor.model.artifact import Parts, load_artifact, write_artifact
from processor.model.convert.page import page
from processor.model.show import describe, render

if TYPE_CHECKING:
    from pathlib import Path

    from processor.model.convert import Report

N = 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Report]:
    """A model whose input is of N samples and whose answers depend on all of them, and what `auto` makes of it."""
    model = models.sequential(layers.SimpleRNN(6), layers.Dense(1, activation="sigmoid"), shape=(N, 3), seed=4)
    place = tmp_path_factory.mktemp("trained") / "artifact"
    return model, place, processor.convert(model, place)


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100)
    report.render(console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_auto_names_the_length_and_offers_the_other_answers(trained: tuple[Any, Path, Report]) -> None:
    _, place, report = trained
    assert (report.mode, report.length, report.trained_length) == ("carry", None, N)
    assert report.other_modes == ("tumbling", "window")
    commands = [f"processor.convert(model, {str(place)!r}, mode={mode!r})" for mode in report.other_modes]
    text = printed(report)
    assert "The model's input is of 6 samples. After sample 6, a key's sequence goes on" in text
    assert all(command in text.splitlines()[-4:][row].strip() for row, command in zip((1, 3), commands, strict=True))
    assert [one["command"] for one in report.to_dict()["offers"]] == commands
    assert "<h2>After sample 6</h2>" in page(report)


def test_the_artifact_keeps_it_and_info_shows_it(trained: tuple[Any, Path, Report]) -> None:
    _, place, _ = trained
    artifact = load_artifact(place)
    assert (artifact.trained_length, artifact.other_modes) == (N, ("tumbling", "window"))
    assert describe(artifact)["trained_length"] == N
    console = Console(file=io.StringIO(), width=200)
    render(artifact, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "after sample 6" in text
    assert f"to start afresh after sample 6:  processor convert MODEL -o {place} --mode tumbling" in text


def test_it_decides_no_answer_so_the_fingerprint_leaves_it_out(tmp_path: Path) -> None:
    before = write_artifact(tmp_path / "before", Parts(**parts()))
    known = parts(trained_length=7, other_modes=("carry", "window"))
    after = write_artifact(tmp_path / "after", Parts(**known))
    assert (before.trained_length, before.other_modes) == (None, ())
    assert before.fingerprint == after.fingerprint


def test_verify_shows_how_far_the_modes_are_apart(trained: tuple[Any, Path, Report]) -> None:
    """By hand: the model itself on the whole prefix, on what came since the fresh start, and on the last N samples."""
    model, place, _ = trained
    free = models.sequential(layers.SimpleRNN(6), layers.Dense(1, activation="sigmoid"), shape=(None, 3))
    free.set_weights(model.get_weights())
    x = models.sequences(12, 2 * N + 1)
    report = processor.verify(place, model, examples=x)
    after = range(N + 1, 2 * N + 2)
    truth = {
        "carry": [free(x[:, :t]) for t in after],
        "tumbling": [free(x[:, (t - 1) // N * N : t]) for t in after],
        "window": [model(x[:, t - N : t]) for t in after],
    }
    known = {mode: np.stack([np.asarray(y) for y in answers], axis=1)[..., 0] for mode, answers in truth.items()}
    found = report.certificate["apart"]
    assert (found["samples"], found["sequences"]) == ([N + 1, 2 * N + 1], 12)
    for pair in found["pairs"]:
        one, other = (known[mode] for mode in pair["modes"])
        assert pair["largest"] == pytest.approx(np.abs(one - other).max(), abs=1e-5)
        assert pair["labels"] == pytest.approx(((one > 0.5) != (other > 0.5)).mean())
        assert pair["largest"] > 1e-3
    assert "carry and window are up to" in printed(report)
    assert "labels differ" in page(report)


def test_sequences_that_are_too_short_to_tell(trained: tuple[Any, Path, Report]) -> None:
    model, place, _ = trained
    report = processor.verify(place, model, examples=models.sequences(3, N))
    assert "sequences of more than 6" in printed(report)


@pytest.mark.parametrize(
    ("mode", "words", "verdict"),
    [
        ("tumbling", "After sample 6, a key's sequence starts afresh.", "Exact on every prefix of the 6 samples"),
        ("window", "Each prediction is for a key's last 6 samples.", "Exact on every window of 6 samples"),
    ],
)
def test_the_other_modes_name_it_too(
    mode: str, words: str, verdict: str, trained: tuple[Any, Path, Report], tmp_path: Path
) -> None:
    report = processor.convert(trained[0], tmp_path / "artifact", mode=mode)
    text = printed(report)
    assert words in text
    assert verdict in text
    assert sorted([mode, *report.other_modes]) == ["carry", "tumbling", "window"]


def test_a_mode_that_is_not_for_the_model_is_not_offered(tmp_path: Path) -> None:
    report = processor.convert(models.flattened_model(4), tmp_path / "artifact", mode="tumbling")
    assert (report.trained_length, report.other_modes) == (4, ("window",))
    assert "Exact at the last of every 4 samples, and only there" in printed(report)
