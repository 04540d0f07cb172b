"""`/routing/deliveries`: the delivery ledger, one entry for each object and destination, and what may be done about them."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError
from fileroom.core.identifiers import UID_CHARS_MAX
from fileroom.core.limits import STUDY_PAGE_MAX
from fileroom.routing import deliveries
from fileroom.routing.deliveries import REASON_CHARS_MAX, Changed, DeliveryFilter
from fileroom.web.api.models import Asked, Moment, Name, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor

State = Literal["gathering", "waiting", "sent", "delivered", "failed", "held", "cancelled", "quarantined"]
Uid = Annotated[str, Field(strict=True, pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=UID_CHARS_MAX)]
_IDS_MAX: Final = 1000
_ID_MAX: Final = 2**53 - 1
"""As large as every JSON reader can tell apart."""


class ShownDelivery(Shown):
    """One object and one destination."""

    id: int
    destination: str
    rule: Annotated[str, Field(description="The rule that planned it; empty where somebody ordered it.")]
    state: State
    cause: Annotated[str, Field(description="Why it stands where it does, in words.")]
    status: Annotated[int | None, Field(description="DIMSE status or HTTP code of the last attempt.")]
    attempts: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    bytes: int
    created_at: Moment
    due_at: Annotated[Moment, Field(description="The next try.")]
    taken_at: Moment | None
    settled_at: Moment | None
    delivered_as: Annotated[str, Field(description="SOP Instance UIDs with which it left, where they are others.")]


class DeliveryPage(Page[ShownDelivery]):
    """Deliveries, the newest first."""


class ShownDeliveryCount(Shown):
    """How many deliveries of a destination are in a state."""

    destination: str
    state: State
    number: int
    bytes: int


class DeliverySums(Shown):
    """The sums of the whole ledger."""

    items: list[ShownDeliveryCount]


class DeliveryChange(Asked):
    """What shall be done with which deliveries: those that fit everything that is given."""

    action: Literal["retry", "hold", "release", "cancel", "redirect"]
    reason: Annotated[
        str, Field(min_length=1, max_length=REASON_CHARS_MAX, description="It stands in the audit trail.")
    ]
    ids: Annotated[
        list[Annotated[int, Field(strict=True, ge=1, le=_ID_MAX)]], Field(max_length=_IDS_MAX, default_factory=list)
    ]
    states: Annotated[list[State], Field(max_length=8, default_factory=list)]
    destination: Annotated[str, Field(max_length=64)] = ""
    study_instance_uid: Annotated[str, Field(pattern=r"^[0-9.]*$", max_length=UID_CHARS_MAX)] = ""
    to: Annotated[str, Field(max_length=64, description="For `redirect`: the other destination.")] = ""


class DeliveryOrder(Asked):
    """Studies that shall be delivered, as they are now; what the destination has got already, it does not get again."""

    destination: Name
    studies: Annotated[list[Uid], Field(min_length=1, max_length=STUDY_PAGE_MAX, description="Study Instance UIDs.")]
    reason: Annotated[str, Field(max_length=REASON_CHARS_MAX)] = ""


class DeliveriesChanged(Shown):
    """How much was changed."""

    deliveries: int
    studies: int


def add_deliveries(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("deliveries", "The delivery ledger: every object on its way to a destination.")

    @resource.get("/routing/deliveries", "all", Permission.ROUTING_READ)
    async def all_deliveries(
        request: Request,
        state: Annotated[State | None, Query(description="Only those in this state.")] = None,
        destination: Annotated[str, Query(max_length=64)] = "",
        rule: Annotated[str, Query(max_length=64)] = "",
        study: Annotated[str, Query(pattern=r"^[0-9.]*$", max_length=UID_CHARS_MAX)] = "",
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> DeliveryPage:
        """Deliveries, the newest first."""
        place = read_cursor(cursor, int)
        before_id = int(str(place[0])) if place else None
        wanted = DeliveryFilter(
            states=(state,) if state else (), destination=destination, rule=rule, study_instance_uid=study
        )
        found = await deliveries.list_deliveries(archive, wanted, before_id=before_id, limit=limit)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return DeliveryPage(
            items=[ShownDelivery.model_validate(one) for one in found], next=next_address(request, behind)
        )

    @resource.get("/routing/deliveries/sums", "sums", Permission.ROUTING_READ)
    async def sums() -> DeliverySums:
        """How many deliveries stand where, by destination and state."""
        counts = await deliveries.delivery_counts(archive)
        return DeliverySums(items=[ShownDeliveryCount.model_validate(one) for one in counts])

    @resource.post("/routing/deliveries/change", "change", Permission.ROUTING_MANAGE)
    async def change(asked: DeliveryChange) -> DeliveriesChanged:
        """Retry, hold, release, cancel or redirect deliveries."""
        wanted = DeliveryFilter(
            ids=tuple(asked.ids),
            states=tuple(asked.states),
            destination=asked.destination,
            study_instance_uid=asked.study_instance_uid,
        )
        if asked.action == "redirect":
            if not asked.to:
                raise InvalidRequestError("To redirect, say where to: the field `to`.")
            return _changed(await deliveries.redirect_deliveries(archive, wanted, asked.to, asked.reason))
        act = {
            "retry": deliveries.retry_deliveries,
            "hold": deliveries.hold_deliveries,
            "release": deliveries.release_deliveries,
            "cancel": deliveries.cancel_deliveries,
        }[asked.action]
        return _changed(await act(archive, wanted, asked.reason))

    @resource.post("/routing/deliveries/order", "order", Permission.STUDY_EXPORT)
    async def order(asked: DeliveryOrder) -> DeliveriesChanged:
        """Deliver studies to a destination."""
        return _changed(await deliveries.order_delivery(archive, asked.studies, asked.destination, asked.reason))


def _changed(changed: Changed) -> DeliveriesChanged:
    return DeliveriesChanged(deliveries=changed.deliveries, studies=changed.studies)
