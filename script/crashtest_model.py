"""The clients of a crash test: what they change, and what they expect to find afterwards."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from crashtest_witness import FAILING

ROLE = "arn:aws:iam::000000000000:role/crash"
SECRET = "arn:aws:secretsmanager:us-east-1:000000000000:secret:crash-abcdef"
SINKS = ("sink-0", "sink-1", "sink-2")
FUNCTIONS = 5
"""So many functions a client has at most."""

HANDLER = """
import socket
def handler(event, context):
    with socket.create_connection(("127.0.0.1", {port})) as connection:
        connection.sendall(event["id"].encode())
        if connection.recv(10) == b"fail":
            raise RuntimeError("told to fail")
# variant {variant}
"""


class Wrong(Exception):
    """The gateway did not keep what it had acknowledged."""


class CutOff(Exception):
    """The gateway was killed after the head of an answer, before its body: botocore takes that for an empty answer."""


def connect(url: str) -> Any:
    return boto3.client(
        "lambda", endpoint_url=url, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
    )  # fmt: skip


def archive(port: int, variant: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(zipfile.ZipInfo("index.py"), HANDLER.format(port=port, variant=variant))
    return buffer.getvalue()


def deploy_sinks(client: Any, port: int) -> None:
    """The functions that get the events; nobody changes them."""
    for name in SINKS:
        client.create_function(FunctionName=name, **creation(archive(port, 0)))
        client.get_waiter("function_active_v2").wait(FunctionName=name)


def creation(code: bytes) -> dict[str, Any]:
    return {"Runtime": "python3.11", "Handler": "index.handler", "Role": ROLE, "Code": {"ZipFile": code}, "Timeout": 3}


@dataclass
class Change:
    """A request, what it does to the model, and what its answer must say."""

    operation: str
    request: dict[str, Any]
    apply: Callable[[dict[str, Any]], None]
    answers: dict[str, Any]


class Client:
    """One client with its functions, layers, mappings and signing configs, all named after it.

    `model` is what there must be; `after` what there may be instead, when a change was under way at a kill.
    """

    def __init__(self, number: int, chosen: random.Random, port: int) -> None:
        self.prefix = f"c{number}"
        self.chosen = chosen
        self.codes = [archive(port, variant) for variant in range(6)]
        self.hashes = [base64.b64encode(hashlib.sha256(code).digest()).decode() for code in self.codes]
        self.model: dict[str, Any] = {"functions": {}, "layers": {}, "mappings": {}, "configs": {}}
        self.after: dict[str, Any] | None = None
        self.ids: dict[str, str] = {}
        """UUIDs and ARNs that the gateway chose, by our name."""
        self.events: set[str] = set()
        self.acknowledged = self.uncertain = self.made = self.refused = self.looks = 0
        self._names = 0

    # Work

    def work(self, url: str) -> None:
        """Change one thing after the other until the gateway is gone."""
        client = connect(url)
        try:
            while True:
                if self.chosen.random() < 0.4:
                    event = f"{FAILING if self.chosen.random() < 0.1 else 'e'}-{self.prefix}-{self._new_name()}"
                    sink = self.chosen.choice(SINKS)
                    client.invoke(FunctionName=sink, InvocationType="Event", Payload=json.dumps({"id": event}))
                    self.events.add(event)
                else:
                    self._change(client, self._next_change())
        except (BotoCoreError, CutOff):
            return  # Killed. Whether the last request was carried out, the next look tells.

    def _change(self, client: Any, change: Change) -> None:
        after = copy.deepcopy(self.model)
        change.apply(after)
        self.after = after
        try:
            answer = getattr(client, change.operation)(**change.request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceConflictException":
                raise Wrong(f"{change.operation} {change.request}: {error}") from error
            self.after = None
            self.refused += 1
            return
        if change.answers and answer.keys() == {"ResponseMetadata"}:
            raise CutOff
        if wrong := {name: value for name, value in change.answers.items() if answer.get(name) != value}:
            raise Wrong(f"{change.operation} {change.request} answered {answer}, not {wrong}")
        self.model, self.after = after, None
        self.acknowledged += 1
        if "UUID" in answer:
            self.ids[answer["Topics"][0]] = answer["UUID"]
        if "CodeSigningConfig" in answer:
            self.ids[answer["CodeSigningConfig"]["Description"]] = answer["CodeSigningConfig"]["CodeSigningConfigArn"]

    # What is there

    def verify(self, url: str) -> None:
        """Raises Wrong unless everything is as it must be."""
        found = self._look(connect(url))
        self.looks += 1
        if self.after is not None:
            self.uncertain += 1
            if found == visible(self.after) and found != visible(self.model):
                self.made += 1
                self.model = self.after
            self.after = None
        expected = visible(self.model)
        if found != expected:
            raise Wrong(f"{self.prefix}: found {differences(found, expected)}")

    def _look(self, client: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"functions": {}, "layers": {}, "mappings": {}, "configs": {}}
        pages = client.get_paginator("list_functions").paginate(FunctionVersion="ALL")
        for each in (item for page in pages for item in page["Functions"]):
            name = each["FunctionName"]
            if not name.startswith(f"{self.prefix}-"):
                continue
            function = found["functions"].setdefault(name, {"versions": {}})
            content = [self.hashes.index(each["CodeSha256"]), each["Description"], each["Timeout"]]
            if each["Version"] == "$LATEST":
                function["latest"] = content
            elif each["Version"] in function["versions"]:
                raise Wrong(f"{name} has version {each['Version']} twice")
            else:
                function["versions"][each["Version"]] = content
        for name, function in found["functions"].items():
            function |= self._look_at(client, name)
        pages = client.get_paginator("list_layers").paginate()
        for name in (item["LayerName"] for page in pages for item in page["Layers"]):
            if name.startswith(f"{self.prefix}-"):
                pages = client.get_paginator("list_layer_versions").paginate(LayerName=name)
                versions = [item for page in pages for item in page["LayerVersions"]]
                found["layers"][name] = {str(each["Version"]): each["Description"] for each in versions}
        pages = client.get_paginator("list_event_source_mappings").paginate()
        for mapping in (item for page in pages for item in page["EventSourceMappings"]):
            (topic,) = mapping["Topics"]
            if topic.startswith(f"{self.prefix}-") and mapping["State"] != "Deleting":
                self._once(found["mappings"], topic, mapping["BatchSize"])
                self.ids[topic] = mapping["UUID"]
        pages = client.get_paginator("list_code_signing_configs").paginate()
        for config in (item for page in pages for item in page["CodeSigningConfigs"]):
            if config["Description"].startswith(f"{self.prefix}-"):
                policy = config["CodeSigningPolicies"]["UntrustedArtifactOnDeployment"]
                self._once(found["configs"], config["Description"], policy)
                self.ids[config["Description"]] = config["CodeSigningConfigArn"]
        return found

    def _once(self, found: dict[str, Any], name: str, value: Any) -> None:
        if name in found:
            raise Wrong(f"{name} is there twice")
        found[name] = value

    def _look_at(self, client: Any, name: str) -> dict[str, Any]:
        described = client.get_function(FunctionName=name)
        state = described["Configuration"]["State"]
        if state not in ("Active", "Pending"):
            raise Wrong(f"{name} is {state}: {described['Configuration'].get('StateReason')}")
        urls = client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]
        policy = existing(lambda: json.loads(client.get_policy(FunctionName=name)["Policy"]))
        retries = existing(lambda: client.get_function_event_invoke_config(FunctionName=name)["MaximumRetryAttempts"])
        return {
            "aliases": {
                each["Name"]: each["FunctionVersion"] for each in client.list_aliases(FunctionName=name)["Aliases"]
            },
            "tags": described.get("Tags", {}),
            "reserved": described.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
            "urls": [url["AuthType"] for url in urls],
            "permissions": sorted(statement["Sid"] for statement in policy["Statement"]) if policy else [],
            "retries": retries,
            "recursion": client.get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
        }

    # What is changed next

    def _new_name(self) -> str:
        self._names += 1
        return str(self._names)

    def _next_change(self) -> Change:
        functions = self.model["functions"]
        if not functions or (len(functions) < FUNCTIONS and self.chosen.random() < 0.15):
            return self._create_function()
        kinds = [self._of_function] * 8 + [self._of_layers, self._of_mappings, self._of_configs]
        return self.chosen.choice(kinds)()

    def _create_function(self) -> Change:
        # Names come back: a new function must not have anything of an older one.
        free = [
            name for name in (f"{self.prefix}-{n}" for n in range(FUNCTIONS)) if name not in self.model["functions"]
        ]
        name, code = self.chosen.choice(free), self.chosen.randrange(len(self.codes))

        def apply(model: dict[str, Any]) -> None:
            model["functions"][name] = {
                "latest": [code, "", 3], "versions": {}, "next": 1, "aliases": {}, "tags": {}, "reserved": None, "urls": [],
                "permissions": [], "retries": None, "recursion": "Terminate",
            }  # fmt: skip

        return Change(
            "create_function",
            {"FunctionName": name, **creation(self.codes[code])},
            apply,
            {"CodeSha256": self.hashes[code], "Version": "$LATEST"},
        )

    def _of_function(self) -> Change:
        name = self.chosen.choice(list(self.model["functions"]))
        function = self.model["functions"][name]
        possible = [
            self._update_code, self._update_code, self._update_configuration, self._update_configuration, self._publish,
            self._publish, self._tag, self._reserve, self._url, self._permission, self._retries, self._recursion,
        ]  # fmt: skip
        if function["versions"]:
            possible += [self._alias, self._alias, self._delete_version]
        if self.chosen.random() < 0.06:
            return Change("delete_function", {"FunctionName": name}, lambda model: model["functions"].pop(name), {})
        return self.chosen.choice(possible)(name, function)

    def _set(self, operation: str, request: dict[str, Any], name: str, path: str, value: Any, **answers: Any) -> Change:
        def apply(model: dict[str, Any]) -> None:
            model["functions"][name][path] = value

        return Change(operation, {"FunctionName": name, **request}, apply, answers)

    def _update_code(self, name: str, function: dict[str, Any]) -> Change:
        code = self.chosen.randrange(len(self.codes))
        latest = [code, *function["latest"][1:]]
        request = {"ZipFile": self.codes[code]}
        return self._set("update_function_code", request, name, "latest", latest, CodeSha256=self.hashes[code])

    def _update_configuration(self, name: str, function: dict[str, Any]) -> Change:
        description, timeout = f"d{self._new_name()}", self.chosen.randrange(1, 30)
        latest = [function["latest"][0], description, timeout]
        request = {"Description": description, "Timeout": timeout}
        return self._set("update_function_configuration", request, name, "latest", latest, Description=description)

    def _publish(self, name: str, function: dict[str, Any]) -> Change:
        versions = function["versions"]
        newest = max(versions, key=int, default=None)
        if newest is not None and versions[newest] == function["latest"]:
            number, following = newest, function["next"]
        else:
            number, following = str(function["next"]), function["next"] + 1

        def apply(model: dict[str, Any]) -> None:
            changed = model["functions"][name]
            changed["versions"][number] = list(changed["latest"])
            changed["next"] = following

        # A number that was given once is not given to another version.
        return Change("publish_version", {"FunctionName": name}, apply, {"Version": number})

    def _delete_version(self, name: str, function: dict[str, Any]) -> Change:
        unused = [number for number in function["versions"] if number not in function["aliases"].values()]
        if not unused:
            return self._publish(name, function)
        number = self.chosen.choice(unused)

        def apply(model: dict[str, Any]) -> None:
            del model["functions"][name]["versions"][number]

        return Change("delete_function", {"FunctionName": name, "Qualifier": number}, apply, {})

    def _alias(self, name: str, function: dict[str, Any]) -> Change:
        alias = self.chosen.choice(["a", "b", "c"])
        aliases = dict(function["aliases"])
        if alias in aliases and self.chosen.random() < 0.3:
            del aliases[alias]
            return self._set("delete_alias", {"Name": alias}, name, "aliases", aliases)
        operation = "update_alias" if alias in aliases else "create_alias"
        aliases[alias] = self.chosen.choice(list(function["versions"]))
        request = {"Name": alias, "FunctionVersion": aliases[alias]}
        return self._set(operation, request, name, "aliases", aliases, FunctionVersion=aliases[alias])

    def _tag(self, name: str, function: dict[str, Any]) -> Change:
        resource = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
        key, tags = self.chosen.choice("xyz"), dict(function["tags"])
        if tags.pop(key, None) is not None and self.chosen.random() < 0.5:
            change = self._set("untag_resource", {"TagKeys": [key]}, name, "tags", tags)
        else:
            tags[key] = self._new_name()
            change = self._set("tag_resource", {"Tags": {key: tags[key]}}, name, "tags", tags)
        del change.request["FunctionName"]
        change.request["Resource"] = resource
        return change

    def _reserve(self, name: str, function: dict[str, Any]) -> Change:
        if function["reserved"] is not None and self.chosen.random() < 0.5:
            return self._set("delete_function_concurrency", {}, name, "reserved", None)
        count = self.chosen.randrange(5)
        return self._set("put_function_concurrency", {"ReservedConcurrentExecutions": count}, name, "reserved", count)

    def _url(self, name: str, function: dict[str, Any]) -> Change:
        kind = self.chosen.choice(["NONE", "AWS_IAM"])
        if not function["urls"]:
            return self._set("create_function_url_config", {"AuthType": kind}, name, "urls", [kind])
        if self.chosen.random() < 0.5:
            return self._set("delete_function_url_config", {}, name, "urls", [])
        return self._set("update_function_url_config", {"AuthType": kind}, name, "urls", [kind])

    def _permission(self, name: str, function: dict[str, Any]) -> Change:
        statement = self.chosen.choice("pqr")
        held = set(function["permissions"])
        if statement in held:
            return self._set(
                "remove_permission", {"StatementId": statement}, name, "permissions", sorted(held - {statement})
            )
        request = {"StatementId": statement, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
        return self._set("add_permission", request, name, "permissions", sorted(held | {statement}))

    def _retries(self, name: str, function: dict[str, Any]) -> Change:
        if function["retries"] is not None and self.chosen.random() < 0.4:
            return self._set("delete_function_event_invoke_config", {}, name, "retries", None)
        count = self.chosen.randrange(3)
        return self._set("put_function_event_invoke_config", {"MaximumRetryAttempts": count}, name, "retries", count)

    def _recursion(self, name: str, function: dict[str, Any]) -> Change:
        mode = self.chosen.choice(["Allow", "Terminate"])
        return self._set("put_function_recursion_config", {"RecursiveLoop": mode}, name, "recursion", mode)

    def _of_layers(self) -> Change:
        name = f"{self.prefix}-l{self.chosen.randrange(2)}"
        layer = self.model["layers"].get(name, {"versions": {}, "next": 1})
        if layer["versions"] and self.chosen.random() < 0.4:
            number = self.chosen.choice(list(layer["versions"]))

            def remove(model: dict[str, Any]) -> None:
                del model["layers"][name]["versions"][number]

            return Change("delete_layer_version", {"LayerName": name, "VersionNumber": int(number)}, remove, {})
        description, code = f"d{self._new_name()}", self.chosen.choice(self.codes)

        def publish(model: dict[str, Any]) -> None:
            changed = model["layers"].setdefault(name, {"versions": {}, "next": 1})
            changed["versions"][str(changed["next"])] = description
            changed["next"] += 1

        request = {"LayerName": name, "Description": description, "Content": {"ZipFile": code}}
        return Change("publish_layer_version", request, publish, {"Version": layer["next"]})

    def _of_mappings(self) -> Change:
        mappings = self.model["mappings"]
        known = [topic for topic in mappings if topic in self.ids]
        size = self.chosen.randrange(1, 100)
        if len(mappings) < 3:
            topic = f"{self.prefix}-t{self._new_name()}"

            def create(model: dict[str, Any]) -> None:
                model["mappings"][topic] = size

            request = {
                "FunctionName": SINKS[0], "Topics": [topic], "BatchSize": size, "Enabled": False,
                "StartingPosition": "LATEST", "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["k:1"]}},
                "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": SECRET}],
            }  # fmt: skip
            return Change("create_event_source_mapping", request, create, {"BatchSize": size})
        topic = self.chosen.choice(known)
        if self.chosen.random() < 0.4:
            return Change(
                "delete_event_source_mapping",
                {"UUID": self.ids[topic]},
                lambda model: model["mappings"].pop(topic),
                {"State": "Deleting"},
            )

        def update(model: dict[str, Any]) -> None:
            model["mappings"][topic] = size

        request = {"UUID": self.ids[topic], "BatchSize": size}
        return Change("update_event_source_mapping", request, update, {"BatchSize": size})

    def _of_configs(self) -> Change:
        configs = self.model["configs"]
        policy = self.chosen.choice(["Warn", "Enforce"])
        policies = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}}
        if len(configs) < 2:
            description = f"{self.prefix}-s{self._new_name()}"
            profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/1234567890"
            request = {
                "Description": description,
                "AllowedPublishers": {"SigningProfileVersionArns": [profile]},
                **policies,
            }

            def create(model: dict[str, Any]) -> None:
                model["configs"][description] = policy

            return Change("create_code_signing_config", request, create, {})
        description = self.chosen.choice(list(configs))
        request = {"CodeSigningConfigArn": self.ids[description]}
        if self.chosen.random() < 0.5:
            return Change("delete_code_signing_config", request, lambda model: model["configs"].pop(description), {})

        def update(model: dict[str, Any]) -> None:
            model["configs"][description] = policy

        return Change("update_code_signing_config", {**request, **policies}, update, {})


def existing(read: Callable[[], Any]) -> Any:
    """What is there, or None."""
    try:
        return read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None


def visible(model: dict[str, Any]) -> dict[str, Any]:
    """A model as it can be seen: without the numbers to come, and without layers that have no version."""
    shown = copy.deepcopy(model)
    for function in shown["functions"].values():
        del function["next"]
    shown["layers"] = {name: layer["versions"] for name, layer in shown["layers"].items() if layer["versions"]}
    return shown


def differences(found: Any, expected: Any, path: str = "") -> str:
    """Where two models differ, in words."""
    if isinstance(found, dict) and isinstance(expected, dict):
        parts = [
            differences(found.get(name), expected.get(name), f"{path}.{name}")
            for name in {**found, **expected}
            if found.get(name) != expected.get(name)
        ]
        return "; ".join(parts)
    return f"{path}: {found!r} instead of {expected!r}"
