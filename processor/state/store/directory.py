"""The directory that holds the stores of one process, and the process' own id."""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from pathlib import Path
from typing import IO, Self

from processor.errors import ConfigError
from processor.state.store.disk import translated


class StateDirectory:
    """The directory that holds the stores of this process alone, and the process' own id.

    Two processes in one directory would write one store, or fence each other by one id: the second is refused.
    """

    def __init__(self, path: Path) -> None:
        """Makes the directory where it is missing, and holds its lock until `close`.

        Raises:
            ConfigError: another live process holds the lock, or the directory cannot be written.
            Unavailable: the disk is full.
        """
        self.path = path
        with translated(path):
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _held(path / "lock")
            try:
                self.process_id = _process_id(path / "process-id")
            except BaseException:
                self.close()
                raise

    def store_path(self, partition: int) -> Path:
        """Where the store of a partition is, or would be."""
        return self.path / f"partition-{partition}"

    def close(self) -> None:
        """Gives up the lock."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def refuse_held(directory: Path) -> None:
    """Raises ConfigError where another live process holds the lock of a state directory. Makes nothing."""
    try:
        lock = (directory / "lock").open(encoding="utf-8")
    except OSError:
        return  # no lock, or none that may be read: whether the directory can be used is another question
    with lock:
        _take(lock, fcntl.LOCK_SH)


def _held(path: Path) -> IO[str]:
    """The lock file, locked for as long as it is open (a killed process lets go of it, too)."""
    lock = path.open("a+", encoding="utf-8")
    _take(lock, fcntl.LOCK_EX)
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _take(lock: IO[str], kind: int) -> None:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise ConfigError(
            f"The state directory {Path(lock.name).parent} is in use.",
            f"The process {holder} holds it.",
            "Give each process a state.directory of its own, or end the other process.",
        ) from None


def _process_id(path: Path) -> str:
    """The id kept in the directory: made once, and whole or not there at all."""
    if path.exists():
        known = path.read_text(encoding="ascii", errors="replace").strip()
        if re.fullmatch("[0-9a-f]{32}", known):
            return known
    fresh = uuid.uuid4().hex
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="ascii") as file:
        file.write(fresh)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return fresh
