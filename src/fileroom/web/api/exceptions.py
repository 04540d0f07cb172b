"""`/exceptions`, `/matching`: studies that met no order, what may be done about it, and how studies meet orders."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.admin.entries import Entry
from fileroom.core.access import Permission
from fileroom.web.api.corrections import UidInBody
from fileroom.web.api.models import (
    INTEGRAL,
    NUMBER_MAX,
    Asked,
    Count,
    Moment,
    NameInPath,
    ShortText,
    Shown,
    Uid,
)
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import LIMIT_DEFAULT, Cursor, Limit, Page, next_address, read_cursor, write_cursor
from fileroom.worklist import coercion, exceptions
from fileroom.worklist.match_score import REASONS, Scored, order_name

_ORDERS_SHOWN = 100


class ShownReason(Shown):
    """Why a study waits."""

    code: Annotated[str, Field(description=f"One of {', '.join(REASONS)}.")]
    text: str


class ShownException(Shown):
    """A study that met no order."""

    id: int
    study_instance_uid: str
    state: Literal["open", "fixed", "dismissed"]
    reasons: list[ShownReason]
    best_order: Annotated[int | None, Field(description="Number of the order that came nearest when it was looked at.")]
    best_score: int | None
    found_at: Moment
    ended_at: Moment | None
    ended_by: str
    note: str
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_time: str
    description: str
    modalities: list[str]
    instances: int
    is_matched: bool


class ExceptionPage(Page[ShownException]):
    """Exceptions, the newest first."""


class ShownEvidence(Shown):
    """One thing in which study and order agree or differ."""

    evidence: str
    agrees: bool
    of_study: str
    of_order: str
    points: int


class ShownCandidate(Shown):
    """An order that comes near to a study."""

    order: int
    name: str
    score: int
    state: str
    patient_differs: bool
    findings: list[ShownEvidence]


class ShownStanding(Shown):
    """A study and the orders that come near to it now, the best first; `matched_order` is the one that it has met."""

    study_instance_uid: str
    exception: ShownException | None
    matched_order: int | None
    how: str
    candidates: list[ShownCandidate]


class ShownMatch(Shown):
    """A study that has met an order."""

    id: int
    study_instance_uid: str
    order: int
    order_name: str
    how: str
    score: int
    corrections: Annotated[int, Field(description="How many attributes were taken over.")]
    matched_at: Moment
    matched_by: str
    patient_id: str
    patient_name: str
    study_date: str
    modalities: list[str]


class MatchPage(Page[ShownMatch]):
    """Matches, the latest first."""


class ShownExceptionCounts(Shown):
    """What waits for a person."""

    studies: int
    images: int
    orders_without_images: int


class AskedFix(Asked):
    """Which order a study is of."""

    order: Annotated[int, Field(strict=True, ge=1, le=NUMBER_MAX), INTEGRAL]


class AskedDismissal(Asked):
    """Studies for which no order will come, and why."""

    studies: Annotated[list[UidInBody], Field(min_length=1, max_length=exceptions.BULK_MAX)]
    note: Annotated[ShortText, Field(min_length=1, examples=["an emergency, booked by hand"])]


class AskedMatching(Asked):
    """How studies of a node meet orders."""

    attributes: Annotated[
        list[Annotated[str, Field(strict=True, max_length=64)]],
        Field(max_length=20, description=f"What is taken over from the order, of: {', '.join(coercion.COERCED)}."),
    ] = Field(default_factory=lambda: list(coercion.USUAL))
    score_min: Annotated[
        int,
        Field(strict=True, ge=1, le=coercion.NEVER, description=f"Points; {coercion.NEVER}: never by itself."),
        INTEGRAL,
    ] = coercion.SCORE_MIN_DEFAULT


class ShownMatching(AskedMatching):
    """How studies of a node meet orders; `default` is for those that have no entry of their own."""

    name: str
    version: int
    changed_by: str


class MatchingEntries(Shown):
    """All entries, by AE title."""

    items: list[ShownMatching]


def add_exceptions(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("exceptions", "Studies that met no order, what may be done about it, and matching.")

    @resource.get("/exceptions", "search", Permission.ORDER_READ)
    async def search(
        request: Request,
        state: Annotated[Literal["open", "fixed", "dismissed"], Query()] = "open",
        limit: Limit = LIMIT_DEFAULT,
        cursor: Cursor = "",
    ) -> ExceptionPage:
        """The queue, or what has left it."""
        found = await exceptions.list_exceptions(archive, state=state, before_id=_before(cursor), limit=limit)
        end = write_cursor(found[-1].id) if len(found) == limit else ""
        return ExceptionPage(items=[_exception(one) for one in found], next=next_address(request, end))

    @resource.get("/exceptions/{study}", "get", Permission.ORDER_READ)
    async def get(study: Uid) -> ShownStanding:
        """A study, in the queue or not, with the orders that come near to it now."""
        view = await exceptions.get_exception(archive, study)
        return ShownStanding(
            study_instance_uid=study,
            exception=_exception(view.row) if view.row else None,
            matched_order=view.match.order if view.match else None,
            how=view.match.how if view.match else "",
            candidates=[_candidate(one) for one in view.looked.ranked[:_ORDERS_SHOWN]],
        )

    @resource.post("/exceptions/{study}/fix", "fix", Permission.ORDER_MANAGE)
    async def fix(study: Uid, asked: AskedFix) -> ShownStanding:
        """Say which order a study is of: it takes over what the order says, and is sent again where it was delivered."""
        await exceptions.fix_exception(archive, study, asked.order)
        return await get(study)

    @resource.post("/exceptions/{study}/undo", "undo", Permission.ORDER_MANAGE)
    async def undo(study: Uid) -> ShownStanding:
        """Take back what was said last of a study: its match with all that was taken over, or that it was dismissed."""
        await exceptions.undo_exception(archive, study)
        return await get(study)

    @resource.post("/exceptions/dismiss", "dismiss", Permission.ORDER_MANAGE)
    async def dismiss(asked: AskedDismissal) -> Count:
        """No order will come for these studies; how many left the queue."""
        return Count(count=await exceptions.dismiss_exceptions(archive, asked.studies, asked.note))

    @resource.get("/matching/counts", "counts", Permission.ORDER_READ)
    async def counts() -> ShownExceptionCounts:
        """What waits for a person, and orders whose images have not come."""
        return ShownExceptionCounts.model_validate(await exceptions.exception_counts(archive))

    @resource.get("/matching/matches", "matches", Permission.ORDER_READ)
    async def matches(request: Request, limit: Limit = LIMIT_DEFAULT, cursor: Cursor = "") -> MatchPage:
        """Studies that have met an order."""
        found = await exceptions.list_matches(archive, before_id=_before(cursor), limit=limit)
        end = write_cursor(found[-1].id) if len(found) == limit else ""
        return MatchPage(items=[ShownMatch.model_validate(one) for one in found], next=next_address(request, end))

    @resource.get("/matching/nodes", "matching", Permission.ORDER_READ)
    async def all_matching() -> MatchingEntries:
        """How studies meet orders, by AE title of the node that sends."""
        return MatchingEntries(items=[_matching(one) for one in await coercion.list_coercions(archive)])

    @resource.put("/matching/nodes/{name}", "save_matching", Permission.ORDER_MANAGE)
    async def save_matching(name: NameInPath, asked: AskedMatching) -> ShownMatching:
        """Say how studies of a node (`default`: of all others) meet orders."""
        return _matching(await coercion.put_coercion(archive, name, asked.model_dump()))

    @resource.delete("/matching/nodes/{name}", "remove_matching", Permission.ORDER_MANAGE)
    async def remove_matching(name: NameInPath) -> None:
        """A node is as all others again."""
        await coercion.remove_coercion(archive, name)


def _before(cursor: str) -> int | None:
    place = read_cursor(cursor, int)
    return place[0] if place and isinstance(place[0], int) else None


def _exception(one: exceptions.ExceptionRow) -> ShownException:
    best = one.candidates[0] if one.candidates else {}
    fields: dict[str, Any] = {
        name: getattr(one, name)
        for name in ShownException.model_fields
        if name not in ("reasons", "best_order", "best_score")
    }
    return ShownException(
        **fields,
        reasons=[ShownReason(code=each["code"], text=exceptions.reason_text(each)) for each in one.reasons],
        best_order=best.get("order"),
        best_score=best.get("score"),
    )


def _candidate(one: Scored) -> ShownCandidate:
    return ShownCandidate(
        order=one.order.id,
        name=order_name(one.order),
        score=one.score,
        state=one.order.state,
        patient_differs=bool(one.patient_differences),
        findings=[
            ShownEvidence(
                evidence=each.evidence.value,
                agrees=each.agrees,
                of_study=each.of_study,
                of_order=each.of_order,
                points=each.points,
            )
            for each in one.findings
        ],
    )


def _matching(one: Entry) -> ShownMatching:
    return ShownMatching(**one.fields, name=one.name, version=one.version, changed_by=one.changed_by)
