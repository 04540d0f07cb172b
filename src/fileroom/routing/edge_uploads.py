"""Objects on their way from an edge to the centre: pieces that are kept as they come, and stored when all are there.

An object is answered for only when `archive.store` has committed it. What has come of a broken request stays, so the
edge goes on from there (`how_much`). The edge's own permission is good for this alone; the archive is asked in its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from fileroom.archive.file_store import IncomingFile
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind, StoreOutcome
from fileroom.core.access import Permission, acting_as, current_access
from fileroom.core.errors import FileroomError, InvalidObjectError, InvalidRequestError, PeerTimeoutError
from fileroom.core.limits import MIB, OBJECT_MEMORY_BYTES_MAX
from fileroom.routing.edge_parts import OpenPart, Parts
from fileroom.routing.edge_turns import Turn, Turns
from fileroom.routing.edge_wire import RECEIVED_DAYS, STALL_S, Piece
from fileroom.routing.edges import CallingEdge

RECEIVED_BY: Final = "edge"
"""What the index says of the door that such objects came by."""
_WHOLE_BYTES_MAX: Final = 8 * MIB
"""Objects of one piece up to here are gathered in memory; larger ones on the disk."""
_AT_ONCE_MAX: Final = 32
"""Such objects of one web worker: 256 MiB at the worst."""
_WRITE_BYTES: Final = 1 * MIB

Body = AsyncIterator[bytes]
Stored = Callable[[StoreOutcome], None]
"""Told of each object that was stored, for the audit trail."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a piece. `state`: `part` (go on from `have`), or as the archive says `stored`, `already there`,
    `kept aside`, `refused` with its `cause`. `is_wrong`: the piece itself was not taken."""

    state: str
    have: int = 0
    cause: str = ""
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class ComingPiece:
    """A piece of an object, as its header fields announce it."""

    edge: CallingEdge
    sha256: str
    piece: Piece
    digest: bytes
    turn: Turn


class EdgeUploads:
    """What a web worker receives from edges."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._whole = asyncio.Semaphore(_AT_ONCE_MAX)
        self._turns = Turns(archive)

    async def how_much(self, edge: CallingEdge, sha256: str, turn: Turn) -> Receipt:
        """How much of an object is here. Raises DatabaseError."""
        if await was_received(self._archive, edge.id, sha256):
            await self._turns.through(turn)
            return Receipt(StoreKind.ALREADY_THERE.value)
        return Receipt("part", Parts(self._archive.settings, edge.id).size(sha256))

    async def receive(self, coming: ComingPiece, body: Body, stored: Stored) -> Receipt:
        """Take a piece, and store the object where it is the last one, behind those whose turn is before it.

        Raises InvalidRequestError, TooLargeError, PartBusyError, PeerError, StorageError, DatabaseError.
        """
        edge, sha256, piece = coming.edge, coming.sha256, coming.piece
        parts = Parts(self._archive.settings, edge.id)
        have = parts.size(sha256)
        if piece.is_whole and piece.total <= _WHOLE_BYTES_MAX and not have:
            async with self._whole:
                return await self._receive_whole(coming, parts, body, stored)
        with parts.opened(sha256, piece.total) as part:
            if piece.start < piece.total <= part.size:
                part.cut(piece.start)  # Killed between its last byte and its commit: the last piece comes again.
            if part.size != piece.start:
                return Receipt("part", part.size, "This is not where the object goes on.", is_wrong=True)
            receipt = await _take_piece(part, piece, coming.digest, body)
            if receipt is not None:
                return receipt
            if not piece.is_last:
                return Receipt("part", piece.end)
            try:
                receipt = await self._store_part(coming, part, stored)
            except BaseException:
                part.cut(piece.start)  # Its last piece comes again, not all of it.
                raise
            parts.remove(sha256)
            return receipt

    # --- helpers ---

    async def _receive_whole(self, coming: ComingPiece, parts: Parts, body: Body, stored: Stored) -> Receipt:
        """Without a part, unless the line breaks in its midst."""
        sha256, piece, gathered = coming.sha256, coming.piece, bytearray()
        try:
            async for data in _in_time(body):
                gathered += data
                if len(gathered) > piece.total:
                    raise InvalidRequestError("The piece is longer than its Content-Range says.")
        except InvalidRequestError:
            raise
        except BaseException:
            await _keep(parts, sha256, piece.total, gathered)
            raise
        if len(gathered) < piece.total:
            await _keep(parts, sha256, piece.total, gathered)
            return Receipt("part", len(gathered), "The piece is shorter than its Content-Range says.", is_wrong=True)
        if hashlib.sha256(gathered).hexdigest() != sha256:
            return Receipt(
                "part", 0, "The object is not what its SHA-256 says; it was spoilt on the way.", is_wrong=True
            )

        async def pieces() -> Body:
            for start in range(0, len(gathered), OBJECT_MEMORY_BYTES_MAX):
                yield bytes(gathered[start : start + OBJECT_MEMORY_BYTES_MAX])

        return await self._store(coming, pieces(), stored)

    async def _store_part(self, coming: ComingPiece, part: OpenPart, stored: Stored) -> Receipt:
        edge, sha256 = coming.edge, coming.sha256
        if (await asyncio.to_thread(part.digest)).hex() != sha256:
            return Receipt(
                "part", 0, "The object is not what its SHA-256 says; it was spoilt on the way.", is_wrong=True
            )

        async def pieces() -> Body:
            at = 0
            while data := await part.read(at):
                at += len(data)
                yield data

        def remember(outcome: StoreOutcome) -> None:
            stored(outcome)
            remembered.append(outcome)

        remembered: list[StoreOutcome] = []
        receipt = await self._store(coming, pieces(), remember)
        for outcome in remembered:
            await remember_received(self._archive, edge.id, sha256, outcome)
        return receipt

    async def _store(self, coming: ComingPiece, pieces: Body, stored: Stored) -> Receipt:
        access = replace(current_access(), permissions=frozenset({Permission.STUDY_STORE}))
        await self._turns.wait(coming.turn)
        with acting_as(access):
            receipt = await store_pieces(self._archive, coming.edge.name, pieces, stored)
        await self._turns.through(coming.turn)
        return receipt


async def store_pieces(archive: Archive, sender: str, pieces: Body, stored: Stored) -> Receipt:
    """Store a file that came over the link, at either end, in the name of whoever acts.

    A refusal is a receipt. Raises StorageError, DatabaseError, NotAllowedError.
    """
    incoming = IncomingFile(archive, RECEIVED_BY, sender)
    try:
        async for data in pieces:
            incoming.write(data)
            if incoming.pending_bytes > OBJECT_MEMORY_BYTES_MAX:
                await incoming.drain()
    except InvalidObjectError as error:
        await incoming.abort()
        await incoming.refuse(error)
        incoming.count_failure(error)
        return Receipt("refused", cause=str(error))
    except BaseException:
        await incoming.abort()
        raise
    try:
        outcome = await incoming.finish()
    except InvalidObjectError as error:
        incoming.count_failure(error)
        return Receipt("refused", cause=str(error))
    except FileroomError as error:
        incoming.count_failure(error)
        raise
    stored(outcome)
    return Receipt(outcome.kind.value)


async def was_received(archive: Archive, peer_id: int, sha256: str) -> bool:
    """Whether this very object came from there in the last days and is here still. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT 1 FROM edge_received r JOIN instance i ON i.sop_instance_uid = r.sop_instance_uid
                AND i.storage_key = r.storage_key WHERE r.peer_id = %s AND r.sha256 = %s""",
            (peer_id, bytes.fromhex(sha256)),
        )
        return await cursor.fetchone() is not None


async def remember_received(archive: Archive, peer_id: int, sha256: str, outcome: StoreOutcome) -> None:
    """The object is here: should the answer be lost, it need not come again. Raises DatabaseError."""
    if outcome.kind is StoreKind.KEPT_ASIDE:
        return
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO edge_received (peer_id, sha256, sop_instance_uid, storage_key) VALUES (%s, %s, %s, %s)
                ON CONFLICT (peer_id, sha256) DO UPDATE SET storage_key = excluded.storage_key, at = now()""",
            (peer_id, bytes.fromhex(sha256), outcome.sop_instance_uid, outcome.storage_key),
        )


async def forget_received(archive: Archive) -> None:
    """Digests that are older than RECEIVED_DAYS. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM edge_received WHERE at < now() - make_interval(days => %s)", (RECEIVED_DAYS,)
        )


def inflated(body: Body, bytes_max: int) -> Body:
    """A body of Content-Encoding gzip, at most `bytes_max` bytes of it. Raises InvalidRequestError."""
    return _inflated(body, bytes_max)


async def _inflated(body: Body, bytes_max: int) -> Body:
    decoder, left = zlib.decompressobj(31), bytes_max
    async for data in body:
        while data:
            try:
                out = decoder.decompress(data, _WRITE_BYTES)
            except zlib.error as error:
                raise InvalidRequestError("The piece says that it is gzip, and is not.") from error
            data = decoder.unconsumed_tail
            left -= len(out)
            if left < 0:
                raise InvalidRequestError("The piece is longer than its Content-Range says.")
            if out:
                yield out
            elif decoder.eof:
                return


async def _take_piece(part: OpenPart, piece: Piece, digest: bytes, body: Body) -> Receipt | None:
    """None: the piece is there. What has come of a broken one stays; it is proven by the digest of the whole."""
    seen, buffer, size = hashlib.sha256(), bytearray(), piece.end - piece.start
    got = 0
    try:
        async for data in _in_time(body):
            got += len(data)
            if got > size:
                raise InvalidRequestError("The piece is longer than its Content-Range says.")
            seen.update(data)
            buffer += data
            if len(buffer) >= _WRITE_BYTES:
                ready, buffer = buffer, bytearray()
                await part.append(ready)
    except InvalidRequestError:
        buffer.clear()
        part.cut(piece.start)
        raise
    finally:
        if buffer:
            await asyncio.shield(part.append(buffer))
    if got < size:
        return Receipt("part", part.size, "The piece is shorter than its Content-Range says.", is_wrong=True)
    if seen.digest() != digest:
        part.cut(piece.start)
        return Receipt("part", piece.start, "The piece is not what its Content-Digest says.", is_wrong=True)
    return None


async def _keep(parts: Parts, sha256: str, total: int, data: bytearray) -> None:
    """What has come of a whole object goes on as a part, if there is room; if not, it comes again."""
    with contextlib.suppress(FileroomError):
        if data and not parts.size(sha256):
            with parts.opened(sha256, total) as part:
                await asyncio.shield(part.append(data))


async def _in_time(body: Body) -> Body:
    """Raises PeerTimeoutError when it stands still."""
    iterator = aiter(body)
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                data = await anext(iterator)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise PeerTimeoutError(f"The piece stood still for {STALL_S:g} s.") from error
        yield data
