"""All that can be asked is answered as before, by whatever way the state came back."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lambda_provider.api import LambdaError
from lambda_provider.provider import LambdaProvider
from lambda_provider.store.errors import StateError
from lambda_provider.store.records import QUALIFIED
from lambda_provider.store.resources import ResourceTable

from .every_operation import CAPACITY_PROVIDER, Agreeable, populate
from .fakes import FakeEc2, FakeHost, FakeRuntime, archive, arn, context, creation
from .validation.generated import MODEL

READING = sorted(name for name in MODEL.operations if name.startswith(("Get", "List")))
VOLATILE = {"Location"}
"""Members that differ from request to request: a URL with a signature."""


class Providers:
    """Providers one after the other, each with a runtime of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def start(self, state_dir: Path | None = None) -> LambdaProvider:
        runtime = FakeRuntime()
        self._stack.callback(runtime.close)
        host = FakeHost()
        host.clients.update({name: Agreeable() for name in ("sqs", "sns", "kinesis", "kms")}, ec2=FakeEc2())
        provider = LambdaProvider(host, runtime, state_dir=state_dir)  # type: ignore[arg-type]
        provider.event_sources.manager._load = dict  # Nobody polls: mappings tell what became of that.
        provider.start()
        self._stack.callback(provider.stop)
        return provider


@pytest.fixture
def providers() -> Iterator[Providers]:
    with ExitStack() as stack:
        yield Providers(stack)


def everything(provider: LambdaProvider) -> dict[str, str]:
    """One or more of every resource and setting."""

    def call(operation: str, **request: Any) -> Any:
        return getattr(provider, operation)(context(), request)

    names = populate(provider)
    provider.create_function(
        context(), creation("h", Code={"ZipFile": archive("other")}, Environment={"Variables": {"a": "ü"}})
    )
    for name in ("f", "g", "h"):
        call("get_function", FunctionName=name)
    call("put_provisioned_concurrency_config", FunctionName="f", Qualifier="a", ProvisionedConcurrentExecutions=2)
    call("put_provisioned_concurrency_config", FunctionName="f", Qualifier="2", ProvisionedConcurrentExecutions=1)
    call("put_function_recursion_config", FunctionName="g", RecursiveLoop="Allow")
    call("put_runtime_management_config", FunctionName="g", UpdateRuntimeOn="FunctionUpdate")
    call("put_function_concurrency", FunctionName="h", ReservedConcurrentExecutions=0)
    queue = "arn:aws:sqs:eu-west-1:111111111111:other"
    other = call("create_event_source_mapping", FunctionName="g", EventSourceArn=queue, Enabled=False, Tags={"t": "1"})
    for name in ("f", "g", "h"):
        call("get_function", FunctionName=name)
    for resource in (names["signing"], CAPACITY_PROVIDER, other["EventSourceMappingArn"]):
        call("tag_resource", Resource=resource, Tags={"c": "d"})
    provider.positions.put(names["mapping"], "shard-0", {"after": "1"})
    return {**names, "other mapping": other["UUID"], "other mapping arn": other["EventSourceMappingArn"]}


def choices(names: Mapping[str, str]) -> dict[str, list[Any]]:
    """What a member of a request is asked with; a member that is optional is left out, too."""
    return {
        "FunctionName": ["f", "g", "h"],
        "Qualifier": ["$LATEST", "1", "2", "a"],
        "FunctionVersion": ["ALL"],
        "Name": ["a"],
        "LayerName": ["l"],
        "VersionNumber": [1],
        "Arn": [names["layer"]],
        "CodeSigningConfigArn": [names["signing"]],
        "CapacityProviderName": ["c"],
        "UUID": [names["mapping"], names["other mapping"]],
        "Resource": [arn("f"), names["signing"], CAPACITY_PROVIDER, names["other mapping arn"]],
        "ResourceArn": [arn("f"), arn("f", "a")],
    }


def answers(provider: LambdaProvider, names: Mapping[str, str]) -> dict[str, Any]:
    """What every reading operation answers to every request that can be made of the names."""
    known, found = choices(names), {}
    runtime: Any = provider.runtime
    store = provider.store
    runtime.until(
        lambda: all(each.status.settled for function in store.all_functions() for each in function.all_versions())
    )
    for operation in READING:
        shape = MODEL.input_of(operation)
        values = {
            member: known.get(member, ["x"]) if member in shape.required else [None, *known[member]]
            for member in shape.members
            if member in shape.required or member in known
        }
        for combination in itertools.product(*values.values()):
            request = {member: value for member, value in zip(values, combination, strict=True) if value is not None}
            call: Callable[..., Any] = getattr(provider, MODEL.operations[operation].method_name)
            try:
                answer = stable(json.loads(json.dumps(call(context(), request), default=str)))
            except LambdaError as error:
                answer = [error.code, str(error)]
            found[f"{operation} {json.dumps(request)}"] = answer
    return found


def stable(answer: Any) -> Any:
    if isinstance(answer, dict):
        return {name: stable(value) for name, value in answer.items() if name not in VOLATILE}
    return [stable(value) for value in answer] if isinstance(answer, list) else answer


def restarted(provider: LambdaProvider, providers: Providers, directory: Path) -> LambdaProvider:
    provider.stop()
    return providers.start(directory / "state")


def killed(provider: LambdaProvider, providers: Providers, directory: Path) -> LambdaProvider:
    """The files are as they are when a process ends without a word, once nothing is under way."""
    provider.positions.flush()
    shutil.copytree(directory / "state", directory / "left behind")
    return providers.start(directory / "left behind")


def saved_and_loaded(provider: LambdaProvider, providers: Providers, directory: Path) -> LambdaProvider:
    """As a host does it that resets in between."""
    provider.positions.flush()
    provider.on_before_state_save()
    shutil.copytree(directory / "state", directory / "saved")
    provider.on_after_state_save()
    provider.on_before_state_reset()
    provider.on_after_state_reset()
    assert provider.list_functions(context(), {})["Functions"] == []
    provider.on_before_state_load()
    shutil.rmtree(directory / "state")
    shutil.copytree(directory / "saved", directory / "state")
    provider.on_after_state_load()
    return provider


def exported_to(where: str | None) -> Callable[..., LambdaProvider]:
    def move(provider: LambdaProvider, providers: Providers, directory: Path) -> LambdaProvider:
        with (directory / "exported").open("w+b") as file:
            provider.export_state(file)
            other = providers.start(directory / where if where is not None else None)
            other.import_state(file)
        return other

    return move


def imported_in_place(provider: LambdaProvider, providers: Providers, directory: Path) -> LambdaProvider:
    with (directory / "exported").open("w+b") as file:
        provider.export_state(file)
        provider.delete_function(context(), {"FunctionName": "f"})
        provider.create_function(context(), creation("new"))
        with pytest.raises(StateError, match="is not empty"):
            provider.import_state(file)
        assert len(provider.list_functions(context(), {})["Functions"]) == 3
        provider.import_state(file, replace=True)
    return provider


WAYS = {
    "restart": restarted,
    "kill": killed,
    "save, reset, load": saved_and_loaded,
    "export to a directory": exported_to("other"),
    "export to memory": exported_to(None),
    "import in place": imported_in_place,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_all_answers_are_the_same(way, providers, tmp_path):
    first = providers.start(tmp_path / "state")
    names = everything(first)
    before = answers(first, names)
    assert len(before) > 150
    again = way(first, providers, tmp_path)
    assert answers(again, names) == before
    assert again.positions.get(names["mapping"], "shard-0") == {"after": "1"}
    runtime: Any = again.runtime
    deployed = [arn("f", "$LATEST"), arn("f", "1"), arn("f", "2"), arn("g", "$LATEST"), arn("h", "$LATEST")]
    assert sorted(runtime.deployed) == deployed
    assert runtime.reserved == {arn("g"): 5, arn("h"): 0}
    assert {name: sum(shares.values()) for name, shares in runtime.provisioned_requests.items()} == {
        arn("f", "a"): 2,
        arn("f", "2"): 1,
    }
    assert len(list((again.archives.get("0" * 64).path.parent).glob("*.zip"))) == 2


def test_everything_is_of_every_kind(providers):
    provider = providers.start()
    everything(provider)
    kinds = {key.kind for key, _ in provider.store.records()}
    tables = {name for name, table in vars(provider.store).items() if isinstance(table, ResourceTable)}
    assert len(tables) == 4
    # A scaling config needs a function of a capacity provider, which nothing here runs.
    assert kinds == {"function", "version", *QUALIFIED, *provider.store._tables} - {"scaling"}
