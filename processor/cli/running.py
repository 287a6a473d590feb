"""`run`, `check`, `topics plan`, `topics apply`: the service, and what prepares its start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.output import Json, answers, print_json
from processor.cli.settings import File, Overrides, load
from processor.errors import ProcessorError

if TYPE_CHECKING:
    from processor.config import Settings
    from processor.preflight import TopicPlan


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(run)
    app.command()(check)
    topics = typer.Typer(help="The topics that the settings need.", no_args_is_help=True)
    topics.command("plan")(plan)
    topics.command("apply")(apply)
    app.add_typer(topics, name="topics")


def run(
    file: File = None,
    overrides: Overrides = None,
    create_topics: Annotated[
        bool, typer.Option("--create-topics", help="Make missing topics first, as `topics apply` would.")
    ] = False,
) -> None:
    """Run the processor: read samples, answer each with a probability, until SIGTERM or Ctrl-C."""
    settings = load(file, overrides).settings
    from processor import service
    from processor.log import configure_logging, get_logger

    configure_logging(settings.log.format, settings.log.level)
    try:
        code = service.run(settings, create_topics=create_topics)
    except ProcessorError as error:
        if _for_people(settings):
            raise
        # Whoever reads JSON lines reads this one too.
        get_logger().error("failed", **_fields(error))
        code = error.exit_code
    raise typer.Exit(code)


def check(file: File = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Look at everything that can be wrong before a start: settings, artifact, broker, topics, rights, disk."""
    settings = load(file, overrides).settings
    from processor import preflight

    findings = preflight.check(settings)
    if as_json:
        print_json([finding.to_dict() for finding in findings])
    else:
        preflight.render(findings, answers())


def plan(file: File = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show the topics that the settings need, and what differs from what there is. Changes nothing."""
    settings = load(file, overrides).settings
    from processor import preflight

    _show_topics(preflight.plan_topics(settings), as_json)


def apply(file: File = None, overrides: Overrides = None, as_json: Json = False) -> None:
    """Make the topics that are missing. Topics that are there stay as they are."""
    settings = load(file, overrides).settings
    from processor import preflight

    _show_topics(preflight.apply_topics(settings), as_json)


def _show_topics(plan: TopicPlan, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_dict())
    else:
        plan.render(answers())


def _for_people(settings: Settings) -> bool:
    return settings.log.format == "console" or (settings.log.format == "auto" and sys.stderr.isatty())


def _fields(error: ProcessorError) -> dict[str, str | int]:
    return {
        "error": type(error).__name__,
        "fact": error.fact,
        "cause": error.cause,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
