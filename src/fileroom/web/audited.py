"""Putting down who looked at what over the web: wrapped around the handlers of DICOMweb and WADO-URI.

A viewer asks for a thousand frames of a study; that is one event (`admin.audit_buffer`). A ZIP file is an export, and each
download of one its own event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from starlette.requests import Request

from fileroom.admin.audit_events import exported, participant_of, queried, refused, sent, viewed
from fileroom.admin.audit_message import Role, StudyReference
from fileroom.archive.question import question_of
from fileroom.archive.services import Archive
from fileroom.core.access import Access, current_access
from fileroom.core.errors import NotAllowedError
from fileroom.dicom.query import Query
from fileroom.dicomweb.offers import DICOM, ZIP
from fileroom.web.answers import Answer
from fileroom.web.endpoint import Handler

StudyOf = Callable[[Request], str]


def study_in_path(request: Request) -> str:
    """The study of a DICOMweb address."""
    return str(request.path_params.get("study", ""))


def study_in_query(request: Request) -> str:
    """The study of a WADO-URI."""
    return request.query_params.get("studyUID", "")


def audited(archive: Archive, handler: Handler, what: str, study_of: StudyOf = study_in_path) -> Handler:
    """The same handler; that somebody was given something of a study is noted as `what`, and that they were refused."""

    async def handle(request: Request) -> Answer:
        try:
            answer = await handler(request)
        except NotAllowedError as error:
            archive.audit.note(refused(str(error), [study_of(request)], actor=requestor(request)))
            raise
        if answer.status < 400:
            _note(archive, request, answer, study_of(request), what)
        return answer

    return handle


def note_query(archive: Archive, request: Request, query: Query) -> None:
    """Put down a search."""
    question = question_of(query)
    archive.audit.note(
        queried(
            archive.settings.aet,
            requestor(request),
            request.scope.get("query_string", b""),
            question.words,
            resource=request.url.path,
            patient_ids=question.patient_ids,
            study_uids=question.study_uids,
        )
    )


def note_view(archive: Archive, request: Request, study_uid: str, what: str) -> None:
    """Put down that somebody was shown `what` of a study, once for each person, study and kind in a while."""
    actor, now = requestor(request), asyncio.get_running_loop().time()
    if archive.audit.is_new_view(actor.kind, actor.name, actor.address, study_uid, what, now=now):
        archive.audit.note(viewed([StudyReference(study_uid)], what, actor=actor))


def requestor(request: Request) -> Access:
    """Who acts, with the address that the request came from."""
    access = current_access()
    if access.address or request.client is None:
        return access
    return replace(access, address=request.client.host)


def _note(archive: Archive, request: Request, answer: Answer, study_uid: str, what: str) -> None:
    actor = requestor(request)
    study = StudyReference(study_uid)
    content_type = answer.headers.get("content-type", "")
    if content_type.startswith(ZIP):
        archive.audit.note(exported([study], "ZIP file, downloaded", actor=actor))
        return
    given = DICOM if DICOM in content_type.replace(f"{DICOM}+", "") else what  # not application/dicom+json
    now = asyncio.get_running_loop().time()
    if not archive.audit.is_new_view(actor.kind, actor.name, actor.address, study_uid, given, now=now):
        return
    if given == DICOM:
        archive.audit.note(sent(archive.settings.aet, actor, participant_of(actor, Role.DESTINATION), [study]))
    else:
        archive.audit.note(viewed([study], what, actor=actor))
