"""Objects to a peer by C-STORE, one after another: sub-operations of C-GET and C-MOVE (PS3.4 C.4.2.2, C.4.3.2), deliveries.

The next object is read while the present one is being sent. An object leaves as it is stored where the peer takes that
transfer syntax, else in an uncompressed one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, Self, TypeVar

import structlog

from fileroom.admin.ledger_journal import Journal, ObjectNote
from fileroom.archive.retrieve import StoredInstance, open_object, read_small
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import FileroomError, PeerError, PeerRefusedError
from fileroom.core.limits import PRESENTATION_CONTEXTS_MAX
from fileroom.dicom import uids
from fileroom.dimse.command_set import CommandField, CommandSet, Priority
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.net.association_handler import AssociationPort, DataSource
from fileroom.pixels.transcode import lossless_targets
from fileroom.ul.negotiation import AcceptedContext

REPORT_INTERVAL_S: Final = 1.0
"""How often the peer hears of the progress; also while one large object is under way."""
UNCOMPRESSED: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
"""What every object can be given in, in order of preference (PS3.5 10.1)."""
_PAIRS_PER_ASSOCIATION: Final = PRESENTATION_CONTEXTS_MAX // 2
"""Each pair of SOP class and stored transfer syntax needs at most two contexts."""

_log: Final = structlog.get_logger(__name__)


class Sendable(Protocol):
    """What must be known of an object to choose the presentation context in which it leaves."""

    @property
    def study_instance_uid(self) -> str:
        """As it leaves."""

    @property
    def series_instance_uid(self) -> str:
        """As it leaves."""

    @property
    def sop_instance_uid(self) -> str:
        """As it leaves."""

    @property
    def sop_class_uid(self) -> str:
        """As it leaves."""

    @property
    def transfer_syntax_uid(self) -> str:
        """In which it is had without any work."""

    @property
    def file_bytes(self) -> int:
        """About as large as it is."""


Source = Callable[[str], Awaitable[DataSource]]
"""Gives an object's bare data set in a transfer syntax."""


class Progress:
    """Counts of sub-operations. As a context manager it reports every REPORT_INTERVAL_S until it is left."""

    def __init__(self, total: int, is_cancelled: Callable[[], bool], report: Callable[[Progress], None]) -> None:
        self.total = total
        self.is_cancelled = is_cancelled
        self.completed = 0
        self.warned = 0
        self.failed_uids: list[str] = []
        self.last_failure = ""
        self.stopped = False
        """The peer cancelled before the end."""
        self._settled: set[str] = set()
        self._report = report
        self._timer: asyncio.TimerHandle | None = None

    @property
    def failed(self) -> int:
        """How many failed."""
        return len(self.failed_uids)

    @property
    def remaining(self) -> int:
        """How many are still to be done."""
        return self.total - self.completed - self.warned - self.failed

    def settle(self, instance: StoredInstance, status: int) -> None:
        """The peer answered."""
        self._settled.add(instance.sop_instance_uid)
        kind = category(status)
        if kind is StatusCategory.SUCCESS:
            self.completed += 1
        elif kind is StatusCategory.WARNING:
            self.warned += 1
            self.last_failure = f"Peer: {describe(status)}"
        else:
            self.failed_uids.append(instance.sop_instance_uid)
            self.last_failure = f"Peer: {describe(status)}"

    def fail(self, instance: StoredInstance, reason: str) -> None:
        """The object could not be sent."""
        self._settled.add(instance.sop_instance_uid)
        self.failed_uids.append(instance.sop_instance_uid)
        self.last_failure = reason

    def arrived(self, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
        """Those that the peer has taken."""
        failed = set(self.failed_uids)
        return [
            one for one in instances if one.sop_instance_uid in self._settled and one.sop_instance_uid not in failed
        ]

    def unsettled(self, instances: Sequence[StoredInstance]) -> list[StoredInstance]:
        """Those of which nothing is known yet."""
        return [instance for instance in instances if instance.sop_instance_uid not in self._settled]

    def give_up(self, instances: Sequence[StoredInstance], reason: str) -> None:
        """All of these that are not settled fail."""
        for instance in self.unsettled(instances):
            self.fail(instance, reason)

    def __enter__(self) -> Self:
        if self.total:
            self._tick()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._report(self)
        self._timer = asyncio.get_running_loop().call_later(REPORT_INTERVAL_S, self._tick)


Some = TypeVar("Some", bound=Sendable)


@dataclass(frozen=True, slots=True)
class AssociationPlan(Generic[Some]):
    """Instances that go on one association, and the presentation contexts it needs."""

    contexts: tuple[ProposedContext, ...]
    instances: list[Some] = field(default_factory=list)


def plan_associations(instances: Sequence[Some], preferred: Sequence[str] = ()) -> Iterator[AssociationPlan[Some]]:
    """Spread instances over associations so that none needs more contexts than an association can have.

    For each SOP class each stored transfer syntax is proposed alone, so that the peer cannot choose a worse one, and
    the uncompressed ones together once more. With `preferred`, those are proposed instead, each alone, as far as an object
    can be had in them: only `choose_context` says which is used.
    """
    if preferred:
        yield from _plan_preferred(instances, preferred)
        return
    by_pair: dict[tuple[str, str], list[Some]] = {}
    for instance in instances:
        by_pair.setdefault((instance.sop_class_uid, instance.transfer_syntax_uid), []).append(instance)
    pairs = sorted(by_pair)
    for start in range(0, len(pairs), _PAIRS_PER_ASSOCIATION):
        chosen = set(pairs[start : start + _PAIRS_PER_ASSOCIATION])
        group = [i for i in instances if (i.sop_class_uid, i.transfer_syntax_uid) in chosen]
        yield AssociationPlan(tuple(_contexts(sorted(chosen))), group)


def _plan_preferred(instances: Sequence[Some], preferred: Sequence[str]) -> Iterator[AssociationPlan[Some]]:
    """Each SOP class in all of its transfer syntaxes, on as many associations as that needs."""
    by_class: dict[str, list[Some]] = {}
    for instance in instances:
        by_class.setdefault(instance.sop_class_uid, []).append(instance)
    contexts: list[ProposedContext] = []
    classes: set[str] = set()
    for sop_class, members in by_class.items():
        stored = {one.transfer_syntax_uid for one in members}
        possible = dict.fromkeys(syntax for uid in sorted(stored) for syntax in _possible(uid, preferred))
        ordered = sorted(possible, key=lambda uid: (*preferred, *possible).index(uid))
        if contexts and len(contexts) + len(ordered) > PRESENTATION_CONTEXTS_MAX:
            yield AssociationPlan(tuple(contexts), [one for one in instances if one.sop_class_uid in classes])
            contexts, classes = [], set()
        contexts += [ProposedContext(sop_class, (syntax,)) for syntax in ordered[:PRESENTATION_CONTEXTS_MAX]]
        classes.add(sop_class)
    if classes:
        yield AssociationPlan(tuple(contexts), [one for one in instances if one.sop_class_uid in classes])


def _possible(stored: str, preferred: Sequence[str]) -> list[str]:
    """In what an object may be sent: what is preferred and loses nothing, and the default, which is always offered."""
    lossless = lossless_targets()
    allowed = [uid for uid in preferred if uid == stored or uid in lossless]
    return list(dict.fromkeys((*allowed, uids.IMPLICIT_VR_LITTLE_ENDIAN)))


def _contexts(pairs: list[tuple[str, str]]) -> Iterator[ProposedContext]:
    stored: dict[str, list[str]] = {}
    for sop_class, syntax in pairs:
        stored.setdefault(sop_class, []).append(syntax)
    for sop_class, syntaxes in stored.items():
        for syntax in syntaxes:
            yield ProposedContext(sop_class, (syntax,))
        others = tuple(syntax for syntax in UNCOMPRESSED if syntax not in syntaxes)
        if others:
            yield ProposedContext(sop_class, others)


async def send_objects(
    archive: Archive,
    port: AssociationPort,
    instances: Sequence[StoredInstance],
    progress: Progress,
    originator: tuple[str, int] | None = None,
    *,
    permission: Permission = Permission.STUDY_VIEW,
    journal: Journal | None = None,
    preferred: Sequence[str] = (),
    timeout_s: float | None = None,
) -> None:
    """Send each instance by C-STORE over `port`; what becomes of it is counted in `progress`.

    `originator` is AE title and message ID of a C-MOVE, which needs another `permission` than a C-GET. `preferred` are the
    transfer syntaxes to send in, `timeout_s` is how long the peer may take to answer.
    Ends early when the peer cancels. Raises PeerError when the association breaks; what was settled before stays settled.
    """
    ahead: asyncio.Task[Prepared] | None = None
    try:
        for index, instance in enumerate(instances):
            if progress.is_cancelled():
                progress.stopped = True
                return
            current = ahead or asyncio.create_task(_prepare(archive, port, instance, permission, preferred))
            ahead = None
            try:
                prepared = await current
            except FileroomError as error:
                _log.warning("suboperation_failed", sop_instance_uid=instance.sop_instance_uid, reason=str(error))
                progress.fail(instance, str(error))
                note_object(journal, instance, archive.now(), "", None, error)
                continue
            if index + 1 < len(instances):
                ahead = asyncio.create_task(_prepare(archive, port, instances[index + 1], permission, preferred))
            began_at = archive.now()
            syntax = prepared.context.transfer_syntax
            try:
                status = await send_prepared(port, instance, prepared, originator, timeout_s)
            except PeerError as error:
                note_object(journal, instance, began_at, syntax, None, error)
                raise
            progress.settle(instance, status)
            note_object(journal, instance, began_at, syntax, status)
    finally:
        if ahead is not None:
            ahead.cancel()
            await asyncio.gather(ahead, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An object ready to be sent in `context`; a small one in one piece, already read."""

    context: AcceptedContext
    dataset: DataSource


async def prepare_from(port: AssociationPort, item: Sendable, source: Source, preferred: Sequence[str]) -> Prepared:
    """Open an object in the transfer syntax that suits the peer. Raises PeerRefusedError when none does, and as `source`."""
    context = choose_context(port, item, preferred)
    return Prepared(context, await source(context.transfer_syntax))


async def _prepare(
    archive: Archive,
    port: AssociationPort,
    instance: StoredInstance,
    permission: Permission,
    preferred: Sequence[str],
) -> Prepared:
    context = choose_context(port, instance, preferred)
    opened = await open_object(archive, instance, context.transfer_syntax, part10=False, permission=permission)
    whole = await read_small(archive, instance, opened)
    return Prepared(context, opened.chunks if whole is None else whole)


def choose_context(port: AssociationPort, instance: Sendable, preferred: Sequence[str] = ()) -> AcceptedContext:
    """As stored if the peer takes it, else uncompressed, else whatever the peer takes the SOP class in.

    With `preferred`, the first of those that it takes.
    """
    sop_class, stored = instance.sop_class_uid, instance.transfer_syntax_uid
    usual = (stored, *UNCOMPRESSED, None)
    for syntax in _possible(stored, preferred) if preferred else usual:
        context = port.find_context(sop_class, syntax)
        if context is not None:
            return context
    raise PeerRefusedError(f"The peer does not accept {uids.uid_name(sop_class)}")


async def send_prepared(
    port: AssociationPort,
    instance: Sendable,
    prepared: Prepared,
    originator: tuple[str, int] | None,
    timeout_s: float | None,
) -> int:
    """C-STORE; the status that the peer answers with. Raises PeerError when the association breaks."""
    aet, message_id = originator or (None, None)
    command = CommandSet(
        CommandField.C_STORE_RQ,
        affected_sop_class_uid=instance.sop_class_uid,
        affected_sop_instance_uid=instance.sop_instance_uid,
        priority=Priority.MEDIUM,
        move_originator_aet=aet,
        move_originator_message_id=message_id,
    )
    try:
        response = await port.send_request(prepared.context.id, command, prepared.dataset, timeout_s=timeout_s)
    except PeerError:
        raise
    except FileroomError as error:
        # The data set broke off in the middle of the message, so the association had to be aborted.
        raise PeerError(f"{instance.sop_instance_uid} could not be sent to its end: {error}") from error
    return response.status


def note_object(
    journal: Journal | None,
    instance: Sendable,
    began_at: dt.datetime,
    transfer_syntax_uid: str,
    status: int | None,
    error: FileroomError | None = None,
) -> None:
    """Tell the ledger what became of one object."""
    if journal is None:
        return
    note = ObjectNote(
        began_at,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        transfer_syntax_uid or instance.transfer_syntax_uid,
        instance.file_bytes,
        status,
        instance.study_instance_uid,
        instance.series_instance_uid,
        "" if error is None else type(error).__name__,
        "" if error is None else str(error),
    )
    journal.object_ended(note, by_us=True)
