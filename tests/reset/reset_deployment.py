"""A deployment whose group can be stopped in the middle, refused, and reset as its hint says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from processor import failpoints
from processor.kafka.client import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from processor.state.record import state_key
from processor.trial.checker import check_published, input_records, truth_of_sequences
from processor.trial.oracle import Rules, expected
from processor.trial.reader import Record, Topic, compare, high_watermarks, read_topic, source_of
from recovery.deployment import PARTITIONS, Deployment, wait_until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from processor.trial.process import ProcessorProcess

Published = tuple[Topic, Topic]
KILLED = -signal.SIGKILL
SLOWLY = "commit.done=sleep:0.1"
RULES = Rules(inputs={"samples": (3,)}, gap_seconds=20, idle_seconds=40, allowed_lateness_seconds=30)


@dataclass
class ResetDeployment(Deployment):
    """As Deployment, with dynamic members: they leave at once when they are stopped."""

    static: bool = False
    terminals: list[int] = field(default_factory=list)

    def close(self) -> None:
        for process in self.processes:
            process.close()
        for terminal in self.terminals:
            os.close(terminal)
        self.kafka.delete_topics(self.output, self.dead_letters, self.changelog)
        shutil.rmtree(self.directory, ignore_errors=True)

    # The group ------------------------------------------------------------------------------------------------

    def run_to_the_middle(self, process: ProcessorProcess) -> None:
        """Starts it, and stops it in peace inside the first batch: something is published, and something is left."""
        process.start(SLOWLY)
        wait_until(lambda: any(self.places().values()), "nothing was stepped")
        assert process.sigterm() == 0, process.log()[-3000:]
        left = sum(self.ends().values()) - sum(self.committed().values())
        assert left > 0, "the batch was all of the input"

    def changelog_ends(self, *, stable: bool = False) -> dict[int, int]:
        return high_watermarks(self.kafka.bootstrap_servers, self.changelog, stable=stable)

    def committed(self) -> dict[int, int]:
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.name, "log_level": 0})
        try:
            found = consumer.committed([TopicPartition(self.input, n) for n in range(PARTITIONS)], timeout=30)
            return {place.partition: place.offset for place in found}
        finally:
            consumer.close()

    def members(self) -> list[Any]:
        admin = self.kafka.admin()
        return list(admin.describe_consumer_groups([self.name])[self.name].result().members)

    def wait_empty(self) -> None:
        """Killed members count until their session has timed out."""
        wait_until(lambda: not self.members(), "the group did not become empty")

    def move(self, offsets: Mapping[int, int]) -> None:
        """Somebody sets the group's offsets."""
        places = [TopicPartition(self.input, number, offset) for number, offset in offsets.items()]
        self.wait_empty()
        admin = self.kafka.admin()
        admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.name, places)])[self.name].result()

    def expire(self) -> None:
        """The group's offsets have expired."""
        self.wait_empty()
        admin = self.kafka.admin()
        admin.delete_consumer_groups([self.name])[self.name].result()

    # What is lost ---------------------------------------------------------------------------------------------

    def lose_changelog(self) -> None:
        self.kafka.delete_topics(self.changelog)

    def lose_stores(self) -> None:
        for store in self.state().glob("partition-*"):
            shutil.rmtree(store)

    def fill_changelog(self, up_to: Mapping[int, int]) -> None:
        """Deletions of a key that nobody has, until each partition ends beyond an offset."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap_servers})
        ends = self.changelog_ends()
        for number, offset in up_to.items():
            for _ in range(max(0, offset + 1 - ends[number])):
                producer.produce(self.changelog, value=None, key=state_key(b"nobody"), partition=number)
        assert producer.flush(60) == 0

    # Refused, and what the refusal says ------------------------------------------------------------------------

    def refused(self, process: ProcessorProcess, fact: str, hint: str, error: str = "Incompatible") -> dict[str, Any]:
        """Starts a process that must refuse with this fact and this hint."""
        code = {"Incompatible": 6, "ConfigError": 2}[error]
        assert process.start().wait_exit() == code, process.log()[-3000:]
        assert "Traceback" not in process.log()
        line = process.events()[-1]
        assert (line["event"], line["error"]) == ("failed", error)
        assert fact in line["fact"], line
        assert hint in line["hint"], line
        return line

    def reset(
        self, process: ProcessorProcess, *arguments: str, armed: str = "", answer: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Types `processor reset ...` with the settings of a process."""
        done = self.start_reset(process, *arguments, armed=armed, answer=answer)
        out, err = done.communicate(timeout=120)
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def start_reset(
        self, process: ProcessorProcess, *arguments: str, armed: str = "", answer: str | None = None
    ) -> subprocess.Popen[str]:
        """answer: what a human at a terminal types; None: standard input is no terminal."""
        command = [sys.executable, "-m", "processor", "reset", *arguments]
        command += ["-c", str(self.directory / "processor.toml")]
        for name, value in process._overrides.items():
            command += ["--set", f"{name}={value}"]
        environment = {**os.environ, failpoints.ENVIRONMENT_VARIABLE: armed}
        stdin = subprocess.DEVNULL if answer is None else self._terminal(answer)
        pipes: dict[str, Any] = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **pipes)

    def _terminal(self, answer: str) -> int:
        human, terminal = os.openpty()
        os.write(human, f"{answer}\n".encode())
        self.terminals += [human, terminal]
        return terminal

    def do(self, process: ProcessorProcess, hint: str) -> dict[str, Any]:
        """Does what a hint says, without being asked."""
        self.wait_empty()
        done = self.reset(process, *hint.split()[1:], "--yes", "--json")
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        assert answer["done"]
        return answer

    # What was published --------------------------------------------------------------------------------------

    def since(self, before: Published) -> Published:
        """What was published after `before` was all there was."""
        then, now = before, self.published()
        later = [{n: new[n][len(old.get(n, [])) :] for n in new} for old, new in zip(then, now, strict=True)]
        return later[0], later[1]

    def must_be(self, wanted: Published, found: Published) -> None:
        for one, other in zip(wanted, found, strict=True):
            report = compare(one, other)
            assert report, f"{report}\n{self.processes[-1].log()[-3000:]}"

    def must_be_right(
        self,
        later: Published,
        after: Mapping[int, int],
        truth: Any,
        *,
        states_from: Mapping[int, int] | None = None,
        rules: Rules = RULES,
        inputs: Topic | None = None,
    ) -> None:
        """What was published is what the rules and the trained model say of the events from `after` on.

        states_from: the offsets of the first events that the states know; default: all that the input holds.
        inputs: what the input has held; default: what it holds.
        """
        records = input_records(inputs or read_topic(self.kafka.bootstrap_servers, self.input))
        if states_from is not None:
            records = {n: [one for one in some if one.offset >= states_from[n]] for n, some in records.items()}
        wanted = expected(records, rules)
        answers = truth_of_sequences(wanted, truth)
        for number, least in after.items():
            wanted.predictions[number] = [one for one in wanted.predictions.get(number, []) if one.offset >= least]
            wanted.dead_letters[number] = [one for one in wanted.dead_letters.get(number, []) if one.offset >= least]
        verdict = check_published(wanted, *later, answers)
        assert verdict, str(verdict)
        assert verdict.compared > 300


def from_offsets(published: Published, offsets: Mapping[int, int]) -> Published:
    """Of an undisturbed run, the answers to the events from these offsets on."""

    def is_later(record: Record) -> bool:
        source = source_of(record)
        assert source is not None
        return source[1] >= offsets[source[0]]

    cut = [{n: [one for one in records if is_later(one)] for n, records in topic.items()} for topic in published]
    return cut[0], cut[1]
