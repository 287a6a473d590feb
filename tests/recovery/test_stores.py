"""Stores that are behind, damaged, locked, or on a disk that takes nothing more.

Each story ends in an undisturbed run's bytes, some of them after the process has said what is wrong and that was
mended. A store that is lost, or that was only partly written or restored, is in test_recovery and test_failpoints; one
of another model, another partition count or another changelog is in tests/reset.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from processor.state.checkpoint import LocalCheckpoint
from processor.state.store import Store, StoreResources
from processor.trial.reader import read_topic
from recovery.deployment import PARTITIONS
from recovery.test_recovery import restored

if TYPE_CHECKING:
    from collections.abc import Callable

    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic
    from recovery.deployment import Deployment, Fed

    Reference = tuple[Topic, Topic]

CONFIG_ERROR, UNAVAILABLE = 2, 3
DAY_MS = 86_400_000


def step(fed: Fed, parts: int) -> None:
    """Steps the next of so many parts, and ends in peace: every store has states, and the next part needs them."""
    fed.feed(parts)
    process = fed.deployment.processes[-1].start()
    fed.deployment.wait_caught_up()
    assert process.sigterm() == 0, process.log()[-3000:]


def stores(deployment: Deployment) -> list[Path]:
    return sorted(deployment.state().glob("partition-*"))


def refusal(process: ProcessorProcess, exit_code: int, fact: str) -> dict[str, Any]:
    assert process.wait_exit() == exit_code, process.log()[-3000:]
    assert "Traceback" not in process.log()
    line = process.events()[-1]
    assert line["event"] == "failed"
    assert fact in line["fact"], line
    assert line["hint"]
    return line


def test_a_store_that_is_behind_reads_the_changelogs_tail_and_one_far_behind_all_of_it(
    fed: Fed, reference: Reference
) -> None:
    """Further behind than deletions are kept, it may hold keys that were deleted since."""
    deployment = fed.deployment
    process = deployment.process()
    step(fed, 4)
    behind = shutil.copytree(deployment.state(), deployment.directory / "behind")
    step(fed, 3)
    shutil.rmtree(deployment.state())
    shutil.copytree(behind, deployment.state())
    step(fed, 2)
    assert 0 < restored(process) < records_of(deployment)

    shutil.rmtree(deployment.state())
    behind.rename(deployment.state())
    for path in stores(deployment):
        with closing(Store.open(path, StoreResources(2**20))) as store:
            local = store.local_checkpoint()
            assert local is not None
            long_ago = time.time_ns() // 1_000_000 - 2 * DAY_MS
            store.write([], [], LocalCheckpoint(local.changelog_offset, long_ago), None)
    everything = records_of(deployment)
    fed.must_equal(reference)
    assert restored(deployment.processes[-1]) == everything


def records_of(deployment: Deployment) -> int:
    return sum(map(len, read_topic(deployment.kafka.bootstrap_servers, deployment.changelog).values()))


def flip(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 0x10
    path.write_bytes(content)


def tear(path: Path, share: float) -> None:
    os.truncate(path, int(path.stat().st_size * share))


def newest(store: Path, pattern: str) -> Path:
    return max(store.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


DAMAGE: list[list[Callable[[Path], object]]] = [
    [
        lambda store: flip(newest(store, "*.sst"), 0.3),
        lambda store: flip(newest(store, "MANIFEST*"), 0.5),
        lambda store: tear(newest(store, "*.sst"), 0.5),
        lambda store: (store / "CURRENT").unlink(),
    ],
    [
        lambda store: flip(newest(store, "*.sst"), 0.99),
        lambda store: newest(store, "*.sst").unlink(),
        lambda store: tear(newest(store, "MANIFEST*"), 0.5),
        lambda store: tear(newest(store, "*.sst"), 0.0),
    ],
]


def test_flipped_bits_and_torn_files_are_found_and_the_store_is_rebuilt(fed: Fed, reference: Reference) -> None:
    """Each partition's store has a damage of its own, and so it has the next time."""
    deployment = fed.deployment
    process = deployment.process()
    step(fed, 3)
    for damages in DAMAGE:
        for damage, store in zip(damages, stores(deployment), strict=True):
            damage(store)
        step(fed, 2)
        assert [line["event"] for line in process.events()].count("store.corrupt") >= 2
        assert restored(process) > 0
    fed.must_equal(reference)


def test_a_table_that_is_damaged_while_it_is_open_is_found_when_it_is_read(fed: Fed, reference: Reference) -> None:
    deployment = fed.deployment
    process = deployment.process()
    step(fed, 2)
    process.start(deployment.hold("assign.opened", PARTITIONS))
    process.wait_event("failpoint")
    for store in stores(deployment):
        for share in (0.2, 0.4, 0.6, 0.8):
            flip(newest(store, "*.sst"), share)
    deployment.release("assign.opened")
    fed.feed()
    deployment.wait_caught_up()
    assert "store.rebuilding" in [line["event"] for line in process.events()]
    fed.must_equal(reference)


def test_a_full_disk_ends_the_process_and_loses_nothing(fed: Fed, reference: Reference) -> None:
    """At a shutdown, whose states it does not take any more, and at a start."""
    deployment = fed.deployment
    fed.feed(2)
    process = deployment.process().start(deployment.hold("revoke.committed", 1))
    deployment.wait_caught_up()
    os.kill(process.pid, signal.SIGTERM)
    process.wait_event("failpoint")
    fill_disk(process)
    deployment.release("revoke.committed")
    line = refusal(process, UNAVAILABLE, "The disk of")
    assert "is full" in line["fact"]
    assert "Free space" in line["hint"]

    shutil.rmtree(deployment.state())
    process = deployment.process(processing__unavailable_seconds=3).start(deployment.hold("assign.assigned", 1))
    process.wait_event("failpoint")
    fill_disk(process)
    deployment.release("assign.assigned")
    assert "is full" in refusal(process, UNAVAILABLE, "The disk of")["fact"]
    fed.must_equal(reference)


def fill_disk(process: ProcessorProcess) -> None:
    """No file of this process can grow much larger than its log is now."""
    most_bytes = process.log_path.stat().st_size + 1_500
    psutil.Process(process.pid).rlimit(psutil.RLIMIT_FSIZE, (most_bytes, most_bytes))


# What lets root write where nobody may: given up before the program starts.
WITHOUT_PRIVILEGES = """
import ctypes, os, sys
for capability in (1, 2):
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, "-m", "processor", *sys.argv[1:]])
"""


def test_a_disk_that_can_only_be_read_is_refused_and_left_as_it_is(fed: Fed, reference: Reference) -> None:
    deployment = fed.deployment
    deployment.command = (sys.executable, "-c", WITHOUT_PRIVILEGES)
    process = deployment.process()
    step(fed, 2)
    for closed in (deployment.state(), stores(deployment)[1]):
        below = [closed, *closed.rglob("*")]
        modes = {path: path.stat().st_mode for path in below}
        for path in below:
            path.chmod(0o500 if path.is_dir() else 0o400)
        line = refusal(process.start(), CONFIG_ERROR, "cannot be used")
        assert str(closed) in line["fact"]
        assert "a directory that this user may write to" in line["hint"]
        for path, mode in modes.items():
            path.chmod(mode)
    fed.must_equal(reference)
    assert restored(deployment.processes[-1]) == 0


def test_a_store_whose_lock_is_held_is_waited_for_within_the_budget(fed: Fed, reference: Reference) -> None:
    deployment = fed.deployment
    deployment.process()
    step(fed, 2)
    with closing(Store.open(stores(deployment)[1], StoreResources(2**20))):
        impatient = deployment.process(processing__unavailable_seconds=3).start()
        line = refusal(impatient, UNAVAILABLE, "is in use")
        assert "Wait for that process to end" in line["hint"]
        deployment.processes.clear()
        process = deployment.process().start()
        process.wait_event("running", times=PARTITIONS - 1)
        assert process.running
    process.wait_event("running", times=PARTITIONS)
    fed.must_equal(reference)
