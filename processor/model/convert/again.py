"""The same conversion once more, with other options: as a call in Python, with the arguments that were given."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from processor.model.convert.remedies import Again


def python_call(model: Any, directory: Any, given: Mapping[str, Any]) -> Callable[[Again], str]:
    """Words a call of `processor.convert`. `given`: the arguments beside model and directory, by name."""

    def typed(again: Again) -> str:
        options = {name: value for name, value in {**given, **again.options}.items() if not _is_default(name, value)}
        words = [_shown("model", model), _shown("directory", directory)]
        return f"processor.convert({', '.join([*words, *(f'{k}={_shown(k, v)}' for k, v in options.items())])})"

    return typed


_DEFAULTS: Final = {"mode": "auto", "tolerance": 1e-5, "imports": ()}  # of all others: None


def _is_default(name: str, value: Any) -> bool:
    return value is None or value is False or (name in _DEFAULTS and value == _DEFAULTS[name])


def _shown(name: str, value: Any) -> str:
    """A value as Python reads it: what has no short form is named like its parameter, and N is the user's to choose."""
    if isinstance(value, str | os.PathLike):
        return str(value) if name == "length" else repr(os.fspath(value))
    if name == "imports":
        return repr([os.fspath(source) for source in value])
    return repr(value) if isinstance(value, int | float | dict | None) else name
