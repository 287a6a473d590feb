"""A proxy between Kafka clients and brokers, at which the network and the brokers misbehave as a test wants it.

    with Proxy(kafka.bootstrap_servers, [Fault("EndTxn", "lost answer", at=3)]) as proxy:
        ... a client of proxy.bootstrap_servers: its third EndTxn is done, and never answered ...

| fault | what happens |
|---|---|
| `late request`, `late answer` | it is held back for `seconds`, and everything behind it on the connection |
| `lost request`, `lost answer` | it never arrives; the connection goes on |
| `cut request`, `cut answer` | the connection ends after `byte` bytes of the frame; negative ones count from its end |
| `twice` | the broker gets the request twice; the client sees the first answer only |
| `answered twice` | the client gets the answer twice |
| `error` | the broker has done what it was asked for, and its answer says `code` |
| `refused` | the broker is not asked at all, and the answer says `code` |

Clients that ask a broker for addresses are told the proxy's: there is no way past it.

Invariants: the answers of a connection stay in order; a fault happens once, to the first request of its API that is
numbered `at` or higher and has a place for it (requests are counted over all connections); all state belongs to the
proxy's own thread, and others read `pending` and `happened`, which are replaced as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, Self

from processor.trial.kafka import free_ports
from trial.wire import REFUSABLE, SIZE_BYTES, Request, correlation_of, refusal, request_of, with_error

if TYPE_CHECKING:
    from asyncio import Server, StreamReader, StreamWriter
    from collections.abc import Callable, Coroutine, Iterable

What = Literal[
    "late request",
    "late answer",
    "lost request",
    "lost answer",
    "cut request",
    "cut answer",
    "twice",
    "answered twice",
    "error",
    "refused",
]

_ADDRESSES: Final = ("Metadata", "FindCoordinator", "DescribeCluster")
"""APIs whose answers name brokers: the host as text, the port as 4 bytes behind it, in every version."""

_OF_ANSWERS: Final = ("late answer", "lost answer", "cut answer", "answered twice", "error")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong once, with one request of an API or with its answer (see the table of this module)."""

    api: str
    what: What
    at: int = 1
    seconds: float = 0.0
    byte: int = 0
    code: int = 0

    def __post_init__(self) -> None:
        if self.what == "refused" and self.api not in REFUSABLE:
            raise ValueError(f"a proxy cannot refuse {self.api}, only {', '.join(REFUSABLE)}")


@dataclass(frozen=True, slots=True)
class RandomCuts:
    """Connections that end at any byte, in either direction: one in `mean_bytes` on average, `most` of them in all."""

    seed: int
    mean_bytes: int
    most: int


class _Cut(Exception):
    """The connection is over."""


@dataclass(slots=True)
class _Exchange:
    """A request that was sent on, and is not answered yet."""

    request: Request
    fault: Fault | None
    copies: int = 1  # answers that are to come
    answered: bool = False


@dataclass(slots=True)
class _Connection:
    """One client's connection, and the proxy's own to the broker."""

    client: StreamWriter
    broker: StreamWriter
    waiting: dict[int, _Exchange] = field(default_factory=dict)  # by correlation


class Proxy:
    """A proxy of every broker, as a context manager; it has a thread of its own."""

    def __init__(self, bootstrap_servers: str, faults: Iterable[Fault] = (), cuts: RandomCuts | None = None) -> None:
        """Nobody listens before it is entered. bootstrap_servers: `host:port` of each broker, as it names itself."""
        brokers = [server.rpartition(":") for server in bootstrap_servers.split(",")]
        ports = free_ports(len(brokers))
        self._routes = [(port, host, int(number)) for port, (host, _, number) in zip(ports, brokers, strict=True)]
        self._aliases = [(_address(host, number), _address(host, port)) for port, host, number in self._routes]
        self.pending: tuple[Fault, ...] = tuple(faults)
        self.happened: tuple[tuple[Fault, Request], ...] = ()
        self.cuts = 0  # of the random ones
        self._cuts, self._random = cuts, random.Random(cuts.seed if cuts else 0)
        self._until_cut = self._draw()
        self._counts: dict[str, int] = {}
        self._servers: list[Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def bootstrap_servers(self) -> str:
        return ",".join(f"{host}:{port}" for port, host, _ in self._routes)

    @property
    def counts(self) -> dict[str, int]:
        """API -> requests so far."""
        return dict(self._counts)

    def add(self, *faults: Fault) -> None:
        """More faults; those of requests that have passed by (`at` of 1, say) happen to the next one."""

        async def append() -> None:
            self.pending = (*self.pending, *faults)

        self._call(append())

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, act: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(act, self._loop).result(30)

    async def _listen(self) -> None:
        for port, host, number in self._routes:
            serve = functools.partial(self._serve, host, number)
            self._servers.append(await asyncio.start_server(serve, host, port))

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    # A connection ---------------------------------------------------------------------------------------------

    async def _serve(self, host: str, number: int, from_client: StreamReader, client: StreamWriter) -> None:
        """From a client's first byte until either side, or a fault, ends the connection."""
        broker: StreamWriter | None = None
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            from_broker, broker = await asyncio.open_connection(host, number)
            connection = _Connection(client, broker)
            sides = [
                asyncio.create_task(self._pump(from_client, functools.partial(self._take_request, connection))),
                asyncio.create_task(self._pump(from_broker, functools.partial(self._take_answer, connection))),
            ]
            try:
                await asyncio.wait(sides, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for side in sides:
                    side.cancel()
                await asyncio.gather(*sides, return_exceptions=True)
                self._put_back(*(one.fault for one in connection.waiting.values() if one.fault))
        for writer in (client, broker):
            if writer is not None:
                writer.close()

    async def _pump(self, reader: StreamReader, take: Callable[[bytes], Coroutine[None, None, None]]) -> None:
        """Frame by frame, until the connection ends."""
        with contextlib.suppress(OSError, EOFError, _Cut):
            while True:
                size = int.from_bytes(await reader.readexactly(SIZE_BYTES))
                await take(await reader.readexactly(size))

    async def _take_request(self, connection: _Connection, payload: bytes) -> None:
        request = request_of(payload)
        self._counts[request.api] = self._counts.get(request.api, 0) + 1
        fault = self._due(request)
        exchange = _Exchange(request, fault)
        if fault is not None and fault.what not in _OF_ANSWERS:
            self._note(fault, request)
            exchange.fault = None
        match fault:
            case Fault(what="refused", code=code):
                return await self._write(connection.client, refusal(request, code))
            case Fault(what="late request"):
                await asyncio.sleep(fault.seconds)
            case Fault(what="lost request"):
                return None
            case Fault(what="cut request"):
                await self._cut(connection.broker, payload, fault.byte)
            case Fault(what="twice"):
                exchange.copies = 2
        connection.waiting[request.correlation] = exchange
        for _ in range(exchange.copies):
            await self._write(connection.broker, payload)
        return None

    async def _take_answer(self, connection: _Connection, payload: bytes) -> None:
        exchange = connection.waiting[correlation_of(payload)]
        exchange.copies -= 1
        if exchange.copies <= 0:
            del connection.waiting[exchange.request.correlation]
        if exchange.answered:
            return  # the second answer to a request that was sent twice
        exchange.answered = True
        request, fault = exchange.request, exchange.fault
        if request.api in _ADDRESSES:
            for broker, proxy in self._aliases:
                payload = payload.replace(broker, proxy)
        changed = with_error(request, payload, fault.code) if fault is not None and fault.what == "error" else payload
        if fault is not None:
            if changed is None:
                self._put_back(fault)
            else:
                self._note(fault, request)
            exchange.fault = None
        match fault:
            case Fault(what="late answer"):
                await asyncio.sleep(fault.seconds)
            case Fault(what="lost answer"):
                return
            case Fault(what="cut answer"):
                await self._cut(connection.client, payload, fault.byte)
            case Fault(what="answered twice"):
                await self._write(connection.client, payload)
        await self._write(connection.client, changed or payload)

    async def _write(self, writer: StreamWriter, payload: bytes) -> None:
        """Sends a frame, or the part of it that a random cut leaves."""
        if self._cuts is not None and self.cuts < self._cuts.most:
            self._until_cut -= SIZE_BYTES + len(payload)
            if self._until_cut < 0:
                self.cuts += 1
                byte, self._until_cut = self._until_cut, self._draw()
                await self._cut(writer, payload, byte)
        writer.write(len(payload).to_bytes(SIZE_BYTES) + payload)
        await writer.drain()

    async def _cut(self, writer: StreamWriter, payload: bytes, byte: int) -> None:
        """Sends the frame up to a byte, and ends the connection."""
        writer.write((len(payload).to_bytes(SIZE_BYTES) + payload)[:byte])
        await writer.drain()
        raise _Cut

    def _draw(self) -> int:
        """Bytes until the next random cut."""
        return round(self._random.expovariate(1 / self._cuts.mean_bytes)) if self._cuts else 0

    # Faults ---------------------------------------------------------------------------------------------------

    def _due(self, request: Request) -> Fault | None:
        """The first fault that is meant for this request, taken from those that are pending."""
        number = self._counts[request.api]
        for fault in self.pending:
            if fault.api == request.api and fault.at <= number:
                self.pending = tuple(other for other in self.pending if other is not fault)
                return fault
        return None

    def _put_back(self, *faults: Fault) -> None:
        """They could not happen, for want of a place or of an answer: they wait for another request."""
        self.pending = (*faults, *self.pending)

    def _note(self, fault: Fault, request: Request) -> None:
        self.happened = (*self.happened, (fault, request))


def _address(host: str, port: int) -> bytes:
    """A broker's address as the answers have it."""
    return host.encode() + port.to_bytes(4)
