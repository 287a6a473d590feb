"""`convert`, `verify`, `info`: what turns a trained model into an artifact, and what looks at one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.output import Json, answers, errors, print_json, progress

if TYPE_CHECKING:
    from processor.model.convert import ConversionRefused, Report

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
        float, typer.Option("--tolerance", help="Greatest error allowed, relative to answers above 1.")
    ] = 1e-5,
    time_axis: TimeAxis = None,
    thorough: Thorough = False,
    html: HtmlReport = None,
    as_json: Json = False,
) -> None:
    """Turn a trained Keras or PyTorch model into an artifact, and verify that it answers the same.

    Prints the layers with their rules, the slots of a key's state and the greatest error; or the layer in the way, why,
    and what to do. Needs the extra `convert` (TensorFlow).
    """
    from processor.model.convert import ConversionRefused
    from processor.model.convert import convert as convert_model

    try:
        with progress() as tell:
            report = convert_model(
                model,
                output,
                mode=mode.value,
                length=length,
                examples=examples,
                tolerance=tolerance,
                time_axis=time_axis,
                progress=tell,
                thorough=thorough,
                weights=weights,
            )
    except ConversionRefused as refusal:
        if refusal.report is not None:
            _write_page(refusal.report, html)
        _show_refusal(refusal, as_json)
        raise typer.Exit(refusal.exit_code) from None
    _write_page(report, html)
    _show(report, as_json)


def verify(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Artifact directory.")],
    model: Annotated[Path, typer.Option("--model", help="The trained model that it was converted from.")],
    weights: Weights = None,
    examples: Examples = None,
    time_axis: TimeAxis = None,
    thorough: Thorough = False,
    html: HtmlReport = None,
    as_json: Json = False,
) -> None:
    """Run an artifact's certificate again, on your own sequences too. Needs the extra `convert` (TensorFlow)."""
    from processor.model.convert import ConversionRefused, NotThisModel
    from processor.model.convert import verify as verify_model

    try:
        with progress() as tell:
            report = verify_model(
                directory,
                model,
                examples=examples,
                time_axis=time_axis,
                progress=tell,
                thorough=thorough,
                weights=weights,
            )
    except ConversionRefused as refusal:
        _show_refusal(refusal, as_json)
        raise typer.Exit(refusal.exit_code) from None
    except NotThisModel as error:
        if error.report is not None:
            _write_page(error.report, html)
            _show(error.report, as_json)
        raise
    _write_page(report, html)
    _show(report, as_json)


def info(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Artifact directory.")] = Path("artifacts/model"),
    as_json: Json = False,
) -> None:
    """Show what is in an artifact: inputs, outputs, slots, weights, mode, fingerprint, versions, certificate."""
    from processor.model.artifact import load_artifact
    from processor.model.show import describe, render

    artifact = load_artifact(directory)
    if as_json:
        print_json(describe(artifact))
    else:
        render(artifact, answers())


def _show_refusal(refusal: ConversionRefused, as_json: bool) -> None:
    if as_json:
        print_json(refusal.to_dict())
    else:
        refusal.render(errors())


def _write_page(report: Report, path: Path | None) -> None:
    if path is None:
        return
    from processor.errors import ConfigError
    from processor.model.convert.page import page

    try:
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"The report cannot be written to {path}.", str(error), "Name another file.") from error


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        print_json(report.to_dict())
    else:
        report.render(answers())
