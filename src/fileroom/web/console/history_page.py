"""`/studies/{study}/history`: everything that happened to a study, the latest first; and its beginning for the study page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.audit_sentences import sentence_of
from fileroom.archive.services import Archive
from fileroom.archive.study_history import HistoryPlace, Source, study_history
from fileroom.core.access import Permission
from fileroom.web.address import path_uid
from fileroom.web.answers import Answer
from fileroom.web.console.associations_page import PURPOSES
from fileroom.web.console.language import Reader
from fileroom.web.console.page import page, view_of
from fileroom.web.endpoint import Handler

PAGE_ENTRIES: Final = 50
FIRST_ENTRIES: Final = 8
"""On the page of the study itself; the rest is a click away."""
_PLACE_CHARS_MAX: Final = 64


def history_handler(archive: Archive) -> Handler:
    """The handler of the page; `?before=` goes on where a page ended."""

    async def handle(request: Request) -> Answer:
        study_uid = path_uid(request, "study")
        written = request.query_params.get("before", "")[:_PLACE_CHARS_MAX]
        before = HistoryPlace.parse(written) if written else None
        values = await history_values(archive, study_uid, view_of(request).reader, before=before, limit=PAGE_ENTRIES)
        return await page(archive, request, "history.html", place="studies", is_first=before is None, **values)

    return handle


async def history_values(
    archive: Archive, study_uid: str, reader: Reader, *, before: HistoryPlace | None = None, limit: int = FIRST_ENTRIES
) -> Mapping[str, Any]:
    """What `history_list.html` shows. Raises NotFoundError, NotAllowedError, DatabaseError."""
    found = await study_history(archive, study_uid, before=before, limit=limit)
    sentences = {
        entry.event.id: sentence_of(entry.event, found.names).say(reader.gettext)
        for entry in found.entries
        if entry.event is not None
    }
    return {
        "history": found,
        "sentences": sentences,
        "sources": Source,
        "purposes": {name: reader.gettext(text) for name, text in PURPOSES.items()},
        "hides_ledger": Permission.LEDGER_READ in found.hidden,
        "hides_audit": Permission.AUDIT_READ in found.hidden,
        "hides_corrections": Permission.STUDY_VIEW in found.hidden,
    }
