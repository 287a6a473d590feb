"""The modes: when a state lives on, and when it starts afresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from processor.errors import ConfigError
from processor.model.convert.refusal import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from processor.model.convert.graph import Graph

MODES: Final = ("auto", "carry", "tumbling", "window")
_MOST_STEPS: Final = 2**31 - 1


def check_mode(mode: str, length: int | None) -> None:
    """Raises ConfigError for a mode or a length that no model has. (Asked before seconds are spent on loading.)"""
    if mode not in MODES:
        raise ConfigError(f"There is no mode {mode!r}.", "", f"The modes are {', '.join(MODES)}.")
    if length is not None and (isinstance(length, bool) or not 1 <= length <= _MOST_STEPS):
        raise ConfigError(
            f"The length {length} is out of range.", "", "A length is the number of samples of a sequence."
        )
    if length is not None and mode in ("auto", "carry"):
        raise ConfigError(
            f"A length means nothing in the mode {mode}.",
            "There, a key's state lives until something resets it.",
            f"To start afresh after every {length} samples: --mode tumbling --length {length}",
        )


def choose(mode: str, length: int | None, graph: Graph, source: str) -> tuple[Literal["carry", "tumbling"], int | None]:
    """The mode and the N of a model whose every layer can be stepped. `source` is how the user names the model.

    Raises:
        ConversionRefused: the mode is not for this model; the remedies are commands.
        ConfigError: `tumbling` has no length.
    """
    if mode in ("auto", "carry"):
        return "carry", None
    if mode == "window":
        raise ConversionRefused(
            f"The model {graph.model.name!r} is not converted for the mode window.",
            layer=graph.model.name,
            reason=Obstacle.MODE,
            cause="The converter builds steps that carry a state, none that runs the last samples again.",
            remedies=[
                f"processor convert {source} --mode carry",
                f"processor convert {source} --mode tumbling{_n(graph)}",
            ],
        )
    length = length or graph.length
    if length is None:
        raise ConfigError(
            f"tumbling needs a length: the model {graph.model.name!r} takes sequences of any.",
            "The state starts afresh after that many samples.",
            f"processor convert {source} --mode tumbling --length N",
        )
    return "tumbling", length


def _n(graph: Graph) -> str:
    return "" if graph.length else " --length N"
