"""What a check found, as values: for people, for programs, and as the error that `run` would end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from rich.table import Table
from rich.text import Text

from processor.errors import ConfigError, ProcessorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

Verdict = Literal["ok", "warning", "error"]

_SIGNS: Final = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "bold red")}
_PLAIN: Final = {"✓": "ok", "✗": "x"}  # where the console shows no more than ASCII


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A warning does not keep `run` from starting; an error does."""

    name: str  # what was looked at
    verdict: Verdict
    fact: str
    cause: str = ""
    hint: str = ""
    error: type[ProcessorError] | None = None  # the class of an error
    topic: str = ""  # name of the topic that it is about, if it is about one

    @classmethod
    def of(cls, name: str, error: ProcessorError) -> Finding:
        """An error that was raised while looking."""
        return cls(name, "error", error.fact, error.cause, error.hint, type(error))

    def to_error(self) -> ProcessorError:
        """The error that this finding stands for."""
        return (self.error or ConfigError)(self.fact, self.cause, self.hint)

    def to_dict(self) -> dict[str, Any]:
        """For programs; `exit_code` is null unless the verdict is "error"."""
        code = (self.error or ConfigError).exit_code if self.verdict == "error" else None
        return {
            "name": self.name,
            "verdict": self.verdict,
            "topic": self.topic or None,
            "fact": self.fact,
            "cause": self.cause,
            "hint": self.hint,
            "error": self.error.__name__ if self.error else None,
            "exit_code": code,
        }

    def to_text(self) -> str:
        """Fact, cause and hint, as many as there are."""
        hint = f"→ {self.hint}" if self.hint else ""
        return "\n".join(part for part in (self.fact, self.cause, hint) if part)


def error(name: str, fact: str, cause: str = "", hint: str = "", topic: str = "") -> Finding:
    """A finding that a human has to mend before a start."""
    return Finding(name, "error", fact, cause, hint, ConfigError, topic)


def exit_code(findings: Iterable[Finding]) -> int:
    """What `check` ends with: 0, or the code of the first error."""
    first = next((finding for finding in findings if finding.verdict == "error"), None)
    return first.to_error().exit_code if first else 0


def render(findings: Sequence[Finding], console: Console) -> None:
    """Prints one row for each finding, and what they come to."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        sign, style = _SIGNS[finding.verdict]
        if not console.encoding.lower().startswith("utf"):
            sign = _PLAIN.get(sign, sign)
        # Text, not markup: a topic's or a path's brackets are its own.
        table.add_row(Text(sign, style), Text(finding.name), Text(finding.to_text()))
    console.print(table)
    count = {verdict: sum(finding.verdict == verdict for finding in findings) for verdict in ("error", "warning")}
    if count["error"]:
        console.print(Text(f"{_counted(count['error'], 'error')}: `run` would refuse to start.", "bold red"))
    elif count["warning"]:
        console.print(Text(f"Ready, with {_counted(count['warning'], 'warning')}.", "yellow"))
    else:
        console.print(Text("Ready.", "green"))


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
