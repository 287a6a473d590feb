"""Errors, named by what the operator does about them.

Each error carries a fact, its cause and a hint, and the exit code that the command line ends with. Anything that is
not one of these is a bug, and crashes with exit code 1. (A bad *event* is not an error of the process: it is a value,
`processor.types.BadEvent`, and goes to the dead-letter topic.)
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ProcessorError(Exception):
    """A failure that an operator can act upon.

    fact: what happened; cause: why (may be empty); hint: what to do next (may be empty).
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, fact: str, cause: str = "", hint: str = "") -> None:
        super().__init__(fact, cause, hint)
        self.fact, self.cause, self.hint = fact, cause, hint

    def __str__(self) -> str:
        parts = [self.fact, self.cause, f"Hint: {self.hint}" if self.hint else ""]
        return "\n".join(part for part in parts if part)


class ConfigError(ProcessorError):
    """A setting, an argument or a topic is wrong. The human corrects it; a restart alone does not help."""

    exit_code = 2


class Unavailable(ProcessorError):
    """Something outside was away for longer than its budget. A restart is the right reaction."""

    exit_code = 3


class OwnershipLost(ProcessorError):
    """Another process owns what this one held. It drops its work and rejoins, or ends where it was replaced."""

    exit_code = 4


class StateCorrupt(ProcessorError):
    """A store's bytes are not what was written. The partition is wiped and rebuilt from its changelog."""

    exit_code = 5
    path: Path | None = None  # of the store, where its files are damaged
    partition: int | None = None  # whose record it is, where one record is corrupt


@contextmanager
def naming(partition: int) -> Iterator[None]:
    """Tags any StateCorrupt raised in this block with its partition, so that its store is rebuilt."""
    try:
        yield
    except StateCorrupt as error:
        error.partition = partition
        raise


class Incompatible(ProcessorError):
    """Going on would give wrong predictions. The process stops, and a human decides."""

    exit_code = 6
