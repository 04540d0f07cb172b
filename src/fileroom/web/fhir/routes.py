"""`/fhir`: reading and searching Patient, ServiceRequest, ImagingStudy and Endpoint (FHIR R4 3.1.0), and what there is.

Errors are OperationOutcome. A page is a Bundle of type searchset with links to itself and to the next page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from fileroom import __version__
from fileroom.archive import query as archive_query
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import NotFoundError, RequestError, told
from fileroom.dicom.query import AnyOf, Key, Level, Page, Query, SingleValue
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.search import Answer as Found
from fileroom.web.address import dicomweb_root, own_origin
from fileroom.web.answers import Answer, json_answer
from fileroom.web.audited import note_query
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.errors import error_answer
from fileroom.web.fhir.parameters import Parameters, Token
from fileroom.web.fhir.resources import Resource, Writer
from fileroom.worklist.order_search import OrderFilter, get_order, search_orders
from fileroom.worklist.patient_search import get_patient, search_patients
from fileroom.worklist.study_references import StudyReferences, references_of_studies

FHIR_PATH: Final = "/fhir"
FHIR_JSON: Final = "application/fhir+json"
SERIES_MAX: Final = 2000
"""In one page of studies; a study with more is read by itself over DICOMweb."""
SEARCHES: Final[dict[str, tuple[str, ...]]] = {
    "Patient": ("_id", "identifier", "name", "family", "birthdate"),
    "ServiceRequest": ("_id", "identifier", "patient"),
    "ImagingStudy": ("_id", "identifier", "patient", "started", "modality"),
    "Endpoint": ("_id",),
}
"""Search parameters by resource: the table of the routes and of the capability statement."""
_TYPES: Final = {"identifier": "token", "_id": "token", "modality": "token", "patient": "reference"} | {
    "birthdate": "date",
    "started": "date",
    "name": "string",
    "family": "string",
}
_STUDY_TAGS: Final = tuple(
    (BY_KEYWORD[word].tag,)
    for word in (
        *(
            "AccessionNumber",
            "StudyDate",
            "StudyTime",
            "StudyDescription",
            "PatientID",
            "IssuerOfPatientID",
            "PatientName",
        ),
        *("ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "ReferringPhysicianName"),
    )
)
_SERIES_TAGS: Final = tuple(
    (BY_KEYWORD[word].tag,)
    for word in (
        *("SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "SeriesDate", "SeriesTime"),
        "NumberOfSeriesRelatedInstances",
    )
)

Search = Callable[[Request, Writer, Parameters], Awaitable[list[Resource]]]
"""One more resource than a page holds tells that there is a next one."""


def fhir_routes(archive: Archive) -> list[BaseRoute]:
    """The routes below FHIR_PATH."""
    service = _Service(archive)
    searches: dict[str, Search] = {
        "Patient": service.patients,
        "ServiceRequest": service.service_requests,
        "ImagingStudy": service.imaging_studies,
        "Endpoint": service.endpoints,
    }
    routes = [Route(f"{FHIR_PATH}/metadata", _endpoint(f"{FHIR_PATH}/metadata", service.capabilities))]
    for kind, search in searches.items():
        path = f"{FHIR_PATH}/{kind}"
        routes.append(Route(path, _endpoint(path, service.searching(kind, search))))
        routes.append(Route(f"{path}/{{id}}", _endpoint(f"{path}/{{id}}", service.reading(kind, search))))
    return list(routes)


class _Service:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def searching(self, kind: str, search: Search) -> Handler:
        """The handler of a search."""

        async def handle(request: Request) -> Answer:
            parameters = Parameters(request, SEARCHES[kind])
            found = await search(request, self._writer(request), parameters)
            base = f"{_base(request)}/{kind}"
            links = [{"relation": "self", "url": parameters.address(base, parameters.offset)}]
            if len(found) > parameters.count:
                links.append(
                    {"relation": "next", "url": parameters.address(base, parameters.offset + parameters.count)}
                )
            entries = [
                {"fullUrl": f"{base}/{one['id']}", "resource": one, "search": {"mode": "match"}}
                for one in found[: parameters.count]
            ]
            bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "link": links}
            return _answer({**bundle, "entry": entries} if entries else bundle)

        return handle

    def reading(self, kind: str, search: Search) -> Handler:
        """The handler of one resource: a search by its id."""

        async def handle(request: Request) -> Answer:
            number = str(request.path_params["id"])
            parameters = Parameters(_asking(request, urlencode({"_id": number})), SEARCHES[kind])
            found = await search(request, self._writer(request), parameters)
            if not found:
                raise NotFoundError(told("There is no {kind} {id}.", kind=kind, id=number[:64]))
            return _answer(found[0])

        return handle

    async def capabilities(self, request: Request) -> Answer:
        """The capability statement."""
        resources = [
            {
                "type": kind,
                "interaction": [{"code": "read"}, {"code": "search-type"}],
                "searchParam": [{"name": name, "type": _TYPES[name]} for name in names],
            }
            for kind, names in SEARCHES.items()
        ]
        return _answer(
            {
                "resourceType": "CapabilityStatement",
                "status": "active",
                "date": self._archive.now().date().isoformat(),
                "kind": "instance",
                "software": {"name": "Fileroom", "version": __version__},
                "implementation": {"description": "Fileroom", "url": _base(request)},
                "fhirVersion": "4.0.1",
                "format": ["json"],
                "rest": [{"mode": "server", "resource": resources}],
            }
        )

    async def patients(self, _request: Request, writer: Writer, asked: Parameters) -> list[Resource]:
        """Patients of the RIS."""
        require(Permission.ORDER_READ)
        if asked.text("_id"):
            number = _row(asked.text("_id"))
            try:
                return [writer.patient(await get_patient(self._archive, number))] if number else []
            except NotFoundError:
                return []
        token, born = asked.token("identifier"), asked.text("birthdate")
        words = [token.value if token else "", asked.text("name"), asked.text("family"), born.removeprefix("eq")]
        found = await search_patients(
            self._archive, " ".join(filter(None, words)), limit=asked.offset + asked.count + 1
        )
        details = [await get_patient(self._archive, one.id) for one in found[asked.offset :]]
        resources = [writer.patient(one) for one in details]
        return [one for one in resources if _carries(one, token)]

    async def service_requests(self, _request: Request, writer: Writer, asked: Parameters) -> list[Resource]:
        """Orders."""
        require(Permission.ORDER_READ)
        if asked.text("_id"):
            number = _row(asked.text("_id"))
            try:
                return [writer.service_request(await get_order(self._archive, number))] if number else []
            except NotFoundError:
                return []
        token, patient = asked.token("identifier"), asked.reference("patient", "Patient")
        if patient and not _row(patient):
            return []
        wanted = OrderFilter(text=token.value if token else "", patient=_row(patient) or None)
        orders = await search_orders(self._archive, wanted, limit=asked.offset + asked.count + 1)
        resources = [writer.service_request(one) for one in orders[asked.offset :]]
        return [one for one in resources if _carries(one, token)]

    async def imaging_studies(self, request: Request, writer: Writer, asked: Parameters) -> list[Resource]:
        """Studies of the archive, the newest first."""
        keys = await self._study_keys(asked)
        if keys is None:
            return []
        page = Page(asked.count + 1, asked.offset)
        query = Query(Level.STUDY, keys=keys, return_tags=_STUDY_TAGS, page=page, newest_first=True)
        note_query(self._archive, request, query)
        studies = await self._search(query)
        uids = tuple(one.study_instance_uid or "" for one in studies)
        series = await self._series(uids[: asked.count])
        known: dict[str, StudyReferences] = {}
        if current_access().allows(Permission.ORDER_READ):
            known = await references_of_studies(self._archive, uids)
        nothing = StudyReferences()
        return [
            writer.imaging_study(
                study,
                [one for one in series if one.study_instance_uid == study.study_instance_uid],
                known.get(study.study_instance_uid or "", nothing).order,
                known.get(study.study_instance_uid or "", nothing).patient,
            )
            for study in studies
        ]

    async def endpoints(self, _request: Request, writer: Writer, asked: Parameters) -> list[Resource]:
        """The one endpoint."""
        require(Permission.STUDY_SEARCH)
        endpoint = writer.endpoint()
        return [endpoint] if asked.text("_id") in ("", endpoint["id"]) and not asked.offset else []

    async def _study_keys(self, asked: Parameters) -> tuple[Key, ...] | None:
        """The keys of a question for studies; None where nothing can match."""
        keys = []
        if asked.text("_id"):
            keys.append(_key("StudyInstanceUID", asked.text("_id")))
        token = asked.token("identifier")
        if token is not None:
            is_uid = token.value.startswith("urn:oid:")
            keys.append(
                _key("StudyInstanceUID", token.value.removeprefix("urn:oid:"))
                if is_uid
                else _key("AccessionNumber", token.value)
            )
        if modality := asked.token("modality"):
            keys.append(_key("ModalitiesInStudy", modality.value))
        if days := asked.day_range("started"):
            keys.append(Key(BY_KEYWORD["StudyDate"].tag, "DA", days))
        patient = asked.reference("patient", "Patient")
        if patient:
            number = _row(patient)
            uids = (await get_patient(self._archive, number)).study_uids if number else ()
            if not uids:
                return None
            keys.append(Key(BY_KEYWORD["StudyInstanceUID"].tag, "UI", AnyOf(tuple(uids))))
        return tuple(keys)

    async def _series(self, uids: Sequence[str]) -> list[Found]:
        if not uids:
            return []
        key = Key(BY_KEYWORD["StudyInstanceUID"].tag, "UI", AnyOf(tuple(uids)))
        return await self._search(Query(Level.SERIES, keys=(key,), return_tags=_SERIES_TAGS, page=Page(SERIES_MAX)))

    async def _search(self, query: Query) -> list[Found]:
        async with aclosing(archive_query.search(self._archive, query)) as answers:
            return [one async for one in answers]

    def _writer(self, request: Request) -> Writer:
        zone = self._archive.settings.routing_zone
        return Writer(_base(request), dicomweb_root(request), ZoneInfo(zone) if zone else None)


def _endpoint(path: str, handler: Handler) -> Endpoint:
    """Errors of the caller's as OperationOutcome (FHIR R4 3.1.0.1.9)."""

    async def handle(request: Request) -> Answer:
        try:
            return await handler(request)
        except RequestError as error:
            plain = error_answer(error, path)
            code = {HTTPStatus.NOT_FOUND: "not-found", HTTPStatus.FORBIDDEN: "forbidden"}.get(
                HTTPStatus(plain.status), "invalid"
            )
            if plain.status == HTTPStatus.UNAUTHORIZED:
                return plain  # its challenge is what the client needs
            issue = {"severity": "error", "code": code, "diagnostics": str(error)}
            return _answer({"resourceType": "OperationOutcome", "issue": [issue]}, plain.status)

    return Endpoint(path, {"GET": handle})


def _answer(resource: Resource, status: int = HTTPStatus.OK) -> Answer:
    return json_answer(resource, status=status, media_type=FHIR_JSON)


def _base(request: Request) -> str:
    return f"{own_origin(request)}{FHIR_PATH}"


def _asking(request: Request, query: str) -> Request:
    return Request({**request.scope, "query_string": query.encode()})


def _key(keyword: str, value: str) -> Key:
    attribute = BY_KEYWORD[keyword]
    return Key(attribute.tag, attribute.vr, SingleValue(value))


def _row(text: str) -> int:
    """A row's number; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _carries(resource: Resource, token: Token | None) -> bool:
    """Whether one of its identifiers is the one that was asked for."""
    identifiers: list[dict[str, Any]] = resource.get("identifier", [])
    return token is None or any(
        one.get("value") == token.value and (token.system is None or one.get("system", "") == token.system)
        for one in identifiers
    )
