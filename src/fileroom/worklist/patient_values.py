"""What facts make of a patient's values: None stays, an empty text takes away (HL7 v2.5.1 2.5.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.charset import clean
from fileroom.dicom.normal_forms import normalize_name
from fileroom.worklist.facts import PatientFacts
from fileroom.worklist.identifiers import IDENTIFIERS_MAX, check_identifier
from fileroom.worklist.patient_rows import PatientRow

NAME_CHARS_MAX: Final = 324
"""Three component groups of 64 characters in bytes of any character set, with what is between (PS3.5 6.2.1)."""
OTHER_NAMES_MAX: Final = 20
DETAILS_MAX: Final = 64
"""A patient module has some forty attributes."""
DETAIL_CHARS_MAX: Final = 1024
_DATE: Final = re.compile(r"[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_SEX: Final = re.compile(r"[A-Z0-9_ ]{1,16}")


def check_patient(facts: PatientFacts) -> PatientFacts:
    """The facts with clean texts. Raises InvalidRequestError."""
    if not facts.identifiers:
        raise InvalidRequestError(
            told("The message names no identifier of the patient (PID-3). Look at how the sender's fields are read.")
        )
    if len(facts.identifiers) > IDENTIFIERS_MAX:
        raise InvalidRequestError(told("More than {most} identifiers are given for one patient.", most=IDENTIFIERS_MAX))
    identifiers = tuple(dict.fromkeys(check_identifier(each, "patient's identifier") for each in facts.identifiers))
    if facts.birth_date and not _DATE.fullmatch(facts.birth_date):
        raise InvalidRequestError(told("The patient's birth date is no date (YYYYMMDD)."))
    if facts.sex and not _SEX.fullmatch(facts.sex):
        raise InvalidRequestError(told("The patient's sex is no code (M, F, O)."))
    others = facts.other_names
    return replace(
        facts,
        identifiers=identifiers,
        name=None if facts.name is None else clean_name(facts.name),
        other_names=None if others is None else tuple(clean_name(each) for each in others[:OTHER_NAMES_MAX] if each),
        details=check_details(facts.details),
    )


def check_details(details: Mapping[str, str]) -> dict[str, str]:
    """Attributes by keyword, of which there may be many but not any number. Raises InvalidRequestError."""
    if len(details) > DETAILS_MAX:
        raise InvalidRequestError(told("More than {most} further attributes are given.", most=DETAILS_MAX))
    return {keyword[:64]: clean(value)[:DETAIL_CHARS_MAX] for keyword, value in details.items()}


def clean_name(name: str) -> str:
    """A PN that a data set takes: one value, no control characters."""
    return clean(name).replace("\\", " ").strip()[:NAME_CHARS_MAX].rstrip("^= ")


def with_facts(row: PatientRow, facts: PatientFacts, *, only_gaps: bool = False) -> PatientRow:
    """The row as the facts make it; with `only_gaps` they fill what is empty and change nothing."""

    def told_value(now: str, said: str | None) -> str:
        return now if said is None or (only_gaps and now) else said

    details = dict(row.details)
    for keyword, value in facts.details.items():
        if only_gaps and keyword in details:
            continue
        if value:
            details[keyword] = value
        else:
            details.pop(keyword, None)
    others = row.other_names
    if facts.other_names is not None and not (only_gaps and others):
        others = list(facts.other_names)
    return replace(
        row,
        patient_name=told_value(row.patient_name, facts.name),
        birth_date=told_value(row.birth_date, facts.birth_date),
        sex=told_value(row.sex, facts.sex),
        other_names=others,
        details=details,
    )


def changed_parts(before: PatientRow, after: PatientRow) -> list[str]:
    """Which parts differ, in words."""
    parts = (
        ("name", before.patient_name, after.patient_name),
        ("birth date", before.birth_date, after.birth_date),
        ("sex", before.sex, after.sex),
        ("other names", before.other_names, after.other_names),
        ("further attributes", before.details, after.details),
    )
    return [word for word, one, other in parts if one != other]


def contradicts(row: PatientRow, facts: PatientFacts) -> bool:
    """Whether the facts can hardly speak of that patient: another birth date, or, where one is missing, another name."""
    if row.birth_date and facts.birth_date:
        return row.birth_date != facts.birth_date
    return bool(row.patient_name and facts.name) and main_name(row.patient_name) != main_name(facts.name or "")


def main_name(name: str) -> str:
    """Family and given name of a PN's first group, in the normal form: what two spellings of one person have in common."""
    return "^".join(normalize_name(name).split("=")[0].split("^")[:2])
