"""The memory that a conversion may take.

A bound while a stranger's file is read, and a refusal in numbers where a model needs more than there is.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOR_ITSELF: Final = 3 << 30
_FOR_EACH_BYTE: Final = 8
_STATUS: Final = Path("/proc/self/statm")
_MEMINFO: Final = Path("/proc/meminfo")
_GROUP: Final = Path("/sys/fs/cgroup")
_OUT_OF_MEMORY: Final = ("ResourceExhaustedError", "MemoryError", "_ArrayMemoryError")


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


def available_bytes() -> int | None:
    """How much more memory this process may take: of the machine, of its container, of its limits. None: unknown."""
    found = [*_of_machine(), *_of_container(), *_of_limits()]
    return max(0, min(found)) if found else None


def refuse_too_large(name: str, needed: int, what: str) -> None:
    """Raises ConfigError where `what` of the model takes more memory than there is."""
    available = available_bytes()
    if available is not None and needed > available:
        raise too_large(name, f"{what} takes about {shown(needed)}; {shown(available)} are available.", needed)


@contextlib.contextmanager
def memory_is_enough(name: str) -> Iterator[None]:
    """What runs out of memory inside is refused, with what was available before.

    Raises:
        ConfigError: the memory was not enough.
    """
    before = available_bytes()
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        there = "" if before is None else f" {shown(before)} were available when it began."
        raise too_large(
            name, f"The memory was not enough.{there} {str(error).strip().splitlines()[0][:200]}"
        ) from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, NumPy or TensorFlow means that the memory was not enough."""
    return type(error).__name__ in _OUT_OF_MEMORY


def too_large(name: str, cause: str, needed: int | None = None) -> ConfigError:
    free = "more memory" if needed is None else f"{shown(needed)} of memory"
    return ConfigError(
        f"The model {name!r} is too large to be converted here.",
        cause,
        f"Convert it on a machine with {free} free; the artifact runs on others.",
    )


def shown(size: int) -> str:
    """A number of bytes as people read it."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _of_machine() -> Iterator[int]:
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = _MEMINFO.read_text().splitlines()
        yield next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))


def _of_container() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):  # no limit reads `max`, which is no number
        most = int((_GROUP / "memory.max").read_text())
        used = int((_GROUP / "memory.current").read_text())
        kept = dict(line.split() for line in (_GROUP / "memory.stat").read_text().splitlines())
        yield most - used + int(kept.get("inactive_file", 0))  # the cache gives way


def _of_limits() -> Iterator[int]:
    with contextlib.suppress(ImportError, OSError):
        import resource

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            yield most - int(_STATUS.read_text().split()[0]) * resource.getpagesize()
