"""The kill matrix does by its seed what it says, judges rightly, and leaves nothing behind however it ends."""

from __future__ import annotations

import io
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import processor
from model.models import fixed_model, lively  # first: it quietens TensorFlow
from model.quick import short_certificate
from processor import failpoints
from processor.cli import app
from processor.errors import ConfigError, Unavailable
from processor.model.artifact import load_artifact
from processor.model.convert import ConversionRefused, NotThisModel
from processor.model.convert.imports import import_code
from processor.trial import torture
from processor.trial.checker import input_records
from processor.trial.load import everything
from processor.trial.oracle import Sample, expected
from processor.trial.process import ProcessorProcess
from processor.trial.reader import Record
from processor.trial.torture import disk, report
from processor.trial.torture import torture_screen as screen
from processor.trial.torture.checking import KERAS, RULES, UNDISTURBED, Alone, Published, Verdict, checked, rules_of
from processor.trial.torture.keras_check import keras_check, require_the_model_of
from processor.trial.torture.recovery import Answered, Recovery, Row, busy, rows
from processor.trial.torture.scene import Course, Scene
from processor.trial.torture.schedule import BEGINNING, DECK, TABLE, Round, schedule
from processor.trial.torture.torture_sandbox import Member
from trial.running import Running

if TYPE_CHECKING:
    from pathlib import Path

    from processor.trial.reader import Topic

SETTINGS = {"gap_seconds": 20, "idle_seconds": 40, "lateness_seconds": 30}
A_FEW = ("kill-in-commit", "disk-damaged", "join-and-leave", "kill-in-restore")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    fixed_model(units=(6, 4)).save(path)
    return path


@pytest.fixture(scope="module")
def artifact(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("artifact") / "a"
    with short_certificate():
        processor.convert(model, directory)
    return directory


# All of it --------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900)  # on a machine that is busy with other tests
def test_a_few_rounds_on_an_artifact_of_ones_own(
    embedded_kafka_installed: None, artifact: Path, tmp_path: Path
) -> None:
    """Processes that are killed, moved and robbed, under load, on a broker of their own: and not a byte is other."""
    file, written = io.StringIO(), tmp_path / "report.json"
    wishes = torture.Wishes(
        artifact=artifact, rounds=4, seed=2, keys=100, rate=300, processes=1, only=A_FEW, report=written
    )
    code = torture.run(wishes, directory=tmp_path / "sandbox", console=Console(file=file, width=100))
    shown = file.getvalue()
    assert code == 0, shown
    assert shown.splitlines()[-1] == "0 lost, 0 doubled, 0 differing"
    told = json.loads(written.read_text())
    assert [one["fault"] for one in told["rounds"]] == [one.fault for one in schedule(2, 4, 1, A_FEW)]
    assert sorted(told["faults"]) == sorted(A_FEW)
    assert all(one["recovery_seconds"] > 0 for one in told["rounds"])
    assert told["compared"] == told["predictions"] > 500
    assert told["lost_doubled_differing"] == {RULES: [0, 0, 0], UNDISTURBED: [0, 0, 0]}
    assert told["verdict"] == "0 lost, 0 doubled, 0 differing"
    assert f"SIGKILL of one at {BEGINNING}" in shown
    assert "is flipped" in shown or "are flipped" in shown or "is cut to" in shown
    assert not (tmp_path / "sandbox").exists()


@pytest.mark.rotated(kind="the end of a trial")
def test_an_end_while_the_broker_is_stopped(embedded_kafka_installed: None, artifact: Path, tmp_path: Path) -> None:
    running = Running(tmp_path, "torture", "--artifact", str(artifact), "--only", "broker-paused", "--rate", "200")
    try:
        running.read_until("SIGSTOP of the broker")
        running.popen.send_signal(signal.SIGTERM)
        assert running.finish() == 128 + signal.SIGTERM, running.output
        assert "Traceback" not in running.output
        running.must_have_left_nothing()
    finally:
        running.close()


# The schedule -----------------------------------------------------------------------------------------------------


def test_a_seed_decides_what_is_done_and_in_which_order() -> None:
    assert schedule(7, 100, 3) == schedule(7, 100, 3)
    assert schedule(7, 40, 3) == schedule(7, 100, 3)[:40]
    assert [one.fault for one in schedule(8, 16, 3)] != [one.fault for one in schedule(7, 16, 3)]
    # Written down, so that a summary that was published stays the summary of its seed.
    assert [(one.fault, one.process, one.point, one.hit) for one in schedule(1, 4, 2)] == [
        ("kill-in-restore", 1, "assign.restoring", 1),
        ("broker-killed", 0, "", 1),
        ("kill-while-leaving", 1, "revoke.started", 1),
        ("kill-all", 1, "", 1),
    ]


def test_everything_is_met_as_often_and_every_failpoint_too() -> None:
    rounds = schedule(1, 100, 2)
    for first in range(0, 5 * len(DECK), len(DECK)):
        assert sorted(one.fault for one in rounds[first : first + len(DECK)]) == sorted(DECK)
    assert set(DECK) == set(TABLE)
    killed_at = {one.point for one in rounds if one.point and one.fault != "transaction-timeout"}
    assert killed_at | {BEGINNING} == {*failpoints.COMMIT, *failpoints.ASSIGN, *failpoints.REVOKE}
    assert {one.process for one in rounds} == {0, 1}


def test_only_what_was_asked_for_is_done() -> None:
    assert {one.fault for one in schedule(1, 9, 1, ["kill", "restart"])} == {"kill", "restart"}
    with pytest.raises(ConfigError, match="no fault 'fire'") as raised:
        schedule(1, 9, 1, ["kill", "fire"])
    assert "broker-paused" in raised.value.hint


# The disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for number in range(2):
        store = tmp_path / "state" / f"partition-{number}"
        store.mkdir(parents=True)
        for name in ("000012.sst", "MANIFEST-000005", "CURRENT", "LOG", "LOCK"):
            (store / name).write_bytes(name.encode() * 100)
    (tmp_path / "state" / "process-id").write_text("one")
    return tmp_path / "state"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("seed", range(12))
def test_a_damage_is_one_files_and_the_seeds(state: Path, tmp_path: Path, seed: int) -> None:
    before = contents(state)
    disk.copy(state, tmp_path / "copy")
    told = disk.damage(state, seed)
    after = contents(state)
    (damaged,) = [name for name in before if after[name] != before[name]]
    assert damaged in told
    assert not damaged.endswith(("LOG", "LOCK", "process-id"))
    disk.put_back(state, tmp_path / "copy")
    assert contents(state) == before == contents(tmp_path / "copy")
    assert disk.damage(state, seed) == told
    assert contents(state) == after


def test_a_disk_without_anything_is_not_damaged(tmp_path: Path) -> None:
    assert "nothing" in disk.damage(tmp_path, 1)


# Recoveries -------------------------------------------------------------------------------------------------------


class Message:
    """A prediction as the reader gets it."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value


def answers(partition: int, *offsets: int) -> list[Any]:
    return [Message(b'{"probability":0.5,"partition":%d,"offset":%d}' % (partition, offset)) for offset in offsets]


def a_round(fault: str) -> Round:
    return Round(1, fault, 0, 1.0, 0.5, "", 1, True, 0)


def test_a_recovery_ends_when_every_partition_has_answered_what_came_later() -> None:
    answered, recovery = Answered(), Recovery(a_round("kill"))
    recovery.see(answered, 5.0)
    recovery.strike(10.0, {0: 100, 1: 80, 2: 0})
    answered.take(answers(0, 98, 99, 100))
    answered.take([Message(b"no prediction")])
    recovery.see(answered, 11.0)
    assert recovery.seconds is None
    answered.take(answers(1, 79))
    recovery.see(answered, 12.0)
    assert recovery.seconds is None  # what came before it is answered, nothing later
    answered.take(answers(1, 80))
    recovery.see(answered, 13.0)
    recovery.see(answered, 14.0)
    assert recovery.seconds == 3.0
    recovery.strike(20.0, {0: 101, 1: 81})  # that was but the preparation
    recovery.see(answered, 21.0)
    assert recovery.seconds is None
    assert answered.predictions == 5
    assert answered.lag({0: 103, 1: 81}) == 2


def test_a_partition_with_few_events_says_nothing_about_time() -> None:
    assert busy({0: 1000, 1: 900, 2: 3}) == {0: 1000, 1: 900}
    assert busy({}) == {}


def test_the_table_has_the_median_and_the_longest() -> None:
    recoveries = []
    for fault, seconds in (("restart", 2.0), ("kill", 1.0), ("kill", 9.0), ("kill", 2.0), ("kill", None)):
        recoveries.append(Recovery(a_round(fault), seconds=seconds))
    assert rows(recoveries, TABLE) == [Row("kill", 3, 2.0, 9.0), Row("restart", 1, 2.0, 2.0)]


# Processes that end by themselves ---------------------------------------------------------------------------------


def member_of(tmp_path: Path, program: str) -> Member:
    settings = tmp_path / "processor.toml"
    settings.touch()
    process = ProcessorProcess(settings, log=tmp_path / "log", command=(sys.executable, "-c", program))
    return Member("one", process, tmp_path / "state")


GIVES_UP_ONCE = """
import pathlib, sys, time
seen = pathlib.Path({seen!r})
if not seen.exists():
    seen.touch()
    sys.exit(3)
time.sleep(600)
"""


class Stage:
    """What a scene needs of a sandbox to look after its processes."""

    def __init__(self, *members: Member) -> None:
        self.members = list(members)


class Idle:
    running = True


def scene_of(*members: Member) -> Scene:
    return Scene(Stage(*members), Course(1), Idle(), 1.0, lambda *_, **__: None)  # type: ignore[arg-type]


def test_a_process_that_gives_up_is_started_again_as_its_supervisor_would(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    member = member_of(tmp_path, GIVES_UP_ONCE.format(seen=str(seen)))
    scene = scene_of(member)
    scene.start(member)
    try:
        assert scene.until(lambda: bool(scene.course.ended_by_themselves), 30)
        assert scene.course.ended_by_themselves == ["one: exit code 3"]
        scene.turn()
        assert member.process.running
    finally:
        member.process.close()


@pytest.mark.parametrize("code", [1, 2, 5, 6])
def test_an_end_that_asks_for_a_human_ends_the_torture(tmp_path: Path, code: int) -> None:
    member = member_of(tmp_path, f"import sys; print('this is wrong'); sys.exit({code})")
    scene = scene_of(member)
    scene.start(member)
    with pytest.raises(Unavailable, match=f"one ended by itself with exit code {code}") as raised:
        scene.until(lambda: False, 30)
    assert "this is wrong" in raised.value.cause


# The judges -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples() -> Topic:
    topic: Topic = {0: [], 1: []}
    for event in everything(5, events=1500, keys=12, partitions=2, step_ms=5, gap_share=0.01):
        lane = topic[event.partition]
        lane.append(Record(len(lane), event.key, event.value, (), 1_800_000_000_000))
    return topic


@pytest.fixture(scope="module")
def right(samples: Topic, artifact: Path) -> Published:
    """What must be published, by the artifact's library stepper over whole sequences."""
    loaded, stepper = load_artifact(artifact), processor.load(artifact)
    wanted = expected(input_records(samples), rules_of(loaded, **SETTINGS))
    probabilities = {}
    for sequences in wanted.sequences.values():
        for sequence in sequences:
            run: Any = stepper.run([[sample.features["samples"] for sample in sequence]])
            for sample, answer in zip(sequence, run[0, :, 0], strict=True):
                probabilities[sample.partition, sample.offset] = str(answer)
    predictions: Topic = {0: [], 1: []}
    for number, lane in wanted.predictions.items():
        for one in lane:
            # A prediction as it is printed: the shortest digits of the float32.
            place = f'"step":{one.step},"time":{one.time},"partition":{number},"offset":{one.offset}'
            value = f'{{"probability":{probabilities[number, one.offset]},{place}}}'
            predictions[number].append(Record(len(predictions[number]), one.key, value.encode()))
    letters: Topic = {0: [], 1: []}
    for number, rejected in wanted.dead_letters.items():
        for letter in rejected:
            headers = (
                ("processor.reason", letter.reason.encode()),
                ("processor.partition", b"%d" % number),
                ("processor.offset", b"%d" % letter.offset),
            )
            letters[number].append(Record(len(letters[number]), letter.key, letter.value, headers))
    return Published(predictions, letters)


def verdict_of(samples: Topic, found: Published, right: Published, artifact: Path) -> Verdict:
    loaded = load_artifact(artifact)
    return checked(samples, found, right, loaded, rules_of(loaded, **SETTINGS))


def sabotaged(right: Published, *, predictions: Any = None, dead_letters: Any = None) -> Published:
    changed = Published(
        {number: list(lane) for number, lane in right.predictions.items()},
        {number: list(lane) for number, lane in right.dead_letters.items()},
    )
    for change, topic in ((predictions, changed.predictions), (dead_letters, changed.dead_letters)):
        if change is not None:
            change(topic[0])
    return changed


def test_zeros_when_all_is_well(samples: Topic, right: Published, artifact: Path) -> None:
    verdict = verdict_of(samples, right, right, artifact)
    assert verdict, verdict.differences
    assert verdict.last_line == "0 lost, 0 doubled, 0 differing"
    assert verdict.compared == verdict.predictions == sum(map(len, right.predictions.values())) > 1000
    assert verdict.dead_letters > 20
    assert verdict.events == verdict.predictions + verdict.dead_letters + verdict.duplicates + verdict.forgotten


def one_bit(lane: list[Record]) -> None:
    """The smallest lie there is: another last digit."""
    value = json.loads(lane[7].value or b"")
    value["probability"] = round(value["probability"] * (1 + 2e-7), 9)
    lane[7] = lane[7]._replace(value=json.dumps(value).encode())


@pytest.mark.parametrize(
    ("change", "last_line"),
    [
        (lambda lane: lane.pop(3), "1 lost, 0 doubled, 0 differing"),
        (lambda lane: lane.append(lane[3]), "0 lost, 1 doubled, 0 differing"),
        (one_bit, "0 lost, 0 doubled, 1 differing"),
    ],
)
def test_a_sabotaged_output_changes_the_last_line(
    samples: Topic, right: Published, artifact: Path, change: Any, last_line: str
) -> None:
    verdict = verdict_of(samples, sabotaged(right, predictions=change), right, artifact)
    assert not verdict
    assert verdict.last_line == last_line
    assert all(verdict.reports[name].summary == last_line for name in (RULES, UNDISTURBED))


def test_a_sabotaged_dead_letter_changes_it_too(samples: Topic, right: Published, artifact: Path) -> None:
    changed = sabotaged(right, dead_letters=lambda lane: lane.pop(0))
    assert verdict_of(samples, changed, right, artifact).last_line == "1 lost, 0 doubled, 0 differing"


def test_what_both_runs_have_wrong_is_found_by_the_rules(samples: Topic, right: Published, artifact: Path) -> None:
    changed = sabotaged(right, predictions=one_bit)
    verdict = verdict_of(samples, changed, changed, artifact)
    assert verdict.reports[UNDISTURBED]
    assert verdict.last_line == "0 lost, 0 doubled, 1 differing"
    assert any("wrong probability" in text for text in verdict.differences)


def test_keras_judges_too(samples: Topic, right: Published, artifact: Path, model: Path) -> None:
    loaded = load_artifact(artifact)
    rules = rules_of(loaded, **SETTINGS)
    truth = keras_check(model, loaded)(expected(input_records(samples), rules))
    verdict = checked(samples, right, right, loaded, rules, keras=lambda _: truth)
    assert verdict, verdict.differences
    assert verdict.keras_error is not None
    assert 0 < verdict.keras_error < loaded.tolerance

    def off(lane: list[Record]) -> None:
        value = json.loads(lane[7].value or b"")
        lane[7] = lane[7]._replace(value=json.dumps({**value, "probability": value["probability"] + 1e-3}).encode())

    changed = sabotaged(right, predictions=off)
    verdict = checked(samples, changed, changed, loaded, rules, keras=lambda _: truth)
    assert verdict.reports[KERAS].summary == "0 lost, 0 doubled, 1 differing"


def test_keras_judges_every_head_of_a_model(samples: Topic, tmp_path: Path) -> None:
    import keras

    series = keras.Input((None, 3), name="samples")
    seen = keras.layers.LSTM(4)(series)
    heads = [keras.layers.Dense(1, name="chance")(seen), keras.layers.Dense(2, name="place")(seen)]
    model = lively(keras.Model(series, heads))
    model.save(tmp_path / "heads.keras")
    with short_certificate():
        processor.convert(model, tmp_path / "heads")
    loaded, stepper = load_artifact(tmp_path / "heads"), processor.load(tmp_path / "heads")
    wanted = expected(input_records(samples), rules_of(loaded, **SETTINGS))
    truth = keras_check(tmp_path / "heads.keras", loaded)(wanted)
    sequence = max((one for some in wanted.sequences.values() for one in some), key=len)
    answers: Any = stepper.run([[sample.features["samples"] for sample in sequence]])
    for step, sample in enumerate(sequence):
        said: Any = truth[sample.partition, sample.offset]
        assert list(said) == [spec.name for spec in loaded.outputs] == list(answers)
        for head, values in answers.items():
            assert np.allclose(said[head], values[0, step], atol=1e-5)


def test_keras_judges_no_artifact_of_another_model(artifact: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.keras"
    fixed_model(units=(5, 4)).save(other)
    with pytest.raises(NotThisModel, match="was not made from this model"):
        require_the_model_of(other, load_artifact(artifact), lambda _: None)


def test_keras_judges_a_model_whose_file_needs_code_of_the_users_own(artifact: Path, tmp_path: Path) -> None:
    import keras

    code = tmp_path / "layers_of_a_tortured_model.py"
    code.write_text(
        "import keras\n\n\nclass Half(keras.layers.Layer):\n    def call(self, x):\n        return x * 0.5\n"
    )
    own = import_code([code])["Half"]
    model, loaded = tmp_path / "own.keras", load_artifact(artifact)
    keras.Sequential([keras.Input((None, 3)), own(), keras.layers.LSTM(4), keras.layers.Dense(1)]).save(model)
    with pytest.raises(ConversionRefused, match="Half"):
        require_the_model_of(model, loaded, lambda _: None)
    with pytest.raises(NotThisModel):  # it was read, and has another state
        require_the_model_of(model, loaded, lambda _: None, [str(code)])
    assert callable(keras_check(model, loaded, [str(code)]))


def test_a_sequence_is_stepped_alone_and_a_step_that_is_not_finite_is_not_taken(artifact: Path) -> None:
    alone, stepper = Alone(load_artifact(artifact)), processor.load(artifact)
    numbers = [[0.1, 0.2, 0.3], [1.0, -1.0, 0.5], [0.3, 0.3, 0.3]]
    one, two, three = (Sample({"samples": some}, 0, offset) for offset, some in enumerate(numbers))
    bad = Sample({"samples": [float("nan")] * 3}, 0, 9)
    assert alone.is_finite([one])
    assert alone.is_finite([one, two])
    assert not alone.is_finite([one, two, bad])
    assert alone.is_finite([one, two, three])
    run: Any = stepper.run([numbers])
    truth: Any = alone.truth
    assert [truth[0, offset].tobytes() for offset in range(3)] == [answer.tobytes() for answer in run[0]]
    assert (0, 9) not in alone.truth


# The report -------------------------------------------------------------------------------------------------------


@pytest.fixture
def summary(samples: Topic, right: Published, artifact: Path) -> report.Summary:
    changed = sabotaged(right, predictions=lambda lane: lane.pop(3))
    recovery = Recovery(a_round("kill"), at=1.0, seconds=1.25, settled_seconds=2.0, remarks=["not [reached]"])
    return report.Summary(
        command="processor torture --rounds 1",
        seed=1,
        rounds=1,
        processes=1,
        keys=12,
        rate=1000,
        model="0123456789abcdef",
        seconds=60.0,
        recoveries=[recovery],
        ended_by_themselves=["one: exit code 3"],
        verdict=verdict_of(samples, changed, right, artifact),
    )


def test_the_report_is_a_page_or_all_of_it(summary: report.Summary, tmp_path: Path) -> None:
    for name in ("report.md", "report.json"):
        report.require_writable(tmp_path / name)
        report.write(tmp_path / name, summary)
    page = (tmp_path / "report.md").read_text()
    assert "| SIGKILL at any moment | 1 | 1.2 s | 1.2 s |" in page
    assert page.endswith("`1 lost, 0 doubled, 0 differing`\n")
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["rounds"][0]["remarks"] == ["not [reached]"]
    assert told["verdict"] == "1 lost, 0 doubled, 0 differing"


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for path in (tmp_path / "report.txt", tmp_path / "nowhere" / "report.md"):
        with pytest.raises(ConfigError, match="report"):
            torture.run(torture.Wishes(report=path))


@pytest.mark.parametrize("terminal", [False, True])
def test_the_screen_shows_the_rounds_and_the_summary(summary: report.Summary, terminal: bool) -> None:
    console = Console(file=io.StringIO(), width=100, height=40, force_terminal=terminal, color_system=None)
    course = Course(5)
    course.recoveries.append(summary.recoveries[0])
    with screen.showing(console) as show:
        course.happened("round 1: SIGKILL [of] all", "bold red")
        show(course, at_once=True)
    report.show(console, summary)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    assert "SIGKILL [of] all" in text
    assert "1 of 5" in text
    assert "1.2 s" in text
    assert "lost: partition 0" in text


def test_wishes_that_cannot_be_are_refused_at_once(artifact: Path, tmp_path: Path) -> None:
    for arguments, fact in (
        (["--model", "model.keras"], "--model was given without --artifact"),
        (["--artifact", str(artifact), "--import", "own.py"], "--import was given without --model"),
        (["--artifact", str(tmp_path)], "is no artifact"),
        (["--artifact", str(artifact), "--only", "fire"], "no fault 'fire'"),
        (["--artifact", str(artifact), "--directory", str(artifact)], "is not an empty directory"),
    ):
        done = CliRunner().invoke(app, ["torture", *arguments])
        assert done.exit_code == ConfigError.exit_code, done.output
        assert fact in " ".join(done.output.split())
