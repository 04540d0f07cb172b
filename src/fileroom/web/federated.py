"""`/dicom-web/federated`: the same DICOMweb service, and other archives behind it (`routing.federated_query`, `.fetch`).

A client that is given this address as its root searches here and there, and retrieves what is elsewhere as if it were here: the
study is fetched first. `/dicom-web` itself answers with what is here, as ever. Matches from elsewhere are NEARLINE (0008,0056)
and name their archive in (0008,0054); a source that did not answer stands in a Warning header.

A request tells the way that it came in the header Via (RFC 9110 7.6.3), so that archives that know each other do not ask in
circles.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from typing import Final

import orjson
from starlette.requests import Request

from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.core.limits import QIDO_HEADER_READS_MAX, QIDO_LIMIT_MAX
from fileroom.dicom.query import Level, Page, Query
from fileroom.dicomweb.offers import DICOM_XML, METADATA_OFFERS
from fileroom.dicomweb.problems import more_results_warning, warning_headers
from fileroom.dicomweb.qido_params import Resource, parse_search
from fileroom.index.attributes import INSTANCE_AVAILABILITY_TAG, UNIQUE_KEYS
from fileroom.index.search import Answer as Found
from fileroom.routing.federated_query import SourceAnswer, answer_key, asked_elsewhere
from fileroom.routing.fetch import ensure_study
from fileroom.routing.installation import installation_uid
from fileroom.routing.source_calls import text_of
from fileroom.web.address import DICOMWEB_PATH, DICOMWEB_ROOT, dicomweb_root, optional_path_uid, path_uid
from fileroom.web.answers import NO_STORE, Answer, compressed
from fileroom.web.audited import note_query
from fileroom.web.endpoint import Handler
from fileroom.web.header_fields import page_elements
from fileroom.web.matches import RETRIEVE_URL_TAG, JsonDataSet, MatchRenderer, retrieve_url
from fileroom.web.negotiation import negotiate, search_parameters
from fileroom.web.xml_answers import xml_parts

FEDERATED_PATH: Final = f"{DICOMWEB_PATH}/federated"
VIA_CHARS_MAX: Final = 1000
"""Of the way that a question came: twenty archives. What came further is not passed on."""
_RETRIEVE_AET_TAG: Final = 0x00080054
_Elsewhere = tuple[SourceAnswer, JsonDataSet]


def federated_search_handler(archive: Archive, resource: Resource) -> Handler:
    """The handler of one of the six search resources, answered from everywhere."""

    async def handle(request: Request) -> Answer:
        request.scope[DICOMWEB_ROOT] = FEDERATED_PATH
        chosen = negotiate(request, METADATA_OFFERS)
        series = optional_path_uid(request, "series")
        search = parse_search(resource, search_parameters(request), optional_path_uid(request, "study"), series)
        note_query(archive, request, search.query)
        root_url, warnings = dicomweb_root(request), list(search.warnings)
        matches = await _matches(archive, request, search.query, root_url, warnings)
        headers = {"cache-control": NO_STORE, "vary": "Accept"}
        if warnings:
            headers["warning"] = ", ".join(warning_headers(warnings, root_url))
        if chosen.media_type == DICOM_XML:
            return xml_parts(matches, headers)
        headers["content-type"] = chosen.media_type
        answer = Answer(200, headers, b"[" + b",".join(matches) + b"]")
        return compressed(answer, request.headers.get("accept-encoding"))

    return handle


def fetched_first(archive: Archive, handler: Handler) -> Handler:
    """The same handler of something of a study; a study that is elsewhere is brought here first."""

    async def handle(request: Request) -> Answer:
        request.scope[DICOMWEB_ROOT] = FEDERATED_PATH
        # Whoever may not see studies is refused by the handler itself, which puts that down.
        if current_access().allows(Permission.STUDY_VIEW):
            via = await _way_on(archive, request)
            if via is not None:
                await ensure_study(archive, path_uid(request, "study"), via=via)
        return await handler(request)

    return handle


async def _way_on(archive: Archive, request: Request) -> str | None:
    """The header Via for questions to other archives; None where this one came by here already, or by too many."""
    came = request.headers.get("via", "")
    own = await installation_uid(archive.pool)
    if own in came or len(came) > VIA_CHARS_MAX:
        return None
    return f"{came}, 1.1 {own}" if came else f"1.1 {own}"


async def _matches(archive: Archive, request: Request, query: Query, root_url: str, warnings: list[str]) -> list[bytes]:
    """One page of what is here and then of what is elsewhere, each as JSON. Adds to `warnings` what is missing."""
    page = query.page or Page(QIDO_LIMIT_MAX)
    end = page.offset + page.limit
    # Everything up to the page's end, and one more, which tells whether there are more; beyond the maximum only what is here.
    begin = page.offset if end > QIDO_LIMIT_MAX else 0
    here, elsewhere = await _found(
        archive, request, replace(query, page=Page(end - begin + 1, begin)), warnings, ask=begin == 0
    )
    if len(here) + len(elsewhere) > end - begin:
        warnings.append(more_results_warning(None))
    shown = slice(page.offset - begin, end - begin)
    rest = slice(max(shown.start - len(here), 0), max(shown.stop - len(here), 0))
    renderer = MatchRenderer(query, root_url)
    ours = here[shown]
    to_open = ours[:QIDO_HEADER_READS_MAX] if renderer.missing_paths else []
    extras = await page_elements(archive, to_open, renderer.missing_paths)
    rendered = [renderer.render(one, extra) for one, extra in zip(to_open, extras, strict=True)]
    rendered += [renderer.render(one) for one in ours[len(to_open) :]]
    rendered += [_foreign(query, root_url, answer, match) for answer, match in elsewhere[rest]]
    return [orjson.dumps(one) for one in rendered]


async def _found(
    archive: Archive, request: Request, query: Query, warnings: list[str], *, ask: bool
) -> tuple[list[Found], list[_Elsewhere]]:
    here: list[Found] = []
    elsewhere: list[_Elsewhere] = []
    seen: set[str] = set()
    via = await _way_on(archive, request) if ask else None
    if via is None:
        async with aclosing(archive_query.search(archive, query)) as answers:
            return [found async for found in answers], elsewhere
    async with asked_elsewhere(archive, query, via=via) as asked:
        async with aclosing(archive_query.search(archive, query)) as answers:
            async for found in answers:
                here.append(found)
                seen.add(answer_key(query.level, found))
        async with aclosing(asked.answers(seen)) as others:
            async for answer in others:
                elsewhere += [(answer, match) for match in answer.matches]
                if answer.problem:
                    warnings.append(f"{answer.source.shown} did not answer: {answer.problem}")
    # Whoever turns pages finds the sources in the same order, whichever was the faster.
    return here, sorted(elsewhere, key=lambda one: one[0].source.name)


def _foreign(query: Query, root_url: str, answer: SourceAnswer, match: JsonDataSet) -> JsonDataSet:
    """A match of another archive, with what was asked for; it is retrieved through us."""
    unique = [UNIQUE_KEYS[level].tag for level in Level if Level.STUDY <= level <= query.level]
    uids = [text_of(match, tag) for tag in unique]
    if query.return_tags is None:
        shown = dict(match)
    else:
        wanted = {f"{tag:08X}" for tag in (*(path[0] for path in query.return_tags), *unique)}
        shown = {key: element for key, element in match.items() if key in wanted}
    shown[f"{RETRIEVE_URL_TAG:08X}"] = {"vr": "UR", "Value": [retrieve_url(root_url, *uids)]}
    shown[f"{_RETRIEVE_AET_TAG:08X}"] = {"vr": "AE", "Value": [answer.aet]}
    shown[f"{INSTANCE_AVAILABILITY_TAG:08X}"] = {"vr": "CS", "Value": ["NEARLINE"]}
    return dict(sorted(shown.items()))
