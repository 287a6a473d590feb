"""What a disk and RocksDB report, as the error that names what the operator does about it."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError, ProcessorError, StateCorrupt, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Asked in this order: RocksDB calls a file that it may not open corrupt, and a store must not be wiped for that.
_FULL: Final = re.compile("No space left|Disk quota exceeded|File too large|space limit reached", re.IGNORECASE)
_FILES: Final = re.compile("Too many open files")
_DENIED: Final = re.compile(
    "Permission denied|Read-only file system|Operation not permitted|Not a directory|File exists|Is a directory"
)
_LOCKED: Final = re.compile("lock hold by current process|While lock file")
_DISK: Final = re.compile("Input/output error|Stale file handle")
_CORRUPT: Final = re.compile("Corruption|No such file or directory")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns what RocksDB and the system raise into what the operator does about it."""
    try:
        yield
    except ProcessorError:
        raise
    except FileNotFoundError as error:
        raise _denied(path, str(error)) from error
    except Exception as error:
        # RocksDB's statuses come as plain exceptions with a text; other classes than these two are bugs of ours.
        known = isinstance(error, OSError) or type(error) is Exception
        refusal = _refusal(path, str(error)) if known else None
        if refusal is None:
            raise
        raise refusal from error


def _refusal(path: Path, text: str) -> ProcessorError | None:
    """The error that RocksDB's or the system's `text` stands for; None where it stands for a bug."""
    rest = text.replace(str(path), "").replace(str(path.parent), "")
    if _FULL.search(rest):
        return Unavailable(f"The disk of {path} is full.", text, "Free space on it, or move state.directory.")
    if _FILES.search(rest):
        return ConfigError(
            f"RocksDB in {path} could not open a file.", text, "Raise the limit of open files (ulimit -n)."
        )
    if _DENIED.search(rest):
        return _denied(path, text)
    if _LOCKED.search(rest):
        return Unavailable(
            f"The store {path} is in use.",
            f"This process or one that is just closing still has it open ({text}).",
            "Wait for that process to end, or give each process a state.directory of its own.",
        )
    if _DISK.search(rest):
        return Unavailable(f"The disk of {path} fails.", text, "Look at the disk, or move state.directory.")
    if _CORRUPT.search(rest):
        return corrupt(path, text)
    if rest.startswith("IO error"):
        return Unavailable(f"The store {path} cannot be used.", text, "Look at the disk that holds state.directory.")
    return None


def _denied(path: Path, text: str) -> ConfigError:
    hint = "Make state.directory a directory that this user may write to."
    return ConfigError(f"The directory {path} cannot be used.", text, hint)


def corrupt(path: Path, cause: str) -> StateCorrupt:
    """The refusal of a store whose bytes are not what was written."""
    error = StateCorrupt(f"The store {path} is corrupt.", cause, "Delete it: it is rebuilt from its changelog.")
    error.path = path
    return error
