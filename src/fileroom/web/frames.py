"""WADO-RS frames and pixel data: sent as they are stored, or encoded as the client asks (PS3.18 10.4.1.1.6, 10.4.1.1.7).

A frame that is sent as stored is a range of a file: nothing is decoded, nothing gathered. So is every frame that is asked
for with `transfer-syntax=*`. Who names no media type, or `*/*`, gets what the standard has as the default of bulk data:
uncompressed pixels in application/octet-stream (PS3.18 8.7.8.1, table 8.7.3-4), from video, which is not decoded, the film.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache

from starlette.requests import Request

from fileroom.archive import frames
from fileroom.archive.frame_lookup import FrameLookup
from fileroom.archive.frames import Frame
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from fileroom.core.limits import FRAMES_PER_READ, STREAM_CHUNK_BYTES
from fileroom.dicom import uids
from fileroom.dicomweb.media_types import Representation, choose, parse_accept
from fileroom.dicomweb.offers import frame_offers, pixel_data_offers, web_transfer_syntax
from fileroom.dicomweb.wado_params import parse_frame_list
from fileroom.web.address import dicomweb_root, path_uid
from fileroom.web.answers import PRIVATE, Answer, Piece
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.files import file_pieces, read_range
from fileroom.web.instances import begun, path_instance
from fileroom.web.matches import retrieve_url
from fileroom.web.negotiation import negotiate, not_acceptable
from fileroom.web.parts import Part, multipart_answer, sized_multipart_answer
from fileroom.web.transfer_syntaxes import frames_encodable_from


def frames_handler(archive: Archive, lookup: FrameLookup) -> Handler:
    """The handler of `/frames/{frames}` below an instance."""

    async def handle(request: Request) -> Answer:
        numbers = parse_frame_list(request.path_params["frames"])
        study, series, instance = (path_uid(request, name) for name in ("study", "series", "instance"))
        found = await lookup.find(study, series, instance)
        accept = request.headers.get("accept"), request.query_params.get("accept")
        chosen = _choose(*accept, found.transfer_syntax_uid, single=len(numbers) == 1)
        return await _answer(archive, request, found, numbers, chosen)

    return handle


def pixel_data_handler(archive: Archive) -> Handler:
    """The handler of `/pixeldata` below an instance: all its frames."""

    async def handle(request: Request) -> Answer:
        return await all_frames(archive, request, await path_instance(archive, request))

    return handle


async def all_frames(archive: Archive, request: Request, instance: StoredInstance) -> Answer:
    """Every frame of an instance, each a part; or uncompressed as one value, where a single part is asked for."""
    count = await frames.count_frames(archive, instance)
    stored = instance.transfer_syntax_uid
    offered = pixel_data_offers(stored, frames_encodable_from(stored), frames=count)
    chosen = negotiate(request, offered, default_type=uids.OCTET_STREAM)
    return await _answer(archive, request, instance, range(1, count + 1), chosen)


async def _answer(
    archive: Archive, request: Request, instance: StoredInstance, numbers: Sequence[int], chosen: Representation
) -> Answer:
    stored = instance.transfer_syntax_uid
    tag = entity_tag(instance, chosen, tuple(numbers))
    if unchanged := not_modified(request, tag):
        return unchanged
    headers = {"etag": tag, "cache-control": PRIVATE, "vary": "Accept"}
    if not chosen.multipart and len(numbers) > 1:
        value = await frames.open_pixel_value(archive, instance)
        content_type = {"content-type": chosen.part_content_type()}
        return await begun(Answer(200, {**headers, **content_type}, value.chunks, value.length))
    url = _frames_url(request, instance)
    at_once = FRAMES_PER_READ if chosen.transfer_syntax in (stored, web_transfer_syntax(stored)) else 1
    if len(numbers) > at_once:
        await _require(archive, instance, max(numbers))
        turns = _in_turns(archive, instance, numbers, chosen, url, at_once)
        return await begun(multipart_answer(chosen, turns, headers))
    found = await frames.read_frames(archive, instance, numbers, chosen.transfer_syntax, as_ranges=True)
    short = sum(frame.length for frame in found) <= STREAM_CHUNK_BYTES
    bodies = [await _short_body(frame) if short else _body(frame) for frame in found]
    if not chosen.multipart:
        content_type = {"content-type": chosen.part_content_type()}
        return await begun(Answer(200, {**headers, **content_type}, bodies[0], found[0].length))
    parts = [_part(frame, body, chosen, url) for frame, body in zip(found, bodies, strict=True)]
    related = f'multipart/related; type="{chosen.media_type}"'
    return await begun(sized_multipart_answer(related, parts, headers=headers))


@lru_cache(maxsize=256)
def _choose(accept: str | None, query: str | None, stored: str, *, single: bool) -> Representation:
    """Remembered, since viewers ask for a thousand frames in the same words. Raises as `negotiate` does."""
    offered = frame_offers(stored, frames_encodable_from(stored), single=single)
    chosen = choose(parse_accept(accept, query), offered, uids.OCTET_STREAM)
    if chosen is None:
        raise not_acceptable(offered)
    return chosen


async def _require(archive: Archive, instance: StoredInstance, number: int) -> None:
    count = await frames.count_frames(archive, instance)
    if number > count:
        raise NotFoundError(f"Frame {number} was asked for, but {instance.sop_instance_uid} has {count}.")


async def _in_turns(
    archive: Archive, instance: StoredInstance, numbers: Sequence[int], chosen: Representation, url: str, at_once: int
) -> AsyncIterator[Part]:
    """Some frames at a time, for requests that name many; one at a time where they must be encoded."""
    for start in range(0, len(numbers), at_once):
        some = numbers[start : start + at_once]
        for frame in await frames.read_frames(archive, instance, some, chosen.transfer_syntax, as_ranges=True):
            yield _part(frame, _body(frame), chosen, url)


async def _short_body(frame: Frame) -> Piece:
    """A short frame is read before the answer begins: what is wrong with its file gets a status of its own."""
    if frame.data is not None:
        return frame.data
    pieces = [await read_range(part) for part in frame.ranges]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _body(frame: Frame) -> Piece | AsyncIterator[Piece]:
    return file_pieces(*frame.ranges) if frame.data is None else frame.data


def _part(frame: Frame, body: Piece | AsyncIterator[Piece], chosen: Representation, url: str) -> Part:
    return Part(chosen.part_content_type(), body, frame.length, f"{url}/{frame.number}")


def _frames_url(request: Request, instance: StoredInstance) -> str:
    names = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    return f"{retrieve_url(dicomweb_root(request), *names)}/frames"
