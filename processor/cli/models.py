"""`convert`, `verify`, `info`: what turns a trained model into an artifact, and what looks at one."""

from __future__ import annotations

import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.markup import escape

from processor.cli.again import convert_again
from processor.cli.failing import tell
from processor.cli.output import Json, errors, print_json, progress, results, write_no_bytecode
from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.model.artifact import OtherModel
    from processor.model.convert import ConversionRefused, Report
    from processor.model.convert.remedies import Again

Examples = Annotated[
    Path | None,
    typer.Option("--examples", metavar="X.npz", help="Your own sequences, tried beside random ones."),
]


Weights = Annotated[
    Path | None,
    typer.Option("--weights", metavar="W.h5", help="The weights, where the model is a description (.json, .yaml)."),
]
TimeAxis = Annotated[
    int | None,
    typer.Option("--time-axis", min=1, metavar="AXIS", help="Where time lies in the inputs, where that is not plain."),
]
Thorough = Annotated[
    bool, typer.Option("--thorough", help="Compare more: up to half an hour and 8 GB, in place of a minute and 2 GB.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the artifact of another model, without a question.")]
Imports = Annotated[
    list[str] | None,
    typer.Option(
        "--import",
        metavar="FILE.py|MODULE",
        help="Code of your own that the model file needs: it is run first, and what it defines may be in the file. "
        "May be given more than once.",
    ),
]
HtmlReport = Annotated[
    Path | None, typer.Option("--report", metavar="FILE.html", help="Write the report as one page for a browser, too.")
]


class ModeChoice(StrEnum):
    """What `--mode` may be."""

    AUTO = "auto"
    CARRY = "carry"
    TUMBLING = "tumbling"
    WINDOW = "window"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(convert)
    app.command()(verify)
    app.command()(info)


def convert(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Trained model: a .keras or .h5 file, a .json or .yaml description, or an .npz of PyTorch's."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Artifact directory to write.")] = Path(
        "artifacts/model"
    ),
    mode: Annotated[
        ModeChoice, typer.Option("--mode", help="How long a key's state lives; auto: carry where the model allows it.")
    ] = ModeChoice.AUTO,
    length: Annotated[
        int | None,
        typer.Option("--length", min=1, metavar="N", help="Samples of a sequence; by default the model's own."),
    ] = None,
    weights: Weights = None,
    examples: Examples = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", help="Greatest error allowed, relative to outputs above 1.")
    ] = 1e-5,
    time_axis: TimeAxis = None,
    imports: Imports = None,
    thorough: Thorough = False,
    force: Force = False,
    html: HtmlReport = None,
    as_json: Json = False,
) -> None:
    """Turn a trained Keras or PyTorch model into an artifact, and verify that it predicts the same.

    Prints the layers with their rules, what a key's state remembers, the greatest error, and what comes after the last
    sample that the model was trained on; or the layer in the way, why, and what to do. An artifact of another model is
    replaced only if you say so. Needs the extra `convert` (TensorFlow).
    """
    from processor.model.artifact import OtherModel, check_target
    from processor.model.convert import ConversionRefused
    from processor.model.convert import convert as convert_model

    write_no_bytecode()
    check_target(output)
    _check_page(html, output)
    typed = convert_again(context)
    say_what_runs(imports)

    def attempt(force: bool) -> Report:
        with progress() as stage:
            return convert_model(
                model,
                output,
                mode=mode.value,
                length=length,
                examples=examples,
                tolerance=tolerance,
                time_axis=time_axis,
                progress=stage,
                imports=imports or (),
                thorough=thorough,
                weights=weights,
                force=force,
            )

    try:
        try:
            report = attempt(force)
        except OtherModel as other:
            _ask_to_replace(other, as_json)
            report = attempt(True)
    except ConversionRefused as refusal:
        _end_refused(refusal, typed, html, as_json)
    _write_page(report.type_as(typed), html)
    _show(report.type_as(typed), as_json)


def verify(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Artifact directory.")],
    model: Annotated[Path, typer.Option("--model", help="The trained model that it was converted from.")],
    weights: Weights = None,
    examples: Examples = None,
    time_axis: TimeAxis = None,
    imports: Imports = None,
    thorough: Thorough = False,
    html: HtmlReport = None,
    as_json: Json = False,
) -> None:
    """Run an artifact's certificate again, on your own sequences too. Needs the extra `convert` (TensorFlow)."""
    from processor.model.convert import ConversionRefused, NotThisModel
    from processor.model.convert import verify as verify_model

    write_no_bytecode()
    _check_page(html, directory)
    typed = convert_again(context)
    say_what_runs(imports)
    try:
        with progress() as stage:
            report = verify_model(
                directory,
                model,
                examples=examples,
                time_axis=time_axis,
                progress=stage,
                imports=imports or (),
                thorough=thorough,
                weights=weights,
            )
    except ConversionRefused as refusal:
        _end_refused(refusal, typed, html, as_json)
    except NotThisModel as error:
        if error.report is None:
            raise
        _write_page(error.report, html)
        _show(error.report, as_json)
        tell(error, errors())  # the report is the one document on standard output
        raise typer.Exit(error.exit_code) from None
    _write_page(report.type_as(typed), html)
    _show(report.type_as(typed), as_json)


def info(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Artifact directory.")] = Path("artifacts/model"),
    as_json: Json = False,
) -> None:
    """Show what is in an artifact: inputs, outputs, state, weights, mode, fingerprint, versions, certificate."""
    from processor.model.artifact import load_artifact
    from processor.model.show import describe, render

    artifact = load_artifact(directory)
    if as_json:
        print_json(describe(artifact))
    else:
        render(artifact, results())


def say_what_runs(imports: list[str] | None) -> None:
    """Names the user's own code, before it runs."""
    for source in imports or ():
        errors().print(f"Running your own code first: {escape(source)}", style="dim")


def _ask_to_replace(other: OtherModel, as_json: bool) -> None:
    """Raises `other` where nobody can be asked, or the answer is no."""
    if as_json or not sys.stdin.isatty():
        raise other
    tell(other, errors())
    if not typer.confirm("Replace it?", default=False, err=True):
        errors().print("Nothing was changed.", highlight=False)
        raise typer.Exit(other.exit_code)


def _end_refused(
    refusal: ConversionRefused, typed: Callable[[Again], str], html: Path | None, as_json: bool
) -> NoReturn:
    """Shows a refusal, with its commands as the user would type them."""
    refusal.type_as(typed)
    if refusal.report is not None:
        _write_page(refusal.report, html)
    if as_json:
        print_json(refusal.to_dict())
    else:
        refusal.render(errors())
    raise typer.Exit(refusal.exit_code) from None


def _check_page(path: Path | None, artifact: Path) -> None:
    """Tries whether the report can be written, before the work: by a file that is removed again.

    Raises:
        ConfigError: it cannot be written, or would lie in the artifact's directory, which holds nothing else.
    """
    if path is None:
        return
    if artifact.resolve() in path.resolve().parents:
        raise ConfigError(
            f"The report cannot be written to {path}.",
            f"{artifact} is the artifact's directory, and holds nothing else.",
            f"Write it beside: --report {artifact}.html",
        )
    try:
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a directory")
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise _no_page(path, error) from error


def _write_page(report: Report, path: Path | None) -> None:
    if path is None:
        return
    from processor.model.convert.page import page

    try:
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise _no_page(path, error) from error


def _no_page(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"The report cannot be written to {path}.", str(error), "Name another file.")


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        report.render(results())
