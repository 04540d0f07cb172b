"""What images take over from the order that they have met, and from which score on they meet it by themselves: per node.

An entry of the section `matching` is called by the AE title of the node that sends, `default` is for everybody else. What the
order does not say stays as the images have it, and UIDs never change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fileroom.admin.entries import (
    Entry,
    Fields,
    Section,
    list_entries,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom.correction import AttributeCorrection
from fileroom.dicom.dictionary import vr_of
from fileroom.worklist.match_score import SCORE_MAX, OrderSaid, StudySaid

DEFAULT: Final = "default"
SCORE_MIN_DEFAULT: Final = 80
"""An accession number, or patient, modality and time within two hours: what people would match without a second look."""
NEVER: Final = SCORE_MAX + 1

_REQUEST_ATTRIBUTES: Final = 0x00400275
_ACCESSION_ISSUER: Final = "IssuerOfAccessionNumberSequence"
_NAMESPACE: Final = "00400031"
"""Local Namespace Entity ID (PS3.3 10.14)."""
COERCED: Final[dict[str, tuple[int, ...]]] = {
    "PatientName": (0x00100010,),
    "PatientID": (0x00100020,),
    "IssuerOfPatientID": (0x00100021,),
    "PatientBirthDate": (0x00100030,),
    "PatientSex": (0x00100040,),
    "AccessionNumber": (0x00080050,),
    "IssuerOfAccessionNumberSequence": (0x00080051,),
    "StudyDescription": (0x00081030,),
    "ReferringPhysicianName": (0x00080090,),
    "RequestedProcedureID": (_REQUEST_ATTRIBUTES, 0, 0x00401001),
}
"""What may be taken over, and where it stands."""
USUAL: Final = tuple(keyword for keyword in COERCED if keyword != "StudyDescription")
"""A description tells how an image was made; the order only knows what was asked for."""


@dataclass(frozen=True, slots=True)
class Coercion:
    """How studies of a node meet orders."""

    attributes: tuple[str, ...] = USUAL
    score_min: int = SCORE_MIN_DEFAULT
    """Points that a match by itself needs; more than SCORE_MAX: a person makes all of them."""


def check_coercion(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields in their normal form. Raises InvalidRequestError."""
    del name
    if unknown := sorted(set(map(str, fields)) - {"attributes", "score_min"}):
        raise InvalidRequestError(
            told("Matching has no field {field}; it has attributes and score_min.", field=unknown[0][:60])
        )
    attributes = fields.get("attributes", USUAL)
    if not isinstance(attributes, Sequence) or isinstance(attributes, str):
        raise InvalidRequestError(told("attributes is a list of keywords."))
    if wrong := [str(one) for one in attributes if one not in COERCED]:
        raise InvalidRequestError(
            told(
                "{keyword} is never taken over from an order. These can be: {known}.",
                keyword=wrong[0][:60],
                known=", ".join(COERCED),
            )
        )
    score_min = fields.get("score_min", SCORE_MIN_DEFAULT)
    if not isinstance(score_min, int) or isinstance(score_min, bool) or not 1 <= score_min <= NEVER:
        raise InvalidRequestError(told("score_min is a number from 1 to {most}; {most}: never by itself.", most=NEVER))
    return {"attributes": [one for one in COERCED if one in attributes], "score_min": score_min}


MATCHING: Final = Section(
    "matching",
    "matching entry",
    check_coercion,
    may_read=Permission.ORDER_READ,
    may_manage=Permission.ORDER_MANAGE,
)


async def list_coercions(archive: Archive) -> list[Entry]:
    """All entries by name. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, MATCHING)


async def put_coercion(archive: Archive, name: str, fields: Mapping[str, Any], *, version: int | None = None) -> Entry:
    """Say how studies of a node (`default`: of all others) meet orders.

    Raises InvalidRequestError, ConflictError, NotAllowedError, DatabaseError.
    """
    return await put_entry(archive.pool, archive.settings, MATCHING, name, fields, version=version)


async def remove_coercion(archive: Archive, name: str) -> None:
    """A node is as all others again. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, MATCHING, name)


async def read_coercions(archive: Archive) -> dict[str, Coercion]:
    """By name of the entry; DEFAULT is always among them. Raises DatabaseError."""
    entries = await read_entries(archive.pool, MATCHING)
    found = {
        one.name: Coercion(tuple(one.fields["attributes"]), int(one.fields["score_min"]))
        for one in entries
        if one.enabled
    }
    return {DEFAULT: Coercion(), **found}


def coerce(study: StudySaid, order: OrderSaid, attributes: Sequence[str]) -> tuple[AttributeCorrection, ...]:
    """What has to be corrected so that a study says what its order says; nothing where it does already."""
    said, wanted = _values_of_study(study), _values_of_order(order)
    changes: dict[str, tuple[Any, ...]] = {
        keyword: (wanted[keyword],)
        for keyword in COERCED
        if keyword in attributes and wanted.get(keyword) and wanted[keyword] not in said[keyword]
    }
    if (issuer := _ACCESSION_ISSUER) in changes:
        # Only of the number that it has assigned, which the study shows or is to show.
        if order.accession and ("AccessionNumber" in changes or study.accession == order.accession):
            changes[issuer] = ({_NAMESPACE: {"vr": "UT", "Value": [order.accession_authority]}},)
        else:
            del changes[issuer]
    elif "AccessionNumber" in changes and study.accession_issuer and not order.accession_authority:
        changes[issuer] = ()  # Whoever has issued the old number did not issue this one.
    if "PatientID" in changes and study.issuer and not wanted["IssuerOfPatientID"]:
        changes["IssuerOfPatientID"] = ()  # Whoever has issued the old number did not issue this one.
    return tuple(
        AttributeCorrection(COERCED[keyword], vr_of(COERCED[keyword][-1]), value) for keyword, value in changes.items()
    )


def _values_of_study(study: StudySaid) -> dict[str, tuple[str, ...]]:
    return {
        "PatientName": (study.name,),
        "PatientID": (study.patient_id,),
        "IssuerOfPatientID": (study.issuer,),
        "PatientBirthDate": (study.birth_date,),
        "PatientSex": (study.sex,),
        "AccessionNumber": (study.accession,),
        _ACCESSION_ISSUER: (study.accession_issuer,),
        "StudyDescription": (study.description,),
        "ReferringPhysicianName": (study.referring,),
        "RequestedProcedureID": tuple(one.procedure_id for one in study.requests),
    }


def _values_of_order(order: OrderSaid) -> dict[str, str]:
    values = {
        "AccessionNumber": order.accession,
        _ACCESSION_ISSUER: order.accession_authority,
        "StudyDescription": order.description,
        "ReferringPhysicianName": order.referring,
        "RequestedProcedureID": order.procedure_id,
    }
    patient = order.patient
    if patient is None:
        return values
    number, authority = patient.identifiers[0] if patient.identifiers else ("", "")
    return values | {
        "PatientName": patient.name,
        "PatientID": number,
        "IssuerOfPatientID": authority,
        "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex,
    }
