"""Hand-over to an external reporting system: finding a study by what a link says, and telling the program of an exam.

    /open?accession=A123&issuer=HOSP&patient=4711     what a RIS or a dictation program calls: `find_studies`
    Dictate                                           `hand_over`: the program's URL and its context file

A `context_link` gives the file to the program without a login: it is sealed with the key of this installation, names one study,
one reporting system and who asked, and ends after LINK_S.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg.rows import class_row, dict_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import exported
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.sealing import seal, unseal
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConfigurationError, DatabaseError, InvalidRequestError, NotFoundError, told
from fileroom.index.conditions import Condition
from fileroom.index.visibility import ALL, Visibility, study_is_visible, visibility_of
from fileroom.reports.reporting_systems import EXTENSIONS, TYPES, ReportingSystem, context_of, get_system, url_of

LINK_S: Final = 600
"""Ten minutes: a program that starts, asks for a login of its own and reads the file."""
LINK_CHARS_MAX: Final = 2000
FOUND_MAX: Final = 50
CONTEXT_PATH: Final = "/dictation/context/"


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A study that a link may mean."""

    study_instance_uid: str
    patient_id: str
    patient_issuer: str
    patient_name: str
    birth_date: str
    accession_number: str
    study_date: str
    description: str
    modalities: list[str]


@dataclass(frozen=True, slots=True)
class HandOver:
    """What the program gets. `content` empty: it reads no file."""

    system: ReportingSystem
    url: str
    content: bytes = field(repr=False)
    media_type: str
    file_name: str


async def find_studies(
    archive: Archive, *, accession: str = "", issuer: str = "", patient: str = "", study_uid: str = ""
) -> list[FoundStudy]:
    """Studies of an accession number (of the images or of their order), or of a UID; `patient` and `issuer` narrow them down.

    `issuer` is that of the accession number. Raises InvalidRequestError (neither is given), NotAllowedError, DatabaseError.
    """
    visible = study_is_visible(visibility_of(require(Permission.STUDY_VIEW)))
    accession, issuer, patient, study_uid = (
        one.strip()[:64].replace("\0", "") for one in (accession, issuer, patient, study_uid)
    )
    if not (accession or study_uid):
        raise InvalidRequestError(
            told(
                "The link names no exam. It needs ?accession= or ?study=, and may narrow it down with &patient= and &issuer=."
            )
        )
    conditions = [visible]
    if study_uid:
        conditions.append(Condition("s.study_instance_uid = %s", (study_uid,)))
    if accession:
        conditions.append(_of_accession(accession, issuer))
    if patient:
        conditions.append(
            Condition(
                """(s.patient_id = %s OR s.patient_id IN (SELECT o.value FROM patient_identifier i
                    JOIN patient_identifier o ON o.patient = i.patient WHERE i.value = %s))""",
                (patient, patient),
            )
        )
    where = Condition.all_of(conditions)
    statement = f"""SELECT s.study_instance_uid, coalesce(s.patient_id, '') AS patient_id,
            coalesce(s.issuer_of_patient_id, '') AS patient_issuer, coalesce(s.patient_name, '') AS patient_name,
            coalesce(s.patient_birth_date, '') AS birth_date, coalesce(s.accession_number, '') AS accession_number,
            coalesce(s.study_date, '') AS study_date, coalesce(s.study_description, '') AS description, s.modalities
        FROM study s WHERE {where.text} ORDER BY s.study_date DESC NULLS LAST, s.id DESC LIMIT %s"""
    try:
        async with (
            archive.pool.connection() as connection,
            connection.cursor(row_factory=class_row(FoundStudy)) as cursor,
        ):
            await cursor.execute(statement.encode(), (*where.parameters, FOUND_MAX))
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The study cannot be looked up: {type(error).__name__}. Try again later.") from error


async def hand_over(archive: Archive, study_uid: str, system: str, *, target: str = "") -> HandOver:
    """URL and file of an exam for a reporting system; it is put down who took them. `target`: where the file goes.

    Raises NotFoundError, InvalidRequestError (the system is disabled), NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    access.require(Permission.STUDY_VIEW)
    named = await get_system(archive, system)
    if not named.enabled:
        raise InvalidRequestError(told("The reporting system {name} is disabled.", name=named.name))
    return await _made(
        archive, study_uid, named, access.name, visibility_of(access), target or f"dictation {named.name}"
    )


async def open_context(archive: Archive, sealed: str) -> HandOver:
    """The file of a `context_link`. For whoever has the link, until it ends.

    Raises NotFoundError: it is no link of ours, or has ended; the study is gone, the system was removed or disabled.
    """
    link = _read_link(archive, sealed)
    if link is None or link["until"] < archive.now().timestamp():
        raise NotFoundError(told("The link is over, or was never given. Press Dictate once more."))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT fields, version FROM named_entry WHERE section = 'reporting_systems' AND name = %s AND enabled
                AND removed_at IS NULL""",
            (link["system"],),
        )
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("The link is over, or was never given. Press Dictate once more."))
    system = ReportingSystem(link["system"], **row[0], version=row[1])
    target = f"dictation {system.name}, by a link of {link['by']}"
    # Whoever made the link could see the study.
    return await _made(archive, link["study"], system, link["by"], ALL, target)


# --- helpers ---


def _asked(text: str) -> str:
    return text.strip()[:64].replace("\0", "")


def _of_accession(accession: str, issuer: str) -> Condition:
    """The number of the images, or of an order that they met. An issuer that is said elsewhere must be the same."""
    by_order = """s.study_instance_uid IN (SELECT coalesce(m.study_instance_uid, o.study_instance_uid) FROM imaging_order o
        LEFT JOIN study_match m ON m.imaging_order = o.id AND m.undone_at IS NULL WHERE o.accession_number = %s{more})"""
    if not issuer:
        return Condition(f"(s.accession_number = %s OR {by_order.format(more='')})", (accession, accession))
    return Condition(
        f"""(s.accession_number = %s AND (s.issuer_of_accession_number_sequence IS NULL
                OR strpos(s.issuer_of_accession_number_sequence::text, %s) > 0)
            AND NOT EXISTS (SELECT FROM study_match m JOIN imaging_order o ON o.id = m.imaging_order
                WHERE m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
                AND o.accession_number = %s AND o.accession_authority NOT IN ('', %s))
            OR {by_order.format(more=" AND o.accession_authority IN ('', %s)")})""",
        (accession, json.dumps(issuer, ensure_ascii=False), accession, issuer, accession, issuer),
    )


async def _made(
    archive: Archive, study_uid: str, system: ReportingSystem, who: str, visibility: Visibility, target: str
) -> HandOver:
    visible = study_is_visible(visibility)
    async with archive.pool.connection() as connection, connection.transaction():
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(
                f"""SELECT s.*, o.accession_number AS order_accession, o.accession_authority, o.procedure_code,
                        o.procedure_meaning, o.priority, o.placer_number, o.filler_number, o.reason,
                        o.referring_physician AS order_referring
                    FROM study s LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
                    LEFT JOIN imaging_order o ON o.id = m.imaging_order
                    WHERE s.study_instance_uid = %s AND {visible.text or "true"}""".encode(),
                (study_uid, *visible.parameters),
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFoundError(
                told("There is no study {study}; it was deleted or never received.", study=study_uid[:64])
            )
        values = _values(row) | {"user": who, "context_link": _link(archive, study_uid, system.name, who)}
        await record(connection, exported([StudyReference(study_uid)], target))
    content = context_of(system, values) if system.context != "none" else b""
    extension = system.extension or EXTENSIONS.get(system.context, "")
    named = "".join(one for one in values["accession"] if one.isascii() and one.isalnum())[:32] or "exam"
    return HandOver(
        system,
        url_of(system, values),
        content,
        system.media_type or TYPES.get(system.context, ""),
        f"{named}.{extension}",
    )


def _values(row: dict[str, Any]) -> dict[str, str]:
    said = {
        "accession": row["order_accession"] or row["accession_number"],
        "accession_issuer": row["accession_authority"],
        "study_uid": row["study_instance_uid"],
        "patient_id": row["patient_id"],
        "patient_issuer": row["issuer_of_patient_id"],
        "patient_name": row["patient_name"],
        "birth_date": row["patient_birth_date"],
        "sex": row["patient_sex"],
        "modality": " ".join(row["modalities"]),
        "study_date": row["study_date"],
        "study_time": row["study_time"],
        "description": row["study_description"],
        "procedure_code": row["procedure_code"],
        "procedure": row["procedure_meaning"],
        "priority": row["priority"],
        "placer": row["placer_number"],
        "filler": row["filler_number"],
        "referring_physician": row["referring_physician_name"] or row["order_referring"],
        "reason": row["reason"],
    }
    return {name: value or "" for name, value in said.items()}


def _link(archive: Archive, study_uid: str, system: str, who: str) -> str:
    until = int(archive.now().timestamp()) + LINK_S
    clear = json.dumps({"study": study_uid, "system": system, "by": who, "until": until, "for": "dictation"}).encode()
    return CONTEXT_PATH + base64.urlsafe_b64encode(seal(archive.settings.data, clear)).decode().rstrip("=")


def _read_link(archive: Archive, sealed: str) -> dict[str, Any] | None:
    if len(sealed) > LINK_CHARS_MAX:
        return None
    try:
        token = base64.urlsafe_b64decode(sealed.encode("ascii") + b"=" * (-len(sealed) % 4))
        link = json.loads(unseal(archive.settings.data, token))
    except (ConfigurationError, ValueError, binascii.Error):
        return None
    return link if isinstance(link, dict) and link.get("for") == "dictation" else None
