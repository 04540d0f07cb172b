"""How the objects of a study come from a source: C-GET, C-MOVE to ourselves (PS3.4 C.4.2, C.4.3) or WADO-RS (PS3.18 10.4).

What comes is stored like everything else; that it was fetched stands in `received_by`. With C-MOVE the objects come on an
association that the source opens, where `scp.store` knows them by us having asked for them (Move Originator AE Title).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

import httpx

from fileroom.admin.ledger_journal import Journal, ObjectNote
from fileroom.admin.node_fields import Node
from fileroom.archive.file_store import IncomingFile
from fileroom.archive.node_calls import connect_node
from fileroom.archive.peers import GET_SOP_CLASSES, GET_TRANSFER_SYNTAXES
from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, IncomingObject, begin
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.errors import FileroomError, InvalidRequestError, PeerRefusedError, RequestError, TooLargeError
from fileroom.core.identifiers import AETitle
from fileroom.core.limits import MIB
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, encode_answer
from fileroom.dicomweb.media_types import parse_media_type
from fileroom.dicomweb.multipart import MultipartParser, PartBegin, PartData, PartEnd, boundary_of
from fileroom.dimse.command_set import CommandSet, respond
from fileroom.dimse.status import Status, StatusCategory, category, is_pending
from fileroom.net.association_client import ProposedContext
from fileroom.net.association_handler import AssociationPort, Response
from fileroom.routing.fetch import RECEIVED_BY
from fileroom.routing.source_calls import STUDY_UID, UNCOMPRESSED, open_service, or_abort
from fileroom.routing.sources import Source, node_of
from fileroom.ul.negotiation import AcceptedContext

PENDING_BYTES_MAX: Final = 4 * MIB
"""Past this the source is paused until the store has caught up."""
SILENCE_S: Final = 300.0
"""How long a source may say nothing while it sends a study: some fetch it from a tape first."""
OBJECTS_MAX: Final = 200_000
_LEVEL_TAG: Final = 0x00080052
_CANNOT_UNDERSTAND: Final = 0xC000


@dataclass(slots=True)
class Fetched:
    """What has come so far, for whoever looks."""

    objects: int = 0
    bytes: int = 0
    refused: str = ""
    """Why the last object that was not kept was not."""
    failed: int = 0


async def fetch_study(archive: Archive, source: Source, study_uid: str, fetched: Fetched) -> None:
    """Bring a study here; `fetched` tells how it goes. Raises PeerError with what went wrong, DatabaseError."""
    if source.dicomweb:
        await _by_wado(archive, source, study_uid, fetched)
    elif source.method == "move":
        await _by_move(archive, source, study_uid)
    else:
        await _by_get(archive, source, study_uid, fetched)


# --- DIMSE ---


async def _by_get(archive: Archive, source: Source, study_uid: str, fetched: Fetched) -> None:
    node = await node_of(archive, source)
    sop_class = uids.STUDY_ROOT_GET
    contexts = [ProposedContext(sop_class, UNCOMPRESSED)]
    contexts += [ProposedContext(uid, GET_TRANSFER_SYNTAXES, as_scu=False, as_scp=True) for uid in GET_SOP_CLASSES]
    async with connect_node(archive, node, purpose="fetch", contexts=contexts) as (association, journal):
        syntax = association.context_of(sop_class).transfer_syntax

        def open_sink(port: AssociationPort, context: AcceptedContext, command: CommandSet) -> _FetchSink:
            return _FetchSink(archive, source, node, study_uid, port, context, command, journal, fetched)

        responses = association.get(sop_class, _identifier(study_uid, syntax), open_sink, timeout_s=SILENCE_S)
        await or_abort(association, _to_the_end(source, responses))


async def _by_move(archive: Archive, source: Source, study_uid: str) -> None:
    node = await node_of(archive, source)
    sop_class = uids.STUDY_ROOT_MOVE
    contexts = [ProposedContext(sop_class, UNCOMPRESSED)]
    destination = AETitle(node.own_aet or archive.settings.aet)
    async with connect_node(archive, node, purpose="fetch", contexts=contexts) as (association, _):
        syntax = association.context_of(sop_class).transfer_syntax
        responses = association.move(sop_class, _identifier(study_uid, syntax), destination, timeout_s=SILENCE_S)
        await or_abort(association, _to_the_end(source, responses))


def _identifier(study_uid: str, syntax: str) -> bytes:
    elements = [AnswerElement(_LEVEL_TAG, "CS", "STUDY"), AnswerElement(STUDY_UID, "UI", study_uid)]
    return encode_answer(elements, syntax, None)


async def _to_the_end(source: Source, responses: AsyncGenerator[Response, None]) -> None:
    async with contextlib.aclosing(responses):
        async for response in responses:
            _require_success(source, response)


def _require_success(source: Source, response: Response) -> None:
    """A final response that is a success. Raises PeerRefusedError: a warning means that objects are missing (B000)."""
    if is_pending(response.status) or category(response.status) is StatusCategory.SUCCESS:
        return
    command = response.command
    failed = f", {command.failed_suboperations} objects failed" if command.failed_suboperations else ""
    comment = f": {command.error_comment}" if command.error_comment else ""
    raise PeerRefusedError(f"{source.shown} ended the retrieval with {response.status:04X}{failed}{comment}.")


class _FetchSink:
    """Receives one object of a C-GET into the archive and answers it."""

    def __init__(
        self,
        archive: Archive,
        source: Source,
        node: Node,
        study_uid: str,
        port: AssociationPort,
        context: AcceptedContext,
        command: CommandSet,
        journal: Journal,
        fetched: Fetched,
    ) -> None:
        self._port, self._context, self._command = port, context, command
        self._journal, self._fetched, self._began_at = journal, fetched, archive.now()
        self._study_uid, self._bytes = study_uid, 0
        self._draining: asyncio.Task[None] | None = None
        self._incoming: IncomingObject | None = None
        self._error: FileroomError | None = None
        claim = Claim(
            sop_class_uid=command.affected_sop_class_uid or "",
            sop_instance_uid=command.affected_sop_instance_uid or "",
            transfer_syntax_uid=context.transfer_syntax,
            received_by=RECEIVED_BY,
            sender=f"{node.aet}@{port.peer.host}",
            sending_aet=node.aet,
            receiving_aet=node.own_aet or archive.settings.aet,
            study_instance_uid=study_uid,
            assumed_charset=node.charset_assumed,
        )
        try:
            if fetched.objects >= OBJECTS_MAX:
                raise TooLargeError(f"{source.shown} sends more than {OBJECTS_MAX} objects")
            with acting_as(SYSTEM):
                self._incoming = begin(archive, claim)
        except FileroomError as error:
            self._error = error

    def write(self, data: memoryview) -> None:
        """A piece of the data set."""
        self._bytes += len(data)
        if self._incoming is None:
            return
        try:
            self._incoming.write(data)
        except FileroomError as error:
            self._error = error
            return
        if self._incoming.pending_bytes > PENDING_BYTES_MAX and self._draining is None:
            self._port.pause_receiving()
            self._draining = asyncio.create_task(self._drain(self._incoming))

    def finish(self) -> asyncio.Task[None]:
        """The data set is complete: store it, then answer."""
        with acting_as(SYSTEM):
            return asyncio.create_task(self._store())

    def abort(self) -> None:
        """The association died: leave nothing behind."""
        if self._draining is not None:
            self._draining.cancel()
        if self._incoming is not None:
            _aborts.add(task := asyncio.ensure_future(self._incoming.abort()))
            task.add_done_callback(_aborts.discard)

    async def _drain(self, incoming: IncomingObject) -> None:
        try:
            await incoming.drain()
        except FileroomError as error:
            self._error = error
        finally:
            self._draining = None
            self._port.resume_receiving()

    async def _store(self) -> None:
        incoming, self._incoming = self._incoming, None
        try:
            if self._draining is not None:
                await self._draining
            if incoming is not None and self._error is not None:
                await incoming.abort()
            if self._error is not None:
                raise self._error
            if incoming is not None:
                await incoming.finish()
        except FileroomError as error:
            self._fetched.failed += 1
            self._fetched.refused = str(error)
            self._answer(_CANNOT_UNDERSTAND if isinstance(error, RequestError) else Status.OUT_OF_RESOURCES, str(error))
            return
        self._fetched.objects += 1
        self._fetched.bytes += self._bytes
        self._answer(Status.SUCCESS)

    def _answer(self, status: int, comment: str = "") -> None:
        command = self._command
        self._port.send_response(self._context.id, respond(command, status, error_comment=comment[:64] or None))
        note = ObjectNote(
            self._began_at,
            command.affected_sop_class_uid or "",
            command.affected_sop_instance_uid or "",
            self._context.transfer_syntax,
            self._bytes,
            status,
            self._study_uid,
            reason=comment,
        )
        self._journal.object_ended(note)


_aborts: set[asyncio.Future[None]] = set()
"""Clearing away that nobody awaits; asyncio itself keeps only weak references to tasks."""


# --- WADO-RS ---


async def _by_wado(archive: Archive, source: Source, study_uid: str, fetched: Fetched) -> None:
    url = f"{source.dicomweb}/studies/{study_uid}"
    headers = {"accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
    async with (
        open_service(source, SILENCE_S) as client,
        client.stream("GET", url, headers=headers) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise PeerRefusedError(f"{source.shown} answered with HTTP {answer.status_code}.")
        try:
            parser = MultipartParser(boundary_of(parse_media_type(answer.headers.get("content-type", ""))))
            parts = _Parts(archive, source, study_uid, fetched)
            try:
                async for chunk in answer.aiter_bytes():
                    for event in parser.feed(chunk):
                        await parts.take(event)
                parser.close()
            finally:
                await parts.abort()
        except (InvalidRequestError, TooLargeError) as error:
            raise PeerRefusedError(f"{source.shown} sent what cannot be read: {error}") from error


class _Parts:
    """Stores the parts of an answer, one after another."""

    def __init__(self, archive: Archive, source: Source, study_uid: str, fetched: Fetched) -> None:
        self._archive, self._source, self._study_uid, self._fetched = archive, source, study_uid, fetched
        self._file: IncomingFile | None = None
        self._bytes = 0
        self._error: FileroomError | None = None

    async def take(self, event: object) -> None:
        """The next thing of the body. Raises FileroomError where storing itself fails."""
        if isinstance(event, PartBegin):
            self._bytes, self._error = 0, None
            with acting_as(SYSTEM):
                self._file = IncomingFile(self._archive, RECEIVED_BY, self._source.name, self._study_uid)
        elif isinstance(event, PartData) and self._file is not None and self._error is None:
            self._bytes += len(event.data)
            try:
                with acting_as(SYSTEM):
                    self._file.write(event.data)
            except FileroomError as error:
                self._error = error
            if self._file.pending_bytes > PENDING_BYTES_MAX:
                await self._file.drain()
        elif isinstance(event, PartEnd):
            await self._end()

    async def abort(self) -> None:
        """Leave nothing of a part that was cut."""
        if self._file is not None:
            await self._file.abort()

    async def _end(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        try:
            if self._error is not None:
                await file.abort()
                raise self._error
            with acting_as(SYSTEM):
                await file.finish()
        except FileroomError as error:
            self._fetched.failed += 1
            self._fetched.refused = str(error)
            return
        self._fetched.objects += 1
        self._fetched.bytes += self._bytes
