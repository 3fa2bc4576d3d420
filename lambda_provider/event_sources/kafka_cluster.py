"""Where the cluster of a mapping is, and how it is entered: from a mapping to a client's configuration.

https://docs.aws.amazon.com/lambda/latest/dg/kafka-cluster-auth.html and msk-cluster-auth.html. What is said of a cluster that
cannot be used is in AWS's words (with-kafka-troubleshoot.html, and the AWS Knowledge Center on triggers that poll MSK).
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.credentials import basic_credentials, secret_of
from lambda_provider.event_sources.endpoints import overridden
from lambda_provider.event_sources.source import (
    AUTHENTICATION_ERROR,
    AUTHORIZATION_ERROR,
    NOT_VALID,
    EventSource,
    SourceProblem,
)
from lambda_provider.host import ServiceUnavailable

ENDPOINTS_SETTING = "LAMBDA_MSK_ENDPOINTS"

CONNECTION_PROBLEM = (
    "PROBLEM: Connection error. Please check your event source connection configuration. If your event source lives in a VPC, "
    "try setting up a new Lambda function or EC2 instance with the same VPC, Subnet, and Security Group settings. Connect the "
    "new device to the Kafka cluster and consume messages to ensure that the issue is not related to VPC or Endpoint "
    "configuration. If the new device is able to consume messages, please contact Lambda customer support for further "
    "investigation."
)
SASL_PROBLEM = "PROBLEM: SASL authentication failed."
NOT_AUTHORIZED = "PROBLEM: Cluster failed to authorize Lambda."
SERVER_PROBLEM = "PROBLEM: Lambda failed to authenticate server."
CLIENT_PROBLEM = "PROBLEM: Server failed to authenticate Lambda."
CERTIFICATE_PROBLEM = "PROBLEM: Provided certificate or private key is invalid."
NO_TOPIC = "PROBLEM: The topic does not exist in the cluster."
"""Ours: AWS's page has no words for it."""

_MECHANISMS: Mapping[str, str] = {
    "BASIC_AUTH": "PLAIN",
    "SASL_SCRAM_256_AUTH": "SCRAM-SHA-256",
    "SASL_SCRAM_512_AUTH": "SCRAM-SHA-512",
}
_OAUTH_MEMBERS = (
    ("clientId", "client_id"),
    ("clientSecret", "client_secret"),
    ("tokenEndpoint", "token_endpoint", "tokenEndpointUrl", "token_endpoint_url"),
)
"""What the secret of OAUTHBEARER_AUTH has to have, each under one of these names."""
_EXTENSIONS: Mapping[str, str] = {
    "OAUTHBEARER_LOGICAL_CLUSTER": "logicalCluster",
    "OAUTHBEARER_IDENTITY_POOL": "identityPoolId",
}
_FORM: Mapping[str, str] = {"scope": "OAUTHBEARER_SCOPE", "audience": "OAUTHBEARER_AUDIENCE"}
_PROBE_S = 3.0
_TOKEN_S = 10.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The servers as events name them, and the settings of a client of librdkafka, which are not shown."""

    bootstrap_servers: str
    client: Mapping[str, Any] = field(repr=False)


async def cluster_of(source: EventSource) -> Cluster:
    """Find the cluster of a mapping, read its secrets, and see whether it speaks TLS. Raises SourceProblem."""
    accesses = {access.type: access.uri for access in source.settings.access or ()}
    servers = await _servers(source, accesses)
    client: dict[str, Any] = {"bootstrap.servers": servers}
    sasl = await _sasl(source, accesses)
    tls = await _tls(source)
    encrypted = bool(tls) or await asyncio.to_thread(_speaks_tls, servers)
    client["security.protocol"] = ("SASL_" if sasl else "") + ("SSL" if encrypted else "PLAINTEXT")
    return Cluster(servers, client | sasl | tls)


async def _servers(source: EventSource, accesses: Mapping[str, str | None]) -> str:
    """`host:port,…`, in the order that AWS's events have: that of the mapping, or of MSK."""
    arn = source.mapping.event_source_arn
    if arn is None:
        return ",".join(source.settings.bootstrap_servers or ())
    names = arn.split("/")[1:]
    if (url := overridden(source.setting(ENDPOINTS_SETTING), names)) is not None:
        return url.partition("://")[2].rstrip("/")
    advice = f"say where it is with {ENDPOINTS_SETTING}=kafka://localhost:9092"
    try:
        kafka = await source.call(source.client, "kafka")
        answer: Mapping[str, str] = await source.call(kafka.get_bootstrap_brokers, ClusterArn=arn)
    except (ClientError, BotoCoreError, ServiceUnavailable, OSError) as error:
        raise SourceProblem(
            f"the host does not tell the brokers of {arn} ({error}); {advice}",
            reason=f"{NOT_VALID}: the brokers of the cluster are not known; {advice}",
            result=CONNECTION_PROBLEM,
        ) from error
    kinds = ["BootstrapBrokerStringTls", "BootstrapBrokerString"]
    if "SASL_SCRAM_512_AUTH" in accesses:
        kinds.insert(0, "BootstrapBrokerStringSaslScram")
    for kind in kinds:
        if servers := answer.get(kind):
            return servers
    raise SourceProblem(
        f"{arn} has no brokers for this way to authenticate, only {sorted(answer)}: IAM is only understood by MSK itself",
        reason=AUTHENTICATION_ERROR,
        result=CLIENT_PROBLEM,
    )


async def _sasl(source: EventSource, accesses: Mapping[str, str | None]) -> dict[str, Any]:
    if by_iam := [type_ for type_ in ("IAM_AUTH", "IAM_OAUTHBEARER_AUTH") if type_ in accesses]:
        raise SourceProblem(
            f"{by_iam[0]} works with brokers that ask AWS; use another way to authenticate with brokers elsewhere",
            reason=f"{AUTHENTICATION_ERROR}: {by_iam[0]} works with brokers that ask AWS",
            result=SASL_PROBLEM,
        )
    if "OAUTHBEARER_AUTH" in accesses:
        return await _oauth(source, accesses)
    for type_, mechanism in _MECHANISMS.items():
        if (credentials := await basic_credentials(source, type_)) is not None:
            return {
                "sasl.mechanism": mechanism,
                "sasl.username": credentials.username,
                "sasl.password": credentials.password,
            }
    return {}


async def _oauth(source: EventSource, accesses: Mapping[str, str | None]) -> dict[str, Any]:
    """Tokens by the grant `client_credentials` (RFC 6749, 4.4)."""
    client = token_client(await secret_of(source, "OAUTHBEARER_AUTH") or {})
    form = {name: uri for name, type_ in _FORM.items() if (uri := accesses.get(type_))}
    extensions = {name: uri for type_, name in _EXTENSIONS.items() if (uri := accesses.get(type_))}

    def token(_: str) -> tuple[str, float, str, dict[str, str]]:
        """What librdkafka calls, in a thread of its own, whenever a token is about to expire."""
        text, expires = client.token(**form)
        return text, expires, client.id, extensions

    return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": token}


@dataclass(frozen=True, slots=True)
class TokenClient:
    """A client of an OAuth server, whose secret is not shown."""

    id: str
    secret: str = field(repr=False)
    endpoint: str

    def token(self, **form: str) -> tuple[str, float]:
        """An access token, and when it expires, in seconds since the epoch. Blocks. Raises OSError and ValueError."""
        basic = base64.b64encode(f"{self.id}:{self.secret}".encode()).decode()
        body = urllib.parse.urlencode({"grant_type": "client_credentials", **form}).encode()
        request = urllib.request.Request(self.endpoint, body, {"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request, timeout=_TOKEN_S) as answer:
            document = json.load(answer)
        return str(document["access_token"]), time.time() + float(document.get("expires_in", 300))


def token_client(secret: Mapping[str, Any]) -> TokenClient:
    """The client that a secret of OAUTHBEARER_AUTH describes. Raises SourceProblem."""
    values = [next((secret[name] for name in names if name in secret), None) for names in _OAUTH_MEMBERS]
    if not all(isinstance(value, str) for value in values):
        raise SourceProblem(
            f"the secret of OAUTHBEARER_AUTH has not all of {[names[0] for names in _OAUTH_MEMBERS]}: it has {sorted(secret)}",
            reason=AUTHENTICATION_ERROR,
            result=SASL_PROBLEM,
        )
    return TokenClient(*map(str, values))


async def _tls(source: EventSource) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if (root := await secret_of(source, "SERVER_ROOT_CA_CERTIFICATE")) is not None:
        settings["ssl.ca.pem"] = _member(root, "certificate", "SERVER_ROOT_CA_CERTIFICATE")
    if (own := await secret_of(source, "CLIENT_CERTIFICATE_TLS_AUTH")) is not None:
        settings["ssl.certificate.pem"] = _member(own, "certificate", "CLIENT_CERTIFICATE_TLS_AUTH")
        settings["ssl.key.pem"] = _member(own, "privateKey", "CLIENT_CERTIFICATE_TLS_AUTH")
        if own.get("privateKeyPassword"):
            settings["ssl.key.password"] = own["privateKeyPassword"]
    return settings


def _member(secret: Mapping[str, Any], name: str, type_: str) -> str:
    value = secret.get(name)
    if not isinstance(value, str) or "-----BEGIN" not in value:
        raise SourceProblem(
            f"the secret of {type_} has no {name} in the form of PEM: it has {sorted(secret)}",
            reason=AUTHENTICATION_ERROR,
            result=CERTIFICATE_PROBLEM,
        )
    return value


def _speaks_tls(servers: str) -> bool:
    """Whether a broker that can be reached answers as TLS does: local clusters are entered without, those of AWS with it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # Only whether it is TLS is asked; the client itself verifies.
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _PROBE_S) as plain:
                try:
                    with context.wrap_socket(plain, server_hostname=host):
                        return True
                except ssl.SSLError as error:
                    # A broker that wants a certificate of ours says so within TLS.
                    return "ALERT" in (error.reason or "")
                except OSError:
                    return False
        except (OSError, ValueError):
            continue
    return False


def problem_of(code: str, message: str) -> SourceProblem | None:
    """What an error of the client means for the mapping, None if it is none of its source. `code` is librdkafka's name."""
    if code in ("_AUTHENTICATION", "SASL_AUTHENTICATION_FAILED", "UNSUPPORTED_SASL_MECHANISM"):
        return SourceProblem(message, reason=AUTHENTICATION_ERROR, result=SASL_PROBLEM)
    if code == "_SSL" or (code == "_TRANSPORT" and "SSL alert" in message):
        ours = "verif" in message.lower() or "self-signed" in message.lower()
        return SourceProblem(message, reason=AUTHENTICATION_ERROR, result=SERVER_PROBLEM if ours else CLIENT_PROBLEM)
    if code in ("TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"):
        return SourceProblem(message, reason=AUTHORIZATION_ERROR, result=NOT_AUTHORIZED)
    if code in ("UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC"):
        return SourceProblem(message, reason=NOT_VALID, result=NO_TOPIC)
    if code in ("_ALL_BROKERS_DOWN", "_RESOLVE", "_TRANSPORT", "_TIMED_OUT"):
        return SourceProblem(message, reason=NOT_VALID, result=CONNECTION_PROBLEM)
    return None
