"""`/patients`: patients as the RIS tells them, with their identifiers, visits, orders and merges. They are read here."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.web.api.models import Moment, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor
from fileroom.worklist import patient_search


class ShownFoundPatient(Shown):
    """A patient in a list, and how much there is of them."""

    id: int
    patient_id: Annotated[str, Field(description="The identifier that images carry.")]
    authority: str
    patient_name: str
    birth_date: str
    sex: str
    others: Annotated[list[str], Field(description="Further identifiers.")]
    orders: int
    studies: int
    merged: Annotated[int, Field(description="How many others have become part of this one.")]


class PatientPage(Page[ShownFoundPatient]):
    """Patients that stand for themselves."""


class ShownPatientIdentifier(Shown):
    """An identifier of a patient."""

    authority: str
    value: str
    kind: str
    is_first: Annotated[bool, Field(description="The one that images carry.")]
    retired: Annotated[bool, Field(description="It came by a merge.")]


class ShownPatientVisit(Shown):
    """A visit."""

    number: str
    authority: str
    state: str
    patient_class: str
    location: str
    institution: str
    attending: str
    referring: str
    admitted_at: str
    discharged_at: str


class ShownPatientOrder(Shown):
    """An order of a patient."""

    id: int
    accession_number: str
    placer_number: str
    what: str
    state: str
    study_instance_uid: str
    ordered_at: Moment


class ShownPatientMerge(Shown):
    """Two that have become one."""

    id: int
    survivor: int
    retired: int
    retired_id: str
    retired_name: str
    message: int | None
    merged_at: Moment
    merged_by: str
    revoked_at: Moment | None
    revoked_by: str | None


class ShownPatientLink(Shown):
    """Another record of the same person."""

    other: int
    patient_name: str
    linked_at: Moment
    linked_by: str


class ShownPatient(Shown):
    """A patient with all that belongs to them."""

    id: int
    patient_name: str
    birth_date: str
    sex: str
    other_names: list[str]
    details: Annotated[dict[str, str], Field(description="Further attributes, by DICOM keyword.")]
    merged_into: int | None
    version: int
    changed_at: Moment
    changed_by: str
    identifiers: list[ShownPatientIdentifier]
    visits: list[ShownPatientVisit]
    orders: list[ShownPatientOrder]
    merges: list[ShownPatientMerge]
    links: list[ShownPatientLink]
    study_uids: list[str]


def add_patients(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("patients", "Patients as the RIS tells them.")

    @resource.get("/patients", "all", Permission.ORDER_READ)
    async def all_patients(
        request: Request,
        text: Annotated[
            str, Query(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$", description="A name, an ID or a birth date.")
        ] = "",
        limit: Limit = 50,
        cursor: Cursor = "",
    ) -> PatientPage:
        """Patients that are found by a text; without one, all."""
        place = read_cursor(cursor, int)
        limit = min(limit, patient_search.PATIENTS_MAX)
        after = int(str(place[0])) if place else None
        found = await patient_search.search_patients(archive, text, limit=limit, after=after)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        items = [ShownFoundPatient.model_validate(one) for one in found]
        return PatientPage(items=items, next=next_address(request, behind))

    @resource.get("/patients/{number}", "get", Permission.ORDER_READ)
    async def get_patient(number: NumberInPath) -> ShownPatient:
        """One patient by their row's number."""
        return ShownPatient.model_validate(await patient_search.get_patient(archive, number))
