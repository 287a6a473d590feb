"""Why a model is not converted: a closed list of reasons, and the error that carries one of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from processor.errors import ConfigError, Incompatible
from processor.model.convert.remedies import Again, typed_plainly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from processor.model.convert.report import Report


class Obstacle(StrEnum):
    """The closed list of `ConversionRefused.reason`."""

    COLLECTS_TIME = "collects_time"
    NEEDS_FUTURE = "needs_the_future"
    DEPENDS_ON_POSITION = "depends_on_position"
    MASK = "mask"
    INITIAL_STATE = "initial_state"
    TRAINING = "training"
    NO_TIME_AXIS = "no_time_axis"
    INPUT_TYPE = "input_type"
    PRECISION = "precision"
    NO_RULE = "no_rule"
    CUSTOM_CODE = "custom_code"
    NO_GRAPH = "no_graph"
    NOT_BUILT = "not_built"
    MODE = "mode"
    UNREADABLE = "unreadable"
    FAILS = "fails"
    NOT_EXACT = "not_exact"


EXPLANATIONS: Final[dict[Obstacle, str]] = {
    Obstacle.COLLECTS_TIME: "It lays all samples of a sequence side by side, so it has no answer before the last one.",
    Obstacle.NEEDS_FUTURE: "Its answer to a sample depends on samples that come later.",
    Obstacle.DEPENDS_ON_POSITION: "It treats each position of the sequence differently, and knows only those of its "
    "training length.",
    Obstacle.MASK: "It uses a mask over the samples, which the samples themselves do not carry.",
    Obstacle.INITIAL_STATE: "Its state starts from another tensor of the model, not from its own beginning.",
    Obstacle.TRAINING: "It is called in training mode, which is random or mixes the rows of a batch.",
    Obstacle.NO_TIME_AXIS: "There is no axis of time for it to run over.",
    Obstacle.INPUT_TYPE: "A sample has to be numbers, of one fixed shape.",
    Obstacle.PRECISION: "Its weights are quantized, and the step is float32.",
    Obstacle.NO_RULE: "The converter has no rule for it, and never guesses one.",
    Obstacle.CUSTOM_CODE: "It runs code of its own, whose meaning over time the converter cannot know.",
    Obstacle.NO_GRAPH: "Its layers are called by code of its own, so that there is no graph to follow.",
    Obstacle.NOT_BUILT: "It has no weights before it knows the shape of its input.",
    Obstacle.MODE: "The mode does not fit the model.",
    Obstacle.UNREADABLE: "The file does not hold a Keras model that can be loaded safely.",
    Obstacle.FAILS: "TensorFlow or Keras raises an exception when it is run.",
    Obstacle.NOT_EXACT: "The step graph does not predict what the trained model predicts.",
}


class ConversionRefused(ConfigError):
    """The model is not converted, and nothing was left on the disk.

    layer: the name of the layer in the way (of the model or its file, where no single layer is);
    reason: of the closed list `Obstacle`; remedies: what would help, calls or commands among them, each to be typed as
    it is, with the options that were given; report: the certificate that failed, where the reason is `not_exact`.
    """

    def __init__(
        self,
        fact: str,
        *,
        layer: str,
        reason: Obstacle,
        cause: str = "",
        remedies: Sequence[str | Again] = (),
        report: Report | None = None,
    ) -> None:
        super().__init__(fact, cause or EXPLANATIONS[reason])
        self.layer, self.reason, self.report = layer, reason, report
        self.advice = tuple(remedies)
        self.type_as(typed_plainly)

    def type_as(self, typed: Callable[[Again], str]) -> None:
        """Words the remedies that are calls or commands as the user would type them."""
        self.remedies = tuple(
            one if isinstance(one, str) else f"{one.why}: {typed(one)}" if one.why else typed(one)
            for one in self.advice
        )
        self.hint = " Or: ".join(self.remedies)

    def render(self, console: Console) -> None:
        """Prints the layer in the way, why it is, and what to do."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        if self.report is not None:
            self.report.render(console)
        lines = [
            Text(self.fact, style="bold"),
            Text(self.cause),
            Text(f"{self.layer}: {self.reason}", style="dim"),
        ]
        console.print(Panel(Group(*lines), title="not converted", border_style="red", expand=False))
        if self.remedies:
            console.print("What to do:" if len(self.remedies) == 1 else "What to do, one of:")
        for remedy in self.remedies:
            # Not wrapped, and in no frame: it is there to be copied.
            console.print(Text(f"- {remedy}"), soft_wrap=True)

    def to_dict(self) -> dict[str, Any]:
        """As a program reads it."""
        return {
            "refused": True,
            "layer": self.layer,
            "reason": str(self.reason),
            "fact": self.fact,
            "cause": self.cause,
            "remedies": list(self.remedies),
            "report": self.report.to_dict() if self.report else None,
        }


MOST_SAID: Final = 2000
"""Characters of another library's words that a refusal repeats."""


def in_its_words(error: Exception) -> str:
    """All that an exception of Keras or PyTorch reads, as one paragraph that ends in a full stop: what helps often
    stands in its last line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]} ..."
    return text if text.endswith(".") else text + "."


class NotThisModel(Incompatible):
    """An artifact does not predict what the model predicts that it was compared with. `report` shows where."""

    def __init__(self, fact: str, cause: str, hint: str, report: Report | None = None) -> None:
        super().__init__(fact, cause, hint)
        self.report = report
