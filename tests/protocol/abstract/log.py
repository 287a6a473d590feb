"""One partition of a topic, as a broker keeps it: records and the markers of transactions, by offset. Invariants:

- An offset is never given twice, and what is compacted leaves a hole.
- A read_committed reader sees records up to the last stable offset only: below the first record of every transaction
  whose marker has not come to this log. What it sees of an aborted transaction is nothing.
- Compaction leaves the newest record of a key below the last stable offset, and a deletion for as long as the log's
  retention; it never touches what is above.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

Header = tuple[str, bytes]


@dataclass(slots=True, eq=False)
class Transaction:
    """`pending`: logs that still lack the marker."""

    transactional_id: str
    state: str = "open"  # open, committed, aborted
    pending: list[Log] = field(default_factory=list)
    offsets: dict[int, int] = field(default_factory=dict)
    holds_offsets: bool = False

    @property
    def is_complete(self) -> bool:
        return self.state != "open" and not self.pending and not self.holds_offsets


@dataclass(slots=True)
class Entry:
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[Header] | None
    transaction: Transaction | None
    is_marker: bool = False
    removable_from: int | None = None  # ms: a deletion that compaction has seen is kept until then

    @property
    def is_visible(self) -> bool:
        """To a read_committed reader, once it lies below the last stable offset."""
        return not self.is_marker and (self.transaction is None or self.transaction.state == "committed")


def _offset(entry: Entry) -> int:
    return entry.offset


@dataclass(slots=True, eq=False)
class Log:
    """One partition of a topic."""

    topic: str
    partition: int
    entries: list[Entry] = field(default_factory=list)
    end: int = 0  # the high watermark
    open: dict[int, int] = field(default_factory=dict)  # id of a transaction without its marker here -> first offset

    @property
    def stable_end(self) -> int:
        return min(self.open.values(), default=self.end)

    def append(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header] | None = None,
        transaction: Transaction | None = None,
        is_marker: bool = False,
    ) -> int:
        offset = self.end
        self.entries.append(Entry(offset, key, value, headers, transaction, is_marker))
        self.end += 1
        return offset

    def read(self, offset: int, most: int) -> list[Entry]:
        """Up to `most` records for a read_committed reader, from `offset` on."""
        stable_end = self.stable_end
        found: list[Entry] = []
        for entry in self.entries[bisect_left(self.entries, offset, key=_offset) :]:
            if entry.offset >= stable_end or len(found) == most:
                break
            if entry.is_visible:
                found.append(entry)
        return found

    def visible(self) -> list[Entry]:
        return self.read(0, len(self.entries))

    def compact(self, bound: int, now_ms: int, retention_ms: int) -> None:
        """Cleans what lies below `bound` and below the last stable offset."""
        bound = min(bound, self.stable_end)
        newest = {e.key: e.offset for e in self.entries if e.offset < bound and e.is_visible}
        kept = []
        for entry in self.entries:
            if entry.offset < bound and not entry.is_marker:
                if not entry.is_visible or newest[entry.key] != entry.offset:
                    continue
                if entry.value is None:
                    if entry.removable_from is None:
                        entry.removable_from = now_ms + retention_ms
                    elif now_ms >= entry.removable_from:
                        continue
            kept.append(entry)
        self.entries = kept
