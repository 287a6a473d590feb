"""The converter: a trained Keras model becomes an artifact. The only importer of keras and tensorflow.

Importing this package imports neither: that takes seconds, and `convert` and `verify` do it when they are called.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from processor.model.convert.again import python_call
from processor.model.convert.pytorch.export import export_pytorch
from processor.model.convert.refusal import ConversionRefused, NotThisModel, Obstacle
from processor.model.convert.report import Report

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from processor.model.convert.interface import TimeAxis
    from processor.model.convert.remedies import Again

    Progress = Callable[[str, float], None]

__all__ = ["RULE_API", "ConversionRefused", "NotThisModel", "Obstacle", "Report", "convert", "export_pytorch", "verify"]

RULE_API: Final = ("Call", "Flow", "InTheWay", "Piece", "Rule", "rule_for")
"""What a rule of one's own is made of: `from processor.model.convert import Rule, rule_for` (imports Keras)."""


def __getattr__(name: str) -> Any:
    if name not in RULE_API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from processor.model.convert.quiet import prepare

    prepare()
    from processor.model.convert import rules

    return getattr(rules, name)


def convert(
    model: Any,
    directory: str | os.PathLike[str],
    mode: str = "auto",
    length: int | None = None,
    examples: Any = None,
    tolerance: float = 1e-5,
    time_axis: TimeAxis = None,
    progress: Progress | None = None,
    thorough: bool = False,
    *,
    weights: str | os.PathLike[str] | None = None,
    force: bool = False,
    imports: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """Turns a trained model into an artifact, after it has compared the step graph with the model.

    Args:
        model: a keras.Model, a torch.nn.Module, or a path: a `.keras` or `.h5` file, a description (see `weights`), or
            an `.npz` that `export_pytorch` wrote.
        directory: where the artifact goes.
        mode: auto, carry, tumbling or window.
        length: the N of tumbling or the T of window; by default the model's own.
        examples: sequences [rows, samples, *sample shape] to compare beside random ones: an array, a mapping by input
            name, or the path of an .npz.
        tolerance: the greatest |error| / max(1, |truth|) that is accepted.
        time_axis: the axis of time in the inputs (by name, or one for all); by default the one that the recurrent
            layers run over.
        progress: is called with the name of the current part, and the share of it that is done (0 to 1).
        thorough: compares more, in up to half an hour and 8 GB instead of a minute and 2 GB.
        weights: the path of an HDF5 file with the weights, if `model` is the path of a description alone (`.json` or
            `.yaml`).
        force: replaces an artifact of another model, too. One of the same weights is always replaced.
        imports: your own Python files or modules that run first, because the model file names classes in them.

    Returns:
        The report with the certificate. The artifact's manifest has the certificate, too.

    Raises:
        ConversionRefused: the model cannot be stepped in this mode, or not exactly; nothing was written.
        OtherModel (a ConfigError): there is an artifact of another model at `directory`, and no `force`.
        ConfigError: an argument is wrong, there is no such file, or the artifact cannot be written.
    """
    from processor.model.artifact import check_target

    check_target(directory)
    from processor.model.convert.quiet import prepare

    given = {"mode": mode, "length": length, "examples": examples, "tolerance": tolerance, "time_axis": time_axis}
    given |= {"thorough": thorough, "weights": weights, "force": force, "imports": imports}
    tell = progress or _silent
    tell("loading TensorFlow", 0.0)
    prepare()
    from processor.model.convert.conversion import convert_model

    with _typed_again(model, directory, given) as typed:
        report = convert_model(
            model,
            directory,
            mode,
            length,
            examples,
            tolerance,
            time_axis,
            thorough,
            tell,
            weights,
            force=force,
            imports=imports,
        )
    return report.type_as(typed)


def verify(
    directory: str | os.PathLike[str],
    model: Any,
    examples: Any = None,
    time_axis: TimeAxis = None,
    progress: Progress | None = None,
    thorough: bool = False,
    *,
    weights: str | os.PathLike[str] | None = None,
    imports: Iterable[str | os.PathLike[str]] = (),
) -> Report:
    """Runs the certificate of an artifact again, against a model and on your own sequences.

    Args:
        directory: the artifact.
        model: the trained model, as `convert` takes it.
        examples: your sequences, as `convert` takes them. With an array `labels` beside them (in an .npz or a mapping),
            the report also contains how good the step and the model are.
        time_axis, progress, thorough, weights, imports: as `convert` takes them.

    Returns:
        The report of this run. The artifact stays as it is.

    Raises:
        NotThisModel: the artifact and the model differ; its `report` shows where.
        ConversionRefused, ConfigError: as `convert`; Incompatible: the artifact is damaged.
    """
    from processor.model.convert.quiet import prepare

    tell = progress or _silent
    tell("loading TensorFlow", 0.0)
    prepare()
    from processor.model.convert.conversion import verify_model

    given = {"examples": examples, "time_axis": time_axis, "thorough": thorough, "weights": weights, "imports": imports}
    with _typed_again(model, directory, given) as typed:
        return verify_model(directory, model, examples, time_axis, thorough, tell, weights, imports).type_as(typed)


@contextmanager
def _typed_again(model: Any, directory: Any, given: dict[str, Any]) -> Iterator[Callable[[Again], str]]:
    """Words other calls with the arguments that were given; those of a refusal from inside, too."""
    typed = python_call(model, directory, given)
    try:
        yield typed
    except ConversionRefused as refusal:
        refusal.type_as(typed)
        raise


def _silent(_stage: str, _part: float) -> None:
    pass
