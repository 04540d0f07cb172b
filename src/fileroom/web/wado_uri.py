"""WADO-URI: one object by query string, as DICOM or as an image (PS3.18 section 9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from starlette.requests import Request

from fileroom.archive import retrieve
from fileroom.archive.render import Renderer
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError
from fileroom.dicom import uids
from fileroom.dicom.display import Viewport
from fileroom.dicomweb.media_types import Representation, choose, parse_accept
from fileroom.dicomweb.offers import DICOM, instance_offers
from fileroom.dicomweb.problems import warning_headers
from fileroom.dicomweb.wado_uri import Region, WadoUriRequest, parse_wado_uri
from fileroom.pixels.request import RenderRequest
from fileroom.web.address import dicomweb_root
from fileroom.web.answers import PRIVATE, Answer
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.instances import dicom_answer
from fileroom.web.negotiation import not_acceptable
from fileroom.web.rendered import ignored_wishes, render_request
from fileroom.web.transfer_syntaxes import encodable_from

_STILL: Final = (Representation("image/jpeg"), Representation("image/png"), Representation("image/jp2"))
_MOVING: Final = (Representation("image/gif"), Representation("video/mp4"))
_SIDE_WHERE_UNKNOWN_PX: Final = 16_384
"""For a viewport of which one side is not limited: the image's aspect decides."""


def wado_uri_handler(archive: Archive, renderer: Renderer) -> Handler:
    """The handler of `/wado`."""

    async def handle(request: Request) -> Answer:
        asked = parse_wado_uri(request.query_params.multi_items())
        instance = await retrieve.get_instance(archive, asked.study, asked.series, asked.instance)
        chosen = _choose(request, asked, instance)
        if chosen.media_type == DICOM:
            if asked.frame is not None:
                raise InvalidRequestError("frameNumber goes with an image; leave it out for application/dicom")
            return await dicom_answer(archive, request, instance, chosen)
        return await _image(archive, renderer, request, asked, instance, chosen)

    return handle


def _choose(request: Request, asked: WadoUriRequest, instance: StoredInstance) -> Representation:
    """Images as image/jpeg and other objects as application/dicom where the request leaves it open (PS3.18 9.4)."""
    stored = [instance.transfer_syntax_uid]
    dicom = [
        offer
        for offer in instance_offers(stored, encodable_from(stored), single=True)
        if not offer.multipart and offer.media_type == DICOM
    ]
    images = (*_STILL, *_MOVING) if instance.rows else ()
    is_film = uids.transfer_syntax(instance.transfer_syntax_uid).is_video
    accepted = asked.accepted or parse_accept(request.headers.get("accept"))
    offered = (*dicom, *images) if is_film else (*images, *dicom)
    chosen = choose(accepted, offered)
    if chosen is None:
        raise not_acceptable(offered)
    return chosen


async def _image(
    archive: Archive,
    renderer: Renderer,
    request: Request,
    asked: WadoUriRequest,
    instance: StoredInstance,
    chosen: Representation,
) -> Answer:
    numbers = (asked.frame,) if asked.frame else ()
    wanted = render_request(asked.rendering, chosen.media_type, numbers)
    wanted = replace(wanted, viewport=_viewport(asked, instance), enlarge=False)
    tag = entity_tag(instance, "wado-uri", wanted, asked.presentation_instance)
    if unchanged := not_modified(request, tag):
        return unchanged
    body = await renderer.render(instance, await _with_presentation(archive, asked, wanted))
    headers = {"content-type": chosen.media_type, "etag": tag, "cache-control": PRIVATE, "vary": "Accept"}
    warnings = [*asked.warnings, *ignored_wishes(asked.rendering)]
    if warnings:
        headers["warning"] = ", ".join(warning_headers(warnings, dicomweb_root(request)))
    return Answer(200, headers, body)


async def _with_presentation(archive: Archive, asked: WadoUriRequest, wanted: RenderRequest) -> RenderRequest:
    """With the presentation state that the request names; it belongs to the same study (PS3.18 9.1.2.2.8)."""
    if asked.presentation_series is None or asked.presentation_instance is None:
        return wanted
    state = await retrieve.get_instance(archive, asked.study, asked.presentation_series, asked.presentation_instance)
    return replace(wanted, presentation_state=await retrieve.read_header(archive, state))


def _viewport(asked: WadoUriRequest, instance: StoredInstance) -> Viewport | None:
    """Greatest size and region; None where neither is asked for."""
    if asked.rows is None and asked.columns is None and asked.region is None:
        return None
    region = asked.region or Region(0.0, 0.0, 1.0, 1.0)
    rows, columns = instance.rows or 1, instance.columns or 1
    return Viewport(
        width=asked.columns or _SIDE_WHERE_UNKNOWN_PX,
        height=asked.rows or _SIDE_WHERE_UNKNOWN_PX,
        source_x=region.left * columns,
        source_y=region.top * rows,
        source_width=(region.right - region.left) * columns,
        source_height=(region.bottom - region.top) * rows,
    )
