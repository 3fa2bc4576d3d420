"""The application that servers run or mount, without a server: its start, its end, and where it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lambda_provider.host import HostBase
from lambda_provider.hosts.embedded import EmbeddedApplication, as_if_at_the_root, make_host, url_of
from lambda_provider.plugins import PluginError

HEALTH = "/_lambda/health"


def scope(path: str = "/", **more: Any) -> dict[str, Any]:
    given = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "server": ("127.0.0.1", 8000),
    }
    return {**given, **more}


class Recorded(HostBase):
    """Tells what it was told."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        super().__init__({} if settings is None else settings)
        self.told: list[Any] = []

    async def start(self, url: str) -> None:
        self.told.append(("start", url))

    async def reachable_at(self, url: str) -> None:
        self.told.append(("reachable", url))

    async def stop(self) -> None:
        self.told.append("stop")


async def get(application: EmbeddedApplication, path: str = HEALTH, **more: Any) -> int:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope(path, **more), receive, send)
    return int(sent[0]["status"])


class Lifespan:
    """A server's side of the lifespan protocol."""

    def __init__(self, application: EmbeddedApplication) -> None:
        self._to_application: asyncio.Queue[Any] = asyncio.Queue()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()
        self._task = asyncio.ensure_future(
            application({"type": "lifespan"}, self._to_application.get, self._answers.put)
        )

    async def tell(self, kind: str) -> Any:
        await self._to_application.put({"type": f"lifespan.{kind}"})
        return await asyncio.wait_for(self._answers.get(), 30)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"root_path": "/a b"}, "http://127.0.0.1:8000/a%20b/"),
        ({"root_path": "/aws/"}, "http://127.0.0.1:8000/aws/"),
        ({"scheme": "https", "server": ("example.com", 443)}, "https://example.com"),
        ({"scheme": "http", "server": ("example.com", 80)}, "http://example.com"),
        ({"server": ("0.0.0.0", 8000)}, "http://127.0.0.1:8000"),
        ({"server": ("::", 8000)}, "http://[::1]:8000"),
        ({"server": ("fe80::1", 8000)}, "http://[fe80::1]:8000"),
        ({"server": ("/run/socket", None), "headers": [(b"host", b"front:81")]}, "http://front:81"),
        ({"server": None, "headers": [(b"host", b"front:81")], "root_path": "/aws"}, "http://front:81/aws/"),
        ({"server": ("waitress.invalid", 8000), "headers": [(b"host", b"here:8000")]}, "http://here:8000"),
        ({"server": None, "headers": [(b"host", b"id.lambda-url.eu-west-1.localhost:81")]}, "http://localhost:81"),
    ],
)
def test_its_url_follows_from_the_server_and_the_path_that_it_is_mounted_at(given: dict[str, Any], url: str) -> None:
    assert url_of(scope(**given)) == url


def test_a_request_at_the_root_is_passed_on_as_it_is() -> None:
    request = scope("/2015-03-31/functions")
    assert as_if_at_the_root(request) is request


@pytest.mark.parametrize(
    ("raw_path", "root_path", "inner"),
    [
        (b"/aws/2015-03-31/functions/a%2Fb", "/aws", b"/2015-03-31/functions/a%2Fb"),
        (b"/a%20b/x", "/a b", b"/x"),
        (b"/aws", "/aws", b"/"),
        (b"/2015-03-31/functions", "/aws", b"/2015-03-31/functions"),
        (b"/outer/inner/x", "/outer/inner/", b"/x"),
    ],
)
def test_the_path_that_it_is_mounted_at_is_taken_off_and_told_in_a_header(
    raw_path: bytes, root_path: str, inner: bytes
) -> None:
    request = as_if_at_the_root(scope(raw_path=raw_path, root_path=root_path, headers=[(b"host", b"h")]))
    assert request["raw_path"] == inner
    headers = dict(request["headers"])
    assert headers[b"x-forwarded-prefix"].decode() == root_path.rstrip("/").replace(" ", "%20")
    assert headers[b"host"] == b"h"


def test_a_proxy_in_front_adds_to_the_path() -> None:
    request = as_if_at_the_root(
        scope("/aws/x", root_path="/aws", headers=[(b"x-forwarded-prefix", b"/front/"), (b"a", b"1"), (b"a", b"2")])
    )
    assert sorted(request["headers"]) == [(b"a", b"1"), (b"a", b"2"), (b"x-forwarded-prefix", b"/front/aws")]


def test_a_server_with_tls_is_told_in_a_header_unless_a_proxy_said_so() -> None:
    assert (b"x-forwarded-proto", b"https") in as_if_at_the_root(scope(scheme="https"))["headers"]
    proxied = scope(scheme="https", headers=[(b"x-forwarded-proto", b"http")])
    assert as_if_at_the_root(proxied)["headers"] == [(b"x-forwarded-proto", b"http")]


def test_a_path_that_a_server_gives_only_decoded_is_encoded_again() -> None:
    request = scope("/functions/arn:aws:lambda:x/ü y")
    del request["raw_path"]
    assert as_if_at_the_root(request)["raw_path"] == b"/functions/arn:aws:lambda:x/%C3%BC%20y"


async def test_it_starts_and_stops_with_the_lifespan() -> None:
    host = Recorded()
    application = EmbeddedApplication(host=host, url="http://here:1")
    lifespan = Lifespan(application)
    assert (await lifespan.tell("startup"))["type"] == "lifespan.startup.complete"
    assert host.told == [("start", "http://here:1")]
    assert await get(application) == 200
    assert (await lifespan.tell("shutdown"))["type"] == "lifespan.shutdown.complete"
    assert host.told == [("start", "http://here:1"), "stop"]


async def test_without_a_url_it_is_learned_from_the_first_request() -> None:
    host = Recorded()
    application = EmbeddedApplication(host=host)
    async with application.lifespan():
        await get(application, root_path="/aws")
        await get(application, server=("elsewhere", 1))
    assert host.told == [("start", ""), ("reachable", "http://127.0.0.1:8000/aws/"), "stop"]


async def test_without_a_lifespan_it_starts_once_with_the_first_requests() -> None:
    host = Recorded()
    application = EmbeddedApplication(host=host, url="http://here:1")
    assert await asyncio.gather(*(get(application) for _ in range(5))) == [200] * 5
    assert host.told == [("start", "http://here:1")]
    await application.stop()
    assert host.told[1:] == ["stop"]


def test_without_a_lifespan_it_stops_with_its_loop_and_starts_again_on_the_next_one() -> None:
    host = Recorded()
    application = EmbeddedApplication(host=host, url="http://here:1")
    for _ in range(2):
        assert asyncio.run(get(application)) == 200
    assert host.told == [("start", "http://here:1"), "stop"] * 2


def test_it_belongs_to_one_loop() -> None:
    application = EmbeddedApplication(host=Recorded(), url="http://here:1")
    first = asyncio.new_event_loop()
    try:
        first.run_until_complete(get(application))
        with pytest.raises(RuntimeError, match="started on another event loop"):
            asyncio.run(get(application))
        first.run_until_complete(application.stop())
    finally:
        first.close()


async def test_what_cannot_start_is_told_to_the_server_and_leaves_nothing() -> None:
    host = Recorded({"LAMBDA_KEEPALIVE_S": "never"})
    answer = await Lifespan(EmbeddedApplication(host=host)).tell("startup")
    assert answer["type"] == "lifespan.startup.failed"
    assert "LAMBDA_KEEPALIVE_S" in answer["message"]
    assert host.told == [("start", ""), "stop"]


async def test_a_first_request_that_cannot_start_it_does_not_spoil_the_next_one() -> None:
    host = Recorded({"LAMBDA_KEEPALIVE_S": "never"})
    application = EmbeddedApplication(host=host)
    with pytest.raises(ValueError, match="LAMBDA_KEEPALIVE_S"):
        await get(application)
    host.settings = {}
    assert await get(application) == 200
    await application.stop()


async def test_it_is_told_by_the_environment_and_by_settings_before_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_HOST_ADAPTER", "hamsters")
    with pytest.raises(PluginError, match="hamsters"):
        await EmbeddedApplication().start()
    application = EmbeddedApplication(settings={"LAMBDA_HOST_ADAPTER": "bare", "LAMBDA_SETTLE_MS": "5"})
    async with application.lifespan():
        assert application.hosted.host.name == "bare"
        assert application.hosted.host.settings["LAMBDA_SETTLE_MS"] == "5"
        assert await get(application, "/anything") == 501
    with pytest.raises(RuntimeError):
        _ = application.hosted


def test_a_host_cannot_be_given_settings_that_it_would_not_see() -> None:
    with pytest.raises(TypeError, match="its own settings"):
        EmbeddedApplication(host=HostBase(), settings={})


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    known: dict[str, Any] = {}
    monkeypatch.setattr("lambda_provider.plugins.load_plugin", lambda group, name: known[name])
    yield known


def test_a_host_gets_the_settings_if_it_takes_any(plugins: dict[str, Any]) -> None:
    plugins["with"] = lambda settings: ("made", settings)
    plugins["without"] = lambda: "made"
    assert make_host("with", {"a": "b"}) == ("made", {"a": "b"})
    assert make_host("without", {"a": "b"}) == "made"
