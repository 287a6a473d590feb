"""What `run` asks of this machine: a state directory that it can have, and an address to listen at."""

from __future__ import annotations

import errno
import shutil
import tempfile
from typing import TYPE_CHECKING, Final

from processor.errors import ProcessorError, Unavailable
from processor.preflight.findings import Finding, error
from processor.runtime.http import refuse_address
from processor.state.store import refuse_held

if TYPE_CHECKING:
    from pathlib import Path

    from processor.config import Settings

_LITTLE_SPACE_BYTES: Final = 2**30
_NO_SPACE_BYTES: Final = 64 * 2**20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


def disk_finding(settings: Settings) -> Finding:
    """Whether the state directory can be made and written, without making it."""
    directory = settings.state.directory.absolute()
    there = next(path for path in (directory, *directory.parents) if path.exists())
    if not there.is_dir():
        return _unusable(directory, f"{there} is not a directory.")
    try:
        # A file without a name: it leaves nothing behind.
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as refused:
        if refused.errno in _FULL:
            return _full(directory, f"{there}: {refused.strerror}.")
        return _unusable(directory, f"{there} takes no files: {refused.strerror}.")
    fact = f"{directory}: {free / 2**30:.1f} GiB free."
    if free < _NO_SPACE_BYTES:
        return _full(directory, fact)
    if free < _LITTLE_SPACE_BYTES:
        return Finding("disk", "warning", fact, "The stores hold every key's state.", "Keep an eye on it.")
    return Finding("disk", "ok", fact)


def _unusable(directory: Path, cause: str) -> Finding:
    hint = "Set state.directory to a directory that this user may write to."
    return error("disk", f"The state directory {directory} cannot be used.", cause, hint)


def _full(directory: Path, cause: str) -> Finding:
    hint = "Free space, or move state.directory."
    return Finding("disk", "error", f"The disk of {directory} is full.", cause, hint, Unavailable)


def held_findings(settings: Settings) -> list[Finding]:
    """What another process of this machine may have taken: the state directory's lock, and the port."""
    findings = []
    try:
        refuse_held(settings.state.directory)
    except ProcessorError as refused:
        findings.append(Finding.of("state directory", refused))
    try:
        refuse_address(settings.http.address)
    except ProcessorError as refused:
        findings.append(Finding.of("http", refused))
    else:
        findings.append(Finding("http", "ok", f"{settings.http.listen} is free."))
    return findings
