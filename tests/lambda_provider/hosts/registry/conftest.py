"""A repository of a gateway whose registry is spoken to as Docker does, byte by byte."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_numbers = count(1)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of the specification's error, of which there has to be one."""
        (error,) = self.json["errors"]
        assert error["message"] and "detail" in error
        return str(error["code"])


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Client:
    """Requests below `/v2/`; `path` is a repository as it is addressed."""

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named, encode_chunked=named.get("transfer-encoding") == "chunked")
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def __call__(self, method: str, rest: str, body: Any = None, **headers: str) -> Answer:
        return self.call(method, f"/v2/{self.path}/{rest}", body, **headers)

    def blob(self, content: bytes) -> str:
        """Push a blob in one request; its digest."""
        digest = digest_of(content)
        assert self("POST", f"blobs/uploads/?digest={digest}", content).status == 201
        return digest

    def image(self, tag: str | None, text: str = "", media_type: str = MANIFEST) -> tuple[str, bytes]:
        """Push an image of one layer; its digest and its manifest."""
        parts = [(CONFIG, json.dumps({"text": text}).encode()), (LAYER, f"layer of {text}".encode())]
        config, layer = (
            {"mediaType": kind, "size": len(content), "digest": self.blob(content)} for kind, content in parts
        )
        manifest = json.dumps(
            {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]}
        ).encode()
        digest = digest_of(manifest)
        answer = self("PUT", f"manifests/{tag or digest}", manifest, content_type=media_type)
        assert answer.status == 201, answer
        assert answer.headers["docker-content-digest"] == digest
        return digest, manifest


@pytest.fixture
def repository(moto_gateway: Any, client: Callable[..., Any]) -> Callable[..., Client]:
    """`repository("name")` creates one in ECR, with what CreateRepository takes; a client of it."""

    def create(
        name: str | None = None, account: str = "000000000000", region: str = "us-east-1", **parameters: Any
    ) -> Client:
        name = name or f"team/app-{next(_numbers)}"
        ecr = client(moto_gateway, "ecr", account=account, region=region)
        found = ecr.create_repository(repositoryName=name, **parameters)["repository"]
        assert found["repositoryUri"] == f"localhost:{moto_gateway.port}/{account}/{region}/{name}"
        return Client(moto_gateway.port, f"{account}/{region}/{name}")

    return create


@pytest.fixture
def app(repository: Callable[..., Client]) -> Client:
    """A repository of the test's own."""
    return repository()


@pytest.fixture
def ecr(moto_gateway: Any, client: Callable[..., Any]) -> Any:
    return client(moto_gateway, "ecr")
