"""JSON from a web service: what is taken, and what is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from fileroom.core.errors import ConfigurationError, PeerRefusedError, PeerTimeoutError
from fileroom.net.json_client import JsonAnswer, JsonRequest, ask_json

Said = list[bytes]


@asynccontextmanager
async def _service(*pieces: bytes, hangs: bool = False) -> AsyncIterator[tuple[str, Said]]:
    """Answers every request with these bytes; what it was asked."""
    said: Said = []
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        said.append(head + await reader.readexactly(length))
        writer.writelines(pieces)
        if hangs:
            await over.wait()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x", said
    finally:
        over.set()
        server.close()


def _answer(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


async def _ask(url: str, **more: object) -> JsonAnswer:
    return await ask_json(JsonRequest(url, **({"timeout_s": 5.0, "bytes_max": 1000} | more)))  # type: ignore[arg-type]


async def test_an_object_is_taken_with_its_status() -> None:
    async with _service(_answer(b'{"a": 1}', "400 Bad Request")) as (url, said):
        answer = await _ask(url, bearer="secret-1")
    assert (answer.status, answer.body) == (400, {"a": 1})
    assert b"authorization: bearer secret-1" in said[0].lower()
    assert "secret-1" not in repr(JsonRequest(url, 1, 1, bearer="secret-1", form={"code": "secret-1"}))


async def test_a_form_is_posted_with_login_and_password() -> None:
    async with _service(_answer(b"{}")) as (url, said):
        await _ask(url, form={"code": "a b&c"}, login=("me", "pass"))
    assert said[0].startswith(b"POST /x ")
    assert said[0].endswith(b"code=a+b%26c")
    assert b"authorization: basic bwu6cgfzcw==" in said[0].lower()


@pytest.mark.parametrize("body", [b"", b"no", b"[1]", b'"x"', b"{"])
async def test_what_is_no_object_is_an_empty_one(body: bytes) -> None:
    async with _service(_answer(body)) as (url, _):
        assert (await _ask(url)).body == {}


async def test_a_way_elsewhere_is_not_gone() -> None:
    async with _service(_answer(b"", "302 Found", "location: http://127.0.0.1:1/\r\n")) as (url, said):
        assert (await _ask(url)).status == 302
    assert len(said) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: _answer(b'{"a": "' + b"x" * 2000 + b'"}'),
        lambda: b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
        lambda: b"nonsense\r\n\r\n",
        lambda: b"",
        lambda: b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{",
    ],
)
async def test_what_is_too_long_or_broken_is_refused(make: Callable[[], bytes]) -> None:
    async with _service(make()) as (url, _):
        with pytest.raises(PeerRefusedError):
            await _ask(url)


async def test_who_never_answers_is_given_up() -> None:
    async with _service(hangs=True) as (url, _):
        with pytest.raises(PeerTimeoutError):
            await _ask(url, timeout_s=0.1)


async def test_who_answers_byte_by_byte_for_ever_is_given_up() -> None:
    over = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n")
        gone = asyncio.ensure_future(reader.read(1))
        while not (await asyncio.wait([gone], timeout=0.05))[0]:
            writer.write(b" ")
        writer.close()
        over.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        with pytest.raises(PeerTimeoutError):
            await _ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=0.3)
        await over.wait()
    finally:
        server.close()


async def test_nobody_there_a_wrong_address_or_certificate_is_told() -> None:
    for url in ("http://127.0.0.1:1/", "http://[x", "gopher://x", ""):
        with pytest.raises(PeerRefusedError):
            await _ask(url)
    with pytest.raises(ConfigurationError, match=r"/nowhere\.pem"):
        await _ask("https://127.0.0.1:1/", ca="/nowhere.pem")
