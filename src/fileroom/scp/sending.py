"""Carries out orders to send (`archive.send_jobs`), in the task worker: in the name of whoever ordered, object by object.

What became of each object is written once a second. When the worker ends in the middle, by a stop or a kill, another one
goes on with what still waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from fileroom.admin.audit_events import node_participant
from fileroom.admin.audit_message import Role
from fileroom.admin.node_fields import Node, NodeRole
from fileroom.admin.nodes import read_node
from fileroom.archive.retrieve import Selection, StoredInstance, list_instances
from fileroom.archive.send_jobs import ClaimedJob, Outcome, claim_job, end_job, next_objects, put_outcomes
from fileroom.archive.services import Archive
from fileroom.archive.suboperations import Progress
from fileroom.core.access import Permission, acting_as
from fileroom.core.errors import DatabaseError, FileroomError
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.scp.send_to_node import send_to_node
from fileroom.scp.sent_objects import put_down

WRITE_INTERVAL_S: Final = 1.0
"""How old the counts are that people see, and how much is sent twice after a kill."""

_log: Final = structlog.get_logger(__name__)


async def send_due(archive: Archive, stop: asyncio.Event) -> int:
    """Carry out one order, as far as it comes until `stop`. Returns 1, or 0 when none waits."""
    job = await claim_job(archive)
    if job is None:
        return 0
    _log.info("sending", job=job.id, node=job.node_name)
    cause = ""
    while not stop.is_set():
        uids = await next_objects(archive, job)
        if not uids:
            await end_job(archive, job, is_done=True, cause=cause)
            return 1
        node = await _destination(archive, job)
        if node is None:
            cause = f"The node {job.node_name} is gone, is disabled or may not be sent to."
            await put_outcomes(archive, job, [Outcome(uid, "failed", cause) for uid in uids])
            continue
        batch = _Batch(archive, job, stop)
        if not await batch.send(node, uids):
            return 1  # cancelled
    await end_job(archive, job, is_done=False)
    return 1


async def _destination(archive: Archive, job: ClaimedJob) -> Node | None:
    node = await read_node(archive.pool, name=job.node_name)
    return node if node is not None and node.enabled and node.may(NodeRole.DESTINATION) else None


class _Batch:
    """Some objects of an order, on their way."""

    def __init__(self, archive: Archive, job: ClaimedJob, stop: asyncio.Event) -> None:
        self._archive, self._job, self._stop = archive, job, stop
        self._is_wanted = True
        self._unwritten: list[Outcome] = []

    async def send(self, node: Node, uids: list[str]) -> bool:
        """Send them; False when the order was cancelled meanwhile."""
        archive = self._archive
        with acting_as(self._job.access):
            found = await list_instances(archive, Selection(sop_uids=tuple(uids)), permission=Permission.STUDY_EXPORT)
        there = {one.sop_instance_uid for one in found}
        self._unwritten += [Outcome(uid, "failed", "It was deleted meanwhile.") for uid in uids if uid not in there]
        writing = asyncio.create_task(self._write_on())
        progress = _Tally(len(found), self._is_over, self._unwritten)
        receiver = node_participant(node.aet, node.host, Role.DESTINATION)
        try:
            with acting_as(self._job.access), put_down(archive, receiver, found, progress):
                await send_to_node(archive, node, found, progress, purpose="send")
        except FileroomError as error:
            progress.give_up(found, str(error))
        finally:
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            await self._write()
        return self._is_wanted

    def _is_over(self) -> bool:
        return self._stop.is_set() or not self._is_wanted

    async def _write_on(self) -> None:
        while True:
            await asyncio.sleep(WRITE_INTERVAL_S)
            try:
                await asyncio.shield(self._write())
            except DatabaseError as error:
                _log.warning("outcomes_not_written", job=self._job.id, reason=str(error))

    async def _write(self) -> None:
        outcomes = list(self._unwritten)
        self._is_wanted = await put_outcomes(self._archive, self._job, outcomes)
        del self._unwritten[: len(outcomes)]


class _Tally(Progress):
    """Progress that keeps what became of each object."""

    def __init__(self, total: int, is_cancelled: Callable[[], bool], outcomes: list[Outcome]) -> None:
        super().__init__(total, is_cancelled, lambda _: None)
        self._outcomes = outcomes

    def settle(self, instance: StoredInstance, status: int) -> None:
        """The peer answered."""
        super().settle(instance, status)
        states = {StatusCategory.SUCCESS: "sent", StatusCategory.WARNING: "warned"}
        state = states.get(category(status), "failed")
        reason = "" if state == "sent" else f"It answered {describe(status)}"
        self._outcomes.append(Outcome(instance.sop_instance_uid, state, reason))

    def fail(self, instance: StoredInstance, reason: str) -> None:
        """The object could not be sent."""
        super().fail(instance, reason)
        self._outcomes.append(Outcome(instance.sop_instance_uid, "failed", reason))
