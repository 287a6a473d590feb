"""`run`, `check`, `topics plan`, `topics apply`: the service, and what prepares its start."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from processor.cli.failing import fields
from processor.cli.output import Json, print_json, results
from processor.cli.settings import File, Overrides, load
from processor.errors import ConfigError, ProcessorError

if TYPE_CHECKING:
    from pathlib import Path

    from processor.config import Settings
    from processor.preflight import TopicPlan


Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions", min=1, help="Partitions of topics that are created, if no existing topic decides the number."
    ),
]


Processes = Annotated[
    str,
    typer.Option(
        "--processes", metavar="N", help="How many processes share the work; `auto`: one for each available core."
    ),
]


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
        bool, typer.Option("--create-topics", help="Create missing topics first, as `topics apply` would.")
    ] = False,
    processes: Processes = "1",
) -> None:
    """Run the processor: read samples, publish a probability after each, until SIGTERM or Ctrl-C."""
    loaded = load(file, overrides)
    settings = loaded.settings
    from processor.log import configure_logging, get_logger
    from processor.runtime import supervised

    number = supervised.number()
    fields_of_all = {} if number is None else {"process": number}
    configure_logging(settings.log.format, settings.log.level, fields=fields_of_all)
    try:
        count = _number_of(processes)
        if count > 1:
            from processor.supervisor import supervise

            code = supervise(settings, count, _arguments(file, overrides, create_topics))
        else:
            from processor.runtime import service

            code = service.run(settings, file=loaded.file, create_topics=create_topics)
    except ProcessorError as error:
        if _for_people(settings):
            raise
        # A reader of JSON lines gets this one, too.
        get_logger().error("failed", **fields(error))
        code = error.exit_code
    raise typer.Exit(code)


def check(
    events: Annotated[
        int | None, typer.Argument(metavar="[N]", min=1, help="With --sample: how many events; by default 10000.")
    ] = None,
    file: File = None,
    overrides: Overrides = None,
    sample: Annotated[
        bool,
        typer.Option("--sample", help="Also read the newest events of the input: would they get a prediction?"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Look at everything that can be wrong before a start: settings, artifact, broker, topics, states, rights, disk."""
    if events is not None and not sample:
        raise ConfigError(f"check does not know what {events} is for.", "", f"Did you mean `check --sample {events}`?")
    settings = _loaded_quietly(file, overrides)
    from processor import preflight

    wanted = (events or preflight.DEFAULT_SAMPLE) if sample else 0
    findings = preflight.check(settings, wanted)
    code = preflight.exit_code(findings)
    if as_json:
        print_json({"exit_code": code, "findings": [finding.to_dict() for finding in findings]})
    else:
        preflight.render(findings, results())
    raise typer.Exit(code)


def plan(file: File = None, overrides: Overrides = None, partitions: Partitions = None, as_json: Json = False) -> None:
    """Show the topics that the settings need, and what differs from what there is. Changes nothing."""
    settings = _loaded_quietly(file, overrides)
    from processor import preflight

    _show_topics(preflight.plan_topics(settings, partitions or preflight.DEFAULT_PARTITIONS), as_json)


def apply(file: File = None, overrides: Overrides = None, partitions: Partitions = None, as_json: Json = False) -> None:
    """Create the topics that are missing. Existing topics stay as they are."""
    settings = _loaded_quietly(file, overrides)
    from processor import preflight

    _show_topics(preflight.apply_topics(settings, partitions or preflight.DEFAULT_PARTITIONS), as_json)


def _loaded_quietly(file: Path | None, overrides: list[str] | None) -> Settings:
    """The settings, with the Kafka clients silenced: the report contains what matters of a broker that is away."""
    settings = load(file, overrides).settings
    from processor.log import silence_kafka

    silence_kafka()
    return settings


def _show_topics(plan: TopicPlan, as_json: bool) -> None:
    if as_json:
        print_json(plan.to_dict())
    else:
        plan.render(results())
    if plan.wrong:  # there, and not as the processor needs it: only a human can mend that
        raise typer.Exit(ConfigError.exit_code)


def _number_of(processes: str) -> int:
    if processes == "auto":
        from processor.supervisor import available_cores

        return available_cores()
    if processes.isdecimal() and int(processes) > 0:
        return int(processes)
    raise ConfigError(f"--processes is {processes!r}.", "", "Give a number from 1 on, or `auto`: the available cores.")


def _arguments(file: Path | None, overrides: list[str] | None, create_topics: bool) -> list[str]:
    """The command line of one process of several."""
    arguments = [] if file is None else ["-c", str(file)]
    arguments += [argument for override in overrides or [] for argument in ("--set", override)]
    return [*arguments, "--create-topics"] if create_topics else arguments


def _for_people(settings: Settings) -> bool:
    return settings.log.format == "console" or (settings.log.format == "auto" and sys.stderr.isatty())
