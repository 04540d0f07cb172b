"""Sends HL7 messages (MLLP) over a connection that is kept, and waits for the answer to each.

Senders of HL7 do not know whether a message whose answer is missing was taken; they send it again with the same control
ID (MSH-10), and receivers apply it once. So `send` never sends twice by itself: it says what is known, and the queue decides.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from dataclasses import dataclass, replace
from typing import Final

from fileroom.core.errors import Hl7Error, PeerError, PeerRefusedError, PeerTimeoutError, ProtocolError
from fileroom.core.limits import CONNECT_TIMEOUT_S, HL7_ANSWER_TIMEOUT_S, KIB, MIB, SEND_TIMEOUT_S
from fileroom.hl7.acknowledge import Answer, read_answer, wants_later_answer
from fileroom.hl7.message import parse_message
from fileroom.hl7.mllp import Deframer, Frame, frame
from fileroom.net.tls import ClientTls, check_peer, why_refused

_ANSWER_BYTES_MAX: Final = 16 * MIB
"""An answer to a patient query with a thousand patients has one."""
_READ_BYTES: Final = 64 * KIB
_STRAY_ANSWERS_MAX: Final = 20
"""Answers to messages that were not sent; a receiver that sends so many is not answering us."""


@dataclass(frozen=True, slots=True)
class MllpTimeouts:
    """How long each step may take, in seconds."""

    connect_s: float = CONNECT_TIMEOUT_S
    send_s: float = SEND_TIMEOUT_S
    answer_s: float = HL7_ANSWER_TIMEOUT_S


class MllpClient:
    """One receiver. One message at a time; a connection is opened when there is none."""

    def __init__(
        self, host: str, port: int, *, tls: ClientTls | None = None, timeouts: MllpTimeouts | None = None
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._timeouts = timeouts or MllpTimeouts()
        self._lock = asyncio.Lock()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._deframer = Deframer(_ANSWER_BYTES_MAX)
        self._accepted: Answer | None = None
        """The accept acknowledgement of the message at hand, where another answer to it is waited for."""

    async def __aenter__(self) -> MllpClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def is_connected(self) -> bool:
        """A connection is open, as far as we know."""
        return self._writer is not None and self._reader is not None and not self._reader.at_eof()

    async def send(self, raw: bytes) -> Answer:
        """Send a message and give the answer to it, whether good or bad.

        In enhanced mode, where MSH-16 is AL, that is the application's; if it does not come, the accept acknowledgement.

        Raises PeerRefusedError if the receiver cannot be reached, PeerTimeoutError if no answer came in time, PeerError if the
        connection broke, ProtocolError if what came is no answer, Hl7Error if `raw` is no message. After PeerTimeoutError and
        PeerError the receiver may have the message.
        """
        message = parse_message(raw)
        control_id = message.control_id
        async with self._lock:
            reader, writer = await self._open()
            self._accepted = None
            try:
                answer = await self._exchange(
                    reader, writer, frame(raw), control_id, wants_more=wants_later_answer(message)
                )
            except PeerError as error:
                await self._drop()
                if self._accepted is None:
                    raise
                # The receiver has said that it keeps the message (HL7 v2.5.1 2.9.3): it is not to be sent again.
                return replace(self._accepted, reason=f"accepted; its application answer did not come: {error}")
            except BaseException:
                # A late answer must not be taken for the answer to the next message.
                await self._drop()
                raise
            return answer

    async def close(self) -> None:
        """Close the connection; the next `send` opens another."""
        async with self._lock:
            await self._drop()

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        data: bytes,
        control_id: str,
        *,
        wants_more: bool,
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeouts.send_s):
                writer.write(data)
                await writer.drain()
        except TimeoutError:
            raise PeerTimeoutError(
                f"{self._where} did not take the message within {self._timeouts.send_s:g} s"
            ) from None
        except OSError as error:
            raise self._broken(error) from error
        try:
            async with asyncio.timeout(self._timeouts.answer_s):
                return await self._answer(reader, control_id, wants_more=wants_more)
        except TimeoutError:
            raise PeerTimeoutError(
                f"{self._where} took the message and did not answer within {self._timeouts.answer_s:g} s; it may have it"
            ) from None
        except OSError as error:
            raise self._broken(error) from error

    async def _answer(self, reader: asyncio.StreamReader, control_id: str, *, wants_more: bool) -> Answer:
        strays = 0
        while True:
            data = await reader.read(_READ_BYTES)
            ended = not data and not self._deframer.has_end_mark
            for one in self._deframer.receive(data) if data else self._deframer.finish():
                if not isinstance(one, Frame):
                    raise ProtocolError(f"{self._where} did not answer in HL7: {one.reason}")
                try:
                    answer = read_answer(one.raw)
                except Hl7Error as error:
                    raise ProtocolError(f"{self._where} did not answer in HL7: {error.sentence}") from error
                # Receivers that could not read the message answer without its control ID.
                if answer.control_id in (control_id, ""):
                    if answer.code == "CA" and wants_more:
                        self._accepted = answer
                        continue
                    return answer
                strays += 1
                if strays > _STRAY_ANSWERS_MAX:
                    raise ProtocolError(f"{self._where} answers messages that were not sent to it")
            if ended:
                raise PeerError(f"{self._where} closed the connection without an answer; it may have the message")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._writer is not None and self._reader is not None:
            await asyncio.sleep(0)  # so that a connection that was closed meanwhile is known to be
            if not self._reader.at_eof() and not self._writer.is_closing():
                return self._reader, self._writer
            await self._drop()
        self._reader, self._writer = await self._connect()
        self._deframer = Deframer(_ANSWER_BYTES_MAX)
        return self._reader, self._writer

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where, tls = self._where, self._tls
        try:
            async with asyncio.timeout(self._timeouts.connect_s):
                reader, writer = await asyncio.open_connection(
                    self._host, self._port, ssl=tls.context if tls is not None else None
                )
        except TimeoutError:
            raise PeerTimeoutError(f"{where} did not take a connection within {self._timeouts.connect_s:g} s") from None
        except (ssl.SSLError, ConnectionAbortedError) as error:
            raise PeerRefusedError(f"No TLS with {where}: {why_refused(error)}") from error
        except OSError as error:
            raise PeerRefusedError(f"{where} could not be reached: {error.strerror or str(error)}") from error
        try:
            if tls is not None:
                check_peer(writer.get_extra_info("ssl_object"), tls.wanted, tls.trust)
        except PeerRefusedError as error:
            writer.transport.abort()
            raise PeerRefusedError(f"No TLS with {where}: {error!s}") from error
        connection = writer.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return reader, writer

    async def _drop(self) -> None:
        if self._writer is not None:
            writer, self._writer, self._reader = self._writer, None, None
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()
            writer.transport.abort()

    def _broken(self, error: OSError) -> PeerError:
        # In TLS 1.3 a server may refuse our certificate when the handshake is over for us.
        if isinstance(error, ssl.SSLError):
            return PeerRefusedError(f"No TLS with {self._where}: {why_refused(error)}")
        return PeerError(
            f"the connection to {self._where} broke: {error.strerror or str(error)}; it may have the message"
        )

    @property
    def _where(self) -> str:
        return f"{self._host}:{self._port}"
