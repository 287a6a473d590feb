"""Model files: what Keras 3 saved, what older ones did, and what a stranger may hand in."""

from __future__ import annotations

import json
import resource
import zipfile
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import processor
from model import models
from processor.errors import ConfigError
from processor.model.convert import ConversionRefused, Obstacle
from processor.model.convert.loading import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def refused(path: Path) -> ConversionRefused:
    place = path.parent / "artifact"
    with pytest.raises(ConversionRefused) as caught:
        processor.convert(path, place)
    assert not place.exists()
    return caught.value


@pytest.mark.parametrize("ending", [".h5", ".keras"])
def test_trained_stateful_with_a_fixed_batch(ending: str, tmp_path: Path) -> None:
    """Served for any number of keys, from zero states, whatever the states were when it was saved."""
    model = models.stateful_model()
    x = models.sequences(20, 7)
    truth = np.asarray(model(x))
    model.save(tmp_path / f"model{ending}")  # its states are those after x
    report = processor.convert(tmp_path / f"model{ending}", tmp_path / "artifact")
    got = processor.load(tmp_path / "artifact").run(x[:3])
    np.testing.assert_allclose(got[:, -1], truth[:3], atol=1e-6)
    shapes = [tuple(row["shape"]) for row in report.weights if row["layer"] == model.layers[0].name]
    assert shapes == [(3, 128), (32, 128), (128,)]
    assert [(slot.name.partition("#")[2], slot.shape) for slot in report.layout] == [
        ("0.h", (32,)), ("0.c", (32,)), ("0.h", (8,)), ("0.c", (8,)),
    ]  # fmt: skip
    assert "(20, 7, 3)" in next(
        check["detail"] for check in report.certificate["checks"] if check["name"] == "the model itself"
    )


def test_a_stateful_object_keeps_its_states(tmp_path: Path) -> None:
    model = models.stateful_model(batch=2)
    model(models.sequences(2, 7))
    before = [np.asarray(state) for layer in model.layers[:2] for state in layer.states]
    processor.convert(model, tmp_path / "artifact")
    after = [np.asarray(state) for layer in model.layers[:2] for state in layer.states]
    assert all(np.abs(state).max() > 0 for state in before)
    assert [state.tobytes() for state in before] == [state.tobytes() for state in after]


def test_the_same_file_gives_the_same_artifact(tmp_path: Path) -> None:
    """The fingerprint is the model's, not the conversion's: nothing of names or counters of this process is in it."""
    models.fixed_model(units=(5, 4)).save(tmp_path / "model.keras")
    prints = {processor.convert(tmp_path / "model.keras", tmp_path / str(n)).fingerprint for n in range(2)}
    assert len(prints) == 1
    assert (tmp_path / "0" / "step.tflite").read_bytes() == (tmp_path / "1" / "step.tflite").read_bytes()


def described(path: Path) -> tuple[dict[str, Any], Callable[[dict[str, Any], str], None]]:
    """An .h5 file's description of its model, and a function that puts another in, with a version of Keras."""
    with h5py.File(path, "r") as file:
        config = json.loads(file.attrs["model_config"])

    def put(config: dict[str, Any], version: str) -> None:
        with h5py.File(path, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
            file.attrs["keras_version"] = version

    return config, put


class TestOldFiles:
    """Files as Keras 2 wrote them, made from today's by putting the old words in."""

    def convert(
        self, model: Any, directory: Path, old: Callable[[dict[str, Any]], None], version: str = "2.2.4"
    ) -> Any:
        path = directory / "old.h5"
        model.save(path)
        config, put = described(path)
        old(config)
        put(config, version)
        report = processor.convert(path, directory / "artifact")
        return report, processor.load(directory / "artifact").run(models.sequences(2, 5))

    def test_time_major_and_batch_input_shape(self, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(4), layers.Dense(1), shape=(5, 3), batch=2)

        def old(config: dict[str, Any]) -> None:
            listed = config["config"]["layers"]
            del listed[0]  # the input layer
            listed[0]["config"] |= {"time_major": False, "batch_input_shape": [2, 5, 3]}

        report, got = self.convert(model, tmp_path, old)
        np.testing.assert_allclose(got[:, -1], np.asarray(model(models.sequences(2, 5))), atol=1e-6)
        assert any("time_major" in line for line in report.repairs)
        assert any("batch_input_shape (2, 5, 3)" in line for line in report.repairs)

    def test_gru_of_before_reset_after(self, tmp_path: Path) -> None:
        model = models.sequential(layers.GRU(4, reset_after=False))

        def old(config: dict[str, Any]) -> None:
            del config["config"]["layers"][1]["config"]["reset_after"]

        report, got = self.convert(model, tmp_path, old)
        np.testing.assert_allclose(got, models.on_every_prefix(model, models.sequences(2, 5)), atol=1e-6)
        assert ["reset_after" in line for line in report.repairs] == [True]

    def test_hard_sigmoid_means_what_it_meant(self, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(4, recurrent_activation="hard_sigmoid"), layers.Dense(1, "hard_sigmoid"))
        meant = models.sequential(
            layers.LSTM(4, recurrent_activation=lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1)),
            layers.Dense(1, activation=lambda x: keras.ops.clip(0.2 * x + 0.5, 0, 1)),
        )
        meant.set_weights(model.get_weights())
        x = models.sequences(2, 5)
        report, got = self.convert(model, tmp_path, lambda config: None)
        np.testing.assert_allclose(got, models.on_every_prefix(meant, x), atol=1e-6)
        assert sum("hard_sigmoid" in line for line in report.repairs) == 2
        report, got = self.convert(model, tmp_path, lambda config: None, version="3.15.1")
        np.testing.assert_allclose(got, models.on_every_prefix(model, x), atol=1e-6)
        assert not report.repairs

    def test_layer_in_a_wrapper(self, tmp_path: Path) -> None:
        model = models.sequential(layers.TimeDistributed(layers.Dense(4, name="inner")), layers.LSTM(2))

        def old(config: dict[str, Any]) -> None:
            inner = config["config"]["layers"][1]["config"]["layer"]
            for key in ("module", "registered_name", "build_config"):
                inner.pop(key, None)

        _, got = self.convert(model, tmp_path, old)
        np.testing.assert_allclose(got, models.on_every_prefix(model, models.sequences(2, 5)), atol=1e-6)

    def test_leaky_slope_under_its_old_name(self, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(4, return_sequences=True), layers.LeakyReLU(0.3))

        def old(config: dict[str, Any]) -> None:
            settings = config["config"]["layers"][2]["config"]
            settings["alpha"] = settings.pop("negative_slope")

        _, got = self.convert(model, tmp_path, old)
        np.testing.assert_allclose(got, models.on_every_prefix(model, models.sequences(2, 5)), atol=1e-6)

    def test_what_cannot_be_repaired(self, tmp_path: Path) -> None:
        path = tmp_path / "old.h5"
        models.sequential(layers.LSTM(4, name="it")).save(path)
        config, put = described(path)
        entry = config["config"]["layers"][1]
        entry["config"]["time_major"] = True
        put(config, "2.2.4")
        error = refused(path)
        assert "time_major=True" in error.fact
        assert (error.layer, error.reason) == ("it", Obstacle.UNREADABLE)


class TestStrangers:
    """Nothing in a file is run, and each is told apart from the others."""

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    def test_lambda(self, ending: str, tmp_path: Path) -> None:
        model = keras.Sequential([keras.Input((7, 3)), layers.Lambda(lambda x: x * 2, name="it"), layers.LSTM(2)])
        model.save(tmp_path / f"model{ending}")
        error = refused(tmp_path / f"model{ending}")
        assert (error.layer, error.reason) == ("it", Obstacle.CUSTOM_CODE)
        assert "Lambda" in error.fact

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    def test_activation_of_code(self, ending: str, tmp_path: Path) -> None:
        models.sequential(layers.LSTM(2, activation=lambda x: x * 2)).save(tmp_path / f"model{ending}")
        assert refused(tmp_path / f"model{ending}").reason in (Obstacle.CUSTOM_CODE, Obstacle.UNREADABLE)

    def test_code_of_another_module_is_not_imported(self, tmp_path: Path) -> None:
        path = tmp_path / "model.keras"
        models.sequential(layers.LSTM(2, name="it")).save(path)
        (tmp_path / "stranger.py").write_text(f"open({str(tmp_path / 'was_here')!r}, 'w')")
        with zipfile.ZipFile(path) as archive:
            contents = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(contents["config.json"])
        config["config"]["layers"][1] |= {"module": "stranger", "class_name": "Evil", "registered_name": None}
        contents["config.json"] = json.dumps(config).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(tmp_path)
            error = refused(path)
        assert (error.layer, error.reason) == ("it", Obstacle.CUSTOM_CODE)
        assert not (tmp_path / "was_here").exists()

    def test_a_custom_layer_in_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "model.h5"
        models.sequential(layers.LSTM(2, name="it")).save(path)
        config, put = described(path)
        config["config"]["layers"][1]["class_name"] = "MyOwnLSTM"
        config["config"]["layers"][1].pop("module", None)
        put(config, "3.15.1")
        assert refused(path).reason is Obstacle.UNREADABLE

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_truncated(self, ending: str, share: float, tmp_path: Path) -> None:
        path = tmp_path / f"model{ending}"
        models.sequential(layers.LSTM(8)).save(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        error = refused(path)
        assert (error.reason, error.layer) == (Obstacle.UNREADABLE, path.name)
        assert "Traceback" not in str(error)

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    def test_bits_flipped(self, ending: str, tmp_path: Path) -> None:
        """Refused, or (where it hit a weight) another model that the step graph is proven against: nothing else."""
        model, path = models.sequential(layers.LSTM(3)), tmp_path / f"model{ending}"
        model.save(path)
        content, rng = path.read_bytes(), np.random.default_rng(5)
        loaded, reasons = 0, set()
        for _ in range(25):
            damaged = bytearray(content)
            for place in rng.integers(0, len(content), 3):
                damaged[place] ^= 1 << int(rng.integers(0, 8))
            path.write_bytes(bytes(damaged))
            try:
                load(path)
                loaded += 1
            except ConversionRefused as error:
                reasons.add(error.reason)
        assert loaded < 25
        assert reasons <= {Obstacle.UNREADABLE, Obstacle.CUSTOM_CODE, Obstacle.NOT_BUILT}

    @pytest.mark.parametrize("ending", [".h5", ".keras"])
    @pytest.mark.parametrize(("units", "words"), [(10**9, "units is 1000000000"), (60_000, "")])
    def test_larger_than_its_weights(self, units: int, words: str, ending: str, tmp_path: Path) -> None:
        """A file of kilobytes that asks for gigabytes: the second one's kernel alone would take 58."""
        path = tmp_path / f"model{ending}"
        models.sequential(layers.LSTM(3, name="it")).save(path)
        if ending == ".h5":
            config, put = described(path)
            config["config"]["layers"][1]["config"]["units"] = units
            put(config, "3.15.1")
        else:
            with zipfile.ZipFile(path) as archive:
                contents = {name: archive.read(name) for name in archive.namelist()}
            config = json.loads(contents["config.json"])
            config["config"]["layers"][1]["config"]["units"] = units
            contents["config.json"] = json.dumps(config).encode()
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in contents.items():
                    archive.writestr(name, content)
        before = resource.getrlimit(resource.RLIMIT_AS)
        error = refused(path)
        assert (error.reason, words in error.cause) == (Obstacle.UNREADABLE, True)
        assert resource.getrlimit(resource.RLIMIT_AS) == before

    def test_an_archive_that_unpacks_to_anything(self, tmp_path: Path) -> None:
        path = tmp_path / "model.keras"
        models.sequential(layers.LSTM(2)).save(path)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("assets/zeros", bytes(200 << 20))
        assert "far more than weights can be packed" in refused(path).cause

    def test_a_million_unrolled_samples(self, tmp_path: Path) -> None:
        """Keras would put each of them into its graph, one by one."""
        path = tmp_path / "model.h5"
        models.sequential(layers.LSTM(2, unroll=True), shape=(4, 3)).save(path)
        config, put = described(path)
        config["config"]["layers"][0]["config"]["batch_shape"] = [None, 1_000_000, 3]
        put(config, "3.15.1")
        assert any("unroll" in line for line in load(path).repairs)

    @pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.onnx", "model", "model.pt"])
    def test_garbage(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(np.random.default_rng(1).bytes(1000))
        assert refused(tmp_path / name).reason is Obstacle.UNREADABLE

    def test_zip_of_something_else(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
            archive.writestr("hello.txt", "hello")
        assert "config.json" in refused(tmp_path / "model.keras").cause

    def test_weights_only(self, tmp_path: Path) -> None:
        path = tmp_path / "model.weights.h5"
        models.sequential(layers.LSTM(2)).save_weights(path)
        error = refused(path)
        assert "weights only" in error.cause

    def test_saved_model_directory(self, tmp_path: Path) -> None:
        models.sequential(layers.LSTM(2)).export(tmp_path / "exported", verbose=False)
        assert "SavedModel" in refused(tmp_path / "exported").cause

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no such file") as caught:
            processor.convert(tmp_path / "nowhere.keras", tmp_path / "artifact")
        assert not isinstance(caught.value, ConversionRefused)
