"""Our server and client against python-hl7's programs, and our bytes as tshark's HL7 dissector sees them."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import sys
from pathlib import Path

import pytest
from hl7.mllp import start_hl7_server

import hl7
from fileroom.hl7.acknowledge import acknowledge
from fileroom.hl7.mllp import frame
from fileroom.net.mllp_client import MllpClient
from unit.hl7.samples import ORM
from unit.net.test_mllp import Receiver, raw_connection

MLLP_SEND = Path(sys.executable).with_name("mllp_send")
NOW = dt.datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture
async def receiver():
    made = Receiver()
    yield made
    if made.server is not None:
        await made.server.close(0)


async def run(*command: str | Path) -> str:
    """A program to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err
    return out.decode("utf-8", "replace")


@pytest.mark.parametrize("loose", [False, True])
async def test_mllp_send_is_answered(receiver, tmp_path, loose) -> None:
    port = await receiver.start()
    messages = [ORM.replace(b"|4711|", f"|{number}|".encode()) for number in range(20)]
    file = tmp_path / "messages.hl7"
    if loose:
        file.write_bytes(b"".join(message.replace(b"\r", b"\r\n") for message in messages))
    else:
        file.write_bytes(b"".join(frame(message) for message in messages))
    out = await run(MLLP_SEND, "--port", str(port), "--file", file, *(["--loose"] if loose else []), "127.0.0.1")
    assert receiver.taken == [str(number) for number in range(20)]
    assert out.count("MSA|AA|") == 20


async def test_our_client_is_understood_by_python_hl7s_server() -> None:
    received: list[hl7.Message] = []

    async def serve(reader, writer) -> None:
        try:
            while True:
                message = await reader.readmessage()
                received.append(message)
                writer.writemessage(message.create_ack("AA" if len(received) < 3 else "AE"))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await start_hl7_server(serve, host="127.0.0.1", port=0, encoding="latin-1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with MllpClient("127.0.0.1", port) as client:
            codes = [(await client.send(ORM.replace(b"|4711|", f"|{n}|".encode()))).code for n in range(3)]
    assert codes == ["AA", "AA", "AE"]
    assert [str(message.segment("MSH")[10]) for message in received] == ["0", "1", "2"]
    assert received[0].extract_field("PID", 1, 5, 1, 1, 1) == "Müller"


def dump(direction: str, data: bytes) -> str:
    """Bytes as text2pcap reads them."""
    lines = [f"{place:06x} {data[place : place + 16].hex(' ')}" for place in range(0, len(data), 16)]
    return "\n".join([direction, *lines, ""])


@pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark (Debian package tshark)")
async def test_tshark_sees_messages_and_answers_and_nothing_malformed(receiver, tmp_path) -> None:
    async def handle(raw, peer):
        return acknowledge(raw, "AE", reason="no", errors=[("PID-3", "101", "missing")], now=NOW, control_id="9")

    port = await receiver.start(handler=handle)
    async with raw_connection(port) as (reader, writer):
        writer.write(frame(ORM))
        answer = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 10)
    (tmp_path / "bytes.txt").write_text(dump("I", frame(ORM)) + dump("O", answer))
    capture = tmp_path / "capture.pcap"
    await run("text2pcap", "-q", "-D", "-T", "40000,2575", tmp_path / "bytes.txt", capture)
    seen = await run(
        "tshark", "-r", capture, "-Y", "hl7", "-T", "fields", "-e", "hl7.message.type", "-e", "hl7.segment"
    )
    assert [line.split("\t")[0] for line in seen.splitlines()] == ["ORM", "ACK"]
    assert "MSA" in seen.splitlines()[1]
    assert "ERR" in seen.splitlines()[1]
    assert await run("tshark", "-r", capture, "-Y", "hl7.malformed or _ws.malformed") == ""
