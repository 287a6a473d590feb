"""A bound on the memory that reading a stranger's file may take."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOR_ITSELF: Final = 3 << 30
_FOR_EACH_BYTE: Final = 8
_STATUS: Final = Path("/proc/self/statm")


@contextlib.contextmanager
def bounded_memory(content: int) -> Iterator[None]:
    """Inside, this process may take some GiB and a few times `content` bytes more than it has: past that, allocations
    fail, and the file's description was a lie. (On Linux; elsewhere there is no bound.)"""
    try:
        import resource

        pages = int(_STATUS.read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    own, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = pages * resource.getpagesize() + _FOR_ITSELF + _FOR_EACH_BYTE * content
    if own != resource.RLIM_INFINITY:
        bound = min(bound, own)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (own, hard))
