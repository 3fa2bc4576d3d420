"""Records whose form a registry knows: Avro, JSON and Protobuf, of Confluent's registry and of Glue."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import uuid
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
from botocore.exceptions import EndpointConnectionError
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lambda_provider.event_sources.credentials import Credentials
from lambda_provider.event_sources.kafka_decoding import schemas_of
from lambda_provider.event_sources.kafka_records import Record, record_text
from lambda_provider.event_sources.kafka_schemas import (
    ConfluentRegistry,
    Door,
    GlueRegistry,
    InvalidRecord,
    RegistryProblem,
    Schemas,
)

from ..fakes import client_error
from .kafka_fakes import Function, KafkaWorld, kafka_mapping, values_of
from .schema_registry import SchemaRegistry, marked
from .test_kafka import PARTITION, QUEUE
from .test_kafka_cluster import SECRET, Services

AVRO = {
    "type": "record",
    "name": "Order",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "note", "type": ["null", "string"]},
        {"name": "raw", "type": "bytes"},
    ],
}
VERSION = "6f1e0b4c-aaaa-4bbb-8ccc-1234567890ab"


def avro(document: dict[str, Any], schema: Any = AVRO) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), document)
    return stream.getvalue()


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running_:
        running_.schemas[7] = {"schema": json.dumps(AVRO)}
        yield running_


def record(value: bytes | None, key: bytes | None = None) -> Record:
    return Record("t", 0, 0, 0, key=key, value=value)


def decoded(schemas: Schemas, value: bytes | None, key: bytes | None = None) -> Record | InvalidRecord:
    [found] = schemas.decode([record(value, key)])
    return found


def test_avro_becomes_json_and_the_record_tells_its_schema(registry: SchemaRegistry) -> None:
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), True, ["value"])
    value = marked(7, avro({"id": 5, "note": "ö", "raw": b"\xff"}))

    found = decoded(schemas, value, b"plain")

    assert isinstance(found, Record)
    members = json.loads(record_text(found))
    assert json.loads(base64.b64decode(members["value"])) == {"id": 5, "note": "ö", "raw": "ÿ"}
    assert base64.b64decode(members["key"]) == b"plain"
    assert members["valueSchemaMetadata"] == {"dataFormat": "AVRO", "schemaId": "7"}
    assert "keySchemaMetadata" not in members
    assert registry.asked == ["/schemas/ids/7"]
    decoded(schemas, value)
    assert registry.asked == ["/schemas/ids/7"], "schemas never change"


def test_as_source_only_the_mark_goes(registry: SchemaRegistry) -> None:
    content = avro({"id": 5, "note": None, "raw": b""})
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), False, ["key", "value"])
    found = decoded(schemas, marked(7, content), marked(7, content))
    assert isinstance(found, Record)
    assert found.value == found.key == content
    assert set(found.metadata) == {"keySchemaMetadata", "valueSchemaMetadata"}
    assert decoded(schemas, None) == record(None)


@pytest.mark.parametrize(
    "value",
    [b"", b"{}", b"\1\0\0\0\7ab", marked(7, b"\2"), marked(7, avro({"id": 1, "note": None, "raw": b""}) + b"x")],
)
def test_what_does_not_fit_is_told(registry: SchemaRegistry, value: bytes) -> None:
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), True, ["value"])
    assert isinstance(decoded(schemas, value), InvalidRecord)
    assert isinstance(decoded(schemas, marked(404, b"")), InvalidRecord)


def test_references_of_avro_are_fetched(registry: SchemaRegistry) -> None:
    outer = {"type": "record", "name": "Box", "fields": [{"name": "order", "type": "Order"}]}
    registry.schemas[8] = {
        "schema": json.dumps(outer),
        "references": [{"name": "Order", "subject": "a/b", "version": 2}],
    }
    registry.answers["/subjects/a%2Fb/versions/2"] = {"schema": json.dumps(AVRO)}
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), True, ["value"])
    whole = {**outer, "fields": [{"name": "order", "type": AVRO}]}
    document = {"order": {"id": 1, "note": None, "raw": b""}}

    found = decoded(schemas, marked(8, avro(document, whole)))

    assert isinstance(found, Record)
    assert json.loads(found.value or b"") == {"order": {"id": 1, "note": None, "raw": ""}}


def test_json_is_validated(registry: SchemaRegistry) -> None:
    registry.schemas[9] = {"schemaType": "JSON", "schema": '{"type":"object","required":["id"]}'}
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), True, ["value"])
    found = decoded(schemas, marked(9, b'{"id": 1}'))
    assert isinstance(found, Record)
    assert found.value == b'{"id":1}'
    assert found.metadata["valueSchemaMetadata"]["dataFormat"] == "JSON"
    assert isinstance(decoded(schemas, marked(9, b"{}")), InvalidRecord)
    assert isinstance(decoded(schemas, marked(9, b"nothing")), InvalidRecord)


def test_protobuf_is_read_by_its_compiled_schema(registry: SchemaRegistry) -> None:
    file = descriptor_pb2.FileDescriptorProto(name="orders.proto", package="shop", syntax="proto3")
    file.message_type.add(name="Other")
    order = file.message_type.add(name="Order")
    order.field.add(name="id", number=1, type="TYPE_INT32", label="LABEL_OPTIONAL")
    registry.answers["/schemas/ids/3"] = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; …'}
    serialized = base64.b64encode(file.SerializeToString()).decode()
    registry.answers["/schemas/ids/3?format=serialized"] = {"schemaType": "PROTOBUF", "schema": serialized}
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    content = message_factory.GetMessageClass(pool.FindMessageTypeByName("shop.Order"))(id=42).SerializeToString()
    schemas = Schemas(ConfluentRegistry(registry.url, Door()), True, ["value"])

    found = decoded(schemas, marked(3, b"\x02\x02" + content))

    assert isinstance(found, Record)
    assert json.loads(found.value or b"") == {"id": 42}
    assert found.metadata["valueSchemaMetadata"] == {"dataFormat": "PROTOBUF", "schemaId": "3"}
    first = decoded(schemas, marked(3, b"\x00"))
    assert isinstance(first, Record)
    assert first.value == b"{}"
    assert isinstance(decoded(schemas, marked(3, b"\x02\x06")), InvalidRecord)
    assert isinstance(decoded(schemas, marked(3, b"")), InvalidRecord)


@pytest.mark.parametrize("compressed", [False, True])
def test_glue_marks_with_a_version_of_a_schema(compressed: bool) -> None:
    def get_schema_version(SchemaVersionId: str) -> dict[str, Any]:
        if SchemaVersionId != VERSION:
            raise client_error("EntityNotFoundException")
        return {"DataFormat": "AVRO", "SchemaDefinition": json.dumps(AVRO)}

    schemas = Schemas(GlueRegistry(lambda: SimpleNamespace(get_schema_version=get_schema_version)), True, ["value"])
    content = avro({"id": 5, "note": None, "raw": b""})
    mark = bytes([3, 5 if compressed else 0])
    body = zlib.compress(content) if compressed else content

    found = decoded(schemas, mark + uuid.UUID(VERSION).bytes + body)

    assert isinstance(found, Record)
    assert json.loads(found.value or b"")["id"] == 5
    assert found.metadata["valueSchemaMetadata"] == {"dataFormat": "AVRO", "schemaId": VERSION}
    assert isinstance(decoded(schemas, mark + uuid.uuid4().bytes + body), InvalidRecord)
    assert isinstance(decoded(schemas, b"\3\7" + uuid.UUID(VERSION).bytes), InvalidRecord)


def test_a_registry_that_does_not_answer_is_a_problem_that_may_pass(registry: SchemaRegistry) -> None:
    registry.failing = 1
    schemas = Schemas(ConfluentRegistry(registry.url, Door(Credentials("alice", "pw"))), True, ["value"])
    value = marked(7, avro({"id": 5, "note": None, "raw": b""}))
    with pytest.raises(RegistryProblem, match="503"):
        decoded(schemas, value)
    assert isinstance(decoded(schemas, value), Record)
    assert registry.authorizations == {"Basic YWxpY2U6cHc="}

    def unreachable(SchemaVersionId: str) -> None:
        raise EndpointConnectionError(endpoint_url="http://glue")

    glue = Schemas(GlueRegistry(lambda: SimpleNamespace(get_schema_version=unreachable)), True, ["value"])
    with pytest.raises(RegistryProblem):
        decoded(glue, b"\3\0" + uuid.uuid4().bytes)


async def test_a_mapping_gets_what_the_registry_made_of_its_records(registry: SchemaRegistry) -> None:
    registry.failing = 1
    function = Function()
    world = KafkaWorld(function)
    config = {
        "SchemaRegistryURI": registry.url,
        "EventRecordFormat": "JSON",
        "AccessConfigs": [{"Type": "BASIC_AUTH", "URI": f"{SECRET}s"}],
        "SchemaValidationConfigs": [{"Attribute": "VALUE"}],
    }
    settings = kafka_mapping().settings.self_managed_kafka
    assert settings is not None
    chosen = kafka_mapping(
        batching_window_s=0,
        on_failure=QUEUE,
        filters=('{"value":{"id":[{"numeric":["<",3]}]}}',),
        self_managed_kafka=type(settings)(consumer_group_id="g", schema_registry=config),
    )
    source = world.source(chosen, host=Services({"s": {"username": "alice", "password": "pw"}}, None))
    task = asyncio.create_task(source.run())
    await world.rest()
    for number in range(5):
        world.topic.send(marked(7, avro({"id": number, "note": None, "raw": b""})))
    world.topic.send(b"no mark")
    await world.until(lambda: world.topic.committed == {PARTITION: 6})
    source.stop()
    await task

    assert [json.loads(value)["id"] for event in function.events for value in values_of(event)] == [0, 1, 2]
    assert registry.authorizations == {"Basic YWxpY2U6cHc="}
    [(_, document)] = world.parcels
    assert document["requestContext"]["condition"] == "SchemaValidationFailed"
    assert document["KafkaBatchInfo"]["recordsInfo"]["t-0"]["firstRecordOffset"] == "5"
    assert world.counts["SchemaRegistryErrorCount"] == 1


async def test_without_anything_to_validate_there_is_no_registry() -> None:
    source = KafkaWorld(Function()).source()
    assert await schemas_of(source, {}) is None
    assert await schemas_of(source, {"SchemaRegistryURI": "http://r"}) is None
    glue = {"SchemaRegistryURI": "arn:aws:glue:…", "SchemaValidationConfigs": [{"Attribute": "KEY"}]}
    found = await schemas_of(source, glue)
    assert found is not None
    assert isinstance(found.registry, GlueRegistry)
    assert not found.as_json
