"""A report that comes from elsewhere is made, or has a new version (HL7 ORU and MDM; objects of the archive).

A message may come before its order, before the images, or before the report that it adds to: what it says is kept, and linked
later (`linking`). What may not follow is refused with the reason; the message stays in the inbox.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import report_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, Told, told
from fileroom.core.identifiers import UID
from fileroom.reports.facts import Addendum, PutReport, ReportContent, ReportSource, ReportState
from fileroom.reports.linking import link_reports, note_report
from fileroom.reports.report_rows import REPORT_COLUMNS, ReportRow, ReportVersion, read_versions, report_of
from fileroom.reports.writing import STATE_WORDS, write_version
from fileroom.worklist.changes import Cause, Effect
from fileroom.worklist.facts import Identifier

NUMBER_CHARS_MAX: Final = 200
"""Of what a sender calls a report."""
TITLE_CHARS_MAX: Final = 300


async def put_report(
    archive: Archive, connection: AsyncConnection[Any], change: PutReport, cause: Cause
) -> list[Effect]:
    """Make the report that the change means, or add a version to it, in the caller's transaction; what became of it.

    A report is known by the feed (`source_name`) and its number there. Raises InvalidRequestError, ConflictError (it belongs to
    another patient, or the state does not follow), TooLargeError, NotAllowedError, psycopg.Error.
    """
    require(Permission.ORDER_MANAGE)
    return await put_report_of(archive, connection, change, cause, ReportSource.HL7)


async def put_report_of(
    archive: Archive,
    connection: AsyncConnection[Any],
    change: PutReport,
    cause: Cause,
    source: ReportSource,
    *,
    sop_instance_uid: str = "",
) -> list[Effect]:
    """The same for any source, for services that have asked. `sop_instance_uid`: the object that says it."""
    number = change.number.strip()
    if not number or len(number) > NUMBER_CHARS_MAX:
        raise InvalidRequestError(
            told("The report has no number of at most {most} characters, so nobody can tell which one it is.",
                 most=NUMBER_CHARS_MAX)
        )  # fmt: skip
    if change.study_uid:
        UID(change.study_uid)
    row, is_new = await _find_or_make(connection, replace(change, number=number), cause, source)
    last = (
        None if is_new else next(iter(await read_versions(connection, row.id, row.version, with_documents=True)), None)
    )
    if not is_new:
        await _require_same_patient(connection, row, change)
    state, content = _what_follows(row, last, change, archive.now())
    effects: list[str] = []
    await _note_said(connection, row, change)
    if last is not None and (state, content) == (last.state, last.content):
        effects.append(
            told("report {number}: nothing new, it stays version {version}", number=row.id, version=row.version)
        )
    else:
        made = await write_version(
            connection,
            row.id,
            state,
            content,
            who=cause.who,
            message=cause.message,
            sop_instance_uid=sop_instance_uid,
            signed_at=_moment(change.reported_at) if state.is_signed else None,
        )
        effects += _words(made, change, last)
    await link_reports(connection, [row.id])
    await note_report(connection, row.id)
    after = await _read(connection, row.id)
    effects = [*_where(after, change), *effects] if is_new else effects
    if is_new and source is ReportSource.HL7 and await _is_known_elsewhere(connection, after):
        effects.append(told("another feed has a report of this number: the two are kept apart"))
    await record(
        connection,
        report_changed(
            after.study_instance_uid,
            after.accession_number,
            (after.patient_id, after.patient_name),
            f"{'; '.join(effects)}, by {cause.who}",
        ),
    )
    return [Effect(one, "report", row.id) for one in effects]


# --- which report ---


async def _find_or_make(
    connection: AsyncConnection[Any], change: PutReport, cause: Cause, source: ReportSource
) -> tuple[ReportRow, bool]:
    """The report's row, locked, and whether it was made now."""
    names = (source.value, change.source_name, change.number)
    for _ in range(2):
        cursor = await connection.execute(
            b"SELECT id FROM report WHERE source = %s AND source_name = %s AND source_number = %s FOR UPDATE", names
        )
        known = await cursor.fetchone()
        if known is not None:
            return await _read(connection, int(known[0])), False
        cursor = await connection.execute(
            b"""INSERT INTO report (source, source_name, source_number, created_by, changed_by) VALUES (%s, %s, %s, %s, %s)
                ON CONFLICT (source, source_name, source_number) WHERE source_number <> '' DO NOTHING RETURNING id""",
            (*names, cause.who, cause.who),
        )
        made = await cursor.fetchone()
        if made is not None:
            return await _read(connection, int(made[0])), True
    raise ConflictError(told("The report was removed just now. Send it again."))


async def _read(connection: AsyncConnection[Any], number: int) -> ReportRow:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(b"SELECT " + REPORT_COLUMNS + b" FROM report r WHERE r.id = %s", (number,))
        row = await cursor.fetchone()
    assert row is not None
    return report_of(row)


async def _require_same_patient(connection: AsyncConnection[Any], row: ReportRow, change: PutReport) -> None:
    """A number that is used again for somebody else would put one patient's findings under another's name."""
    said = change.patient.identifiers if change.patient is not None else ()
    if not said or not row.patient_id or any(one.value == row.patient_id for one in said):
        return
    cursor = await connection.execute(
        b"""SELECT EXISTS (SELECT FROM patient_identifier i WHERE i.value = ANY(%s) AND i.patient IN (
                SELECT patient FROM patient_identifier WHERE value = %s UNION SELECT %s::bigint))""",
        ([one.value for one in said], row.patient_id, row.patient),
    )
    found = await cursor.fetchone()
    if not (found and found[0]):
        raise ConflictError(
            told(
                "Report {number} ({name}) belongs to another patient. If the sender gives numbers anew, let the mapping of the "
                "feed read one that is not (report_number).",
                number=row.id,
                name=row.source_number,
            )
        )


async def _is_known_elsewhere(connection: AsyncConnection[Any], row: ReportRow) -> bool:
    cursor = await connection.execute(
        b"""SELECT EXISTS (SELECT FROM report WHERE source = 'hl7' AND source_number = %s AND source_name <> %s
            AND id <> %s)""",
        (row.source_number, row.source_name, row.id),
    )
    found = await cursor.fetchone()
    return bool(found and found[0])


async def _note_said(connection: AsyncConnection[Any], row: ReportRow, change: PutReport) -> None:
    """What the message says of where the report belongs; what it does not say stays."""
    patient = change.patient
    first = patient.identifiers[0] if patient is not None and patient.identifiers else None
    values: dict[str, object] = {
        "title": change.title[:TITLE_CHARS_MAX],
        "said_study_uid": change.study_uid,
        "patient_name": (patient.name or "") if patient is not None else "",
        "patient_birth_date": (patient.birth_date or "") if patient is not None else "",
    }
    numbers: tuple[tuple[str, str, Identifier | None], ...] = (
        ("placer_number", "placer_authority", change.placer),
        ("filler_number", "filler_authority", change.filler),
        ("accession_number", "accession_authority", change.accession),
        ("patient_id", "patient_authority", first),
    )
    for name, authority, one in numbers:
        if one is not None and one.value:
            values |= {name: one.value, authority: one.authority}
    said = {name: value for name, value in values.items() if value}
    said["is_critical"] = row.is_critical or change.is_critical
    columns = ", ".join(f"{name} = %({name})s" for name in said)
    await connection.execute(f"UPDATE report SET {columns} WHERE id = %(row)s".encode(), said | {"row": row.id})


# --- what follows ---


def _what_follows(
    row: ReportRow, last: ReportVersion | None, change: PutReport, now: dt.datetime
) -> tuple[ReportState, ReportContent]:
    """State and words of the next version. Raises ConflictError, InvalidRequestError."""
    said = change.content
    if change.is_addendum:
        said = _as_addendum(change, now)
    addenda = tuple(replace(one, at=now) if one.at == NO_TIME else one for one in said.addenda)
    said = replace(said, addenda=addenda)
    if last is None:
        if not (said.sections or said.addenda or said.document) and change.state is not ReportState.CANCELLED:
            raise InvalidRequestError(
                told(
                    "The report says nothing: there is neither text nor a document in it, and no earlier version is known."
                )
            )
        return change.state, said
    state = change.state
    if last.state.is_signed and state in (ReportState.FINAL, ReportState.CORRECTED):
        # Many senders repeat F for a changed report, or C for one that is as it was.
        content = _laid_over(last.content, said)
        return (last.state if content == last.content else ReportState.CORRECTED), content
    if change.is_addendum and last.state.is_signed and state is ReportState.PRELIMINARY:
        raise ConflictError(
            told("Report {number} is signed; the addendum is not. It is taken when it is signed, too.", number=row.id)
        )
    if last.state is ReportState.CANCELLED and state is ReportState.CANCELLED:
        return last.state, last.content
    return state, _laid_over(last.content, said)


NO_TIME: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
"""Of an addendum whose message does not say when."""


def _as_addendum(change: PutReport, now: dt.datetime) -> ReportContent:
    said = change.content
    text = "\n\n".join("\n".join(part for part in (one.heading, one.text) if part) for one in said.sections)
    at = _moment(change.reported_at) or now
    made = (Addendum(text, said.signer or said.author, at),) if text else ()
    return ReportContent(
        addenda=(*said.addenda, *made), document=said.document, document_type=said.document_type, signer=said.signer
    )


def _laid_over(before: ReportContent, said: ReportContent) -> ReportContent:
    """What is said now; what it does not say stays: a change of the state alone has no text, an addendum only its own."""
    added = tuple(one for one in said.addenda if not any(one.text == known.text for known in before.addenda))
    if not (said.sections or said.document):
        sections, document, document_type = before.sections, before.document, before.document_type
    else:
        sections, document, document_type = said.sections, said.document, said.document_type
        if not sections and said.addenda:
            sections = before.sections
    text = "\n".join(one.text for one in sections)
    kept = tuple(one for one in before.addenda if one.text not in text)
    return ReportContent(
        sections, (*kept, *added), document, document_type, said.author or before.author, said.signer or before.signer
    )


def _moment(said: str) -> dt.datetime | None:
    """A DT (PS3.5 6.2) in time; without an offset by this machine's clock. None: nothing is said."""
    digits, sign, offset = said.strip(), "", ""
    for one in "+-":
        if one in digits:
            digits, sign, offset = *digits.partition(one)[:2], digits.partition(one)[2]
    digits = digits.partition(".")[0]
    if len(digits) < 8:
        return None
    padded = (digits + "000000")[:14]
    try:
        found = dt.datetime.strptime(
            padded + (f"{sign}{offset}" if sign else ""), "%Y%m%d%H%M%S" + ("%z" if sign else "")
        )
        return found if sign else found.astimezone()
    except ValueError:
        return None


# --- words ---


def _words(made: ReportVersion, change: PutReport, last: ReportVersion | None) -> list[str]:
    state = STATE_WORDS[made.state]
    if change.is_addendum and last is None:
        return [told("report {number} is not known: the addendum is kept as version {version}, {state}",
                     number=made.report, version=made.version, state=state)]  # fmt: skip
    if change.is_addendum:
        return [told("report {number}: an addendum, version {version} is {state}",
                     number=made.report, version=made.version, state=state)]  # fmt: skip
    if made.state is ReportState.CANCELLED and last is None:
        return [
            told("report {number} is not known: kept as cancelled, and it stays so when it comes", number=made.report)
        ]
    return [
        told("report {number}: version {version} is {state}", number=made.report, version=made.version, state=state)
    ]


def _where(row: ReportRow, change: PutReport) -> list[Told]:
    """Where a new report has found its place."""
    if row.study_instance_uid:
        found = told("report {number} made for study {study}", number=row.id, study=row.study_instance_uid)
    elif row.order is not None:
        found = told("report {number} made for order {order}, whose images are not there yet",
                     number=row.id, order=row.accession_number or f"#{row.order}")  # fmt: skip
    else:
        found = told(
            "report {number} made; neither its order nor its images are known yet: linked when they come", number=row.id
        )
    said = [found]
    if row.patient is None and change.patient is not None:
        said.append(told("its patient is not known to the RIS side yet"))
    return said
