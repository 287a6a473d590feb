"""Classes of other people's: shims around Keras' layers, cells of one's own, packages, and classes in files."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import processor
from model import models
from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, Obstacle

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-5


class OldLSTM(layers.LSTM):
    """A shim for an argument that Keras no longer has."""

    def __init__(self, *args: Any, time_major: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"time_major": False}


class Older(OldLSTM):
    """A shim around a shim."""


class Mixin:
    """Brings a method that no layer has."""

    def greet(self) -> str:
        return "hello"


class MixedGRU(Mixin, layers.GRU):
    """Two bases."""


class OldDense(layers.Dense):
    """Another shim."""

    def __init__(self, *args: Any, input_dim: int = 0, **options: Any) -> None:
        super().__init__(*args, **options)


class Doubled(layers.Dense):
    """Its call is its own, and is followed."""

    def call(self, x: Any) -> Any:
        return super().call(x) * 2


class Recurrent(layers.RNN):
    """An RNN that makes its cell itself."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(layers.SimpleRNNCell(units), **options)


class Begins(layers.LSTM):
    """Begins with ones: what a masked first sample holds is not what it says."""

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        return [ops.ones((batch_size, self.units)), ops.zeros((batch_size, self.units))]


class DoubledCell(layers.SimpleRNNCell):
    """Says something else than its state."""

    def call(self, x: Any, states: Any, training: bool = False) -> Any:
        output, after = super().call(x, states, training=training)
        return output * 2, after


class OwnEmbedding(layers.Embedding):
    """A shim, before which a token that there is none of is no number."""


class Backwards(layers.Bidirectional):
    """A shim around what cannot be stepped."""


class Looped(layers.LSTM):
    """Changes what the inherited call does."""

    def inner_loop(self, sequences: Any, *args: Any, **options: Any) -> Any:
        return super().inner_loop(sequences * 2, *args, **options)


def converts(tmp_path: Path, *chain: Any) -> Any:
    """The report; the artifact says what the model says, at missing samples too."""
    model = models.sequential(*chain)
    report = processor.convert(model, tmp_path / "a")
    x = models.sequences(3, 6)
    x[0, 0], x[1, 2:4] = 0, 0
    truth = models.on_every_prefix(model, x)
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)
    return report


def test_a_shim_has_the_rule_of_what_it_inherits(tmp_path: Path) -> None:
    report = converts(
        tmp_path,
        layers.Masking(),
        OldLSTM(3, return_sequences=True),
        Older(3, return_sequences=True),
        MixedGRU(3, return_sequences=True),
        OldDense(3),
        Doubled(3),
        layers.TimeDistributed(OldDense(3)),
        Begins(3, return_sequences=True),
        Recurrent(3, return_sequences=True),
        layers.RNN(DoubledCell(2), return_sequences=True, name="by_a_cell"),
        layers.Dense(1),
    )
    assert [slot.name for slot in report.layout if slot.name.endswith(("h", "output"))] == [
        "old_lstm#0.h", "older#0.h", "mixed_gru#0.h", "begins#0.h", "begins#0.output",
        "recurrent#0.h", "by_a_cell#0.output",
    ]  # fmt: skip


def test_a_shim_around_an_embedding_checks_tokens(tmp_path: Path) -> None:
    tokens = keras.Input((None,), dtype="int32")
    processor.convert(models.lively(keras.Model(tokens, layers.LSTM(2)(OwnEmbedding(5, 3)(tokens)))), tmp_path / "a")
    stepper = processor.load(tmp_path / "a")
    answers, _ = stepper.step(np.array([4, 5, -1]), stepper.initial_state(3))
    assert np.isfinite(answers).all(axis=1).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("layer", "reason"),
    [(Backwards(layers.LSTM(3)), Obstacle.NEEDS_FUTURE), (Looped(3), Obstacle.CUSTOM_CODE)],
    ids=["what it inherits is in the way", "what it changes is"],
)
def test_a_subclass_is_refused(layer: Any, reason: Obstacle, tmp_path: Path) -> None:
    with pytest.raises(ConversionRefused) as refused:
        processor.convert(models.sequential(layer, layers.Dense(1)), tmp_path / "a")
    assert (refused.value.reason, refused.value.layer) == (reason, layer.name)


class Cell(layers.Layer):
    """A cell of one's own, `call(x, states)`: `states` says in which form it takes them."""

    def __init__(self, state_size: Any) -> None:
        super().__init__()
        self.state_size, self.output_size, self.dense = state_size, 4, layers.Dense(4)
        self.words = sum(int(np.prod(size)) for size in keras.tree.flatten(state_size))

    def build(self, shape: Any) -> None:
        self.dense.build((None, shape[-1] + self.words))

    def call(self, x: Any, states: Any) -> Any:
        held = [ops.reshape(state, (-1, int(np.prod(state.shape[1:])))) for state in keras.tree.flatten(states)]
        y = self.dense(ops.concatenate([x, *held], axis=-1))
        after = [ops.tanh(y[:, :1]) + 0.5 * state for state in held]
        after = [ops.reshape(a, (-1, *s.shape[1:])) for a, s in zip(after, keras.tree.flatten(states), strict=True)]
        return y, keras.tree.pack_sequence_as(states, after)


class Beginning(Cell):
    """With an initial state of its own, nested and of several axes."""

    def __init__(self) -> None:
        super().__init__([3, 2, 4])

    def get_initial_state(self, batch_size: Any = None) -> Any:
        return [ops.ones((batch_size, 3)), [ops.zeros((batch_size, 2)), ops.full((batch_size, 2, 2), 0.5)]]


@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_cells_of_ones_own(masked: bool, tmp_path: Path) -> None:
    converts(
        tmp_path,
        *([layers.Masking()] if masked else []),
        layers.RNN(Cell(3), return_sequences=True),
        layers.RNN(Cell((2, 3)), return_sequences=True),
        layers.RNN(Beginning(), return_sequences=True),
        layers.RNN([Cell([2, 3]), layers.LSTMCell(2)], return_sequences=True),
        layers.Dense(1),
    )


def test_a_cell_that_keras_cannot_begin_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((None, 3)), layers.RNN(Cell([3, [2, 2]]), name="nested")])
    with pytest.raises(ConversionRefused, match=r"Give the cell of 'nested' a method get_initial_state") as refused:
        processor.convert(model, tmp_path / "a")
    assert refused.value.reason is Obstacle.CUSTOM_CODE


def test_the_cells_of_ncps(tmp_path: Path) -> None:
    """Liquid time constants and closed-form continuous time, wired and with a memory beside them."""
    if importlib.util.find_spec("ncps") is None and not os.environ.get("CI"):
        pytest.skip("NO NCPS, NOTHING SHOWN: make installs it")
    from ncps.keras import LTC, CfC
    from ncps.wirings import AutoNCP

    model = keras.Sequential(
        [
            keras.Input((None, 3)),
            LTC(4, return_sequences=True),
            CfC(4, return_sequences=True, backbone_units=8, backbone_dropout=0.3),
            LTC(AutoNCP(6, 2, seed=1), mixed_memory=True, return_sequences=True),
            CfC(AutoNCP(6, 2, seed=1), return_sequences=True),
            layers.Dense(1),
        ]
    )
    report = processor.convert(model, tmp_path / "a")
    assert [slot.shape for slot in report.layout] == [(4,), (4,), (6,), (6,), (6,)]
    x = models.sequences(3, 6)
    truth = np.asarray(model(x))
    np.testing.assert_allclose(processor.load(tmp_path / "a").run(x), truth, atol=TOLERANCE)


class Residual(layers.Layer):
    """As TCN libraries write theirs: a block names its layers as every other does, and a Lambda picks the newest."""

    def __init__(self, dilation: int, **options: Any) -> None:
        super().__init__(**options)
        self.parts = [
            part
            for rank in range(2)
            for part in (
                layers.Conv1D(4, 2, padding="causal", dilation_rate=dilation, name=f"conv_{rank}"),
                layers.BatchNormalization(name="norm"),
                layers.Activation("relu", name="act"),
                layers.SpatialDropout1D(0.3, name="drop"),
            )
        ]
        self.match = layers.Conv1D(4, 1, padding="same", name="match")

    def call(self, x: Any, training: Any = None) -> Any:
        y = x
        for part in self.parts:
            y = part(y)
        return [layers.Activation("relu", name="act")(layers.add([self.match(x), y], name="add")), y]


class TCN(layers.Layer):
    """Dilated residual blocks, what each skips added up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.blocks = [Residual(2**rank, name="block") for rank in range(3)]
        self.newest = layers.Lambda(lambda y: y[:, -1, :], name="newest")

    def call(self, x: Any, training: Any = None) -> Any:
        skips = []
        for block in self.blocks:
            x, skip = block(x, training=training)
            skips.append(skip)
        return self.newest(layers.add(skips, name="skips"))


def test_a_temporal_convolutional_network_of_ones_own(tmp_path: Path) -> None:
    report = converts(tmp_path, TCN(name="tcn"), layers.Dense(1))
    assert [slot.name for slot in report.layout][:2] == ["tcn/block/conv_0#0.last", "tcn/block/conv_1#0.last"]


OWN_CODE = '''
"""What a user trained with."""
import keras
from beside import FACTOR

@keras.saving.register_keras_serializable(package="mine")
class Scale(keras.layers.Layer):
    def call(self, x):
        return x * FACTOR

class Gate(keras.layers.Layer):  # nobody registered it
    def call(self, x):
        return x * keras.ops.sigmoid(x)

print("imported")
'''


@pytest.fixture(scope="module")
def with_own_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two files of code, and model files of the classes in them, saved by another process."""
    directory = tmp_path_factory.mktemp("own")
    (directory / "own_layers_of_a_user.py").write_text(OWN_CODE)
    (directory / "beside.py").write_text("FACTOR = 2.0\n")
    (directory / "save.py").write_text(
        "from own_layers_of_a_user import *\n"
        "m = keras.Sequential([keras.Input((None, 3)), Scale(), Gate(), keras.layers.LSTM(2)])\n"
        "m.save('m.keras'); m.save('m.h5')\n"
    )
    subprocess.run([sys.executable, "save.py"], cwd=directory, check=True, capture_output=True)
    return directory


def processor_of(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "processor", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_file_of_classes_that_are_not_known(with_own_code: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionRefused, match="mine>Scale") as refused:
        processor.convert(with_own_code / name, tmp_path / "a")
    assert "add --import FILE.py" in refused.value.remedies[0]
    assert "defines Scale" in refused.value.remedies[0]


def test_code_of_ones_own_is_imported_first(with_own_code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file or a module, for both kinds of files; what the code prints is no part of the answer."""
    source = "own_layers_of_a_user.py"
    done = processor_of(with_own_code, "convert", "m.keras", "-o", "a", "--import", source, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"]
    assert f"Running your own code first: {source}" in done.stderr
    monkeypatch.chdir(with_own_code)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert processor.verify("a", "m.h5", imports=["own_layers_of_a_user"]).passed


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.py", "There is no such file"),
        ("no_such_module_of_anybody", "No module named 'no_such_module_of_anybody'"),
        ("broken_code_of_a_user.py", "ZeroDivisionError"),
    ],
)
def test_code_that_cannot_be_imported(source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_code_of_a_user.py").write_text("1 / 0\n")
    (tmp_path / "m.keras").write_bytes(b"")
    with pytest.raises(ConfigError, match=said):
        processor.convert("m.keras", tmp_path / "a", imports=[source])
