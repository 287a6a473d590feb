"""Files as Keras 1.2 to 3.10 really wrote them (`old_files/make.py`), held against those versions' own answers."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import processor
from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, Obstacle
from processor.model.convert.loading import load

FILES = Path(__file__).parents[1] / "old_files"
MODELS = sorted(
    path
    for path in FILES.iterdir()
    if path.suffix in (".h5", ".keras", ".json", ".yaml") and "weights" not in path.name
)
LOST = ("keras3.0.5_wrapped.h5",)


def weights_of(path: Path) -> Path | None:
    """The file of weights beside a description."""
    beside = sorted(FILES.glob(f"{path.stem}.weights*.h5"))
    return beside[0] if path.suffix in (".json", ".yaml") else None


def answers(path: Path) -> tuple[dict[str, Any], dict[int, dict[str, Any]]]:
    """The inputs of an old file by name, and the answers of its writer by length and name."""
    kept = np.load(path.parent / f"{path.stem}.npz")
    inputs = {name: kept[name] for name in kept.files if not name.startswith("y")}
    outputs: dict[int, dict[str, Any]] = {}
    for name in kept.files:
        if name.startswith("y"):
            length, _, output = name[1:].partition("_")
            outputs.setdefault(int(length), {})[output] = kept[name]
    return inputs, outputs


def asked(model: Any, inputs: dict[str, Any], length: int) -> dict[str, Any]:
    """What a loaded model answers to the first samples; inputs without time are whole."""
    given = {name: a if a.ndim == 2 and a.dtype == np.float32 else a[:, :length] for name, a in inputs.items()}
    whole = given if isinstance(getattr(model, "_inputs_struct", None), dict) else list(given.values())
    answer = model(whole[0] if isinstance(whole, list) and len(whole) == 1 else whole, training=False)
    if isinstance(answer, dict):
        return {name: np.asarray(y, np.float32) for name, y in answer.items()}
    if isinstance(answer, list | tuple):
        return {str(n): np.asarray(y, np.float32) for n, y in enumerate(answer)}
    return {"": np.asarray(answer, np.float32)}


@pytest.mark.parametrize("path", [path for path in MODELS if path.name not in LOST], ids=lambda path: path.name)
def test_an_old_file_answers_as_its_writer_did(path: Path) -> None:
    inputs, outputs = answers(path)
    model = load(path, weights_of(path)).model
    # Keras computed these in float16, whose last digit is 1e-3 of a number.
    tolerance = 2e-3 if "mixed" in path.name else 1e-5
    for length in (1, 2, max(outputs)):
        if length in outputs:
            found = asked(model, inputs, length)
            assert found.keys() == outputs[length].keys()
            for name, truth in outputs[length].items():
                np.testing.assert_allclose(found[name], truth, atol=tolerance)


@pytest.mark.parametrize(
    "name",
    ["keras1.2.2_lstm1.h5", "keras2.0.8_nested.h5", "tf2.15_ops.keras", "tf2.3_ops.h5", "keras2.3.1_described.yaml"],
)
def test_an_old_file_becomes_an_artifact(name: str, tmp_path: Path) -> None:
    path = FILES / name
    inputs, outputs = answers(path)
    report = processor.convert(path, tmp_path / "artifact", weights=weights_of(path))
    stepper = processor.load(tmp_path / "artifact")
    timed = {name: a for name, a in inputs.items() if a.ndim == 3}
    assert report.passed
    assert len(timed) + len(stepper.statics if hasattr(stepper, "statics") else ()) >= 1
    if len(inputs) == 1:
        got = stepper.run(next(iter(inputs.values())))
        for length, truth in outputs.items():
            np.testing.assert_allclose(got[:, length - 1], truth[""], atol=1e-5)


def repairs_of(name: str) -> str:
    return "\n".join(load(FILES / name, weights_of(FILES / name)).repairs)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf2.15_cudnn.h5", "CuDNNGRU became GRU"),
        ("keras2.2.4_activations.h5", "ThresholdedReLU became ReLU(threshold=0.1"),
        ("keras2.0.8_nested.h5", "hard_sigmoid as it was before Keras 3"),
        ("tf2.15_slashes.keras", "rnn/a: became rnn_a_"),
        ("tf2.15_stateful.h5", "unroll=True was dropped"),
    ],
)
def test_what_was_repaired_is_said(name: str, words: str) -> None:
    assert words in repairs_of(name)


def test_the_type_of_an_embedding_was_that_of_its_tokens(tmp_path: Path) -> None:
    """As Keras 2.0.0 to 2.0.2 wrote it."""
    path = tmp_path / "keras2.0.8_embedding.h5"
    shutil.copy(FILES / path.name, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"][0]["config"]["dtype"] = "int32"
        file.attrs["model_config"] = json.dumps(config)
    inputs, outputs = answers(FILES / path.name)
    loaded = load(path)
    assert any("its dtype int32 is that of its tokens" in line for line in loaded.repairs)
    np.testing.assert_allclose(asked(loaded.model, inputs, 6)[""], outputs[6][""], atol=1e-5)


class TestWhatCannotBeRead:
    def refused(self, path: Path, weights: Path | None = None) -> ConversionRefused:
        with pytest.raises(ConversionRefused) as caught:
            load(path, weights)
        return caught.value

    def test_a_file_that_keras_3_0_did_not_finish(self) -> None:
        error = self.refused(FILES / LOST[0])
        assert error.reason is Obstacle.UNREADABLE
        assert "arrays of the layer 'bidirectional'" in error.cause
        assert "saving stopped there" in error.cause

    def test_weights_that_end_early(self, tmp_path: Path) -> None:
        path = tmp_path / "model.h5"
        shutil.copy(FILES / "keras2.2.4_nested.h5", path)
        with h5py.File(path, "r+") as file:
            del file["model_weights"]["second"]
        assert "'second'" in self.refused(path).cause

    def test_weights_of_another_shape(self, tmp_path: Path) -> None:
        path = tmp_path / "model.h5"
        shutil.copy(FILES / "keras2.0.8_nested.h5", path)
        with h5py.File(path, "r+") as file:
            group = file["model_weights"]["inner"]
            del group["dense"]["kernel:0"]
            group["dense"]["kernel:0"] = np.zeros((5, 3))
        assert "'inner' has the weights" in self.refused(path).cause

    def test_a_function_without_a_counterpart(self, tmp_path: Path) -> None:
        path = tmp_path / "model.h5"
        shutil.copy(FILES / "tf2.15_ops.h5", path)
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace('"math.tanh"', '"signal.fft"')
        error = self.refused(path)
        assert error.reason is Obstacle.NO_RULE
        assert "signal.fft" in error.fact

    def test_code_in_a_description(self, tmp_path: Path) -> None:
        path = tmp_path / "model.json"
        text = (FILES / "tf2.15_described.json").read_text()
        path.write_text(text.replace('"class_name": "GRU"', '"class_name": "Lambda"'))
        error = self.refused(path, weights_of(FILES / "tf2.15_described.json"))
        assert error.reason is Obstacle.CUSTOM_CODE

    def test_objects_in_yaml_are_not_made(self, tmp_path: Path) -> None:
        path, trace = tmp_path / "model.yaml", tmp_path / "was_here"
        path.write_text(
            f"class_name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trace}]]"
        )
        assert "cannot be read" in self.refused(path, weights_of(FILES / "keras2.3.1_described.yaml")).cause
        assert not trace.exists()

    def test_yaml_that_names_one_list_a_billion_times(self, tmp_path: Path) -> None:
        path = tmp_path / "model.yaml"
        lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
        path.write_text("\n".join(lines))
        assert "more than a model has" in self.refused(path, weights_of(FILES / "keras2.3.1_described.yaml")).cause

    def test_a_description_alone(self) -> None:
        with pytest.raises(ConfigError, match=r"without its weights") as caught:
            load(FILES / "tf2.15_described.json")
        assert "--weights" in caught.value.hint

    def test_weights_beside_a_whole_model(self) -> None:
        with pytest.raises(ConfigError, match=r"weights .* are given beside"):
            load(FILES / "tf2.15_lstm.keras", FILES / "tf2.15_lstm.h5")

    def test_an_archive_without_its_weights(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(FILES / "tf2.15_lstm.keras") as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
            for name in ("config.json", "metadata.json"):
                new.writestr(name, old.read(name))
        assert self.refused(tmp_path / "m.keras").reason is Obstacle.UNREADABLE
