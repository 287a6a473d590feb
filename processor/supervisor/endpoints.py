"""`/metrics`, `/healthz`, `/readyz` and `/status` of all processes, at the address that the settings name."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

from processor.errors import Unavailable
from processor.log import get_logger
from processor.metrics import PREFIX, SUPERVISOR_TABLE, Spec
from processor.metrics.merging import Merged
from processor.runtime.health import ask
from processor.runtime.http import HttpServer
from processor.supervisor.member import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processor.runtime.health import Reply
    from processor.supervisor.member import Member

_LOG = get_logger()


class Endpoints:
    """The HTTP server of the supervisor; a context manager. It asks the processes whenever it is asked."""

    def __init__(self, address: tuple[str, int], members: Sequence[Member]) -> None:
        """Raises ConfigError where nothing can listen at the address."""
        self._members = members
        self._merged, self._merging = Merged(), threading.Lock()
        self._askers = ThreadPoolExecutor(max_workers=4 * len(members), thread_name_prefix="asking")
        self._server = HttpServer(
            address, metrics=self._metrics, health=self._health, ready=self._readiness, status=self._status
        )
        self._host = address[0]

    def __enter__(self) -> Self:
        self._server.start()
        _LOG.info("listening", host=self._host, port=self._server.port)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self._askers.shutdown(wait=False, cancel_futures=True)

    def _metrics(self) -> bytes:
        with self._merging:
            for member, page in zip(self._members, self._ask_all("/metrics"), strict=True):
                if page is None:
                    self._merged.gone(member.number)
                else:
                    self._merged.take(member.number, page.body)
            return (self._merged.page() + self._own_metrics()).encode()

    def _own_metrics(self) -> str:
        states = Counter(member.state for member in self._members)
        restarts = [(str(member.number), member.lives.restarts) for member in self._members]
        values: dict[str, Sequence[tuple[str, int]]] = {
            "processes": [(state, states[state]) for state in STATES],
            "process_restarts_total": restarts,
        }
        return "".join(_lines(spec, values[spec.name]) for spec in SUPERVISOR_TABLE)

    def _health(self) -> tuple[bool, str]:
        """A process that waits for its next start is no sign of ill health: the supervisor looks after it."""
        replies = zip(self._members, self._ask_all("/healthz"), strict=True)
        ill = [
            f"process {member.number}: {reply.reason if reply else 'it does not answer'}"
            for member, reply in replies
            if (reply is None and member.state == "running") or (reply is not None and not reply.is_good)
        ]
        return not ill, "; ".join(ill) or "the supervisor and all processes are alive"

    def _readiness(self) -> tuple[bool, str]:
        replies = zip(self._members, self._ask_all("/readyz"), strict=True)
        waiting = [
            f"process {member.number}: {reply.reason if reply else f'it is {member.state}'}"
            for member, reply in replies
            if reply is None or not reply.is_good
        ]
        return not waiting, "; ".join(waiting) or "all partitions run"

    def _status(self) -> dict[str, Any]:
        processes: dict[str, Any] = {}
        for member, reply in zip(self._members, self._ask_all("/status"), strict=True):
            own = {"state": member.state, "pid": member.pid, "restarts": member.lives.restarts}
            processes[str(member.number)] = own | (reply.json() if reply else {})
        shown = processes.values()
        partitions = [
            (int(partition), own | {"process": number})
            for number, one in enumerate(shown)
            for partition, own in one.get("partitions", {}).items()
        ]
        return {
            # While a partition moves, two may show it for a moment: the one that is further has it.
            "partitions": dict(sorted(partitions, key=lambda shown: (shown[0], shown[1]["next_offset"]))),
            "processes": processes,
            "lag_events": sum(one.get("lag_events", 0) for one in shown),
            "keys_in_memory": sum(one.get("keys_in_memory", 0) for one in shown),
        }

    def _ask_all(self, path: str) -> list[Reply | None]:
        """What each process replies, in their order; None if it does not."""
        return list(self._askers.map(lambda member: _ask(member.port, path), self._members))


def _lines(spec: Spec, values: Sequence[tuple[str, int]]) -> str:
    name = PREFIX + spec.name
    rows = "".join(f'{name}{{{spec.label}="{value}"}} {number}\n' for value, number in values)
    return f"# HELP {name} {spec.help}\n# TYPE {name} {spec.type}\n{rows}"


def _ask(port: int | None, path: str) -> Reply | None:
    try:
        return None if port is None else ask(f"127.0.0.1:{port}", path)
    except Unavailable:
        return None
