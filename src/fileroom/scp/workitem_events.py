"""Events of workitems on their way out: UPS Event SOP class (PS3.4 CC.2.4), on associations that we open with a node.

A node that is not reached is tried again later and later; what is to be told waits in the database.
"""

from __future__ import annotations

from typing import Final

import structlog

from fileroom.admin.callers import AccessOf, narrowed, node_access
from fileroom.admin.node_fields import Node, NodeRole
from fileroom.admin.nodes import find_node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.access import acting_as
from fileroom.core.errors import FileroomError, NotAllowedError, NotFoundError, PeerError, PeerRefusedError
from fileroom.dicom import uids
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.net.association_handler import AssociationPort
from fileroom.scp import offer
from fileroom.scp.workitem import encode_workitem
from fileroom.worklist.workitem_outbox import (
    Notice,
    claim_due_subscriber,
    notices_not_told,
    notices_told,
    waiting_notices,
)

_CONTEXT: Final = ProposedContext(uids.UPS_EVENT, offer.MESSAGE_TRANSFER_SYNTAXES, as_scu=False, as_scp=True)
_log: Final = structlog.get_logger(__name__)


async def tell_due(archive: Archive, access_of: AccessOf = node_access) -> int:
    """Tell one node what waits for it. Returns 1, or 0 when nothing is due.

    The node hears of what it may see, so it is worked out in its name.
    """
    due = await claim_due_subscriber(archive)
    if due is None:
        return 0
    try:
        node = await _node(archive, due.aet)
        with acting_as(narrowed(access_of(node.aet, node.host), node)):
            notices = await waiting_notices(archive, due.aet)
        if not notices:
            return 1
        told: list[int] = []
        try:
            async with connect_node(archive, node, purpose="workitem event", contexts=[_CONTEXT]) as (association, _):
                for notice in notices:
                    await _tell(association.port, notice)
                    told.append(notice.number)
        finally:
            if told:
                await notices_told(archive, due.aet, told)
        _log.info("workitem_events_told", aet=due.aet, events=len(told))
    except FileroomError as error:
        _log.info("workitem_events_not_told", aet=due.aet, attempts=due.attempts, reason=str(error))
        await notices_not_told(archive, due.aet, str(error))
    return 1


async def _node(archive: Archive, aet: str) -> Node:
    node = await find_node(archive.pool, aet=aet)
    if node is None:
        raise NotFoundError(f"There is no node with AE title {aet}, which is subscribed to workitems. Add it.")
    if not node.enabled or not node.may(NodeRole.QUERY):
        raise NotAllowedError(
            f"The node {node.name} is disabled or has not the role {NodeRole.QUERY.value}, which events of workitems need."
        )
    return node


async def _tell(port: AssociationPort, notice: Notice) -> None:
    """One N-EVENT-REPORT. Raises PeerError, PeerRefusedError."""
    context = port.find_context(uids.UPS_EVENT, as_scu=False) or port.find_context(uids.UPS_EVENT)
    if context is None:
        raise PeerRefusedError(f"{port.peer} does not accept events of workitems")
    command = CommandSet(
        CommandField.N_EVENT_REPORT_RQ,
        # Every instance is of the UPS Push SOP class (CC.2.4.3, CC.3.1).
        affected_sop_class_uid=uids.UPS_PUSH,
        affected_sop_instance_uid=notice.sop_instance_uid,
        event_type_id=notice.event_type,
        has_dataset=True,
    )
    response = await port.send_request(
        context.id, command, encode_workitem(notice.information, context.transfer_syntax)
    )
    if category(response.status) is StatusCategory.FAILURE:
        raise PeerError(f"{port.peer} answered an event of a workitem with {describe(response.status)}")
