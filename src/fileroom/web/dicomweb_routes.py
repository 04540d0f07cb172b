"""The DICOMweb resources: one table for the routes and for the answer to Retrieve Capabilities (PS3.18 8.9, 10.1).

What is not in this table is neither served nor promised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from fileroom.archive.frame_lookup import FrameLookup
from fileroom.archive.render import Renderer
from fileroom.archive.services import Archive
from fileroom.dicomweb.capabilities import (
    CAPABILITIES_OFFERS,
    Method,
    Parameter,
    ResourceDescription,
    capabilities_json,
    capabilities_wadl,
)
from fileroom.dicomweb.offers import DICOM, DICOM_JSON, DICOM_XML, ZIP
from fileroom.dicomweb.qido_params import Resource
from fileroom.web.address import DICOMWEB_PATH, dicomweb_root
from fileroom.web.answers import PRIVATE, Answer
from fileroom.web.audited import audited
from fileroom.web.bulk_data import bulk_data_handler
from fileroom.web.endpoint import Endpoint, Handler
from fileroom.web.federated import FEDERATED_PATH, federated_search_handler, fetched_first
from fileroom.web.frames import frames_handler, pixel_data_handler
from fileroom.web.instances import instances_handler
from fileroom.web.metadata import metadata_handler
from fileroom.web.negotiation import negotiate
from fileroom.web.qido import search_handler
from fileroom.web.rendered import rendered_handler, thumbnail_handler
from fileroom.web.stow import store_handler
from fileroom.web.workitem_bodies import BODY_TYPES
from fileroom.web.workitems import (
    cancel_handler,
    create_handler,
    retrieve_handler,
    state_handler,
    subscribe_handler,
    suspend_handler,
    unsubscribe_handler,
    update_handler,
)
from fileroom.web.workitems import search_handler as workitem_search_handler


@dataclass(frozen=True, slots=True)
class _Served:
    """A resource with the handler of each of its methods."""

    description: ResourceDescription
    handlers: dict[str, Handler]
    resource: Resource | None = None
    """What is searched, where it is a search."""


def dicomweb_routes(archive: Archive, renderer: Renderer) -> list[BaseRoute]:
    """The routes below DICOMWEB_PATH, those of images first: they are asked for most."""
    served = _table(archive, renderer)
    routes: list[BaseRoute] = []
    for one in served:
        # The path of bulk data has slashes of its own.
        path = f"{DICOMWEB_PATH}/{one.description.path}".replace("{path}", "{path:path}")
        routes.append(Route(path, Endpoint(path, one.handlers)))
    for one in served:
        path = f"{FEDERATED_PATH}/{one.description.path}".replace("{path}", "{path:path}")
        routes.append(Route(path, Endpoint(path, {"GET": _federated(archive, one)})))
    workitems = _workitem_table(archive)
    for one in workitems:
        path = f"{DICOMWEB_PATH}/{one.description.path}"
        routes.append(Route(path, Endpoint(path, one.handlers)))
    described = [one.description for one in (*served, *workitems)]
    capabilities = Endpoint(DICOMWEB_PATH, {"GET": _capabilities([*described, _CHANNEL])})
    return [*routes, *(Route(path, capabilities) for path in (DICOMWEB_PATH, f"{DICOMWEB_PATH}/"))]


_STUDY: Final = "studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"

_ACCEPT: Final = Parameter("accept", description="Media types, in place of the Accept header")
_SEARCH_PARAMETERS: Final = (
    _ACCEPT,
    Parameter("limit"),
    Parameter("offset"),
    Parameter("includefield", repeating=True, description="Attributes to return, or all"),
    Parameter("fuzzymatching", options=("true", "false")),
    Parameter("emptyvaluematching", options=("true", "false")),
    Parameter("multiplevaluematching", options=("true", "false")),
    Parameter("{attribute}", repeating=True, description="A keyword or tag, as in PatientName=DOE^J*"),
)
_METADATA: Final = (DICOM_JSON, "application/json", f'multipart/related; type="{DICOM_XML}"')
_FRAMES: Final = _INSTANCE + "/frames/{frames}"
_VIEWPORT: Final = Parameter("viewport", description="width,height[,x,y,width,height of the part shown], in pixels")
_THUMBNAIL: Final = (_ACCEPT, _VIEWPORT)
_RENDERING: Final = (
    _ACCEPT,
    _VIEWPORT,
    Parameter("window", description="center,width,linear|linear-exact|sigmoid"),
    Parameter("quality", description="1 to 100"),
    Parameter("iccprofile", options=("no", "yes")),
    Parameter("annotation", options=("patient", "technique"), description="Written on the image; several with commas"),
    Parameter("overlays", options=("true", "false"), description="Burn in overlay planes; an extension"),
)
_IMAGES: Final = ("image/jpeg", "image/png", "image/gif")
_RENDERED: Final = (*_IMAGES, "video/mp4")
_RENDERED_WHOLE: Final = (*_RENDERED, "video/mpeg2", "video/H265", "application/pdf")
"""The last three as they are stored."""
_PARTS: Final = tuple(f'multipart/related; type="{media_type}"' for media_type in _IMAGES)
_FRAME_TYPES: Final = (
    'multipart/related; type="application/octet-stream"',
    "application/octet-stream",
    'multipart/related; type="image/jpeg"',
    'multipart/related; type="image/jls"',
    'multipart/related; type="image/jp2"',
    'multipart/related; type="image/jphc"',
    'multipart/related; type="image/dicom-rle"',
)
_INSTANCES: Final = (f'multipart/related; type="{DICOM}"', ZIP)


def _table(archive: Archive, renderer: Renderer) -> list[_Served]:
    instances = audited(archive, instances_handler(archive), "objects")
    metadata = audited(archive, metadata_handler(archive), "attributes")
    rendered = audited(archive, rendered_handler(archive, renderer), "images")
    thumbnail = audited(archive, thumbnail_handler(archive, renderer), "thumbnails")
    frames = audited(archive, frames_handler(archive, FrameLookup(archive)), "images")
    bulk_data = audited(archive, bulk_data_handler(archive), "bulk data")
    pixel_data = audited(archive, pixel_data_handler(archive), "images")
    store = store_handler(archive)
    image_levels = (_FRAMES, _INSTANCE, _SERIES, _STUDY)
    return [
        _get(_FRAMES, "RetrieveFrames", frames, _FRAME_TYPES),
        *(_get(f"{path}/metadata", "RetrieveMetadata", metadata, _METADATA) for path in (_INSTANCE, _SERIES, _STUDY)),
        _get(_INSTANCE, "RetrieveInstance", instances, (*_INSTANCES, DICOM)),
        _get(f"{_FRAMES}/rendered", "RetrieveRendered", rendered, _RENDERED, _RENDERING),
        _get(f"{_INSTANCE}/rendered", "RetrieveRendered", rendered, _RENDERED_WHOLE, _RENDERING),
        *(_get(f"{path}/rendered", "RetrieveRendered", rendered, _PARTS, _RENDERING) for path in (_SERIES, _STUDY)),
        *(_get(f"{path}/thumbnail", "RetrieveThumbnail", thumbnail, _IMAGES, _THUMBNAIL) for path in image_levels),
        _get(f"{_INSTANCE}/bulkdata/{{path}}", "RetrieveBulkdata", bulk_data, _FRAME_TYPES[:2]),
        _get(f"{_INSTANCE}/pixeldata", "RetrievePixelData", pixel_data, _FRAME_TYPES),
        *(_search(archive, resource) for resource in Resource if resource is not Resource.ALL_STUDIES),
        _get(_SERIES, "RetrieveSeries", instances, _INSTANCES),
        _with_store(_get(_STUDY, "RetrieveStudy", instances, _INSTANCES), store),
        _with_store(_search(archive, Resource.ALL_STUDIES), store),
    ]


_WORKITEM: Final = "workitems/{workitem}"
_SUBSCRIBER: Final = _WORKITEM + "/subscribers/{aetitle}"
_TRANSACTION: Final = Parameter("transaction-uid", description="The key of whoever performs it, once it is IN PROGRESS")
_CHANNEL: Final = ResourceDescription(
    "subscribers/{aetitle}",
    (Method("GET", "OpenNotificationConnection", description="A WebSocket (RFC 6455)", statuses=(101,)),),
)


def _workitem_table(archive: Archive) -> list[_Served]:
    """UPS-RS (PS3.18 chapter 11)."""

    def served(path: str, **methods: tuple[Method, Handler]) -> _Served:
        described = tuple(method for method, _ in methods.values())
        return _Served(ResourceDescription(path, described), {name: handler for name, (_, handler) in methods.items()})

    cancel = cancel_handler(archive)
    asked = Method("POST", "RequestCancellation", accepts=BODY_TYPES, statuses=(202,))
    uid = Parameter("workitem", description="The UID of the new workitem")
    filtered = (
        Parameter("deletionlock", options=("true", "false")),
        Parameter("filter", repeating=True, description="attribute=value,... of a filtered worklist subscription"),
    )
    return [
        served(
            "workitems",
            GET=(
                Method("GET", "SearchWorkitems", parameters=_SEARCH_PARAMETERS, returns=_METADATA, statuses=(200, 204)),
                workitem_search_handler(archive),
            ),
            POST=(
                Method("POST", "CreateWorkitem", parameters=(uid,), accepts=BODY_TYPES, statuses=(201,)),
                create_handler(archive),
            ),
        ),
        served(
            _WORKITEM,
            GET=(
                Method("GET", "RetrieveWorkitem", parameters=(_ACCEPT,), returns=BODY_TYPES),
                retrieve_handler(archive),
            ),
            POST=(
                Method("POST", "UpdateWorkitem", parameters=(_TRANSACTION,), accepts=BODY_TYPES),
                update_handler(archive),
            ),
        ),
        served(f"{_WORKITEM}/state", PUT=(Method("PUT", "ChangeState", accepts=BODY_TYPES), state_handler(archive))),
        served(f"{_WORKITEM}/cancelrequest", POST=(asked, cancel)),
        served(f"{_WORKITEM}/cancelrequest/{{requester}}", POST=(asked, cancel)),
        served(
            _SUBSCRIBER,
            POST=(Method("POST", "Subscribe", parameters=filtered, statuses=(201,)), subscribe_handler(archive)),
            DELETE=(Method("DELETE", "Unsubscribe"), unsubscribe_handler(archive)),
        ),
        served(f"{_SUBSCRIBER}/suspend", POST=(Method("POST", "Suspend"), suspend_handler(archive))),
    ]


def _get(
    path: str,
    identifier: str,
    handler: Handler,
    returns: tuple[str, ...],
    parameters: tuple[Parameter, ...] = (_ACCEPT,),
) -> _Served:
    method = Method("GET", identifier, parameters=parameters, returns=returns)
    return _Served(ResourceDescription(path, (method,)), {"GET": handler})


def _search(archive: Archive, resource: Resource) -> _Served:
    path = resource.value.lstrip("/")
    name = f"Search{resource.name.title().replace('_', '')}"
    served = _get(path, name, search_handler(archive, resource), _METADATA, _SEARCH_PARAMETERS)
    return replace(served, resource=resource)


def _federated(archive: Archive, served: _Served) -> Handler:
    """The same where other archives stand behind it; nothing is stored there."""
    if served.resource is not None:
        return federated_search_handler(archive, served.resource)
    return fetched_first(archive, served.handlers["GET"])


def _with_store(served: _Served, handler: Handler) -> _Served:
    """The same resource, to which instances can also be sent."""
    method = Method(
        "POST",
        "StoreInstances",
        accepts=(f'multipart/related; type="{DICOM}"', f'multipart/related; type="{DICOM_JSON}"', DICOM),
        returns=(DICOM_JSON, DICOM_XML),
        statuses=(200, 202),
    )
    description = ResourceDescription(served.description.path, (*served.description.methods, method))
    return replace(served, description=description, handlers={**served.handlers, "POST": handler})


def _capabilities(resources: list[ResourceDescription]) -> Handler:
    """The handler of the service's own address (PS3.18 8.9)."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, CAPABILITIES_OFFERS)
        make = capabilities_json if chosen.media_type == "application/json" else capabilities_wadl
        headers = {"content-type": chosen.media_type, "cache-control": PRIVATE, "vary": "Accept"}
        return Answer(200, headers, make(resources, dicomweb_root(request) + "/"))

    return handle
