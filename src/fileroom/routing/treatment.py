"""How an object is changed on its way to a destination: de-identified, morphed, converted, split, transcoded.

    stored ─ de-identification ─▶ steps ─▶ character set ─▶ SOP class fallback ─▶ split ─▶ transfer syntax ─▶ proof ─▶ leaves

An object on which nothing has an effect leaves as it is stored, bit by bit. What was changed is noted in the object itself
(Original Attributes, Contributing Equipment); of a de-identified one only what was changed after that.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from fileroom.admin.entries import Entry, Section, read_entry
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, RequestError, told
from fileroom.deid.errors import CannotCleanError
from fileroom.deid.regions import Region
from fileroom.pixels.encoders import LossyOptions
from fileroom.pixels.header_values import BROKEN
from fileroom.routing.deid_on_the_way import DeidSession, open_deid
from fileroom.routing.installation import installation_uid
from fileroom.routing.made_object import MadeObject
from fileroom.routing.object_parts import ObjectParts, take_apart
from fileroom.routing.order_values import order_values
from fileroom.routing.outgoing import OutgoingObject, StoredOutgoing
from fileroom.routing.pixel_proof import prove_pixels
from fileroom.routing.step_conditions import step_condition
from fileroom.routing.target_syntax import as_lossy_copy, is_lossy, target_syntax
from fileroom.routing.treatment_fields import ALL_CLASSES, checked_treatment, with_defaults
from fileroom.routing.treatment_work import Changed, Plan, changed_object
from fileroom.transform.charset import character_set_terms
from fileroom.transform.errors import CannotChangeError
from fileroom.transform.legacy import can_be_single
from fileroom.transform.split_merge import checked_merge, checked_split
from fileroom.transform.step_kinds import STEP_KINDS
from fileroom.transform.steps import Context, compiled_steps

TREATMENTS: Final = Section("treatments", "treatment", checked_treatment)
_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Treatment:
    """A treatment, ready for use. Lanes keep it until the generation of the entries changes."""

    name: str
    version: int
    plan: Plan
    deid: str = ""
    syntax: str = ""
    lossy: LossyOptions | None = None
    prove_pixels: bool = True
    installation_uid: str = ""
    asks_for_order: bool = False


@dataclass(frozen=True, slots=True)
class Treated:
    """What became of one stored object.

    `made` is what leaves; the delivery is settled when all of it is. `quarantined`: a sentence why it must not leave as it
    is (it could not be de-identified, its pixels would not be the same). `failed`: a sentence why it could not be made,
    which trying again does not heal unless the treatment or the object is changed.
    """

    original: StoredOutgoing
    made: tuple[OutgoingObject, ...]
    quarantined: str = ""
    failed: str = ""


async def load_treatment(archive: Archive, name: str) -> Treatment:
    """The treatment as it is now. Raises NotFoundError, InvalidRequestError (an entry that no longer fits), DatabaseError."""
    entry = await read_entry(archive.pool, TREATMENTS, name)
    if not entry.enabled:
        raise InvalidRequestError(told("The treatment {name} is disabled.", name=name))
    return compiled_treatment(entry, await installation_uid(archive.pool))


def compiled_treatment(entry: Entry, uid: str) -> Treatment:
    """An entry made ready. Raises InvalidRequestError."""
    fields = with_defaults(checked_treatment(entry.name, entry.fields))
    fallback: dict[str, Any] = fields["sop_class_fallback"]
    plan = Plan(
        scope=entry.name,
        steps=compiled_steps(fields["steps"], STEP_KINDS, step_condition),
        charset=character_set_terms(fields["charset"]) if fields["charset"] else (),
        transliterate=fields["transliterate"],
        split=checked_split(fields["split"]),
        merge=checked_merge(fields["merge"]),
        single_classes=frozenset(fallback.get("classes", ())),
        single_always=fallback.get("when") == "always",
    )
    lossy = LossyOptions(quality=fields["quality"]) if fields["lossy"] and is_lossy(fields["syntax"]) else None
    asks_for_order = any(step.kind == "order" for step in plan.steps)
    return Treatment(
        *(entry.name, entry.version, plan, fields["deid"], fields["syntax"], lossy, fields["prove_pixels"], uid),
        asks_for_order,
    )


async def treat(
    archive: Archive, treatment: Treatment, objects: Sequence[StoredOutgoing], *, destination: str = ""
) -> list[Treated]:
    """Change objects of one study as `treatment` says, one answer for each, in their order.

    `destination` is named in the report of a de-identification. Raises StorageError, DatabaseError: try all of them again
    later; NotFoundError when there is no such project any more. What is wrong with one object is told in its answer.
    """
    single = treatment.plan.single_always
    return await _treat_all(archive, treatment, objects, single=single, destination=destination)


def falls_back(treatment: Treatment, sop_class_uid: str) -> bool:
    """Whether objects of the class leave as single frames where the destination refuses it."""
    plan = treatment.plan
    is_meant = bool({sop_class_uid, ALL_CLASSES} & plan.single_classes)
    return is_meant and not plan.single_always and can_be_single(sop_class_uid)


async def fall_back(
    archive: Archive, treatment: Treatment, one: StoredOutgoing, *, destination: str = ""
) -> Treated | None:
    """The object with its SOP class fallback, for a destination that has refused the class; None where there is none."""
    if not falls_back(treatment, one.sop_class_uid):
        return None
    (treated,) = await _treat_all(archive, treatment, [one], single=True, destination=destination)
    return None if any(made.sop_class_uid == one.sop_class_uid for made in treated.made) else treated


async def try_on(archive: Archive, treatment: Treatment, one: StoredOutgoing) -> Treated:
    """What would become of an object, a refused SOP class assumed; no report is written."""
    deid = await open_deid(archive, treatment.deid) if treatment.deid else None
    order = await _order(archive, treatment, one)
    return await _treat(archive, treatment, one, deid, order, single=bool(treatment.plan.single_classes))


async def _treat_all(
    archive: Archive, treatment: Treatment, objects: Sequence[StoredOutgoing], *, single: bool, destination: str
) -> list[Treated]:
    deid = await open_deid(archive, treatment.deid) if treatment.deid else None
    order = await _order(archive, treatment, objects[0]) if objects else {}
    treated = [await _treat(archive, treatment, one, deid, order, single=single) for one in objects]
    if deid is not None and objects:
        for one in treated:
            if one.quarantined:
                deid.quarantined(one.original.instance, one.quarantined)
        await deid.report(destination, objects[0].study_instance_uid)
    return treated


async def _order(archive: Archive, treatment: Treatment, one: StoredOutgoing) -> Mapping[str, str]:
    return await order_values(archive, one.study_instance_uid) if treatment.asks_for_order else {}


async def _treat(
    archive: Archive,
    treatment: Treatment,
    one: StoredOutgoing,
    deid: DeidSession | None,
    order: Mapping[str, str],
    *,
    single: bool,
) -> Treated:
    try:
        made = await _made(archive, treatment, one, deid, order, single=single)
        if treatment.prove_pixels and treatment.lossy is None:
            for item in made:
                if isinstance(item, MadeObject) and (reason := await prove_pixels(item)):
                    return Treated(one, (), quarantined=reason)
        return Treated(one, made)
    except CannotCleanError as error:
        return Treated(one, (), quarantined=f"It could not be de-identified: {error}")
    except RequestError as error:
        sentence = str(error)
    except (*BROKEN, RecursionError) as error:
        kind = type(error).__name__
        _log.warning("an object broke a treatment", treatment=treatment.name, error=kind)
        sentence = f"The object is broken in a way that the treatment {treatment.name} cannot deal with ({kind})."
    return Treated(one, (), quarantined=sentence) if treatment.deid else Treated(one, (), failed=sentence)


async def _made(
    archive: Archive,
    treatment: Treatment,
    one: StoredOutgoing,
    deid: DeidSession | None,
    order: Mapping[str, str],
    *,
    single: bool,
) -> tuple[OutgoingObject, ...]:
    parts = await take_apart(archive, one.instance)
    dataset, regions = parts.dataset, None
    if deid is not None:
        cleaned = await deid.clean(one.instance, dataset)
        dataset, regions = cleaned.dataset, cleaned.regions
    moment = (one.ordered_at or archive.now()).astimezone(dt.UTC).strftime("%Y%m%d%H%M%S")
    context = Context(treatment.installation_uid, moment=moment, scope=treatment.name, order=order)
    changed = await asyncio.to_thread(
        changed_object, dataset, treatment.plan, context, single=single, anonymous=deid is not None
    )
    made = [
        await asyncio.to_thread(_finished, archive, treatment, one, parts, item, regions, context) for item in changed
    ]
    first = made[0]
    is_as_stored = len(made) == 1 and first.dataset is parts.dataset and first.has_stored_pixels
    if is_as_stored and (not treatment.syntax or first.transfer_syntax_uid == one.transfer_syntax_uid):
        return (one,)
    return tuple(made)


def _finished(
    archive: Archive,
    treatment: Treatment,
    one: StoredOutgoing,
    parts: ObjectParts,
    changed: Changed,
    regions: tuple[Region, ...] | None,
    context: Context,
) -> MadeObject:
    """The object in its transfer syntax."""
    plain = MadeObject(archive, one.delivery_id, one.instance, parts, changed.dataset, "", changed.frame, regions)
    syntax = target_syntax(plain, treatment.syntax, lossy=treatment.lossy is not None)
    dataset, lossy = changed.dataset, treatment.lossy if is_lossy(syntax) and syntax != plain.plain_syntax else None
    if lossy is not None:
        if parts.pixels is None:
            raise CannotChangeError(told("An object without pixels has no lossy copy."))
        dataset = as_lossy_copy(dataset, context, anonymous=bool(treatment.deid))
    return MadeObject(archive, one.delivery_id, one.instance, parts, dataset, syntax, changed.frame, regions, lossy)
