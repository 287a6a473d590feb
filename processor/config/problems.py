"""What is wrong with the settings, as values, and the one error made of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Problem(NamedTuple):
    """One thing that is wrong: what, why, and what to do (may be empty)."""

    fact: str
    cause: str
    hint: str = ""


def error_of(problems: Sequence[Problem]) -> ConfigError:
    """One error that lists every problem, so that a file is corrected in one go."""
    if len(problems) == 1:
        return ConfigError(*problems[0])
    items = "\n".join(f"- {' '.join(part for part in problem if part)}" for problem in problems)
    return ConfigError(
        f"{len(problems)} settings are wrong.",
        items,
        "`processor config schema` lists every setting with what it accepts.",
    )
