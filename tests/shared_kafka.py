"""One broker for all processes of a test run: whoever comes first starts it, and stops it when all have left.

Invariant: what says that the broker runs, and who uses it, changes under the lock only.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil

from processor.trial.kafka import EmbeddedKafka

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def shared_kafka(directory: Path) -> Iterator[EmbeddedKafka]:
    """The broker whose data lies in `directory`. Its processes may be killed by the one that started it only."""
    users, running = directory / "users", directory / "running"
    users.mkdir(parents=True, exist_ok=True)
    me = users / str(os.getpid())
    with _locked(directory):
        me.touch()
        kafka = EmbeddedKafka(directory / "cluster")
        is_mine = not running.exists()
        if is_mine:
            kafka.start()
            running.touch()
    try:
        yield kafka
    finally:
        me.unlink()
        while is_mine:
            with _locked(directory):
                if not any(psutil.pid_exists(int(user.name)) for user in users.iterdir()):
                    running.unlink()
                    kafka.stop()
                    break
            time.sleep(0.1)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
