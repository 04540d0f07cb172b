"""`/sendings`: studies sent to nodes, as orders that the task worker carries out, with what became of each object."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request
from pydantic import Field

from fileroom.archive import send_jobs
from fileroom.core.access import Permission
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.web.api.models import NUMBER_MAX, Asked, Moment, Name, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, by_number, cut, next_address


class ShownSending(Shown):
    """One order; the counts are of its objects."""

    id: int
    node_name: str
    node_aet: str
    actor: str
    state: Literal["waiting", "running", "done", "cancelled"]
    cause: Annotated[str, Field(description="Why it does not go on, if it does not.")]
    studies: int
    objects: int
    sent: int
    warned: int
    failed: int
    waiting: int
    requested_at: Moment
    started_at: Moment | None
    finished_at: Moment | None


class SendingPage(Page[ShownSending]):
    """Orders, the latest first."""


class SendFailure(Shown):
    """An object that was not taken, or taken with a warning, and why."""

    study_instance_uid: str
    sop_instance_uid: str
    state: str
    reason: str


class WholeSending(Shown):
    """An order with its studies, and the objects that did not go through."""

    order: ShownSending
    study_instance_uids: list[str]
    failures: list[SendFailure]


class NewSending(Asked):
    """Which studies are sent, as they are now, and where to."""

    node: Annotated[Name, Field(description="A node's name.", examples=["ARCHIVE2"])]
    studies: Annotated[
        list[Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]],
        Field(min_length=1, max_length=STUDY_PAGE_MAX, description="Study Instance UIDs."),
    ]


def add_sendings(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("sendings", "Studies sent to nodes. One sees one's own orders, or with `ledger.read` all.")

    @resource.get("/sendings", "all", Permission.STUDY_EXPORT)
    async def all_sendings(request: Request, limit: Limit = 100, cursor: Cursor = "") -> SendingPage:
        """Orders to send, the latest first."""
        entries = await send_jobs.list_jobs(archive)
        found, behind = cut(entries, lambda job: by_number(NUMBER_MAX - job.id), cursor, limit)
        return SendingPage(
            items=[ShownSending.model_validate(job) for job in found], next=next_address(request, behind)
        )

    @resource.add("/sendings", "add", Permission.STUDY_EXPORT)
    async def send(asked: NewSending) -> WholeSending:
        """Order that studies be sent to a node; the task worker begins at once."""
        return await _whole(await send_jobs.request_sending(archive, asked.node, asked.studies))

    @resource.get("/sendings/{number}", "get", Permission.STUDY_EXPORT)
    async def get_sending(number: NumberInPath) -> WholeSending:
        """One order, with what did not go through and why."""
        return await _whole(number)

    @resource.post("/sendings/{number}/cancel", "cancel", Permission.STUDY_EXPORT)
    async def cancel(number: NumberInPath) -> WholeSending:
        """End an order early; what was sent stays there."""
        await send_jobs.cancel_job(archive, number)
        return await _whole(number)

    @resource.post("/sendings/{number}/retry", "retry", Permission.STUDY_EXPORT)
    async def retry(number: NumberInPath) -> WholeSending:
        """Send again what failed, or what was not sent any more."""
        await send_jobs.retry_job(archive, number)
        return await _whole(number)

    async def _whole(number: int) -> WholeSending:
        details = await send_jobs.get_job(archive, number)
        return WholeSending(
            order=ShownSending.model_validate(details.job),
            study_instance_uids=details.study_uids,
            failures=[SendFailure.model_validate(one) for one in details.failures],
        )
