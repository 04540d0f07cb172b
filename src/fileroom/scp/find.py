"""Query SCP (PS3.4 C.4.1): a C-FIND identifier becomes one `Query`, its answers pending responses.

Keys below the asked level and missing keys above it are taken as relational queries, whether or not that was agreed:
refusing them helps nobody, and every answer is bounded.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from fileroom.admin.audit_events import queried
from fileroom.archive.query import search
from fileroom.archive.question import question_of
from fileroom.core.access import current_access
from fileroom.core.errors import FileroomError, InvalidRequestError
from fileroom.core.limits import QUERY_ROWS_MAX, QUERY_ROWS_PER_FETCH
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, AnswerValue, decode_identifier, encode_answer
from fileroom.dicom.matching import parse_matching
from fileroom.dicom.query import InformationModel, Key, Level, Query, SequenceItem
from fileroom.dimse.command_set import respond
from fileroom.dimse.status import Status
from fileroom.index.attributes import BY_TAG, INSTANCE_AVAILABILITY_TAG
from fileroom.index.search import Answer, IndexValue, can_match
from fileroom.net.association_handler import Operation
from fileroom.routing.federated_query import Elsewhere, answer_key, asked_elsewhere, with_patient_keys
from fileroom.scp import offer
from fileroom.scp.call import Call
from fileroom.scp.elsewhere import caller_of, encode_match, is_federated, without
from fileroom.scp.status import query_failure

_LEVELS: Final = {
    "PATIENT": Level.PATIENT,
    "STUDY": Level.STUDY,
    "SERIES": Level.SERIES,
    "IMAGE": Level.INSTANCE,
    "INSTANCE": Level.INSTANCE,
}
_PATIENT_ROOTS: Final = frozenset({uids.PATIENT_ROOT_FIND, uids.PATIENT_STUDY_ONLY_FIND})
_LEVEL_TAG: Final = 0x00080052
_RETRIEVE_AET_TAG: Final = 0x00080054
_CHARACTER_SET_TAG: Final = 0x00080005
_TIMEZONE_TAG: Final = 0x00080201
_NO_KEYS: Final = frozenset(
    {_LEVEL_TAG, _RETRIEVE_AET_TAG, _CHARACTER_SET_TAG, _TIMEZONE_TAG, INSTANCE_AVAILABILITY_TAG}
)


@dataclass(frozen=True, slots=True)
class _Request:
    """A parsed identifier: the query, all tags asked for with their VRs, the peer's character set."""

    query: Query
    level_name: str
    asked: tuple[tuple[int, str], ...]
    charset: bytes | None
    all_keys_supported: bool
    must_fit: bool = False
    """The character set is what an administrator has set for the node: no other will do."""


async def find(call: Call, operation: Operation) -> None:
    """Answer one C-FIND-RQ with pending responses and a final one."""
    try:
        request = _parse(call, operation)
        _put_down(call, operation, request.query)
        status, comment = await _answer(call, operation, request)
    except FileroomError as error:
        call.explain(operation, error)
        failure = query_failure(error)
        status, comment = failure.status, failure.comment
    call.port.send_response(operation.context.id, respond(operation.command, status, error_comment=comment or None))


def _put_down(call: Call, operation: Operation, query: Query) -> None:
    """The query for the audit trail."""
    question = question_of(query)
    call.archive.audit.note(
        queried(
            call.archive.settings.aet,
            current_access(),
            operation.dataset or b"",
            question.words,
            sop_class_uid=operation.context.abstract_syntax,
            transfer_syntax_uid=operation.context.transfer_syntax,
            patient_ids=question.patient_ids,
            study_uids=question.study_uids,
        )
    )


async def _answer(call: Call, operation: Operation, request: _Request) -> tuple[int, str]:
    port, context = call.port, operation.context
    message_id = operation.command.message_id or 0
    pending = Status.PENDING if request.all_keys_supported else Status.PENDING_WITH_UNSUPPORTED_KEYS
    response = respond(operation.command, pending, has_dataset=True)
    count = 0
    async with AsyncExitStack() as stack:
        query, elsewhere, seen = request.query, None, set[str]()
        if is_federated(call):
            elsewhere = await stack.enter_async_context(
                asked_elsewhere(call.archive, request.query, caller=caller_of(call))
            )
            query = with_patient_keys(query)
        answers = await stack.enter_async_context(aclosing(search(call.archive, query)))
        async for answer in answers:
            if count % QUERY_ROWS_PER_FETCH == 0:
                await port.drain()
            if port.cancelled(message_id):
                return Status.CANCEL, "The search was cancelled"
            if count == QUERY_ROWS_MAX:
                return Status.OUT_OF_RESOURCES, f"More than {QUERY_ROWS_MAX} matches; add a key"
            elements = _answer_elements(call, request, answer)
            encoded = encode_answer(elements, context.transfer_syntax, request.charset, must_fit=request.must_fit)
            port.send_response(context.id, response, encoded)
            count += 1
            if elsewhere is not None:
                seen.add(answer_key(query.level, answer))
        if elsewhere is not None:
            return await _answer_from(call, operation, request, elsewhere, seen)
    return Status.SUCCESS, ""


async def _answer_from(
    call: Call, operation: Operation, request: _Request, elsewhere: Elsewhere, seen: set[str]
) -> tuple[int, str]:
    """What other archives have beside what is here; in the end, who of them did not answer."""
    port, context = call.port, operation.context
    response = respond(operation.command, Status.PENDING, has_dataset=True)
    silent: list[str] = []
    async with aclosing(elsewhere.answers(seen)) as answers:
        async for answer in answers:
            if port.cancelled(operation.command.message_id or 0):
                return Status.CANCEL, "The search was cancelled"
            if answer.problem:
                silent.append(answer.source.shown)
            for match in answer.matches:
                encoded = encode_match(
                    call, answer, match, request.asked, request.level_name, context.transfer_syntax, request.charset
                )
                if encoded is not None:
                    port.send_response(context.id, response, encoded)
            await port.drain()
    return Status.SUCCESS, without(silent)


def _parse(call: Call, operation: Operation) -> _Request:
    context = operation.context
    identifier = decode_identifier(operation.dataset or b"", context.transfer_syntax)
    level_name = str(identifier.get("QueryRetrieveLevel", "")).strip().upper()
    level = _LEVELS.get(level_name)
    model = InformationModel.PATIENT_ROOT if context.abstract_syntax in _PATIENT_ROOTS else InformationModel.STUDY_ROOT
    if level is None or (level is Level.PATIENT and model is InformationModel.STUDY_ROOT):
        raise InvalidRequestError(f"Query/Retrieve Level {level_name or '(none)'} does not exist in this model")
    if context.abstract_syntax == uids.PATIENT_STUDY_ONLY_FIND and level > Level.STUDY:
        raise InvalidRequestError("Patient/Study Only has no level below STUDY")
    keys: list[Key] = []
    asked: list[tuple[int, str]] = []
    supported = True
    for element in identifier:
        if element.tag.element == 0:
            continue
        asked.append((int(element.tag), element.VR))
        if int(element.tag) in _NO_KEYS:
            continue
        key = _key(element)
        if key is not None:
            keys.append(key)
        supported = supported and int(element.tag) in BY_TAG and (key is None or can_match(key.tag))
    query = Query(
        level=level,
        model=model,
        keys=tuple(keys),
        return_tags=tuple((tag,) for tag, _ in asked),
        combined_datetime=call.is_able(context.abstract_syntax, offer.COMBINED_DATETIME),
        fuzzy_names=call.is_able(context.abstract_syntax, offer.FUZZY_NAMES),
        timezone=_timezone(call, context.abstract_syntax, identifier),
    )
    named = identifier.get("SpecificCharacterSet") or ""
    charset = named if isinstance(named, str) else "\\".join(named)
    named = call.node.charset if call.node is not None else ""
    wanted = (named or charset).encode("latin-1", "replace") or None
    return _Request(query, level_name, tuple(asked), wanted, supported, must_fit=bool(named))


def _timezone(call: Call, sop_class: str, identifier: Dataset) -> str | None:
    if not call.is_able(sop_class, offer.TIMEZONE_ADJUSTMENT):
        return None
    return str(identifier.get("TimezoneOffsetFromUTC") or "") or None


def _key(element: DataElement) -> Key | None:
    """The matching key of an element; None for universal matching."""
    tag = int(element.tag)
    if element.VR == "SQ":
        inner = [_key(nested) for item in element.value[:1] for nested in item if nested.tag.element != 0]
        keys = tuple(key for key in inner if key is not None)
        return Key(tag, "SQ", SequenceItem(keys)) if keys else None
    value = element.value
    if value is None or value == "" or isinstance(value, bytes):
        return None
    text = "\\".join(map(str, value)) if element.VM > 1 else str(value)
    attribute = BY_TAG.get(tag)
    matching = parse_matching(attribute.vr if attribute else element.VR, text)
    return Key(tag, element.VR, matching) if matching is not None else None


def _answer_elements(call: Call, request: _Request, answer: Answer) -> list[AnswerElement]:
    elements: list[AnswerElement] = []
    for tag, vr in request.asked:
        if tag == _CHARACTER_SET_TAG:
            continue
        attribute = BY_TAG.get(tag)
        elements.append(AnswerElement(tag, attribute.vr if attribute else vr, _value(call, request, answer, tag)))
    if _RETRIEVE_AET_TAG not in dict(request.asked):
        elements.append(AnswerElement(_RETRIEVE_AET_TAG, "AE", call.archive.settings.aet))
    return elements


def _value(call: Call, request: _Request, answer: Answer, tag: int) -> AnswerValue:
    if tag == _LEVEL_TAG:
        return request.level_name
    if tag == _RETRIEVE_AET_TAG:
        return call.archive.settings.aet
    if tag == INSTANCE_AVAILABILITY_TAG:
        return "ONLINE"
    value: IndexValue = answer.values.get(tag)
    if isinstance(value, list) and not (value and isinstance(value[0], dict)):
        return "\\".join(map(str, value))
    return value
