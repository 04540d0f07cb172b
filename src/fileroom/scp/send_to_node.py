"""Objects to a node, on associations that we open one after another as the presentation contexts need: C-MOVE, orders to send.

An object that breaks an association fails alone; the others go on, on the next one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.admin.ledger_journal import Journal
from fileroom.admin.node_fields import Node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.archive.suboperations import Progress, plan_associations, send_objects
from fileroom.core.access import Permission
from fileroom.core.errors import PeerError
from fileroom.core.limits import BROKEN_ASSOCIATIONS_MAX
from fileroom.net.association_client import ProposedContext

_log: Final = structlog.get_logger(__name__)


async def send_to_node(
    archive: Archive,
    node: Node,
    instances: Sequence[StoredInstance],
    progress: Progress,
    *,
    purpose: str,
    parent: Journal | None = None,
    originator: tuple[str, int] | None = None,
) -> None:
    """Send everything; what becomes of each object is counted in `progress`. Needs the permission to export."""
    for plan in plan_associations(instances, node.propose_syntaxes):
        waiting, broken = plan.instances, 0
        while waiting:
            if progress.is_cancelled():
                progress.stopped = True
                return
            errand = _Errand(archive, node, plan.contexts, progress, purpose, parent, originator)
            fault = await _send_over_one(errand, waiting)
            if fault is None:
                break
            left = progress.unsettled(waiting)
            broken = broken + 1 if len(left) == len(waiting) else 1
            _log.warning("association_failed", node=node.name, purpose=purpose, reason=fault.reason, left=len(left))
            if not fault.was_established or broken == BROKEN_ASSOCIATIONS_MAX:
                progress.give_up(left, fault.reason)
            else:
                progress.give_up(left[:1], fault.reason)  # The object that broke it fails alone.
            waiting = progress.unsettled(waiting)


@dataclass(frozen=True, slots=True)
class _Errand:
    archive: Archive
    node: Node
    contexts: tuple[ProposedContext, ...]
    progress: Progress
    purpose: str
    parent: Journal | None
    originator: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class _Fault:
    """How an association that we opened failed."""

    reason: str
    was_established: bool


async def _send_over_one(errand: _Errand, instances: list[StoredInstance]) -> _Fault | None:
    """Send over one association. None when all was settled."""
    association = None
    archive, node = errand.archive, errand.node
    try:
        async with connect_node(
            archive, node, purpose=errand.purpose, contexts=errand.contexts, parent=errand.parent
        ) as (association, journal):
            await send_objects(
                archive,
                association.port,
                instances,
                errand.progress,
                errand.originator,
                permission=Permission.STUDY_EXPORT,
                journal=journal,
                preferred=node.propose_syntaxes,
                timeout_s=node.response_timeout_s,
            )
    except PeerError as error:
        return _Fault(str(error), was_established=association is not None)
    return None
