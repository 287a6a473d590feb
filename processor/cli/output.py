"""Where the command line writes: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_WANTED: Final = "processor.json"  # in the contexts' common `meta`: --json was given


def _remember(context: typer.Context, wanted: bool) -> bool:
    context.meta[_WANTED] = wanted
    return wanted


Json = Annotated[
    bool, typer.Option("--json", callback=_remember, help="Print one JSON document, for programs; failures too.")
]


def wants_json(context: Any) -> bool:
    """Whether the command that runs in this context, or below it, was given --json."""
    return bool(context.meta.get(_WANTED))


def answers() -> Console:
    """The console of reports. Made when asked for: the streams of a test are others than those of the import."""
    return Console(file=sys.stdout)


def errors() -> Console:
    """The console of errors and progress."""
    return Console(file=sys.stderr)


def print_json(document: Any) -> None:
    """Prints one JSON document, and nothing of a terminal's manners."""
    sys.stdout.write(_text(document))
    sys.stdout.flush()


def print_failure(document: Any) -> None:
    """Prints to standard error why a command has failed: standard output may hold a document already."""
    sys.stderr.write(_text(document))


def _text(document: Any) -> str:
    return json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n"


def print_line(text: str) -> None:
    """Prints a line as it is: no wrapping, no markup."""
    sys.stdout.write(text + "\n")


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar that shows what is being done and how much of it (0 to 1); nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda _stage, _part: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    # A descriptor of its own: the converter silences TensorFlow by turning standard error away for a while.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        with Progress(*columns, console=Console(file=terminal, force_terminal=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda stage, part: bar.update(task, description=stage, completed=part)
