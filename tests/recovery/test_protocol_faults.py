"""Kafka itself misbehaves between the processor and its broker: answers that are late, lost, doubled or wrong, and
connections that end at any byte. Each story ends in an undisturbed run's bytes.

Faults are spread over the run of one process, so that each story has many. `commit.done=sleep:0.05` makes that run long
enough for them. A process may end with an exit code after which the documents say: start it again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from processor.trial.reader import high_watermarks
from trial.proxy import Fault, Proxy, What

if TYPE_CHECKING:
    from processor.trial.kafka import EmbeddedKafka
    from processor.trial.process import ProcessorProcess
    from processor.trial.reader import Topic
    from recovery.deployment import Deployment

    Reference = tuple[Topic, Topic]

IMPATIENT: dict[str, Any] = {"kafka.properties.socket.timeout.ms": 1500}  # what is lost is given up after that
SLOWLY = "commit.done=sleep:0.05"
UNAVAILABLE, OWNERSHIP_LOST = 3, 4
IN_TRANSACTIONS = ("AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn")
ON_THE_WAY = ("Fetch", "ListOffsets", "OffsetFetch", "FindCoordinator", "Metadata")
IN_THE_GROUP = ("JoinGroup", "SyncGroup", "Heartbeat")
ONCE = ("InitProducerId", "JoinGroup", "SyncGroup")  # there may be no second request


def spread(api: str, number: int) -> int:
    """Which request of an API the fault of this number is for."""
    return 1 if api in ONCE else 2 + 2 * number


LATES: tuple[What, ...] = ("late request", "late answer")
TWICES: tuple[What, ...] = ("twice", "answered twice")
LATE = [
    Fault(api, what, at=spread(api, number), seconds=0.25)
    for api in (*IN_TRANSACTIONS, "Fetch", "OffsetFetch", *IN_THE_GROUP, "InitProducerId")
    for number, what in enumerate(LATES)
    if api not in ONCE or what == "late answer"
]
TWICE = [
    Fault(api, what, at=spread(api, number))
    for api in (*IN_TRANSACTIONS, *ON_THE_WAY, "Heartbeat", "JoinGroup", "SyncGroup")
    for number, what in enumerate(TWICES)
    if api not in ONCE or what == "twice"
]
LOST = [
    *(
        Fault(api, "lost request", at=spread(api, 0))
        for api in ("Produce", "TxnOffsetCommit", "Fetch", "InitProducerId")
    ),
    *(Fault(api, "lost answer", at=spread(api, 1)) for api in ("Produce", "TxnOffsetCommit", "EndTxn", "SyncGroup")),
]
BYTES = (0, 3, 5, 13, -1)  # in the length, the header, the body, and short of the last byte


def cuts(what: What) -> list[Fault]:
    """Three of the bytes for each API, others for the next one: each cut costs a reconnection."""
    apis = (*IN_TRANSACTIONS, "Fetch", "OffsetFetch", "ListOffsets")
    return [
        Fault(api, what, at=spread(api, number), byte=BYTES[(rank + 2 * number) % len(BYTES)])
        for rank, api in enumerate(apis)
        for number in range(2 if api in ("OffsetFetch", "ListOffsets") else 3)
    ]


CUT_REQUESTS, CUT_ANSWERS = cuts("cut request"), cuts("cut answer")

# What is over by itself: https://kafka.apache.org/protocol#protocol_error_codes
LOADING, NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT = 14, 15, 16, 51
NOT_LEADER, TIMED_OUT, STORAGE, NOT_ENOUGH_REPLICAS = 6, 7, 56, 19
UNKNOWN_TOPIC, FENCED_LEADER, UNKNOWN_LEADER, OFFSET_NOT_AVAILABLE, UNSTABLE = 3, 74, 75, 78, 88
COORDINATOR = (LOADING, NOT_AVAILABLE, NOT_COORDINATOR)
PASSING = {
    "EndTxn": (*COORDINATOR, CONCURRENT),
    "AddOffsetsToTxn": (*COORDINATOR, CONCURRENT),
    "AddPartitionsToTxn": (*COORDINATOR, CONCURRENT, UNKNOWN_TOPIC),
    "TxnOffsetCommit": (*COORDINATOR, TIMED_OUT, UNKNOWN_TOPIC),
    "Produce": (NOT_LEADER, TIMED_OUT, STORAGE, NOT_ENOUGH_REPLICAS, UNKNOWN_TOPIC),
    "Fetch": (NOT_LEADER, STORAGE, FENCED_LEADER, UNKNOWN_LEADER, OFFSET_NOT_AVAILABLE),
    "ListOffsets": (NOT_LEADER, OFFSET_NOT_AVAILABLE),
    "OffsetFetch": (LOADING, UNSTABLE),
    "InitProducerId": (*COORDINATOR, CONCURRENT),
}
PASSING_ERRORS = [
    Fault(api, "error", at=1 if api == "InitProducerId" else spread(api, number), code=code)
    for api, codes in PASSING.items()
    for number, code in enumerate(codes)
]

# What fails a commit: some abort the transaction, some end the producer.
OUT_OF_ORDER, OLD_EPOCH, INVALID_STATE, NOT_ASSIGNED, DENIED, FENCED = 45, 47, 48, 49, 53, 90
TOO_LARGE, TOPIC_DENIED, GROUP_DENIED, UNKNOWN_PRODUCER, UNKNOWN = 10, 29, 30, 59, -1
ILLEGAL_GENERATION, UNKNOWN_MEMBER, REBALANCING, FENCED_INSTANCE = 22, 25, 27, 82
DONE_AND_DENIED = [
    Fault("EndTxn", "error", at=3, code=DENIED),
    Fault("EndTxn", "error", at=6, code=OLD_EPOCH),
    Fault("EndTxn", "error", at=9, code=UNKNOWN),
    Fault("TxnOffsetCommit", "error", at=4, code=GROUP_DENIED),
    Fault("TxnOffsetCommit", "error", at=8, code=FENCED),
    Fault("Produce", "error", at=40, code=OLD_EPOCH),
    Fault("Produce", "error", at=70, code=TOO_LARGE),
]
REFUSED = [
    Fault("EndTxn", "refused", at=2, code=LOADING),
    Fault("EndTxn", "refused", at=4, code=INVALID_STATE),
    Fault("EndTxn", "refused", at=7, code=FENCED),
    Fault("AddOffsetsToTxn", "refused", at=5, code=NOT_ASSIGNED),
    Fault("AddOffsetsToTxn", "refused", at=9, code=OLD_EPOCH),
    Fault("AddPartitionsToTxn", "error", at=20, code=TOPIC_DENIED),
    Fault("Produce", "error", at=60, code=OUT_OF_ORDER),
    Fault("Produce", "error", at=90, code=UNKNOWN_PRODUCER),
    Fault("InitProducerId", "refused", at=1, code=NOT_COORDINATOR),
]
MEMBERSHIP = [
    *(Fault("JoinGroup", "error", code=code) for code in (NOT_COORDINATOR, UNKNOWN_MEMBER, ILLEGAL_GENERATION)),
    *(Fault("SyncGroup", "error", code=code) for code in (NOT_AVAILABLE, REBALANCING, UNKNOWN_MEMBER)),
    Fault("Heartbeat", "error", at=2, code=REBALANCING),
    Fault("Heartbeat", "refused", at=4, code=ILLEGAL_GENERATION),
    Fault("Heartbeat", "refused", at=6, code=UNKNOWN_MEMBER),
    Fault("TxnOffsetCommit", "error", at=3, code=ILLEGAL_GENERATION),
    Fault("TxnOffsetCommit", "error", at=8, code=UNKNOWN_MEMBER),
    Fault("TxnOffsetCommit", "error", at=12, code=FENCED_INSTANCE),
]
STORIES = {
    "late": LATE,
    "twice": TWICE,
    "lost": LOST,
    "requests cut at any byte": CUT_REQUESTS,
    "answers cut at any byte": CUT_ANSWERS,
    "errors that are over by themselves": PASSING_ERRORS,
    "done, and denied": DONE_AND_DENIED,
    "refused": REFUSED,
    "membership in doubt": MEMBERSHIP,
}


def run(deployment: Deployment, proxy: Proxy, process: ProcessorProcess) -> None:
    """Runs until everything is stepped, every fault has happened, and it ends in peace."""
    ends = {
        number: end
        for number, end in high_watermarks(deployment.kafka.bootstrap_servers, deployment.input).items()
        if end
    }
    exits: list[int] = []
    deadline = time.monotonic() + 120
    while True:
        if not process.running:
            if process.exit_code is not None:
                exits.append(process.exit_code)
            assert set(exits) <= {UNAVAILABLE, OWNERSHIP_LOST}, process.log()[-4000:]
            process.start(SLOWLY)
        places = deployment.places()
        stepped = all(places.get(number, 0) >= end for number, end in ends.items())
        if stepped and not proxy.pending and process.sigterm() == 0:
            return
        state = f"{places} of {ends}, exits {exits}, {proxy.counts}, still to come: {proxy.pending}"
        assert time.monotonic() < deadline, f"{state}\n{process.log()[-4000:]}"
        time.sleep(0.05)


@pytest.mark.rotated(keep=4)
@pytest.mark.parametrize("story", STORIES)
def test_it_reads_as_if_nothing_had_happened(
    deployment: Deployment, reference: Reference, kafka: EmbeddedKafka, story: str
) -> None:
    with Proxy(kafka.bootstrap_servers, STORIES[story]) as proxy:
        process = deployment.process(kafka__bootstrap_servers=proxy.bootstrap_servers, **IMPATIENT)
        run(deployment, proxy, process)
        assert len(proxy.happened) == len(STORIES[story])
    deployment.must_equal(reference)
