"""`/notices`: what nodes are told of performed steps and available instances."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query

from fileroom.core.access import Permission
from fileroom.web.api.models import Moment, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Limit
from fileroom.worklist.node_notices import cancel_notice, list_notices, resend_notice

State = Literal["", "waiting", "sent", "dead", "cancelled"]
NodeName = Annotated[str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ShownNotice(Shown):
    """One notice to one node."""

    id: int
    node: str
    kind: Literal["mpps_create", "mpps_set", "availability"]
    sop_instance_uid: str
    study_instance_uid: str
    state: State
    attempts: int
    next_try_at: Moment
    reason: str
    made_at: Moment
    ended_at: Moment | None


class Notices(Shown):
    """The latest notices, the newest first."""

    items: list[ShownNotice]


def add_notices(api: Api) -> None:
    """The operations of the resource."""
    archive = api.archive
    resource = api.resource("notices", "What nodes are told of performed steps and of available instances.")

    @resource.get("/notices", "all", Permission.LEDGER_READ)
    async def all_notices(node: NodeName = "", state: State = "", limit: Limit = 100) -> Notices:
        """The latest notices, of one node or of all."""
        found = await list_notices(archive, node, (state,) if state else (), limit)
        return Notices(items=[ShownNotice.model_validate(one) for one in found])

    @resource.post("/notices/{number}/resend", "resend", Permission.ROUTING_MANAGE)
    async def resend(number: NumberInPath) -> None:
        """Send a notice that was given up or cancelled."""
        await resend_notice(archive, number)

    @resource.post("/notices/{number}/cancel", "cancel", Permission.ROUTING_MANAGE)
    async def cancel(number: NumberInPath) -> None:
        """Do not send a notice that waits."""
        await cancel_notice(archive, number)
