"""What one HTTP connection may cost: long heads, silence, uploads and answers that stand still, too many connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvicorn
from uvicorn.server import ServerState

from fileroom.core import limits
from fileroom.web.connection import BoundedHttpProtocol

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"


class Clock:
    """Stands for the event loop: tells the time, keeps what is due, runs no task."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.Handle:
        self.due.append((self.now + delay, callback))
        return Handle(lambda: self.due.remove(entry) if (entry := self.find(callback)) else None)  # type: ignore[return-value]

    def find(self, callback: Callable[[], None]) -> tuple[float, Callable[[], None]] | None:
        return next((entry for entry in self.due if entry[1] == callback), None)

    def create_task(self, work: object, **_: object) -> asyncio.Future[None]:
        work.close()  # type: ignore[attr-defined]
        return asyncio.Future()

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [entry for entry in self.due if entry[0] <= end]:
            entry = min(due, key=lambda one: one[0])
            self.due.remove(entry)
            self.now = entry[0]
            entry[1]()
        self.now = end


class Handle:
    def __init__(self, cancel: Callable[[], object]) -> None:
        self.cancel = cancel


class Wire(asyncio.Transport):
    """The client's end: what it was sent, and how the connection ended."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.end = ""
        self.unsent_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = self.end or "aborted"

    def is_closing(self) -> bool:
        return bool(self.end)

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def pause_reading(self) -> None:
        pass


async def app(scope: object, receive: object, send: object) -> None:
    """Never called: no task runs."""


class Connection:
    """A connection to a server that lives only by the clock."""

    def __init__(self, clock: Clock, state: ServerState) -> None:
        self.wire = Wire()
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off")
        self.protocol = BoundedHttpProtocol(config, state, {}, _loop=clock)  # type: ignore[arg-type]
        self.protocol.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        self.protocol.data_received(data)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def connection(clock: Clock) -> Connection:
    return Connection(clock, ServerState())


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000])
async def test_a_head_without_an_end_is_refused(connection: Connection, start: bytes) -> None:
    connection.send(start)
    pieces = 0
    while not connection.wire.end:
        connection.send(b"a" * 1024)
        pieces += 1
    assert pieces <= limits.HTTP_HEAD_BYTES_MAX // 1024 + 1
    assert connection.wire.sent.startswith(b"HTTP/1.1 431 ")


async def test_heads_of_many_requests_do_not_add_up(connection: Connection) -> None:
    for _ in range(limits.HTTP_HEAD_BYTES_MAX // len(REQUEST) + 10):
        connection.send(REQUEST)
        connection.protocol.cycle.response_complete = True
    assert not connection.wire.end


async def test_a_client_that_says_nothing_is_let_go_without_a_word(connection: Connection, clock: Clock) -> None:
    clock.pass_time(limits.HTTP_HEAD_TIMEOUT_S)
    assert not connection.wire.end
    clock.pass_time(2 * limits.HTTP_CHECK_INTERVAL_S)
    assert (connection.wire.end, connection.wire.sent) == ("closed", b"")


async def test_a_head_in_drips_times_out(connection: Connection, clock: Clock) -> None:
    connection.send(b"GET / HTTP/1.1\r\n")
    for _ in range(40):
        clock.pass_time(1)
        connection.send(b"X: y\r\n")
    assert connection.wire.end == "closed"
    assert connection.wire.sent.startswith(b"HTTP/1.1 408 ")


async def test_an_upload_that_stands_still_is_cut(connection: Connection, clock: Clock) -> None:
    connection.send(UPLOAD)
    clock.pass_time(limits.HTTP_BODY_TIMEOUT_S)
    connection.send(b"x" * 50)
    clock.pass_time(limits.HTTP_BODY_TIMEOUT_S)
    assert not connection.wire.end
    clock.pass_time(2 * limits.HTTP_CHECK_INTERVAL_S)
    assert connection.wire.end == "aborted"


async def test_an_upload_may_wait_for_us(connection: Connection, clock: Clock) -> None:
    connection.send(UPLOAD)
    connection.protocol.flow.pause_reading()
    clock.pass_time(3 * limits.HTTP_BODY_TIMEOUT_S)
    assert not connection.wire.end


async def test_a_whole_upload_may_take_us_long(connection: Connection, clock: Clock) -> None:
    connection.send(UPLOAD + b"x" * 100)
    clock.pass_time(3 * limits.HTTP_BODY_TIMEOUT_S)
    assert not connection.wire.end


async def test_an_answer_that_nobody_takes_is_cut(connection: Connection, clock: Clock) -> None:
    connection.send(REQUEST)
    connection.wire.unsent_bytes = 1000
    clock.pass_time(limits.SEND_TIMEOUT_S + 2 * limits.HTTP_CHECK_INTERVAL_S)
    assert connection.wire.end == "aborted"


async def test_a_slow_reader_is_waited_for(connection: Connection, clock: Clock) -> None:
    connection.send(REQUEST)
    for unsent in range(1000, 900, -1):
        connection.wire.unsent_bytes = unsent
        clock.pass_time(limits.SEND_TIMEOUT_S / 2)
    assert not connection.wire.end


async def test_connections_past_the_limit_are_turned_away(clock: Clock) -> None:
    state = ServerState()
    kept = [Connection(clock, state) for _ in range(limits.HTTP_CONNECTIONS_MAX)]
    one_more = Connection(clock, state)
    assert one_more.wire.end == "closed"
    assert one_more.wire.sent.startswith(b"HTTP/1.1 503 ")
    one_more.protocol.connection_lost(None)
    kept[0].protocol.connection_lost(None)
    assert not Connection(clock, state).wire.end


async def test_nothing_is_watched_after_the_end(connection: Connection, clock: Clock) -> None:
    connection.protocol.connection_lost(None)
    assert clock.due == []
