"""Where a cluster is and how it is entered, as settings of the client; and what errors mean for a mapping."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest

from lambda_provider.event_sources.kafka_cluster import (
    CERTIFICATE_PROBLEM,
    CLIENT_PROBLEM,
    CONNECTION_PROBLEM,
    NO_TOPIC,
    NOT_AUTHORIZED,
    SASL_PROBLEM,
    SERVER_PROBLEM,
    Cluster,
    cluster_of,
    problem_of,
)
from lambda_provider.event_sources.source import AUTHENTICATION_ERROR, AUTHORIZATION_ERROR, NOT_VALID, SourceProblem
from lambda_provider.host import ServiceUnavailable
from lambda_provider.model.event_source_mapping import SourceAccess

from .kafka_fakes import Function, KafkaWorld, kafka_mapping

CLUSTER = "arn:aws:kafka:us-east-1:000000000000:cluster/orders/6d1e0b4c-1"
PEM = "-----BEGIN CERTIFICATE-----\n…\n-----END CERTIFICATE-----\n"
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:"


class Services:
    """The host's Secrets Manager and MSK."""

    def __init__(self, secrets: dict[str, Any], brokers: dict[str, str] | None) -> None:
        self.secrets, self.brokers = secrets, brokers
        self.settings: dict[str, str] = {}

    def connect_to(self, service: str, *, account_id: str, region: str) -> Any:
        if service == "secretsmanager":
            return SimpleNamespace(
                get_secret_value=lambda SecretId: {"SecretString": json.dumps(self.secrets[SecretId.split(":")[-1]])}
            )
        if self.brokers is None:
            raise ServiceUnavailable(f"no {service} here")
        return SimpleNamespace(get_bootstrap_brokers=lambda ClusterArn: self.brokers)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens, nor can as long as the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


async def found(
    services: Services, *access: tuple[str, str | None], arn: str | None = None, servers: str = ""
) -> Cluster:
    accesses = tuple(SourceAccess(type=type_, uri=uri) for type_, uri in access)
    mapping = kafka_mapping(arn, access=accesses, **({} if arn else {"bootstrap_servers": tuple(servers.split(","))}))
    return await cluster_of(KafkaWorld(Function()).source(mapping, host=services))


async def test_a_cluster_without_secrets_is_entered_in_plain_text(nobody: str) -> None:
    cluster = await found(Services({}, None), ("VPC_SUBNET", "subnet:s"), servers=nobody)
    assert cluster == Cluster(nobody, {"bootstrap.servers": nobody, "security.protocol": "PLAINTEXT"})


@pytest.mark.parametrize(
    ("type_", "mechanism"),
    [("BASIC_AUTH", "PLAIN"), ("SASL_SCRAM_256_AUTH", "SCRAM-SHA-256"), ("SASL_SCRAM_512_AUTH", "SCRAM-SHA-512")],
)
async def test_names_and_passwords_are_in_secrets(nobody: str, type_: str, mechanism: str) -> None:
    services = Services({"s": {"username": "alice", "password": "pw"}, "ca": {"certificate": PEM}}, None)
    access = [(type_, f"{SECRET}s"), ("SERVER_ROOT_CA_CERTIFICATE", f"{SECRET}ca")]

    cluster = await found(services, *access, servers=nobody)

    assert cluster.client == {
        "bootstrap.servers": nobody,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": "alice",
        "sasl.password": "pw",
        "ssl.ca.pem": PEM,
    }
    assert "pw" not in repr(cluster)


async def test_certificates_are_in_secrets(nobody: str) -> None:
    secret = {"certificate": PEM, "privateKey": PEM, "privateKeyPassword": "pw"}
    access = ("CLIENT_CERTIFICATE_TLS_AUTH", f"{SECRET}s")

    cluster = await found(Services({"s": secret}, None), access, servers=nobody)

    assert cluster.client["security.protocol"] == "SSL"
    assert cluster.client["ssl.key.password"] == "pw"
    with pytest.raises(SourceProblem) as caught:
        await found(Services({"s": {**secret, "privateKey": "AAAA"}}, None), access, servers=nobody)
    assert caught.value.result == CERTIFICATE_PROBLEM


@pytest.mark.parametrize("type_", ["IAM_AUTH", "IAM_OAUTHBEARER_AUTH"])
async def test_what_only_brokers_of_aws_understand_is_refused_with_the_reason(nobody: str, type_: str) -> None:
    with pytest.raises(SourceProblem) as caught:
        await found(Services({}, None), (type_, None), servers=nobody)
    assert type_ in caught.value.reason


class Issuer(BaseHTTPRequestHandler):
    """Gives tokens to whoever asks, and remembers how it was asked."""

    asked: list[tuple[str, dict[str, list[str]]]]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.asked.append((self.headers["Authorization"], form))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": "t0ken", "expires_in": 60}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def issuer() -> Iterator[tuple[str, list[Any]]]:
    asked: list[Any] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Issuer,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/token", asked
    server.shutdown()
    server.server_close()
    thread.join()


async def test_tokens_are_fetched_with_the_secret_of_the_client(nobody: str, issuer: tuple[str, list[Any]]) -> None:
    url, asked = issuer
    secret = {"clientId": "id", "clientSecret": "secret", "tokenEndpoint": url}
    access = [
        ("OAUTHBEARER_AUTH", f"{SECRET}s"),
        ("OAUTHBEARER_SCOPE", "topics"),
        ("OAUTHBEARER_AUDIENCE", "kafka"),
        ("OAUTHBEARER_LOGICAL_CLUSTER", "lkc-1"),
    ]

    cluster = await found(Services({"s": secret}, None), *access, servers=nobody)

    assert cluster.client["sasl.mechanism"] == "OAUTHBEARER"
    token, _, principal, extensions = cluster.client["oauth_cb"]("")
    assert (token, principal, extensions) == ("t0ken", "id", {"logicalCluster": "lkc-1"})
    form = {"grant_type": ["client_credentials"], "scope": ["topics"], "audience": ["kafka"]}
    assert asked == [("Basic aWQ6c2VjcmV0", form)]
    with pytest.raises(SourceProblem, match="has not all of"):
        await found(Services({"s": {"clientId": "id"}}, None), access[0], servers=nobody)


async def test_brokers_of_msk_are_those_for_the_way_to_authenticate(nobody: str) -> None:
    brokers = {"BootstrapBrokerString": nobody, "BootstrapBrokerStringSaslScram": f"{nobody},{nobody}"}
    services = Services({"s": {"username": "a", "password": "b"}}, brokers)
    assert (await found(services, arn=CLUSTER)).bootstrap_servers == nobody
    scram = await found(services, ("SASL_SCRAM_512_AUTH", f"{SECRET}s"), arn=CLUSTER)
    assert scram.bootstrap_servers == f"{nobody},{nobody}"
    with pytest.raises(SourceProblem, match="IAM"):
        await found(Services({}, {"BootstrapBrokerStringSaslIam": nobody}), arn=CLUSTER)


async def test_a_setting_says_where_a_cluster_of_msk_is(nobody: str) -> None:
    services = Services({}, None)
    with pytest.raises(SourceProblem) as caught:
        await found(services, arn=CLUSTER)
    assert "LAMBDA_MSK_ENDPOINTS" in caught.value.reason
    services.settings = {"LAMBDA_MSK_ENDPOINTS": f"bills=kafka://b:1,orders=kafka://{nobody},{nobody}"}
    assert (await found(services, arn=CLUSTER)).bootstrap_servers == f"{nobody},{nobody}"


@pytest.mark.parametrize(
    ("code", "message", "reason", "result"),
    [
        ("_AUTHENTICATION", "SASL authentication error", AUTHENTICATION_ERROR, SASL_PROBLEM),
        ("_SSL", "certificate verify failed", AUTHENTICATION_ERROR, SERVER_PROBLEM),
        ("_SSL", "alert handshake failure", AUTHENTICATION_ERROR, CLIENT_PROBLEM),
        ("_TRANSPORT", "ssl/tls alert bad certificate: SSL alert number 42", AUTHENTICATION_ERROR, CLIENT_PROBLEM),
        ("TOPIC_AUTHORIZATION_FAILED", "", AUTHORIZATION_ERROR, NOT_AUTHORIZED),
        ("GROUP_AUTHORIZATION_FAILED", "", AUTHORIZATION_ERROR, NOT_AUTHORIZED),
        ("UNKNOWN_TOPIC_OR_PART", "", NOT_VALID, NO_TOPIC),
        ("_ALL_BROKERS_DOWN", "", NOT_VALID, CONNECTION_PROBLEM),
    ],
)
def test_errors_in_aws_words(code: str, message: str, reason: str, result: str) -> None:
    problem = problem_of(code, message)
    assert problem is not None
    assert (problem.reason, problem.result) == (reason, result)


def test_errors_that_are_nothing_of_the_source() -> None:
    assert problem_of("_PARTITION_EOF", "") is None
