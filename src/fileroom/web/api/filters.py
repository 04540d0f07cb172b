"""`/filters`: searches of the study list that one keeps under a name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fileroom.admin import saved_filters
from fileroom.core.access import Permission
from fileroom.web.api.models import Asked, NumberInPath, Shown
from fileroom.web.api.operations import Api


class ShownFilter(Shown):
    """A search under a name."""

    id: int
    name: str
    question: Annotated[str, Field(description="A query string of the study list.")]


class Filters(Shown):
    """One's own filters, by name."""

    items: list[ShownFilter]


class AskedFilter(Asked):
    """A search to be kept; one of the same name is replaced."""

    name: Annotated[
        str, Field(strict=True, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["CT today"])
    ]
    question: Annotated[
        str,
        Field(
            strict=True,
            max_length=4000,
            pattern=r"^[!-~]*$",
            examples=["ModalitiesInStudy=CT&StudyDate=today"],
        ),
    ]


def add_filters(api: Api) -> None:
    """The operations."""
    pool = api.archive.pool
    resource = api.resource("filters", "Searches of the study list that one keeps under a name.")

    @resource.get("/filters", "all", Permission.STUDY_SEARCH)
    async def all_filters() -> Filters:
        """One's own filters, by name."""
        return Filters.model_validate({"items": await saved_filters.list_filters(pool)}, from_attributes=True)

    @resource.put("/filters", "save", Permission.STUDY_SEARCH)
    async def save_filter(asked: AskedFilter) -> Filters:
        """Keep a search under a name; the answer is all there are then."""
        await saved_filters.save_filter(pool, asked.name, asked.question)
        return Filters.model_validate({"items": await saved_filters.list_filters(pool)}, from_attributes=True)

    @resource.delete("/filters/{filter_id}", "remove", Permission.STUDY_SEARCH)
    async def remove_filter(filter_id: NumberInPath) -> None:
        """Forget a filter; one that is gone already is no mistake."""
        await saved_filters.remove_filter(pool, filter_id)
