"""An abstract RocksDB, under the real `Store`: a kill leaves a prefix of its writes, a close leaves all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from processor.state.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Operation = tuple[bytes, bytes | None]


class WriteBatch:
    """In the order in which it was filled; None deletes."""

    def __init__(self, raw_mode: bool = True) -> None:
        self.operations: list[Operation] = []

    def __len__(self) -> int:
        return len(self.operations)

    def put(self, key: bytes, value: bytes) -> None:
        self.operations.append((key, value))

    def delete(self, key: bytes) -> None:
        self.operations.append((key, None))


class Database:
    """One directory of RocksDB: what is on the disk, and the writes that are still in memory."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.on_disk: dict[bytes, bytes] = {}
        self.unflushed: list[list[Operation]] = []
        self.content: dict[bytes, bytes] = {}

    def write(self, batch: WriteBatch, _options: Any = None) -> None:
        self._disk.at("store.write")
        self.unflushed.append(batch.operations)
        _apply(self.content, batch.operations)

    def get(self, keys: list[bytes]) -> list[bytes | None]:
        return [self.content.get(key) for key in keys]

    def iter(self, _bounded: Any) -> Rows:
        return Rows(self.content)

    def close(self) -> None:
        self.on_disk, self.unflushed = dict(self.content), []

    def crash(self, random: Random) -> None:
        for operations in self.unflushed[: random.randrange(len(self.unflushed) + 1)]:
            _apply(self.on_disk, operations)
        self.content, self.unflushed = dict(self.on_disk), []


def _nothing(_point: str) -> None:
    pass


def _apply(content: dict[bytes, bytes], operations: list[Operation]) -> None:
    for key, value in operations:
        if value is None:
            content.pop(key, None)
        else:
            content[key] = value


class Rows:
    """An iterator over the states."""

    def __init__(self, content: dict[bytes, bytes]) -> None:
        self._rows = sorted(item for item in content.items() if item[0][:1] == b"\x01")
        self._at = 0

    def seek(self, key: bytes) -> None:
        self._at = next((row for row, (found, _) in enumerate(self._rows) if found >= key), len(self._rows))

    def valid(self) -> bool:
        return self._at < len(self._rows)

    def key(self) -> bytes:
        return self._rows[self._at][0]

    def value(self) -> bytes:
        return self._rows[self._at][1]

    def next(self) -> None:
        self._at += 1

    def status(self) -> None:
        pass


class Disk:
    """The state directory of one process: a database for each partition, and older copies of them."""

    def __init__(self) -> None:
        self.databases: dict[int, Database] = {}
        self.copies: dict[int, dict[bytes, bytes]] = {}
        self.open_stores: set[Any] = set()
        self.at: Callable[[str], None] = _nothing  # of the process that has it

    def store_path(self, partition: int) -> StorePath:
        return StorePath(self, partition)

    def relieve(self) -> None:
        pass

    def crash(self, random: Random) -> None:
        self.open_stores.clear()
        for _, database in sorted(self.databases.items()):
            database.crash(random)

    def copy(self, partition: int) -> None:
        if partition in self.databases:
            self.copies[partition] = dict(self.databases[partition].on_disk)

    def restore_copy(self, partition: int) -> None:
        """An older copy of the directory comes back."""
        if partition in self.copies:
            database = self.databases[partition] = Database(self)
            database.on_disk = dict(self.copies[partition])
            database.content = dict(database.on_disk)

    def lose(self, partition: int) -> None:
        self.databases.pop(partition, None)


@dataclass(frozen=True, slots=True)
class StorePath:
    """Where a store is."""

    disk: Disk
    partition: int


class AbstractStore(Store):
    """The real store with an abstract RocksDB."""

    @classmethod
    def open(cls, path: Any, resources: Any) -> AbstractStore:
        return cls(path, path.disk.databases.setdefault(path.partition, Database(path.disk)), resources)

    @staticmethod
    def wipe(path: Any) -> None:
        path.disk.lose(path.partition)
