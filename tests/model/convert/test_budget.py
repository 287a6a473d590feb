"""What a certificate costs by default: memory by shapes, time by a clock, and what was compared is named."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras import layers

import processor
from model import graphs, models
from model.peak import peak_afresh, peak_bytes
from processor.errors import ConfigError
from processor.model.artifact import Parts, load_artifact, write_artifact
from processor.model.convert import ConversionRefused, budget, conversion, effort, memory, toggles
from processor.model.convert.accuracy import Errors, own_rounding, telling_first
from processor.model.convert.budget import Budget, Stage
from processor.model.convert.conversion import truth_of
from processor.model.convert.modes import build
from processor.model.convert.properties import Subject
from processor.model.convert.sequences import random_sequences
from processor.model.convert.spread import Spread, finding
from processor.model.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path

timed = layers.TimeDistributed
MOST_MORE_BYTES = 3 << 29
"""Of 2 GB, TensorFlow and Keras have half a GB before anything is converted."""


def _everyday(kind: str) -> Any:
    """A model of each kind that would take GBs, or minutes, without a budget."""
    if kind == "TimeDistributed(Dense)":
        return models.sequential(layers.LSTM(8, return_sequences=True), timed(layers.Dense(1)))
    if kind == "TimeDistributed(LSTM)":
        return models.sequential(timed(layers.LSTM(4)), shape=(None, 5, 3))
    if kind == "TimeDistributed(Conv2D)":
        chain = [timed(layers.Conv2D(4, 3)), timed(layers.Flatten()), layers.LSTM(8), layers.Dense(1)]
        return models.sequential(*chain, shape=(None, 16, 16, 3))
    if kind == "TimeDistributed(Sequential)":
        inner = keras.Sequential([keras.Input((6,)), layers.Dense(12, "relu"), layers.Dense(4)])
        return models.sequential(layers.EinsumDense("btf,fg->btg", (None, 6)), timed(inner), layers.GRU(8))
    words = [keras.Input((None,), dtype="int32"), layers.Embedding(20_000, 16), layers.LSTM(16, return_sequences=True)]
    return keras.Sequential([*words, layers.Dense(20_000, "softmax")])


KINDS = ("TimeDistributed(Dense)", "TimeDistributed(LSTM)", "TimeDistributed(Conv2D)", "TimeDistributed(Sequential)")


@pytest.mark.usefixtures("shipped_defaults")
@pytest.mark.parametrize("kind", [*KINDS, "20,000 words"])
def test_everyday_models_in_2_gb_by_default(kind: str, tmp_path: Path) -> None:
    peak_afresh()
    before = peak_bytes()
    report = processor.convert(_everyday(kind), tmp_path / "artifact")
    assert peak_bytes() - before < MOST_MORE_BYTES
    detail = {check["name"]: check["detail"] for check in report.certificate["checks"]}
    assert detail["the long run"].startswith("up to ")
    assert report.certificate["spread"]["predictions"] >= 8
    assert "a sample, no bound" in report.spread


class TestTimeDistributed:
    def test_on_all_samples_at_once_is_what_keras_does_one_by_one(self) -> None:
        truth = truth_of(_everyday("TimeDistributed(Sequential)"), "auto", None)
        assert not truth.is_model  # so the certificate compares the two as well
        error, allowed, shape = truth.own_shape(random_sequences(truth.interface, 9))
        assert shape == "(8, 9, 3)"
        assert error <= allowed < 1e-5

    def test_a_layer_inside_that_sees_its_batch_is_refused(self, tmp_path: Path) -> None:
        """All samples at once are another batch than one sample of all rows."""

        class OverTheBatch(layers.Layer):
            def call(self, x: Any) -> Any:
                return x - keras.ops.mean(x, axis=0, keepdims=True)

        with pytest.raises(ConversionRefused):
            processor.convert(models.sequential(timed(OverTheBatch()), layers.LSTM(2)), tmp_path / "artifact")

    def test_the_layer_is_put_back(self) -> None:
        layer = timed(layers.Dense(2))
        model = models.sequential(layer)
        x = models.sequences(2, 4)
        before = np.asarray(model(x))
        with toggles.folded(model):
            np.testing.assert_allclose(np.asarray(model(x)), before, atol=1e-6)
        assert layer.call.__func__ is layers.TimeDistributed.call


class TestMemory:
    def test_rows_in_parts_are_the_rows_at_once(self) -> None:
        model = models.sequential(layers.LSTM(4, return_sequences=True), layers.Dense(2))
        truth = truth_of(model, "auto", None)
        sequences = random_sequences(truth.interface, 20)
        whole, newest = truth.whole(sequences)[0], truth.newest(sequences)[0]
        truth._held, truth._sample_bytes = 100, 1  # five rows of 20 samples
        np.testing.assert_allclose(truth.whole(sequences)[0], whole, atol=1e-6)
        np.testing.assert_allclose(truth.newest(sequences)[0], newest, atol=1e-6)
        assert truth.longest == 100

    def test_what_timedistributed_holds_inside_counts(self) -> None:
        inner = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(16, 3), layers.GlobalAveragePooling2D()])
        model = models.sequential(timed(inner), layers.LSTM(2), shape=(None, 8, 8, 1))
        graph = build(model, "auto", None, None).graph
        assert graph is not None
        assert budget.sample_bytes(graph) > 4 * 6 * 6 * 16

    def test_no_more_rows_at_once_than_were_tried(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(effort, "rows_at_once", lambda _: 8)
        report = processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "artifact")
        artifact = load_artifact(tmp_path / "artifact")
        assert artifact.most_rows == 8
        engine = Engine(artifact)
        engine.step({"samples": models.sequences(20, 1)[:, 0]}, engine.initial_state(20))
        assert max(engine._buckets) == 8
        assert "1 to 8 rows" in report.certificate["checks"][0]["detail"]

    def test_the_weights_count_and_an_engine_keeps_few_copies_of_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A model whose weights are large, beside what may be held: one interpreter at a time."""
        opened: list[int] = []
        original = Engine._bucket

        def counted(engine: Engine, size: int) -> Any:
            bucket = original(engine, size)
            opened.append(len(engine._buckets))
            return bucket

        monkeypatch.setattr(Engine, "_bucket", counted)
        monkeypatch.setattr(budget, "DEFAULT", dataclasses.replace(budget.DEFAULT, held=20_000))
        report = processor.convert(models.sequential(layers.LSTM(32)), tmp_path / "artifact")
        assert report.graph_bytes > 20_000
        assert max(opened) == 1
        assert report.passed

    def test_an_artifact_without_such_a_limit(self, tmp_path: Path) -> None:
        assert write_artifact(tmp_path / "artifact", Parts(**graphs.recurrent())).most_rows is None

    def test_a_model_too_large_is_refused_in_numbers(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "available_bytes", lambda: 10_000)
        with pytest.raises(ConfigError, match=r"takes about .* MB; 0 MB are available") as caught:
            processor.convert(models.sequential(layers.LSTM(64)), tmp_path / "artifact")
        assert caught.value.exit_code == 2
        assert not (tmp_path / "artifact").exists()

    def test_memory_that_runs_out_on_the_way(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def exhausted(*_: Any) -> Any:
            raise MemoryError("Unable to allocate 5.60 GiB")

        monkeypatch.setattr(conversion, "certify", exhausted)
        with pytest.raises(ConfigError, match=r"too large[^$]*available[^$]*5\.60 GiB") as caught:
            processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "artifact")
        assert caught.value.exit_code == 2

    def test_the_limits_of_a_process_count(self) -> None:
        available = memory.available_bytes()
        assert available is None or 0 < available < 1 << 45


class TestTime:
    def test_a_stage_ends_when_the_next_pass_is_too_dear(self) -> None:
        stage = Stage(10.0)
        assert stage.allows(10**9)  # nothing is known yet, and a first pass is always made
        with stage.measured(1e-9):
            pass
        assert not stage.allows(10**9)
        assert stage.left <= 10.0

    def test_fewer_lengths_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(budget, "DEFAULT", dataclasses.replace(budget.DEFAULT, whole=0.0, seconds=0.0))
        report = processor.convert(models.sequential(layers.LSTM(2)), tmp_path / "artifact")
        detail = {check["name"]: check["detail"] for check in report.certificate["checks"]}
        assert "of 16 lengths" in detail["every prefix"]

    def test_the_telling_lengths_come_first(self) -> None:
        lengths = list(range(1, 101))
        order = telling_first(lengths)
        assert order[:8] == [1, 2, 4, 8, 16, 32, 64, 100]
        assert sorted(order) == lengths
        assert telling_first([7]) == [7]

    def test_rounding_is_measured_first_where_the_greatest_error_is(self, tmp_path: Path) -> None:
        """A stage that is over allows one pass: that must be the telling one."""
        model = models.sequential(layers.LSTM(3))
        processor.convert(model, tmp_path / "artifact")
        artifact, truth = load_artifact(tmp_path / "artifact"), truth_of(model, "auto", None)
        sequences = random_sequences(truth.interface, 9)
        errors, zeros = Errors(), np.zeros((8, 3), np.float32)
        for t, error in ((2, 0.3), (9, 0.1)):
            errors.take("y", "random", t, t, zeros + np.float32(error), zeros)
        assert errors.worst_after == 2
        found = own_rounding(Subject(artifact, sequences), truth, [2, 9], errors, Stage(0.0))
        assert found == truth.rounding(sequences.part(0, 2)) != truth.rounding(sequences)

    def test_thorough_compares_more(self) -> None:
        default, thorough = budget.DEFAULT, budget.THOROUGH
        assert thorough.sequences > default.sequences
        assert thorough.seconds > default.seconds
        assert Budget(10, 8, 100, 1).after(7).seconds == 3
        assert Budget(10, 8, 100, 1).after(70).seconds == 2

    def test_the_weights_take_memory_from_what_is_held(self) -> None:
        assert Budget(10, 8, 100, 1).after(0, weights=10).held == 60
        assert Budget(10, 8, 100, 1).after(0, weights=1000).held == 25


class TestSpread:
    """The errors of single predictions, judged against float64 where float32 is itself rounding."""

    def errors(self, *greatest: float) -> Any:
        return np.concatenate([np.full(1000, 1e-7), greatest])

    def test_within_the_tolerance(self) -> None:
        found, remark = finding(Spread(60, self.errors(3e-6)), 1e-5)
        assert found.passed
        assert not remark
        assert found.detail == "1,001 sequences of 60 samples; median 1e-07, 99 % 1e-07, greatest 3.0e-06"

    def test_a_few_that_are_the_models_own_rounding(self) -> None:
        found, remark = finding(Spread(60, *(self.errors(e) for e in (1.7e-5, 1.6e-5, 1.7e-5))), 1e-5)
        assert found.passed
        assert remark.startswith("0.10% of 1,001 random predictions differ")
        assert "1.7e-05 from those computed in float64, and the step's up to 1.6e-05" in remark

    def test_more_than_rounding(self) -> None:
        assert not finding(Spread(60, *(self.errors(e) for e in (1.7e-5, 1.7e-5, 2e-7))), 1e-5)[0].passed

    def test_too_many(self) -> None:
        many = np.full(1000, 1.2e-5)
        assert not finding(Spread(60, many, many, many), 1e-5)[0].passed

    def test_no_float64_to_tell_by(self) -> None:
        assert not finding(Spread(60, self.errors(1.7e-5)), 1e-5)[0].passed

    def test_a_sharp_character_model(self, tmp_path: Path) -> None:
        """Of its predictions some differ by more than the tolerance, and so do its own from float64."""
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.Input((60,), dtype="int32"),
                layers.Embedding(26, 16),
                layers.LSTM(64, return_sequences=True),
                layers.LSTM(64),
                layers.Dense(26, "softmax"),
            ]
        )
        model.set_weights([weight * 3 for weight in model.get_weights()])
        report = processor.convert(model, tmp_path / "artifact", tolerance=2e-6)
        seen = report.certificate["spread"]
        assert seen["step"]["greatest"] > 2e-6
        assert seen["step_float64"]["greatest"] <= 4 * seen["model_float64"]["greatest"]
        assert "the trained model itself" in report.spread
        assert any("That is rounding" in remark for remark in report.remarks)
