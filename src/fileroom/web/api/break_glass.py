"""`/break-glass`: who saw what their row scope hides, and the review of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from pydantic import Field

from fileroom.admin import break_glass
from fileroom.core.access import Permission
from fileroom.web.api.models import Asked, Moment, NumberInPath, Shown, Text
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, by_number, cut, next_address

_NUMBER_MAX = 1 << 63


class ShownGlass(Shown):
    """One time that somebody broke the glass; `reviewed_at` null: nobody has looked at it yet."""

    id: int
    login: str
    address: str
    reason: str
    began_at: Moment
    ends_at: Moment
    reviewed_at: Moment | None
    reviewed_by: str | None
    review: str


class GlassPage(Page[ShownGlass]):
    """Broken glasses, the latest first."""


class Review(Asked):
    """What the reviewer found."""

    remark: Annotated[Text, Field(min_length=1, examples=["Emergency confirmed with the ward"])]


def add_break_glass(api: Api) -> None:
    """The operations."""
    people = api.people
    glasses = api.resource("break_glass", "Who broke the glass, and the reviews. One's own is broken under `me`.")

    @glasses.get("/break-glass", "all", Permission.AUDIT_READ)
    async def all_glasses(
        request: Request,
        unreviewed: Annotated[bool, Query(description="Only those that nobody has reviewed.")] = False,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> GlassPage:
        """Who broke the glass, when and why, the latest first."""
        entries = await break_glass.list_break_glass(people, unreviewed_only=unreviewed)
        found, behind = cut(entries, lambda glass: by_number(_NUMBER_MAX - glass.id), cursor, limit)
        return GlassPage(
            items=[ShownGlass.model_validate(glass) for glass in found], next=next_address(request, behind)
        )

    @glasses.post("/break-glass/{glass_id}/review", "review", Permission.AUDIT_READ)
    async def review(glass_id: NumberInPath, asked: Review) -> ShownGlass:
        """Note that one has looked at it, and what one found. Not one's own, and not while it is open."""
        return ShownGlass.model_validate(await break_glass.review_break_glass(people, glass_id, asked.remark))
