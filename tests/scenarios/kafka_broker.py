"""A broker of Kafka's own distribution: one node that is broker and controller (KRaft), with four ways to enter it.

`script/kafka-broker` fetches the distribution. Producers and positions of groups are Confluent's client, so what a scenario
sees is what another member of the cluster sees.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .machine import free_ports

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".cache" / "kafka"
START_S = 60.0
USER, PASSWORD = "alice", "in-wonderland"
_CLUSTER = "q1Sh-9_ISia_zwGINzRvyQ"
_LOGIN = "org.apache.kafka.common.security"


def why_not() -> str | None:
    """Why there is no broker here, or None."""
    if shutil.which("java") is None:
        return "there is no Java"
    if not (HOME / "version").exists():
        return "script/kafka-broker has not been run, or could not fetch Kafka"
    return None


@dataclass(frozen=True)
class Certificates:
    """A certificate authority and what it signed, as PEM."""

    authority: str
    server: str
    server_key: str
    client: str
    client_key: str
    client_key_password: str


class Broker:
    """A running broker. `plain`, `sasl`, `sasl_tls` and `mtls` are bootstrap servers."""

    def __init__(self, folder: Path) -> None:
        self.certificates = _certificates()
        ports = free_ports(5)
        self.plain, self.sasl, self.sasl_tls, self.mtls = (f"127.0.0.1:{port}" for port in ports[:4])
        (folder / "server.pem").write_text(self.certificates.server_key + self.certificates.server)
        (folder / "authority.pem").write_text(self.certificates.authority)
        properties = folder / "server.properties"
        properties.write_text(_properties(folder, ports))
        java = ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{HOME}/lib/*"]
        scram = [f"--add-scram=SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
        subprocess.run(
            [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", _CLUSTER, "-c", str(properties), *scram],
            check=True,
            capture_output=True,
        )
        self._log = (folder / "log").open("wb")
        self._command = [*java[:-2], "-Xms64m", "-Xmx256m", *java[-2:], "kafka.Kafka", str(properties)]
        self._folder = folder
        self.start()

    def start(self) -> None:
        """Start it (again), and return when it answers."""
        if self._log.closed:
            self._log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)
        try:
            self._wait(self._folder / "log")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill it; what it has acknowledged is on disk."""
        self._process.kill()
        self._process.wait()
        self._log.close()

    @property
    def stopped(self) -> bool:
        """Whether it does not run."""
        return self._process.poll() is not None

    def topic(self, name: str, partitions: int = 1) -> str:
        """Make a topic."""
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.plain})
        admin.create_topics([NewTopic(name, partitions, 1)])[name].result(30)
        return name

    def send(
        self,
        topic: str,
        values: Iterable[str | bytes | None],
        *,
        partition: int = 0,
        key: str | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
        timestamp_ms: int = 0,
    ) -> None:
        """Write records, and return when the broker has them."""
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self.plain, "linger.ms": 5})
        failures: list[Any] = []
        for value in values:
            producer.produce(
                topic,
                value,
                key,
                partition,
                headers=list(headers),
                timestamp=timestamp_ms,
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            producer.poll(0)
        assert producer.flush(30) == 0
        assert not failures, failures

    def read(self, topic: str, count: int) -> list[Any]:
        """So many messages of a topic, from its beginning."""
        from confluent_kafka import Consumer

        consumer = Consumer(
            {"bootstrap.servers": self.plain, "group.id": f"reader-{time.time_ns()}", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([topic])
        found: list[Any] = []
        until = time.monotonic() + 30
        while len(found) < count and time.monotonic() < until:
            found += [each for each in consumer.consume(count - len(found), 1.0) if each.error() is None]
        consumer.close()
        assert len(found) == count, f"{topic} has {len(found)} messages"
        return found

    def position(self, group: str, topic: str, partition: int = 0) -> int:
        """What a group has committed; -1001 if nothing."""
        from confluent_kafka import Consumer, TopicPartition

        consumer = Consumer({"bootstrap.servers": self.plain, "group.id": group})
        try:
            [found] = consumer.committed([TopicPartition(topic, partition)], timeout=30)
            return int(found.offset)
        finally:
            consumer.close()

    def until_position(self, group: str, topic: str, position: int, partition: int = 0) -> None:
        """Return when a group has committed a position, or one behind it."""
        until = time.monotonic() + 30
        while (found := self.position(group, topic, partition)) < position:
            assert time.monotonic() < until, f"{group} is at {found} of {topic}-{partition}"
            time.sleep(0.1)

    def share_from_the_beginning(self, group: str) -> None:
        """Have a share group begin with the first records that there are, and not with the next ones."""
        from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

        entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ConfigResource.Type.GROUP, group, incremental_configs=[entry])
        admin = AdminClient({"bootstrap.servers": self.plain})
        admin.incremental_alter_configs([resource])[resource].result(30)

    def _wait(self, log: Path) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})
        until = time.monotonic() + START_S
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(KafkaException):
                admin.list_topics(timeout=1)
                return
        raise RuntimeError(f"the broker did not start: {log.read_text()[-2000:]}")


def _properties(folder: Path, ports: Sequence[int]) -> str:
    names = ["PLAIN", "SASL", "SASLTLS", "MTLS", "CONTROLLER"]
    listeners = [f"{name}://127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)]
    settings: Mapping[str, Any] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports[4]}",
        "listeners": ",".join(listeners),
        "advertised.listeners": ",".join(listeners[:4]),
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAIN",
        "listener.security.protocol.map": (
            "PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,SASLTLS:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT"
        ),
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": folder / "server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": folder / "authority.pem",
        "listener.name.mtls.ssl.client.auth": "required",
        "log.dirs": folder / "data",
        "num.partitions": 1,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.enable": "false",
    }
    for name in ("sasl", "sasltls"):
        prefix = f"listener.name.{name}"
        settings = {
            **settings,
            f"{prefix}.plain.sasl.jaas.config": (f'{_LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'),
            f"{prefix}.scram-sha-256.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
            f"{prefix}.scram-sha-512.sasl.jaas.config": f"{_LOGIN}.scram.ScramLoginModule required;",
        }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def _certificates() -> Certificates:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(datetime.UTC)

    def name_of(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(text: str, key: Any, by: tuple[str, Any], authority: bool) -> str:
        addresses: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.DNSName("localhost"),
        ]
        certificate = (
            x509.CertificateBuilder()
            .issuer_name(name_of(by[0]))
            .subject_name(name_of(text))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .sign(by[1], hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def text_of(key: Any, password: str | None = None) -> str:
        protection = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        format_ = serialization.PrivateFormat.PKCS8
        return str(key.private_bytes(serialization.Encoding.PEM, format_, protection).decode())

    authority, server, client = (rsa.generate_private_key(65537, 2048) for _ in range(3))
    by = ("authority", authority)
    return Certificates(
        signed("authority", authority, by, True),
        signed("127.0.0.1", server, by, False),
        text_of(server),
        signed("client", client, by, False),
        text_of(client, PASSWORD),
        PASSWORD,
    )
