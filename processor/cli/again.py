"""A command to be typed again with other options: those that the user gave stay, each quoted for a shell."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import typer

    from processor.model.convert.remedies import Again

_OF_VERIFY: Final = {"output": "directory"}
"""What `convert` calls an argument of `verify`."""


def convert_again(context: typer.Context) -> Callable[[Again], str]:
    """Words `processor convert` for a refusal or an offer, from a call of `convert` or `verify`."""
    group: Any = context.parent.command if context.parent else None
    convert = group.commands["convert"]
    given = {}
    for option in convert.params:
        name = option.name if option.name in context.params else _OF_VERIFY.get(option.name, "")
        source = context.get_parameter_source(name) if name in context.params else None
        if source is not None and source.name == "COMMANDLINE":
            given[option.name] = context.params[name]

    def typed(again: Again) -> str:
        words = ["processor", "convert", *_words(convert.params, {**given, **again.options})]
        return shlex.join(words)

    return typed


def _words(options: list[Any], values: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for option in options:
        value = values.get(option.name)
        if value is None or value is False:
            continue
        several = list(value) if isinstance(value, list | tuple) else [value]
        if option.param_type_name == "argument":
            words += map(_shown, several)
        elif value is True:
            words.append(option.opts[0])
        else:
            words += [word for one in several for word in (option.opts[0], _shown(one))]
    return words


def _shown(value: Any) -> str:
    value = getattr(value, "value", value)  # of an enumeration
    return f"{value:g}" if isinstance(value, float) else str(value)
