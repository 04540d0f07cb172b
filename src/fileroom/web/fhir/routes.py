"""`/fhir`: reading and searching resources (FHIR R4 3.1.0), what there is of a patient, versions of reports, documents.

A page is a Bundle of type searchset with links to itself and to the next page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from fileroom.admin.audit_events import queried
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.fhir.documents import read_document
from fileroom.fhir.elements import Resource
from fileroom.fhir.everything import read_everything, read_everything_question
from fileroom.fhir.kinds import Kind
from fileroom.fhir.question import read_question
from fileroom.fhir.registry import KINDS
from fileroom.fhir.report_versions import report_version, report_versions
from fileroom.fhir.search import Found, read_resource, search_resources
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.audited import note_view, requestor
from fileroom.web.endpoint import Handler
from fileroom.web.fhir.capabilities import capability_statement, smart_configuration
from fileroom.web.fhir.outcomes import FHIR_JSON, FORM, bundle_answer, fhir_endpoint, read_body, resource_answer
from fileroom.web.fhir.subscription_routes import subscription_routes
from fileroom.web.fhir.words import FHIR_PATH, base_of, words_for

PARAMETERS_BYTES_MAX: Final = 500
REPORT: Final = "DiagnosticReport"


def fhir_routes(archive: Archive) -> list[BaseRoute]:
    """The routes below FHIR_PATH."""
    service = _Service(archive)
    routes = [
        _route("/metadata", GET=service.capabilities),
        _route("/.well-known/smart-configuration", GET=service.smart),
        _route(f"/{REPORT}/{{id}}/_history", GET=service.versions),
        _route(f"/{REPORT}/{{id}}/_history/{{version}}", GET=service.version),
        _route("/Patient/{id}/$everything", GET=service.everything),
        _route("/Binary/{id}", takes_any_form=True, GET=service.binary),
    ]
    for kind in KINDS.values():
        routes.append(_route(f"/{kind.name}", GET=service.searching(kind)))
        routes.append(_route(f"/{kind.name}/_search", POST=service.searching(kind)))
        routes.append(_route(f"/{kind.name}/{{id}}", GET=service.reading(kind)))
    return [*routes, *subscription_routes(archive)]


class _Service:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def searching(self, kind: Kind) -> Handler:
        """The handler of a search."""

        async def handle(request: Request) -> Answer:
            require(kind.permission)
            pairs = await _asked(request)
            words = words_for(self._archive, request)
            question = read_question(kind, pairs, base=words.base, zone=words.zone, strict=_is_strict(request))
            self._note_query(request, kind.name, question.kept)
            found = await search_resources(self._archive, kind, question, words)
            self._note_views(request, found)
            return bundle_answer(request, _bundle(f"{words.base}/{kind.name}", words.base, question.kept, found))

        return handle

    def reading(self, kind: Kind) -> Handler:
        """The handler of one resource."""

        async def handle(request: Request) -> Answer:
            found = await read_resource(
                self._archive, kind, str(request.path_params["id"]), words_for(self._archive, request)
            )
            self._note_views(request, Found((found,)))
            return resource_answer(found, headers=_version_headers(found))

        return handle

    async def everything(self, request: Request) -> Answer:
        """$everything of a patient."""
        require(Permission.ORDER_READ)
        words, pairs = words_for(self._archive, request), await _asked(request)
        number = str(request.path_params["id"])
        question = read_everything_question(pairs, zone=words.zone)
        self._note_query(request, f"Patient/{number[:64]}/$everything", question.kept)
        found = await read_everything(self._archive, number, question, words)
        self._note_views(request, found)
        address = f"{words.base}/Patient/{number}/$everything"
        return bundle_answer(request, _bundle(address, words.base, question.kept, found))

    async def versions(self, request: Request) -> Answer:
        """The versions of a report, the newest first."""
        words = words_for(self._archive, request)
        found = await report_versions(self._archive, str(request.path_params["id"]), words)
        self._note_views(request, Found(tuple(found)))
        entries = [
            {
                "fullUrl": f"{words.base}/{REPORT}/{one['id']}",
                "resource": one,
                "request": {
                    "method": "POST" if one["meta"]["versionId"] == "1" else "PUT",
                    "url": f"{REPORT}/{one['id']}",
                },
                "response": {"status": "200", "lastModified": one["meta"]["lastUpdated"]},
            }
            for one in found
        ]
        return bundle_answer(
            request, {"resourceType": "Bundle", "type": "history", "total": len(entries), "entry": entries}
        )

    async def version(self, request: Request) -> Answer:
        """One version of a report (vread)."""
        words = words_for(self._archive, request)
        number, version = str(request.path_params["id"]), str(request.path_params["version"])
        found = await report_version(self._archive, number, version, words)
        self._note_views(request, Found((found,)))
        return resource_answer(found, headers=_version_headers(found))

    async def binary(self, request: Request) -> Answer:
        """A document of a report: as it is, or as a Binary where JSON of FHIR is asked for."""
        number = str(request.path_params["id"])
        found = await read_document(self._archive, number)
        if found.study_uid:
            note_view(self._archive, request, found.study_uid, "Report")
        if FHIR_JSON in request.headers.get("accept", "") or "json" in request.query_params.get("_format", ""):
            return resource_answer(found.resource)
        headers = {
            "content-type": found.content_type,
            "cache-control": NO_STORE,
            "content-disposition": f'attachment; filename="report-{found.id}"',
            "x-content-type-options": "nosniff",
        }
        return Answer(200, headers, found.content)

    async def capabilities(self, request: Request) -> Answer:
        """The capability statement."""
        return resource_answer(capability_statement(base_of(request), self._archive.now()))

    async def smart(self, _request: Request) -> Answer:
        """What of SMART on FHIR there is."""
        return resource_answer(smart_configuration()).with_headers({"content-type": "application/json"})

    def _note_query(self, request: Request, what: str, kept: Iterable[tuple[str, str]]) -> None:
        query = urlencode(list(kept))
        self._archive.audit.note(
            queried(
                self._archive.settings.aet,
                requestor(request),
                query.encode(),
                f"{what}?{query}"[:PARAMETERS_BYTES_MAX],
                resource=request.url.path,
            )
        )

    def _note_views(self, request: Request, found: Found) -> None:
        """Whose reports were given."""
        for one in (*found.matches, *found.included):
            if one["resourceType"] == REPORT:
                for study in one.get("imagingStudy", []):
                    note_view(self._archive, request, str(study["reference"]).partition("/")[2], "Report")


def _route(path: str, *, takes_any_form: bool = False, **handlers: Handler) -> Route:
    path = f"{FHIR_PATH}{path}"
    return Route(path, fhir_endpoint(path, handlers, takes_any_form=takes_any_form))


async def _asked(request: Request) -> list[tuple[str, str]]:
    """The parameters of the address and, of a POST, of its form."""
    pairs = list(request.query_params.multi_items())
    if request.method != "POST":
        return pairs
    body = await read_body(request, FORM)
    try:
        return pairs + parse_qsl(body.decode("utf-8"), max_num_fields=100)
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidRequestError(told("The body is no form.")) from error


def _is_strict(request: Request) -> bool:
    return "handling=strict" in request.headers.get("prefer", "").replace(" ", "")


def _bundle(address: str, base: str, kept: Sequence[tuple[str, str]], found: Found) -> Resource:
    def link(relation: str, pairs: Sequence[tuple[str, str]]) -> Resource:
        return {"relation": relation, "url": f"{address}?{urlencode(pairs)}" if pairs else address}

    links = [link("self", kept)]
    if found.cursor:
        rest = [(name, value) for name, value in kept if name != "_cursor"]
        links.append(link("first", rest))
        links.append(link("next", [*rest, ("_cursor", found.cursor)]))
    entries = [_entry(base, one, "match") for one in found.matches]
    entries += [_entry(base, one, "include") for one in found.included]
    bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
    if found.total is not None:
        bundle["total"] = found.total
    return {**bundle, "entry": entries} if entries else bundle


def _entry(base: str, resource: Resource, mode: str) -> Resource:
    return {
        "fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}",
        "resource": resource,
        "search": {"mode": mode},
    }


def _version_headers(resource: Resource) -> dict[str, str]:
    version = resource.get("meta", {}).get("versionId")
    return {"etag": f'W/"{version}"'} if version else {}
