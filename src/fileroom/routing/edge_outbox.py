"""From the centre to an edge: destinations of kind `edge_inbox`, and what the edge fetches of them.

Nothing can be sent to an edge; it dials in. So a lane's session *offers* its objects (rows of `edge_offer`) and waits until the
edge has fetched, stored and confirmed them, which comes in by the web port, in another process. An offer holds only
while its lane lives; the outcome that came meanwhile is found by the next lane.

    lane:  session.send(batch, settle)          offers, waits for outcomes, withdraws
    edge:  give_offers, open_offer, take_outcomes
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fileroom.archive.retrieve import FileRange, Selection, list_instances, open_object
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, acting_as, current_access
from fileroom.core.errors import ConfigurationError, NotFoundError, PeerRefusedError, RequestError, StorageError, told
from fileroom.core.limits import STREAM_CHUNK_BYTES
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.edge_parts import staged_path
from fileroom.routing.edge_wire import OBJECT_BYTES_MAX, OFFERS_MAX, OUTCOMES_MAX, short_text
from fileroom.routing.edges import CallingEdge, edge_id_of
from fileroom.routing.opening import open_file, refused
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing
from fileroom.routing.target_fields import TargetField, checked_target

AWAY_AFTER_S: Final = 60
"""An edge says hello every 15 s; without four of them it is away."""
WINDOW: Final = 32
"""Offers of one lane at a time: enough to keep a line of some Gbit/s busy, little enough to be withdrawn."""
_OFFERED_S: Final = 60
_RENEW_S: Final = 15.0
_GIVEN_S: Final = 120
"""An edge that has asked for an offer and is not heard of again gets it anew after so long, or when it starts anew."""
_LOOK_S: Final = 0.1
_LOOK_FOR_OFFERS_S: Final = 0.2
_OUTCOMES: Final = frozenset(one.value for one in OutcomeKind)


@dataclass(frozen=True, slots=True)
class Offer:
    """An object that an edge may fetch."""

    id: int
    study_instance_uid: str
    sop_instance_uid: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class OpenedOffer:
    """The bytes of an offer, from `start`; `file` is where they lie, if they lie somewhere."""

    offer: Offer
    start: int
    file: FileRange | None
    chunks: AsyncIterator[bytes]


# --- the lane's side ---


class EdgeInbox:
    """The kind `edge_inbox`."""

    name: Final = "edge_inbox"
    secrets: Final[frozenset[str]] = frozenset()
    confirmations: Final = frozenset({Confirmation.ANSWER})
    fields: Final = (
        TargetField("edge", told("Edge"), required=True, help=told("The edge that fetches what is sent here.")),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        return checked_target(self.name, self.fields, target)

    def describe(self, target: Mapping[str, Any]) -> str:
        """Which edge."""
        return told("fetched by the edge {edge}", edge=str(target.get("edge", "")))

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[_Session]:
        """Raises PeerRefusedError while the edge is away, ConfigurationError where there is none of that name."""
        edge_id = await _edge_id(context)
        await _require_here(context.archive, edge_id, str(context.target["edge"]))
        yield _Session(context.archive, edge_id, str(context.target["edge"]))

    async def probe(self, context: KindContext) -> str:
        """When it was here."""
        edge_id = await _edge_id(context)
        return await _require_here(context.archive, edge_id, str(context.target["edge"]))


class _Session:
    """Offers of one lane."""

    def __init__(self, archive: Archive, edge_id: int, edge: str) -> None:
        self._archive = archive
        self._edge_id = edge_id
        self._edge = edge

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """Offer, wait, settle. Raises PeerRefusedError when the edge goes away meanwhile."""
        open_offers: dict[int, OutgoingObject] = {}
        renewed_at = asyncio.get_running_loop().time()
        rest = iter(batch)
        is_over = False
        while True:
            while not is_over and len(open_offers) < WINDOW:
                outgoing = next(rest, None)
                if outgoing is None:
                    is_over = True
                    break
                made = await self._offer(outgoing)
                if isinstance(made, Outcome):
                    settle(outgoing, made)
                else:
                    open_offers[made] = outgoing
            if is_over and not open_offers:
                return
            settled = await self._settled(list(open_offers))
            for offer_id, outcome in settled:
                settle(open_offers.pop(offer_id), outcome)
            now = asyncio.get_running_loop().time()
            if now - renewed_at > _RENEW_S:
                await self._renew(list(open_offers))
                renewed_at = now
            if not settled:
                await asyncio.sleep(_LOOK_S)

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """The outcome of an edge is its commit; there is nothing more to ask."""
        return {one.delivery_id: Outcome(OutcomeKind.TAKEN) for one in batch}

    async def _offer(self, outgoing: OutgoingObject) -> int | Outcome:
        opened = await open_file(outgoing)
        if isinstance(opened, Outcome):
            return opened
        stays = isinstance(outgoing, StoredOutgoing)
        path = None
        if not stays:
            path = staged_path(self._archive.settings, self._edge_id, outgoing.delivery_id, outgoing.sop_instance_uid)
        try:
            digest, size = await _read_through(opened.chunks, path)
        except RequestError as error:
            return refused(error)
        if size > OBJECT_BYTES_MAX:
            return Outcome(OutcomeKind.REFUSED, told("The object is larger than the edge link takes."))
        async with self._archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"""INSERT INTO edge_offer AS o (edge_id, delivery_id, study_instance_uid, sop_instance_uid, sop_class_uid,
                        sha256, bytes, staged, offered_until)
                    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s))
                    ON CONFLICT (edge_id, delivery_id, sop_instance_uid) DO UPDATE SET sha256 = excluded.sha256,
                        bytes = excluded.bytes, staged = excluded.staged, offered_until = excluded.offered_until,
                        outcome = CASE WHEN o.sha256 = excluded.sha256 AND o.outcome IN ('taken', 'warned') THEN o.outcome
                            ELSE '' END
                    RETURNING id""",
                (
                    self._edge_id,
                    outgoing.delivery_id,
                    outgoing.study_instance_uid,
                    outgoing.sop_instance_uid,
                    outgoing.sop_class_uid,
                    digest,
                    size,
                    path is not None,
                    _OFFERED_S,
                ),
            )
            row = await cursor.fetchone()
        if row is None:
            raise AssertionError("an inserted row is returned")
        return int(row[0])

    async def _settled(self, ids: list[int]) -> list[tuple[int, Outcome]]:
        """What has an outcome, in the order of the offers; those rows go."""
        async with self._archive.pool.connection() as connection:
            cursor = await connection.execute(
                b"""DELETE FROM edge_offer WHERE id = ANY(%s) AND outcome <> ''
                    RETURNING id, outcome, cause, bytes, staged, delivery_id, sop_instance_uid""",
                (ids,),
            )
            rows = sorted(await cursor.fetchall())
        for row in rows:
            if row[4]:
                staged_path(self._archive.settings, self._edge_id, row[5], row[6]).unlink(missing_ok=True)
        return [(row[0], Outcome(OutcomeKind(row[1]), row[2], sent_bytes=row[3])) for row in rows]

    async def _renew(self, ids: list[int]) -> None:
        await _require_here(self._archive, self._edge_id, self._edge)
        async with self._archive.pool.connection() as connection:
            await connection.execute(
                b"UPDATE edge_offer SET offered_until = now() + make_interval(secs => %s) WHERE id = ANY(%s)",
                (_OFFERED_S, ids),
            )


EDGE_INBOX: Final = EdgeInbox()


# --- the edge's side, in a web worker ---


class OfferWatch:
    """Wakes those who wait for offers: one look at the table for all of them, and none while nobody waits."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._waiting: dict[int, set[asyncio.Event]] = {}
        self._task: asyncio.Task[None] | None = None

    async def wait(self, edge_id: int, seconds: float) -> None:
        """Until there is something for this edge, or so long."""
        event = asyncio.Event()
        self._waiting.setdefault(edge_id, set()).add(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[edge_id].discard(event)
            if not self._waiting[edge_id]:
                del self._waiting[edge_id]

    async def _look(self) -> None:
        while self._waiting:
            async with self._archive.pool.connection() as connection:
                cursor = await connection.execute(
                    b"""SELECT DISTINCT edge_id FROM edge_offer
                        WHERE outcome = '' AND offered_until > now() AND given_until < now()"""
                )
                found = [row[0] for row in await cursor.fetchall()]
            for edge_id in found:
                for event in self._waiting.get(edge_id, ()):
                    event.set()
            await asyncio.sleep(_LOOK_FOR_OFFERS_S)


async def give_offers(archive: Archive, edge: CallingEdge, most: int) -> list[Offer]:
    """What the edge may fetch, in order; it is not given again for a while. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE edge_offer SET given_until = now() + make_interval(secs => %s) WHERE id IN (
                    SELECT id FROM edge_offer WHERE edge_id = %s AND outcome = '' AND offered_until > now()
                    AND given_until < now() ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
                RETURNING id, study_instance_uid, sop_instance_uid, sha256, bytes""",
            (_GIVEN_S, edge.id, max(1, min(most, OFFERS_MAX))),
        )
        rows = sorted(await cursor.fetchall())
    return [Offer(row[0], row[1], row[2], bytes(row[3]).hex(), row[4]) for row in rows]


async def open_offer(archive: Archive, edge: CallingEdge, offer_id: int, start: int) -> OpenedOffer:
    """The bytes of an offer of this edge from `start`. Raises NotFoundError: withdrawn, settled, or another edge's."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE edge_offer SET given_until = now() + make_interval(secs => %s)
                WHERE id = %s AND edge_id = %s AND outcome = '' AND offered_until > now()
                RETURNING id, study_instance_uid, sop_instance_uid, sha256, bytes, staged, delivery_id""",
            (_GIVEN_S, offer_id, edge.id),
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("That offer is withdrawn, or is none of this edge."))
    offer = Offer(row[0], row[1], row[2], bytes(row[3]).hex(), row[4])
    start = min(start, offer.bytes)
    if row[5]:
        path = staged_path(archive.settings, edge.id, row[6], offer.sop_instance_uid)
        if not path.is_file():
            raise StorageError("What was made for the edge is not in this worker's data folder; they must share it.")
        return OpenedOffer(offer, start, FileRange(path, start, offer.bytes - start), _read_file(path, start))
    access = replace(current_access(), permissions=frozenset({Permission.STUDY_EXPORT}))
    with acting_as(access):
        found = await list_instances(
            archive, Selection(sop_uids=(offer.sop_instance_uid,)), permission=Permission.STUDY_EXPORT
        )
        if not found:
            raise NotFoundError(told("That object is in the archive no more."))
        opened = await open_object(archive, found[0], part10=True, permission=Permission.STUDY_EXPORT)
    file = opened.file
    if file is not None and file.length == offer.bytes:
        return OpenedOffer(
            offer, start, FileRange(file.path, file.offset + start, file.length - start), _without(opened.chunks, start)
        )
    return OpenedOffer(offer, start, None, _without(opened.chunks, start))


async def take_outcomes(archive: Archive, edge: CallingEdge, outcomes: Sequence[Mapping[str, Any]]) -> int:
    """What the edge says became of its offers; how many were news. Raises DatabaseError."""
    known = [
        (one["id"], one["outcome"], short_text(one.get("cause")))
        for one in outcomes[:OUTCOMES_MAX]
        if isinstance(one.get("id"), int) and one.get("outcome") in _OUTCOMES
    ]
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""UPDATE edge_offer o SET outcome = g.outcome, cause = g.cause
                FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS g(id, outcome, cause)
                WHERE o.id = g.id AND o.edge_id = %s AND o.outcome = ''""",
            ([one[0] for one in known], [one[1] for one in known], [one[2] for one in known], edge.id),
        )
        return cursor.rowcount


async def forget_old_offers(archive: Archive) -> None:
    """Offers that no lane has come back to for two days. Raises DatabaseError."""
    async with archive.pool.connection() as connection:
        await connection.execute(b"DELETE FROM edge_offer WHERE offered_until < now() - interval '2 days'")


# --- helpers ---


async def _edge_id(context: KindContext) -> int:
    name = str(context.target.get("edge", ""))
    try:
        return await edge_id_of(context.archive, name)
    except NotFoundError as error:
        raise ConfigurationError(told("There is no edge {name}; add it under Edges.", name=name)) from error


async def _require_here(archive: Archive, edge_id: int, name: str) -> str:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT extract(epoch FROM now() - seen_at)::float8 FROM edge_state WHERE edge_id = %s", (edge_id,)
        )
        row = await cursor.fetchone()
    if row is None:
        raise PeerRefusedError(told("The edge {name} has never called.", name=name))
    if row[0] > AWAY_AFTER_S:
        raise PeerRefusedError(
            told(
                "The edge {name} has not called for {minutes} minutes; what waits goes when it calls again.",
                name=name,
                minutes=max(1, round(row[0] / 60)),
            )
        )
    return told("The edge {name} called {seconds} s ago.", name=name, seconds=round(row[0]))


async def _read_through(chunks: AsyncIterator[bytes], path: Path | None) -> tuple[bytes, int]:
    """SHA-256 and length of what passes by; with `path` it is kept there."""
    digest, size = hashlib.sha256(), 0
    part = path.with_suffix(f".{os.getpid()}.part") if path is not None else None
    if part is not None:
        part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(part.open("wb")) if part is not None else None
            async for chunk in chunks:
                size += len(chunk)
                await asyncio.to_thread(_keep, digest, file, chunk)
        if part is not None and path is not None:
            part.replace(path)
    except OSError as error:
        raise StorageError(f"An object for an edge cannot be staged: {error.strerror}.") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
    return digest.digest(), size


def _keep(digest: Any, file: Any, chunk: bytes) -> None:
    digest.update(chunk)
    if file is not None:
        file.write(chunk)


async def _read_file(path: Path, start: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while data := await asyncio.to_thread(file.read, STREAM_CHUNK_BYTES):
            yield data


async def _without(chunks: AsyncIterator[bytes], start: int) -> AsyncIterator[bytes]:
    """What comes behind the first `start` bytes."""
    left = start
    async for chunk in chunks:
        if left >= len(chunk):
            left -= len(chunk)
            continue
        yield chunk[left:] if left else chunk
        left = 0
