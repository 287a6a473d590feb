"""What can happen to a process' disk while the process is down: lost, damaged, or put back as it was some time ago."""

from __future__ import annotations

import shutil
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_NO_DATA: Final = ("LOCK", "LOG")  # of RocksDB: nothing in them is ever read again
_MOST_FLIPPED: Final = 8  # bits


def damage(state: Path, seed: int) -> str:
    """Damages one file of one store: some of its bits flip, or its end is torn off. Returns what was done.

    A table is taken where there is one, more often than not: that is where the states lie.
    """
    random = Random(seed)
    files = [path for path in sorted(state.glob("partition-*/*")) if not path.name.startswith(_NO_DATA)]
    files = [path for path in files if path.stat().st_size]
    tables = [path for path in files if path.suffix == ".sst"]
    if not files:
        return "nothing is there that could be damaged"
    path = random.choice(tables if tables and random.random() < 0.7 else files)
    content = bytearray(path.read_bytes())
    name = f"{path.parent.name}/{path.name}"
    if random.random() < 0.5:
        del content[random.randrange(len(content)) :]
        path.write_bytes(content)
        return f"{name} is cut to {len(content):,} bytes"
    flips = random.randint(1, _MOST_FLIPPED)
    for _ in range(flips):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    return f"{flips} bits of {name} are flipped"


def copy(state: Path, place: Path) -> None:
    """Keeps a copy of a disk, instead of a former one."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(state, place)


def put_back(state: Path, place: Path) -> None:
    """Puts a copy in the disk's place; the copy stays."""
    shutil.rmtree(state, ignore_errors=True)
    shutil.copytree(place, state)


def lose(state: Path) -> None:
    """Deletes the disk."""
    shutil.rmtree(state, ignore_errors=True)
