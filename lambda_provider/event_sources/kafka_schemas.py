"""Records whose form a schema registry knows: validated, and as JSON or without the registry's mark.

https://docs.aws.amazon.com/lambda/latest/dg/services-consume-kafka-events.html. A mark is what serialisers put before the
content: Confluent's is a zero and the id in four bytes, Glue's is a three, the compression and a UUID. A record tells the schema
in `keySchemaMetadata` and `valueSchemaMetadata`, as Powertools for AWS Lambda read it. What does not fit its schema is given up.
"""

from __future__ import annotations

import base64
import io
import json
import ssl
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lambda_provider.event_sources.credentials import Credentials
from lambda_provider.event_sources.kafka_cluster import TokenClient
from lambda_provider.event_sources.kafka_records import Record
from lambda_provider.host import ServiceUnavailable

INVALID = "SchemaValidationFailed"
"""The condition of records that are given up for their schema. Ours: AWS's pages do not tell theirs."""

_TIMEOUT_S = 10.0
_GLUE_HEADER = 18
_ZLIB = 5


class InvalidRecord(Exception):
    """The content is not what its schema says, or has no mark of the registry."""


class RegistryProblem(Exception):
    """The registry does not answer, or does not let us in; it may later."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema of a registry. `data_format` is AVRO, JSON or PROTOBUF; `to_json` raises InvalidRecord."""

    id: str
    data_format: str
    to_json: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Door:
    """How a registry of Confluent is entered; certificates and keys are PEM."""

    credentials: Credentials | None = None
    tokens: TokenClient | None = None
    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    key_password: str | None = None

    def context(self) -> ssl.SSLContext:
        """For connections by TLS. Raises ssl.SSLError for certificates that are none."""
        context = ssl.create_default_context(cadata=self.authority)
        if self.certificate and self.key:
            # OpenSSL takes these from files only.
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "client.pem")
                path.touch(0o600)
                path.write_text(f"{self.certificate}\n{self.key}")
                context.load_cert_chain(path, password=self.key_password)
        return context


class Registry:
    """What both registries have: reading marks, and remembering schemas, which never change. Methods block."""

    def __init__(self) -> None:
        self._schemas: dict[str, Schema] = {}

    def split(self, data: bytes) -> tuple[str, bytes]:
        """The id in the mark, and the content. Raises InvalidRecord."""
        raise NotImplementedError

    def fetch(self, id_: str) -> Schema:
        """Raises RegistryProblem, and InvalidRecord for an id that the registry does not know."""
        raise NotImplementedError

    def read(self, data: bytes) -> tuple[Schema, bytes]:
        """The schema of some data, and its content without the mark. Raises both."""
        id_, content = self.split(data)
        if (schema := self._schemas.get(id_)) is None:
            schema = self._schemas[id_] = self.fetch(id_)
        return schema, content


class ConfluentRegistry(Registry):
    """A registry with Confluent's REST interface."""

    def __init__(self, url: str, door: Door) -> None:
        super().__init__()
        self._url = url.rstrip("/")
        self._door = door
        self._context = door.context() if url.startswith("https:") else None

    def split(self, data: bytes) -> tuple[str, bytes]:
        if len(data) < 5 or data[0] != 0:
            raise InvalidRecord("there is no schema id")
        return str(int.from_bytes(data[1:5], "big")), data[5:]

    def fetch(self, id_: str) -> Schema:
        found = self._get(f"/schemas/ids/{id_}")
        data_format = found.get("schemaType", "AVRO")
        if data_format == "PROTOBUF":
            # Compiled, so that nobody has to read its language.
            found = {**found, **self._get(f"/schemas/ids/{id_}?format=serialized")}
        query = "?format=serialized" if data_format == "PROTOBUF" else ""
        referred = [self._referred(each, query) for each in found.get("references") or ()]
        return Schema(id_, data_format, _reader(data_format, found["schema"], referred))

    def _referred(self, reference: Mapping[str, Any], query: str) -> str:
        subject = urllib.parse.quote(reference["subject"], safe="")
        return str(self._get(f"/subjects/{subject}/versions/{reference['version']}{query}")["schema"])

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(self._url + path)
        if (credentials := self._door.credentials) is not None:
            pair = f"{credentials.username}:{credentials.password}"
            request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
        try:
            if self._door.tokens is not None:
                request.add_header("Authorization", f"Bearer {self._door.tokens.token()[0]}")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._context) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                raise InvalidRecord(f"the registry does not know {path}") from error
            raise RegistryProblem(f"{self._url}{path}: {error}") from error
        except (OSError, ValueError) as error:
            raise RegistryProblem(f"{self._url}{path}: {error}") from error


class GlueRegistry(Registry):
    """A registry of AWS Glue, asked through a client of the host."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__()
        self._connect = connect

    def split(self, data: bytes) -> tuple[str, bytes]:
        if len(data) < _GLUE_HEADER or data[0] != 3 or data[1] not in (0, _ZLIB):
            raise InvalidRecord("there is no schema version id")
        content = data[_GLUE_HEADER:]
        try:
            return str(uuid.UUID(bytes=data[2:_GLUE_HEADER])), zlib.decompress(content) if data[1] else content
        except zlib.error as error:
            raise InvalidRecord(f"the content is not compressed as it says: {error}") from error

    def fetch(self, id_: str) -> Schema:
        try:
            found = self._connect().get_schema_version(SchemaVersionId=id_)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "EntityNotFoundException":
                raise InvalidRecord(f"Glue does not know the schema version {id_}") from error
            raise RegistryProblem(str(error)) from error
        except (BotoCoreError, ServiceUnavailable, OSError) as error:
            raise RegistryProblem(str(error)) from error
        data_format = found["DataFormat"]
        return Schema(id_, data_format, _reader(data_format, found["SchemaDefinition"], []))


@dataclass(frozen=True, slots=True)
class Schemas:
    """What a mapping's SchemaRegistryConfig asks for. `attributes` are `key`, `value` or both."""

    registry: Registry
    as_json: bool
    attributes: Sequence[str]

    def decode(self, records: Sequence[Record]) -> list[Record | InvalidRecord]:
        """Each record as the function gets it, or why it gets it not. Blocks. Raises RegistryProblem."""
        return [self._decoded(record) for record in records]

    def _decoded(self, record: Record) -> Record | InvalidRecord:
        changes: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        try:
            for attribute in self.attributes:
                data: bytes | None = getattr(record, attribute)
                if data is None:
                    continue
                schema, content = self.registry.read(data)
                document = schema.to_json(content)
                changes[attribute] = _json(document) if self.as_json else content
                metadata[f"{attribute}SchemaMetadata"] = {"dataFormat": schema.data_format, "schemaId": schema.id}
        except InvalidRecord as error:
            return error
        return record.with_content(**changes, metadata=metadata)


def _json(document: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    """What Avro has and JSON has not: bytes are texts of their code points, as Avro's own JSON writes them."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


# Formats


def _reader(data_format: str, schema: str, referred: Sequence[str]) -> Callable[[bytes], Any]:
    try:
        return _READERS[data_format](schema, referred)
    except KeyError:
        raise InvalidRecord(f"records of the format {data_format} are not read") from None
    except ImportError as error:
        raise RegistryProblem(f"pip install 'lambda-provider[kafka]' ({error})") from error


def _avro(schema: str, referred: Sequence[str]) -> Callable[[bytes], Any]:
    import fastavro

    named: dict[str, Any] = {}
    try:
        for each in referred:
            fastavro.parse_schema(json.loads(each), named_schemas=named)
        parsed = fastavro.parse_schema(json.loads(schema), named_schemas=named)
    except (ValueError, fastavro.schema.SchemaParseException) as error:
        raise InvalidRecord(f"the Avro schema cannot be read: {error}") from error

    def read(content: bytes) -> Any:
        stream = io.BytesIO(content)
        try:
            document = fastavro.schemaless_reader(stream, parsed, None)
        except (EOFError, ValueError, IndexError, OverflowError, StopIteration) as error:
            raise InvalidRecord(f"not as the Avro schema says: {error!r}") from error
        if stream.read(1):
            raise InvalidRecord("there is more than the Avro schema says")
        return document

    return read


def _json_schema(schema: str, referred: Sequence[str]) -> Callable[[bytes], Any]:
    import jsonschema
    import jsonschema.validators

    document = json.loads(schema)
    validator = jsonschema.validators.validator_for(document)(document)

    def read(content: bytes) -> Any:
        try:
            found = json.loads(content)
            validator.validate(found)
        except (ValueError, jsonschema.ValidationError) as error:
            raise InvalidRecord(f"not as the JSON schema says: {error}") from error
        return found

    return read


def _protobuf(schema: str, referred: Sequence[str]) -> Callable[[bytes], Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message, message_factory

    pool = descriptor_pool.DescriptorPool()
    try:
        files = [descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(each)) for each in (*referred, schema)]
    except (ValueError, message.DecodeError):
        raise InvalidRecord("the registry gives the Protobuf schema in its language only, not compiled") from None
    for file in files:
        pool.Add(file)
    root = pool.FindFileByName(files[-1].name)

    def read(content: bytes) -> Any:
        try:
            path, body = _message_path(content)
            found = list(root.message_types_by_name.values())[path[0]]
            for index in path[1:]:
                found = found.nested_types[index]
            value = message_factory.GetMessageClass(found).FromString(body)
        except (IndexError, message.DecodeError) as error:
            raise InvalidRecord(f"not as the Protobuf schema says: {error}") from error
        return json_format.MessageToDict(value)

    return read


def _message_path(content: bytes) -> tuple[list[int], bytes]:
    """Which message of the file it is, as Confluent writes it before the content: zigzag numbers, a single 0 for the first."""
    position = 0

    def number() -> int:
        nonlocal position
        result = shift = 0
        while True:
            byte = content[position]
            position += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (result >> 1) ^ -(result & 1)

    length = number()
    return ([number() for _ in range(length)] or [0]), content[position:]


_READERS: Mapping[str, Callable[[str, Sequence[str]], Callable[[bytes], Any]]] = {
    "AVRO": _avro,
    "JSON": _json_schema,
    "PROTOBUF": _protobuf,
}
