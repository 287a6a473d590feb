"""Where the command line writes: results to standard output, everything else to standard error."""

from __future__ import annotations

import io
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


_PIPED_WIDTH: Final = 400
"""Columns of a report that no terminal shows: nothing of it is cut for the width of a screen."""


def results() -> Console:
    """The console of reports. Made when asked for: the streams of a test are others than those of the import."""
    return _Results(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


class _Results(Console):
    def on_broken_pipe(self) -> None:
        """The reader has closed the pipe (`| head`): that is no error, and there is nothing more to print."""
        forget_results()
        raise SystemExit(0)


def errors() -> Console:
    """The console of errors and progress."""
    return Console(file=sys.stderr)


def print_json(document: Any) -> None:
    """Prints one JSON document, without colours or wrapping."""
    sys.stdout.write(_text(document, sys.stdout.encoding))
    sys.stdout.flush()


def print_failure(document: Any) -> None:
    """Prints to standard error why a command has failed: standard output may hold a document already."""
    sys.stderr.write(_text(document, sys.stderr.encoding))


def _text(document: Any, encoding: str | None) -> str:
    is_ascii = not (encoding or "utf-8").lower().startswith("utf")
    return json.dumps(document, indent=2, default=str, ensure_ascii=is_ascii) + "\n"


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


def prepare_streams() -> None:
    """A terminal or a pipe that cannot show a sign gets its escape or a plainer one, not a traceback.

    Python takes the locale C for UTF-8, and sets LC_CTYPE to that; a terminal that was set to C may not.
    """
    named = [os.environ.get("LC_ALL"), os.environ.get("LC_CTYPE", "").replace("C.UTF-8", ""), os.environ.get("LANG")]
    encoding = "ascii" if next(filter(None, named), "") in ("C", "POSIX") else None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="backslashreplace")


def write_no_bytecode() -> None:
    """From here on: TensorFlow would leave that of the code it generates in the directory for temporary files."""
    sys.dont_write_bytecode = True


def flush_results() -> None:
    """What is left of the results, out of the process. A reader that has gone (`| head`) is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        forget_results()


def forget_results() -> None:
    """Sends standard output nowhere, so that its end raises nothing."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
