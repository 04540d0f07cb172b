"""From an edge to its centre: destinations of kind `edge`.

The address of an object is its SHA-256. A small one goes in one request; of a larger one the centre is asked first how much it
has, and the rest goes in pieces. When the line breaks, the session tries a few times by itself and goes on where it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import secrets
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fileroom.archive.retrieve import OpenedObject
from fileroom.core.errors import (
    ConfigurationError,
    NotFoundError,
    PeerError,
    PeerRefusedError,
    RequestError,
    StorageError,
    told,
)
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.edge_call import CentreCall, CentreRefusesError, calling
from fileroom.routing.edge_centres import Centre, read_centre
from fileroom.routing.edge_uploads import Receipt
from fileroom.routing.edge_wire import OBJECT_BYTES_MAX, Piece
from fileroom.routing.opening import open_file, refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import TargetField, checked_target

TRIES: Final = 6
"""Of one object within a session, without progress in between; then the lane waits longer."""
_PAUSE_S: Final = 0.25
_PAUSE_MAX_S: Final = 4.0
_OUTCOMES: Final[Mapping[str, OutcomeKind]] = {
    "stored": OutcomeKind.TAKEN,
    "already there": OutcomeKind.TAKEN,
    "kept aside": OutcomeKind.WARNED,
    "refused": OutcomeKind.REFUSED,
}


class EdgeDestination:
    """The kind `edge`."""

    name: Final = "edge"
    secrets: Final[frozenset[str]] = frozenset()
    confirmations: Final = frozenset({Confirmation.ANSWER})
    fields: Final = (
        TargetField(
            "centre",
            told("Centre"),
            required=True,
            help=told("As 'fileroom edge connect' has named it; it holds address and token."),
        ),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        return checked_target(self.name, self.fields, target)

    def describe(self, target: Mapping[str, Any]) -> str:
        """Which centre."""
        return told("over the edge link to {centre}", centre=str(target.get("centre", "")))

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[_Session]:
        """Raises PeerRefusedError, ConfigurationError."""
        centre = await _centre(context)
        async with calling(context.archive, centre) as call:
            yield _Session(call, centre)

    async def probe(self, context: KindContext) -> str:
        """Whether the centre answers and takes the token."""
        centre = await _centre(context)
        async with calling(context.archive, centre) as call:
            await call.offers(0, 0)
        return told("The centre {name} answers and knows this edge.", name=centre.name)


EDGE: Final = EdgeDestination()


class _Session:
    """Objects on their way to the centre."""

    def __init__(self, call: CentreCall, centre: Centre) -> None:
        self._call = call
        self._centre = centre

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """Several in flight, committed and settled in their order: each says behind which one it comes."""
        running: deque[tuple[OutgoingObject, asyncio.Task[Outcome]]] = deque()
        turns = itertools.count()
        order, large, rest = secrets.token_hex(8), None, iter(batch)
        try:
            while True:
                while len(running) < self._centre.in_flight and (outgoing := next(rest, None)) is not None:
                    stack = contextlib.AsyncExitStack()
                    held = await _prepared(outgoing, stack)
                    turn = f"{order}/{next(turns)}" if isinstance(held, _Held) else ""
                    task = asyncio.create_task(self._send_one(held, stack, turn, large))
                    running.append((outgoing, task))
                    if isinstance(held, _Held) and held.size > self._centre.piece_bytes:
                        large = task
                if not running:
                    return
                settle(running[0][0], await running[0][1])
                running.popleft()
        finally:
            for _, task in running:
                task.cancel()
            await asyncio.gather(*(task for _, task in running), return_exceptions=True)

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """The centre's answer is its commit; there is nothing more to ask."""
        return {one.delivery_id: Outcome(OutcomeKind.TAKEN) for one in batch}

    async def _send_one(
        self, held: _Held | Outcome, stack: contextlib.AsyncExitStack, turn: str, large: asyncio.Task[Outcome] | None
    ) -> Outcome:
        async with stack:
            if isinstance(held, Outcome):
                return held
            receipt = await self._send_pieces(held, turn, large)
        kind = _OUTCOMES.get(receipt.state)
        if kind is None:
            return Outcome(OutcomeKind.TRY_LATER, receipt.cause or told("The centre gave no receipt."))
        cause = told("The centre has another object of this UID; this one is kept beside it.")
        return Outcome(kind, cause if kind is OutcomeKind.WARNED else receipt.cause, sent_bytes=held.size)

    async def _send_pieces(self, held: _Held, turn: str, large: asyncio.Task[Outcome] | None) -> Receipt:
        """Until the centre has all of it. Raises PeerError when it is not reached again and again."""
        tries, at, asks = 0, 0, held.size > self._centre.piece_bytes
        while True:
            try:
                if asks:
                    found = await self._call.how_much(held.sha256, turn)
                    if found.state in _OUTCOMES:
                        return found
                    at, asks = found.have, False
                if at >= held.size:
                    # All of it is there, but the centre was killed before it was stored: the last piece goes again.
                    at = max(0, held.size - self._centre.piece_bytes)
                piece = Piece(at, min(at + self._centre.piece_bytes, held.size), held.size)
                if not 0 <= piece.start < piece.end:
                    raise PeerRefusedError(told("The centre says that it has more of an object than there is."))
                data = await asyncio.to_thread(held.read, piece.start, piece.end - piece.start)
                if piece.is_last and large is not None:
                    await asyncio.wait([large])  # The centre waits a moment for those before, not for minutes.
                receipt = await self._call.put_piece(held.sha256, piece, data, turn)
            except CentreRefusesError:
                raise
            except PeerError:
                tries, asks = tries + 1, True
                if tries >= TRIES:
                    raise
            else:
                if receipt.state in _OUTCOMES:
                    return receipt
                if receipt.state == "part" and at < receipt.have < held.size:
                    tries = 0
                    at = receipt.have
                    continue
                tries, asks = tries + 1, True
                if tries >= TRIES:
                    return receipt
            await asyncio.sleep(min(_PAUSE_S * 2**tries, _PAUSE_MAX_S))


@dataclass(frozen=True, slots=True)
class _Held:
    """An object whose bytes can be read at any place."""

    descriptor: int
    offset: int
    size: int
    sha256: str

    def read(self, start: int, length: int) -> bytes:
        """Raises StorageError where the file is shorter by now."""
        data = os.pread(self.descriptor, length, self.offset + start)
        if len(data) != length:
            raise StorageError(told("The object's file is shorter than it was. Run 'fileroom verify'."))
        return data


async def _prepared(outgoing: OutgoingObject, stack: contextlib.AsyncExitStack) -> _Held | Outcome:
    """The bytes at hand, for as long as `stack` is open; REFUSED where they cannot be had. Raises StorageError."""
    opened = await open_file(outgoing)
    if isinstance(opened, Outcome):
        return opened
    try:
        held = await stack.enter_async_context(_held(opened))
    except RequestError as error:
        return refused(error)
    if held.size > OBJECT_BYTES_MAX:
        return Outcome(OutcomeKind.REFUSED, told("The object is larger than the edge link takes."))
    return held


@contextlib.asynccontextmanager
async def _held(opened: OpenedObject) -> AsyncIterator[_Held]:
    """The stored file itself, or what is made on the way out, in a temporary file. Raises StorageError."""
    with contextlib.ExitStack() as stack:
        if opened.file is not None:
            descriptor = stack.enter_context(_opened_file(opened))
            offset, size = opened.file.offset, opened.file.length
        else:
            file = stack.enter_context(tempfile.TemporaryFile())
            waiting, size = bytearray(), 0
            async for chunk in opened.chunks:
                size += len(chunk)
                waiting += chunk
                if len(waiting) >= OBJECT_MEMORY_BYTES_MAX:
                    await asyncio.to_thread(file.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(file.write, bytes(waiting))
            file.flush()
            descriptor, offset = file.fileno(), 0
        digest = await asyncio.to_thread(_digest, descriptor, offset, size)
        yield _Held(descriptor, offset, size, digest)


@contextlib.contextmanager
def _opened_file(opened: OpenedObject) -> Iterator[int]:
    assert opened.file is not None
    try:
        descriptor = os.open(opened.file.path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"The object's file cannot be read: {error.strerror}. Run 'fileroom verify'.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _digest(descriptor: int, offset: int, size: int) -> str:
    found, at = hashlib.sha256(), 0
    while at < size and (data := os.pread(descriptor, min(MIB, size - at), offset + at)):
        found.update(data)
        at += len(data)
    return found.hexdigest()


async def _centre(context: KindContext) -> Centre:
    name = str(context.target.get("centre", ""))
    try:
        return await read_centre(context.archive, name)
    except NotFoundError as error:
        raise ConfigurationError(
            told("There is no centre {name}; add it by 'fileroom edge connect'.", name=name)
        ) from error
