"""The torture, act by act: start, round after round under load, stop, an undisturbed run, and the checks.

The main thread does all of it; the load is written by a thread of its own, processes and broker are processes. The
undisturbed run and the checks come when the load is over: they need the machine, and a broker that nobody touches.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console

from processor.errors import Unavailable
from processor.model.artifact import load_artifact
from processor.trial import example, jars
from processor.trial.kafka import require_installed
from processor.trial.live_display import step
from processor.trial.load import Load, everything
from processor.trial.reader import committed_offsets, high_watermarks, read_topic
from processor.trial.samples import Input
from processor.trial.signals import Interrupts, played
from processor.trial.torture import report
from processor.trial.torture import torture_screen as screen
from processor.trial.torture.checking import Published, Verdict, checked, rules_of
from processor.trial.torture.faults import begin, inject
from processor.trial.torture.keras_check import keras_check, keras_check_of_example, require_the_model_of
from processor.trial.torture.recovery import Recovery
from processor.trial.torture.scene import PATIENCE_SECONDS, Course, Scene
from processor.trial.torture.schedule import DECK, Round, schedule
from processor.trial.torture.torture_sandbox import (
    GAP_SECONDS,
    IDLE_SECONDS,
    INPUT,
    LATENESS_SECONDS,
    NAMES,
    PARTITIONS,
    TORTURED,
    UNDISTURBED,
    TortureSandbox,
    dead_letters_of,
    output_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from processor.model.artifact import Artifact
    from processor.trial.load import Sent
    from processor.trial.torture.keras_check import KerasCheck

ROUNDS: Final = len(DECK)
KEYS: Final = 500
RATE: Final = 1_000.0
PROCESSES: Final = 2
_ENDLESS: Final = 1 << 40  # events: the load goes on until the rounds are over
_LAST_SILENCE_SECONDS: Final = 30.0  # after the last event, with nothing new: what has not come by then is lost


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a torture is to be like. rate: events a second. only: the faults to choose from, () for all."""

    artifact: Path | None = None  # None: the example model's
    model: Path | None = None  # None: Keras is not asked, but for the example
    imports: Sequence[str] = ()  # the user's own code that the model's file needs
    rounds: int = ROUNDS
    seed: int = 1
    keys: int = KEYS
    rate: float = RATE
    processes: int = PROCESSES
    only: Sequence[str] = ()
    report: Path | None = None

    @property
    def command(self) -> str:
        """What gives the same sequence of things done."""
        chosen = "".join(f" --only {name}" for name in self.only)
        sizes = f"--rounds {self.rounds} --seed {self.seed} --keys {self.keys} --rate {self.rate:g}"
        return f"processor torture {sizes} --processes {self.processes}{chosen}"


def run(wishes: Wishes, *, directory: Path | None = None, keep: bool = False, console: Console | None = None) -> int:
    """Runs it; 0 when nothing was lost, doubled or different, else 1; 128 + the signal's number after Ctrl-C.

    directory: where its files go while it runs; None for a temporary one. keep: leave them.

    Raises:
        ProcessorError: a part of it cannot be had, or failed; nothing of it is left behind.
    """
    console = console or Console()
    rounds = schedule(wishes.seed, wishes.rounds, wishes.processes, wishes.only)
    if wishes.report is not None:
        report.require_writable(wishes.report)
    return played(console, lambda interrupts: _Story(console, wishes, rounds, interrupts).play(directory, keep))


@dataclass(slots=True)
class _Story:
    console: Console
    wishes: Wishes
    rounds: list[Round]
    interrupts: Interrupts

    def play(self, directory: Path | None, keep: bool) -> int:
        require_installed()
        jars.class_path()  # the first time it fetches them, with a progress bar of its own
        given = None if self.wishes.artifact is None else load_artifact(self.wishes.artifact)
        sandbox = TortureSandbox(directory, keep=keep)
        try:
            verdict = self._acts(sandbox, given)
        finally:
            self.interrupts.ending = True
            sandbox.close()
        if keep:
            self.console.print(f"Kept: {sandbox.directory}", highlight=False, soft_wrap=True)
        # Programs read this line: no markup, no colour, no wrapping.
        self.console.file.write(f"{verdict.last_line}\n")
        self.console.file.flush()
        return 0 if verdict else 1

    def _acts(self, sandbox: TortureSandbox, given: Artifact | None) -> Verdict:
        artifact, keras = self._prepare(sandbox, given)
        course = self._torture(sandbox, artifact)
        self._run_undisturbed(sandbox)
        verdict = self._check(sandbox, artifact, keras)
        summary = report.Summary(
            command=self.wishes.command,
            seed=self.wishes.seed,
            rounds=len(self.rounds),
            processes=self.wishes.processes,
            keys=self.wishes.keys,
            rate=self.wishes.rate,
            model=artifact.fingerprint_hex,
            seconds=course.ended - course.started,
            recoveries=course.recoveries,
            ended_by_themselves=course.ended_by_themselves,
            verdict=verdict,
        )
        report.show(self.console, summary)
        if self.wishes.report is not None:
            report.write(self.wishes.report, summary)
        return verdict

    def _prepare(self, sandbox: TortureSandbox, given: Artifact | None) -> tuple[Artifact, KerasCheck | None]:
        """The artifact and its model as a check: the user's, or the example's, made while the broker starts."""
        keras = None
        kafka = sandbox.start_mortal_kafka()
        if given is None:
            keras = keras_check_of_example(
                example.prepare(self.console, sandbox.example_model, sandbox.example_artifact)
            )
            given = load_artifact(sandbox.example_artifact)
        elif self.wishes.model is not None:
            with step(self.console, "See whether the artifact is this model's") as tell:
                require_the_model_of(self.wishes.model, given, tell, self.wishes.imports)
                tell("it is")
            keras = keras_check(self.wishes.model, given, self.wishes.imports)
        with step(self.console, "Start Apache Kafka") as tell:
            kafka.join()
            tell(f"ready at {sandbox.bootstrap_servers} after {kafka.seconds:.1f} s, meanwhile")
        sandbox.furnish(given.directory)
        return given, keras

    # The rounds ------------------------------------------------------------------------------------------------

    def _torture(self, sandbox: TortureSandbox, artifact: Artifact) -> Course:
        """All rounds, under load; returns when all of the load is processed, or nothing comes any more."""
        course = Course(len(self.rounds))
        for rank, name in enumerate(NAMES[: self.wishes.processes]):
            # Of both kinds: one that comes back under its name, and one that is another member each time.
            sandbox.member(name, TORTURED, static=rank % 2 == 0)

        def on_batch(sent: Sent) -> None:
            course.sent = sent.events

        with screen.showing(self.console) as show:
            producing = sandbox.start_load(self._load(artifact), self.wishes.rate, on_batch)
            scene = Scene(sandbox, course, producing, self.wishes.rate, show)
            begin(scene)
            course.happened(f"{self.wishes.rate:,.0f} events/s of {self.wishes.keys:,} keys")
            scene.settle()
            for one in self.rounds:
                scene.wait(one.after_seconds)
                self._round(scene, one)
            course.ended = time.monotonic()
            sandbox.stop_load()
            scene.until(lambda: not producing.running, PATIENCE_SECONDS)
            self._finish(scene)
            show(course, at_once=True)
        return course

    def _round(self, scene: Scene, one: Round) -> None:
        recovery = Recovery(one)
        scene.course.recoveries.append(recovery)
        scene.course.happened(f"round {one.number}: {one.text}", "bold")
        inject(scene, one)
        scene.settle()
        scene.course.happened(f"recovered after {recovery.seconds or 0:.1f} s", "green")

    def _finish(self, scene: Scene) -> None:
        """Waits until the group has committed all of the input, and ends it with SIGTERM."""
        if not _answers_all(scene, TORTURED):
            scene.course.happened("no more predictions come", "bold red")
        for member in scene.sandbox.members:
            if member.wanted:
                scene.terminate(member)
        scene.course.happened("all is processed; SIGTERM, exit code 0")

    def _load(self, artifact: Artifact) -> Load:
        inputs = tuple(
            Input(spec.name, spec.shape, _tokens(artifact, spec.name), spec.static) for spec in artifact.inputs
        )
        return everything(
            self.wishes.seed,
            events=_ENDLESS,
            keys=self.wishes.keys,
            inputs=inputs,
            partitions=PARTITIONS,
            step_ms=5,
        )

    # The checks ------------------------------------------------------------------------------------------------

    def _run_undisturbed(self, sandbox: TortureSandbox) -> None:
        """A group of its own over the same input, with nobody else around."""
        with step(self.console, "Run undisturbed over the same input") as tell:
            ends = high_watermarks(sandbox.bootstrap_servers, INPUT)
            member = sandbox.member("undisturbed", UNDISTURBED, static=True)
            member.process.start().wait_ready()
            deadline = time.monotonic() + PATIENCE_SECONDS
            known = -1
            while (done := _committed(sandbox, UNDISTURBED, ends)) < sum(ends.values()):
                if done > known:
                    known, deadline = done, time.monotonic() + PATIENCE_SECONDS
                if time.monotonic() > deadline or not member.process.running:
                    log = member.process.log_tail(30)
                    raise Unavailable("The undisturbed run does not come to its end.", f"Its log:\n{log}")
                tell(f"{done:,} events")
                time.sleep(0.1)
            if member.process.sigterm() != 0:
                raise Unavailable("The undisturbed run did not end in peace.", member.process.log_tail(30))
            tell(f"{sum(ends.values()):,} events")

    def _check(self, sandbox: TortureSandbox, artifact: Artifact, keras: KerasCheck | None) -> Verdict:
        with step(self.console, "Check what was published") as tell:
            tell("reading the topics from their beginning")
            verdict = checked(
                read_topic(sandbox.bootstrap_servers, INPUT),
                _published(sandbox, TORTURED),
                _published(sandbox, UNDISTURBED),
                artifact,
                rules_of(
                    artifact,
                    gap_seconds=GAP_SECONDS,
                    idle_seconds=IDLE_SECONDS,
                    lateness_seconds=LATENESS_SECONDS,
                ),
                keras=keras,
                tell=tell,
            )
            tell(f"{verdict.compared:,} predictions compared")
        return verdict


def _answers_all(scene: Scene, group: str) -> bool:
    """Waits until the group has committed the whole input; False when it comes no further."""
    ends = scene.ends()
    known, heard = -1, time.monotonic()
    while (done := _committed(scene.sandbox, group, ends)) < sum(ends.values()):
        if done > known:
            known, heard = done, time.monotonic()
        if time.monotonic() - heard > _LAST_SILENCE_SECONDS:
            return False
        scene.wait(0.1)
    scene.wait(0.2)  # the last of it may just be on its way to the screen
    return True


def _committed(sandbox: TortureSandbox, group: str, ends: dict[int, int]) -> int:
    return sum(committed_offsets(sandbox.bootstrap_servers, group, INPUT, ends).values())


def _published(sandbox: TortureSandbox, group: str) -> Published:
    servers = sandbox.bootstrap_servers
    return Published(read_topic(servers, output_of(group)), read_topic(servers, dead_letters_of(group)))


def _tokens(artifact: Artifact, name: str) -> int:
    """How many tokens an input knows, as far as the artifact shows: those that its golden vectors have."""
    spec = next(spec for spec in artifact.inputs if spec.name == name)
    return int(artifact.golden.features[name].max()) + 1 if spec.dtype == "int32" else 0
