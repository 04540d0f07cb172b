"""Pools: a destination that stands for several others, of which each study goes to one.

    {"members": [{"destination": "PACS A", "weight": 2}, {"destination": "PACS B"}], "mode": "balance", "sticky": "study"}

*failover*: the first member that is well gets everything, the next one only when it is not. *balance*: members get shares by
weight, by weighted rendezvous hashing of the study (or of the patient): the same key finds the same member without any
memory, and when a member goes only its own share moves, and comes back with it. A member with weight 0 is a reserve.

A study that began at one member goes on there while it is well (`sticky` is not empty), so that a study is not torn apart by a
member that comes back. A pool opens no session of its own: a lane asks `choose_member` for each parcel and sends to that.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from fileroom.archive.services import Archive
from fileroom.core.errors import ConfigurationError, InvalidRequestError, told
from fileroom.routing.destination_fields import Destination
from fileroom.routing.destination_kind import Confirmation, DestinationSession, KindContext
from fileroom.routing.destinations import probe as ask
from fileroom.routing.destinations import read_destinations
from fileroom.routing.health import UNKNOWN, Health, HealthState, read_health
from fileroom.routing.target_fields import FieldType, TargetField

MEMBERS_MAX: Final = 32
WEIGHT_MAX: Final = 1000
MODES: Final = ("failover", "balance")
STICKY: Final = ("study", "patient", "")


@dataclass(frozen=True, slots=True)
class Member:
    """A destination of a pool, and its share."""

    destination: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class PoolTarget:
    """What a pool is."""

    members: tuple[Member, ...]
    mode: str = "failover"
    sticky: str = "study"


def pool_target(target: Mapping[str, Any]) -> PoolTarget:
    """Of fields that `POOL.check` has made."""
    members = tuple(Member(one["destination"], one.get("weight", 1)) for one in target.get("members", ()))
    return PoolTarget(members, target.get("mode", "failover"), target.get("sticky", "study"))


def choose(
    target: PoolTarget, health: Mapping[str, Health], study_instance_uid: str, patient_id: str = "", begun_at: str = ""
) -> str | None:
    """The member that a study goes to now, by name, None while none is well; pure.

    `health` holds the members that may be sent to (enabled, not held); `begun_at` is the member at which it began.
    """
    there = [one for one in target.members if one.destination in health]
    usable = [one for one in there if health[one.destination].is_usable]
    if target.sticky and begun_at and any(one.destination == begun_at for one in usable):
        return begun_at
    well = [one for one in usable if health[one.destination].state is HealthState.UP] or usable
    if target.mode == "failover":
        return well[0].destination if well else None
    shares = [one for one in well if one.weight > 0] or well
    key = patient_id if target.sticky == "patient" and patient_id else study_instance_uid
    return max(shares, key=lambda one: _score(key, one)).destination if shares else None


async def choose_member(
    archive: Archive,
    pool: Destination,
    members: Mapping[str, Destination],
    study_uid: str,
    patient_id: str,
    health: Mapping[int, Health] | None = None,
    *,
    begun_at_id: int | None = None,
) -> Destination | None:
    """The destination that a parcel of the pool goes to now; None while no member is well (ask again at `next_trial`).

    `members` are all destinations by name, with their secrets; `begun_at_id` is `parcel.sent_by_id`. Where no health is
    given it is read. Raises DatabaseError.
    """
    health = await read_health(archive) if health is None else health
    known = {one.name: health.get(one.id, UNKNOWN) for one in _sendable(pool, members)}
    begun_at = next((one.name for one in members.values() if one.id == begun_at_id), "")
    chosen = choose(pool_target(pool.target), known, study_uid, patient_id, begun_at)
    return members[chosen] if chosen is not None else None


def next_trial(
    pool: Destination, members: Mapping[str, Destination], health: Mapping[int, Health]
) -> dt.datetime | None:
    """When the first member that is down is asked again; None where there is none."""
    trials = [health[one.id].trial_at for one in _sendable(pool, members) if one.id in health]
    return min(trials, default=None)


@dataclass(frozen=True, slots=True)
class PoolKind:
    """The kind `pool`."""

    name: str = "pool"
    secrets: frozenset[str] = frozenset()
    confirmations: frozenset[Confirmation] = frozenset(Confirmation)
    """Its members prove deliveries, each as it is set up itself."""
    fields: tuple[TargetField, ...] = (
        TargetField(
            "members",
            told("Members"),
            FieldType.LIST,
            required=True,
            help=told("Destinations, apart by commas; with a share where it is not 1: PACS A:2, PACS B."),
        ),
        TargetField(
            "mode",
            told("Mode"),
            FieldType.CHOICE,
            default="failover",
            choices=MODES,
            help=told("failover: the first that is well; balance: all of them, by their shares."),
        ),
        TargetField(
            "sticky",
            told("Kept together"),
            FieldType.CHOICE,
            default="study",
            choices=STICKY,
            help=told("What goes on where it began: a study, or (balance) a patient."),
        ),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """See `DestinationKind`. Members may be given as `NAME` or `NAME:WEIGHT` too."""
        if unknown := sorted(map(str, set(target) - {"members", "mode", "sticky"})):
            raise InvalidRequestError(
                told("A pool has no field {name}; it has members, mode and sticky.", name=unknown[0][:40])
            )
        mode, sticky = target.get("mode", "failover"), target.get("sticky", "study")
        if mode not in MODES:
            raise InvalidRequestError(told("The mode of a pool is failover or balance."))
        if sticky not in STICKY:
            raise InvalidRequestError(told("What a pool keeps together (sticky) is study, patient or nothing."))
        given = target.get("members")
        if not isinstance(given, (list, tuple)) or not 1 <= len(given) <= MEMBERS_MAX:
            raise InvalidRequestError(told("A pool has a list of 1 to {most} members.", most=MEMBERS_MAX))
        members = [_member(one) for one in given]
        names = [one.destination for one in members]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise InvalidRequestError(told("{name} is a member of the pool twice.", name=twice))
        if mode == "balance" and not any(one.weight for one in members):
            raise InvalidRequestError(told("At least one member of the pool needs a share above 0."))
        written = [{"destination": one.destination, "weight": one.weight} for one in members]
        return {"members": written, "mode": mode, "sticky": sticky}

    def describe(self, target: Mapping[str, Any]) -> str:
        """See `DestinationKind`."""
        pool = pool_target(target)
        if pool.mode == "failover":
            return " > ".join(one.destination for one in pool.members)
        return " + ".join(f"{one.destination} ({one.weight})" for one in pool.members)

    def open(self, context: KindContext) -> AbstractAsyncContextManager[DestinationSession]:
        """Never: a lane opens the member it has chosen. Raises ConfigurationError."""
        raise ConfigurationError(f"The pool {context.destination} is sent to by its members only.")

    async def probe(self, context: KindContext) -> str:
        """Ask every member. Raises ConfigurationError when none answers."""
        everything = await read_destinations(context.archive)
        found: list[str] = []
        answering = 0
        for member in pool_target(context.target).members:
            destination = everything.get(member.destination)
            if destination is None or destination.kind == self.name:
                found.append(f"{member.destination} is no destination that can be sent to")
                continue
            result = await ask(context.archive, destination)
            answering += result.is_there
            found.append(
                f"{member.destination} answers" if result.is_there else f"{member.destination}: {result.answer}"
            )
        sentence = "; ".join(found)
        if not answering:
            raise ConfigurationError(f"No member of the pool {context.destination} answers. {sentence}")
        return sentence


POOL: Final = PoolKind()


# --- helpers ---


def _sendable(pool: Destination, members: Mapping[str, Destination]) -> list[Destination]:
    """A pool in a pool is left out: two of them could name each other."""
    names = [one.destination for one in pool_target(pool.target).members]
    found = [members[name] for name in names if name in members]
    return [one for one in found if one.enabled and not one.hold and one.kind != POOL.name]


def _score(key: str, member: Member) -> float:
    """Weighted rendezvous: the highest of -w / ln(u) wins with the chance w / sum of all w."""
    digest = hashlib.blake2b(f"{key}\0{member.destination}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest) + 0.5) / 2**64
    return -max(member.weight, 1) / math.log(uniform)


def _member(value: Any) -> Member:
    if isinstance(value, str):
        name, colon, weight = value.rpartition(":")
        value = {"destination": name, "weight": weight.strip()} if colon and weight.strip().isdecimal() else value
        value = {"destination": value} if isinstance(value, str) else value
    if not isinstance(value, Mapping) or set(value) - {"destination", "weight"}:
        raise InvalidRequestError(told("A member of a pool is a table with destination and weight."))
    name, weight = value.get("destination", ""), value.get("weight", 1)
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequestError(told("A member of a pool names a destination."))
    number = int(weight) if str(weight).isdecimal() and len(str(weight)) < 6 else -1
    if isinstance(weight, bool) or not 0 <= number <= WEIGHT_MAX:
        raise InvalidRequestError(
            told("The share (weight) of {name} is a whole number from 0 to {most}.", name=name[:64], most=WEIGHT_MAX)
        )
    return Member(name.strip(), number)


def members_in_words(members: Sequence[Member]) -> str:
    """As forms and command lines take them."""
    return ", ".join(one.destination if one.weight == 1 else f"{one.destination}:{one.weight}" for one in members)
