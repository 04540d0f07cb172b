"""Orders: placed, changed, cancelled by messages of the RIS; entered, changed, reopened by people.

`put_order` finds the order that a message means, makes it where there is none, and tells in words what has become of it. A
message may come before the one it follows: a cancellation of an unknown order is kept as a cancelled order, and stays so when
the order comes. Every change writes the order, its steps and its history (`order_change`) in one statement.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from fileroom.admin.audit import record
from fileroom.admin.audit_events import order_changed
from fileroom.admin.audit_message import Action, AuditEvent
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, Told, told
from fileroom.worklist.changes import Cause, Effect, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState
from fileroom.worklist.order_rows import (
    Order,
    OrderStep,
    find_orders,
    insert_order,
    lock_numbers,
    read_order,
    update_order,
)
from fileroom.worklist.order_states import (
    STATE_WORDS,
    listed,
    next_state,
    require_possible,
    state_of_people,
    state_of_steps,
    steps_after,
)
from fileroom.worklist.order_values import (
    changed_parts,
    changed_steps,
    check_order,
    says_what,
    steps_with_facts,
    with_facts,
)
from fileroom.worklist.order_visibility import is_visible
from fileroom.worklist.patients import PatientChange, put_patient, write_patient
from fileroom.worklist.procedure_codes import ProcedureCode, find_procedure_code
from fileroom.worklist.visits import put_visit

REASON_CHARS_MAX: Final = 400
OWN_NUMBERS: Final = "FR"
"""What accession numbers begin with that Fileroom gives to orders entered without any number."""


async def put_order(
    archive: Archive,  # noqa: ARG001 - what every change is applied with
    connection: AsyncConnection[Any],
    change: PutOrder,
    cause: Cause,
) -> list[Effect]:
    """`write_order`, without what became of its patient. Raises what that raises."""
    return (await write_order(connection, change, cause)).effects


@dataclass(frozen=True, slots=True)
class WrittenOrder:
    """What became of an order, and of its patient; None: nothing was said of one."""

    effects: list[Effect]
    patient: PatientChange | None


async def write_order(connection: AsyncConnection[Any], change: PutOrder, cause: Cause) -> WrittenOrder:
    """Make the order that the facts mean, or bring it up to date, in the caller's transaction; what became of it.

    Which order: the first of placer's, filler's and accession number that both have decides, each with its authority. Of
    several requested procedures under one number, the one with the Requested Procedure ID; a change of the state alone is for
    all of them. Raises InvalidRequestError, ConflictError (several are meant), NotFoundError (a change that says too little to
    make an order of), NotAllowedError, psycopg.Error.
    """
    require(Permission.ORDER_MANAGE)
    facts = check_order(change.order)
    if not (facts.placer or facts.filler or facts.accession):
        raise InvalidRequestError(
            told(
                "The order has no number: neither the placer's (ORC-2), the filler's (ORC-3) nor an accession number. Look at "
                "how the sender's fields are read."
            )
        )
    effects: list[Effect] = []
    written: PatientChange | None = None
    patient = visit = None
    if change.patient is not None and change.patient.identifiers:
        written = await write_patient(connection, change.patient, cause)
        patient, effects = written.after.id, written.effects
        if change.visit is not None and change.visit.number.value:
            visit, more = await put_visit(connection, patient, change.visit, cause)
            effects += more
    code = await _code_of(connection, facts)
    if facts.placer is None:
        await lock_numbers(connection, facts.filler, facts.accession)  # no unique index stands behind these
    change = replace(change, order=facts)
    meant = await _meant(connection, change, patient)
    if not meant:
        made = await _make(connection, change, code, patient, visit, cause)
        if made is not None:
            return WrittenOrder([*effects, *made], written)
        meant = await _meant(connection, change, patient)  # made by somebody else meanwhile
    if len(meant) > 1 and change.state is None:
        raise ConflictError(
            told(
                "{count} orders have this number; which one is meant must be said by the Requested Procedure ID, the placer's "
                "or the filler's number.",
                count=len(meant),
            )
        )
    if len(meant) > 1:
        change, code, patient, visit = PutOrder(OrderFacts(), state=change.state), None, None, None
    for order in meant:
        effects += await _change(connection, order, change, code, patient, visit, cause)
    return WrittenOrder(effects, written)


async def change_order_state(
    connection: AsyncConnection[Any], number: int, state: OrderState, cause: Cause
) -> list[Effect]:
    """What happens to an order by a message or a performed step. One that may not follow is told, and changes nothing.

    For services that have asked. Raises NotFoundError, psycopg.Error.
    """
    order = await _locked(connection, number)
    return await _change(connection, order, PutOrder(OrderFacts(), state=state), None, None, None, cause)


async def change_step_state(
    connection: AsyncConnection[Any], number: int, step: int, state: OrderState, cause: Cause
) -> list[Effect]:
    """What happens to one step (by its row) of an order; that begins with its first step and is completed with its last.

    For services that have asked. Raises NotFoundError, psycopg.Error.
    """
    order = await _locked(connection, number)
    found = next((one for one in order.steps if one.id == step), None)
    if found is None:
        raise NotFoundError(told("The order {name} has no such step.", name=order.name))
    after = next_state(found.state, state)
    if after is found.state:
        return [_effect(order, _stays(order, found.state, state))] if state is not found.state else []
    steps = tuple(replace(one, state=after) if one.id == step else one for one in order.steps)
    order_state = next_state(order.state, state_of_steps(tuple(one.state for one in steps)) or order.state)
    changed = replace(order, steps=steps, state=order_state)
    sentences: list[str] = [
        told("step {step} of order {name}: {state}", step=found.step_id, name=order.name, state=_word(after))
    ]
    if order_state is not order.state:
        sentences.append(told("order {name} is {state} now", name=order.name, state=_word(order_state)))
    await update_order(connection, changed, changed_steps(order, changed), cause, sentences)
    await record(connection, _event(changed, Action.UPDATE, sentences, cause))
    return [_effect(order, one) for one in sentences]


# --- for people ---


async def save_order(
    archive: Archive, change: PutOrder, *, number: int | None = None, version: int | None = None
) -> tuple[int, list[Effect]]:
    """Enter an order by hand, or change the one with this row's number as it was in `version`; its row and what was done.

    A new one without any number gets an accession number. Raises InvalidRequestError, ConflictError (changed meanwhile, there
    is one with this number), NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)
    cause = Cause(access.name)
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            if number is None:
                return await _enter(archive, connection, change, cause)
            await _visible(connection, access, number)
            order = await _locked(connection, number, version)
            facts = check_order(change.order)
            patient = visit = None
            effects: list[Effect] = []
            if change.patient is not None and change.patient.identifiers:
                patient, effects = await put_patient(connection, change.patient, cause)
            if change.visit is not None and change.visit.number.value and (patient or order.patient):
                visit, more = await put_visit(connection, patient or order.patient or 0, change.visit, cause)
                effects += more
            code = await _code_of(connection, facts)
            done = await _change(connection, order, PutOrder(facts), code, patient, visit, cause)
            return number, [*effects, *done]
    except psycopg.errors.UniqueViolation as error:
        raise ConflictError(told("Another order has this placer's number already.")) from error


async def set_order_state(
    archive: Archive, number: int, state: OrderState, *, version: int | None = None, reason: str = ""
) -> list[Effect]:
    """What a person says of an order. A final state is left by SCHEDULED: the order is reopened.

    Raises ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)
    cause = Cause(access.name)
    async with archive.pool.connection() as connection, connection.transaction():
        await _visible(connection, access, number)
        order = await _locked(connection, number, version)
        require_possible(order.state, state)
        if state is order.state:
            return []
        changed = _in_state(order, state)
        if state is OrderState.SCHEDULED and order.state is not OrderState.ARRIVED:
            words = told("order {name} reopened: it was {state}", name=order.name, state=_word(order.state))
        else:
            words = told("order {name} is {state} now", name=order.name, state=_word(state))
        sentences = [words, *([told("because: {reason}", reason=reason[:REASON_CHARS_MAX])] if reason else [])]
        await update_order(connection, replace(changed, placed=True), changed_steps(order, changed), cause, sentences)
        await record(connection, _event(changed, Action.UPDATE, sentences, cause))
        return [_effect(order, words)]


async def set_step_state(
    archive: Archive,
    number: int,
    step: int,
    state: OrderState,
    *,
    version: int | None = None,
    reason: str = "",
) -> list[Effect]:
    """What a person says of one step (by its row); the order follows its steps. A final state is left by SCHEDULED.

    Raises ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_MANAGE)
    cause = Cause(access.name)
    async with archive.pool.connection() as connection, connection.transaction():
        await _visible(connection, access, number)
        order = await _locked(connection, number, version)
        found = next((one for one in order.steps if one.id == step), None)
        if found is None:
            raise NotFoundError(told("The order {name} has no such step.", name=order.name))
        require_possible(found.state, state)
        if state is found.state:
            return []
        steps = tuple(replace(one, state=state) if one.id == step else one for one in order.steps)
        sentences: list[str] = [
            told("step {step} of order {name}: {state}", step=found.step_id, name=order.name, state=_word(state))
        ]
        order_state = state_of_people(order.state, tuple(one.state for one in steps))
        if order_state is not order.state:
            sentences.append(told("order {name} is {state} now", name=order.name, state=_word(order_state)))
        if reason:
            sentences.append(told("because: {reason}", reason=reason[:REASON_CHARS_MAX]))
        changed = replace(order, steps=steps, state=order_state, placed=True)
        await update_order(connection, changed, changed_steps(order, changed), cause, sentences)
        await record(connection, _event(changed, Action.UPDATE, sentences, cause))
        return [_effect(order, one) for one in sentences]


# --- which order ---


async def _meant(connection: AsyncConnection[Any], change: PutOrder, patient: int | None) -> list[Order]:
    facts = change.order
    candidates = await find_orders(connection, facts.placer, facts.filler, facts.accession)
    found = [order for order in candidates if _is_meant(order, facts, patient)]
    if facts.procedure_id:
        same = [order for order in found if order.procedure_id == facts.procedure_id]
        return same or [order for order in found if not order.procedure_id][:1]
    return found


def _is_meant(order: Order, facts: OrderFacts, patient: int | None) -> bool:
    """The first number that both have decides. An accession number alone does not lead to another patient's order."""
    pairs = (
        (facts.placer, order.placer_number, order.placer_authority),
        (facts.filler, order.filler_number, order.filler_authority),
    )
    for said, value, authority in pairs:
        if said is not None and value:
            return (said.value, said.authority) == (value, authority)
    said = facts.accession
    if said is None or (said.value, said.authority) != (order.accession_number, order.accession_authority):
        return False
    return patient is None or order.patient is None or patient == order.patient


# --- making ---


async def _make(
    connection: AsyncConnection[Any],
    change: PutOrder,
    code: ProcedureCode | None,
    patient: int | None,
    visit: int | None,
    cause: Cause,
) -> list[Effect] | None:
    """A new order; None where somebody else has made it meanwhile."""
    facts = change.order
    state = change.state or OrderState.SCHEDULED
    if change.must_be == "known" and not state.is_final and not says_what(facts):
        raise NotFoundError(
            told(
                "The order {name} is not known, and the message says too little to make it: neither a procedure nor a step. "
                "Repeat this message when the order has come.",
                name=_name_of(facts),
            )
        )
    patient_id, name = _identity(change)
    blank = Order(
        patient=patient,
        visit=visit,
        state=state,
        placed=change.must_be == "new" or not state.is_final,
        study_instance_uid=facts.study_instance_uid or f"2.25.{uuid.uuid4().int}",
        patient_id=patient_id,
        patient_name=name,
    )
    order = replace(with_facts(blank, facts, code), steps=steps_with_facts(blank, facts, code))
    if not order.placed:
        words = told(
            "order {name} is not known: kept as {state}, and it stays so when it comes",
            name=order.name,
            state=_word(state),
        )
    else:
        words = told("order {name} made, {steps}", name=order.name, steps=_steps_in_words(order.steps))
    sentences: list[str] = [words]
    if order.placed and change.must_be == "known":
        sentences.append(told("it was to be changed and was not known: made from what the change says"))
    if patient is None:
        sentences.append(told("its patient has not been told yet"))
    made = await insert_order(connection, order, cause, sentences)
    if made is None:
        return None
    await record(connection, _event(made, Action.CREATE, sentences, cause))
    return [_effect(made, one) for one in sentences]


async def _enter(
    archive: Archive, connection: AsyncConnection[Any], change: PutOrder, cause: Cause
) -> tuple[int, list[Effect]]:
    facts = check_order(change.order)
    if not says_what(facts):
        raise InvalidRequestError(told("An order needs a procedure: a code, or a description of the step."))
    if not (facts.placer or facts.filler or facts.accession):
        cursor = await connection.execute(b"SELECT nextval(pg_get_serial_sequence('imaging_order', 'id'))")
        row = await cursor.fetchone()
        facts = replace(facts, accession=Identifier(f"{OWN_NUMBERS}{row[0] if row else 0:07d}"))
    elif await _meant(connection, replace(change, order=facts), None):
        raise ConflictError(
            told("There is an order {name} already. Change that one, or give another number.", name=_name_of(facts))
        )
    effects = await put_order(archive, connection, replace(change, order=facts, must_be="new"), cause)
    return next(one.number for one in effects if one.subject == "order"), effects


# --- changing ---


async def _change(
    connection: AsyncConnection[Any],
    order: Order,
    change: PutOrder,
    code: ProcedureCode | None,
    patient: int | None,
    visit: int | None,
    cause: Cause,
) -> list[Effect]:
    """The order as the change makes it."""
    facts = change.order
    if code is None and facts.procedure is None and order.procedure_code and facts.steps:
        code = await find_procedure_code(connection, _procedure_of(order))
    after = replace(with_facts(order, facts, code), steps=steps_with_facts(order, facts, code))
    if patient is not None and patient != order.patient:
        patient_id, name = _identity(change)
        after = replace(after, patient=patient, patient_id=patient_id, patient_name=name)
    after = replace(after, visit=visit if visit is not None else after.visit)
    parts = changed_parts(order, after)
    after, sentences = _with_state(order, after, change)
    if parts and after.placed is order.placed:
        words = listed([told(part) for part in parts])
        sentences.insert(
            0,
            told("order {name} was there already: brought up to date ({parts})", name=order.name, parts=words)
            if change.must_be == "new"
            else told("order {name} changed: {parts}", name=order.name, parts=words),
        )
    if order.patient not in (None, after.patient):
        sentences.append(told("order {name} belongs to another patient now", name=order.name))
    if after == order:
        return [_effect(order, one) for one in sentences or [told("order {name}: nothing new", name=order.name)]]
    await update_order(connection, after, changed_steps(order, after), cause, sentences)
    await record(connection, _event(after, Action.UPDATE, sentences, cause))
    return [_effect(order, one) for one in sentences]


def _with_state(order: Order, after: Order, change: PutOrder) -> tuple[Order, list[str]]:
    """The order in the state that follows, and what is to be told about that."""
    wanted = change.state
    names = {"name": order.name, "state": _word(order.state)}
    if not order.placed and (change.must_be == "new" or says_what(change.order)):
        steps = tuple(replace(one, state=order.state) for one in after.steps)
        after = replace(after, placed=True, steps=steps)
        return after, [told("order {name} came after it was {state}: kept, and stays so", **names)]
    if change.must_be == "new" and order.state in (OrderState.CANCELLED, OrderState.DISCONTINUED):
        again = _in_state(after, OrderState.SCHEDULED)
        return again, [told("order {name} was {state} and is placed anew", **names)]
    if wanted is None or wanted is order.state:
        return after, []
    state = next_state(order.state, wanted)
    if state is order.state:
        return after, [_stays(order, order.state, wanted)]
    return _in_state(after, state), [told("order {name} is {state} now", name=order.name, state=_word(state))]


def _in_state(order: Order, state: OrderState) -> Order:
    """The order in that state, with its steps."""
    follows = steps_after(order.state, state)
    steps = order.steps
    if follows is not None:
        steps = tuple(replace(one, state=follows[1]) if one.state in follows[0] else one for one in steps)
    elif len(steps) == 1:
        steps = (replace(steps[0], state=state),)
    return replace(order, state=state, steps=steps)


async def _locked(connection: AsyncConnection[Any], number: int, version: int | None = None) -> Order:
    """Raises NotFoundError; ConflictError where it is not the version that somebody has seen."""
    order = await read_order(connection, number, lock=True)
    if order is None:
        raise NotFoundError(told("There is no such order."))
    if version is not None and order.version != version:
        raise ConflictError(
            told(
                "The order {name} was changed by {who} while you were editing it; nothing of yours is written. Look at it as "
                "it is now, and save again.",
                name=order.name,
                who=order.changed_by,
            )
        )
    return order


async def _visible(connection: AsyncConnection[Any], access: Access, number: int) -> None:
    """Raises NotFoundError for an order that somebody may not see."""
    if not await is_visible(connection, access, number):
        raise NotFoundError(told("There is no such order."))


async def _code_of(connection: AsyncConnection[Any], facts: OrderFacts) -> ProcedureCode | None:
    if facts.procedure is None or not facts.procedure.value:
        return None
    return await find_procedure_code(connection, facts.procedure)


def _procedure_of(order: Order) -> Code:
    return Code(order.procedure_code, order.procedure_scheme, order.procedure_meaning)


def _identity(change: PutOrder) -> tuple[str, str]:
    """Patient ID and name as the message says them, for the audit trail."""
    if change.patient is None or not change.patient.identifiers:
        return "", ""
    return change.patient.identifiers[0].value, change.patient.name or ""


def _name_of(facts: OrderFacts) -> str:
    return next(one.value for one in (facts.accession, facts.placer, facts.filler) if one is not None)


# --- words ---


def _stays(order: Order, now: OrderState, wanted: OrderState) -> Told:
    return told(
        "order {name} stays {state}: {wanted} does not follow that",
        name=order.name,
        state=_word(now),
        wanted=_word(wanted),
    )


def _steps_in_words(steps: Sequence[OrderStep]) -> Told:
    first = steps[0] if steps else OrderStep()
    station: str = next(iter(first.station_aets), "") or first.station_name or first.modality or told("any station")
    day, time = first.start_date, first.start_time
    when = f"{day[:4]}-{day[4:6]}-{day[6:]} {time[:2]}:{time[2:4]}".rstrip(" :")
    if len(steps) == 1 and day:
        return told("1 step for {station} at {when}", station=station, when=when)
    if len(steps) == 1:
        return told("1 step for {station}, no time yet", station=station)
    if day:
        return told("{count} steps, the first for {station} at {when}", count=len(steps), station=station, when=when)
    return told("{count} steps, the first for {station}, no time yet", count=len(steps), station=station)


def _word(state: OrderState) -> Told:
    return told(STATE_WORDS[state])


def _effect(order: Order, words: str) -> Effect:
    return Effect(words, "order", order.id)


def _event(order: Order, action: Action, sentences: Sequence[str], cause: Cause) -> AuditEvent:
    return order_changed(
        order.study_instance_uid,
        order.accession_number,
        (order.patient_id, order.patient_name),
        f"{'; '.join(sentences)}, by {cause.who}",
        action,
    )
