"""A world with one of each resource, requests that are aimed at it, and a look at everything that the store holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import create_request_object, prepare_request_dict
from botocore.exceptions import BotoCoreError
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import strategies as st

from lambda_provider.api.spec import SERVICE_MODEL, Shape
from lambda_provider.model.documents import dump
from lambda_provider.provider import LambdaProvider
from lambda_provider.store.records import parts
from lambda_provider.validation import validate
from lambda_provider.wire import HttpRequest, HttpResponse, LambdaWire

from .fakes import ACCOUNT, REGION, ROLE, FakeEc2, FakeHost, FakeRuntime, archive, arn, context, creation
from .validation import generated

_MODEL = ServiceModel(json.loads(SERVICE_MODEL.read_text("utf-8")), "lambda")
_SERIALIZER = create_serializer("rest-json", include_validation=False)

Spoil = Callable[[bytes], bytes]

PREFIX = f"arn:aws:lambda:{REGION}:{ACCOUNT}"
CAPACITY_PROVIDER = f"{PREFIX}:capacity-provider:c"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
PROFILE = f"arn:aws:signer:{REGION}:{ACCOUNT}:/signing-profiles/p"
VPC = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


class World:
    """A provider behind its wire, with fakes for the rest. `rebuild` makes it anew after a request has changed it."""

    def __init__(self, runtime: FakeRuntime, runner: asyncio.Runner) -> None:
        self._runtime = runtime
        self._runner = runner
        self._provider: LambdaProvider | None = None
        self.rebuild()

    def rebuild(self) -> None:
        """Start again: a function with two versions and an alias that have all that can be had, and one of the rest."""
        self.close()
        host = FakeHost()
        host.clients.update(ec2=FakeEc2(), sqs=Agreeable(), sns=Agreeable(), kinesis=Agreeable(), kms=Agreeable())
        self._runtime.deployed.clear()
        self._provider = provider = LambdaProvider(host, self._runtime)  # type: ignore[arg-type]
        provider.start()
        self._wire = LambdaWire(provider, validate=validate)
        self.names = populate(provider)
        for function in provider.store.all_functions():
            provider.get_function(context(), {"FunctionName": function.name})
        self.before = self.dump()

    def close(self) -> None:
        if self._provider is not None:
            self._provider.stop()
            self._wire.close()
            self._provider = None

    def dump(self) -> dict[Any, str]:
        """Everything in the store, record by record."""
        assert self._provider is not None
        store = self._provider.store
        found = {key: dump(part) for function in store.all_functions() for key, part in parts(function).items()}
        for kind, table in store._tables.items():
            found |= {(kind, item.account_id, item.region, item.name): dump(item) for item in table.all()}
        return found

    def send(self, operation: str, request: Mapping[str, Any], spoil: Spoil = lambda body: body) -> HttpResponse | None:
        """The answer to a request, read to its end; None if the request cannot be put into HTTP. `spoil` gets the body."""
        try:
            raw = _SERIALIZER.serialize_to_request(dict(request), _MODEL.operation_model(operation))
            prepare_request_dict(raw, endpoint_url="http://127.0.0.1:4566")
            prepared = create_request_object(raw).prepare()
        except (BotoCoreError, KeyError, TypeError, ValueError):
            return None
        url = urlsplit(prepared.url)
        headers = {name.lower(): _text(value) for name, value in prepared.headers.items()}
        headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={ACCOUNT}/20260101/{REGION}/lambda/aws4_request"
        body = prepared.body or b""
        body = body.encode() if isinstance(body, str) else bytes(body)
        return self._runner.run(self._send(HttpRequest(prepared.method, url.path, url.query, headers, spoil(body))))

    async def _send(self, request: HttpRequest) -> HttpResponse:
        response = await self._wire.handle(request)
        if not isinstance(response.body, bytes):
            response.body = b"".join([chunk async for chunk in response.body])
        return response


class Agreeable:
    """A client of a service in which whatever is asked for exists."""

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda **_: {"QueueUrl": "http://q", "Attributes": {"VisibilityTimeout": "900"}}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def populate(provider: LambdaProvider) -> dict[str, str]:
    """Make the resources of the world; the answer is the names of those that have no name of our choice."""

    def call(operation: str, **request: Any) -> Any:
        return getattr(provider, operation)(context(), request)

    publishers = {"SigningProfileVersionArns": [PROFILE]}
    signing = call("create_code_signing_config", AllowedPublishers=publishers)["CodeSigningConfig"]
    call(
        "create_capacity_provider",
        CapacityProviderName="c",
        VpcConfig=VPC,
        PermissionsConfig={"CapacityProviderOperatorRoleArn": ROLE},
    )
    layer = call("publish_layer_version", LayerName="l", Content={"ZipFile": archive()})
    call(
        "add_layer_version_permission",
        LayerName="l",
        VersionNumber=1,
        StatementId="s",
        Action="lambda:GetLayerVersion",
        Principal="*",
    )
    provider.create_function(context(), creation("f", Publish=True, Layers=[layer["LayerVersionArn"]], Tags={"a": "b"}))
    provider.create_function(context(), creation("g"))
    call("get_function", FunctionName="f")
    call("update_function_configuration", FunctionName="f", Description="second")
    call("get_function", FunctionName="f")
    call("publish_version", FunctionName="f")
    call("create_alias", FunctionName="f", Name="a", FunctionVersion="1")
    for qualifier in ({}, {"Qualifier": "a"}):
        call("create_function_url_config", FunctionName="f", AuthType="NONE", **qualifier)
        call("put_function_event_invoke_config", FunctionName="f", MaximumRetryAttempts=0, **qualifier)
        call(
            "add_permission",
            FunctionName="f",
            StatementId="s",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            **qualifier,
        )
    call("put_function_code_signing_config", FunctionName="f", CodeSigningConfigArn=signing["CodeSigningConfigArn"])
    call("put_function_concurrency", FunctionName="g", ReservedConcurrentExecutions=5)
    mapping = call("create_event_source_mapping", FunctionName="f", EventSourceArn=QUEUE)
    return {
        "signing": signing["CodeSigningConfigArn"],
        "layer": layer["LayerVersionArn"],
        "mapping": mapping["UUID"],
    }


def aims(names: Mapping[str, str]) -> dict[str, st.SearchStrategy[Any]]:
    """Values for members that name resources, so that requests get past the look-up."""
    functions = st.sampled_from(["f", arn("f"), f"{ACCOUNT}:function:f", "g"])
    return {
        "FunctionName": functions,
        "Qualifier": st.sampled_from(["a", "1", "2", "$LATEST", "nope"]),
        "FunctionVersion": st.sampled_from(["1", "2", "$LATEST", "7"]),
        "Name": st.sampled_from(["a", "new"]),
        "LayerName": st.sampled_from(["l", f"{PREFIX}:layer:l", "new"]),
        "VersionNumber": st.sampled_from([1, 2]),
        "Arn": st.just(names["layer"]),
        "StatementId": st.sampled_from(["s", "new"]),
        "CodeSigningConfigArn": st.just(names["signing"]),
        "CapacityProviderName": st.sampled_from(["c", CAPACITY_PROVIDER, "new"]),
        "UUID": st.just(names["mapping"]),
        "Resource": st.sampled_from([arn("f"), names["signing"], CAPACITY_PROVIDER, f"{PREFIX}:layer:l"]),
        "ResourceArn": st.sampled_from([arn("f"), arn("f", "a")]),
        "EventSourceArn": st.sampled_from([QUEUE, f"{QUEUE}2", f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/s"]),
        "Runtime": st.sampled_from(["python3.12", "java21", "nodejs22.x"]),
        "Role": st.just(ROLE),
        "Code": st.just({"ZipFile": archive("new")}),
        "Content": st.just({"ZipFile": archive("new")}),
        "ZipFile": st.just(archive("new")),
        "Layers": st.sampled_from([[], [names["layer"]]]),
        "Payload": st.sampled_from([b"", b"{}", b"{"]),
        "VpcConfig": st.just(VPC),
    }


def requests(operation: str, names: Mapping[str, str], *, complete: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Requests that the model allows, most of them about resources that exist."""
    shape = generated.MODEL.input_of(operation)
    aimed = aims(names)

    def member(name: str, of: Shape) -> st.SearchStrategy[Any]:
        free = generated.values(of, complete)
        if complete:
            # Whole structures, so that there is everything to be broken.
            return free if of.type in ("structure", "list") else aimed.get(name, free)
        # Twice: what is aimed is what gets furthest.
        return st.one_of(aimed[name], aimed[name], free) if name in aimed else free

    members = {name: member(name, generated.MODEL.shape(each.shape)) for name, each in shape.members.items()}
    if complete:
        return st.fixed_dictionaries(members)
    required = {name: members.pop(name) for name in shape.required}
    return st.fixed_dictionaries(required, optional=members)
