"""The engine: rows that know nothing of each other, whatever they are stepped with."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import graphs
from processor.errors import Incompatible
from processor.model.artifact import Parts, write_artifact
from processor.model.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeEngine = Callable[..., Engine]


@pytest.fixture
def engine_of(tmp_path: Path) -> MakeEngine:
    def make(parts: dict[str, Any], **settings: int) -> Engine:
        return Engine(write_artifact(tmp_path / "artifact", Parts(**parts)), **settings)

    return make


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(
        write_artifact(tmp_path_factory.mktemp("engine") / "artifact", Parts(**graphs.recurrent())), max_rows=16
    )


def samples(rows: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(rows, 3)).astype(np.float32)}, random.normal(size=(rows, 5)).astype(np.float32)


def bits(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 15, 16, 17, 33, 53])
def test_a_step_is_what_numpy_says_in_whole_buckets_in_parts_of_one_and_in_tiles(engine: Engine, rows: int) -> None:
    features, state = samples(rows)
    outputs, new_state = engine.step(features, state)
    y, h = graphs.elman(features["x"], state)
    assert outputs["y"].shape == (rows, 1)
    assert new_state.shape == (rows, 5)
    assert outputs["y"].dtype == new_state.dtype == np.float32
    np.testing.assert_allclose(outputs["y"], y, atol=1e-6)
    np.testing.assert_allclose(new_state, h, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    order=st.permutations(range(40)),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    poison=st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 1e-42]),
)
def test_a_rows_bits_depend_on_that_row_alone(engine: Engine, order: list[int], cuts: list[int], poison: float) -> None:
    features, state = samples(40)
    alone, alone_state = engine.step(features, state)
    bad, bad_state = features["x"].copy(), state.copy()
    bad[::3], bad_state[1::5] = poison, poison
    clean = [row for row in range(40) if row % 3 and row % 5 != 1]
    edges = [0, *sorted(cuts), 40]
    for start, stop in pairwise(edges):
        rows = np.array(order[start:stop], np.intp)
        outputs, new_state = engine.step({"x": bad[rows]}, bad_state[rows])
        for i in (i for i, row in enumerate(rows) if row in clean):
            assert bits(outputs["y"][i]) == bits(alone["y"][rows[i]])
            assert bits(new_state[i]) == bits(alone_state[rows[i]])


@pytest.mark.parametrize("sizes", [[1], [1] * 20, [20, 20, 7, 7, 1], [53, 17, 16, 2], [0]])
def test_a_run_is_step_after_step(engine: Engine, sizes: list[int]) -> None:
    _, state = samples(sizes[0])
    features, _ = samples(sum(sizes), seed=1)
    outputs, states = engine.step_run(features, state, sizes)
    edges = np.cumsum([0, *sizes])
    for start, stop in pairwise(edges.tolist()):
        wanted, state = engine.step({"x": features["x"][start:stop]}, state[: stop - start])
        assert bits(outputs["y"][start:stop]) == bits(wanted["y"])
        assert bits(states[start:stop]) == bits(state)


@pytest.mark.parametrize("large", [False, True])
def test_where_padding_is_dear_the_bits_are_the_same(engine_of: MakeEngine, large: bool) -> None:
    engine = engine_of(graphs.recurrent(), max_rows=64)
    if large:  # as for a step graph of many weights: full buckets, then the rest
        engine._padding = 1
    features, state = samples(45)
    outputs, new_state = engine.step(features, state)
    single = [engine.step({"x": features["x"][i : i + 1]}, state[i : i + 1]) for i in range(45)]
    assert bits(outputs["y"]) == b"".join(bits(one["y"]) for one, _ in single)
    assert bits(new_state) == b"".join(bits(one) for _, one in single)
    assert set(engine._buckets) == ({1, 4, 8, 32} if large else {1, 64})


def test_what_an_earlier_call_left_in_the_padding_is_gone(engine: Engine) -> None:
    features, state = samples(5)
    before = engine.step(features, state)
    engine.step({"x": np.full((8, 3), np.nan, np.float32)}, np.full((8, 5), np.nan, np.float32))
    after = engine.step(features, state)
    assert bits(before[0]["y"]) == bits(after[0]["y"])
    assert bits(before[1]) == bits(after[1])
    assert not np.isnan(engine._buckets[8]._inputs[0]()).any()


def test_arguments_are_left_alone_and_results_are_the_callers(engine: Engine) -> None:
    features, state = samples(16)
    held = features["x"].copy(), state.copy()
    for array in (features["x"], state):
        array.flags.writeable = False
    outputs, new_state = engine.step(features, state)
    kept = outputs["y"].copy(), new_state.copy()
    engine.step({"x": features["x"] * 2}, new_state)
    assert bits(features["x"]) == bits(held[0])
    assert bits(state) == bits(held[1])
    assert bits(outputs["y"]) == bits(kept[0])
    assert bits(new_state) == bits(kept[1])
    outputs["y"][:], new_state[:] = 7, 7  # what the caller does to them reaches nothing
    assert bits(engine.step(features, state)[0]["y"]) == bits(kept[0])


def test_views_of_larger_arrays_are_stepped_as_they_lie(engine: Engine) -> None:
    features, state = samples(12)
    sequences = np.zeros((12, 4, 3), np.float32)
    sequences[:, 2] = features["x"]
    outputs, new_state = engine.step({"x": sequences[:, 2]}, np.asfortranarray(state))
    assert bits(outputs["y"]) == bits(engine.step(features, state)[0]["y"])
    assert bits(new_state) == bits(engine.step(features, state)[1])


def test_integers_of_the_state_keep_all_their_bits_and_count_beyond_what_float32_can(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.tumbling() | {"step_graph": graphs.counting_graph(2**31 - 1)})
    state = engine.initial_state(3)
    words = state.view(np.int32)
    words[:, 2] = [0, 2**24, 2**30]
    words[:, 3] = [-1, 0x7FA00001, 0x7F800000]  # as float32: NaN, a signalling NaN, infinity
    words[:, 4] = [1, -(2**31), 2**31 - 1]
    outputs, new_state = engine.step({"x": np.ones((3, 2), np.float32)}, state)
    assert outputs["count"].dtype == np.int32
    assert outputs["count"].tolist() == [1, 2**24 + 1, 2**30 + 1]
    left = new_state.view(np.int32)[:, 2:]
    assert left[:, 0].tolist() == [1, 2**24 + 1, 2**30 + 1]
    assert left[:, 1:].tolist() == words[:, 3:].tolist()
    assert new_state[:, :2].tolist() == [[1, 1]] * 3


def test_tumbling_is_empty_again_after_its_last_step(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.tumbling(length=3))
    state, counts = engine.initial_state(2), []
    for _ in range(7):
        outputs, state = engine.step({"x": np.ones((2, 2), np.float32)}, state)
        counts.append(int(outputs["count"][0]))
    assert counts == [1, 2, 3, 1, 2, 3, 1]


def test_inputs_and_outputs_go_by_name_where_the_graph_orders_them_otherwise(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.many_inputs())
    features = {f"x{i}": np.full((3, 2), i, np.float32) for i in reversed(range(12))}
    outputs, new_state = engine.step(features, engine.initial_state(3))
    assert list(outputs) == [f"y{i}" for i in range(12)]
    assert [values[0, 0] for values in outputs.values()] == [i * (i + 1) for i in range(12)]
    assert new_state.shape == (3, 0)


def test_a_state_of_integers_alone(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.tokens())
    engine.check_golden()
    _, state = engine.step({"token": np.array([2**24 + 1, -1], np.int32)}, engine.initial_state(2))
    assert state.view(np.int32).tolist() == [[2**24 + 1], [-1]]


def test_a_fixed_tile_is_the_only_number_of_rows_that_the_graph_ever_sees(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.recurrent(batch=4))  # this graph could not be called with any other
    engine.warm_up()
    features, state = samples(11)
    outputs, _ = engine.step(features, state)
    np.testing.assert_allclose(outputs["y"], graphs.elman(features["x"], state)[0], atol=1e-6)
    assert set(engine._buckets) == {4}


def test_no_more_interpreters_are_open_than_memory_allows(engine_of: MakeEngine) -> None:
    """Each has a copy of the weights."""
    whole = engine_of(graphs.recurrent(), max_rows=16)
    held = 2 * len(whole.artifact.step_graph)
    few = Engine(whole.artifact, max_rows=16, held=held)
    for rows in (16, 1, 2, 8, 16, 1, 4, 31):
        features, state = samples(rows)
        (mine, mine_after), (truth, after) = few.step(features, state), whole.step(features, state)
        assert (bits(mine["y"]), bits(mine_after)) == (bits(truth["y"]), bits(after))
        assert len(few._buckets) <= 2
    assert len(whole._buckets) == 5
    assert Engine(whole.artifact, held=1).step(*samples(3))[1].shape == (3, 5)


def test_warming_up_opens_all_buckets(engine_of: MakeEngine) -> None:
    engine = engine_of(graphs.recurrent(), max_rows=20)
    assert not engine._buckets
    engine.warm_up()
    assert sorted(engine._buckets) == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("features", "state", "says"),
    [
        ({}, (2, 5), "lack the input 'x'"),
        ({"x": np.zeros((2, 4), np.float32)}, (2, 5), r"\(2, 4\); expected \(2, 3\)"),
        ({"x": np.zeros((1, 3), np.float32)}, (2, 5), r"\(1, 3\); expected \(2, 3\)"),  # would be broadcast
        ({"x": np.zeros((2, 3), np.float32)}, (2, 4), r"float32\[2, 4\]; expected float32\[2, 5\]"),
        ({"x": np.zeros((2, 3), np.float32)}, (2,), r"float32\[2\]; expected"),
    ],
)
def test_another_shape_is_an_error_and_never_broadcast(
    engine: Engine, features: dict[str, np.ndarray], state: tuple[int, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        engine.step(features, np.zeros(state, np.float32))


def test_golden_vectors_pass_where_nothing_was_changed(engine: Engine) -> None:
    engine.check_golden()


def _off(array: np.ndarray, by: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[-1] += by
    return changed


@pytest.mark.parametrize("by", [3e-5, np.nan, np.inf])
@pytest.mark.parametrize("where", ["output y after sample 6", "state's slot cell#0.h"])
def test_golden_vectors_that_differ_are_refused(engine_of: MakeEngine, where: str, by: float) -> None:
    parts = graphs.recurrent()
    golden = parts["golden"]
    if "output" in where:
        parts["golden"] = type(golden)(golden.features, {"y": _off(golden.outputs["y"], by)}, golden.state)
    else:
        parts["golden"] = type(golden)(golden.features, golden.outputs, _off(golden.state, by))
    with pytest.raises(Incompatible, match=where) as refused:
        engine_of(parts).check_golden()
    assert refused.value.hint


def test_golden_vectors_catch_other_weights_in_the_same_graph(engine_of: MakeEngine) -> None:
    parts = graphs.recurrent()
    weight = graphs.KERNEL[1, 2].tobytes()
    assert weight in parts["step_graph"]
    parts["step_graph"] = parts["step_graph"].replace(weight, np.float32(graphs.KERNEL[1, 2] * 1.01).tobytes())
    with pytest.raises(Incompatible, match="golden predictions"):
        engine_of(parts).check_golden()


def test_golden_integers_have_no_tolerance(engine_of: MakeEngine) -> None:
    parts = graphs.tumbling()
    golden, state = parts["golden"], parts["golden"].state.copy()
    state.view(np.int32)[1, 4] += 1  # of 2^30: far below what a relative tolerance would see
    parts["golden"] = type(golden)(golden.features, golden.outputs, state)
    with pytest.raises(Incompatible, match=r"slot tokens#0"):
        engine_of(parts).check_golden()


def test_tolerance_is_relative_above_one(engine_of: MakeEngine) -> None:
    parts = graphs.tumbling()
    golden = parts["golden"]
    x, total = golden.features["x"] * 1e6, golden.outputs["total"] * 1e6
    parts["golden"] = type(golden)(
        {"x": x}, {"total": total * (1 + 5e-6), "count": golden.outputs["count"]}, golden.state
    )
    engine_of(parts).check_golden()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"step_graph": b"no flatbuffer at all, but long enough to be one"}, "cannot be run"),
        ({"step_graph": graphs.tokens()["step_graph"]}, "its tensors are"),
        ({"step_graph": graphs.recurrent(batch=4)["step_graph"]}, "cannot be run with 1 rows"),
    ],
)
def test_a_step_graph_that_is_not_the_manifests_is_refused(
    engine_of: MakeEngine, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(Incompatible, match=says):
        engine_of(graphs.recurrent() | changes).warm_up()


def test_a_graph_whose_outputs_have_other_types_is_refused(engine_of: MakeEngine) -> None:
    parts = graphs.tumbling()
    swapped = type(parts["golden"])(parts["golden"].features, {}, parts["golden"].state)
    outputs = tuple(type(spec)(spec.name, spec.shape, "float32") for spec in parts["outputs"])
    values = {name: array.astype(np.float32) for name, array in parts["golden"].outputs.items()}
    parts |= {"outputs": outputs, "golden": type(swapped)(swapped.features, values, swapped.state)}
    with pytest.raises(Incompatible, match=r"output_1 is int32\[1\], not float32\[1\]"):
        engine_of(parts).warm_up()


def test_warm_is_what_the_mode_says(engine_of: MakeEngine) -> None:
    def state(engine: Engine, *counts: int) -> np.ndarray:
        rows = engine.initial_state(len(counts))
        rows.view(np.int32)[:, 2] = counts
        return rows

    carry, exact = engine_of(graphs.recurrent()), engine_of(graphs.tumbling())
    inexact = engine_of(graphs.tumbling(exact_prefix=False))
    window = engine_of(graphs.tumbling(mode="window"))
    assert carry.warm(carry.initial_state(2)).tolist() == [True, True]
    assert exact.warm(state(exact, 0, 1, 3)).tolist() == [True, True, True]
    assert inexact.warm(state(inexact, 0, 1, 3)).tolist() == [True, False, False]
    assert window.warm(state(window, 0, 3, 4, 5)).tolist() == [False, False, True, True]
    assert carry.warm(carry.initial_state(0)).tolist() == []


def test_nothing_is_written_to_standard_error_and_tensorflow_is_never_imported(engine_of: MakeEngine) -> None:
    directory = engine_of(graphs.recurrent()).artifact.directory
    program = f"""
import sys
import processor
assert not {{"tensorflow", "keras", "ai_edge_litert", "confluent_kafka"}} & set(sys.modules), "importing processor"
import processor.model.engine
assert not {{"tensorflow", "keras"}} & set(sys.modules), "importing the engine"
stepper = processor.load({str(directory)!r})
stepper.engine.warm_up()
assert not {{"tensorflow", "keras"}} & set(sys.modules), "stepping"
print("a line of ours", file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "a line of ours\n")
