"""How long a killed process is away: SIGKILL in full flight, start again, the first new prediction."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.feed import PARTITIONS, Feed
from benchmarks.rig import Rig, memory_for, stepped
from processor.kafka.client import OFFSET_END, Consumer, TopicPartition

if TYPE_CHECKING:
    from processor.trial.process import ProcessorProcess


@dataclass(frozen=True, slots=True)
class Recovery:
    """One kill."""

    keys: int
    with_disk: bool
    seconds: float  # from the new process' start to the first new prediction that a read_committed reader sees
    records: int  # restored from the changelog
    restore_seconds: float
    replayed: int  # input offsets stepped again without publishing
    replay_seconds: float  # from the first partition that was restored to the last one that runs


def recovery(rig: Rig, feed: Feed, kill_at: float) -> list[Recovery]:
    """Kills one process twice over a feed: with its disk, and without. kill_at: share of the events at the first."""
    name, source = rig.run_name(), rig.topic_of(feed)
    process = rig.processor(name, source, state__memory_mib=memory_for(feed.keys))
    found = []
    with process.start():
        for part, with_disk in ((kill_at, True), ((1 + kill_at) / 2, False)):
            while stepped(process) < part * feed.events:
                time.sleep(0.05)
            rig.tell(f"SIGKILL with {feed.keys:,} keys, {'disk kept' if with_disk else 'disk lost'}")
            process.sigkill()
            if not with_disk:
                shutil.rmtree(rig.directory / name / "one")
            found.append(_come_back(rig, process, name, feed, with_disk))
        process.sigterm()
    rig.clean(name)
    return found


def _come_back(rig: Rig, process: ProcessorProcess, name: str, feed: Feed, with_disk: bool) -> Recovery:
    consumer = Consumer(
        {
            "bootstrap.servers": rig.kafka.bootstrap_servers,
            "group.id": "recovery",  # never joined: the client merely wants one
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
        }
    )
    consumer.assign([TopicPartition(f"{name}-output", number, OFFSET_END) for number in range(PARTITIONS)])
    settled: set[int] = set()
    while len(settled) < PARTITIONS:  # what was committed before the kill lies behind
        message = consumer.poll(1)
        if message is not None and message.error() is not None:
            settled.add(message.partition())
    started = time.monotonic()
    process.start()
    while (message := consumer.poll(1)) is None or message.error() is not None:
        if not process.running:
            raise RuntimeError(process.log()[-3000:])
    seconds = time.monotonic() - started
    consumer.close()
    process.wait_ready(600)
    restored = [line for line in process.events() if line.get("event") == "restored"]
    running = [line for line in process.events() if line.get("event") == "running"]
    return Recovery(
        feed.keys,
        with_disk,
        seconds,
        sum(line["records"] for line in restored),
        max(line["seconds"] for line in restored),
        sum(line["replayed_offsets"] for line in running),
        max(line["seconds"] for line in running) - min(line["seconds"] for line in restored),
    )
