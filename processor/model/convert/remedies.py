"""A remedy that is a command: the same conversion once more, with other options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Again:
    """A remedy: the same conversion once more, with other options. It is typed as the user typed the first one.

    options: by the names of `convert`'s parameters; why: what comes of it, in a few words.
    """

    options: Mapping[str, Any]
    why: str = ""


def typed_plainly(again: Again) -> str:
    """As a call in Python, where it is not known what was typed."""
    return f"processor.convert(model, directory, {', '.join(f'{k}={v!r}' for k, v in again.options.items())})"
