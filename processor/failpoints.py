"""Named points at which a test makes the process die, fail or stall.

`PROCESSOR_FAILPOINTS="commit.flushed=kill@3;assign.restored=sleep:2"`: at the third hit of `commit.flushed` the process
kills itself with SIGKILL; at every hit of `assign.restored` it sleeps for two seconds. Actions: `kill`, `raise`,
`sleep:SECONDS`, `hold:FILE` (until the file is there); `@N` restricts the action to the N-th hit, and then the log
reports it, so that a test can act on others meanwhile. Without the variable a failpoint is one global
look-up and a call of a function that does nothing.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from processor.errors import ConfigError
from processor.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = get_logger()
_LOOK_SECONDS: Final = 0.01
ENVIRONMENT_VARIABLE: Final = "PROCESSOR_FAILPOINTS"

COMMIT: Final = (
    "commit.produced",  # after step 1: outputs and dead letters lie in the open transaction
    "commit.snapshot",  # after step 2: records and checkpoints were produced to the changelog
    "commit.flushed",  # after step 3: everything was delivered
    "commit.offsets",  # inside step 4: the offsets are in the transaction, which is not committed yet
    "commit.committed",  # after step 4: Kafka has it, the store does not
    "commit.partly_stored",  # inside step 5: some partition's store has it, another's does not
    "commit.stored",  # after step 5: the store has it, the rows are still dirty
    "commit.done",  # after step 6
)
ASSIGN: Final = (
    "assign.assigned",  # a partition was given to this process
    "assign.opened",  # its store is open
    "assign.restoring",  # after each slice of the changelog
    "assign.restored",  # the store is at the changelog's end
    "assign.started",  # the first offset and checkpoint of a new group were committed
    "assign.located",  # the committed offset is known, and agrees with the checkpoint
    "assign.sought",  # the input was sought to `replay_from`
    "assign.replaying",  # after each slice of the replay
    "assign.running",  # the replay is over
)
REVOKE: Final = (
    "revoke.started",  # the partitions are about to leave; nothing was committed
    "revoke.committed",  # all is committed; the stores are still open
    "revoke.closed",  # the stores are closed; the partitions were not given back
)
RESET: Final = (
    "reset.held",  # the group is held; nothing was changed
    "reset.begun",  # every partition has a checkpoint marked `resetting`
    "reset.wiped",  # the stores of this machine are gone
    "reset.emptying",  # after each commit of deletions
    "reset.emptied",  # no state is left in the changelog
    "reset.offsets",  # at_least_once alone: the group's offsets are set, the checkpoints are not
    "reset.done",  # after the checkpoints
)
NAMES: Final = COMMIT + ASSIGN + REVOKE + RESET


class FailpointRaised(RuntimeError):
    """What the action `raise` raises. To the process it looks like a bug."""


def _nothing(_name: str) -> None:
    pass


def _parse(text: str) -> dict[str, tuple[str, int | None]]:
    """`name=action[@N]`, separated by semicolons -> name -> (action, N)."""
    actions: dict[str, tuple[str, int | None]] = {}
    for item in filter(None, (part.strip() for part in text.split(";"))):
        name, _, rest = item.partition("=")
        action, _, hit = rest.partition("@")
        known = action in ("kill", "raise") or action.startswith(("sleep:", "hold:"))
        if name not in NAMES or not known or (hit and not hit.isdigit()):
            raise ConfigError(
                f"{ENVIRONMENT_VARIABLE} has the item {item!r}, which is no failpoint.",
                "Its form is name=kill|raise|sleep:SECONDS|hold:FILE[@N].",
                f"The names are {', '.join(NAMES)}.",
            )
        actions[name] = action, int(hit) if hit else None
    return actions


def _armed(actions: dict[str, tuple[str, int | None]]) -> Callable[[str], None]:
    hits = dict.fromkeys(actions, 0)

    def hit(name: str) -> None:
        if name not in actions:
            return
        action, wanted = actions[name]
        hits[name] += 1
        if wanted is not None and hits[name] != wanted:
            return
        if wanted is not None:
            _LOG.warning("failpoint", name=name, action=action)
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "raise":
            raise FailpointRaised(f"failpoint {name}")
        kind, _, argument = action.partition(":")
        if kind == "sleep":
            time.sleep(float(argument))
        while kind == "hold" and not Path(argument).exists():
            time.sleep(_LOOK_SECONDS)

    return hit


_hit: Callable[[str], None] = _nothing


def arm(text: str | None = None) -> None:
    """Arms what the environment variable (or `text`) names.

    Raises:
        ConfigError: an item has another form, or names no failpoint.
    """
    global _hit
    actions = _parse(os.environ.get(ENVIRONMENT_VARIABLE, "") if text is None else text)
    _hit = _armed(actions) if actions else _nothing


def failpoint(name: str) -> None:
    """Does what was armed for `name`, at its hit."""
    _hit(name)
