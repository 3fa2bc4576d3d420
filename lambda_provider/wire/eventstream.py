"""Frames of `application/vnd.amazon.eventstream`.

A frame is a prelude (total length, header length, CRC of both), headers, payload, and a CRC of all that precedes it; numbers
are big-endian (https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from zlib import crc32

from lambda_provider.api.spec import Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING_HEADER = 7
_PRELUDE = struct.Struct("!II")
_CRC = struct.Struct("!I")

EventEncoder = Callable[[Mapping[str, Any]], bytes]


def encode_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers with string values, as they stand in a frame."""
    encoded = bytearray()
    for name, value in headers:
        name_bytes, value_bytes = name.encode("utf-8"), value.encode("utf-8")
        encoded += struct.pack("!B", len(name_bytes)) + name_bytes
        encoded += struct.pack("!BH", _STRING_HEADER, len(value_bytes)) + value_bytes
    return bytes(encoded)


def encode_frame(headers: bytes, payload: bytes) -> bytes:
    """One frame of encoded headers and a payload."""
    prelude = _PRELUDE.pack(len(headers) + len(payload) + 16, len(headers))
    message = b"".join((prelude, _CRC.pack(crc32(prelude)), headers, payload))
    return message + _CRC.pack(crc32(message))


def error_frame(code: str, message: str) -> bytes:
    """The frame that ends a stream after its status has been sent."""
    # A header's value has a two-byte length.
    text = message.encode("utf-8")[:32_000].decode("utf-8", "ignore")
    headers = ((":message-type", "error"), (":error-code", code), (":error-message", text))
    return encode_frame(encode_headers(headers), b"")


def event_encoder(
    stream: Shape, shape_of: Callable[[str], Shape], writer_of: Callable[[str], Callable[[Any], Any] | None]
) -> EventEncoder:
    """An encoder of the events of a stream: `{"PayloadChunk": {"Payload": b"..."}}` -> a frame."""
    encoders: dict[str, tuple[bytes, Callable[[Any], bytes]]] = {}
    for member in stream.members.values():
        shape = shape_of(member.shape)
        payload = next((m.name for m in shape.members.values() if m.event_payload), None)
        content_type = "application/json" if payload is None else "application/octet-stream"
        headers = ((":event-type", member.name), (":content-type", content_type), (":message-type", "event"))
        to_bytes = _json_payload(writer_of(shape.name)) if payload is None else _blob_payload(payload)
        encoders[member.name] = encode_headers(headers), to_bytes

    def encode(event: Mapping[str, Any]) -> bytes:
        ((name, value),) = event.items()
        headers, to_bytes = encoders[name]
        return encode_frame(headers, to_bytes(value))

    return encode


def _blob_payload(member: str) -> Callable[[Any], bytes]:
    return lambda event: bytes(event.get(member, b""))


def _json_payload(write: Callable[[Any], Any] | None) -> Callable[[Any], bytes]:
    def to_bytes(event: Any) -> bytes:
        return json.dumps(write(event) if write else event, separators=(",", ":")).encode("ascii")

    return to_bytes
