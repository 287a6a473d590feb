"""The certificate: it lets through what is exact, finds out what is not, and says where."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from rich.console import Console

import processor
from model import models
from processor.errors import ConfigError, Incompatible
from processor.model.artifact import load_artifact
from processor.model.convert import (
    ConversionRefused,
    NotThisModel,
    Obstacle,
    Report,
    properties,
    rules,
    verify,
)
from processor.model.convert.interface import Interface, ModelInput
from processor.model.convert.properties import Subject
from processor.model.convert.sequences import given_sequences, random_sequences
from processor.model.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Report]:
    """A model, its artifact and its report."""
    model, place = models.fixed_model(), tmp_path_factory.mktemp("fixed") / "artifact"
    return model, place, processor.convert(model, place)


@pytest.fixture(scope="module")
def tumbling(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Report]:
    """The same, starting afresh after its own 7 samples."""
    model, place = models.fixed_model(), tmp_path_factory.mktemp("tumbling") / "artifact"
    return model, place, processor.convert(model, place, mode="tumbling")


def interface_of(specs: Any) -> Interface:
    """The inputs of an artifact, each with time as its second axis."""
    return Interface(tuple(ModelInput(spec, (None, None, *spec.shape), spec.dtype, 1) for spec in specs), ())


def _places(text: str, word: str) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(word), text)]


def checks(report: Report) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in report.certificate["checks"]}


def free_twin(model: Any) -> Any:
    free = keras.Sequential(
        [keras.Input((None, 3)), *(type(layer).from_config(layer.get_config()) for layer in model.layers)]
    )
    free.set_weights(model.get_weights())
    return free


class TestExact:
    def test_the_fixed_model_on_every_prefix_and_beyond(self, fixed: tuple[Any, Path, Report]) -> None:
        """Trained on 7 samples, stepped one by one; the 7th answer is that of `predict`."""
        model, place, report = fixed
        x = models.sequences(5, 20)
        got = processor.load(place).run(x)
        np.testing.assert_allclose(got, models.on_every_prefix(free_twin(model), x), atol=1e-6)
        np.testing.assert_allclose(got[:, 6], model.predict(x[:, :7], verbose=0), atol=1e-6)
        assert report.mode == "carry"
        assert report.errors["probability"] < 1e-6

    def test_tumbling_starts_afresh_by_itself(self, tumbling: tuple[Any, Path, Report]) -> None:
        model, place, report = tumbling
        x = models.sequences(5, 21)
        stepper = processor.load(place)
        got = stepper.run(x)
        free = free_twin(model)
        truth = [models.on_every_prefix(free, x[:, start : start + 7]) for start in (0, 7, 14)]
        np.testing.assert_allclose(got, np.concatenate(truth, axis=1), atol=1e-6)
        assert (report.length, stepper.length, report.layout[-1].name) == (7, 7, "steps")
        state = stepper.initial_state(2)
        for t in range(7):
            _, state = stepper.step(x[:2, t], state)
        assert state.tobytes() == stepper.initial_state(2).tobytes()

    def test_chunks(self, fixed: tuple[Any, Path, Report]) -> None:
        """2, then 3, then 2, is 7 at once."""
        _, place, _ = fixed
        stepper, x = processor.load(place), models.sequences(4, 7)
        whole, state, parts = stepper.run(x), stepper.initial_state(4), []
        for start, stop in ((0, 2), (2, 5), (5, 7)):
            for t in range(start, stop):
                answer, state = stepper.step(x[:, t], state)
                parts.append(answer)
        assert np.stack(parts, axis=1).tobytes() == whole.tobytes()

    def test_what_is_checked(self, fixed: tuple[Any, Path, Report], tumbling: tuple[Any, Path, Report]) -> None:
        names = set(checks(fixed[2]))
        assert names == {
            "a row by itself", "any split", "interleaved keys", "causality", "the model itself", "every prefix",
            "random predictions", "the long run", "every state slot changes the output", "extreme inputs",
        }  # fmt: skip
        assert set(checks(tumbling[2])) - names == {"a new sequence after N"}
        assert all(check["passed"] for check in (checks(fixed[2]) | checks(tumbling[2])).values())
        assert [n for n, _ in tumbling[2].certificate["growth"]["probability"]] == [1, 2, 3, 4, 5, 6, 7]
        assert [n for n, _ in fixed[2].certificate["growth"]["probability"]][-1] == 512

    def test_the_manifest_has_it(self, fixed: tuple[Any, Path, Report]) -> None:
        _, place, report = fixed
        artifact = load_artifact(place)
        assert artifact.certificate == json.loads(json.dumps(report.certificate))
        assert artifact.fingerprint_hex == report.fingerprint
        assert artifact.versions.keys() >= {"keras", "tensorflow", "processor"}
        assert [row["name"] for row in artifact.layers if row["rule"] == "recurrent"] == [
            slot.name.partition("#")[0] for slot in artifact.layout[::2]
        ]
        assert artifact.golden.state.shape == (4, artifact.words)

    def test_no_loop_and_no_memory_in_the_step_graph(self, tumbling: tuple[Any, Path, Report]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(tumbling[1] / "step.tflite"))
        interpreter.allocate_tensors()
        operations = {entry["op_name"] for entry in interpreter._get_ops_details()}
        assert operations
        assert not [name for name in operations if any(w in name for w in ("WHILE", "VAR", "RANDOM", "CALL"))]


class TestReport:
    def test_people_like_to_read_it(self, tumbling: tuple[Any, Path, Report]) -> None:
        console = Console(file=io.StringIO(), width=100)
        tumbling[2].render(console)
        printed = console.file.getvalue()  # type: ignore[attr-defined]
        for word in (
            "tumbling 7",
            "LSTM",
            "recurrent",
            "#0.h",
            "steps",
            "every prefix",
            "Exact",
            tumbling[2].fingerprint,
        ):
            assert word in printed

    def test_programs_can(self, fixed: tuple[Any, Path, Report]) -> None:
        said = json.loads(json.dumps(fixed[2].to_dict()))
        assert said["words"] == 96
        assert said["errors"] == fixed[2].errors
        assert said["inputs"] == [{"name": "samples", "shape": [3], "dtype": "float32", "static": False}]

    def test_a_page_for_a_browser(self, tumbling: tuple[Any, Path, Report]) -> None:
        """One file, nothing fetched and nothing run; the calls, their slots, and the error against the step."""
        from xml.etree import ElementTree

        from processor.model.convert.page import page

        written = page(dataclasses.replace(tumbling[2], repairs=["<b> & co"]))
        assert not [word for word in ("http", "<script", "src=", "url(") if word in written]
        pictures = [written[a : written.index("</svg>", a) + 6] for a in _places(written, "<svg")]
        assert len(pictures) == 2
        graph, curves = (ElementTree.fromstring(picture) for picture in pictures)
        assert len(graph.findall("rect")) == len(tumbling[2].layers)
        assert len(graph.findall("path")) == len(tumbling[2].layers) - 1
        assert len(curves.findall("polyline")) == 1
        texts = [element.text or "" for element in graph.iter("text")]
        assert set(texts) >= {slot.name for slot in tumbling[2].layout if slot.name != "steps"}
        assert "&lt;b&gt; &amp; co" in written

    def test_progress_is_told(self, tmp_path: Path) -> None:
        told: list[tuple[str, float]] = []
        processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "a", progress=lambda *said: told.append(said))
        assert {"loading TensorFlow", "every prefix", "the long run"} <= {stage for stage, _ in told}
        assert all(0 <= part <= 1 for _, part in told)


def sabotage(monkeypatch: pytest.MonkeyPatch, layer: type, step: Callable[..., Any]) -> None:
    """Puts a rule that is wrong in one thing in the place of a layer's own."""
    right = rules.RULES[layer]
    wrong = type("Wrong", (type(right),), {"step": lambda self, *given: step(right, *given)})()
    monkeypatch.setitem(rules.RULES, layer, wrong)


def _forgets_cell(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    outputs, after = right.step(call, inputs, state)
    return outputs, [after[0], state[1]]


def _swaps(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    outputs, after = right.step(call, inputs, state)
    return outputs, after[::-1]


def _a_little(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    outputs, after = right.step(call, inputs, state)
    return [outputs[0] * 1.0005], after


def _neighbours(right: Any, call: Any, inputs: Any, state: Any) -> Any:
    outputs, after = right.step(call, inputs, state)
    return [outputs[0] + 1e-3 * ops.mean(outputs[0], axis=0, keepdims=True)], after


class TestSabotage:
    @pytest.mark.parametrize("wrong", [_forgets_cell, _swaps, _a_little, _neighbours])
    def test_a_wrong_rule_is_found_out(
        self, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        sabotage(monkeypatch, layers.LSTM, wrong)
        model = models.sequential(layers.GRU(4, return_sequences=True), layers.LSTM(4, name="guilty"), layers.Dense(1))
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(model, tmp_path / "artifact")
        error = caught.value
        assert (error.reason, error.layer) == (Obstacle.NOT_EXACT, "guilty")
        assert not list(tmp_path.iterdir())
        assert error.report is not None
        assert not error.report.passed
        console = Console(file=io.StringIO(), width=100)
        error.render(console)
        assert "guilty" in console.file.getvalue()  # type: ignore[attr-defined]

    def test_a_rule_that_is_wrong_for_extreme_samples_only(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def clipped(right: Any, call: Any, inputs: Any, state: Any) -> Any:
            return right.step(call, [ops.clip(inputs[0], -50, 50)], state)

        sabotage(monkeypatch, layers.LSTM, clipped)
        model = models.sequential(layers.LSTM(3))
        model.set_weights([model.get_weights()[0] * 0.01, *model.get_weights()[1:]])
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(model, tmp_path / "artifact")
        assert caught.value.cause.startswith("extreme inputs")

    def test_what_tensorflow_itself_answers_in_two_ways_is_rounding(self, tmp_path: Path) -> None:
        """Of a large number alone nothing is left of its bias, unless a traced model is rearranged."""
        model = models.sequential(layers.LayerNormalization(), layers.SimpleRNN(1), layers.Dense(2), shape=(None, 1))
        processor.convert(model, tmp_path / "artifact")

    def test_what_has_no_number_unless_operations_are_fused(self, tmp_path: Path) -> None:
        """The mean of a sequence that is missing all along: NaN, of which TensorFlow's fused relu makes 0."""
        model = keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                layers.Embedding(7, 3, mask_zero=True),
                layers.SimpleRNN(1, return_sequences=True),
                layers.GlobalAveragePooling1D(),
                layers.Dense(3, "relu"),
            ]
        )
        processor.convert(models.lively(model), tmp_path / "artifact")

    def test_a_rule_that_is_wrong_after_thousands_of_samples(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A count that stands still, as one in half precision would."""

        def standing(right: Any, call: Any, inputs: Any, state: Any) -> Any:
            outputs, (total, rest, count) = right.step(call, inputs, state)
            return outputs, [total, rest, ops.minimum(count, 2048)]

        monkeypatch.setattr(properties, "LONG_RUN", 10_000)
        sabotage(monkeypatch, layers.GlobalAveragePooling1D, standing)
        model = models.sequential(layers.GlobalAveragePooling1D())
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(model, tmp_path / "artifact")
        assert caught.value.cause.startswith("the long run")

    def test_an_earlier_artifact_is_left_as_it_is(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(4), layers.Dense(1))
        processor.convert(model, tmp_path / "artifact")
        before = (tmp_path / "artifact" / "manifest.json").read_bytes()
        sabotage(monkeypatch, layers.LSTM, _swaps)
        with pytest.raises(ConversionRefused):
            processor.convert(model, tmp_path / "artifact")
        assert (tmp_path / "artifact" / "manifest.json").read_bytes() == before
        assert [entry.name for entry in tmp_path.iterdir()] == ["artifact"]

    def test_a_tolerance_that_no_float32_meets(self, tmp_path: Path) -> None:
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(models.fixed_model(), tmp_path / "artifact", tolerance=1e-12)
        assert caught.value.reason is Obstacle.NOT_EXACT
        assert "output 'probability'" in caught.value.cause
        assert any("tolerance=" in remedy for remedy in caught.value.remedies)

    def test_the_tolerance_that_is_advised_is_enough(self, tmp_path: Path) -> None:
        """A model so sharp that float32 itself costs more than the tolerance."""
        model = models.sequential(layers.SimpleRNN(64), layers.Dense(1))
        model.set_weights([weight * 3 for weight in model.get_weights()])
        with pytest.raises(ConversionRefused, match="no step can be nearer") as caught:
            processor.convert(model, tmp_path / "artifact")
        advised = float(caught.value.remedies[0].rpartition("tolerance=")[2].rstrip(")"))
        processor.convert(model, tmp_path / "artifact", tolerance=min(advised, 0.5))

    def test_a_model_without_numbers(self, tmp_path: Path) -> None:
        model = models.sequential(layers.LSTM(4), layers.Dense(1))
        model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
        with pytest.raises(ConversionRefused, match="no finite number"):
            processor.convert(model, tmp_path / "artifact")


class TestProperties:
    """Each property, on step graphs that lack it: the engine's own, spoilt in one way."""

    def subject(self, place: Path, spoil: Callable[[Engine, Any, Any], Any]) -> Subject:
        class Spoilt(Engine):
            def step(self, features: Any, state: Any) -> Any:
                outputs, following = super().step(features, state)
                spoil(self, outputs["probability"], following)
                return outputs, following

        artifact = load_artifact(place)

        class SpoiltSubject(Subject):
            def engine(self) -> Engine:
                return Spoilt(self.artifact)

        return SpoiltSubject(artifact, random_sequences(interface_of(artifact.inputs), 16))

    def test_they_hold_for_the_real_one(self, tumbling: tuple[Any, Path, Report]) -> None:
        subject = self.subject(tumbling[1], lambda *_: None)
        for check in (properties.rows_alone, properties.starts_afresh, *properties.PROPERTIES):
            assert check(subject).passed
        assert properties.dead_slots(subject) == []

    def test_rows_that_depend_on_how_many_there_are(self, fixed: tuple[Any, Path, Report]) -> None:
        def spoil(_: Engine, y: Any, __: Any) -> None:
            y += np.float32(1e-7) * (len(y) % 3)

        assert not properties.rows_alone(self.subject(fixed[1], spoil)).passed

    def test_nan_that_leaks(self, fixed: tuple[Any, Path, Report]) -> None:
        def spoil(_: Engine, y: Any, __: Any) -> None:
            y[0] += y.sum() * 0

        finding = properties.rows_alone(self.subject(fixed[1], spoil))
        assert not finding.passed
        assert "in neighbouring rows" in finding.detail

    def test_memory_outside_of_the_state(self, fixed: tuple[Any, Path, Report]) -> None:
        def spoil(engine: Any, y: Any, _: Any) -> None:
            engine.calls = getattr(engine, "calls", 0) + 1
            y += np.float32(1e-6) * engine.calls

        subject = self.subject(fixed[1], spoil)
        assert not properties.splits(subject).passed
        assert not properties.interleaved(subject).passed

    def test_a_wrong_count(self, tumbling: tuple[Any, Path, Report]) -> None:
        def spoil(_: Engine, __: Any, state: Any) -> None:
            state[:, -1:].view(np.int32)[:] += 1

        assert not properties.starts_afresh(self.subject(tumbling[1], spoil)).passed

    def test_no_fresh_start(self, tumbling: tuple[Any, Path, Report]) -> None:
        def spoil(_: Engine, __: Any, state: Any) -> None:
            state[:, 0] += 1

        finding = properties.starts_afresh(self.subject(tumbling[1], spoil))
        assert not finding.passed
        assert "not the initial one" in finding.detail

    def test_a_dead_slot(self, fixed: tuple[Any, Path, Report], tmp_path: Path) -> None:
        model = models.sequential(layers.SimpleRNN(3), layers.Dense(1))
        model.set_weights([w * (i != 1) for i, w in enumerate(model.get_weights())])  # no recurrent weights
        report = processor.convert(model, tmp_path / "artifact")
        assert any("Nothing depends on the state" in remark for remark in report.remarks)
        assert not any("Nothing depends" in remark for remark in fixed[2].remarks)

    def test_a_tile_is_fixed_where_rows_need_it(
        self, fixed: tuple[Any, Path, Report], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        real = properties.rows_alone

        def only_in_tiles(subject: Subject, *given: Any) -> properties.Finding:
            finding = real(subject, *given)
            return finding if subject.artifact.tile else dataclasses.replace(finding, passed=False)

        monkeypatch.setattr(properties, "rows_alone", only_in_tiles)
        report = processor.convert(fixed[0], tmp_path / "artifact")
        assert report.tile == load_artifact(tmp_path / "artifact").tile == 64
        x = models.sequences(3, 5)
        np.testing.assert_allclose(
            processor.load(tmp_path / "artifact").run(x), processor.load(fixed[1]).run(x), atol=1e-6
        )


class TestLongRun:
    def chaotic(self) -> Any:
        """Its own rounding grows without end: two float32 runs of it part after some dozen samples."""
        model = models.sequential(layers.SimpleRNN(24), layers.Dense(1))
        kernel, recurrent, *others = model.get_weights()
        recurrent = np.random.default_rng(5).normal(0, 2.2 / np.sqrt(24), recurrent.shape)
        model.set_weights([kernel, recurrent, *others])
        return model

    def test_drift_by_rounding_alone_is_a_remark(self, tmp_path: Path) -> None:
        report = processor.convert(self.chaotic(), tmp_path / "artifact", tolerance=1e-3)
        assert any("Rounding alone" in remark for remark in report.remarks)
        (growth,) = (dict(seen) for seen in report.certificate["growth"].values())
        assert growth[512] > 1e-3 > growth[8]

    def test_drift_that_rounding_does_not_explain(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A state that fades a little too slowly shows after hundreds of samples only."""

        def slowly(right: Any, call: Any, inputs: Any, state: Any) -> Any:
            outputs, after = right.step(call, inputs, state)
            return outputs, [after[0] + 2e-7]

        sabotage(monkeypatch, layers.SimpleRNN, slowly)
        model = models.sequential(layers.SimpleRNN(1, activation="linear"), layers.Dense(1))
        model.set_weights([np.zeros((3, 1)), np.ones((1, 1)), np.zeros(1), np.ones((1, 1)), np.zeros(1)])
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(model, tmp_path / "artifact")
        assert "the long run" in caught.value.cause


class TestExamples:
    def test_ones_own_sequences(self, fixed: tuple[Any, Path, Report], tmp_path: Path) -> None:
        x = models.sequences(100, 30)
        np.savez(tmp_path / "examples.npz", samples=x)
        report = verify(fixed[1], fixed[0], examples=tmp_path / "examples.npz")
        assert report.certificate["sequences"] == {"random": 8, "given": 50}
        inputs = interface_of(report.inputs)
        for examples in ({"samples": x}, {"x": x}, x, x.tolist(), x.astype(np.float64)):
            given = given_sequences(examples, inputs)
            assert given is not None
            assert given.values["samples"].tobytes() == x[::2].tobytes()

    def test_an_error_in_them_alone_is_found(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A rule that is wrong for one number only, which is none of the random ones."""

        def blind(right: Any, call: Any, inputs: Any, state: Any) -> Any:
            return right.step(call, [ops.where(ops.equal(inputs[0], 0.75), 0.0, inputs[0])], state)

        sabotage(monkeypatch, layers.LSTM, blind)
        model, own = models.sequential(layers.LSTM(3)), models.sequences(3, 5)
        processor.convert(model, tmp_path / "a")
        own[1, 2] = 0.75
        with pytest.raises(ConversionRefused) as caught:
            processor.convert(model, tmp_path / "b", examples=own)
        assert "given sequence 1, after sample 3" in caught.value.cause

    def test_labels(self, fixed: tuple[Any, Path, Report], tmp_path: Path) -> None:
        """How good the step is on sequences with known answers, beside the model itself."""
        x = models.sequences(200, 7)
        chances = fixed[0].predict(x, verbose=0)
        right = chances[:, 0] > 0.5
        labels = np.where(np.arange(200) < 20, ~right, right).astype(np.int64)
        np.savez(tmp_path / "known.npz", samples=x, labels=labels)
        report = verify(fixed[1], fixed[0], examples=tmp_path / "known.npz")
        wanted = {"measure": "accuracy", "output": "probability", "step": 0.9, "model": 0.9, "sequences": 200}
        assert report.certificate["labels"] == wanted
        console = Console(file=io.StringIO(), width=120)
        report.render(console)
        assert "accuracy of the step 0.9" in console.file.getvalue()  # type: ignore[attr-defined]
        with pytest.raises(ConfigError, match="labels are"):
            verify(fixed[1], fixed[0], examples={"samples": x, "labels": labels[:5]})

    def test_of_unequal_lengths(self, fixed: tuple[Any, Path, Report]) -> None:
        with pytest.raises(ConfigError, match="lengths differ"):
            verify(fixed[1], fixed[0], examples=[models.sequences(1, 5)[0], models.sequences(1, 6)[0]])

    @pytest.mark.parametrize("content", [b"", b"no zip at all", None])
    def test_unreadable(self, content: bytes | None, fixed: tuple[Any, Path, Report], tmp_path: Path) -> None:
        path = tmp_path / "examples.npz"
        if content is None:
            np.savez(path, samples=np.array([{"code": 1}], dtype=object))
        else:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match="examples"):
            verify(fixed[1], fixed[0], examples=path)


class TestVerify:
    def test_the_model_itself(self, tumbling: tuple[Any, Path, Report]) -> None:
        report = verify(tumbling[1], tumbling[0])
        assert report.passed
        assert (report.fingerprint, report.mode, report.length) == (tumbling[2].fingerprint, "tumbling", 7)

    def test_the_same_model_trained_further(self, fixed: tuple[Any, Path, Report]) -> None:
        other = models.fixed_model()
        other.set_weights([weight * 1.01 for weight in other.get_weights()])
        with pytest.raises(NotThisModel) as caught:
            verify(fixed[1], other)
        assert caught.value.exit_code == Incompatible.exit_code
        assert caught.value.report is not None
        assert not caught.value.report.passed

    def test_another_model(self, fixed: tuple[Any, Path, Report]) -> None:
        with pytest.raises(NotThisModel, match="not made from this model"):
            verify(fixed[1], models.sequential(layers.LSTM(2, name="another"), layers.Dense(1, name="probability")))

    def test_a_damaged_artifact(self, fixed: tuple[Any, Path, Report], tmp_path: Path) -> None:
        processor.convert(fixed[0], tmp_path / "artifact")
        graph = tmp_path / "artifact" / "step.tflite"
        graph.write_bytes(graph.read_bytes()[:-1] + b"!")
        with pytest.raises(Incompatible, match="SHA-256"):
            verify(tmp_path / "artifact", fixed[0])


def test_importing_the_converter_imports_no_tensorflow() -> None:
    code = "import sys, processor as p; p.ConversionRefused; p.convert; print({'tensorflow', 'keras'} & {*sys.modules})"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_a_conversion_says_nothing_by_itself(tmp_path: Path) -> None:
    """What TensorFlow and Keras have to say is not for the user of a command."""
    models.fixed_model(units=(4, 3)).save(tmp_path / "model.h5")
    code = f"""
import processor
from model.quick import short_certificate
with short_certificate():
    processor.convert({str(tmp_path / "model.h5")!r}, {str(tmp_path / "artifact")!r})
"""
    own = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, check=True)
    assert said.stdout + said.stderr == ""
