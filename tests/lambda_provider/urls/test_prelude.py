from __future__ import annotations

import pytest

from lambda_provider.urls import prelude
from lambda_provider.urls.responses import MalformedResponse

WHOLE = b'{"statusCode":201}' + bytes(8) + b"body"


async def pieces(*chunks: bytes):
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize("at", range(1, len(WHOLE)))
async def test_metadata_is_found_wherever_the_chunks_are_cut(at):
    stream = pieces(WHOLE[:at], WHOLE[at:])
    metadata, first = await prelude.read(stream)
    assert metadata == {"statusCode": 201}
    assert first + b"".join([chunk async for chunk in stream]) == b"body"


async def test_the_body_is_not_waited_for():
    async def never_ends():
        yield b'{"statusCode":201}' + bytes(8)
        raise AssertionError("read on")

    assert await prelude.read(never_ends()) == ({"statusCode": 201}, b"")


async def test_nul_bytes_of_the_body_are_the_bodys():
    stream = pieces(b"{}" + bytes(8) + bytes(3))
    assert await prelude.read(stream) == ({}, bytes(3))


@pytest.mark.parametrize("text", [b"", b"{}", b"{}" + bytes(7), b"[]" + bytes(8), b"{" + bytes(8)])
async def test_metadata_that_is_none_is_refused(text):
    with pytest.raises(MalformedResponse):
        await prelude.read(pieces(text))
    with pytest.raises(MalformedResponse):
        prelude.split(text)


async def test_metadata_without_an_end_is_not_kept_for_ever():
    async def endless():
        while True:
            yield b"x" * 100_000

    with pytest.raises(MalformedResponse):
        await prelude.read(endless())


def test_a_whole_response_is_split():
    assert prelude.split(WHOLE) == ({"statusCode": 201}, b"body")
