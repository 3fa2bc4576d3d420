from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from lambda_runtime.errors import VersionFailed
from lambda_runtime.executors.containers.settings import ContainerSettings
from lambda_runtime.executors.docker.images import Images

PYTHON = "public.ecr.aws/lambda/python:3.12"


def image(architecture: str = "amd64", **config: Any) -> dict[str, Any]:
    return {"Id": f"sha256:{architecture}", "Architecture": architecture, "Config": config}


@pytest.fixture
def images(engine: Any) -> Images:
    return Images(engine, ContainerSettings.read({}))


async def test_what_is_here_is_used_and_nothing_is_pulled(engine: Any, images: Images, version: Any, info: Any) -> None:
    engine.client.images[PYTHON] = image(Env=["A=1=2"], Entrypoint=["/e"], Cmd=None, WorkingDir="/w")
    found = await images.find(version(), info)
    assert (found.variables, found.entry_point, found.command, found.working_directory) == (
        {"A": "1=2"},
        ("/e",),
        (),
        "/w",
    )
    assert engine.client.calls == []


async def test_many_who_wait_for_one_image_pull_it_once(engine: Any, images: Images, version: Any, info: Any) -> None:
    engine.client.registry[PYTHON] = image()
    go_on = threading.Event()
    engine.client.before_pull = lambda: go_on.wait(10) and None
    waiting = [asyncio.ensure_future(images.find(version(), info)) for _ in range(5)]
    await asyncio.to_thread(engine.client.pulling.wait, 10)
    go_on.set()
    assert {(await each).id for each in waiting} == {"sha256:amd64"}
    assert engine.client.calls == [("pull", (PYTHON, "linux/amd64"))]


async def test_one_who_gives_up_leaves_the_pull_to_the_others(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.registry[PYTHON] = image()
    go_on = threading.Event()
    engine.client.before_pull = lambda: go_on.wait(10) and None
    first, second = (asyncio.ensure_future(images.find(version(), info)) for _ in range(2))
    await asyncio.to_thread(engine.client.pulling.wait, 10)
    first.cancel()
    go_on.set()
    assert (await second).id == "sha256:amd64"


async def test_another_architecture_is_pulled_under_its_own_tag(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.images[PYTHON] = image("amd64")
    engine.client.registry[f"{PYTHON}-arm64"] = image("arm64")
    assert (await images.find(version(architecture="arm64"), info)).architecture == "arm64"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("pull access denied for x, repository does not exist or may require 'docker login'", "InvalidImage"),
        ("unauthorized: authentication required", "ImageAccessDenied"),
        ("manifest for x:1 not found: manifest unknown", "InvalidImage"),
        ("no matching manifest for linux/amd64 in the manifest list entries", "InvalidImage"),
        ("write /var/lib/docker/tmp/x: no space left on device", "InternalError"),
    ],
)
async def test_what_the_registry_says_has_a_reason_code(
    engine: Any, images: Images, version: Any, info: Any, said: str, code: str
) -> None:
    engine.client.pull_error = said
    with pytest.raises(VersionFailed) as raised:
        await images.find(version(runtime=None, handler=None, image_uri="some.registry/x:1"), info)
    assert raised.value.code == code and said in str(raised.value)


async def test_a_runtime_without_an_image_is_a_runtime_that_cannot_run(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.pull_error = "dial tcp: lookup public.ecr.aws: no such host"
    with pytest.raises(VersionFailed, match=r"python3\.12.*no such host") as raised:
        await images.find(version(), info)
    assert raised.value.code == "InvalidRuntime"


async def test_an_address_of_ecr_is_found_by_what_it_was_built_as(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.images["team/app:7"] = image()
    uri = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:7"
    assert (await images.find(version(runtime=None, image_uri=uri), info)).id == "sha256:amd64"


ADDRESS = f"localhost:4566/123456789012/eu-west-1/team/app@sha256:{'a' * 64}"
URI = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/app:7"


async def test_an_image_of_the_host_s_registry_is_pulled_by_its_digest_whatever_has_its_tag(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.images[URI] = engine.client.images["team/app:7"] = image() | {"Id": "sha256:other"}
    engine.client.registry[ADDRESS] = image()
    found = await images.find(version(runtime=None, image_uri=URI, image_address=ADDRESS), info)
    assert found.id == "sha256:amd64"
    assert engine.client.calls == [("pull", (ADDRESS, "linux/amd64"))]


async def test_what_cannot_be_pulled_is_called_as_the_user_calls_it(
    engine: Any, images: Images, version: Any, info: Any
) -> None:
    engine.client.pull_error = f"manifest for {ADDRESS} not found: manifest unknown"
    with pytest.raises(VersionFailed, match=f"Source image {URI} does not exist") as raised:
        await images.find(version(runtime=None, image_uri=URI, image_address=ADDRESS), info)
    assert raised.value.code == "InvalidImage"
