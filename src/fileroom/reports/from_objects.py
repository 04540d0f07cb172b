"""Structured reports, encapsulated PDF and CDA documents that arrive in the archive become reports.

    instance (trigger) -> report_object -> read -> put_report_of -> report, version

Receiving only writes a row for each such object; the task worker's round reads them. What has no words for readers (dose,
key objects, detections, measurements alone) is no report. An object that names a predecessor is a new version of its report
(PS3.3 C.17.2). What Fileroom itself has made of a report is passed over.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection
from pydicom import dcmread
from pydicom.dataset import Dataset

from fileroom.archive.retrieve import open_object, read_header
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import (
    ConflictError,
    DatabaseError,
    FileroomError,
    InvalidRequestError,
    NotFoundError,
    TooLargeError,
    told,
)
from fileroom.core.identifiers import UID
from fileroom.dicom.charset import clean
from fileroom.index.stored import Selection, StoredInstance, list_instances
from fileroom.index.visibility import ALL
from fileroom.reports.documents import CDA, PDF, read_cda
from fileroom.reports.facts import PutReport, ReportContent, ReportSection, ReportSource, ReportState
from fileroom.reports.receive import put_report_of
from fileroom.reports.sr_text import read_narrative
from fileroom.reports.writing import DOCUMENT_BYTES_MAX
from fileroom.tasks.loop import retry_delay
from fileroom.worklist.changes import Cause
from fileroom.worklist.facts import Identifier, PatientFacts

OBJECTS_INTERVAL_S: Final = 1.0
OBJECTS_PER_ROUND: Final = 20
ATTEMPTS_MAX: Final = 12
"""About half a day; then the object stands in report_object with the reason."""
PREDECESSOR_WAIT_S: Final = 5.0
_CLAIM_S: Final = 300.0
_SR: Final = "1.2.840.10008.5.1.4.1.1.88."
_ENCAPSULATED: Final = {"1.2.840.10008.5.1.4.1.1.104.1": PDF, "1.2.840.10008.5.1.4.1.1.104.2": CDA}
_NEVER: Final = frozenset(f"{_SR}{number}" for number in ("40", "59", "67", "68", "71"))
"""Procedure logs, key objects, dose reports, implantation plans: no words for readers, by their SOP class."""
_MADE_HERE: Final = "report"
"""`outputs.RECEIVED_BY`."""

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    id: int
    sop_instance_uid: str
    attempts: int


@dataclass(frozen=True, slots=True)
class _Read:
    change: PutReport
    predecessors: tuple[str, ...] = ()


async def read_objects_due(archive: Archive) -> int:
    """Read some of the objects that have come; how many those were. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(_CLAIM, (_CLAIM_S, OBJECTS_PER_ROUND))
            due = sorted((_Waiting(*row) for row in await cursor.fetchall()), key=lambda one: one.id)
        for waiting in due:
            await _take_on(archive, waiting)
    except psycopg.Error as error:
        raise DatabaseError(f"Objects cannot be read as reports: {type(error).__name__}. Tried again later.") from error
    return len(due)


# --- one object ---


async def _take_on(archive: Archive, waiting: _Waiting) -> None:
    """What goes wrong with one holds no other up: it is tried again later, or kept with the reason."""
    reason, again_in_s = "", 0.0
    try:
        again_in_s = await _make(archive, waiting)
    except DatabaseError:
        raise
    except (InvalidRequestError, ConflictError, TooLargeError) as error:
        reason = str(error.sentence)
    except FileroomError as error:
        reason = str(error.sentence)
        again_in_s = retry_delay(waiting.attempts) if waiting.attempts < ATTEMPTS_MAX else 0.0
    except psycopg.Error:
        raise
    except Exception as error:  # noqa: BLE001 - an object from outside that nobody has foreseen: kept with the reason
        reason = f"It could not be read: {type(error).__name__}."
    if reason:
        _log.warning("object_not_a_report", sop_instance_uid=waiting.sop_instance_uid, reason=reason)
    async with archive.pool.connection() as connection:
        if again_in_s:
            await connection.execute(
                b"UPDATE report_object SET due_at = now() + make_interval(secs => %s), reason = %s WHERE id = %s",
                (again_in_s, reason[:500], waiting.id),
            )
        elif reason:
            await connection.execute(
                b"UPDATE report_object SET due_at = NULL, reason = %s WHERE id = %s", (reason[:500], waiting.id)
            )
        else:
            await connection.execute(b"DELETE FROM report_object WHERE id = %s", (waiting.id,))


async def _make(archive: Archive, waiting: _Waiting) -> float:
    """Make or bring on the report of an object; the seconds after which it is to be looked at again, 0: it is done."""
    uid = waiting.sop_instance_uid
    found = await list_instances(archive.pool, Selection(sop_uids=(uid,)), ALL)
    if not found or not _may_be(found[0]):
        return 0.0
    async with archive.pool.connection() as connection:
        sender = await _sender(connection, uid)
    if sender is None:
        return 0.0
    read = await _read(archive, found[0], sender)
    if read is None:
        return 0.0
    async with archive.pool.connection() as connection, connection.transaction():
        number, name = uid, sender
        for before in read.predecessors:
            known = await _report_of(connection, before)
            if known is not None:
                name, number = known
                break
            if waiting.attempts <= 1 and await _is_waiting(connection, before, waiting.id):
                return PREDECESSOR_WAIT_S
        change = replace(read.change, number=number, source_name=name)
        cause = Cause(f"object from {sender}" if sender else "object of the archive")
        await put_report_of(archive, connection, change, cause, ReportSource.DICOM, sop_instance_uid=uid)
    return 0.0


def _may_be(instance: StoredInstance) -> bool:
    sop_class = instance.sop_class_uid
    return sop_class in _ENCAPSULATED or (sop_class.startswith(_SR) and sop_class not in _NEVER)


async def _read(archive: Archive, instance: StoredInstance, sender: str) -> _Read | None:
    """What the object says; None where it is no report. Raises InvalidRequestError, TooLargeError, StorageError."""
    kind = _ENCAPSULATED.get(instance.sop_class_uid)
    if kind is None:
        dataset = await read_header(archive, instance)
        return await asyncio.to_thread(_read_sr, dataset, instance, sender)
    if instance.file_bytes > DOCUMENT_BYTES_MAX:
        raise TooLargeError(
            told("The document has {count} bytes; at most {most} are kept.",
                 count=instance.file_bytes, most=DOCUMENT_BYTES_MAX)
        )  # fmt: skip
    try:
        opened = await open_object(archive, instance, part10=True)
    except NotFoundError:
        return None
    file = b"".join([bytes(piece) async for piece in opened.chunks])
    return await asyncio.to_thread(_read_document, file, kind, instance, sender)


def _read_sr(dataset: Dataset, instance: StoredInstance, sender: str) -> _Read | None:
    narrative = read_narrative(dataset)
    if not narrative.has_text:
        return None
    is_complete = _text(dataset, "CompletionFlag").upper() == "COMPLETE"
    is_final = _text(dataset, "PreliminaryFlag").upper() == "FINAL" and is_complete
    signer, signed_at = _verifier(dataset)
    is_verified = _text(dataset, "VerificationFlag").upper() == "VERIFIED"
    state = ReportState.FINAL if is_verified or is_final else ReportState.PRELIMINARY
    author = _author(dataset) or narrative.observer or signer
    content = ReportContent(narrative.sections, author=author, signer=signer if state.is_signed else "")
    change = _change(dataset, instance, sender, state, content, narrative.title, signed_at)
    return _Read(change, _predecessors(dataset))


def _read_document(file: bytes, kind: str, instance: StoredInstance, sender: str) -> _Read:
    dataset = dcmread(io.BytesIO(file), force=True)
    data = bytes(dataset.get("EncapsulatedDocument") or b"")
    length = dataset.get("EncapsulatedDocumentLength")
    if isinstance(length, int) and 0 < length <= len(data):
        data = data[:length]
    elif data.endswith(b"\0"):
        data = data[:-1]
    if not data:
        raise InvalidRequestError(told("The object encloses no document."))
    sections: tuple[ReportSection, ...] = ()
    title = _text(dataset, "DocumentTitle") or _text(dataset, "SeriesDescription")
    if kind == CDA:
        found = read_cda(data)
        sections, title = found.sections, title or found.title
        if found.document.startswith(b"%PDF"):
            data, kind = found.document, PDF
    elif not data.lstrip().startswith(b"%PDF"):
        raise InvalidRequestError(told("The enclosed document is no PDF."))
    is_open = _text(dataset, "VerificationFlag").upper() == "UNVERIFIED"
    state = ReportState.PRELIMINARY if is_open else ReportState.FINAL
    signer, signed_at = _verifier(dataset)
    content = ReportContent(
        sections,
        document=data,
        document_type=kind,
        author=_author(dataset) or signer,
        signer=signer if not is_open else "",
    )
    change = _change(dataset, instance, sender, state, content, title, signed_at)
    return _Read(change, _predecessors(dataset))


def _change(
    dataset: Dataset,
    instance: StoredInstance,
    sender: str,
    state: ReportState,
    content: ReportContent,
    title: str,
    signed_at: str,
) -> PutReport:
    patient_id = _text(dataset, "PatientID")[:64]
    patient = None
    if patient_id:
        who = Identifier(patient_id, _text(dataset, "IssuerOfPatientID")[:64])
        patient = PatientFacts((who,), _text(dataset, "PatientName"), _text(dataset, "PatientBirthDate"))
    accession = _text(dataset, "AccessionNumber")[:64]
    said = _text(dataset, "ContentDate") + _text(dataset, "ContentTime").partition(".")[0]
    return PutReport(
        instance.sop_instance_uid,
        state,
        content,
        title,
        accession=Identifier(accession) if accession else None,
        study_uid=instance.study_instance_uid if _is_uid(instance.study_instance_uid) else "",
        patient=patient,
        reported_at=signed_at or said,
        source_name=sender,
    )


def _verifier(dataset: Dataset) -> tuple[str, str]:
    """Who verified it and when (DT); the last one stands for it."""
    found = [one for one in dataset.get("VerifyingObserverSequence") or () if _text(one, "VerifyingObserverName")]
    if not found:
        return "", ""
    return _text(found[-1], "VerifyingObserverName"), _text(found[-1], "VerificationDateTime")


def _author(dataset: Dataset) -> str:
    for one in dataset.get("AuthorObserverSequence") or ():
        if _text(one, "PersonName"):
            return _text(one, "PersonName")
    return ""


def _predecessors(dataset: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of the documents that this one comes in the place of (C.17.2, Table C.17-3)."""
    found = [
        _text(each, "ReferencedSOPInstanceUID")
        for study in dataset.get("PredecessorDocumentsSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for each in series.get("ReferencedSOPSequence") or ()
    ]
    return tuple(dict.fromkeys(one for one in found[:100] if one))


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else clean(str(value))


def _is_uid(text: str) -> bool:
    try:
        UID(text)
    except InvalidRequestError:
        return False
    return True


# --- rows ---

_CLAIM: Final = b"""UPDATE report_object SET due_at = now() + make_interval(secs => %s), attempts = attempts + 1
    WHERE id IN (SELECT id FROM report_object WHERE due_at <= now() ORDER BY due_at, id LIMIT %s FOR UPDATE SKIP LOCKED)
    RETURNING id, sop_instance_uid, attempts"""


async def _sender(connection: AsyncConnection[Any], uid: str) -> str | None:
    """AE title of whoever sent the object; None where Fileroom itself has made it, or it is gone."""
    cursor = await connection.execute(
        b"""SELECT i.sender FROM instance i WHERE i.sop_instance_uid = %s AND i.received_by <> %s
            AND NOT EXISTS (SELECT FROM report_output o WHERE o.result = i.sop_instance_uid AND o.result <> '')""",
        (uid, _MADE_HERE),
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return str(row[0] or "").partition("@")[0] if "@" in str(row[0] or "") else ""


async def _report_of(connection: AsyncConnection[Any], uid: str) -> tuple[str, str] | None:
    """(source name, number) of the report that an object is a version of."""
    cursor = await connection.execute(
        b"""SELECT r.source_name, r.source_number FROM report_version v JOIN report r ON r.id = v.report
            WHERE v.sop_instance_uid = %s AND r.source = 'dicom' ORDER BY v.id DESC LIMIT 1""",
        (uid,),
    )
    row = await cursor.fetchone()
    return None if row is None else (row[0], row[1])


async def _is_waiting(connection: AsyncConnection[Any], uid: str, itself: int) -> bool:
    cursor = await connection.execute(
        b"SELECT EXISTS (SELECT FROM report_object WHERE sop_instance_uid = %s AND id <> %s AND due_at IS NOT NULL)",
        (uid, itself),
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
