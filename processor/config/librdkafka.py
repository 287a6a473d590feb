"""What librdkafka's properties are called, so that a wrong name gets the right one; and which take a number.

The client itself decides what it takes (`processor.kafka.properties`). These names only help where it refuses one, and
where it takes what nobody can mean: it reads `64MB` as 64. The list is that of librdkafka's CONFIGURATION.md; a test
holds it to the library that is installed.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOTH_NUMBERS: Final = _names(
    """
    api.version.fallback.ms api.version.request.timeout.ms broker.address.ttl connections.max.idle.ms
    enabled_events internal.termination.signal log_level max.in.flight max.in.flight.requests.per.connection
    message.copy.max.bytes message.max.bytes metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms
    receive.message.max.bytes reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms
    retry.backoff.max.ms retry.backoff.ms sasl.kerberos.min.time.before.relogin
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.nbf.seconds
    socket.blocking.max.ms socket.connection.setup.timeout.ms socket.max.fails socket.receive.buffer.bytes
    socket.send.buffer.bytes socket.timeout.ms statistics.interval.ms topic.metadata.propagation.max.ms
    topic.metadata.refresh.fast.cnt topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms
    """
)
_CONSUMER_NUMBERS: Final = _names(
    """
    auto.commit.interval.ms consume.callback.max.messages coordinator.query.interval.ms fetch.error.backoff.ms
    fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms fetch.wait.max.ms
    heartbeat.interval.ms max.partition.fetch.bytes max.poll.interval.ms max.poll.records
    offset.store.sync.interval.ms queued.max.messages.kbytes queued.min.messages session.timeout.ms
    """
)
_PRODUCER_NUMBERS: Final = _names(
    """
    acks batch.num.messages batch.size compression.level delivery.timeout.ms linger.ms message.send.max.retries
    message.timeout.ms queue.buffering.backpressure.threshold queue.buffering.max.kbytes
    queue.buffering.max.messages queue.buffering.max.ms request.required.acks request.timeout.ms retries
    sticky.partitioning.linger.ms transaction.timeout.ms
    """
)

CONSUMER_ONLY: Final = _CONSUMER_NUMBERS | _names(
    """
    auto.commit.enable auto.offset.reset check.crcs enable.auto.commit enable.auto.offset.store
    enable.partition.eof group.id group.instance.id group.protocol group.protocol.type group.remote.assignor
    isolation.level offset.store.method offset.store.path partition.assignment.strategy
    share.acknowledgement.mode
    """
)
"""Properties that a producer ignores."""

PRODUCER_ONLY: Final = _PRODUCER_NUMBERS | _names(
    """
    compression.codec compression.type delivery.report.only.error enable.gapless.guarantee enable.idempotence
    partitioner produce.offset.report queuing.strategy transactional.id
    """
)
"""Properties that a consumer ignores."""

NUMBERS: Final = _BOTH_NUMBERS | _CONSUMER_NUMBERS | _PRODUCER_NUMBERS
"""Properties that take a number."""

FRACTIONS: Final = frozenset({"linger.ms", "queue.buffering.max.ms"})
"""Those of them that take a fraction, too."""

NAMES: Final = (
    NUMBERS
    | CONSUMER_ONLY
    | PRODUCER_ONLY
    | _names(
        """
    allow.auto.create.topics api.version.request bootstrap.servers broker.address.family broker.version.fallback
    builtin.features client.dns.lookup client.id client.rack debug enable.metrics.push enable.random.seed
    enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification https.ca.location https.ca.pem
    log.connection.close log.queue log.thread.name metadata.broker.list metadata.recovery.strategy
    plugin.library.paths sasl.kerberos.keytab sasl.kerberos.kinit.cmd sasl.kerberos.principal
    sasl.kerberos.service.name sasl.mechanism sasl.mechanisms sasl.oauthbearer.assertion.algorithm
    sasl.oauthbearer.assertion.claim.aud sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.sub
    sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.jwt.template.file
    sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase
    sasl.oauthbearer.assertion.private.key.pem sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.client.id sasl.oauthbearer.client.secret
    sasl.oauthbearer.config sasl.oauthbearer.extensions sasl.oauthbearer.grant.type
    sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method sasl.oauthbearer.scope
    sasl.oauthbearer.sub.claim.name sasl.oauthbearer.token.endpoint.url sasl.password sasl.username
    security.protocol socket.keepalive.enable socket.nagle.disable ssl.ca.certificate.stores ssl.ca.location
    ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.cipher.suites ssl.crl.location ssl.curves.list
    ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location ssl.key.location ssl.key.password
    ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers ssl.sigalgs.list topic.blacklist
    topic.metadata.refresh.sparse
    """
    )
)

_WRITES_BYTES: Final = "Leave it out: the processor reads and writes bytes."
_NO_JVM: Final = "Leave it out: the client is not a Java program."

FROM_JAVA: Final[Mapping[str, str]] = {
    "auto.include.jmx.reporter": _NO_JVM,
    "buffer.memory": "librdkafka calls it queue.buffering.max.kbytes, in KiB.",
    "config.providers": _NO_JVM,
    "default.api.timeout.ms": "Leave it out: processing.unavailable_seconds is the budget.",
    "exclude.internal.topics": "Leave it out: the processor reads no topics by patterns.",
    "fetch.max.wait.ms": "librdkafka calls it fetch.wait.max.ms.",
    "interceptor.classes": _NO_JVM,
    "key.deserializer": _WRITES_BYTES,
    "key.serializer": _WRITES_BYTES,
    "max.block.ms": "Leave it out: processing.unavailable_seconds is the budget.",
    "max.request.size": "librdkafka calls it message.max.bytes.",
    "metadata.max.idle.ms": "librdkafka has metadata.max.age.ms only.",
    "metric.reporters": _NO_JVM,
    "metrics.num.samples": _NO_JVM,
    "metrics.recording.level": _NO_JVM,
    "metrics.sample.window.ms": _NO_JVM,
    "partitioner.adaptive.partitioning.enable": "Leave it out: the processor chooses each record's partition.",
    "partitioner.class": "Leave it out: the processor chooses each record's partition.",
    "partitioner.ignore.keys": "Leave it out: the processor chooses each record's partition.",
    "receive.buffer.bytes": "librdkafka calls it socket.receive.buffer.bytes.",
    "sasl.client.callback.handler.class": _NO_JVM,
    "sasl.jaas.config": "librdkafka takes sasl.username and sasl.password.",
    "sasl.login.callback.handler.class": _NO_JVM,
    "sasl.login.class": _NO_JVM,
    "security.providers": _NO_JVM,
    "send.buffer.bytes": "librdkafka calls it socket.send.buffer.bytes.",
    "socket.connection.setup.timeout.max.ms": "librdkafka has socket.connection.setup.timeout.ms only.",
    "ssl.keystore.certificate.chain": "librdkafka calls it ssl.certificate.pem.",
    "ssl.keystore.key": "librdkafka calls it ssl.key.pem.",
    "ssl.keystore.type": "Leave it out: librdkafka's ssl.keystore.location takes PKCS#12 files.",
    "ssl.truststore.certificates": "librdkafka calls it ssl.ca.pem.",
    "ssl.truststore.location": "librdkafka calls it ssl.ca.location, and takes a PEM file.",
    "ssl.truststore.password": "Leave it out: librdkafka's ssl.ca.location is a PEM file, which has none.",
    "ssl.truststore.type": "Leave it out: librdkafka's ssl.ca.location is a PEM file.",
    "transaction.two.phase.commit.enable": "Leave it out: librdkafka has no two-phase commit.",
    "value.deserializer": _WRITES_BYTES,
    "value.serializer": _WRITES_BYTES,
}
"""A property of the Java client that librdkafka does not have -> what to write instead."""


def advice(unknown: str) -> str:
    """What to do about a property that the client does not know: the nearest name, where one is near."""
    name = unknown.strip().lower().replace("_", ".").replace("-", ".")
    if name in FROM_JAVA:
        return FROM_JAVA[name]
    near = name if name in NAMES else next(iter(difflib.get_close_matches(name, NAMES | FROM_JAVA.keys(), 1, 0.75)), "")
    if near in FROM_JAVA:
        return f"Did you mean {near}, of the Java client? {FROM_JAVA[near]}"
    if near:
        return f"Did you mean {near}?"
    return "librdkafka's CONFIGURATION.md lists the properties that there are."
