"""HL7 over TCP and TLS: order, answers, limits, what a bad sender can do to others, and the end of a process."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket

import pytest

from fileroom.core.errors import PeerError, PeerRefusedError, PeerTimeoutError, ProtocolError
from fileroom.hl7.acknowledge import acknowledge
from fileroom.hl7.message import parse_message
from fileroom.hl7.mllp import FrameFault, frame
from fileroom.net.mllp_client import MllpClient, MllpTimeouts
from fileroom.net.mllp_server import MllpLimits, MllpServer
from fileroom.net.tls import PeerTls, ServerTls, client_tls, server_context, why_refused
from tls_material import authority

NOW = dt.datetime(2026, 1, 2, 3, 4, 5)


def message(number: int | str, more: bytes = b"") -> bytes:
    return b"MSH|^~\\&|RIS|H|PACS|H|20260101||ADT^A08|%s|P|2.5.1\rPID|1%s\r" % (str(number).encode(), more)


class Receiver:
    """Takes messages, and answers AA; what is to happen besides is set by the test."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.peers = []
        self.faults = []
        self.refused: list[str] = []
        self.port = 0
        self.gates: dict[str, asyncio.Event] = {}
        self.begun = asyncio.Event()
        self.waiting = 0
        self.fails: set[str] = set()
        self.server: MllpServer | None = None

    async def start(self, *, tls=None, handler=None, **limits) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self.server = MllpServer(handler or self.take, on_fault=self.hear, limits=MllpLimits(**limits))
        if tls is None:
            await self.server.start(listening)
        else:
            self.server.start_tls(listening, tls, lambda peer, error: self.refused.append(why_refused(error)))
        return self.port

    async def take(self, raw: bytes, peer):
        found = parse_message(raw)
        self.begun.set()
        if gate := self.gates.get(found.control_id):
            self.waiting += 1
            await gate.wait()
        if found.control_id in self.fails:
            raise RuntimeError("the database is gone")
        self.taken.append(found.control_id)
        self.peers.append(peer)
        return acknowledge(found, "AA", now=NOW, control_id=f"A{found.control_id}")

    async def hear(self, error, peer):
        self.faults.append(error.fault)
        return acknowledge(error.raw, "AR", reason=error.reason, now=NOW, control_id="F")


@pytest.fixture
async def receiver():
    made = Receiver()
    yield made
    if made.server is not None:
        await made.server.close(0)


@contextlib.asynccontextmanager
async def raw_connection(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def answers(reader: asyncio.StreamReader, count: int) -> list[str]:
    """The control IDs that the next answers are for."""
    found = []
    for _ in range(count):
        raw = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 10)
        found.append(parse_message(raw[1:-2]).get("MSA-2"))
    return found


async def test_messages_over_one_connection_in_their_order(receiver) -> None:
    port = await receiver.start()
    async with MllpClient("127.0.0.1", port) as client:
        for number in range(50):
            answer = await client.send(message(number))
            assert (answer.code, answer.control_id) == ("AA", str(number))
            assert answer.is_good
        assert receiver.server.connections == 1
    assert receiver.taken == [str(number) for number in range(50)]


async def test_a_sender_that_does_not_wait_is_answered_in_order_too(receiver) -> None:
    port = await receiver.start()
    async with raw_connection(port) as (reader, writer):
        writer.write(b"".join(frame(message(number)) for number in range(300)))
        assert await answers(reader, 300) == [str(number) for number in range(300)]


async def test_bytes_that_dribble(receiver) -> None:
    port = await receiver.start()
    async with raw_connection(port) as (reader, writer):
        for byte in frame(message(1)) + frame(message(2)):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert await answers(reader, 2) == ["1", "2"]


async def test_who_never_sends_the_last_byte_of_the_end_block_is_answered(receiver) -> None:
    port = await receiver.start(end_mark_s=0.05)
    async with raw_connection(port) as (reader, writer):
        for number in ("1", "2"):
            writer.write(b"\x0b" + message(number) + b"\x1c")
            assert await answers(reader, 1) == [number]


async def test_one_slow_message_keeps_no_other_connection_waiting(receiver) -> None:
    port = await receiver.start()
    receiver.gates["slow"] = asyncio.Event()
    async with MllpClient("127.0.0.1", port) as one, MllpClient("127.0.0.1", port) as other:
        waiting = asyncio.create_task(one.send(message("slow")))
        await receiver.begun.wait()
        assert (await other.send(message("fast"))).code == "AA"
        assert not waiting.done()
        receiver.gates["slow"].set()
        assert (await waiting).code == "AA"
    assert receiver.taken == ["fast", "slow"]


async def test_fifty_connections_are_served_evenly(receiver) -> None:
    port = await receiver.start()
    async with contextlib.AsyncExitStack() as stack:
        connections = [await stack.enter_async_context(raw_connection(port)) for _ in range(50)]
        # Each pours forty messages at once, and waits in its first one until all are there.
        everybody = asyncio.Event()
        receiver.gates = {f"{sender}-0": everybody for sender in range(50)}
        for sender, (_, writer) in enumerate(connections):
            writer.write(b"".join(frame(message(f"{sender}-{number}")) for number in range(40)))
        async with asyncio.timeout(10):
            while receiver.waiting < 50:
                await asyncio.sleep(0)
        everybody.set()
        for sender, (reader, _) in enumerate(connections):
            assert await answers(reader, 40) == [f"{sender}-{number}" for number in range(40)]
    counts = dict.fromkeys(map(str, range(50)), 0)
    for control_id in receiver.taken:
        counts[control_id.split("-")[0]] += 1
        assert max(counts.values()) - min(counts.values()) <= 2
    assert len(receiver.taken) == 2000


async def test_what_is_no_frame_is_heard_of_and_the_next_message_taken(receiver) -> None:
    port = await receiver.start()
    async with raw_connection(port) as (reader, writer):
        writer.write(b"GET / HTTP/1.1" + b"\x0b" + message("cut") + frame(message("good")))
        assert await answers(reader, 3) == ["", "cut", "good"]
    assert receiver.faults == [FrameFault.NO_START, FrameFault.NO_END]
    assert receiver.taken == ["good"]


async def test_a_message_past_the_limit_is_refused_by_its_number_and_the_next_taken(receiver) -> None:
    port = await receiver.start(message_bytes_max=300_000)
    async with MllpClient("127.0.0.1", port) as client:
        answer = await client.send(message("large", b"x" * 2_000_000))
        assert (answer.code, answer.control_id) == ("AR", "large")
        assert "300000 are taken" in answer.reason
        assert (await client.send(message("next"))).code == "AA"


async def test_fifty_megabytes_in_one_field(receiver) -> None:
    port = await receiver.start()
    async with MllpClient("127.0.0.1", port) as client:
        assert (await client.send(message("report", b"\rOBX|1|ED|||" + b"QUJD" * 13_000_000))).code == "AA"


async def test_all_that_arrives_at_once_has_a_limit(receiver) -> None:
    port = await receiver.start(held_bytes_max=1_000_000)
    async with raw_connection(port) as (reader, writer), raw_connection(port) as (other, second):
        writer.write(b"\x0b" + message("one", b"x" * 700_000))
        await writer.drain()
        second.write(b"\x0b" + message("two", b"y" * 700_000))
        ended = [asyncio.create_task(reader.read()), asyncio.create_task(other.read())]
        done, waiting = await asyncio.wait(ended, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1  # one was closed, and the other one goes on
        for task in waiting:
            task.cancel()
    async with MllpClient("127.0.0.1", port) as client:
        assert (await client.send(message("three", b"z" * 100_000))).code == "AA"


async def test_a_message_that_never_ends_is_given_up(receiver) -> None:
    port = await receiver.start(frame_s=0.1)
    async with raw_connection(port) as (reader, writer):
        writer.write(b"\x0b" + message("open"))
        assert await answers(reader, 1) == ["open"]
        assert await reader.read() == b""
    assert receiver.faults == [FrameFault.NO_END]
    assert receiver.taken == []


async def test_who_says_nothing_is_sent_away(receiver) -> None:
    port = await receiver.start(idle_s=0.1)
    async with raw_connection(port) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 10) == b""
    assert receiver.faults == []


async def test_there_are_only_so_many_connections(receiver) -> None:
    port = await receiver.start(connections_max=1)
    async with MllpClient("127.0.0.1", port) as first:
        await first.send(message(1))
        with pytest.raises(PeerError):
            await MllpClient("127.0.0.1", port).send(message(2))
        assert (await first.send(message(3))).code == "AA"


async def test_no_answer_when_the_handler_fails_and_the_same_message_again_is_taken(receiver) -> None:
    port = await receiver.start()
    receiver.fails.add("1")
    async with MllpClient("127.0.0.1", port) as client:
        with pytest.raises(PeerError, match="closed the connection without an answer; it may have the message"):
            await client.send(message(1))
        receiver.fails.clear()
        assert (await client.send(message(1))).code == "AA"
    assert receiver.taken == ["1"]


async def test_at_the_end_the_message_at_hand_is_answered_and_no_other(receiver) -> None:
    port = await receiver.start()
    receiver.gates["at hand"] = asyncio.Event()
    async with raw_connection(port) as (reader, writer), raw_connection(port) as (idle, _):
        writer.write(frame(message("at hand")) + frame(message("behind")))
        await receiver.begun.wait()
        closing = asyncio.create_task(receiver.server.close(10))
        assert await idle.read() == b""
        receiver.gates["at hand"].set()
        assert await answers(reader, 1) == ["at hand"]
        assert await reader.read() == b""
        await closing
    assert receiver.taken == ["at hand"]
    with pytest.raises(PeerRefusedError):
        await MllpClient("127.0.0.1", port).send(message("late"))


async def test_a_handler_that_answers_nothing_or_twice(receiver) -> None:
    async def handle(raw, peer):
        number = parse_message(raw).control_id
        one = acknowledge(raw, "AA", now=NOW, control_id="1", enhanced=True)
        return None if number == "none" else [one, acknowledge(raw, "AA", now=NOW, control_id="2")]

    port = await receiver.start(handler=handle)
    async with raw_connection(port) as (reader, writer):
        writer.write(frame(message("none")) + frame(message("two")))
        assert await answers(reader, 2) == ["two", "two"]


# --- our own sending ---


async def test_a_late_answer_is_not_taken_for_the_next_one(receiver) -> None:
    port = await receiver.start()
    receiver.gates["slow"] = asyncio.Event()
    async with MllpClient("127.0.0.1", port, timeouts=MllpTimeouts(answer_s=0.1)) as client:
        with pytest.raises(PeerTimeoutError, match=r"did not answer within 0\.1 s; it may have it"):
            await client.send(message("slow"))
        receiver.gates["slow"].set()
        assert (await client.send(message("next"))).control_id == "next"


async def test_a_connection_that_the_receiver_closed_is_opened_anew(receiver) -> None:
    port = await receiver.start(idle_s=0.05)
    async with MllpClient("127.0.0.1", port) as client:
        await client.send(message(1))
        async with asyncio.timeout(10):
            while client.is_connected:
                await asyncio.sleep(0.01)
        assert (await client.send(message(2))).code == "AA"


async def test_what_is_no_answer_is_told(receiver) -> None:
    async def handle(raw, peer):
        return b"220 mail.example ready"

    port = await receiver.start(handler=handle)
    async with MllpClient("127.0.0.1", port) as client:
        with pytest.raises(ProtocolError, match="did not answer in HL7: this is no HL7 message"):
            await client.send(message(1))


ENHANCED = b"MSH|^~\\&|RIS|H|PACS|H|20260101||ADT^A08|%s|P|2.5.1|||AL|%s\rPID|1\r"


@pytest.mark.parametrize(("codes", "got"), [(("CA", "AA"), "AA"), (("CA", "AE"), "AE"), (("CE",), "CE")])
async def test_in_enhanced_mode_the_answer_of_the_application_counts(receiver, codes, got) -> None:
    async def accepts_then_applies(raw, _peer):
        found = parse_message(raw)
        last = (
            f"MSH|^~\\&|||||||ACK|{found.control_id}{code}|P|2.5.1\rMSA|{code}|{found.control_id}|{code} it is\r"
            for code in codes
        )
        return [one.encode() for one in last]

    port = await receiver.start(handler=accepts_then_applies)
    async with MllpClient("127.0.0.1", port) as client:
        for number in (b"1", b"2"):
            answer = await client.send(ENHANCED % (number, b"AL"))
            assert (answer.code, answer.control_id, answer.reason) == (got, number.decode(), f"{got} it is")


async def test_what_was_accepted_is_not_sent_again_where_the_application_stays_silent(receiver) -> None:
    async def only_accepts(raw, _peer):
        found = parse_message(raw)
        return f"MSH|^~\\&|||||||ACK|A|P|2.5.1\rMSA|CA|{found.control_id}\r".encode()

    port = await receiver.start(handler=only_accepts)
    async with MllpClient("127.0.0.1", port, timeouts=MllpTimeouts(answer_s=0.2)) as client:
        answer = await client.send(ENHANCED % (b"1", b"AL"))
        assert (answer.code, answer.is_good) == ("CA", True)
        assert "application answer did not come" in answer.reason
        assert (await client.send(ENHANCED % (b"2", b"NE"))).reason == ""  # none is wanted: CA is the answer


async def test_nobody_there_is_told_with_place_and_reason() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(PeerRefusedError, match=f"127.0.0.1:{port} could not be reached: "):
        await MllpClient("127.0.0.1", port).send(message(1))


# --- TLS ---


async def test_messages_over_mutual_tls(receiver, tmp_path) -> None:
    root = authority()
    own = ServerTls(server_context(root.issue("archive").pair(tmp_path), root.trust, "required"), root.trust)
    port = await receiver.start(tls=lambda: own)
    tls = client_tls(root.issue("ris").pair(tmp_path), root.trust, PeerTls())
    async with MllpClient("127.0.0.1", port, tls=tls) as client:
        assert (await client.send(message(1, b"x" * 300_000))).code == "AA"
        assert (await client.send(message(2))).code == "AA"
    assert receiver.peers[0].tls
    assert receiver.peers[0].certificate.subject == "CN=ris"
    with pytest.raises(PeerError):
        await MllpClient("127.0.0.1", port, tls=client_tls(None, root.trust, PeerTls())).send(message(3))
    assert receiver.refused == ["it showed no certificate; give it one from a trusted issuer"]
    stranger = client_tls(root.issue("ris").pair(tmp_path), authority("Other").trust, PeerTls())
    with pytest.raises(PeerRefusedError, match="the root of its certificate is not trusted"):
        await MllpClient("127.0.0.1", port, tls=stranger).send(message(4))
    assert receiver.taken == ["1", "2"]
