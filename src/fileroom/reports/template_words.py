"""Placeholders of report templates: what they are called, and what they stand for in one study.

`{PatientName}` in a template's text becomes the name when a report is begun with it. What a study does not say becomes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.core.access import Access
from fileroom.index.visibility import study_is_visible, visibility_of

PLACEHOLDERS: Final[tuple[str, ...]] = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDescription",
    "StudyDate",
    "Modality",
    "AccessionNumber",
    "Procedure",
    "Reason",
    "ClinicalInformation",
    "ReferringPhysician",
    "PriorStudy",
)
_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z]{1,40})\}")


@dataclass(frozen=True, slots=True)
class ReportedStudy:
    """What a study and its order say that a report begins with. Names PN, dates DA; empty where it is not said."""

    study_instance_uid: str
    order: int | None = None
    patient: int | None = None
    patient_name: str = ""
    patient_id: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    study_date: str = ""
    study_description: str = ""
    accession_number: str = ""
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    referring_physician: str = ""
    procedure_code: str = ""
    procedure: str = ""
    reason: str = ""
    clinical_information: str = ""
    prior_date: str = ""
    prior_description: str = ""


async def read_reported_study(connection: AsyncConnection[Any], access: Access, study_uid: str) -> ReportedStudy | None:
    """A study that somebody may see, with the order that it met; None: there is none. Raises psycopg.Error.

    For services that have asked. The prior study is the same patient's one before it, of the same modality where there is one.
    """
    visible = study_is_visible(visibility_of(access), "s")
    prior = study_is_visible(visibility_of(access), "p")
    statement = f"""
        SELECT s.study_instance_uid, o.id AS "order", o.patient, s.patient_name, s.patient_id, s.patient_birth_date,
            s.patient_sex, s.study_date, s.study_description, s.modalities,
            coalesce(nullif(s.accession_number, ''), o.accession_number) AS accession_number,
            array(SELECT DISTINCT e.body_part_examined FROM series e
                WHERE e.study = s.id AND e.body_part_examined <> '' LIMIT 20)
                || array(SELECT o.body_part WHERE o.body_part <> '') AS body_parts,
            coalesce(nullif(s.referring_physician_name, ''), o.referring_physician) AS referring_physician,
            o.procedure_code, coalesce(nullif(o.procedure_meaning, ''), s.study_description) AS procedure,
            o.reason, o.clinical_information, q.study_date AS prior_date, q.study_description AS prior_description
        FROM study s
        LEFT JOIN study_match m ON m.study_instance_uid = s.study_instance_uid AND m.undone_at IS NULL
        LEFT JOIN imaging_order o ON o.id = m.imaging_order
        LEFT JOIN LATERAL (SELECT p.study_date, p.study_description FROM study p
            WHERE p.patient_id = s.patient_id AND p.patient_id <> '' AND p.id <> s.id AND p.study_date < s.study_date
                AND coalesce(p.issuer_of_patient_id, '') = coalesce(s.issuer_of_patient_id, '')
                {f"AND {prior.text}" if prior.text else ""}
            ORDER BY p.modalities && s.modalities DESC, p.study_date DESC LIMIT 1) q ON true
        WHERE s.study_instance_uid = %s {f"AND {visible.text}" if visible.text else ""}"""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement.encode(), (*prior.parameters, study_uid, *visible.parameters))
        row = await cursor.fetchone()
    if row is None:
        return None
    values: dict[str, Any] = {name: value if value is not None else "" for name, value in row.items()}
    lists: dict[str, Any] = {name: tuple(row[name] or ()) for name in ("modalities", "body_parts")}
    return ReportedStudy(**values | lists | {"order": row["order"], "patient": row["patient"]})


def unknown_placeholders(text: str) -> list[str]:
    """What stands in braces in a template and is no placeholder."""
    return [name for name in _PLACEHOLDER.findall(text) if name not in PLACEHOLDERS]


def fill(text: str, study: ReportedStudy, language: str) -> str:
    """The text with what a study says in the places of placeholders. Dates as the language writes them."""
    values = {
        "PatientName": name_in_words(study.patient_name),
        "PatientID": study.patient_id,
        "PatientBirthDate": _day(study.patient_birth_date, language),
        "PatientSex": study.patient_sex,
        "StudyDescription": study.study_description,
        "StudyDate": _day(study.study_date, language),
        "Modality": ", ".join(study.modalities),
        "AccessionNumber": study.accession_number,
        "Procedure": study.procedure,
        "Reason": study.reason,
        "ClinicalInformation": study.clinical_information,
        "ReferringPhysician": name_in_words(study.referring_physician),
        "PriorStudy": " ".join(filter(None, (study.prior_description, _day(study.prior_date, language)))),
    }
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def name_in_words(name: str) -> str:
    """A PN as a sentence has it: Family, Given."""
    parts = [part.strip() for part in name.partition("=")[0].split("^")]
    return ", ".join(part for part in parts[:2] if part)


def _day(date: str, language: str) -> str:
    if len(date) != 8 or not date.isdigit():
        return date
    year, month, day = date[:4], date[4:6], date[6:]
    return f"{day}.{month}.{year}" if language == "de" else f"{year}-{month}-{day}"
