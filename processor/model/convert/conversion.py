"""Conversion and verification, from a model to a report: the order in which everything here is used."""

from __future__ import annotations

import hashlib
import math
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np
import tensorflow as tf

from processor.errors import ConfigError
from processor.model.artifact import Artifact, Golden, load_artifact, refuse_another_model, write_artifact
from processor.model.convert.after_length import apart, trained_length
from processor.model.convert.budget import DEFAULT, Budget, budget_of, sample_bytes
from processor.model.convert.certificate import Certificate, certify
from processor.model.convert.flat import untouched
from processor.model.convert.labels import accuracy_on_labels
from processor.model.convert.loading import Loaded, load
from processor.model.convert.memory import memory_is_enough, refuse_too_large
from processor.model.convert.modes import build, check_mode, layers_of
from processor.model.convert.names import plain, plain_scopes
from processor.model.convert.offers import other_modes, with_other_modes
from processor.model.convert.raised import refused_where_it_raises
from processor.model.convert.reference import Reference
from processor.model.convert.refusal import ConversionRefused, NotThisModel, Obstacle
from processor.model.convert.remedies import Again
from processor.model.convert.report import Report
from processor.model.convert.sequences import given_sequences
from processor.model.convert.stepgraph import Step, flatbuffer, plan
from processor.model.interpreter import row_bytes
from processor.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from processor.model.artifact import Slot
    from processor.model.convert.certificate import Progress
    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.modes import Built
    from processor.types import TensorSpec

_COPIES_BUILDING: Final = 8
"""As many copies of the weights are held, about, while TensorFlow and LiteRT build the step graph."""

_GREATEST_TOLERANCE: Final = 0.5
"""The most that is advised: above it, a prediction means nothing."""


@plain_scopes()
def convert_model(
    model: Any,
    directory: str | os.PathLike[str],
    mode: str,
    length: int | None,
    examples: Any,
    tolerance: float,
    time_axis: TimeAxis,
    thorough: bool,
    progress: Progress,
    weights: str | os.PathLike[str] | None = None,
    *,
    force: bool,
    imports: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """See `processor.model.convert.convert`."""
    began = time.perf_counter()
    check_mode(mode, length)
    if not 0 < tolerance < 1:
        raise ConfigError(f"The tolerance {tolerance} is out of range.", "", "A tolerance is between 0 and 1: 1e-5.")
    progress("loading the model", 0.0)
    loaded = load(model, weights, imports)
    trained = _digest(loaded.model)
    if not force:
        refuse_another_model(directory, trained)
    with untouched(loaded.model), memory_is_enough(loaded.source):
        try:
            with refused_where_it_raises(loaded.model):
                built = build(loaded.model, mode, length, time_axis)
                given = given_sequences(examples, built.interface)
                progress("building the step graph", 0.0)
                step = plan(built.machine)
                size = _size(loaded.model)
                refuse_too_large(loaded.source, _COPIES_BUILDING * size, "Building its step graph")
                content = flatbuffer(step, loaded.model.name)
                draft = _draft(loaded, built, step, tolerance, content, trained_length(built, time_axis))
                building = time.perf_counter() - began
                budget = budget_of(thorough=thorough).after(building, size)
                truth = _truth(built, draft, budget)
                draft, certificate = certify(draft, built, truth, given, budget, progress, loaded.described)
                certificate.labels = accuracy_on_labels(draft, truth, examples, built.interface)
                certificate.apart = apart(built, draft.trained_length, given, time_axis)
            if not certificate.passed:
                raise _not_exact(_report(draft, loaded, certificate, None, began), certificate)
        except ConversionRefused as refusal:
            progress("trying other modes", 0.0)
            raise with_other_modes(refusal, loaded.model, mode, length, time_axis) from refusal
        left = budget.whole - (time.perf_counter() - began)
        if 4 * building < left:  # each trial builds a step, and none is offered that was not tried
            draft = _with_other_modes(draft, loaded.model, time_axis, progress)
    parts = replace(draft, tolerance=tolerance, certificate=certificate.to_dict(), weights_sha256=trained)
    artifact = write_artifact(directory, parts)
    return _report(artifact, loaded, certificate, Path(directory), began)


@plain_scopes()
def verify_model(
    directory: str | os.PathLike[str],
    model: Any,
    examples: Any,
    time_axis: TimeAxis,
    thorough: bool,
    progress: Progress,
    weights: str | os.PathLike[str] | None = None,
    imports: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """See `processor.model.convert.verify`."""
    began = time.perf_counter()
    artifact = load_artifact(directory)
    progress("loading the model", 0.0)
    loaded = load(model, weights, imports)
    with untouched(loaded.model), memory_is_enough(loaded.source), refused_where_it_raises(loaded.model):
        built = build(loaded.model, artifact.mode, artifact.length, time_axis)
        step = plan(built.machine)
        for what, mine, its in (
            ("inputs", artifact.inputs, built.interface.inputs),
            ("outputs", artifact.outputs, built.interface.outputs),
            ("state", artifact.layout, step.layout),
        ):
            # Names may differ: Keras numbers the layers of each process from the start.
            if [(thing.shape, thing.dtype) for thing in mine] != [(thing.shape, thing.dtype) for thing in its]:
                raise NotThisModel(
                    f"The artifact {directory} was not made from this model.",
                    f"Its {what} differ: {_names(mine)} in the artifact, {_names(its)} in the model.",
                    "Name the model that it was converted from, or convert this one.",
                )
        given = given_sequences(examples, built.interface)
        # The engine goes by the artifact's names, the sequences by the model's.
        checked = replace(artifact, inputs=built.interface.inputs, outputs=built.interface.outputs)
        budget = budget_of(thorough=thorough).after(time.perf_counter() - began, _size(loaded.model))
        truth = _truth(built, checked, budget)
        checked, certificate = certify(checked, built, truth, given, budget, progress, loaded.described)
        certificate.labels = accuracy_on_labels(checked, truth, examples, built.interface)
        checked = replace(checked, trained_length=trained_length(built, time_axis))
        certificate.apart = apart(built, checked.trained_length, given, time_axis)
    report = _report(replace(checked, inputs=artifact.inputs), loaded, certificate, Path(directory), began)
    if not certificate.passed:
        failure = certificate.failure
        raise NotThisModel(
            f"The artifact {directory} does not predict what this model predicts.",
            f"{failure.name}: {failure.detail}." if failure else "",
            "Convert the model again; if it was trained further since, the artifact is of its former self.",
            report,
        )
    return report


@plain_scopes()
def truth_of(model: Any, mode: str, length: int | None, imports: Iterable[str | os.PathLike[str]] = ()) -> Reference:
    """A trained model to be asked about whole sequences, as the certificate asks it.

    Raises:
        ConversionRefused, ConfigError: as `convert`.
    """
    loaded = load(model, imports=imports)
    return _truth(build(loaded.model, mode, length, None), None, DEFAULT)


def _truth(built: Built, artifact: Artifact | None, budget: Budget) -> Reference:
    """`artifact`: its step graph has the size of what runs whole, where there is no graph of calls."""
    if built.graph is not None:
        one = sample_bytes(built.graph)
    else:
        one = row_bytes(artifact) // (built.length or 1) if artifact else 1
    least = one * ((built.length or 1) if built.at_length else 1)
    refuse_too_large(built.model.name, least, "A pass of the trained model over one sequence")
    return Reference(
        built.model,
        built.structure,
        built.interface,
        at_length=built.at_length,
        sample_bytes=max(1, one),
        held=budget.held,
    )


def _size(model: Any) -> int:
    """The bytes of its weights in float32."""
    return sum(4 * int(np.prod(weight.shape)) for weight in model.weights)


def _with_other_modes(draft: Artifact, model: Any, time_axis: TimeAxis, progress: Progress) -> Artifact:
    """The draft with the other modes that work, where the model's input names a length: they differ beyond it."""
    if draft.trained_length is None:
        return draft
    progress("trying other modes", 0.0)
    found = other_modes(model, draft.mode, draft.trained_length, None, time_axis)
    return replace(draft, other_modes=tuple(again.options["mode"] for again in found))


def _draft(loaded: Loaded, built: Built, step: Step, tolerance: float, content: bytes, trained: int | None) -> Artifact:
    """An artifact in memory, as the engine takes it, without golden vectors and never on a disk."""
    return Artifact(
        directory=Path(loaded.source),
        inputs=built.interface.inputs,
        outputs=built.interface.outputs,
        mode=built.mode,
        length=built.length,
        layout=step.layout,
        initial_state=step.initial,
        fingerprint=0,
        tile=None,
        most_rows=None,
        exact_prefix=built.exact_prefix,
        tolerance=tolerance,
        certificate={},
        layers=layers_of(built),
        repairs=loaded.repairs,
        weights=_weights(loaded.model),
        versions={
            "processor": __version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        step_graph=content,
        golden=Golden({}, {}, np.zeros((0, 0), np.float32)),
        trained_length=trained,
    )


def _digest(model: Any) -> str:
    """The SHA-256 of a model's layers and weights: of what was trained, without the names that Keras counts."""
    digest = hashlib.sha256()
    for layer in model.layers:
        digest.update(type(layer).__name__.encode())
    for weight in model.get_weights():
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).data.cast("B") if weight.size else b"")
    return digest.hexdigest()


def _weights(model: Any) -> list[dict[str, Any]]:
    return [
        {
            "layer": layer.name,
            "name": weight.path.removeprefix(f"{layer.name}/").removeprefix(f"{plain(layer.name)}/"),
            "shape": list(weight.shape),
            "dtype": str(weight.dtype),
        }
        for layer in model.layers
        for weight in layer.weights
    ]


def _report(
    artifact: Artifact, loaded: Loaded, certificate: Certificate, directory: Path | None, began: float
) -> Report:
    name = loaded.model.name if loaded.source == "MODEL" else loaded.source
    return Report(
        model=name,
        directory=directory,
        fingerprint=artifact.fingerprint_hex if directory else "",
        mode=artifact.mode,
        length=artifact.length,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        layout=artifact.layout,
        layers=artifact.layers,
        weights=artifact.weights,
        errors=certificate.errors,
        tolerance=artifact.tolerance,
        tile=artifact.tile,
        certificate=certificate.to_dict(),
        repairs=loaded.repairs,
        versions=artifact.versions,
        graph_bytes=len(artifact.step_graph),
        seconds=time.perf_counter() - began,
        passed=certificate.passed,
        trained_length=artifact.trained_length,
        other_modes=artifact.other_modes,
    )


def _not_exact(report: Report, certificate: Certificate) -> ConversionRefused:
    failure = certificate.failure
    assert failure is not None
    error = "" if failure.error is None else f" (error {failure.error:.1e}, tolerance {certificate.tolerance:.0e})"
    cause = f"{failure.name}: {failure.detail}{error}."
    remedies: list[str | Again] = []
    if certificate.explained_by_rounding:
        enough = 10.0 ** math.ceil(math.log10(2 * certificate.greatest))
        cause += (
            f" Its own float32 answers are up to {certificate.rounding:.1e} from exact ones: no step can be nearer."
        )
        if certificate.greatest < _GREATEST_TOLERANCE:
            options = {"tolerance": min(enough, _GREATEST_TOLERANCE)}
            remedies = [Again(options, "Allow what float32 costs this model, if that is good enough")]
    return ConversionRefused(
        f"The step graph of {report.model!r} does not predict what the trained model predicts.",
        layer=certificate.wrong_layer or report.model,
        reason=Obstacle.NOT_EXACT,
        cause=cause,
        remedies=remedies,
        report=report,
    )


def _names(things: Iterable[TensorSpec | Slot]) -> str:
    return ", ".join(f"{thing.name} {list(thing.shape)}" for thing in things) or "none"
