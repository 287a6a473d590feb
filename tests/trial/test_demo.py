"""The demo ends as it says: zeros when all is well, true numbers when not, and nothing left behind however it ends."""

from __future__ import annotations

import io
import json
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from processor.errors import ConfigError, Unavailable
from processor.trial.background import Background
from processor.trial.checker import input_records
from processor.trial.demo import demo_screen as screen
from processor.trial.demo.check import Outcome, check
from processor.trial.demo.demo_sandbox import DemoSandbox
from processor.trial.demo.figures import Figures, Prediction, SendTimes
from processor.trial.demo.kills import Kill
from processor.trial.demo.story import _bound, _must_run
from processor.trial.live_display import step
from processor.trial.load import Load
from processor.trial.oracle import Rules, expected
from processor.trial.process import ProcessorProcess
from processor.trial.reader import Record
from trial.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from processor.trial.reader import Topic

SMALL = ("--keys", "200", "--events", "4000", "--rate", "800")


@pytest.fixture
def demo(embedded_kafka_installed: None, tmp_path: Path) -> Iterator[Running]:
    demo = Running(tmp_path, "demo", *SMALL)
    yield demo
    demo.close()


def test_the_demo_kills_twice_and_loses_nothing(demo: Running) -> None:
    assert demo.finish() == 0, demo.output
    assert demo.lines[-1] == "0 lost, 0 doubled, 0 differing"
    happened = [line.split(" s  ", 1)[-1] for line in demo.lines]
    assert happened.count("SIGKILL") == happened.count("SIGKILL, and its disk is deleted") == 1
    assert sum(line.startswith("first new prediction") for line in happened) == 2
    assert sum(line.startswith("caught up") for line in happened) == 2
    assert "SIGTERM, exit code 0" in demo.output
    assert "4,000" in next(line for line in demo.lines if "predictions" in line and "compared with Keras" in line)
    assert "Traceback" not in demo.output
    demo.must_have_left_nothing()


@pytest.mark.rotated(kind="the end of a trial")
def test_ctrl_c_while_the_broker_starts(demo: Running) -> None:
    deadline = time.monotonic() + 120
    while not list(demo.temporary.glob("processor-demo-*/kafka/node-1/data/meta.properties")):
        assert demo.popen.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.popen.send_signal(signal.SIGINT)
    assert demo.finish() == 130, demo.output
    assert "Traceback" not in demo.output
    demo.must_have_left_nothing()


@pytest.mark.rotated(kind="the end of a trial")
def test_an_end_under_load(demo: Running) -> None:
    demo.read_until("SIGKILL")
    demo.popen.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    demo.popen.send_signal(signal.SIGTERM)  # somebody who is impatient gets no half-done end
    assert demo.finish() == 128 + signal.SIGTERM, demo.output
    assert "Traceback" not in demo.output
    demo.must_have_left_nothing()


# The check ---------------------------------------------------------------------------------------------------------


def running_mean(features: dict[str, NDArray[np.float32]]) -> NDArray[Any]:
    """A model of one's own: [rows, T, 3] -> [rows, T, 1]."""
    sums = np.cumsum(features["samples"].sum(axis=2), axis=1)
    return (sums / np.arange(1, sums.shape[1] + 1))[..., None]


@pytest.fixture
def topics() -> tuple[Topic, Topic, Topic]:
    """Input, predictions and dead letters, as they are when all is well."""
    load = Load(events=600, keys=9, partitions=2)
    samples: Topic = {0: [], 1: []}
    for event in load:
        lane = samples[event.partition]
        lane.append(Record(len(lane), event.key, event.value, (), 1_800_000_000_000))
    wanted = expected(input_records(samples), Rules(inputs={"samples": (3,)}))
    values = {}
    for (partition, _), sequences in wanted.sequences.items():
        for sequence in sequences:
            features = np.array([[sample.features["samples"] for sample in sequence]], np.float32)
            for sample, answer in zip(sequence, running_mean({"samples": features})[0, :, 0], strict=True):
                values[partition, sample.offset] = float(answer)
    predictions: Topic = {0: [], 1: []}
    for partition, answers in wanted.predictions.items():
        for one in answers:
            value = {
                "probability": values[partition, one.offset],
                "step": one.step,
                "time": one.time,
                "partition": partition,
                "offset": one.offset,
                "warm": True,
                "model": "00000000",
            }
            lane = predictions[partition]
            lane.append(Record(len(lane), one.key, json.dumps(value).encode()))
    return samples, predictions, {0: []}


def checked(topics: tuple[Topic, Topic, Topic]) -> Outcome:
    return check(topics, {"samples": (3,)}, running_mean)


def test_zeros_when_all_is_well(topics: tuple[Topic, Topic, Topic]) -> None:
    outcome = checked(topics)
    assert outcome
    assert outcome.last_line == "0 lost, 0 doubled, 0 differing"
    assert outcome.events == outcome.predictions == outcome.compared == 600
    assert outcome.keys == 9
    assert outcome.greatest_error < 1e-6


def test_a_sabotaged_topic_changes_the_last_line(topics: tuple[Topic, Topic, Topic]) -> None:
    samples, predictions, dead_letters = topics
    predictions[0].append(predictions[0][17]._replace(offset=len(predictions[0])))
    assert checked(topics).last_line == "0 lost, 1 doubled, 0 differing"
    predictions[0].pop()

    gone = predictions[1].pop()
    outcome = checked(topics)
    assert not outcome
    assert outcome.last_line == "1 lost, 0 doubled, 0 differing"
    predictions[1].append(gone)

    value = json.loads(predictions[0][5].value or b"")
    value["probability"] += 1e-3
    kept, predictions[0][5] = predictions[0][5], predictions[0][5]._replace(value=json.dumps(value).encode())
    outcome = checked(topics)
    assert outcome.last_line == "0 lost, 0 doubled, 1 differing"
    assert outcome.greatest_error > 1e-4
    assert "wrong probability" in outcome.report.differences[0]
    predictions[0][5] = kept

    dead_letters[0].append(Record(0, b"key-1", samples[0][0].value, (("processor.partition", b"0"),)))
    assert checked(topics).last_line == "0 lost, 0 doubled, 1 differing"


def test_a_summary_shows_what_differs(topics: tuple[Topic, Topic, Topic]) -> None:
    topics[1][0].pop()
    console = Console(file=io.StringIO(), width=80)
    screen.summary(console, checked(topics), Figures(600), [Kill("first kill", 1, 1.0)])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "lost: answer to input (0," in text
    assert "did not come back" in text


# The parts ---------------------------------------------------------------------------------------------------------


def test_an_events_moment_is_that_of_the_batch_it_was_sent_in() -> None:
    sends = SendTimes()
    for count, moment in ((3, 10.0), (5, 11.0), (9, 12.5)):
        sends.add(count, moment)
    assert sends.of(np.array([0, 2, 3, 4, 5, 8])).tolist() == [10.0, 10.0, 11.0, 11.0, 12.5, 12.5]
    assert sends.sent == 9


def test_recoveries_are_left_out_of_the_latency() -> None:
    figures = Figures(100)
    now = time.monotonic()
    figures.arrived(np.full(10, 0.1), now)
    figures.steady = False
    figures.arrived(np.full(10, 5.0), now)
    assert figures.answered == 20
    steady, live = figures.steady_latency(), figures.latency(now)
    assert steady is not None
    assert steady.tolist() == [0.1, 0.1]
    assert live is not None
    assert live[1] == 5.0
    assert figures.latency(now + 60) is None  # nothing has come for a while


def test_the_load_waits_for_a_process_that_is_not_back() -> None:
    first, second = Kill("first", 300, 1.0), Kill("second", 600, 1.0)
    assert 300 < _bound([first, second], 1000) < 600
    first.caught_up_seconds = 2.0
    assert 600 < _bound([first, second], 1000) < 1000
    second.caught_up_seconds = 2.0
    assert _bound([first, second], 1000) == float("inf")


def test_a_processor_that_ends_by_itself_ends_the_demo(tmp_path: Path) -> None:
    settings = tmp_path / "processor.toml"
    settings.touch()
    program = "import sys; print('a setting is wrong'); sys.exit(2)"
    process = ProcessorProcess(settings, log=tmp_path / "log", command=(sys.executable, "-c", program)).start()
    process.wait_exit()
    with pytest.raises(Unavailable, match="exit code 2") as raised:
        _must_run(process)
    assert "a setting is wrong" in raised.value.cause


def test_the_producers_failure_is_told() -> None:
    def fail() -> None:
        raise Unavailable("The broker is gone.")

    background = Background(fail, "producer")
    assert background.ends_within(10)
    with pytest.raises(Unavailable, match="gone"):
        assert background.running


def test_a_house_takes_no_directory_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(ConfigError, match="not an empty directory"):
        DemoSandbox(tmp_path)
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("keep", [False, True])
def test_a_house_is_removed_unless_it_is_to_be_kept(tmp_path: Path, keep: bool) -> None:
    sandbox = DemoSandbox(tmp_path / "sandbox", keep=keep)
    sandbox.state.mkdir()
    sandbox.close()
    assert (tmp_path / "sandbox").exists() == keep


def shown(show: Callable[[Any], None], *, terminal: bool) -> str:
    console = Console(file=io.StringIO(), width=80, height=40, force_terminal=terminal, color_system=None)
    show(console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("terminal", [False, True])
def test_the_screen_tells_figures_and_happenings(terminal: bool) -> None:
    def show(console: Console) -> None:
        figures = Figures(1000)
        with step(console, "Train") as tell:
            tell("accuracy [not markup] 96%")
        with screen.showing(console) as picture:
            picture(figures, at_once=True)  # before the first event
            figures.sends.add(500, time.monotonic())
            figures.arrived(np.full(400, 0.07), time.monotonic())
            figures.recent.append(Prediction("key-[7]", 3, 0.25))
            figures.keys.add(b"key-[7]")
            figures.happened("SIGKILL, and its disk [is] deleted", "bold red")
            picture(figures, at_once=True)

    text = shown(show, terminal=terminal)
    assert "Train: accuracy [not markup] 96%" in text
    assert "SIGKILL, and its disk [is] deleted" in text
    assert "70 ms" in text
    assert ("key-[7]" in text) == terminal
