"""Modality Worklist SCP (PS3.4 K): our own scheduled steps first, then what the sources of routing have beside them."""

from __future__ import annotations

import time
from contextlib import aclosing
from typing import Final

import structlog
from pydicom.dataset import Dataset

from fileroom.admin.audit_events import queried
from fileroom.core.access import current_access
from fileroom.core.errors import FileroomError
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dimse.command_set import respond
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation
from fileroom.routing.worklist_proxy import ask_worklists, entry_identity
from fileroom.scp import offer
from fileroom.scp.call import Call
from fileroom.scp.elsewhere import caller_of, encode_model, without
from fileroom.scp.status import StatusAnswer, query_failure
from fileroom.worklist.query_log import AskedQuery, note_query
from fileroom.worklist.steps import Question, answer_elements, find_steps, read_question
from fileroom.worklist.worklist_views import RESULTS_MAX, View, read_view

_CHARACTER_SET_TAG: Final = 0x00080005
_log: Final = structlog.get_logger(__name__)


async def find_worklist(call: Call, operation: Operation) -> None:
    """Answer one C-FIND-RQ of the worklist with pending responses and a final one, before which the question is kept."""
    began = time.perf_counter()
    work = _Answers(call, operation)
    try:
        status = await work.send()
    except FileroomError as error:
        call.explain(operation, error)
        status = query_failure(error)
    asked = AskedQuery(
        call.calling_aet,
        current_access().address,
        {key.name: key.text for key in work.question.keys},
        operation.dataset or b"",
        operation.context.transfer_syntax,
        work.count,
        status.status,
        (time.perf_counter() - began) * 1000,
    )
    try:
        await note_query(call.archive.pool, asked)
    except FileroomError as error:
        _log.warning("worklist_query_not_kept", calling_aet=call.calling_aet, reason=str(error))
    final = respond(operation.command, status.status, error_comment=status.comment or None)
    call.port.send_response(operation.context.id, final)


class _Answers:
    """The answers to one question, and how many there were."""

    def __init__(self, call: Call, operation: Operation) -> None:
        self.count = 0
        self.question = Question(call.calling_aet)
        self._call = call
        self._operation = operation
        self._seen: set[tuple[str, str]] = set()

    async def send(self) -> StatusAnswer:
        """Send them; the final status. Raises FileroomError."""
        call, operation = self._call, self._operation
        syntax, sop_class = operation.context.transfer_syntax, operation.context.abstract_syntax
        identifier = decode_identifier(operation.dataset or b"", syntax)
        self._put_down(identifier)
        self.question = read_question(
            identifier,
            call.calling_aet,
            combined_datetime=call.is_able(sop_class, offer.COMBINED_DATETIME),
            fuzzy_names=call.is_able(sop_class, offer.FUZZY_NAMES),
        )
        view = await read_view(call.archive.pool, call.calling_aet)
        status = await self._send_own(view, identifier)
        return status if status is not None else await self._send_of_sources(identifier)

    async def _send_own(self, view: View, identifier: Dataset) -> StatusAnswer | None:
        """Our own steps; None where all that there are were sent."""
        call, operation, question = self._call, self._operation, self.question
        named = view.charset or (call.node.charset if call.node is not None else "")
        charset = _charset(named or "\\".join(_texts(identifier.get("SpecificCharacterSet"))))
        is_known = not question.has_unsupported_keys
        pending = Status.PENDING if is_known else Status.PENDING_WITH_UNSUPPORTED_KEYS
        response = respond(operation.command, pending, has_dataset=True)
        async with aclosing(find_steps(call.archive, question, view)) as steps:
            async for step in steps:
                if self.count % QUERY_ROWS_PER_FETCH == 0:
                    await call.port.drain()
                if self._is_cancelled():
                    return _CANCELLED
                if self.count == view.results_max:
                    return _cut(view)
                elements = answer_elements(step, question.asked, call.calling_aet)
                encoded = encode_answer(elements, operation.context.transfer_syntax, charset, must_fit=bool(named))
                call.port.send_response(operation.context.id, response, encoded)
                self._seen.add((step.study_instance_uid, step.step_id))
                self.count += 1
        return None

    async def _send_of_sources(self, identifier: Dataset) -> StatusAnswer:
        """What other worklists have beside ours; who of them did not answer is said in the end."""
        call, operation = self._call, self._operation
        charset = _charset("\\".join(_texts(identifier.get("SpecificCharacterSet"))))
        answer = await ask_worklists(call.archive, _elements(identifier), caller=caller_of(call))
        response = respond(operation.command, Status.PENDING, has_dataset=True)
        for entry in answer.entries:
            if self._is_cancelled():
                return _CANCELLED
            if entry_identity(entry) in self._seen:
                continue
            encoded = encode_model(entry, operation.context.transfer_syntax, charset)
            if encoded is not None:
                call.port.send_response(operation.context.id, response, encoded)
                self.count += 1
            await call.port.drain()
        return StatusAnswer(Status.SUCCESS, without(answer.silent))

    def _is_cancelled(self) -> bool:
        return self._call.port.cancelled(self._operation.command.message_id or 0)

    def _put_down(self, identifier: Dataset) -> None:
        """The question for the audit trail."""
        words = ", ".join(
            f"{element.keyword}={element.value}" for element in identifier if element.value and element.VR != "SQ"
        )
        self._call.archive.audit.note(
            queried(
                self._call.archive.settings.aet,
                current_access(),
                self._operation.dataset or b"",
                f"WORKLIST: {words or 'everything'}"[:1000],
                sop_class_uid=self._operation.context.abstract_syntax,
                transfer_syntax_uid=self._operation.context.transfer_syntax,
                patient_ids=tuple(_texts(identifier.get("PatientID"))),
                study_uids=(),
            )
        )


_CANCELLED: Final = StatusAnswer(Status.CANCEL, "The search was cancelled")


def _cut(view: View) -> StatusAnswer:
    """The view's limit is meant, so that is no failure; what goes beyond our own is."""
    if view.results_max < RESULTS_MAX:
        return StatusAnswer(Status.SUCCESS, f"The first {view.results_max}; the view {view.name} shows no more")
    return StatusAnswer(Status.OUT_OF_RESOURCES, f"More than {RESULTS_MAX} matches; add a key")


def _charset(text: str) -> bytes | None:
    return text.encode("latin-1", "replace") or None


def _elements(identifier: Dataset) -> list[AnswerElement]:
    """The identifier as it came, for the sources."""
    found: list[AnswerElement] = []
    for element in identifier:
        if int(element.tag) == _CHARACTER_SET_TAG or element.tag.element == 0 or isinstance(element.value, bytes):
            continue
        if element.VR == "SQ":
            found.append(AnswerElement(int(element.tag), "SQ", list(element.value)))
        else:
            found.append(AnswerElement(int(element.tag), element.VR, "\\".join(_texts(element.value))))
    return found


def _texts(value: object) -> list[str]:
    if value is None or value == "":
        return []
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return [str(value)]
    return [str(one) for one in value]
