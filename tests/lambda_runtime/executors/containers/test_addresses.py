from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from lambda_runtime.executors.containers.addresses import Addresses, is_loopback


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    """The URL of something that answers `hello` on this machine's loopback."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_listeners_are_known_by_the_address_that_containers_have_for_this_machine() -> None:
    variables = {
        "AWS_LAMBDA_RUNTIME_API": "0.0.0.0:9001",
        "AWS_XRAY_DAEMON_ADDRESS": "10.0.0.7:2000",
        "OTHER": "0.0.0.0:9001",
    }
    found = await Addresses(lambda: None).as_seen(
        variables, listeners="0.0.0.0", gateway="host.docker.internal", relays=None
    )
    assert found == variables | {"AWS_LAMBDA_RUNTIME_API": "host.docker.internal:9001"}
    assert variables["AWS_LAMBDA_RUNTIME_API"] == "0.0.0.0:9001"


async def test_a_gateway_on_the_loopback_is_relayed_once_and_its_path_kept(gateway: str) -> None:
    url = f"{gateway}/path"
    addresses = Addresses(lambda: url)
    seen = [
        await addresses.as_seen(
            {"AWS_ENDPOINT_URL": url}, listeners="127.0.0.1", gateway="127.0.0.1", relays="127.0.0.1"
        )
        for _ in range(2)
    ]
    assert seen[0] == seen[1] != {"AWS_ENDPOINT_URL": url}
    netloc, _, path = seen[0]["AWS_ENDPOINT_URL"].removeprefix("http://").partition("/")
    assert path == "path"
    host, _, port = netloc.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    assert await asyncio.wait_for(reader.read(), 30) == b"hello"
    writer.close()
    addresses.close()
    addresses.close()
    with pytest.raises(OSError, match="Connect"):
        await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize(
    ("own", "given", "relays"),
    [
        ("http://127.0.0.1:4566", "http://127.0.0.1:4566", None),
        ("http://127.0.0.1:4566", "http://127.0.0.1:9999", "127.0.0.1"),
        ("http://192.0.2.1:4566", "http://192.0.2.1:4566", "127.0.0.1"),
    ],
    ids=["the network is shared", "the function's own", "anybody reaches it"],
)
async def test_other_urls_stay_as_they_are(own: str, given: str, relays: str | None) -> None:
    addresses = Addresses(lambda: own)
    variables = {"AWS_ENDPOINT_URL": given}
    assert await addresses.as_seen(variables, listeners="127.0.0.1", gateway="x", relays=relays) == variables


async def test_a_relay_that_could_not_be_opened_is_tried_again(gateway: str) -> None:
    addresses = Addresses(lambda: gateway)
    for _ in range(2):
        with pytest.raises(OSError):
            await addresses.as_seen({"AWS_ENDPOINT_URL": gateway}, listeners="x", gateway="x", relays="192.0.2.1")
    addresses.close()


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("192.0.2.1", False), (None, False)]
)
def test_what_means_this_machine_alone(host: str | None, loopback: bool) -> None:
    assert is_loopback(host) is loopback
