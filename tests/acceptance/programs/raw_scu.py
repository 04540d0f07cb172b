"""A C-STORE SCU in plain bytes (PS3.8 9.3, PS3.7 9.3.1): sends what no well-behaved program would; reads the answers.

It checks nothing and fits nothing: UIDs, data sets and PDUs go out as given.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from acceptance.dicom_files import read_part10
from acceptance.programs.processes import LOOPBACK

TIMEOUT_S: Final = 60.0
PDV_BYTES_MAX: Final = 16_000
"""Every peer takes PDUs of 16 KiB."""
APPLICATION_CONTEXT: Final = "1.2.840.10008.3.1.1.1"
A_ASSOCIATE_AC: Final = 0x02
A_ASSOCIATE_RJ: Final = 0x03
P_DATA_TF: Final = 0x04
A_RELEASE_RQ: Final = 0x05
A_RELEASE_RP: Final = 0x06
A_ABORT: Final = 0x07


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """A C-STORE-RSP. Status None: the association ended instead."""

    status: int | None
    comment: str = ""


class AssociationEndedError(Exception):
    """The peer aborted or closed the connection."""


class RawAssociation:
    """An association with one transfer syntax a presentation context. A context manager; released at the end.

    Raises AssociationEndedError when the peer rejects it, with what came instead.
    """

    def __init__(
        self, port: int, contexts: Sequence[tuple[str, str]], *, called_aet: str = "FILEROOM", calling_aet: str = "RAW"
    ) -> None:
        self._socket = socket.create_connection((LOOPBACK, port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._message_id = 0
        self.has_ended = False
        self._context_ids = {pair: 2 * number + 1 for number, pair in enumerate(contexts)}
        self._socket.sendall(associate_request(contexts, called_aet=called_aet, calling_aet=calling_aet))
        kind, body = self.read_pdu()
        if kind != A_ASSOCIATE_AC:
            self._socket.close()
            raise AssociationEndedError(f"the association was answered with PDU {kind:02X} {body.hex()}")
        self.accepted = _accepted_ids(body)

    def __enter__(self) -> RawAssociation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """End the association in order, or in any way if the peer does not play along. TimeoutError if it is silent."""
        try:
            self.send_bytes(pdu(A_RELEASE_RQ, b"\0\0\0\0"))
            self.read_pdu()
        except TimeoutError:
            raise
        except (OSError, AssociationEndedError):
            pass
        finally:
            self._socket.close()

    def close(self) -> None:
        """Go without a word, as a machine that loses its power."""
        self._socket.close()

    def store(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, dataset: bytes) -> StoreAnswer:
        """One C-STORE. UIDs are sent in Latin-1, padded with NUL. Raises TimeoutError when the peer is silent."""
        context_id = self._context_ids[sop_class_uid, transfer_syntax_uid]
        if context_id not in self.accepted:
            return StoreAnswer(None, "the presentation context was not accepted")
        self._message_id = self._message_id % 65535 + 1
        command = store_request(self._message_id, sop_class_uid, sop_instance_uid)
        try:
            self.send_bytes(pdata(context_id, command, command=True, last=True))
            for start in range(0, max(1, len(dataset)), PDV_BYTES_MAX):
                piece = dataset[start : start + PDV_BYTES_MAX]
                self.send_bytes(pdata(context_id, piece, command=False, last=start + PDV_BYTES_MAX >= len(dataset)))
            return self._read_answer()
        except TimeoutError:
            self._socket.close()
            raise
        except (OSError, AssociationEndedError) as error:
            self.has_ended = True
            return StoreAnswer(None, str(error))

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._socket.sendall(data)

    def read_pdu(self) -> tuple[int, bytes]:
        """The next PDU: its type and its body. Raises AssociationEndedError at the end of the connection."""
        head = self._read(6)
        return head[0], self._read(int.from_bytes(head[2:6]))

    def _read_answer(self) -> StoreAnswer:
        kind, body = self.read_pdu()
        if kind != P_DATA_TF:
            raise AssociationEndedError(f"PDU {kind:02X} {body.hex()} came instead of a response")
        elements = _decode_command(body[6:])
        status = int.from_bytes(elements[0x0900], "little")
        return StoreAnswer(status, elements.get(0x0902, b"").decode("latin-1").strip())

    def _read(self, size: int) -> bytes:
        pieces = bytearray()
        while len(pieces) < size:
            piece = self._socket.recv(size - len(pieces))
            if not piece:
                raise AssociationEndedError("the peer closed the connection")
            pieces += piece
        return bytes(pieces)


def send_exactly(port: int, paths: Sequence[Path]) -> list[StoreAnswer]:
    """C-STORE each file with the very bytes of its data set over one association. All without a status if it is refused.

    Raises TimeoutError when the server is silent, which no answer, refusal or abort of it may look like.
    """
    parts = [read_part10(path) for path in paths]
    contexts = dict.fromkeys((part.sop_class_uid, part.transfer_syntax_uid) for part in parts)
    try:
        with RawAssociation(port, list(contexts)) as association:
            return [
                association.store(part.sop_class_uid, part.sop_instance_uid, part.transfer_syntax_uid, part.dataset)
                for part in parts
            ]
    except (AssociationEndedError, ConnectionResetError) as error:
        return [StoreAnswer(None, str(error))] * len(parts)


def associate_request(
    contexts: Sequence[tuple[str, str]], *, called_aet: str = "FILEROOM", calling_aet: str = "RAW"
) -> bytes:
    """An A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    items = _item(0x10, APPLICATION_CONTEXT.encode())
    for number, (abstract_syntax, transfer_syntax) in enumerate(contexts):
        inner = _item(0x30, abstract_syntax.encode("latin-1")) + _item(0x40, transfer_syntax.encode())
        items += _item(0x20, struct.pack(">BBBB", 2 * number + 1, 0, 0, 0) + inner)
    user = _item(0x51, struct.pack(">I", 0)) + _item(0x52, b"2.25.20240229")
    items += _item(0x50, user)
    aets = called_aet.encode().ljust(16) + calling_aet.encode().ljust(16)
    return pdu(0x01, struct.pack(">HH", 1, 0) + aets + bytes(32) + items)


def pdu(kind: int, body: bytes) -> bytes:
    """A PDU of any type."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def pdata(context_id: int, fragment: bytes, *, command: bool, last: bool) -> bytes:
    """A P-DATA-TF with one fragment (PS3.8 9.3.5, Annex E)."""
    value = bytes([context_id, command | last << 1]) + fragment
    return pdu(P_DATA_TF, struct.pack(">I", len(value)) + value)


def store_request(message_id: int, sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """The command set of a C-STORE-RQ."""
    body = _element(0x0002, _padded(sop_class_uid)) + _element(0x0100, struct.pack("<H", 0x0001))
    body += _element(0x0110, struct.pack("<H", message_id)) + _element(0x0700, struct.pack("<H", 0))
    body += _element(0x0800, struct.pack("<H", 1)) + _element(0x1000, _padded(sop_instance_uid))
    return _element(0x0000, struct.pack("<I", len(body))) + body


def echo_request(message_id: int) -> bytes:
    """The command set of a C-ECHO-RQ."""
    body = _element(0x0002, _padded("1.2.840.10008.1.1")) + _element(0x0100, struct.pack("<H", 0x0030))
    body += _element(0x0110, struct.pack("<H", message_id)) + _element(0x0800, struct.pack("<H", 0x0101))
    return _element(0x0000, struct.pack("<I", len(body))) + body


def _accepted_ids(body: bytes) -> set[int]:
    """Presentation contexts of an A-ASSOCIATE-AC whose result is acceptance."""
    found = set()
    at = 68
    while at + 4 <= len(body):
        kind, length = body[at], int.from_bytes(body[at + 2 : at + 4])
        if kind == 0x21 and body[at + 6] == 0:
            found.add(body[at + 4])
        at += 4 + length
    return found


def _decode_command(data: bytes) -> dict[int, bytes]:
    """Elements of group 0000 by element number."""
    elements = {}
    at = 0
    while at + 8 <= len(data):
        _, number, length = struct.unpack_from("<HHI", data, at)
        elements[number] = data[at + 8 : at + 8 + length]
        at += 8 + length
    return elements


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def _padded(uid: str) -> bytes:
    raw = uid.encode("latin-1")
    return raw + b"\0" * (len(raw) % 2)
