"""Lanes: what brings parcels to one destination, side by side, each over a session that it keeps open.

    runner of a destination ─▶ lane ─▶ claim a parcel ─▶ its waiting deliveries ─▶ treat ─▶ session.send ─▶ settle ─▶ proof

A destination that cannot be reached rests for a while, alone: the others have lanes of their own. What became of objects is
written while the next ones are already on their way.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from fileroom.admin.audit_events import node_participant, sent
from fileroom.admin.audit_message import Role
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.archive.transfers import studies_of
from fileroom.core.access import Permission, current_access
from fileroom.core.errors import DatabaseError, FileroomError, PeerError
from fileroom.routing.delivery_rows import DeliveryState
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destination_kind import Confirmation, DestinationSession, Outcome, OutcomeKind
from fileroom.routing.destinations import context_of
from fileroom.routing.health import note_failure, note_outcomes
from fileroom.routing.kinds import kind_named
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing
from fileroom.routing.parcels import (
    RENEW_S,
    Parcel,
    SentDelivery,
    Settled,
    WaitingDelivery,
    claim_parcel,
    finish_parcel,
    next_deliveries,
    remember_sender,
    sent_deliveries,
    settle,
)
from fileroom.routing.pools import choose_member
from fileroom.routing.throttle import Pace, Throttle, paced
from fileroom.routing.treatment import Treated, Treatment, fall_back, falls_back, load_treatment, treat
from fileroom.tasks.loop import retry_delay

SETTLE_INTERVAL_S: Final = 0.25
"""How old the ledger may be, and how much is sent twice after a kill."""
REMEMBERED_S: Final = 300.0
REMEMBERED_STOPPING_S: Final = 5.0
"""How long a lane keeps what peers have taken in mind while the database is away: forgotten, it would be sent twice."""
LINGER_S: Final = 0.3
"""A parcel that is empty is looked at once more after this: the next objects of an arriving study are about to come."""
SESSION_IDLE_S: Final = 10.0
"""How long a lane without work keeps its association open."""
LOOK_INTERVAL_S: Final = 1.0
"""An idle lane looks by itself, should a notice have been lost."""
POOL_KIND: Final = "pool"
REST_FIRST_S: Final = 2.0
REST_MAX_S: Final = 300.0
"""A destination that cannot be reached is tried again after 2, 4, 8 ... seconds, at last every five minutes."""
PROOF_FIRST_S: Final = 5.0
PROOF_MAX_S: Final = 600.0
PROOF_GIVE_UP_S: Final = 24 * 3600.0
"""A day after an object was taken, a destination that still does not prove it is not going to."""
_JITTER: Final = 0.2

_log: Final = structlog.get_logger(__name__)


@dataclass
class Rest:
    """Why and until when (time.monotonic) a destination is left alone."""

    until: float = 0.0
    failures: int = 0
    reason: str = ""

    def failed(self, reason: str) -> float:
        """Once more; returns for how many seconds it rests."""
        self.failures += 1
        delay = min(REST_FIRST_S * 2.0 ** min(self.failures - 1, 20), REST_MAX_S)
        delay *= 1 - _JITTER / 2 + _JITTER * random.random()  # noqa: S311 - spreads load
        self.until, self.reason = time.monotonic() + delay, reason
        return delay

    def worked(self) -> None:
        """It is there."""
        self.until, self.failures, self.reason = 0.0, 0, ""

    @property
    def left_s(self) -> float:
        """Seconds that it still rests."""
        return max(0.0, self.until - time.monotonic())


@dataclass(frozen=True, slots=True)
class Errand:
    """What the lanes of a destination are given: where to, in what company, and when to stop.

    `members` are all destinations by name where this one is a pool, which hands its parcels to them.
    """

    archive: Archive
    destination: Destination
    rest: Rest
    wake: asyncio.Event
    is_stopping: Callable[[], bool]
    throttle: Throttle
    members: Mapping[str, Destination] = field(default_factory=dict)


class Lane:
    """One lane of a destination."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self.archive = errand.archive
        self.destination = errand.destination
        self._treatments: dict[str, Treatment] = {}
        self._sessions: dict[int, DestinationSession] = {}
        self._stack = contextlib.AsyncExitStack()

    async def run(self) -> None:
        """Bring parcels as long as there are any; end when nothing has come for SESSION_IDLE_S."""
        errand = self._errand
        try:
            idle_since = time.monotonic()
            while not errand.is_stopping() and not errand.rest.left_s:
                parcel = await claim_parcel(self.archive, self.destination.id)
                if parcel is None:
                    if time.monotonic() - idle_since > SESSION_IDLE_S:
                        return
                    errand.wake.clear()
                    await _wait(errand.wake, LOOK_INTERVAL_S)
                    continue
                await self._take_on(parcel)
                idle_since = time.monotonic()
        finally:
            await self._close()

    async def _take_on(self, parcel: Parcel) -> None:
        """Bring one parcel, by the destination itself or by a member of the pool that is well."""
        target = self.destination
        try:
            if self.destination.kind == POOL_KIND:
                target = await self._member_for(parcel)
            if target.id not in self._sessions:
                self._sessions[target.id] = await self._stack.enter_async_context(
                    kind_named(target.kind).open(context_of(self.archive, target))
                )
            await self._bring(parcel, target, self._sessions[target.id])
        except DatabaseError:
            raise
        except FileroomError as error:
            await self._broken(parcel, target, error)
        else:
            self._errand.rest.worked()

    async def _member_for(self, parcel: Parcel) -> Destination:
        """Raises PeerError when no member is well."""
        patient = await _patient_of(self.archive, parcel)
        members = self._errand.members
        member = await choose_member(
            self.archive,
            self.destination,
            members,
            parcel.study_instance_uid,
            patient,
            begun_at_id=parcel.sent_by_id,
        )
        if member is None:
            raise PeerError(
                f"No member of the pool {self.destination.name} can be reached now. Look at them under Routing."
            )
        if member.id != parcel.sent_by_id:
            await remember_sender(self.archive, parcel, member.id)
        return member

    async def _broken(self, parcel: Parcel, target: Destination, error: FileroomError) -> None:
        """The way itself is broken: what is due of this parcel says why, and the destination rests for a while.

        A pool goes on at once with another member.
        """
        self._sessions.pop(target.id, None)
        await self._close()
        await note_failure(self.archive, target.id, str(error), name=target.name)
        is_pool_with_others = self.destination.kind == POOL_KIND and target.id != self.destination.id
        delay = 0.0 if is_pool_with_others else self._errand.rest.failed(str(error))
        _log.warning("destination_failed", destination=target.name, rests_s=round(delay, 1), reason=str(error))
        waiting = await next_deliveries(self.archive, parcel)
        outcome = Outcome(OutcomeKind.TRY_LATER, str(error))
        await settle(self.archive, parcel, [self._settled(one, outcome, delay) for one in waiting])
        await finish_parcel(self.archive, parcel)

    async def _close(self) -> None:
        """Leave all sessions. Whatever happens in leaving a broken one, happened to it before."""
        stack, self._stack, self._sessions = self._stack, contextlib.AsyncExitStack(), {}
        with contextlib.suppress(FileroomError, OSError):
            await stack.aclose()

    async def _bring(self, parcel: Parcel, target: Destination, session: DestinationSession) -> None:
        """Send what is due of a parcel until nothing is, prove what was taken, let go."""
        lingered, last_id, seen = False, 0, False
        while not self._errand.is_stopping():
            waiting = await next_deliveries(self.archive, parcel, last_id)
            if waiting:
                lingered, seen, last_id = False, True, waiting[-1].id
                if not await self._send(parcel, target, session, waiting):
                    return  # Lost to another lane.
            elif lingered or not seen:
                break
            else:
                lingered = True
                await asyncio.sleep(LINGER_S)
        if target.confirmation is not Confirmation.ANSWER and not self._errand.is_stopping():
            await self._prove(parcel, target, session)
        await finish_parcel(self.archive, parcel)

    async def _send(
        self, parcel: Parcel, target: Destination, session: DestinationSession, waiting: Sequence[WaitingDelivery]
    ) -> bool:
        """One batch. False when the parcel is somebody else's by now. Raises FileroomError when the way is broken."""
        batch = Batch(self, parcel, target, {one.id: one for one in waiting})
        pace = Pace.of(target.throttle.mbit_s, target.throttle.objects_s)
        writing = asyncio.create_task(batch.write_on())
        try:
            for treated in await self._prepared(parcel, target, waiting, batch):
                batch.expect(treated)
            if not pace.is_limited:
                await session.send(batch.outgoing, batch.settle)
            else:
                for one in batch.outgoing:
                    await self._errand.throttle.wait(target.id, pace, objects=1)
                    await session.send([paced(one, self._errand.throttle, target.id, lambda: pace)], batch.settle)
            if again := await self._fallen_back(batch, target):
                await session.send(again, batch.settle)
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            await batch.write_surely()
            batch.note()
        await note_outcomes(self.archive, target.id, batch.outcomes, name=target.name)
        return batch.is_ours

    async def _prepared(
        self, parcel: Parcel, target: Destination, waiting: Sequence[WaitingDelivery], batch: Batch
    ) -> list[Treated]:
        """The objects as they shall leave. What is gone, or cannot be made, is settled already."""
        instances = await list_instances(
            self.archive,
            Selection(sop_uids=tuple(one.sop_instance_uid for one in waiting)),
            permission=Permission.STUDY_EXPORT,
        )
        by_uid = {one.sop_instance_uid: one for one in instances}
        groups: dict[str, list[StoredOutgoing]] = {}
        for one in waiting:
            instance = by_uid.get(one.sop_instance_uid)
            if instance is None or instance.study_instance_uid != parcel.study_instance_uid:
                batch.add(
                    Settled(one.id, DeliveryState.CANCELLED, "It was deleted from the archive before it was sent.")
                )
            else:
                name = one.treatment or self.destination.treatment or target.treatment
                groups.setdefault(name, []).append(StoredOutgoing(self.archive, one.id, instance, one.ordered_at))
        made: list[Treated] = []
        for name, objects in groups.items():
            if not name:
                made += [Treated(one, (one,)) for one in objects]
                continue
            made += await self._treated(name, objects, target)
        order = {one.id: number for number, one in enumerate(waiting)}
        return sorted(made, key=lambda one: order[one.original.delivery_id])

    async def _fallen_back(self, batch: Batch, target: Destination) -> list[OutgoingObject]:
        """What is sent in place of objects whose SOP class was refused, where their treatment has another form of them."""
        begun = len(batch.outgoing)
        for one, outcome in batch.take_refused():
            treatment = self._treatments[batch.treatment_of(one.delivery_id)]
            treated = await fall_back(self.archive, treatment, one, destination=target.name)
            if treated is None:
                batch.settle_finally(one, outcome)
            else:
                batch.expect(treated)
        return batch.outgoing[begun:]

    async def _treated(self, name: str, objects: Sequence[StoredOutgoing], target: Destination) -> list[Treated]:
        """A treatment that is gone or broken lets nothing through: it may be what takes the names out."""
        try:
            if name not in self._treatments:
                self._treatments[name] = await load_treatment(self.archive, name)
            return await treat(self.archive, self._treatments[name], objects, destination=target.name)
        except DatabaseError:
            raise
        except FileroomError as error:
            cause = f"The treatment {name} cannot be carried out, so nothing was sent: {error}"
            return [Treated(one, (), failed=cause) for one in objects]

    def treatment_named(self, name: str) -> Treatment | None:
        """One that was loaded for this batch."""
        return self._treatments.get(name)

    def settled(self, delivery: WaitingDelivery, outcome: Outcome, target: Destination, delivered_as: str) -> Settled:
        """What an outcome makes of a delivery."""
        # What one member of a pool could not take is offered to the others at once, before it waits.
        others = len(self.destination.target["members"]) - 1 if self.destination.kind == POOL_KIND else 0
        delay_s = 0.0 if delivery.attempts < others else retry_delay(delivery.attempts + 1)
        found = self._settled(delivery, outcome, delay_s, target)
        return replace(found, delivered_as=delivered_as)

    def _settled(
        self, delivery: WaitingDelivery, outcome: Outcome, delay_s: float, target: Destination | None = None
    ) -> Settled:
        if outcome.kind in (OutcomeKind.TAKEN, OutcomeKind.WARNED):
            proven = (target or self.destination).confirmation is Confirmation.ANSWER
            state = DeliveryState.DELIVERED if proven else DeliveryState.SENT
            return Settled(delivery.id, state, outcome.cause, outcome.status, outcome.sent_bytes)
        attempts_max = self.destination.attempts_max
        if outcome.kind is OutcomeKind.REFUSED:
            return Settled(delivery.id, DeliveryState.FAILED, outcome.cause, outcome.status)
        if attempts_max and delivery.attempts + 1 >= attempts_max:
            cause = f"{outcome.cause} It was tried {delivery.attempts + 1} times, as often as this destination allows."
            return Settled(delivery.id, DeliveryState.FAILED, cause, outcome.status)
        return Settled(delivery.id, DeliveryState.WAITING, outcome.cause, outcome.status, due_in_s=delay_s)

    @property
    def is_stopping(self) -> bool:
        """Whether its destination, or the whole process, lets go."""
        return self._errand.is_stopping()

    # --- proof ---

    async def _prove(self, parcel: Parcel, target: Destination, session: DestinationSession) -> None:
        """Ask for what was taken and is due to be proven. A destination that cannot be asked now is asked later."""
        due = await sent_deliveries(self.archive, parcel)
        if not due:
            return
        items = await self._items_of(target, due)
        try:
            answers = await session.confirm([item for one in due for item in items.get(one.id, ())])
            reason = "It has taken the object; the proof that it is safe there has not come yet."
        except DatabaseError:
            raise
        except FileroomError as error:
            answers, reason = {}, f"It has taken the object but cannot be asked for the proof: {error}"
        await settle(self.archive, parcel, [self._proven(one, answers.get(one.id), reason) for one in due])

    def _proven(self, one: SentDelivery, answer: Outcome | None, reason: str) -> Settled:
        if answer is not None and answer.kind in (OutcomeKind.TAKEN, OutcomeKind.WARNED):
            return Settled(one.id, DeliveryState.DELIVERED, answer.cause)
        age_s = (self.archive.now() - one.taken_at).total_seconds()
        if answer is not None and (answer.kind is OutcomeKind.REFUSED or age_s > PROOF_GIVE_UP_S):
            return Settled(one.id, DeliveryState.FAILED, answer.cause, answer.status)
        if age_s > PROOF_GIVE_UP_S:
            cause = (
                "It took the object, but has not proven in a day that it is safe there. Look there, then send it again."
            )
            return Settled(one.id, DeliveryState.FAILED, cause)
        delay = min(PROOF_FIRST_S * 2.0 ** min(one.attempts, 20), PROOF_MAX_S)
        return Settled(one.id, DeliveryState.SENT, answer.cause if answer else reason, due_in_s=delay)

    async def _items_of(self, target: Destination, due: Sequence[SentDelivery]) -> dict[int, list[OutgoingObject]]:
        """The objects as they were sent, by delivery."""
        instances = await list_instances(
            self.archive,
            Selection(sop_uids=tuple(one.sop_instance_uid for one in due)),
            permission=Permission.STUDY_EXPORT,
        )
        by_uid = {one.sop_instance_uid: one for one in instances}
        found: dict[int, list[OutgoingObject]] = {}
        for one in due:
            instance = by_uid.get(one.sop_instance_uid)
            if instance is None:
                continue
            stored = StoredOutgoing(self.archive, one.id, instance, one.ordered_at)
            name = one.treatment or self.destination.treatment or target.treatment
            found[one.id] = [stored]
            if one.delivered_as and name:
                found[one.id] = [item for made in await self._treated(name, [stored], target) for item in made.made]
        return found


_CLASS_REFUSED: Final = frozenset({None, 0x0122})
"""Statuses of a refusal that is about the SOP class: no presentation context, SOP class not supported (PS3.7 C.5.6)."""


class Batch:
    """Deliveries of one parcel on their way: which objects stand for each, and what became of them."""

    def __init__(self, lane: Lane, parcel: Parcel, target: Destination, waiting: dict[int, WaitingDelivery]) -> None:
        self._lane, self._parcel, self._target, self._waiting = lane, parcel, target, waiting
        self.outcomes: list[Outcome] = []
        self._unwritten: list[Settled] = []
        self._written_at = time.monotonic()
        self._left: dict[int, set[str]] = {}
        self._originals: dict[int, StoredOutgoing] = {}
        self._refused: list[tuple[StoredOutgoing, Outcome]] = []
        self._worst: dict[int, Outcome] = {}
        self._as: dict[int, list[str]] = {}
        self._taken: list[tuple[str, str]] = []
        self._reason = ""
        self._failed: list[tuple[str, str]] = []
        self.outgoing: list[OutgoingObject] = []
        self.is_ours = True

    def expect(self, treated: Treated) -> None:
        """An object shall leave as what was made of it, or must not leave."""
        delivery = self._waiting[treated.original.delivery_id]
        if treated.quarantined:
            self.add(Settled(delivery.id, DeliveryState.QUARANTINED, treated.quarantined))
        elif treated.failed or not treated.made:
            cause = treated.failed or "The treatment leaves nothing of it."
            state = DeliveryState.FAILED if treated.failed else DeliveryState.CANCELLED
            self.add(Settled(delivery.id, state, cause))
        else:
            treatment = self._lane.treatment_named(self.treatment_of(delivery.id))
            if (
                treatment is not None
                and len(treated.made) == 1
                and falls_back(treatment, treated.made[0].sop_class_uid)
            ):
                self._originals[delivery.id] = treated.original
            self._left[delivery.id] = {one.sop_instance_uid for one in treated.made}
            self._as[delivery.id] = [one.sop_instance_uid for one in treated.made]
            self.outgoing += treated.made

    def settle(self, item: OutgoingObject, outcome: Outcome) -> None:
        """What became of one object. A delivery is settled with the last of what stands for it, by the worst outcome."""
        delivery = self._waiting[item.delivery_id]
        left = self._left.get(delivery.id, set())
        if item.sop_instance_uid not in left:
            return
        original = self._originals.get(delivery.id)
        if original is not None and outcome.kind is OutcomeKind.REFUSED and outcome.status in _CLASS_REFUSED:
            self._refused.append((original, outcome))
            return
        left.discard(item.sop_instance_uid)
        before = self._worst.get(delivery.id)
        if before is None or _BADNESS[outcome.kind] > _BADNESS[before.kind]:
            self._worst[delivery.id] = outcome
        if left:
            return
        worst = self._worst[delivery.id]
        self.outcomes.append(worst)
        uids = self._as[delivery.id]
        changed = " ".join(uids) if uids != [delivery.sop_instance_uid] else ""
        self.add(self._lane.settled(delivery, worst, self._target, changed[:_AS_CHARS_MAX]))
        entry = (item.study_instance_uid, item.sop_class_uid)
        if worst.kind in (OutcomeKind.TAKEN, OutcomeKind.WARNED):
            self._taken.append(entry)
        else:
            self._failed.append(entry)
            self._reason = worst.cause

    def treatment_of(self, delivery_id: int) -> str:
        """The name of the treatment of a delivery; empty: none."""
        one = self._waiting[delivery_id]
        return one.treatment or self._lane.destination.treatment or self._target.treatment

    def take_refused(self) -> list[tuple[StoredOutgoing, Outcome]]:
        """Objects whose SOP class was refused and whose treatment may have another form of them; each once."""
        refused, self._refused = self._refused, []
        for one, _ in refused:
            del self._originals[one.delivery_id]
        return refused

    def settle_finally(self, one: StoredOutgoing, outcome: Outcome) -> None:
        """There is no other form: the refusal stands."""
        self._left[one.delivery_id] = {one.sop_instance_uid}
        self.settle(one, outcome)

    def add(self, settled: Settled) -> None:
        """Known, and to be written soon."""
        self._unwritten.append(settled)

    async def write_on(self) -> None:
        """Write every SETTLE_INTERVAL_S what has become known, and keep the claim: a slow destination costs few commits."""
        while True:
            await asyncio.sleep(SETTLE_INTERVAL_S)
            if not self._unwritten and time.monotonic() - self._written_at < RENEW_S:
                continue
            try:
                await asyncio.shield(self.write())
            except DatabaseError as error:
                _log.warning("deliveries_not_written", destination=self._target.name, reason=str(error))

    async def write_surely(self) -> None:
        """Write what is known, as soon as the database is there. Raises DatabaseError when it stays away."""
        began_at = time.monotonic()
        while True:
            try:
                return await self.write()
            except DatabaseError as error:
                limit_s = REMEMBERED_STOPPING_S if self._lane.is_stopping else REMEMBERED_S
                if time.monotonic() - began_at > limit_s:
                    raise
                _log.warning("deliveries_not_written", destination=self._target.name, reason=str(error))
            await asyncio.sleep(SETTLE_INTERVAL_S)

    async def write(self) -> None:
        """Write what is known."""
        outcomes = list(self._unwritten)
        self.is_ours = await settle(self._lane.archive, self._parcel, outcomes)
        del self._unwritten[: len(outcomes)]
        self._written_at = time.monotonic()

    def note(self) -> None:
        """Tell the audit trail what has left the house, and what could not."""
        archive, destination = self._lane.archive, self._target
        receiver = node_participant(destination.name, destination.leads_to or destination.kind, Role.DESTINATION)
        aet, actor = archive.settings.aet, current_access()
        if self._taken:
            archive.audit.note(sent(aet, actor, receiver, studies_of(self._taken)))
        if self._failed:
            archive.audit.note(sent(aet, actor, receiver, studies_of(self._failed), failure=self._reason))


_BADNESS: Final = {OutcomeKind.TAKEN: 0, OutcomeKind.WARNED: 1, OutcomeKind.TRY_LATER: 2, OutcomeKind.REFUSED: 3}
_AS_CHARS_MAX: Final = 4000


async def _patient_of(archive: Archive, parcel: Parcel) -> str:
    """The Patient ID of a parcel's study, for stickiness; empty where there is none."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT patient_id FROM study WHERE study_instance_uid = %s", (parcel.study_instance_uid,)
        )
        row = await cursor.fetchone()
    return str(row[0] or "") if row else ""


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
