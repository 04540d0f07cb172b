"""Objects to a node by C-STORE (PS3.4 Annex B), on one association that is kept open from batch to batch.

An object that breaks the association is tried again later; the others go on, on the next one. What the node's fields say
holds here too: TLS, our own AE title, preferred transfer syntaxes, time limits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import structlog

from fileroom.admin.ledger_journal import Journal
from fileroom.admin.node_fields import Node, NodeRole
from fileroom.admin.nodes import read_node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.suboperations import (
    AssociationPlan,
    Prepared,
    note_object,
    plan_associations,
    prepare_from,
    send_prepared,
)
from fileroom.core.errors import (
    ConfigurationError,
    FileroomError,
    InvalidRequestError,
    NoContextError,
    PeerError,
    PeerRefusedError,
    told,
)
from fileroom.core.limits import BROKEN_ASSOCIATIONS_MAX, PRESENTATION_CONTEXTS_MAX
from fileroom.dicom import uids
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.net.association_client import VERIFICATION, ClientAssociation, ProposedContext
from fileroom.routing.commitment_proof import ask_for_commitment
from fileroom.routing.count_proof import count_at_node
from fileroom.routing.destination_kind import (
    Confirmation,
    DestinationSession,
    KindContext,
    Outcome,
    OutcomeKind,
    Settle,
)
from fileroom.routing.outgoing import OutgoingObject, data_set_of
from fileroom.routing.target_fields import TargetField

_DUPLICATE_SOP_INSTANCE: Final = 0x0111
_PROCESSING_FAILURE: Final = 0x0110
_RESOURCE_LIMITATION: Final = 0x0213
_UNCOMPRESSED: Final = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")

_log: Final = structlog.get_logger(__name__)


class DicomKind:
    """A node, called by C-STORE. Its target is `{node: NAME}`."""

    name: Final = "dicom"
    secrets: Final[frozenset[str]] = frozenset()
    confirmations: Final = frozenset(Confirmation)
    fields: Final = (
        TargetField("node", told("Node"), required=True, help=told("The node, as it is called under Admin, Nodes.")),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError unless a node is named. Whether there is one is looked at when it is put."""
        if unknown := set(map(str, target)) - {"node"}:
            raise InvalidRequestError(
                told("A DICOM destination has no field {unknown}; it has node.", unknown=repr(min(unknown))[:60])
            )
        node = target.get("node")
        if not isinstance(node, str) or not node.strip():
            raise InvalidRequestError(
                told("Name the node that objects are sent to, for example {example}.", example="WS1")
            )
        return {"node": node.strip()}

    def describe(self, target: Mapping[str, Any]) -> str:
        """The node's name."""
        return str(target.get("node", ""))

    @asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[DestinationSession]:
        """A session; the association is opened with the first batch, which says what it must be able to carry."""
        session = DicomSession(context)
        try:
            yield session
        finally:
            await session.close()

    async def probe(self, context: KindContext) -> str:
        """C-ECHO."""
        node = await _node(context)
        contexts = [ProposedContext(VERIFICATION, _UNCOMPRESSED)]
        async with connect_node(context.archive, node, purpose="echo", contexts=contexts) as (association, _):
            await association.echo()
        return f"{node.aet} at {node.host}:{node.port} answers C-ECHO"


class DicomSession:
    """An association with a node, opened anew when it broke or must carry something else."""

    def __init__(self, context: KindContext) -> None:
        self._context = context
        self._archive = context.archive
        self._stack = contextlib.AsyncExitStack()
        self._association: ClientAssociation | None = None
        self._journal: Journal | None = None
        self._node: Node | None = None
        self._proposed: tuple[ProposedContext, ...] = ()

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """As `DestinationSession.send`."""
        node = await _node(self._context)
        if node != self._node:
            await self.close()
            self._node = node
        for plan in plan_associations(batch, node.propose_syntaxes):
            await self._send_plan(node, plan, settle)

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """By storage commitment or by C-FIND, as the destination says."""
        node = await _node(self._context)
        if self._context.confirmation is Confirmation.COUNT:
            return await count_at_node(self._archive, node, batch)
        return await ask_for_commitment(self._archive, node, batch)

    async def close(self) -> None:
        """Release the association."""
        self._association = None
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        with contextlib.suppress(PeerError):
            await stack.aclose()

    async def _send_plan(self, node: Node, plan: AssociationPlan[OutgoingObject], settle: Settle) -> None:
        """Everything is settled, or PeerError is raised: the node cannot be reached, or breaks whatever it is sent."""
        left, broken = list(plan.instances), 0
        while left:
            try:
                association = await self._associated(node, plan.contexts)
            except NoContextError as error:
                # It is there and well, but takes nothing of this kind: that is the objects' fate, not the way's.
                await self._drop()
                for item in left:
                    settle(item, _not_prepared(item, node, error))
                return
            before = len(left)
            try:
                await self._send_over(association, node, left, settle)
                return
            except PeerError as error:
                await self._drop()
                broken = broken + 1 if len(left) == before else 1
                _log.warning("association_failed", node=node.name, purpose="route", reason=str(error), left=len(left))
                reason = f"The association with {node.name} broke while this object was sent: {error}"
                settle(left.pop(0), Outcome(OutcomeKind.TRY_LATER, reason))
                if left and broken >= BROKEN_ASSOCIATIONS_MAX:
                    raise

    async def _send_over(
        self, association: ClientAssociation, node: Node, left: list[OutgoingObject], settle: Settle
    ) -> None:
        """Send from the front of `left` and take off what is settled. The next object is read while one is being sent."""
        ahead: asyncio.Task[Prepared] | None = None
        try:
            while left:
                item = left[0]
                current = ahead or self._preparing(association, node, item)
                ahead = self._preparing(association, node, left[1]) if len(left) > 1 else None
                began_at = self._archive.now()
                try:
                    prepared = await current
                except FileroomError as error:
                    settle(item, _not_prepared(item, node, error))
                    note_object(self._journal, item, began_at, "", None, error)
                    left.pop(0)
                    continue
                syntax = prepared.context.transfer_syntax
                try:
                    status = await send_prepared(association.port, item, prepared, None, node.response_timeout_s)
                except PeerError as error:
                    note_object(self._journal, item, began_at, syntax, None, error)
                    raise
                note_object(self._journal, item, began_at, syntax, status)
                settle(item, outcome_of(status, node.name, item.file_bytes))
                left.pop(0)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.gather(ahead, return_exceptions=True)

    def _preparing(self, association: ClientAssociation, node: Node, item: OutgoingObject) -> asyncio.Task[Prepared]:
        source = partial(data_set_of, item)
        return asyncio.create_task(prepare_from(association.port, item, source, node.propose_syntaxes))

    async def _associated(self, node: Node, contexts: Sequence[ProposedContext]) -> ClientAssociation:
        """The open association where it was asked for all of these contexts, else a new one that is."""
        if self._association is not None:
            missing = [one for one in contexts if one not in self._proposed]
            if not missing and self._association.port.is_established:
                return self._association
            if len(self._proposed) + len(missing) <= PRESENTATION_CONTEXTS_MAX:
                contexts = (*self._proposed, *missing)
            await self.close()
        association, self._journal = await self._stack.enter_async_context(
            connect_node(self._archive, node, purpose="route", contexts=contexts)
        )
        self._association, self._proposed = association, tuple(contexts)
        return association

    async def _drop(self) -> None:
        """Throw away a broken association."""
        self._association = None
        stack, self._stack = self._stack, contextlib.AsyncExitStack()
        with contextlib.suppress(PeerError):
            await stack.__aexit__(PeerError, PeerError("broken"), None)


def outcome_of(status: int, node: str, sent_bytes: int) -> Outcome:
    """What a status of C-STORE (PS3.4 B.2.3, PS3.7 C) means for a delivery."""
    kind = category(status)
    if kind is StatusCategory.SUCCESS:
        return Outcome(OutcomeKind.TAKEN, status=status, sent_bytes=sent_bytes)
    if kind is StatusCategory.WARNING:
        return Outcome(OutcomeKind.WARNED, f"{node} took it and remarked {describe(status)}.", status, sent_bytes)
    if status == _DUPLICATE_SOP_INSTANCE:
        return Outcome(OutcomeKind.WARNED, f"{node} has it already ({describe(status)}).", status, sent_bytes)
    if status >> 8 == 0xA7 or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION):
        cause = f"{node} has no room or no resources now ({describe(status)}); it is tried again. Look at its disk."
        return Outcome(OutcomeKind.TRY_LATER, cause, status)
    cause = f"{node} refused it: {describe(status)}. Correct the object or the node, then retry."
    return Outcome(OutcomeKind.REFUSED, cause, status)


DICOM: Final = DicomKind()


def _not_prepared(item: OutgoingObject, node: Node, error: FileroomError) -> Outcome:
    """Why an object was not even sent."""
    if isinstance(error, PeerRefusedError):
        cause = (
            f"{node.name} does not accept {uids.uid_name(item.sop_class_uid)} as it is stored "
            f"({uids.uid_name(item.transfer_syntax_uid)}), nor in a form that loses nothing. Let it accept that, or give the "
            "destination a treatment that converts it."
        )
        return Outcome(OutcomeKind.REFUSED, cause)
    if isinstance(error, InvalidRequestError) or type(error).__name__ in _FINAL:
        return Outcome(OutcomeKind.REFUSED, f"It could not be made ready: {error}")
    return Outcome(OutcomeKind.TRY_LATER, f"It could not be read: {error}")


_FINAL: Final = frozenset({"NotFoundError", "UnsupportedError", "InvalidObjectError", "TooLargeError"})


async def _node(context: KindContext) -> Node:
    """Raises ConfigurationError when the node is gone, disabled, or may not be sent to."""
    name = str(context.target["node"])
    node = await read_node(context.archive.pool, name=name)
    if node is None:
        raise ConfigurationError(f"There is no node {name} any more. Add it under Nodes, or change the destination.")
    if not node.enabled:
        raise ConfigurationError(f"The node {name} is disabled. Enable it under Nodes.")
    if not node.may(NodeRole.DESTINATION):
        raise ConfigurationError(f"The node {name} may not be sent to. Give it the role destination under Nodes.")
    return node
