"""Known answers: how good the step is on the user's own sequences, beside the trained model itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from processor.errors import ConfigError
from processor.model.convert.accuracy import span
from processor.model.convert.files import read_arrays
from processor.model.convert.sequences import all_sequences
from processor.model.engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.interface import Interface
    from processor.model.convert.reference import Reference

_NAMES: Final = ("labels", "y", "Y")
_FORM: Final = "Labels are one number or one class for each sequence, named 'labels' beside the sequences."
_AT_ONCE: Final = 1024


def accuracy_on_labels(
    artifact: Artifact, truth: Reference, examples: Any, interface: Interface
) -> dict[str, Any] | None:
    """What the step and the trained model make of labelled sequences, or None where there are no labels.

    The answer after the last sample of each sequence counts: the share of right classes, or the mean distance from
    numbers. Returns {measure, output, step, model, sequences}.

    Raises:
        ConfigError: the labels are not of the sequences' number, or these end where no answer is the model's own.
    """
    content = read_arrays(examples, _FORM) if examples is not None else None
    name = next((name for name in _NAMES if isinstance(content, Mapping) and name in content), None)
    if name is None or not isinstance(content, Mapping):
        return None
    labels, sequences = np.asarray(content[name]), all_sequences(content, interface)
    if labels.dtype.kind not in "biuf" or len(labels) != sequences.rows or not np.isfinite(labels).all():
        raise ConfigError(
            f"The labels are {labels.dtype}{list(labels.shape)} for {sequences.rows} sequences.", "", _FORM
        )
    between = span(artifact, sequences.length)
    if between is None:
        raise ConfigError(
            f"The labelled sequences have {sequences.length} samples.",
            f"After that many, {artifact.mode} {artifact.length} has no answer of the trained model's own.",
            "Give sequences that end where one ends.",
        )
    engine, stepped, known = Engine(artifact), [], []
    for start in range(0, sequences.rows, _AT_ONCE):
        some = sequences.chosen(slice(start, start + _AT_ONCE))
        state = engine.initial_state(some.rows)
        for t in range(some.length):
            outputs, state = engine.step(some.at(t), state)
        stepped.append(next(iter(outputs.values())))
        known.append(truth.newest(some.part(*between))[0])
    measure, mine = _score(np.concatenate(stepped), labels)
    _, its = _score(np.concatenate(known), labels)
    spec = artifact.outputs[0]
    return {"measure": measure, "output": spec.name, "step": mine, "model": its, "sequences": sequences.rows}


def _score(answers: NDArray[Any], labels: NDArray[Any]) -> tuple[str, float]:
    flat = answers.reshape(len(answers), -1)
    classes = labels.reshape(len(labels), -1)
    whole = bool((classes == np.floor(classes)).all())
    if flat.shape[1] > 1 and classes.shape[1] == 1 and whole:
        return "accuracy", float((flat.argmax(axis=1) == classes[:, 0]).mean())
    if classes.shape != flat.shape:
        raise ConfigError(
            f"The labels are {labels.dtype}{list(labels.shape)}.",
            f"An answer has the shape {list(answers.shape[1:])}.",
            _FORM,
        )
    if whole and set(np.unique(classes)) <= {0, 1}:
        return "accuracy", float(((flat > 0.5) == (classes > 0.5)).mean())
    return "mean distance", float(np.abs(flat - classes).mean())
