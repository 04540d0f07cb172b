"""QIDO-RS: the Search transaction (PS3.18 10.6).

A search without matches is answered 200 with an empty array. Earlier editions asked for 204, the current one for 200
(CP-2473: a search that found nothing has a complete result), and an empty array is what every JSON reader understands.

A page is gathered before its first byte goes out, because the Warning header must say whether there is more; it has at
most QIDO_LIMIT_MAX matches of about a kilobyte each.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import orjson
from starlette.requests import Request

from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.limits import QIDO_HEADER_READS_MAX, QIDO_LIMIT_MAX
from fileroom.dicom.query import Page, Query
from fileroom.dicomweb.offers import DICOM_XML, METADATA_OFFERS
from fileroom.dicomweb.problems import more_results_warning, warning_headers
from fileroom.dicomweb.qido_params import Resource, parse_search
from fileroom.index.search import Answer as Found
from fileroom.web.address import dicomweb_root, optional_path_uid
from fileroom.web.answers import NO_STORE, Answer, compressed
from fileroom.web.audited import note_query
from fileroom.web.endpoint import Handler
from fileroom.web.header_fields import page_elements
from fileroom.web.matches import MatchRenderer
from fileroom.web.negotiation import negotiate, search_parameters
from fileroom.web.xml_answers import xml_parts


def search_handler(archive: Archive, resource: Resource) -> Handler:
    """The handler of one of the six search resources."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, METADATA_OFFERS)
        search = parse_search(
            resource,
            search_parameters(request),
            optional_path_uid(request, "study"),
            optional_path_uid(request, "series"),
        )
        note_query(archive, request, search.query)
        root_url = dicomweb_root(request)
        warnings = list(search.warnings)
        matches = await _matches(archive, search.query, root_url, warnings)
        headers = {"cache-control": NO_STORE, "vary": "Accept"}
        if warnings:
            headers["warning"] = ", ".join(warning_headers(warnings, root_url))
        if chosen.media_type == DICOM_XML:
            return xml_parts(matches, headers)
        headers["content-type"] = chosen.media_type
        answer = Answer(200, headers, b"[" + b",".join(matches) + b"]")
        return compressed(answer, request.headers.get("accept-encoding"))

    return handle


async def _matches(archive: Archive, query: Query, root_url: str, warnings: list[str]) -> list[bytes]:
    """The page's matches, each as JSON. Adds to `warnings` what is missing from them."""
    page = query.page or Page(QIDO_LIMIT_MAX)
    # One more than is asked for tells whether there are more.
    wider = replace(query, page=Page(page.limit + 1, page.offset))
    renderer = MatchRenderer(query, root_url)
    matches: list[bytes] = []
    to_open: list[Found] = []
    async with aclosing(archive_query.search(archive, wider)) as answers:
        async for found in answers:
            if len(matches) + len(to_open) == page.limit:
                warnings.append(more_results_warning(None))
            elif renderer.missing_paths and len(to_open) < QIDO_HEADER_READS_MAX:
                to_open.append(found)
            else:
                matches.append(orjson.dumps(renderer.render(found)))
    if to_open and matches:
        warnings.append(
            f"Attributes that are not in the index were returned for the first {QIDO_HEADER_READS_MAX} results only"
        )
    extras = await page_elements(archive, to_open, renderer.missing_paths)
    opened = [orjson.dumps(renderer.render(found, extra)) for found, extra in zip(to_open, extras, strict=True)]
    return opened + matches
