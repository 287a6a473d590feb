"""How a failure ends: an operator's error as fact, cause, hint and its exit code; a bug with its traceback and 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from processor.cli.output import errors, forget_results, print_failure, wants_json
from processor.errors import ConfigError, ProcessorError
from processor.extras import missing_extra

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED: Final = 130
"""The exit code of a program that Ctrl-C has ended, as a shell counts it."""


class RefusingGroup(TyperGroup):
    """The group of all commands: whatever ProcessorError comes out of one of them is printed, and ends it.

    Where `--json` was asked for, a failure is one JSON document on standard error.
    """

    def invoke(self, ctx: Any) -> Any:
        words = (*ctx._protected_args, *ctx.args)
        try:
            return super().invoke(ctx)
        except ProcessorError as error:
            self._refuse(ctx, error)
        except BrokenPipeError:  # the reader of the results has gone: `| head`
            forget_results()
            raise typer.Exit(0) from None
        except Exception as error:
            if isinstance(error, ImportError) and (missing := missing_extra(error)):
                return self._refuse(ctx, missing)
            if "--json" in words and hasattr(error, "format_message"):  # it was typed wrongly
                print_failure(fields(ConfigError(error.format_message())))
                raise typer.Exit(ConfigError.exit_code) from None
            raise

    def _refuse(self, ctx: Any, error: ProcessorError) -> NoReturn:
        if wants_json(ctx):
            print_failure(fields(error))
        else:
            tell(error, errors())
        raise typer.Exit(error.exit_code) from None


def fields(error: ProcessorError) -> dict[str, str | int]:
    """An error, for programs."""
    return {
        "error": type(error).__name__,
        "fact": error.fact,
        "cause": error.cause,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }


def tell(error: ProcessorError, console: Console) -> None:
    """Prints fact, cause and hint, each on lines of its own."""
    # The words come from users and brokers: none of them is markup.
    console.print("[bold red]error[/]", end=" ")
    console.print(error.fact, style="bold", markup=False, highlight=False, soft_wrap=True)
    if error.cause:
        console.print(error.cause, markup=False, highlight=False, soft_wrap=True)
    if error.hint:
        console.print("[cyan]hint[/]", end=" ")
        console.print(error.hint, markup=False, highlight=False, soft_wrap=True)
