"""Messages out of fragments, and fragments out of messages (PS3.7 6.3, 9.1.1; PS3.8 Annex E, F).

A command set is assembled, for it is short; a data set passes through in pieces. In the other direction the pieces of a
data set are cut to PDUs without being copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fileroom.core.errors import InvalidRequestError, ProtocolError, TooLargeError
from fileroom.core.limits import COMMAND_SET_BYTES_MAX, IDENTIFIER_BYTES_MAX
from fileroom.dimse.command_set import CommandSet, decode_command
from fileroom.ul.events import PDataFragment
from fileroom.ul.items import PDU_BYTES_MIN_SEND
from fileroom.ul.pdu import CONTROL_COMMAND, CONTROL_LAST, PDU_HEADER, PDV_HEADER, PduType

DataChunk = bytes | bytearray | memoryview
"""Piece of an encoded data set. It must not be changed after it was handed over: it is sent without a copy."""


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A whole command set. If `has_dataset`, the next events are `DataReceived`."""

    context_id: int
    command: CommandSet

    @property
    def has_dataset(self) -> bool:
        """Whether a data set follows."""
        return self.command.has_dataset


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A piece of the data set of the command received last. The view is valid as long as that of the fragment."""

    context_id: int
    data: memoryview
    is_last: bool


class MessageAssembler:
    """Puts the fragments of one association together. Messages follow one another and never mix (PS3.8 Annex F)."""

    def __init__(self, command_bytes_max: int = COMMAND_SET_BYTES_MAX) -> None:
        self._command_bytes_max = command_bytes_max
        self._command = bytearray()
        self._command_context_id: int | None = None
        self._data_context_id: int | None = None

    @property
    def is_idle(self) -> bool:
        """True between messages."""
        return self._command_context_id is None and self._data_context_id is None

    def receive_fragment(self, fragment: PDataFragment) -> CommandReceived | DataReceived | None:
        """The event that `fragment` brings, None while its command set is incomplete. Raises ProtocolError."""
        context_id = fragment.context_id
        if not fragment.is_command:
            if context_id != self._data_context_id:
                raise ProtocolError(f"data on presentation context {context_id} without a command that announced it")
            if fragment.is_last:
                self._data_context_id = None
            return DataReceived(context_id, fragment.data, fragment.is_last)
        if self._data_context_id is not None:
            raise ProtocolError("a command came in the middle of a data set")
        return self._receive_command(context_id, fragment)

    def _receive_command(self, context_id: int, fragment: PDataFragment) -> CommandReceived | None:
        if self._command_context_id is None:
            if fragment.is_last:
                return self._decoded(context_id, fragment.data)
            self._command_context_id = context_id
        elif self._command_context_id != context_id:
            raise ProtocolError("the fragments of a command set came on two presentation contexts")
        if len(self._command) + len(fragment.data) > self._command_bytes_max:
            raise ProtocolError(f"a command set is longer than {self._command_bytes_max} bytes")
        self._command += fragment.data
        if not fragment.is_last:
            return None
        data, self._command, self._command_context_id = self._command, bytearray(), None
        return self._decoded(context_id, data)

    def _decoded(self, context_id: int, data: bytearray | memoryview) -> CommandReceived:
        command = decode_command(data)
        if command.has_dataset:
            self._data_context_id = context_id
        return CommandReceived(context_id, command)


class DataSetBuffer:
    """Collects a short data set, as a query's identifier, up to a limit."""

    def __init__(self, bytes_max: int = IDENTIFIER_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        """Append a piece. Raises TooLargeError past the limit."""
        if len(self._data) + len(data) > self._bytes_max:
            raise TooLargeError(f"a data set is longer than the {self._bytes_max} bytes that its operation may have")
        self._data += data

    def take(self) -> bytes:
        """Everything that was written."""
        return bytes(self._data)


def encode_message(context_id: int, command: bytes, dataset: DataChunk | None, pdu_bytes_max: int) -> bytes:
    """A short message with its data set, as PDUs in one piece: the data are copied. Long ones need `DataSetCutter`."""
    parts: list[bytes | memoryview] = []
    for pair in cut_fragments(context_id, memoryview(command), pdu_bytes_max, is_command=True, is_end=True):
        parts += pair
    if dataset is not None:
        for pair in cut_fragments(context_id, memoryview(dataset), pdu_bytes_max, is_end=True):
            parts += pair
    return b"".join(parts)


class DataSetCutter:
    """Cuts a data set that comes in chunks of any size into P-DATA-TF PDUs, as (headers, view of a chunk)."""

    def __init__(self, context_id: int, pdu_bytes_max: int) -> None:
        self._context_id = context_id
        self._pdu_bytes_max = pdu_bytes_max
        self._held = memoryview(b"")

    def push(self, chunk: DataChunk) -> Iterator[tuple[bytes, memoryview]]:
        """PDUs that are ready now that `chunk` is there. It is held back itself: it may be the last."""
        view = memoryview(chunk).cast("B")
        if not len(view):
            return
        if len(self._held) % 2:  # fragments have even length: the odd byte goes ahead with the first of the next chunk
            yield from self._cut(self._held[:-1])
            yield from self._cut(memoryview(bytes((self._held[-1], view[0]))))
            view = view[1:]
        else:
            yield from self._cut(self._held)
        self._held = view

    def finish(self) -> Iterator[tuple[bytes, memoryview]]:
        """The rest, with the mark of the last fragment."""
        return cut_fragments(self._context_id, self._held, self._pdu_bytes_max, is_end=True)

    def _cut(self, data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        return cut_fragments(self._context_id, data, self._pdu_bytes_max, is_end=False)


def cut_fragments(
    context_id: int, data: memoryview, pdu_bytes_max: int, *, is_command: bool = False, is_end: bool
) -> Iterator[tuple[bytes, memoryview]]:
    """P-DATA-TF PDUs for a piece of a command set or data set, each as (headers, view of `data`).

    A PDU holds one value and its body at most `pdu_bytes_max` bytes. `is_end` marks the last PDU as the last fragment;
    with it, empty data give one empty fragment. Data without `is_end` should have even length.
    """
    if pdu_bytes_max < PDU_BYTES_MIN_SEND:
        raise InvalidRequestError(f"PDUs of at most {pdu_bytes_max} bytes leave no room for data")
    room = (pdu_bytes_max - PDV_HEADER.size) & ~1  # fragments have even length (PS3.8 Annex E)
    control = CONTROL_COMMAND if is_command else 0
    end = len(data)
    for offset in range(0, end, room) if end else range(1 if is_end else 0):
        piece = data[offset : offset + room]
        last = CONTROL_LAST if is_end and offset + room >= end else 0
        yield _headers(len(piece), context_id, control | last), piece


def _headers(size: int, context_id: int, control: int) -> bytes:
    pdu = PDU_HEADER.pack(PduType.P_DATA_TF, size + PDV_HEADER.size)
    return pdu + PDV_HEADER.pack(size + 2, context_id, control)
