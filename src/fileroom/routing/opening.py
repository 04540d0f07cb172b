"""Opening an object for a destination: its bytes, or the outcome where it cannot be had."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fileroom.archive.retrieve import OpenedObject
from fileroom.core.errors import RequestError
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.outgoing import OutgoingObject


async def open_file(outgoing: OutgoingObject) -> OpenedObject | Outcome:
    """The object as a file (PS3.10), or REFUSED and why it cannot be had. Raises StorageError, DatabaseError."""
    try:
        return await outgoing.open(part10=True)
    except RequestError as error:
        return refused(error)


def refused(error: RequestError) -> Outcome:
    """The outcome of an object that we cannot give."""
    return Outcome(OutcomeKind.REFUSED, error.sentence)


async def whole(opened: OpenedObject, bytes_max: int) -> bytes | None:
    """All of it in memory; None where it is larger than `bytes_max` (the iterator is then used up)."""
    pieces = bytearray()
    async for piece in opened.chunks:
        pieces += piece
        if len(pieces) > bytes_max:
            return None
    return bytes(pieces)


async def pieces_of(opened: OpenedObject, at_least: int) -> AsyncIterator[bytes]:
    """Its bytes in pieces of at least so many, the last one less."""
    waiting = bytearray()
    async for piece in opened.chunks:
        waiting += piece
        if len(waiting) >= at_least:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)
