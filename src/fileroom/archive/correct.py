"""Corrections: attributes that are changed on every way out and in the index, while the received bytes stay.

A correction is one row, however many images it is for: at the study, a series or an instance. So a merge of 2,000 images
is one short transaction, nothing is lost, and revoking it brings everything back.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import structlog
from psycopg import AsyncConnection, errors
from psycopg.rows import tuple_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import corrected
from fileroom.archive.retrieve import corrected_header, syntax_of
from fileroom.archive.services import Archive
from fileroom.archive.split import split_object
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.query import Level
from fileroom.index.attributes import BY_KEYWORD, BY_TAG, SCANNED_TAGS
from fileroom.index.refresh import Described, lock_study, outdate_documents, refresh_instances, refresh_study
from fileroom.index.rows import attribute_columns, patient_identity_of
from fileroom.index.stored import (
    Selection,
    StoredInstance,
    has_visible_study,
    read_correction,
    select_instances,
    select_representatives,
    write_correction,
)
from fileroom.index.visibility import ALL, Visibility, visibility_of

_ATTEMPTS: Final = 3
_IDENTITY_TAGS: Final = frozenset(
    BY_KEYWORD[keyword].tag for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
)
_PIXEL_TAGS: Final = frozenset(
    {0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102}
    | {0x00280103, 0x00281101, 0x00281102, 0x00281103, 0x00281201, 0x00281202, 0x00281203}
)
_FIRST_TAG_BEHIND: Final = 0x7FE00000

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Corrections:
    """What shall be corrected, and where: in a whole study, in one series of it, or in one instance of that."""

    study_uid: str
    attributes: tuple[AttributeCorrection, ...]
    reason: str
    actor: str
    series_uid: str | None = None
    sop_uid: str | None = None


@dataclass(frozen=True, slots=True)
class CorrectionRecord:
    """A correction as it was made; `revoked_at` None while it is in force. Times are aware."""

    id: int
    study_uid: str
    series_uid: str | None
    sop_uid: str | None
    attribute: AttributeCorrection
    reason: str
    actor: str
    made_at: dt.datetime
    revoked_at: dt.datetime | None
    revoked_by: str | None


async def add_corrections(archive: Archive, corrections: Corrections) -> tuple[int, ...]:
    """Write the corrections and bring the index in line, in one transaction; returns their ids.

    Raises InvalidRequestError for what cannot be corrected (UIDs that identify, what the pixels depend on), NotFoundError
    when there is no such study, series or instance, NotAllowedError, DatabaseError, StorageError.
    """
    visibility = visibility_of(require(Permission.STUDY_CORRECT))
    _check(corrections)
    if not await _is_visible(archive, corrections.study_uid, visibility):
        raise _no_study(corrections.study_uid)
    ids: list[int] = []

    async def change(connection: AsyncConnection[Any], study: int) -> None:
        ids[:] = await write_corrections(archive, connection, study, corrections)

    await _in_transaction(archive, corrections.study_uid, change)
    _log.info("corrected", study=corrections.study_uid, ids=ids, actor=corrections.actor)
    return tuple(ids)


async def revoke_corrections(archive: Archive, ids: Sequence[int], *, actor: str) -> None:
    """Take corrections of one study back: rows and index say again what was received, or what is left of corrections.

    Raises NotFoundError when one of them does not exist or is revoked already, InvalidRequestError when they are of
    several studies, NotAllowedError, DatabaseError, StorageError.
    """
    visibility = visibility_of(require(Permission.STUDY_CORRECT))
    scopes = await _scopes(archive, ids, visibility)
    study_uid = scopes[0].study_uid

    async def change(connection: AsyncConnection[Any], study: int) -> None:
        if await take_back(archive, connection, study, scopes, ids, actor=actor) != len(set(ids)):
            raise NotFoundError("One of the corrections was revoked already. Look at the list again.")

    await _in_transaction(archive, study_uid, change)
    _log.info("corrections_revoked", study=study_uid, ids=list(ids), actor=actor)


async def write_corrections(
    archive: Archive, connection: AsyncConnection[Any], study: int, corrections: Corrections
) -> list[int]:
    """`add_corrections` in the transaction of a service that has asked, with the study (`study` is its row) locked.

    Raises InvalidRequestError, NotFoundError, StorageError; the transaction must then end without a commit.
    """
    _check(corrections)
    await _require_scope(connection, corrections)
    ids = [await _insert(connection, corrections, attribute) for attribute in corrections.attributes]
    # A correction that cannot be made shows here, and takes the transaction with it.
    await _describe(archive, await _require_scope(connection, corrections))
    await _bring_in_line(archive, connection, study, corrections.study_uid, [corrections])
    tags = ", ".join(_tag(attribute) for attribute in corrections.attributes)
    what = f"Corrected {tags} of {_place(corrections)} by {corrections.actor}: {corrections.reason}"
    await record(connection, corrected(corrections.study_uid, what))
    return ids


async def take_back(
    archive: Archive,
    connection: AsyncConnection[Any],
    study: int,
    scopes: Sequence[Corrections],
    ids: Sequence[int],
    *,
    actor: str,
) -> int:
    """`revoke_corrections` in the transaction of a service that has asked, with the study locked; `scopes` are what the
    corrections are of. Returns how many there were still in force. Raises StorageError.
    """
    cursor = await connection.execute(
        b"UPDATE correction SET revoked_at = now(), revoked_by = %s WHERE id = ANY(%s) AND revoked_at IS NULL",
        (actor, list(ids)),
    )
    if cursor.rowcount:
        study_uid = scopes[0].study_uid
        await _bring_in_line(archive, connection, study, study_uid, scopes)
        tags = ", ".join(_tag(attribute) for scope in scopes for attribute in scope.attributes)
        await record(connection, corrected(study_uid, f"Took the corrections of {tags} back, by {actor}"))
    return cursor.rowcount


async def list_corrections(archive: Archive, study_uid: str, *, revoked_too: bool = False) -> list[CorrectionRecord]:
    """The corrections of a study, its series and instances, the oldest first. Raises NotAllowedError, DatabaseError."""
    if not await _is_visible(archive, study_uid, visibility_of(require(Permission.STUDY_VIEW))):
        return []
    condition = b"study_instance_uid = %s" + (b"" if revoked_too else b" AND revoked_at IS NULL")
    return await _records(archive, condition, study_uid)


async def refresh_index(archive: Archive, study_uid: str) -> None:
    """Bring the index in line with the corrections again: for objects that arrived after them, or were indexed anew.

    Raises NotFoundError, NotAllowedError, DatabaseError, StorageError.
    """
    require(Permission.SYSTEM_MANAGE)
    everywhere = Corrections(study_uid, (), "", "")

    async def change(connection: AsyncConnection[Any], study: int) -> None:
        await _refresh_levels_above(archive, connection, study, study_uid)
        await _refresh_instances(archive, connection, everywhere, only_corrected=True)

    await _in_transaction(archive, study_uid, change)


# --- checks ---


def _check(corrections: Corrections) -> None:
    if not corrections.attributes:
        raise InvalidRequestError("No attribute is named that shall be corrected.")
    if not corrections.reason.strip() or not corrections.actor.strip():
        raise InvalidRequestError("A correction needs a reason and the name of who makes it.")
    if corrections.sop_uid and not corrections.series_uid:
        raise InvalidRequestError("To correct an instance, name its series too.")
    for attribute in corrections.attributes:
        tag = attribute.path[0] if attribute.path else 0
        if not all(0 < each < _FIRST_TAG_BEHIND for each in (*attribute.path[::2], tag)):
            raise InvalidRequestError("Only attributes in front of the pixel data can be corrected.")
        if len(attribute.path) == 1 and tag in _IDENTITY_TAGS:
            raise InvalidRequestError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) identifies the object and stays as it is.")
        if len(attribute.path) == 1 and tag in _PIXEL_TAGS:
            raise InvalidRequestError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) describes the pixels and stays as it is.")


def _tag(attribute: AttributeCorrection) -> str:
    return f"({attribute.path[0] >> 16:04X},{attribute.path[0] & 0xFFFF:04X})"


def _place(scope: Corrections) -> str:
    if scope.sop_uid:
        return f"instance {scope.sop_uid}"
    return f"series {scope.series_uid}" if scope.series_uid else "the study"


def _selection(scope: Corrections) -> Selection:
    return Selection(
        study_uids=(scope.study_uid,),
        series_uids=(scope.series_uid,) if scope.series_uid else (),
        sop_uids=(scope.sop_uid,) if scope.sop_uid else (),
    )


async def _is_visible(archive: Archive, study_uid: str, visibility: Visibility) -> bool:
    """Whether a study may be seen. One that is gone hides nothing from those who may see everything."""
    if visibility.is_everything:
        return True
    try:
        async with archive.pool.connection() as connection:
            return await has_visible_study(connection, study_uid, visibility)
    except psycopg.Error as error:
        raise _failure(error) from error


async def _require_scope(connection: AsyncConnection[Any], scope: Corrections) -> StoredInstance:
    """The first instance that the corrections are for."""
    found = await select_instances(connection, _selection(scope), ALL, limit=1)
    if not found:
        raise NotFoundError(
            f"There is no {scope.sop_uid or scope.series_uid} in study {scope.study_uid} that could be corrected."
        )
    return found[0]


# --- rows ---


async def _insert(connection: AsyncConnection[Any], corrections: Corrections, attribute: AttributeCorrection) -> int:
    path, vr, value = write_correction(attribute)
    cursor = await connection.execute(
        b"""INSERT INTO correction
                (study_instance_uid, series_instance_uid, sop_instance_uid, path, vr, value, reason, actor)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
        (
            corrections.study_uid,
            corrections.series_uid,
            corrections.sop_uid,
            path,
            vr,
            value,
            corrections.reason,
            corrections.actor,
        ),
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


async def _scopes(archive: Archive, ids: Sequence[int], visibility: Visibility) -> list[Corrections]:
    records = await _records(archive, b"id = ANY(%s) AND revoked_at IS NULL", list(ids))
    studies = {record.study_uid for record in records}
    visible = {study_uid for study_uid in studies if await _is_visible(archive, study_uid, visibility)}
    found = [record for record in records if record.study_uid in visible]
    missing = set(ids) - {record.id for record in found}
    if missing or not found:
        raise NotFoundError(f"There are no corrections {sorted(missing)} in force; they may have been revoked already.")
    if len({record.study_uid for record in found}) > 1:
        raise InvalidRequestError("Corrections of several studies are revoked one study at a time.")
    return [
        Corrections(r.study_uid, (r.attribute,), r.reason, r.actor, series_uid=r.series_uid, sop_uid=r.sop_uid)
        for r in found
    ]


async def _records(archive: Archive, condition: bytes, parameter: object) -> list[CorrectionRecord]:
    statement = (
        b"""SELECT id, study_instance_uid, series_instance_uid, sop_instance_uid, path, vr, value, reason, actor, made_at,
            revoked_at, revoked_by FROM correction WHERE """
        + condition
        + b" ORDER BY id"
    )
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(statement, (parameter,))
            rows = await cursor.fetchall()
    except psycopg.Error as error:
        raise _failure(error) from error
    return [CorrectionRecord(*(*row[:4], read_correction(*row[4:7]), *row[7:])) for row in rows]


# --- the index ---


async def _bring_in_line(
    archive: Archive, connection: AsyncConnection[Any], study: int, study_uid: str, scopes: Sequence[Corrections]
) -> None:
    await _refresh_levels_above(archive, connection, study, study_uid)
    for scope in scopes:
        if any(_is_instance_attribute(attribute) for attribute in scope.attributes):
            await _refresh_instances(archive, connection, scope)
        await outdate_documents(connection, study, scope.series_uid)


async def refresh_study_rows(archive: Archive, connection: AsyncConnection[Any], study: int, study_uid: str) -> None:
    """Make the rows of a locked study above its instances anew, as their corrected headers say, in the caller's transaction.

    Its documents are outdated. Raises StorageError.
    """
    await _refresh_levels_above(archive, connection, study, study_uid)
    await outdate_documents(connection, study, None)


async def _refresh_levels_above(archive: Archive, connection: AsyncConnection[Any], study: int, study_uid: str) -> None:
    representatives = await select_representatives(connection, study_uid)
    described = [(series, await _describe(archive, instance)) for series, instance in representatives]
    if described:
        await refresh_study(connection, study, described)


async def _refresh_instances(
    archive: Archive, connection: AsyncConnection[Any], scope: Corrections, *, only_corrected: bool = False
) -> None:
    # All of them: a correction may take the study out of the sight of whoever makes it.
    for instance in await select_instances(connection, _selection(scope), ALL):
        touched = any(_is_instance_attribute(attribute) for attribute in instance.corrections)
        if touched or not only_corrected:
            await refresh_instances(connection, [(instance.sop_instance_uid, await _describe(archive, instance))])


def _is_instance_attribute(attribute: AttributeCorrection) -> bool:
    known = BY_TAG.get(attribute.path[0])
    return known is not None and known.level is Level.INSTANCE


async def _describe(archive: Archive, instance: StoredInstance) -> Described:
    """The columns that the corrected header of an instance gives."""
    split = await split_object(archive, instance)
    header = corrected_header(split, instance)
    scanned = scan_header(header, syntax_of(split.scanned.encoding), SCANNED_TAGS, complete=True)
    return Described(patient_identity_of(scanned, instance.study_instance_uid), attribute_columns(scanned))


# --- transactions ---


async def _in_transaction(archive: Archive, study_uid: str, change: Any) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            async with archive.pool.connection() as connection, connection.transaction():
                study = await lock_study(connection, study_uid)
                if study is None:
                    raise _no_study(study_uid)
                await change(connection, study)
            return
        except errors.DeadlockDetected as error:
            if attempt + 1 == _ATTEMPTS:
                raise _failure(error) from error
        except psycopg.Error as error:
            raise _failure(error) from error


def _no_study(study_uid: str) -> NotFoundError:
    return NotFoundError(f"There is no study {study_uid}; it was deleted or never received.")


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database did not take the correction: {type(error).__name__}. Try again later.")
