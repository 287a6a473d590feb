"""The stores of this process' partitions: opened, emptied where they are corrupt, closed."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from processor.errors import StateCorrupt
from processor.log import get_logger
from processor.recovery.restore import open_store
from processor.state.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from processor.recovery.partition import Partition
    from processor.state.store import StateDirectory, StoreResources

_LOG = get_logger()


@dataclass(frozen=True, slots=True)
class Stores:
    """The state directory, and the memory that all stores share. `now_ms` is the wall clock."""

    directory: StateDirectory
    resources: StoreResources
    tombstone_retention_ms: int  # of the changelog

    def path(self, number: int) -> Path:
        return self.directory.store_path(number)

    def open(self, partition: Partition, now_ms: int) -> None:
        """Opens a partition's store. One that is corrupt is wiped, to be restored from the changelog.

        Raises:
            Unavailable, ConfigError, Incompatible: as `open_store`.
        """
        path = self.path(partition.number)
        try:
            partition.store = open_store(path, self.resources, now_ms, self.tombstone_retention_ms)
        except StateCorrupt as error:
            _LOG.warning("store.corrupt", partition=partition.number, error=error.fact)
            Store.wipe(path)
            partition.store = open_store(path, self.resources, now_ms, self.tombstone_retention_ms)

    def empty(self, partition: Partition, now_ms: int) -> None:
        """Replaces an open store by an empty one. Raises as `open`."""
        self._discard(partition.number, partition.open_store)
        self.open(partition, now_ms)

    def close(self, partition: Partition) -> None:
        """Closes the store, if it is open. One that turns out to be corrupt is deleted: its next owner restores it."""
        store, partition.store = partition.store, None
        if store is None:
            return
        try:
            store.close()
        except StateCorrupt as error:
            _LOG.warning("store.corrupt", partition=partition.number, error=error.fact)
            self._discard(partition.number, store)

    def _discard(self, number: int, store: Store) -> None:
        with suppress(StateCorrupt):  # closing may fail where it is damaged
            store.close()
        Store.wipe(self.path(number))
