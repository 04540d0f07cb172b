"""Why is it not on the worklist? From the message over patient, order and step to the view and the question that was asked.

Every filter of the view that holds for a modality and every key of its last question is tried by itself on the step, by the
very conditions that the worklist is made with: what excludes it is named.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.admin.node_fields import NodeRole
from fileroom.admin.nodes import read_node
from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import FileroomError, InvalidRequestError, told
from fileroom.dicom.identifier import decode_identifier
from fileroom.index.conditions import Condition
from fileroom.worklist.facts import OrderState
from fileroom.worklist.order_states import STATE_WORDS
from fileroom.worklist.order_visibility import order_is_visible
from fileroom.worklist.query_log import AskedQuery, read_queries
from fileroom.worklist.step_keys import stored_text
from fileroom.worklist.step_rows import COLUMNS, TABLES, Step, step_of
from fileroom.worklist.steps import Question, StepKey, key_conditions, read_question
from fileroom.worklist.worklist_views import FINAL, View, hospital_time, read_view, view_filters

ORDERS_MAX: Final = 5
STEPS_MAX: Final = 10
MESSAGES_MAX: Final = 5
_MOMENT: Final = "to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


class Mark(enum.StrEnum):
    """What a finding means for the question."""

    FINE = "fine"
    CAUSE = "cause"
    """It keeps the step from the worklist."""
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `stage`: message, patient, order, step, view, question or caller."""

    stage: str
    mark: Mark
    words: str
    at: str = ""
    """When (ISO 8601, UTC), where that matters."""
    number: int = 0
    """The row of a message or order."""


@dataclass(frozen=True, slots=True)
class Trace:
    """All that was looked at. `causes` keep it from the worklist; there are none where it is on it."""

    accession: str
    patient: str
    caller: str
    answer: str
    is_on: bool
    findings: Sequence[Finding]
    view: str = ""
    asked_at: str = ""
    asked_keys: str = ""

    @property
    def causes(self) -> list[Finding]:
        """What keeps it from the worklist, the deciding one first."""
        return [one for one in self.findings if one.mark is Mark.CAUSE]


async def explain(archive: Archive, caller: str, *, accession: str = "", patient: str = "") -> Trace:
    """Why an order (by accession number) or a patient (by ID) is not on the worklist of an AE title.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.ORDER_READ)
    caller, accession, patient = caller.strip(), accession.strip(), patient.strip()
    if not caller or not (accession or patient):
        raise InvalidRequestError(told("Give an accession number or a patient ID, and the AE title of the modality."))
    view = await read_view(archive.pool, caller)
    findings: list[Finding] = []
    on = False
    async with archive.pool.connection() as connection:
        messages = await _messages(connection, accession, patient)
        number, of_patient = await _patient(connection, patient) if patient else (None, [])
        orders = await _orders(connection, access, accession, number, with_patient=bool(patient))
        query = next(iter(await read_queries(connection, caller, 1)), None)
        question, unread = _question(query, caller)
        findings += [*messages, *of_patient]
        if not orders and not any(one.mark is Mark.CAUSE for one in findings):
            findings.append(_no_order(accession, patient))
        for order in orders:
            found = await _of_order(archive, connection, order, view, question, query, caller)
            on = on or not any(one.mark is Mark.CAUSE for one in found)
            findings += found
        findings += unread
    of_caller = await _caller(archive, caller, query)
    findings += of_caller
    on = on and bool(orders) and not any(one.mark is Mark.CAUSE for one in (*of_patient, *of_caller, *unread))
    if orders:  # what has come of a message is seen by the order
        findings = [
            _as_note(one) if one.stage == "message" and one.mark is Mark.CAUSE and on else one for one in findings
        ]
    causes = [one for one in findings if one.mark is Mark.CAUSE]
    if on:
        answer: str = told("It is on the worklist of {aet}.", aet=caller)
    else:
        answer = causes[0].words if causes else told("Nothing was found that keeps it from the worklist.")
    return Trace(
        accession,
        patient,
        caller,
        answer,
        on,
        findings,
        view.name,
        query.asked_at if query else "",
        ", ".join(f"{name}={text}" for name, text in query.keys.items()) if query else "",
    )


# --- messages, patient, orders ---


async def _messages(connection: AsyncConnection[Any], accession: str, patient: str) -> list[Finding]:
    condition = "accession_numbers @> ARRAY[%s]" if accession else "patient_ids @> ARRAY[%s]"
    cursor = await connection.execute(
        f"""SELECT id, kind, state, reason, feed, {_MOMENT.format("received_at")}, mended_by IS NOT NULL
            FROM hl7_message WHERE {condition} ORDER BY id DESC LIMIT {MESSAGES_MAX}""".encode(),
        (accession or patient,),
    )
    found = []
    for number, kind, state, reason, feed, at, mended in await cursor.fetchall():
        values = {"kind": kind, "feed": feed, "state": state, "reason": reason or "-"}
        if state in ("failed", "rejected") and not mended:
            words = told("The message {kind} of {feed} was not applied: {reason}", **values)
            found.append(Finding("message", Mark.CAUSE, words, at, number))
        else:
            words = told("Message {kind} of {feed}: {state}", **values)
            found.append(Finding("message", Mark.FINE, words, at, number))
    if not found:
        found = [Finding("message", Mark.NOTE, told("No HL7 message names it."))]
    return found


async def _patient(connection: AsyncConnection[Any], patient_id: str) -> tuple[int | None, list[Finding]]:
    """The patient with an ID, and what has become of them."""
    cursor = await connection.execute(
        b"""SELECT coalesce(p.merged_into, p.id), h.merged_into IS NOT NULL OR p.merged_into IS NOT NULL,
                (SELECT i.value FROM patient_identifier i WHERE i.patient = coalesce(p.merged_into, p.id) AND i.is_first)
            FROM patient_identifier x JOIN registered_patient p ON p.id = x.patient
            JOIN registered_patient h ON h.id = x.home WHERE x.value = %s ORDER BY x.is_first DESC, x.id LIMIT 1""",
        (patient_id,),
    )
    row = await cursor.fetchone()
    if row is None:
        return None, [Finding("patient", Mark.CAUSE, told("No patient has the ID {id}.", id=patient_id))]
    number, merged, first = row
    if first == patient_id:
        return number, [Finding("patient", Mark.FINE, told("The patient {id} is known.", id=patient_id))]
    if merged:
        words = told(
            "The patient {id} was merged into {other}, and is on worklists under that ID.", id=patient_id, other=first
        )
        return number, [Finding("patient", Mark.CAUSE, words)]
    words = told("The patient {id} is on worklists under the ID {other}.", id=patient_id, other=first or "-")
    return number, [Finding("patient", Mark.CAUSE, words)]


@dataclass(frozen=True, slots=True)
class _Order:
    id: int
    name: str
    state: str
    patient: int | None
    placed: bool
    changed_at: str


async def _orders(
    connection: AsyncConnection[Any], access: Access, accession: str, patient: int | None, *, with_patient: bool
) -> list[_Order]:
    conditions = [order_is_visible(access)]
    if accession:
        conditions.append(Condition("o.accession_number = %s", (accession,)))
    if with_patient:
        conditions.append(Condition("o.patient = %s", (patient,)))
    where = Condition.all_of(conditions)
    cursor = await connection.execute(
        f"""SELECT o.id, coalesce(nullif(o.accession_number, ''), nullif(o.placer_number, ''), o.id::text), o.state,
                o.patient, o.placed, {_MOMENT.format("o.changed_at")}
            FROM imaging_order o WHERE {where.text}
            ORDER BY o.state IN ('scheduled', 'arrived', 'in_progress') DESC, o.id DESC LIMIT {ORDERS_MAX}""".encode(),
        where.parameters,
    )
    return [_Order(*row) for row in await cursor.fetchall()]


def _no_order(accession: str, patient: str) -> Finding:
    if accession:
        return Finding("order", Mark.CAUSE, told("There is no order with the accession number {name}.", name=accession))
    return Finding("order", Mark.CAUSE, told("There is no order for the patient {id}.", id=patient))


# --- one order ---


async def _of_order(
    archive: Archive,
    connection: AsyncConnection[Any],
    order: _Order,
    view: View,
    question: Question,
    query: AskedQuery | None,
    caller: str,
) -> list[Finding]:
    """What was looked at of an order; no cause among it where one of its steps is on the worklist."""
    word = told(STATE_WORDS[OrderState(order.state)])
    if not order.placed:
        words = told("Of the order {name} only a cancellation or a change of its state came so far.", name=order.name)
        return [Finding("order", Mark.CAUSE, words, order.changed_at, order.id)]
    if order.patient is None:
        words = told("The order {name} has no patient: no message has told who it is for.", name=order.name)
        return [Finding("order", Mark.CAUSE, words, order.changed_at, order.id)]
    is_over = order.state in FINAL and order.state not in view.states
    words = told("The order {name} is {state}.", name=order.name, state=word)
    found = [Finding("order", Mark.CAUSE if is_over else Mark.FINE, words, order.changed_at, order.id)]
    async with connection.cursor() as cursor:
        await cursor.execute(
            f"SELECT {COLUMNS} FROM {TABLES} WHERE o.id = %s ORDER BY st.id LIMIT {STEPS_MAX}".encode(), (order.id,)
        )
        steps = [step_of(row) for row in await cursor.fetchall()]
    if not steps:
        return [*found, Finding("step", Mark.CAUSE, told("The order {name} has no scheduled step.", name=order.name))]
    of_steps = [await _of_step(archive, connection, step, view, question, caller) for step in steps]
    shown = [one for one in of_steps if not any(finding.mark is Mark.CAUSE for finding in one)]
    found += [finding for one in shown or of_steps for finding in one]
    if shown and query is not None and order.changed_at > query.asked_at:
        words = told("The order {name} was changed after {aet} had asked the last time.", name=order.name, aet=caller)
        found.append(Finding("question", Mark.NOTE, words, query.asked_at))
    return found


async def _of_step(
    archive: Archive, connection: AsyncConnection[Any], step: Step, view: View, question: Question, caller: str
) -> list[Finding]:
    filters = view_filters(view, caller, hospital_time(archive))
    keys = key_conditions(question, view)
    fits = await _tried(connection, step, [*(one.condition for one in filters), *(one for _, one in keys)])
    state = told(STATE_WORDS[OrderState(step.state)])
    found = [Finding("step", Mark.FINE, told("The step {step} is {state}.", step=step.step_id, state=state))]
    name = view.name or "-"
    for one, is_fitting in zip(filters, fits, strict=False):
        values = {"view": name, "filter": one.words, "step": step.step_id, "stored": _stored(one.words, step, state)}
        if is_fitting:
            found.append(Finding("view", Mark.FINE, told("View {view}: {filter}.", **values)))
        else:
            words = told("View {view}: only where {filter}. The step {step} does not fit: {stored}", **values)
            found.append(Finding("view", Mark.CAUSE, words))
    for (asked, _), is_fitting in zip(keys, fits[len(filters) :], strict=True):
        found.append(_of_key(asked, step, caller, is_fitting=is_fitting))
    if not any(one.mark is Mark.CAUSE for one in found):
        found += await _of_limit(archive, connection, step, view, question, caller)
    return found


def _of_key(keys: Sequence[StepKey], step: Step, caller: str, *, is_fitting: bool) -> Finding:
    values = {
        "key": ", ".join(key.name for key in keys),
        "asked": ", ".join(key.text for key in keys),
        "stored": ", ".join(stored_text(key.attribute, step, caller) or "-" for key in keys if key.attribute),
    }
    if is_fitting:
        return Finding("question", Mark.FINE, told("{key} {asked} fits: {stored}", **values))
    words = told("The last question asks for {key} {asked}; the step has {stored}.", **values)
    return Finding("question", Mark.CAUSE, words)


async def _of_limit(
    archive: Archive, connection: AsyncConnection[Any], step: Step, view: View, question: Question, caller: str
) -> list[Finding]:
    """Whether so many steps come before it that the answer ends before."""
    conditions = [one.condition for one in view_filters(view, caller, hospital_time(archive))]
    conditions += [condition for _, condition in key_conditions(question, view)]
    conditions.append(Condition("(st.start_date, st.start_time, st.id) < (%s, %s, %s)", _place(step)))
    where = Condition.all_of(conditions)
    cursor = await connection.execute(f"SELECT count(*) FROM {TABLES} WHERE {where.text}".encode(), where.parameters)
    row = await cursor.fetchone()
    before = int(row[0]) if row else 0
    if before < view.results_max:
        return []
    words = told(
        "{before} steps come before it, and the view {view} shows {most}.",
        before=before,
        view=view.name or "-",
        most=view.results_max,
    )
    return [Finding("view", Mark.CAUSE, words)]


def _place(step: Step) -> tuple[str, str, int]:
    return step.start_date, step.start_time, step.id


async def _tried(connection: AsyncConnection[Any], step: Step, conditions: Sequence[Condition]) -> list[bool]:
    columns = ", ".join(f"coalesce(({one.text}), false)" for one in conditions)
    parameters = [value for one in conditions for value in one.parameters]
    cursor = await connection.execute(
        f"SELECT {columns} FROM {TABLES} WHERE st.id = %s".encode(), (*parameters, step.id)
    )
    row = await cursor.fetchone()
    return [bool(one) for one in row] if row else [False] * len(conditions)


def _stored(words: str, step: Step, state: str) -> str:
    """What a step has where a filter of the view looks."""
    template = getattr(words, "template", words)
    moment = f"{step.start_date} {step.start_time}".strip() or "-"
    for part, text in (
        ("state", state),
        ("modality", step.modality),
        ("name", step.station_name),
        ("location", step.step_location),
        ("begins", moment),
    ):
        if part in template.split("{", 1)[0]:
            return text or "-"
    return ", ".join(step.station_aets) or "-"


# --- the modality ---


def _question(query: AskedQuery | None, caller: str) -> tuple[Question, list[Finding]]:
    """The last question, read again; one that cannot be read is the cause."""
    if query is None or not query.identifier:
        return Question(caller), []
    try:
        return read_question(decode_identifier(query.identifier, query.transfer_syntax), caller), []
    except FileroomError as error:
        words = told("The last question of {aet} cannot be answered: {why}", aet=caller, why=str(error))
        return Question(caller), [Finding("question", Mark.CAUSE, words, query.asked_at)]


async def _caller(archive: Archive, caller: str, query: AskedQuery | None) -> list[Finding]:
    """Whether the modality may ask, and has."""
    found: list[Finding] = []
    node = await read_node(archive.pool, aet=caller)
    if node is not None and not node.enabled:
        found.append(Finding("caller", Mark.CAUSE, told("The node {name} is disabled.", name=node.name)))
    elif node is not None and not node.may(NodeRole.QUERY):
        found.append(
            Finding("caller", Mark.CAUSE, told("The node {name} may not search: it lacks a role.", name=node.name))
        )
    held = await _held(archive, caller)
    if held and query is None:
        words = told("{aet} called from {host}, and nobody has approved that.", aet=caller, host=held[0])
        found.append(Finding("caller", Mark.CAUSE, words, held[1]))
    if query is None:
        words = told("{aet} has never asked for the worklist.", aet=caller)
        found.append(Finding("caller", Mark.NOTE if found else Mark.CAUSE, words))
    else:
        words = told("{aet} asked the last time with {n} answers.", aet=caller, n=query.answers)
        found.append(Finding("caller", Mark.FINE, words, query.asked_at))
    return found


async def _held(archive: Archive, caller: str) -> tuple[str, str] | None:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            f"SELECT host, {_MOMENT.format('last_at')} FROM held_caller WHERE aet = %s "
            "ORDER BY held_caller.last_at DESC LIMIT 1".encode(),
            (caller,),
        )
        row = await cursor.fetchone()
    return (row[0], row[1]) if row else None


def _as_note(one: Finding) -> Finding:
    return Finding(one.stage, Mark.NOTE, one.words, one.at, one.number)
