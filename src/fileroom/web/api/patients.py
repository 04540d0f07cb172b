"""`/patients`: patients as the RIS tells them, with their identifiers, visits, orders; merged, taken apart, changed, linked."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.web.api.models import INTEGRAL, NUMBER_MAX, Asked, Flag, Moment, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor
from fileroom.worklist import merge_preview, merges, patient_editing, patient_moves, patient_search
from fileroom.worklist.changes import Effect
from fileroom.worklist.facts import PatientFacts
from fileroom.worklist.patient_values import DETAIL_CHARS_MAX, DETAILS_MAX, NAME_CHARS_MAX, OTHER_NAMES_MAX

_NO_CONTROLS = r"^[^\x00-\x1f\x7f]*$"
_RowNumber = Annotated[int, Field(strict=True, ge=1, le=NUMBER_MAX), INTEGRAL]
_Version = Annotated[
    _RowNumber | None, Field(description="As it was seen; one that has changed since is refused (409).")
]
_Reason = Annotated[str, Field(strict=True, max_length=merges.REASON_CHARS_MAX, pattern=_NO_CONTROLS)]
_Name = Annotated[str, Field(strict=True, max_length=NAME_CHARS_MAX, pattern=_NO_CONTROLS, examples=["Muster^Anna"])]
_Detail = Annotated[str, Field(strict=True, max_length=DETAIL_CHARS_MAX, pattern=_NO_CONTROLS)]
_Keyword = Annotated[str, Field(strict=True, pattern=r"^[A-Z][A-Za-z]{1,63}$")]


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

    id: int
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
    reason: str
    revoke_reason: str


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


class ShownMovedIdentifier(Shown):
    """An identifier that goes along."""

    value: str
    authority: str
    kind: str
    retires: Annotated[bool, Field(description="Images that show it show the survivor's first one from then on.")]


class ShownMergePreview(Shown):
    """What a merge would move. Nothing is done yet."""

    survivor: int
    retired: int
    survivor_version: int
    retired_version: int
    identifiers: list[ShownMovedIdentifier]
    visits: int
    orders: int
    studies: int
    instances: int
    left: Annotated[
        int, Field(description="Studies with the same Patient ID but another birth date or name: they stay.")
    ]
    differences: Annotated[list[str], Field(description="Of name, birth_date, sex.")]


class ShownUnmergePreview(Shown):
    """What goes back when a merge is taken back. Nothing is done yet."""

    merge: int
    owner: int
    retired: int
    identifiers: list[ShownMovedIdentifier]
    visits: int
    orders: int
    studies: int
    instances: int
    merged_at: Moment
    merged_by: str


class ShownPatientEffect(Shown):
    """What was done."""

    words: str
    subject: str
    number: int


class ShownPatientEffects(Shown):
    """What was done; `merge` is the number by which a merge is taken back."""

    merge: int | None = None
    effects: list[ShownPatientEffect]


class ShownPatientMove(Shown):
    """A visit, or all under one identifier, that went from one patient to another."""

    id: int
    source: int
    target: int
    numbers: list[str]
    whole: Annotated[bool, Field(description="All that was known under one identifier.")]
    visits: int
    orders: int
    studies: int
    message: int | None
    moved_at: Moment
    moved_by: str
    undone_at: Moment | None
    undone_by: str | None


class ShownPatientMoves(Shown):
    """Moves from and to a patient, the latest first."""

    items: list[ShownPatientMove]


class AskedMerge(Asked):
    """Who becomes part of the patient in the address."""

    retired: _RowNumber
    survivor_version: _Version = None
    retired_version: _Version = None
    reason: _Reason = ""


class AskedUnmerge(Asked):
    """Why a merge is taken back."""

    reason: _Reason = ""


class AskedPatient(Asked):
    """What is known of a patient. What is not named stays; an empty text takes the value away."""

    name: _Name | None = None
    birth_date: Annotated[str, Field(strict=True, max_length=8, examples=["19600401"])] | None = None
    sex: Annotated[str, Field(strict=True, max_length=16)] | None = None
    other_names: Annotated[list[_Name], Field(max_length=OTHER_NAMES_MAX)] | None = None
    details: Annotated[dict[_Keyword, _Detail], Field(max_length=DETAILS_MAX)] = Field(default_factory=dict)
    version: _Version = None
    correct_images: Annotated[Flag, Field(description="The patient's studies show it from now on.")] = False


class AskedVisitMove(Asked):
    """To whom a visit goes."""

    target: _RowNumber


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

    @resource.patch("/patients/{number}", "change", Permission.ORDER_MANAGE)
    async def change(number: NumberInPath, asked: AskedPatient) -> ShownPatient:
        """Change what is known of a patient. Identifiers are changed by merging; a later message changes it again."""
        others = None if asked.other_names is None else tuple(asked.other_names)
        facts = PatientFacts((), asked.name, asked.birth_date, asked.sex, others, asked.details)
        await patient_editing.save_patient(
            archive, number, facts, version=asked.version, correct_images=asked.correct_images
        )
        return await get_patient(number)

    @resource.get("/patients/{number}/merge/{retired}", "preview_merge", Permission.ORDER_MANAGE)
    async def preview_merge(number: NumberInPath, retired: NumberInPath) -> ShownMergePreview:
        """What a merge would move from the second patient to the first."""
        return ShownMergePreview.model_validate(await merge_preview.preview_merge(archive, number, retired))

    @resource.post("/patients/{number}/merge", "merge", Permission.ORDER_MANAGE)
    async def merge(number: NumberInPath, asked: AskedMerge) -> ShownPatientEffects:
        """Make one patient of two: all that the other one has becomes this one's, in one transaction."""
        versions = None
        if asked.survivor_version is not None and asked.retired_version is not None:
            versions = asked.survivor_version, asked.retired_version
        merge, effects = await merges.merge_patients(
            archive, number, asked.retired, versions=versions, reason=asked.reason
        )
        return ShownPatientEffects(merge=merge, effects=_effects(effects))

    @resource.get("/patients/merges/{merge}", "preview_unmerge", Permission.ORDER_MANAGE)
    async def preview_unmerge(merge: NumberInPath) -> ShownUnmergePreview:
        """What would go back if a merge was taken back."""
        return ShownUnmergePreview.model_validate(await merge_preview.preview_unmerge(archive, merge))

    @resource.post("/patients/merges/{merge}/undo", "unmerge", Permission.ORDER_MANAGE)
    async def unmerge(merge: NumberInPath, asked: AskedUnmerge) -> ShownPatientEffects:
        """Take a merge back: exactly what it moved goes back."""
        return ShownPatientEffects(effects=_effects(await merges.unmerge(archive, merge, reason=asked.reason)))

    @resource.put_quietly("/patients/{number}/links/{other}", "link", Permission.ORDER_MANAGE)
    async def link(number: NumberInPath, other: NumberInPath) -> None:
        """Say that two records are of one person, and keep both."""
        await patient_editing.link_records(archive, number, other)

    @resource.delete("/patients/{number}/links/{other}", "unlink", Permission.ORDER_MANAGE)
    async def unlink(number: NumberInPath, other: NumberInPath) -> None:
        """Take a link back."""
        await patient_editing.unlink_records(archive, number, other)

    @resource.get("/patients/{number}/moves", "moves", Permission.ORDER_READ)
    async def moves(number: NumberInPath) -> ShownPatientMoves:
        """Visits that went from or to a patient."""
        found = await patient_moves.list_moves(archive, number)
        return ShownPatientMoves(items=[ShownPatientMove.model_validate(one) for one in found])

    @resource.post("/patients/visits/{visit}/move", "move_visit", Permission.ORDER_MANAGE)
    async def move_visit(visit: NumberInPath, asked: AskedVisitMove) -> ShownPatientEffects:
        """Let a visit with its orders and their images be another patient's."""
        return ShownPatientEffects(
            effects=_effects(await patient_moves.move_patient_visit(archive, visit, asked.target))
        )

    @resource.post("/patients/moves/{move}/undo", "undo_move", Permission.ORDER_MANAGE)
    async def undo_move(move: NumberInPath) -> ShownPatientEffects:
        """Bring back what a move has taken."""
        return ShownPatientEffects(effects=_effects(await patient_moves.undo_move(archive, move)))


def _effects(effects: list[Effect]) -> list[ShownPatientEffect]:
    return [ShownPatientEffect.model_validate(one) for one in effects]
