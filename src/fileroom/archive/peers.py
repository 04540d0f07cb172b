"""What Fileroom asks of other systems, as an SCU: send files, query, and have objects sent or fetched.

The command line stands on it; nothing here touches the index. Who a peer is, and C-ECHO, stand in `archive.peer`.
Raises NotAllowedError at once where it is not permitted.
"""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset

from fileroom.admin.ledger_journal import Journal, ObjectNote
from fileroom.archive.peer import Associate, Peer, associate
from fileroom.core.access import Permission, require
from fileroom.core.clock import system_now
from fileroom.core.errors import InvalidObjectError, InvalidRequestError, PeerError
from fileroom.core.identifiers import AETitle
from fileroom.core.limits import BROKEN_ASSOCIATIONS_MAX, PRESENTATION_CONTEXTS_MAX
from fileroom.dicom import uids
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dicom.part10 import build_file_meta, parse_file_meta
from fileroom.dicom.query import InformationModel
from fileroom.dimse.command_set import CommandSet, respond
from fileroom.dimse.status import Status, StatusCategory, category, is_pending
from fileroom.net.association_client import ClientAssociation, ProposedContext
from fileroom.net.association_handler import AssociationPort, Response
from fileroom.ul.negotiation import AcceptedContext

_UNCOMPRESSED: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
_FIND_CLASSES: Final = {
    InformationModel.PATIENT_ROOT: uids.PATIENT_ROOT_FIND,
    InformationModel.STUDY_ROOT: uids.STUDY_ROOT_FIND,
}
_MOVE_CLASSES: Final = {
    InformationModel.PATIENT_ROOT: uids.PATIENT_ROOT_MOVE,
    InformationModel.STUDY_ROOT: uids.STUDY_ROOT_MOVE,
}
_GET_CLASSES: Final = {
    InformationModel.PATIENT_ROOT: uids.PATIENT_ROOT_GET,
    InformationModel.STUDY_ROOT: uids.STUDY_ROOT_GET,
}
_SOP_CLASS_UID: Final = 0x00080016
_SOP_INSTANCE_UID: Final = 0x00080018
_STUDY_INSTANCE_UID: Final = 0x0020000D
_SERIES_INSTANCE_UID: Final = 0x0020000E
_HEAD_BYTES: Final = 64 * 1024

GET_SOP_CLASSES: Final = tuple(uid for uid in uids.STORAGE_SOP_CLASSES if uid not in uids.RETIRED_STORAGE_SOP_CLASSES)[
    : PRESENTATION_CONTEXTS_MAX - 1
]
"""What a C-GET offers to receive, one context each: 127 beside the query's own, the usual ones first in the dictionary."""
GET_TRANSFER_SYNTAXES: Final = tuple(
    uid
    for uid, syntax in uids.TRANSFER_SYNTAXES.items()
    if not syntax.name.startswith(("JPIP", "SMPTE")) and ", Hierarchical" not in syntax.name
)
"""In what it may come. DCMTK, and all that is built on it, ends an association that proposes more than 50 in a context.

Left out is what no stored object has: pixels that are elsewhere, live video, and hierarchical JPEG, retired unused.
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a peer said to one object. `status` is None where it was not even asked, and `reason` says why."""

    path: str
    sop_instance_uid: str
    status: int | None
    reason: str

    @property
    def is_kept(self) -> bool:
        """Success, or a warning."""
        return self.status is not None and category(self.status) in (StatusCategory.SUCCESS, StatusCategory.WARNING)


def send(peer: Peer, paths: Sequence[Path], open_association: Associate = associate) -> AsyncIterator[Sent]:
    """C-STORE of files, as they are, in as many associations as their kinds need.

    Raises PeerError when the peer cannot be had. A file that breaks the association fails alone.
    """
    require(Permission.STUDY_EXPORT)
    return _send(peer, paths, open_association)


def find(
    peer: Peer, model: InformationModel, identifier: Dataset, open_association: Associate = associate
) -> AsyncGenerator[Dataset, None]:
    """C-FIND: the matches. Raises PeerError when the peer ends with a failure."""
    require(Permission.STUDY_SEARCH)
    return _find(peer, model, identifier, open_association)


def move(
    peer: Peer,
    model: InformationModel,
    identifier: Dataset,
    destination: str,
    open_association: Associate = associate,
) -> AsyncIterator[CommandSet]:
    """C-MOVE: the responses with their counts; the last is final. Raises PeerError when it is a failure."""
    require(Permission.STUDY_EXPORT)
    return _move(peer, model, identifier, destination, open_association)


def get(
    peer: Peer,
    model: InformationModel,
    identifier: Dataset,
    open_file: Callable[[str], Path],
    open_association: Associate = associate,
) -> AsyncIterator[CommandSet]:
    """C-GET: objects go to the files that `open_file` names by SOP Instance UID; yields the responses.

    Raises PeerError when the peer ends with a failure.
    """
    require(Permission.STUDY_EXPORT)
    return _get(peer, model, identifier, open_file, open_association)


async def _send(peer: Peer, paths: Sequence[Path], open_association: Associate) -> AsyncIterator[Sent]:
    files: list[_File] = []
    for path in paths:
        try:
            files.append(await asyncio.to_thread(_read_identity, path))
        except (InvalidObjectError, OSError) as error:
            yield Sent(str(path), "", None, f"not sent: {error}")
    for group in _groups_by_context(files):
        async for sent in _send_group(peer, group, open_association):
            yield sent


async def _find(
    peer: Peer, model: InformationModel, identifier: Dataset, open_association: Associate
) -> AsyncGenerator[Dataset, None]:
    sop_class = _FIND_CLASSES[model]
    async with open_association(peer, [ProposedContext(sop_class, _UNCOMPRESSED)], "find") as (association, _):
        syntax = association.context_of(sop_class).transfer_syntax
        async for response in association.find(sop_class, _encode(identifier, syntax)):
            if is_pending(response.status) and response.dataset is not None:
                yield decode_identifier(response.dataset, syntax)
            elif not is_pending(response.status):
                _require_success(response, "C-FIND")


async def _move(
    peer: Peer, model: InformationModel, identifier: Dataset, destination: str, open_association: Associate
) -> AsyncIterator[CommandSet]:
    sop_class = _MOVE_CLASSES[model]
    async with open_association(peer, [ProposedContext(sop_class, _UNCOMPRESSED)], "move") as (association, _):
        syntax = association.context_of(sop_class).transfer_syntax
        async for response in association.move(sop_class, _encode(identifier, syntax), AETitle(destination)):
            yield response.command
            if not is_pending(response.status):
                _require_success(response, "C-MOVE")


async def _get(
    peer: Peer,
    model: InformationModel,
    identifier: Dataset,
    open_file: Callable[[str], Path],
    open_association: Associate,
) -> AsyncIterator[CommandSet]:
    sop_class = _GET_CLASSES[model]
    contexts = [ProposedContext(sop_class, _UNCOMPRESSED)]
    contexts += [ProposedContext(uid, GET_TRANSFER_SYNTAXES, as_scu=False, as_scp=True) for uid in GET_SOP_CLASSES]
    async with open_association(peer, contexts, "get") as (association, journal):
        syntax = association.context_of(sop_class).transfer_syntax

        def open_sink(port: AssociationPort, context: AcceptedContext, command: CommandSet) -> _FileSink:
            return _FileSink(port, context, command, open_file, journal)

        async for response in association.get(sop_class, _encode(identifier, syntax), open_sink):
            yield response.command
            if not is_pending(response.status):
                _require_success(response, "C-GET")


def make_identifier(level: str, keys: Iterable[str]) -> Dataset:
    """An identifier from `Keyword=value` texts (`Keyword` alone asks for the attribute); tags as GGGGEEEE work too.

    Raises InvalidRequestError for a keyword that does not exist.
    """
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    identifier.QueryRetrieveLevel = level
    for key in keys:
        name, _, value = key.partition("=")
        tag = tag_for_keyword(name) if name else None  # some tags of the dictionary have no keyword
        if tag is None:
            try:
                tag = int(name.replace(",", ""), 16)
            except ValueError as error:
                raise InvalidRequestError(f"{name!r} is no attribute; write PatientID=123 or 00100020=123.") from error
        try:
            vr = str(dictionary_VR(tag)).split(" or ", 1)[0]
        except KeyError as error:
            raise InvalidRequestError(f"{name!r} is not in the data dictionary.") from error
        identifier.add_new(tag, vr, [] if vr == "SQ" else value)
    return identifier


# --- helpers ---


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    offset: int
    study_instance_uid: str = ""
    series_instance_uid: str = ""


def _read_identity(path: Path) -> _File:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    meta = parse_file_meta(head, complete=True)
    wanted = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID})
    header = scan_header(head[meta.data_set_offset :], meta.transfer_syntax, wanted, complete=True)
    sop_class = header.text(_SOP_CLASS_UID) or meta.sop_class_uid
    sop_instance = header.text(_SOP_INSTANCE_UID) or meta.sop_instance_uid
    if not sop_class or not sop_instance:
        raise InvalidObjectError("it has no SOP Class UID or no SOP Instance UID")
    study, series = header.text(_STUDY_INSTANCE_UID) or "", header.text(_SERIES_INSTANCE_UID) or ""
    return _File(path, sop_class, sop_instance, meta.transfer_syntax, meta.data_set_offset, study, series)


def _groups_by_context(files: list[_File]) -> list[list[_File]]:
    """Files in groups of at most PRESENTATION_CONTEXTS_MAX kinds, in their order."""
    groups: list[list[_File]] = []
    kinds: set[tuple[str, str]] = set()
    for file in files:
        kind = (file.sop_class_uid, file.transfer_syntax)
        if not groups or (kind not in kinds and len(kinds) == PRESENTATION_CONTEXTS_MAX):
            groups.append([])
            kinds = set()
        kinds.add(kind)
        groups[-1].append(file)
    return groups


async def _send_group(peer: Peer, group: Sequence[_File], open_association: Associate) -> AsyncIterator[Sent]:
    """Files whose kinds fit on one association. When a file breaks it, the others go on another one."""
    kinds = dict.fromkeys((file.sop_class_uid, file.transfer_syntax) for file in group)
    contexts = [ProposedContext(sop_class, (syntax,)) for sop_class, syntax in kinds]
    waiting = deque(group)
    broken = 0
    while waiting and broken < BROKEN_ASSOCIATIONS_MAX:
        association = None
        try:
            async with open_association(peer, contexts, "send") as (association, journal):
                while waiting and association.port.is_established:
                    sent = await _send_file(association, waiting.popleft(), journal)
                    broken = 0 if association.port.is_established else broken + 1
                    yield sent
        except PeerError:
            if association is None:
                if not broken:
                    raise
                broken += 1
    for file in waiting:
        reason = f"not sent: {peer.aet} broke {broken} associations one after another"
        yield Sent(str(file.path), file.sop_instance_uid, None, reason)


async def _send_file(association: ClientAssociation, file: _File, journal: Journal | None) -> Sent:
    began_at = system_now()
    status, cause, reason = None, "", ""
    with file.path.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)[file.offset :]
        size = len(view)
        try:
            response = await association.store(file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax, view)
            status, reason = response.status, response.command.error_comment or ""
        except PeerError as error:
            cause, reason = type(error).__name__, str(error)
        finally:
            view.release()
    if journal is not None:
        note = ObjectNote(
            began_at,
            file.sop_class_uid,
            file.sop_instance_uid,
            file.transfer_syntax,
            size,
            status,
            file.study_instance_uid,
            file.series_instance_uid,
            cause,
            reason,
        )
        journal.object_ended(note, by_us=True)
    return Sent(str(file.path), file.sop_instance_uid, status, reason)


def _encode(identifier: Dataset, transfer_syntax: str) -> bytes:
    elements = []
    for element in identifier:
        if element.tag == 0x00080005:
            continue
        value = element.value
        if element.VR == "SQ":
            elements.append(AnswerElement(int(element.tag), "SQ", list(value)))
        else:
            text = "\\".join(map(str, value)) if element.VM > 1 else str(value if value is not None else "")
            elements.append(AnswerElement(int(element.tag), element.VR, text))
    return encode_answer(elements, transfer_syntax, None)


def _require_success(response: Response, what: str) -> None:
    if category(response.status) is StatusCategory.FAILURE:
        comment = response.command.error_comment
        raise PeerError(
            f"The peer ended the {what} with status {response.status:04X}{f': {comment}' if comment else ''}."
        )


class _FileSink:
    """Writes one object of a C-GET to a file and answers it."""

    def __init__(
        self,
        port: AssociationPort,
        context: AcceptedContext,
        command: CommandSet,
        open_file: Callable[[str], Path],
        journal: Journal | None,
    ) -> None:
        self._port = port
        self._context = context
        self._command = command
        self._journal = journal
        self._began_at = system_now()
        self._bytes = 0
        self._path = open_file(command.affected_sop_instance_uid or "")
        self._file = self._path.open("wb")
        self._file.write(
            build_file_meta(
                command.affected_sop_class_uid or "",
                command.affected_sop_instance_uid or "",
                context.transfer_syntax,
            )
        )

    def write(self, data: memoryview) -> None:
        self._file.write(data)
        self._bytes += len(data)

    def finish(self) -> None:
        self._file.close()
        self._port.send_response(self._context.id, respond(self._command, Status.SUCCESS))
        self._note(Status.SUCCESS)

    def abort(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
        self._note(None)

    def _note(self, status: int | None) -> None:
        """For the ledger; of which study it is stands in the object, which was not looked into."""
        if self._journal is None:
            return
        note = ObjectNote(
            self._began_at,
            self._command.affected_sop_class_uid or "",
            self._command.affected_sop_instance_uid or "",
            self._context.transfer_syntax,
            self._bytes,
            status,
        )
        self._journal.object_ended(note)
