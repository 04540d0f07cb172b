"""A report to take along: as PDF, to be read or printed, and as structured report, a DICOM file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError, told
from fileroom.reports.encapsulated import PDF
from fileroom.reports.files import ReportFile, report_document, report_sr
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.console.report_page import report_number
from fileroom.web.endpoint import Handler

_POLICY: Final = (
    "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_DIGITS_MAX: Final = 9


def report_files_handlers(archive: Archive) -> dict[str, dict[str, Handler]]:
    """The files, by path and method."""

    async def pdf(request: Request) -> Answer:
        return await _given(archive, request, report_document)

    async def sr(request: Request) -> Answer:
        return await _given(archive, request, report_sr)

    return {"/reports/{number}/pdf": {"GET": pdf}, "/reports/{number}/sr": {"GET": sr}}


async def _given(
    archive: Archive, request: Request, make: Callable[[Archive, int, int | None], Awaitable[ReportFile]]
) -> Answer:
    found = await make(archive, report_number(request), _version(request))
    # Only a PDF is shown in the browser: what somebody has sent may be anything.
    is_pdf = found.media_type == PDF
    headers = {
        "content-type": found.media_type if is_pdf else "application/octet-stream",
        "content-disposition": f'{"inline" if is_pdf else "attachment"}; filename="{found.name}"',
        "x-content-type-options": "nosniff",
        "cache-control": NO_STORE,
        "content-security-policy": _POLICY,
    }
    return Answer(200, headers, found.data)


def _version(request: Request) -> int | None:
    text = request.query_params.get("version", "")
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return int(text)
    raise NotFoundError(told("This report has no such version."))
