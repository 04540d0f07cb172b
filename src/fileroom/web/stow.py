"""STOW-RS: the Store transaction (PS3.18 10.5).

A DICOM part is written into the archive while it arrives, so an object of 2 GB costs no more memory than a small one;
it is flushed and committed while the next one comes in. Metadata with bulk data (`web.stow_bulk`) wait until the request
is complete, since parts may come in any order. The answer says for each object whether it is safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from fileroom.archive.file_store import IncomingFile
from fileroom.archive.services import Archive
from fileroom.archive.store import MismatchError, StoreKind, StoreOutcome
from fileroom.archive.transfers import ReceivedObjects
from fileroom.core.access import Access
from fileroom.core.errors import (
    FileroomError,
    InvalidObjectError,
    InvalidRequestError,
    RequestError,
    StorageFullError,
    TooLargeError,
)
from fileroom.core.identifiers import UID
from fileroom.core.limits import OBJECT_MEMORY_BYTES_MAX, STOW_FINISHING_MAX, STOW_OBJECTS_MAX
from fileroom.dicomweb.media_types import MediaType, parse_media_type
from fileroom.dicomweb.multipart import End, Event, MultipartParser, PartBegin, PartData, boundary_of
from fileroom.dicomweb.offers import DICOM, DICOM_XML, STORE_RESPONSE_OFFERS
from fileroom.dicomweb.stow import AssembledObject
from fileroom.dicomweb.stow_response import (
    Failed,
    FailureReason,
    Outcome,
    Stored,
    WarningReason,
    store_response_json,
    store_response_xml,
    store_status,
)
from fileroom.web.address import dicomweb_root, optional_path_uid
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.audited import requestor
from fileroom.web.endpoint import Handler
from fileroom.web.errors import RETRY_AFTER_S, UnsupportedMediaTypeError
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, sized_multipart_answer
from fileroom.web.stow_bulk import BulkUpload

_OTHER_TYPES: Final = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})


def store_handler(archive: Archive) -> Handler:
    """The handler of POST on `/studies` and `/studies/{study}`."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, STORE_RESPONSE_OFFERS)
        content_type = _content_type(request)
        study = optional_path_uid(request, "study")
        upload = _Upload(archive, _sender(request), study or "", requestor(request))
        outcomes = await upload.receive(request, content_type)
        root_url = dicomweb_root(request)
        status = store_status(outcomes)
        headers = {"cache-control": NO_STORE}
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["retry-after"] = str(RETRY_AFTER_S)
        if chosen.media_type == DICOM_XML:
            body = store_response_xml(outcomes, root_url)
            if chosen.multipart:
                part = Part(DICOM_XML, body)
                related = f'multipart/related; type="{DICOM_XML}"'
                return sized_multipart_answer(related, [part], status=status, headers=headers)
        else:
            body = store_response_json(outcomes, root_url)
        return Answer(status, {**headers, "content-type": chosen.media_type}, body)

    return handle


class _Upload:
    """One Store request: its objects on their way in, and what became of each, in the order they came."""

    def __init__(self, archive: Archive, sender: str, study: UID | str, actor: Access) -> None:
        self._archive = archive
        self._sender = sender
        self._study = str(study)
        self._outcomes: list[Outcome | None] = []
        self._finishing: set[asyncio.Task[None]] = set()
        self._received = ReceivedObjects(archive, actor)

    async def receive(self, request: Request, content_type: MediaType) -> list[Outcome]:
        """Take the request's body. Raises RequestError where it as a whole cannot be read."""
        try:
            if content_type.essence == DICOM:
                await self._receive_single(request)
            elif content_type.essence == "multipart/related":
                await self._receive_parts(request, MultipartParser(boundary_of(content_type)))
            else:
                raise UnsupportedMediaTypeError(
                    f"Content-Type {content_type.essence} cannot be stored; send multipart/related; "
                    f'type="{DICOM}", or {DICOM}'
                )
        finally:
            # Whatever happens to the request, objects that are complete are either kept or refused, not left open.
            if self._finishing:
                await asyncio.wait(self._finishing)
            self._received.ended()
        outcomes = [outcome for outcome in self._outcomes if outcome is not None]
        if not outcomes:
            raise InvalidRequestError("The request holds no object; send at least one part of type application/dicom")
        return outcomes

    async def _receive_single(self, request: Request) -> None:
        incoming = _IncomingPart(self._new_file())
        try:
            async for chunk in request.stream():
                await incoming.take(chunk)
        except BaseException:
            await incoming.abort()
            raise
        await self._finish_later(incoming)

    async def _receive_parts(self, request: Request, parser: MultipartParser) -> None:
        bulk = BulkUpload()
        current: _IncomingPart | BulkUpload | None = None
        try:
            async for event in _events(request, parser):
                if isinstance(event, PartData):
                    if current is not None:
                        await current.take(event.data)
                elif isinstance(event, PartBegin):
                    current = self._begin_part(event, bulk)
                elif current is not None and not isinstance(event, End):
                    if isinstance(current, _IncomingPart):
                        await self._finish_later(current)
                    current = None
            objects = bulk.objects()
            # In a thread: a picture may have to be decoded.
            while (assembled := await asyncio.to_thread(next, objects, None)) is not None:
                await self._store_assembled(assembled)
        except BaseException:
            if isinstance(current, _IncomingPart):
                await current.abort()
            raise
        finally:
            bulk.close()

    def _begin_part(self, part: PartBegin, bulk: BulkUpload) -> _IncomingPart | BulkUpload:
        content_type = parse_media_type(part.header("content-type") or DICOM)
        if content_type.essence == DICOM:
            return _IncomingPart(self._new_file())
        bulk.begin_part(content_type, part.header("content-location"))
        return bulk

    async def _store_assembled(self, assembled: AssembledObject | Failed) -> None:
        if isinstance(assembled, Failed):
            self._outcomes.append(assembled)
            return
        incoming = _IncomingPart(self._new_file())
        for piece in assembled.pieces:
            view = memoryview(piece)
            for start in range(0, len(view), OBJECT_MEMORY_BYTES_MAX):
                await incoming.take(view[start : start + OBJECT_MEMORY_BYTES_MAX])
        await self._finish_later(incoming)

    def _new_file(self) -> IncomingFile:
        if len(self._outcomes) >= STOW_OBJECTS_MAX:
            raise TooLargeError(f"One request may hold {STOW_OBJECTS_MAX} objects; send the rest in another")
        return IncomingFile(self._archive, "stow", self._sender, self._study)

    async def _finish_later(self, incoming: _IncomingPart) -> None:
        while len(self._finishing) >= STOW_FINISHING_MAX:
            await asyncio.wait(self._finishing, return_when=asyncio.FIRST_COMPLETED)
        place = len(self._outcomes)
        self._outcomes.append(None)
        task = asyncio.create_task(self._finish(incoming, place))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, incoming: _IncomingPart, place: int) -> None:
        self._outcomes[place] = outcome = await incoming.finish()
        if incoming.outcome is not None:
            self._received.stored(incoming.outcome)
        elif isinstance(outcome, Failed):
            self._received.refused(outcome.message)


class _IncomingPart:
    """One DICOM part. A refusal in its midst does not end the request: the rest of the part is passed over."""

    def __init__(self, file: IncomingFile) -> None:
        self._file = file
        self._error: FileroomError | None = None
        self.outcome: StoreOutcome | None = None
        """Of the stored object."""

    async def take(self, data: bytes | memoryview) -> None:
        """Write the next bytes, or pass over them when the object has been refused."""
        if self._error is not None:
            return
        try:
            self._file.write(data)
            if self._file.pending_bytes > OBJECT_MEMORY_BYTES_MAX:
                await self._file.drain()
        except FileroomError as error:
            self._error = error
            await self._file.abort()

    async def finish(self) -> Outcome:
        """Store it; what became of it."""
        try:
            if self._error is None:
                self.outcome = await self._file.finish()
                return _stored(self.outcome)
            if isinstance(self._error, InvalidObjectError):
                await self._file.refuse(self._error)
            error: Exception = self._error
        except FileroomError as failure:
            error = failure
        self._file.count_failure(error)
        claim = self._file.claim
        if claim is None:
            return Failed(failure_reason(error), str(error))
        return Failed(failure_reason(error), str(error), claim.sop_class_uid, claim.sop_instance_uid)

    async def abort(self) -> None:
        """The sender went away in its midst."""
        await self._file.abort()


def failure_reason(error: Exception) -> FailureReason:
    """The one table from our errors to the failure reasons of a Store response (PS3.18 I.2.2)."""
    if isinstance(error, StorageFullError):
        return FailureReason.OUT_OF_RESOURCES
    if isinstance(error, MismatchError):
        return FailureReason.DATA_SET_MISMATCH
    if isinstance(error, RequestError):
        return FailureReason.CANNOT_UNDERSTAND
    return FailureReason.PROCESSING_FAILURE


def _stored(outcome: StoreOutcome) -> Stored:
    aside = outcome.kind is StoreKind.KEPT_ASIDE
    return Stored(
        outcome.sop_class_uid,
        UID(outcome.sop_instance_uid),
        UID(outcome.study_instance_uid),
        UID(outcome.series_instance_uid),
        WarningReason.DATA_SET_MISMATCH if aside else None,
    )


async def _events(request: Request, parser: MultipartParser) -> AsyncIterator[Event]:
    async for chunk in request.stream():
        if chunk:
            for event in parser.feed(chunk):
                yield event
    parser.close()


def _content_type(request: Request) -> MediaType:
    header = request.headers.get("content-type")
    if not header:
        raise UnsupportedMediaTypeError(f'The request has no Content-Type; send multipart/related; type="{DICOM}"')
    return parse_media_type(header)


def _sender(request: Request) -> str:
    return request.client.host if request.client else ""
