"""The store: the RocksDB directory of one partition.

The one importer of rocksdict. Invariants:

- RocksDB's own log is off: the changelog is the write-ahead log. A crash leaves a prefix of the writes.
- There is one column family. The checkpoint and the local checkpoint are written last, with or after the records that
  they cover: whatever prefix a crash leaves, its checkpoint is true of it.
- A store is open in one place only, in one process, and `close` gives it up entirely: no iterator outlives a call.
- Bytes that are not what was written are never returned: RocksDB's checksums are looked at, at an iterator's end too.
- What a store costs in memory is in `StoreResources`, whatever the number of stores and keys.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
    WriteOptions,
)

from processor.state.checkpoint import Checkpoint, LocalCheckpoint
from processor.state.record import CHECKPOINT_KEY, LOCAL_CHECKPOINT_KEY, STATE_TAG
from processor.state.store.disk import corrupt, translated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_CHUNK: Final = 500
"""Records to one write: rocksdict holds the interpreter's lock while it writes, about 2 µs a record."""
_AFTER_STATES: Final = bytes([STATE_TAG[0] + 1])
_LARGEST_MEMTABLE_BYTES: Final = 64 * 2**20
_SMALLEST_MEMTABLE_BYTES: Final = 64 * 2**10  # RocksDB's own limit


class StoreResources:
    """The memory of all stores of a process together: block cache (index and filters too) and memtables."""

    def __init__(self, memory_bytes: int) -> None:
        memtables = max(memory_bytes // 2, _SMALLEST_MEMTABLE_BYTES)
        self.cache = Cache(memory_bytes)
        # Charged to the cache, so that memtables and blocks share one limit. It never stalls a writer, who could wait
        # for ever for the memory of a store that nobody writes to: see `relieve`.
        self.memtables = WriteBufferManager.new_write_buffer_manager_with_cache(memtables, False, self.cache)
        self.memtable_bytes = min(memtables // 2, _LARGEST_MEMTABLE_BYTES)
        self.open_stores: set[Store] = set()

    def relieve(self) -> None:
        """Flushes, and waits for it, the store with the most in its memtables while all together are over the limit.

        RocksDB flushes in the background, and so falls behind a fast writer; and it flushes only the store that is
        written to, however little that one holds beside the idle ones.
        """
        if self.memtables.get_usage() > self.memtables.get_buffer_size():
            max(self.open_stores, key=Store.memtable_bytes).flush()

    def options(self) -> Options:
        """The options of a store: they must be given for its column family at every open, or RocksDB forgets them."""
        table = BlockBasedOptions()
        table.set_block_cache(self.cache)
        table.set_bloom_filter(10, False)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_block_based_table_factory(table)
        options.set_write_buffer_manager(self.memtables)
        options.set_write_buffer_size(max(self.memtable_bytes, _SMALLEST_MEMTABLE_BYTES))
        options.set_max_write_buffer_number(2)
        options.set_compression_type(DBCompressionType.none())  # floats do not shrink
        options.set_max_open_files(128)
        options.set_max_background_jobs(2)
        options.set_keep_log_file_num(2)
        options.set_max_log_file_size(2**20)
        options.set_stats_dump_period_sec(0)
        return options


class Store:
    """The records of one partition, its checkpoint and its local checkpoint. Used by one thread."""

    def __init__(self, path: Path, db: Rdict, resources: StoreResources) -> None:
        self.path = path
        self._db, self._resources = db, resources
        resources.open_stores.add(self)
        self._unlogged = WriteOptions()
        self._unlogged.disable_wal = True

    @classmethod
    def open(cls, path: Path, resources: StoreResources) -> Store:
        """Opens the store at `path`, or makes an empty one.

        Raises:
            Unavailable: it is open elsewhere, or the disk is full: worth another try.
            StateCorrupt: its files are not what was written.
            ConfigError: the directory cannot be made, read or written.
        """
        options = resources.options()
        with translated(path):
            if path.exists() and not path.is_dir():
                raise corrupt(path, "It is a file, not a directory.")
            if not (path / "CURRENT").exists() and any(path.glob("*.sst")):
                # RocksDB would take it for a new store. A `wipe` that was cut short looks like this, too.
                raise corrupt(path, "The file CURRENT is missing.")
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, Rdict(str(path), options, {"default": options}), resources)

    @staticmethod
    def wipe(path: Path) -> None:
        """Deletes the closed store at `path`, if there is one. Cut short, it leaves what `open` refuses, or nothing."""
        with translated(path):
            if path.is_dir() and not path.is_symlink():
                (path / "CURRENT").unlink(missing_ok=True)
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def get_many(self, keys: list[bytes]) -> list[bytes | None]:
        """The records under `keys` (with their tag), None where there is none.

        Raises:
            StateCorrupt, Unavailable: as for `open`.
        """
        if not keys:
            return []
        with translated(self.path):
            found: list[bytes | None] = self._db.get(keys)
            return found

    def write(
        self,
        puts: Sequence[tuple[bytes, bytes]],
        deletes: Sequence[bytes],
        local: LocalCheckpoint | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        """Writes records, deletes keys, and then the two checkpoints, which have how far that goes.

        A write of many records is several, in this order; both checkpoints are in the last. After a failure the
        store holds a prefix of the write, and its checkpoint and local checkpoint are the old ones.

        Raises:
            StateCorrupt, Unavailable: as for `open`.
        """
        last = [(LOCAL_CHECKPOINT_KEY, local.to_bytes())] if local else []
        last += [(CHECKPOINT_KEY, checkpoint.to_bytes())] if checkpoint else []
        with translated(self.path):
            batch = WriteBatch(raw_mode=True)
            for start in range(0, len(puts), _CHUNK):
                for key, value in puts[start : start + _CHUNK]:
                    batch.put(key, value)
                batch = self._emptied(batch)
            for start in range(0, len(deletes), _CHUNK):
                for key in deletes[start : start + _CHUNK]:
                    batch.delete(key)
                batch = self._emptied(batch)
            for key, value in last:
                batch.put(key, value)
            self._db.write(batch, self._unlogged)
        self._resources.relieve()

    def _emptied(self, batch: WriteBatch) -> WriteBatch:
        """The batch while there is room in it; a new one once it is full and written."""
        if len(batch) < _CHUNK:
            return batch
        self._db.write(batch, self._unlogged)  # uses the batch up
        self._resources.relieve()
        return WriteBatch(raw_mode=True)

    def checkpoint(self) -> Checkpoint | None:
        """Where the partition's persisted state stands. Raises StateCorrupt, Incompatible (a newer format)."""
        value = self.get_many([CHECKPOINT_KEY])[0]
        return None if value is None else Checkpoint.from_bytes(value)

    def local_checkpoint(self) -> LocalCheckpoint | None:
        """How far into the changelog the store is. Raises StateCorrupt, Incompatible (a newer format)."""
        value = self.get_many([LOCAL_CHECKPOINT_KEY])[0]
        return None if value is None else LocalCheckpoint.from_bytes(value)

    def sweep(self, after: bytes | None, limit: int) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Up to `limit` records (key with its tag, value) in the order of keys, from behind `after` on.

        Returns them and the next call's `after`: None when these were the last, so that the next call starts over.

        Raises:
            StateCorrupt, Unavailable: as for `open`.
        """
        bounded = ReadOptions()
        bounded.set_iterate_upper_bound(_AFTER_STATES)
        found: list[tuple[bytes, bytes]] = []
        with translated(self.path):
            rows = self._db.iter(bounded)
            try:
                rows.seek(STATE_TAG if after is None else after + b"\x00")
                while rows.valid() and len(found) < limit:
                    found.append((rows.key(), rows.value()))
                    rows.next()
                rows.status()  # a block that cannot be read ends an iterator just as the last row does
                return found, found[-1][0] if found and rows.valid() else None
            finally:
                del rows  # an error's traceback keeps this frame, and an iterator in it would keep the store's lock

    def estimate_keys(self) -> int:
        """About how many records there are (RocksDB's estimate)."""
        with translated(self.path):
            return int(self._db.property_int_value("rocksdb.estimate-num-keys") or 0)

    def memtable_bytes(self) -> int:
        """What the store holds in memory and not yet on the disk."""
        return int(self._db.property_int_value("rocksdb.cur-size-all-mem-tables") or 0)

    def flush(self) -> None:
        """Puts on the disk what was written so far. Raises Unavailable where the disk does not take it."""
        with translated(self.path):
            self._db.flush()

    def close(self) -> None:
        """Flushes and gives up the directory, its lock too, even where the disk does not take what is to be flushed.

        Raises:
            Unavailable: the disk did not take it all. Nothing is lost: the changelog has it.
        """
        self._resources.open_stores.discard(self)
        with translated(self.path):
            self._db.close()
