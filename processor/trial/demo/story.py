"""The demo's story, act by act: train, convert, start, kill twice under load, stop, and check every prediction.

The main thread reads what comes out and shows the story; the load is written by a thread of its own, the processor and
the broker are processes. Keras is asked when the load is over: nothing but the processor is to be busy meanwhile.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.console import Console

from processor.errors import Unavailable
from processor.trial import example, jars
from processor.trial.demo import demo_screen as screen
from processor.trial.demo.check import Outcome, check
from processor.trial.demo.demo_sandbox import DEAD_LETTERS, INPUT, OUTPUT, DemoSandbox
from processor.trial.demo.figures import Figures
from processor.trial.demo.kills import Kill
from processor.trial.kafka import require_installed
from processor.trial.live_display import step
from processor.trial.load import Load, Sent
from processor.trial.reader import read_topic
from processor.trial.signals import Interrupts, played

if TYPE_CHECKING:
    from pathlib import Path

    from processor.model.convert.example import Trained
    from processor.trial.demo.tail import Tail
    from processor.trial.process import ProcessorProcess

EVENTS: Final = 240_000
KEYS: Final = 3_000
RATE: Final = 10_000.0
PARTITIONS: Final = 4
_KILLS_AT: Final = (0.3, 0.6)  # of the load
_LOAD_WAITS_AT: Final = (0.55, 0.9)  # of the load: so far it goes while the first or the second kill is not over
_SILENCE_SECONDS: Final = 60.0  # without a prediction while events wait: something is broken
_LAST_SILENCE_SECONDS: Final = 20.0  # after the last event: what has not come by then is lost


def run(
    *,
    keys: int = KEYS,
    events: int = EVENTS,
    rate: float = RATE,
    directory: Path | None = None,
    keep: bool = False,
    console: Console | None = None,
) -> int:
    """Runs the demo; 0 when nothing was lost, doubled or different, else 1; 128 + the signal's number after Ctrl-C.

    rate: events a second. directory: where its files go while it runs; None for a temporary one. keep: leave them.

    Raises:
        ProcessorError: a part of it cannot be had, or failed; nothing of it is left behind.
    """
    console = console or Console()
    return played(console, lambda interrupts: _Story(console, keys, events, rate, interrupts).play(directory, keep))


@dataclass(slots=True)
class _Story:
    console: Console
    keys: int
    events: int
    rate: float
    interrupts: Interrupts

    def play(self, directory: Path | None, keep: bool) -> int:
        require_installed()
        jars.class_path()  # the first time it fetches them, with a progress bar of its own
        sandbox = DemoSandbox(directory, keep=keep)
        try:
            outcome = self._acts(sandbox)
        finally:
            self.interrupts.ending = True
            sandbox.close()
        if keep:
            self.console.print(f"Kept: {sandbox.directory}", highlight=False, soft_wrap=True)
        # Programs read this line: no markup, no colour, no wrapping.
        self.console.file.write(f"{outcome.last_line}\n")
        self.console.file.flush()
        return 0 if outcome else 1

    def _acts(self, sandbox: DemoSandbox) -> Outcome:
        trained = self._prepare(sandbox)
        load = Load(seed=1, events=self.events, keys=self.keys, shape=(3,), partitions=PARTITIONS)
        figures = Figures(load.events)
        kills = [
            Kill("first kill", round(_KILLS_AT[0] * load.events), self.rate),
            Kill("second kill, disk lost", round(_KILLS_AT[1] * load.events), self.rate, with_disk=True),
        ]
        self._start(sandbox)
        self._serve(sandbox, load, figures, kills)
        self._stop(sandbox)
        outcome = self._check(sandbox, trained)
        screen.summary(self.console, outcome, figures, kills)
        return outcome

    def _prepare(self, sandbox: DemoSandbox) -> Trained:
        """Trains and converts, while the broker starts."""
        kafka = sandbox.start_kafka()
        trained = example.prepare(self.console, sandbox.directory / "model.keras", sandbox.artifact)
        with step(self.console, "Start Apache Kafka") as tell:
            kafka.join()
            tell(f"ready at {sandbox.bootstrap_servers} after {kafka.seconds:.1f} s, meanwhile")
        return trained

    def _start(self, sandbox: DemoSandbox) -> None:
        with step(self.console, "Start the processor") as tell:
            process = sandbox.start_processor().wait_ready()
            tell(f"process {process.pid}, {PARTITIONS} partitions, exactly once")

    def _serve(self, sandbox: DemoSandbox, load: Load, figures: Figures, kills: list[Kill]) -> None:
        """The load, the kills and the recoveries; returns when every event is processed, or nothing comes any more."""
        process = sandbox.processor
        assert process is not None
        tail = sandbox.start_tail(load, figures)
        figures.started = time.monotonic()
        figures.happened(f"{self.rate:,.0f} events/s of {load.keys:,} keys begin")

        def on_batch(sent: Sent) -> None:
            figures.sends.add(sent.events, time.monotonic())
            while sent.events >= _bound(kills, load.events) and not sandbox.stopping:
                time.sleep(0.02)

        producing = sandbox.start_load(load, self.rate, on_batch)
        heard = time.monotonic()
        loaded = False
        with screen.showing(self.console) as show:
            while not (loaded and figures.answered >= load.events):
                if tail.read(0.02):
                    heard = time.monotonic()
                self._follow(kills, sandbox, tail, figures)
                _must_run(process)
                show(figures)
                if not loaded and not producing.running:
                    loaded = True
                    figures.happened(f"all {load.events:,} events sent")
                if _gives_up(time.monotonic() - heard, loaded, process):
                    break
            figures.happened(
                "every event is processed" if figures.answered >= load.events else "no more predictions come"
            )
            show(figures, at_once=True)

    def _follow(self, kills: list[Kill], sandbox: DemoSandbox, tail: Tail, figures: Figures) -> None:
        process = sandbox.processor
        assert process is not None
        for kill in kills:
            if kill.over:
                continue
            if not kill.planned:
                kill.see(process, tail, figures)
            elif figures.sent >= kill.at_events and figures.answered:
                kill.strike(process, sandbox.state, figures)
            return  # one after the other

    def _stop(self, sandbox: DemoSandbox) -> None:
        assert sandbox.processor is not None
        with step(self.console, "Stop the processor") as tell:
            code = sandbox.processor.sigterm()
            if code != 0:
                raise Unavailable(
                    f"The processor ended with exit code {code} after SIGTERM.", _log_of(sandbox.processor)
                )
            tell("SIGTERM, exit code 0")

    def _check(self, sandbox: DemoSandbox, trained: Trained) -> Outcome:
        from processor.model.convert.example import FEATURES, at_every_step
        from processor.model.convert.example import INPUT as SAMPLES

        with step(self.console, "Compare every prediction with Keras") as tell:
            tell("reading the topics from their beginning")
            servers = sandbox.bootstrap_servers
            topics = (read_topic(servers, INPUT), read_topic(servers, OUTPUT), read_topic(servers, DEAD_LETTERS))
            outcome = check(topics, {SAMPLES: (FEATURES,)}, at_every_step(trained), tell=tell)
            tell("")
        return outcome


def _bound(kills: list[Kill], events: int) -> float:
    """How many events may be sent: a load that ended before a process is back would show nothing of its recovery."""
    for kill, share in zip(kills, _LOAD_WAITS_AT, strict=True):
        if not kill.over:
            return share * events
    return float("inf")


def _must_run(process: ProcessorProcess) -> None:
    if not process.running:
        raise Unavailable(f"The processor ended by itself, with exit code {process.exit_code}.", _log_of(process))


def _gives_up(silent_seconds: float, loaded: bool, process: ProcessorProcess) -> bool:
    """Whether what has not come by now is taken as lost. Silence earlier than that is a failure of the demo itself."""
    if loaded and silent_seconds > _LAST_SILENCE_SECONDS and process.is_ready():
        return True
    if silent_seconds > _SILENCE_SECONDS:
        raise Unavailable(f"No prediction has come for {_SILENCE_SECONDS:.0f} s.", _log_of(process))
    return False


def _log_of(process: ProcessorProcess) -> str:
    return f"The end of its log:\n{process.log_tail(30)}"
