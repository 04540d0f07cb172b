"""WADO-RS rendered images and thumbnails at every level (PS3.18 10.4.1.1.3, 10.4.1.1.4, 8.3.5).

A study or a series is rendered as one part for each of its images; its thumbnail is that of the image in its middle. A
film of which nothing else is wanted is passed on as it is, an encapsulated PDF too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from starlette.requests import Request

from fileroom.archive import bulk_data, frames
from fileroom.archive.render import Renderer
from fileroom.archive.retrieve import FileRange, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.dicom import uids
from fileroom.dicom.display import Viewport
from fileroom.dicomweb.media_types import Representation
from fileroom.dicomweb.offers import THUMBNAIL_OFFERS, rendered_offers
from fileroom.dicomweb.problems import warning_headers
from fileroom.dicomweb.wado_params import IccProfile, Rendering, parse_frame_list, parse_rendering
from fileroom.pixels.render import THUMBNAIL_SIDE_PX
from fileroom.pixels.request import MOVING, MP4, RenderRequest
from fileroom.web.address import dicomweb_root
from fileroom.web.answers import PRIVATE, Answer, Body
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.files import file_pieces, read_range
from fileroom.web.instances import begun, path_instance, select_instances
from fileroom.web.matches import retrieve_url
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, multipart_answer

_ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
_ENCAPSULATED_DOCUMENT: Final = 0x00420011
_PDF: Final = "application/pdf"
_PDF_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; object-src 'self'; base-uri 'none'; frame-ancestors 'self'"
)
"""The viewer shows it inside its page; the browser's own PDF viewer needs the rest. Nothing in it runs or loads anything."""
_NOT_RENDERED: Final = "There is no image in it that could be rendered; retrieve it as application/dicom."


def rendered_handler(archive: Archive, renderer: Renderer) -> Handler:
    """The handler of `/rendered` below a study, a series, an instance or its frames."""

    async def handle(request: Request) -> Answer:
        rendering = parse_rendering(request.query_params.multi_items())
        if "instance" not in request.path_params:
            return await _several(archive, renderer, request, rendering)
        instance = await path_instance(archive, request)
        numbers = parse_frame_list(request.path_params["frames"]) if "frames" in request.path_params else ()
        return await rendered_answer(archive, renderer, request, instance, rendering, numbers)

    return handle


def thumbnail_handler(archive: Archive, renderer: Renderer) -> Handler:
    """The handler of `/thumbnail` at the same levels."""

    async def handle(request: Request) -> Answer:
        rendering = parse_rendering(request.query_params.multi_items(), thumbnail=True)
        chosen = negotiate(request, THUMBNAIL_OFFERS)
        images = _images(await select_instances(archive, request))
        if not images:
            raise NotFoundError("There is no image in it, so it has no thumbnail.")
        instance = images[len(images) // 2]
        numbers = parse_frame_list(request.path_params["frames"]) if "frames" in request.path_params else ()
        side = max(rendering.viewport.width, rendering.viewport.height) if rendering.viewport else THUMBNAIL_SIDE_PX
        tag = entity_tag(instance, "thumbnail", chosen.media_type, numbers, side)
        if unchanged := not_modified(request, tag):
            return unchanged
        if numbers:
            viewport = Viewport(side, side)
            asked = RenderRequest(chosen.media_type, numbers[:1], viewport=viewport, icc_profile=False, enlarge=False)
            body = await renderer.render(instance, asked)
        else:
            body = await renderer.thumbnail(instance, side, chosen.media_type)
        headers = _headers(request, rendering.warnings)
        return Answer(200, {**headers, "content-type": chosen.media_type, "etag": tag}, body)

    return handle


async def rendered_answer(
    archive: Archive,
    renderer: Renderer,
    request: Request,
    instance: StoredInstance,
    rendering: Rendering,
    numbers: Sequence[int],
) -> Answer:
    """One instance, or some of its frames, as an image, an animation, a film or what it is already."""
    if instance.sop_class_uid == _ENCAPSULATED_PDF:
        return await _pdf(archive, request, instance)
    syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
    is_as_stored = syntax.is_video and not numbers and not _changes_film(rendering)
    if syntax.is_video:
        chosen = negotiate(request, _film_offers(syntax.media_type if is_as_stored else None, len(numbers)))
    else:
        chosen = negotiate(request, _image_offers(len(numbers) or max(instance.number_of_frames or 1, 1)))
    if is_as_stored and chosen.media_type == syntax.media_type:
        film = await _stored_film(archive, request, instance, chosen)
        if film is not None:
            return film
    warnings = [*rendering.warnings, *ignored_wishes(rendering)]
    asked = render_request(rendering, chosen.media_type, numbers)
    tag = entity_tag(instance, "rendered", asked)
    if unchanged := not_modified(request, tag):
        return unchanged
    body = await renderer.render(instance, asked)
    return Answer(200, {**_headers(request, warnings), "content-type": chosen.media_type, "etag": tag}, body)


def render_request(rendering: Rendering, media_type: str, numbers: Sequence[int] = ()) -> RenderRequest:
    """The wishes of a URL in the words of the pixel room."""
    return RenderRequest(
        media_type=media_type,
        # All frames only go into what moves; a still of several is that of the first.
        frame_numbers=tuple(numbers) if media_type in MOVING else tuple(numbers)[:1],
        window=rendering.window,
        viewport=rendering.viewport,
        quality=rendering.quality,
        burn_overlays=rendering.overlays,
        annotations=tuple(sorted(rendering.annotations, key=lambda annotation: annotation.value)),
        icc_profile=rendering.icc_profile is not IccProfile.NO,
    )


def ignored_wishes(rendering: Rendering) -> list[str]:
    """Sentences for what was asked and is not done."""
    if rendering.icc_profile not in (None, IccProfile.NO, IccProfile.YES):
        return ["iccprofile: images keep their own color space; it was ignored"]
    return []


async def _several(archive: Archive, renderer: Renderer, request: Request, rendering: Rendering) -> Answer:
    """The images of a study or a series, one part each."""
    images = _images(await select_instances(archive, request))
    if not images:
        raise NotFoundError(_NOT_RENDERED)
    chosen = negotiate(request, rendered_offers(multi_frame=False, several=True))
    asked = render_request(rendering, chosen.media_type)
    root_url = dicomweb_root(request)

    async def parts() -> AsyncIterator[Part]:
        for instance in images:
            body = await renderer.render(instance, asked)
            names = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
            yield Part(chosen.media_type, body, location=f"{retrieve_url(root_url, *names)}/rendered")

    warnings = [*rendering.warnings, *ignored_wishes(rendering)]
    return await begun(multipart_answer(chosen, parts(), _headers(request, warnings)))


async def _stored_film(
    archive: Archive, request: Request, instance: StoredInstance, chosen: Representation
) -> Answer | None:
    """The stream of a video object as it is; None where it would go out as an MP4 that it is not."""
    film = await frames.read_frame(archive, instance, 1, as_ranges=True)
    if chosen.media_type == MP4 and not await _is_mp4(film):
        return None  # H.264 may also be stored in a transport stream (PS3.5 8.2.7), which browsers do not play.
    tag = entity_tag(instance, "video")
    if unchanged := not_modified(request, tag):
        return unchanged
    body: Body = file_pieces(*film.ranges) if film.data is None else film.data
    headers = {**_headers(request, ()), "content-type": chosen.media_type, "etag": tag}
    return await begun(Answer(200, headers, body, film.length))


async def _is_mp4(film: frames.Frame) -> bool:
    """Does it begin with a File Type Box (ISO 14496-12 4.3)?"""
    if film.data is not None:
        return film.data[4:8] == b"ftyp"
    first = film.ranges[0]
    return (await read_range(FileRange(first.path, first.offset, min(first.length, 8))))[4:8] == b"ftyp"


async def _pdf(archive: Archive, request: Request, instance: StoredInstance) -> Answer:
    """An encapsulated PDF, which is in its rendered form already."""
    chosen = negotiate(request, (Representation(_PDF),))
    value = await bulk_data.find_bulk_value(archive, instance, (_ENCAPSULATED_DOCUMENT,))
    pieces = bulk_data.bulk_pieces(archive, value, 0, value.length)
    headers = {**_headers(request, ()), "content-type": chosen.media_type, "etag": entity_tag(instance, _PDF)}
    headers["content-security-policy"] = _PDF_POLICY
    return await begun(Answer(200, headers, pieces, value.length))


def _image_offers(frame_count: int) -> tuple[Representation, ...]:
    """One image in every still form; of several frames an animation first, the first frame alone as second best."""
    still = rendered_offers(multi_frame=False, several=False)
    moving = rendered_offers(multi_frame=True, several=False)
    if frame_count == 1:
        return (*still, Representation(MP4))
    return (*moving, *(one for one in still if one not in moving))


def _film_offers(stored: str | None, frames_named: int) -> tuple[Representation, ...]:
    """The stream as stored if it may be that, then an MP4, then images; of a single frame an image first."""
    kinds = [MP4, *(one.media_type for one in rendered_offers(multi_frame=False, several=False))]
    if frames_named == 1:
        kinds = [*kinds[1:], MP4]
    return tuple(Representation(kind) for kind in dict.fromkeys([stored, *kinds] if stored else kinds))


def _changes_film(rendering: Rendering) -> bool:
    """Is anything wanted that the stored stream does not show? Windows are for grayscale only."""
    return bool(rendering.viewport or rendering.quality or rendering.annotations or rendering.overlays)


def _images(instances: Sequence[StoredInstance]) -> list[StoredInstance]:
    """Those with pixels."""
    return [instance for instance in instances if instance.rows and instance.columns]


def _headers(request: Request, warnings: Sequence[str]) -> dict[str, str]:
    headers = {"cache-control": PRIVATE, "vary": "Accept"}
    if warnings:
        headers["warning"] = ", ".join(warning_headers(warnings, dicomweb_root(request)))
    return headers
