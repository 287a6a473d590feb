"""Keras as a check: the trained model's own predictions for every prefix of whole sequences."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from processor.errors import ConfigError
from processor.trial.checker import truth_of_prefixes, truth_of_sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from processor.model.artifact import Artifact
    from processor.model.convert.example import Trained
    from processor.trial.checker import Truth
    from processor.trial.oracle import Expected
    from processor.trial.reader import Source

    KerasCheck = Callable[[Expected], Truth]


def require_the_model_of(
    model: Path, artifact: Artifact, tell: Callable[[str], None], imports: Sequence[str] = ()
) -> None:
    """Looks whether the artifact is this model's, by its certificate. imports: the user's own code, which runs first.

    Raises:
        ConfigError: there is no such model, TensorFlow is missing, or it has no prediction of its own for each sample.
        NotThisModel: the artifact is another model's.
    """
    from processor.model.convert import verify

    if artifact.mode == "window" or not artifact.exact_prefix:
        raise ConfigError(
            f"Keras cannot be asked about every sample of the artifact {artifact.directory}.",
            f"In the mode {artifact.mode} some of its predictions are not the trained model's own.",
            "Leave --model out: the artifact's own step graph and an undisturbed run are compared.",
        )
    verify(artifact.directory, model, progress=lambda stage, _: tell(stage), imports=imports)


def keras_check_of_example(trained: Trained) -> KerasCheck:
    """The example model, which predicts every sample of a sequence at once."""
    from processor.model.convert.example import at_every_step

    return lambda wanted: truth_of_sequences(wanted, at_every_step(trained))


def keras_check(model: Path, artifact: Artifact, imports: Sequence[str] = ()) -> KerasCheck:
    """A trained model as a check of what an artifact of it predicts.

    A model that predicts at every step is asked once about each sequence, another one about each prefix.
    """
    from processor.model.convert.quiet import prepare

    prepare()
    from processor.model.convert.conversion import truth_of
    from processor.model.convert.sequences import Sequences

    asked = truth_of(model, artifact.mode, artifact.length, imports)
    names = [entry.spec.name for entry in asked.interface.entries]

    def ask(rank: int, sequences: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        # Names may differ: Keras numbers the layers of each process from 1.
        named = dict(zip(names, sequences.values(), strict=True))
        return asked.whole(Sequences(asked.interface, named))[rank]

    def check(wanted: Expected) -> Truth:
        truth_of_all = truth_of_sequences if all(asked.over_time) else truth_of_prefixes
        every = [truth_of_all(wanted, partial(ask, rank)) for rank in range(len(artifact.outputs))]
        if len(every) == 1:
            return every[0]
        answers = cast("list[dict[Source, NDArray[np.float32]]]", every)
        heads = [spec.name for spec in artifact.outputs]
        return {source: {head: its[source] for head, its in zip(heads, answers, strict=True)} for source in every[0]}

    return check
