"""WADO-RS frames and pixel data: sent as they are stored, or encoded as the client asks (PS3.18 10.4.1.1.6, 10.4.1.1.7).

A frame that is sent as stored is a range of a file: nothing is decoded, nothing gathered.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request

from fileroom.archive import frames
from fileroom.archive.frames import Frame
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import FRAMES_PER_READ
from fileroom.dicomweb.media_types import Representation
from fileroom.dicomweb.offers import frame_offers
from fileroom.dicomweb.wado_params import parse_frame_list
from fileroom.web.address import dicomweb_root
from fileroom.web.answers import PRIVATE, Answer, Piece
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.files import file_pieces
from fileroom.web.instances import begun, path_instance
from fileroom.web.matches import retrieve_url
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, multipart_answer, sized_multipart_answer
from fileroom.web.transfer_syntaxes import encodable_from


def frames_handler(archive: Archive) -> Handler:
    """The handler of `/frames/{frames}` below an instance."""

    async def handle(request: Request) -> Answer:
        numbers = parse_frame_list(request.path_params["frames"])
        return await _answer(archive, request, await path_instance(archive, request), numbers)

    return handle


def pixel_data_handler(archive: Archive) -> Handler:
    """The handler of `/pixeldata` below an instance: all its frames."""

    async def handle(request: Request) -> Answer:
        return await all_frames(archive, request, await path_instance(archive, request))

    return handle


async def all_frames(archive: Archive, request: Request, instance: StoredInstance) -> Answer:
    """Every frame of an instance, each a part."""
    count = await frames.count_frames(archive, instance)
    return await _answer(archive, request, instance, range(1, count + 1))


async def _answer(archive: Archive, request: Request, instance: StoredInstance, numbers: Sequence[int]) -> Answer:
    if not numbers:
        raise InvalidRequestError("No frame is named; write frame numbers from 1, as in frames/1,2")
    stored = instance.transfer_syntax_uid
    chosen = negotiate(request, frame_offers(stored, encodable_from([stored]), single=len(numbers) == 1))
    tag = entity_tag(instance, chosen.media_type, chosen.multipart, chosen.transfer_syntax, tuple(numbers))
    if unchanged := not_modified(request, tag):
        return unchanged
    headers = {"etag": tag, "cache-control": PRIVATE, "vary": "Accept"}
    url = _frames_url(request, instance)
    if len(numbers) > FRAMES_PER_READ:
        parts = _in_turns(archive, instance, numbers, chosen, url)
        return await begun(multipart_answer(chosen, parts, headers))
    found = await frames.read_frames(archive, instance, list(numbers), chosen.transfer_syntax, as_ranges=True)
    if not chosen.multipart:
        content_type = {"content-type": chosen.part_content_type()}
        return await begun(Answer(200, {**headers, **content_type}, _body(found[0]), found[0].length))
    content_type_of_all = f'multipart/related; type="{chosen.media_type}"'
    parts_now = [_part(frame, chosen, url) for frame in found]
    return await begun(sized_multipart_answer(content_type_of_all, parts_now, headers=headers))


async def _in_turns(
    archive: Archive, instance: StoredInstance, numbers: Sequence[int], chosen: Representation, url: str
) -> AsyncIterator[Part]:
    """Some frames at a time, for requests that name many."""
    for start in range(0, len(numbers), FRAMES_PER_READ):
        some = list(numbers[start : start + FRAMES_PER_READ])
        for frame in await frames.read_frames(archive, instance, some, chosen.transfer_syntax, as_ranges=True):
            yield _part(frame, chosen, url)


def _part(frame: Frame, chosen: Representation, url: str) -> Part:
    return Part(chosen.part_content_type(), _body(frame), frame.length, f"{url}/{frame.number}")


def _body(frame: Frame) -> AsyncIterator[Piece] | bytes:
    return file_pieces(*frame.ranges) if frame.data is None else frame.data


def _frames_url(request: Request, instance: StoredInstance) -> str:
    uids = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    return f"{retrieve_url(dicomweb_root(request), *uids)}/frames"
