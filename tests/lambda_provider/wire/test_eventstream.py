"""The frames against botocore's own decoder."""

from __future__ import annotations

import json

from botocore.eventstream import EventStreamBuffer

from lambda_provider.api import LambdaApi, ResourceNotFoundException
from lambda_provider.wire import HttpRequest, LambdaWire
from lambda_provider.wire.eventstream import encode_frame, encode_headers, error_frame


def decode(frames: bytes) -> list[tuple[dict[str, str], bytes]]:
    buffer = EventStreamBuffer()
    buffer.add_data(frames)
    return [(message.headers, message.payload) for message in buffer]


def stream(peer, events) -> list[tuple[dict[str, str], bytes]]:
    async def produce():
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    peer.answer = {"StatusCode": 200, "ExecutedVersion": "3", "EventStream": produce()}
    response = peer.send("POST", "/2021-11-15/functions/f/response-streaming-invocations", body=b"{}")
    assert response.status == 200
    assert ("Content-Type", "application/vnd.amazon.eventstream") in response.headers
    assert ("X-Amz-Executed-Version", "3") in response.headers
    return decode(response.body)


def test_frame_carries_headers_and_payload() -> None:
    assert decode(encode_frame(encode_headers([("a", "1"), (":b", "ä")]), b"\x00\xff")) == [
        ({"a": "1", ":b": "ä"}, b"\x00\xff")
    ]


def test_chunks_are_raw_and_the_end_is_json(peer) -> None:
    frames = stream(
        peer, [{"PayloadChunk": {"Payload": b"one"}}, {"InvokeComplete": {"ErrorCode": "E", "ErrorDetails": "why"}}]
    )
    (chunk_headers, chunk), (end_headers, end) = frames
    assert chunk_headers == {
        ":event-type": "PayloadChunk",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    assert chunk == b"one"
    assert end_headers == {
        ":event-type": "InvokeComplete",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert json.loads(end) == {"ErrorCode": "E", "ErrorDetails": "why"}


def test_error_in_the_middle_ends_the_stream_as_a_frame(peer) -> None:
    frames = stream(peer, [{"PayloadChunk": {"Payload": b"one"}}, ResourceNotFoundException("gone")])
    assert frames[-1] == (
        {":message-type": "error", ":error-code": "ResourceNotFoundException", ":error-message": "gone"},
        b"",
    )


def test_unexpected_error_in_the_middle_tells_nothing_of_the_inside(peer, caplog) -> None:
    frames = stream(peer, [RuntimeError("secret")])
    ((headers, payload),) = frames
    assert headers[":error-code"] == "ServiceException"
    assert "secret" not in headers[":error-message"] and payload == b""
    assert "secret" in caplog.text


async def test_client_that_goes_away_ends_the_events() -> None:
    ended = []

    class Provider(LambdaApi):
        async def invoke_with_response_stream(self, context, request):
            async def events():
                try:
                    while True:
                        yield {"PayloadChunk": {"Payload": b"more"}}
                finally:
                    ended.append(True)

            return {"StatusCode": 200, "EventStream": events()}

    wire = LambdaWire(Provider(), validate=lambda operation, request: None)
    response = await wire.handle(HttpRequest("POST", "/2021-11-15/functions/f/response-streaming-invocations"))
    await anext(response.body)
    await response.body.aclose()
    assert ended == [True]


def test_error_message_is_cut_to_what_a_header_holds() -> None:
    ((headers, _),) = decode(error_frame("Code", "ä" * 100_000))
    assert headers[":error-message"] == "ä" * 16_000
