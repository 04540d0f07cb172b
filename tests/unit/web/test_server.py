"""The server's socket side: whole answers in one write, work that ends with its client, errors that cut."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import Message

from fileroom.web.answers import Answer, Piece, compressed
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.server import _GatheringTransport


class Sink(asyncio.Transport):
    """Remembers what is written, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.calls.append(bytes(data))

    def writelines(self, list_of_data) -> None:  # type: ignore[no-untyped-def]
        self.calls.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True


async def test_what_is_written_in_one_turn_goes_out_in_one_call() -> None:
    sink = Sink()
    transport = _GatheringTransport(sink)
    transport.write(b"head")
    transport.writelines([b"body", b"tail"])
    assert sink.calls == []
    await asyncio.sleep(0)
    assert sink.calls == [b"headbodytail"]
    transport.write(b"last")
    transport.close()
    assert (sink.calls[1:], sink.closed) == ([b"last"], True)


async def test_a_long_stream_does_not_gather() -> None:
    sink = Sink()
    transport = _GatheringTransport(sink)
    for _ in range(4):
        transport.write(bytes(600_000))
    assert len(sink.calls) == 2


async def serve(handler: Handler, receive_messages: asyncio.Queue[Message]) -> tuple[list[Message], asyncio.Task[None]]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b""}
    app = Router([Route("/x", Endpoint("/x", {"GET": handler}))])
    return sent, asyncio.create_task(app(scope, receive_messages.get, send))  # type: ignore[arg-type]


async def test_work_ends_when_the_client_goes() -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[Piece]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def handle(_request: Request) -> Answer:
        return Answer(200, {}, pieces())

    messages: asyncio.Queue[Message] = asyncio.Queue()
    sent, task = await serve(handle, messages)
    await messages.put({"type": "http.request", "body": b"", "more_body": False})
    await messages.put({"type": "http.disconnect"})
    async with asyncio.timeout(5):
        await task
        await ended.wait()
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_cancelled_server_stays_cancelled() -> None:
    async def handle(_request: Request) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    _, task = await serve(handle, asyncio.Queue())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_amid_the_body_leaves_it_incomplete() -> None:
    async def pieces() -> AsyncIterator[Piece]:
        yield b"half"
        raise OSError("the disk is gone")

    async def handle(_request: Request) -> Answer:
        return Answer(200, {}, pieces(), 8)

    sent, task = await serve(handle, asyncio.Queue())
    await task
    assert sent[-1] == {"type": "http.response.body", "body": b"half", "more_body": True}


async def test_a_mistake_of_ours_shows_nothing_of_the_inside() -> None:
    async def handle(_request: Request) -> Answer:
        raise RuntimeError("secret name DOE^JANE")

    sent, task = await serve(handle, asyncio.Queue())
    await task
    assert sent[0]["status"] == 500
    assert b"DOE" not in sent[1]["body"]


async def streamed(*pieces: bytes) -> AsyncIterator[Piece]:
    for piece in pieces:
        yield piece


async def test_compressed_streams_begin_at_once_and_come_back() -> None:
    text = [b"x" * 1000, bytes(range(256)) * 500]
    answer = compressed(Answer(200, {"vary": "Accept", "etag": '"1"'}, streamed(*text)), "br, gzip")
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["etag"] == 'W/"1"'
    assert isinstance(answer.body, AsyncIterator)
    pieces = [bytes(piece) async for piece in answer.body]
    assert len(pieces[0]) > 10
    assert gzip.decompress(b"".join(pieces)) == b"".join(text)
