"""The server on bad days: silent, slow, dying and lying peers, failing handlers, limits, shutdown, TLS (PS3.8 9.1)."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import replace

import pytest

from fileroom.core.errors import InvalidRequestError, PeerError, PeerRefusedError
from fileroom.core.limits import OPERATIONS_OUTSTANDING_MAX
from fileroom.dimse.command_set import CommandField, CommandSet, encode_command, respond
from fileroom.dimse.message import encode_message
from fileroom.net.association_handler import EndKind
from fileroom.net.association_server import AssociationServer
from fileroom.net.connection import Timeouts
from fileroom.ul.items import AbortReason, AbortSource, AsyncOperationsWindow, PresentationContextProposal
from fileroom.ul.pdu import (
    LOCAL_LIMIT_EXCEEDED,
    TEMPORARY_CONGESTION,
    Abort,
    AssociateAC,
    AssociateRQ,
    ReleaseRP,
    ReleaseRQ,
    decode,
    encode,
)
from unit.net.handlers import CT, EXPLICIT, IMPLICIT, VERIFICATION, RecordingHandler, RecordingSink
from unit.net.test_association_client import open_to

REQUEST = AssociateRQ(
    "THEM",
    "US",
    (
        PresentationContextProposal(1, VERIFICATION, (IMPLICIT,)),
        PresentationContextProposal(3, CT, (EXPLICIT,)),
        PresentationContextProposal(5, "1.2.840.10008.5.1.4.1.2.2.1", (IMPLICIT,)),
    ),
)
STORE = encode_command(
    CommandSet(
        CommandField.C_STORE_RQ,
        message_id=1,
        affected_sop_class_uid=CT,
        affected_sop_instance_uid="1.2.3",
        has_dataset=True,
    )
)
FIND = encode_command(CommandSet(CommandField.C_FIND_RQ, message_id=1, affected_sop_class_uid=CT, has_dataset=True))


def echo(message_id: int) -> bytes:
    return encode_command(CommandSet(CommandField.C_ECHO_RQ, message_id, affected_sop_class_uid=VERIFICATION))


class Raw:
    """A peer that sends the bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def receive(self):
        """The next PDU, None at the end of the connection."""
        async with asyncio.timeout(5):
            try:
                pdu_type, length = struct.unpack(">BxI", await self.reader.readexactly(6))
                return decode(pdu_type, await self.reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError):
                return None

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def associate(self) -> None:
        await self.send(encode(REQUEST))
        assert isinstance(await self.receive(), AssociateAC)

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the server was quicker


@pytest.fixture
async def raw():
    peers: list[Raw] = []

    async def open_raw(port: int) -> Raw:
        peers.append(Raw(*await asyncio.open_connection("127.0.0.1", port)))
        return peers[-1]

    yield open_raw
    for peer in peers:
        await peer.close()


async def end_of(served) -> EndKind:
    handler = await served.handler()
    return (await asyncio.wait_for(handler.ended, 5)).kind


# --- peers that lie ---


async def test_a_web_browser_is_aborted_and_the_server_lives_on(served, raw) -> None:
    port = await served.start()
    browser = await raw(port)
    await browser.send(b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n")
    assert isinstance(await browser.receive(), Abort)
    async with open_to(port) as association:
        assert (await association.echo()).status == 0


@pytest.mark.parametrize(
    "message",
    [
        encode_message(3, b"rubbish!", None, 16384),
        encode_message(3, STORE, None, 16384) + encode_message(3, STORE, None, 16384),
        encode_message(1, encode_command(CommandSet(CommandField.C_ECHO_RSP, None, 9, status=0)), None, 16384),
        encode_message(5, FIND, None, 16384)
        + b"".join(struct.pack(">BxIIBB", 4, 200_006, 200_002, 5, 0) + bytes(200_000) for _ in range(22)),
    ],
    ids=["rubbish", "command inside a data set", "response to nothing", "endless identifier"],
)
async def test_messages_that_make_no_sense_abort_as_provider(served, raw, message: bytes) -> None:
    peer = await raw(await served.start())
    await peer.associate()
    await peer.send(message)
    assert await peer.receive() == Abort(AbortSource.SERVICE_PROVIDER, AbortReason.INVALID_PDU_PARAMETER_VALUE)
    assert await end_of(served) is EndKind.ABORTED_BY_US


async def test_a_message_id_that_is_still_open_aborts(served, raw) -> None:
    class Handler(RecordingHandler):
        async def handle(self, _operation) -> None:
            await asyncio.Event().wait()

    peer = await raw(await served.start(Handler))
    await peer.associate()
    await peer.send(encode_message(1, echo(1), None, 16384) * 2)
    assert isinstance(await peer.receive(), Abort)


async def test_everything_one_byte_at_a_time(served, raw) -> None:
    peer = await raw(await served.start())
    stream = encode(REQUEST) + encode_message(3, STORE, b"abcdef", 16384) + encode(ReleaseRQ())
    for byte in stream:
        await peer.send(bytes((byte,)))
        await asyncio.sleep(0)
    assert [type(await peer.receive()).__name__ for _ in range(3)] == ["AssociateAC", "PDataTF", "ReleaseRP"]
    assert served.handlers[0].stored == [("1.2.3", b"abcdef")]


# --- peers that are silent, slow, or gone ---


async def test_a_silent_connection_is_closed_after_artim(served, raw) -> None:
    peer = await raw(await served.start(timeouts=Timeouts(artim_s=0.05)))
    assert await peer.receive() is None
    assert await end_of(served) is EndKind.TIMED_OUT


async def test_a_request_that_never_ends_is_closed_after_artim(served, raw) -> None:
    peer = await raw(await served.start(timeouts=Timeouts(artim_s=0.05)))
    await peer.send(encode(REQUEST)[:50])
    assert await peer.receive() is None


async def test_an_idle_association_is_aborted(served, raw) -> None:
    peer = await raw(await served.start(timeouts=Timeouts(idle_s=0.05)))
    await peer.associate()
    assert isinstance(await peer.receive(), Abort)
    assert await end_of(served) is EndKind.TIMED_OUT


async def test_a_stall_inside_an_object_counts_as_idle_and_its_sink_is_told(served, raw) -> None:
    peer = await raw(await served.start(timeouts=Timeouts(idle_s=0.05)))
    await peer.associate()
    await peer.send(encode_message(3, STORE, None, 16384) + struct.pack(">BxIIBB", 4, 106, 102, 3, 2) + bytes(50))
    assert isinstance(await peer.receive(), Abort)
    assert await end_of(served) is EndKind.TIMED_OUT
    assert served.handlers[0].aborted_sinks == 1


async def test_silence_while_we_work_is_not_held_against_the_peer(served, raw) -> None:
    class Handler(RecordingHandler):
        async def handle(self, operation) -> None:
            await asyncio.sleep(0.2)  # four times the idle time
            self.answer(operation, 0)

    peer = await raw(await served.start(Handler, timeouts=Timeouts(idle_s=0.05)))
    await peer.associate()
    await peer.send(encode_message(1, echo(1), None, 16384))
    assert type(await peer.receive()).__name__ == "PDataTF"


async def test_a_peer_that_dies_inside_an_object_aborts_the_sink(served, raw) -> None:
    peer = await raw(await served.start())
    await peer.associate()
    await peer.send(encode_message(3, STORE, b"abcdef", 16384)[:-3])
    await peer.close()
    assert await end_of(served) is EndKind.CONNECTION_LOST
    assert (served.handlers[0].stored, served.handlers[0].aborted_sinks) == ([], 1)


async def test_what_has_wholly_come_is_stored_although_the_peer_dies(served, raw) -> None:
    """A store that is cancelled in its last moment could leave half of it behind."""
    go, stored = asyncio.Event(), asyncio.Event()

    class Sink(RecordingSink):
        async def finish(self) -> None:
            await go.wait()
            super().finish()
            stored.set()

    class Handler(RecordingHandler):
        def open_store_sink(self, context, command):
            return Sink(self, context, command)

    peer = await raw(await served.start(Handler))
    await peer.associate()
    await peer.send(encode_message(3, STORE, b"abcdef", 16384))
    await peer.close()
    assert await end_of(served) is EndKind.CONNECTION_LOST
    go.set()
    await asyncio.wait_for(stored.wait(), 5)
    assert (served.handlers[0].stored, served.handlers[0].aborted_sinks) == ([("1.2.3", b"abcdef")], 0)


class Flooding(RecordingHandler):
    """Answers a C-FIND until nobody reads any more."""

    async def handle(self, operation) -> None:
        self.error = None
        try:
            while True:
                self.answer(operation, 0xFF00, bytes(50_000))
                await self.port.drain()
        except PeerError as error:
            self.error = error
            raise


async def test_a_peer_that_reads_nothing_is_cut_after_the_send_timeout(served, raw) -> None:
    peer = await raw(await served.start(Flooding, timeouts=Timeouts(send_s=0.1)))
    await peer.associate()
    peer.writer.transport.pause_reading()
    await peer.send(encode_message(5, FIND, b"keys", 16384))
    assert await end_of(served) is EndKind.TIMED_OUT


async def test_work_for_a_peer_that_has_gone_is_cancelled(served, raw) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    class Handler(RecordingHandler):
        async def handle(self, _operation) -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

    peer = await raw(await served.start(Handler))
    await peer.associate()
    await peer.send(encode_message(1, echo(1), None, 16384))
    await asyncio.wait_for(started.wait(), 5)
    await peer.send(encode(Abort()))
    assert await end_of(served) is EndKind.ABORTED_BY_PEER
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_response_that_comes_together_with_the_release_is_not_lost(served, raw) -> None:
    answered = asyncio.get_running_loop().create_future()

    class Handler(RecordingHandler):
        async def handle(self, operation) -> None:
            self.answer(operation, 0)
            request = CommandSet(CommandField.C_ECHO_RQ, affected_sop_class_uid=VERIFICATION)
            try:
                answered.set_result((await self.port.send_request(1, request)).status)
            except BaseException as error:
                answered.set_exception(RuntimeError(type(error).__name__))
                raise

    peer = await raw(await served.start(Handler))
    await peer.associate()
    await peer.send(encode_message(1, echo(7), None, 16384))
    for _ in range(2):  # the response, and the request of theirs
        await peer.receive()
    request = CommandSet(CommandField.C_ECHO_RQ, 1, affected_sop_class_uid=VERIFICATION)
    response = encode_message(1, encode_command(respond(request, 0)), None, 16384)
    await peer.send(response + encode(ReleaseRQ()))
    assert await end_of(served) is EndKind.RELEASED
    assert await asyncio.wait_for(answered, 5) == 0


async def test_sending_after_the_end_raises_for_requests_and_is_dropped_for_responses(served, raw) -> None:
    peer = await raw(await served.start())
    await peer.associate()
    await peer.send(encode(Abort()))
    await end_of(served)
    port, request = served.handlers[0].port, CommandSet(CommandField.C_ECHO_RQ, affected_sop_class_uid=VERIFICATION)
    assert not port.is_established
    port.send_response(1, respond(replace(request, message_id=1), 0))
    with pytest.raises(PeerError, match="aborted by peer"):
        await port.send_request(1, request)
    with pytest.raises(PeerError, match="aborted by peer"):
        await port.drain()


# --- handlers that fail ---


class FailsToOpen(RecordingHandler):
    def open_store_sink(self, _context, _command):
        raise LookupError("Doe^John")


class FailingSink(RecordingSink):
    def write(self, _data) -> None:
        raise LookupError("Doe^John")


class FailsToWrite(RecordingHandler):
    def open_store_sink(self, context, command):
        return FailingSink(self, context, command)


class LateSink(RecordingSink):
    async def finish(self) -> None:
        raise LookupError("Doe^John")


class FailsToFinish(RecordingHandler):
    def open_store_sink(self, context, command):
        return LateSink(self, context, command)


class FailsToHandle(RecordingHandler):
    def open_store_sink(self, context, command):
        return RecordingSink(self, context, command)

    async def handle(self, _operation) -> None:
        raise LookupError("Doe^John")


class ForgetsToAnswer(RecordingHandler):
    async def handle(self, _operation) -> None:
        pass


@pytest.mark.parametrize("handler", [FailsToOpen, FailsToWrite, FailsToFinish, FailsToHandle, ForgetsToAnswer])
async def test_a_failing_handler_costs_its_association_only_and_tells_no_names(served, raw, capsys, handler) -> None:
    port = await served.start(handler)
    healthy, peer = await raw(port), await raw(port)
    await healthy.associate()
    await peer.associate()
    message = (1, echo(1), None) if handler in (FailsToHandle, ForgetsToAnswer) else (3, STORE, b"abcdef")
    await peer.send(encode_message(*message, 16384))
    assert await peer.receive() == Abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED)
    await healthy.send(encode(ReleaseRQ()))
    assert await healthy.receive() == ReleaseRP()
    errors = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert len(errors) == 1
    assert "Doe" not in errors[0]


async def test_a_handler_that_cannot_be_made_costs_its_connection_only(served, raw) -> None:
    class Handler(RecordingHandler):
        def __init__(self, peer, port) -> None:
            raise LookupError

    peer = await raw(await served.start(Handler))
    assert await peer.receive() is None


async def test_a_handler_that_fails_to_associate_aborts(served, raw) -> None:
    class Handler(RecordingHandler):
        async def associate(self, request):
            raise LookupError

    peer = await raw(await served.start(Handler))
    await peer.send(encode(REQUEST))
    assert await peer.receive() == Abort(AbortSource.SERVICE_PROVIDER, AbortReason.NOT_SPECIFIED)


async def test_a_handler_that_takes_too_long_to_associate_rejects_for_now(served, raw) -> None:
    class Handler(RecordingHandler):
        async def associate(self, request):
            await asyncio.Event().wait()

    peer = await raw(await served.start(Handler, timeouts=Timeouts(artim_s=0.05)))
    await peer.send(encode(REQUEST))
    assert await peer.receive() == TEMPORARY_CONGESTION


async def test_a_response_must_tell_the_truth_about_its_data_set(served, raw) -> None:
    peer = await raw(await served.start())
    await peer.associate()
    request = CommandSet(CommandField.C_ECHO_RQ, message_id=1)
    with pytest.raises(InvalidRequestError, match="C_ECHO_RSP"):
        served.handlers[0].port.send_response(1, respond(request, 0), b"data")


# --- limits and back-pressure ---


async def test_associations_beyond_the_limit_are_rejected_for_now(served, raw) -> None:
    port = await served.start(associations_max=1)
    async with open_to(port):
        late = await raw(port)
        await late.send(encode(REQUEST))
        assert await late.receive() == LOCAL_LIMIT_EXCEEDED
        assert served.server.associations == 1
    async with open_to(port) as association:
        assert (await association.echo()).status == 0


async def test_connections_beyond_the_limit_are_closed(served, raw) -> None:
    port = await served.start(connections_max=1)
    first = await raw(port)
    await first.associate()
    assert await (await raw(port)).receive() is None


async def test_a_flood_of_requests_pauses_reading_until_they_are_answered(served, raw) -> None:
    class Handler(RecordingHandler):
        def __init__(self, peer, port) -> None:
            super().__init__(peer, port)
            self.free = asyncio.Event()
            self.waiting = 0

        async def handle(self, operation) -> None:
            self.waiting += 1
            await self.free.wait()
            self.answer(operation, 0)

    peer = await raw(await served.start(Handler))
    await peer.associate()
    requests = 20_000
    flood = asyncio.create_task(
        peer.send(b"".join(encode_message(1, echo(n), None, 16384) for n in range(1, requests)))
    )
    handler = served.handlers[0]
    async with asyncio.timeout(5):
        while handler.port.is_receiving or not handler.waiting:
            await asyncio.sleep(0)
    assert OPERATIONS_OUTSTANDING_MAX < handler.waiting < requests / 2
    handler.free.set()
    for _ in range(1, requests):
        assert type(await peer.receive()).__name__ == "PDataTF"
    await flood


async def test_paused_receiving_holds_an_object_back(served, raw) -> None:
    listening = await served.start()
    peer = await raw(listening)
    await peer.associate()
    port = served.handlers[0].port
    port.pause_receiving()
    port.pause_receiving()
    await peer.send(encode_message(3, STORE, b"abcdef", 16384))
    port.resume_receiving()
    async with open_to(listening) as association:  # meanwhile the server reads from others
        await association.echo()
    assert served.handlers[0].stored == []
    port.resume_receiving()
    assert type(await peer.receive()).__name__ == "PDataTF"
    assert served.handlers[0].stored == [("1.2.3", b"abcdef")]


async def test_responses_wait_for_a_data_set_that_is_being_sent(served) -> None:
    """Fragments of two messages must not mix: the answer to an echo comes after the object, not inside it."""
    gate = asyncio.Event()

    class Handler(RecordingHandler):
        async def handle(self, operation) -> None:
            if operation.command.command_field is CommandField.C_GET_RQ:
                await super().handle(operation)
            else:
                self.answer(operation, 0)
                gate.set()

        async def get(self, operation) -> None:
            async def slow_object():
                yield b"head"
                await gate.wait()
                yield b"tail"

            command = CommandSet(CommandField.C_STORE_RQ, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2")
            await self.port.send_request(self.port.find_context(CT).id, command, slow_object())
            self.answer(operation, 0)

    class Receiver:
        store_status = 0

        def __init__(self, port) -> None:
            self.port, self.stored = port, []

    get = "1.2.840.10008.5.1.4.1.2.2.3"
    async with open_to(await served.start(Handler), async_operations=AsyncOperationsWindow(2, 1)) as association:
        receiver = Receiver(association.port)

        async def run_get() -> None:
            def open_sink(_port, context, command):
                return RecordingSink(receiver, context, command)

            assert [r.status async for r in association.get(get, b"keys", open_sink)] == [0]

        getting = asyncio.create_task(run_get())
        while not served.handlers[0].port.contexts:
            await asyncio.sleep(0)
        assert (await association.echo(timeout_s=5)).status == 0
        await getting
    assert receiver.stored == [("1.2", b"headtail")]


# --- shutdown ---


async def test_close_lets_a_busy_association_finish(served, raw) -> None:
    port = await served.start()
    peer = await raw(port)
    await peer.associate()
    closing = asyncio.create_task(served.server.close(5))
    await asyncio.sleep(0)
    await peer.send(encode_message(3, STORE, b"abcdef", 16384))
    assert type(await peer.receive()).__name__ == "PDataTF"
    await peer.send(encode(ReleaseRQ()))
    assert await peer.receive() == ReleaseRP()
    await peer.close()
    await closing
    assert await end_of(served) is EndKind.RELEASED
    with pytest.raises(PeerRefusedError):
        async with open_to(port):
            pytest.fail("nobody listens any more")


async def test_close_aborts_what_is_left_at_the_deadline(served, raw) -> None:
    port = await served.start()
    peer, mute = await raw(port), await raw(port)
    await peer.associate()
    closing = asyncio.create_task(served.server.close(0.05))
    assert await mute.receive() is None
    assert await peer.receive() == Abort(AbortSource.SERVICE_USER, 0)
    await peer.close()
    await closing


async def test_two_servers_share_one_listening_socket(raw) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        servers = [AssociationServer(RecordingHandler) for _ in range(2)]
        for server in servers:
            await server.start(listening.dup())
        for _ in range(4):
            async with open_to(port) as association:
                assert (await association.echo()).status == 0
        for server in servers:
            await server.close(0)
