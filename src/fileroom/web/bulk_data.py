"""WADO-RS bulk data: one value of an object, whole or in byte ranges (PS3.18 10.4.1.1.5, 8.3.3.3; RFC 9110 14)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from starlette.requests import Request

from fileroom.archive import bulk_data
from fileroom.archive.bulk_data import BulkPath, BulkValue
from fileroom.archive.retrieve import StoredInstance, read_header
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError
from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.dicom import uids
from fileroom.dicom.header_scan import PIXEL_TAGS
from fileroom.dicomweb.byte_ranges import ByteRange, parse_range
from fileroom.dicomweb.media_types import Representation, parse_media_type
from fileroom.dicomweb.offers import bulk_data_offers
from fileroom.web.answers import PRIVATE, Answer
from fileroom.web.conditional import entity_tag, not_modified
from fileroom.web.endpoint import Handler
from fileroom.web.frames import all_frames
from fileroom.web.instances import begun, path_instance
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, sized_multipart_answer

_ENCAPSULATED_DOCUMENT: Final = 0x00420011
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
_INDEX: Final = re.compile(r"[0-9]{1,9}")


def bulk_data_handler(archive: Archive) -> Handler:
    """The handler of `/bulkdata/{path}` below an instance."""

    async def handle(request: Request) -> Answer:
        path = parse_bulk_path(request.path_params["path"])
        instance = await path_instance(archive, request)
        syntax = uids.transfer_syntax(instance.transfer_syntax_uid)
        if path[0] in PIXEL_TAGS and (syntax.encapsulated or syntax.deflated):
            return await all_frames(archive, request, instance)
        value = await bulk_data.find_bulk_value(archive, instance, path)
        chosen = negotiate(request, bulk_data_offers(await _media_type(archive, instance, path)))
        tag = entity_tag(instance, "bulk", path, chosen.multipart, chosen.media_type)
        if unchanged := not_modified(request, tag):
            return unchanged
        # If-Range: with another tag the ranges would be of another value (RFC 9110 13.1.5).
        header = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
        ranges = parse_range(header, value.length)
        headers = {"etag": tag, "cache-control": PRIVATE, "vary": "Accept", "accept-ranges": "bytes"}
        return await begun(_answer(archive, value, chosen, ranges, headers))

    return handle


def parse_bulk_path(text: str) -> BulkPath:
    """`GGGGEEEE`, or with sequences `GGGGEEEE/item/GGGGEEEE`, items from 0. Raises InvalidRequestError."""
    steps = text.strip("/").split("/")
    if len(steps) % 2 == 0 or len(steps) > 2 * SEQUENCE_DEPTH_MAX:
        raise InvalidRequestError(f"bulkdata/{text[:80]} is not a tag, nor tags with item numbers between them")
    path: list[int] = []
    for place, step in enumerate(steps):
        pattern, base = (_TAG, 16) if place % 2 == 0 else (_INDEX, 10)
        if not pattern.fullmatch(step):
            raise InvalidRequestError(f"bulkdata/{text[:80]}: {step[:20]!r} is neither a tag nor an item number here")
        path.append(int(step, base))
    return tuple(path)


async def _media_type(archive: Archive, instance: StoredInstance, path: BulkPath) -> str:
    """That of an encapsulated document is written beside it (PS3.3 C.24.2); all else is octets."""
    if path != (_ENCAPSULATED_DOCUMENT,):
        return uids.OCTET_STREAM
    header = await read_header(archive, instance)
    try:
        return parse_media_type(str(header.get("MIMETypeOfEncapsulatedDocument", "") or uids.OCTET_STREAM)).essence
    except InvalidRequestError:
        return uids.OCTET_STREAM


def _answer(
    archive: Archive,
    value: BulkValue,
    chosen: Representation,
    ranges: Sequence[ByteRange] | None,
    headers: dict[str, str],
) -> Answer:
    content_type = chosen.part_content_type()
    if ranges is not None and len(ranges) > 1:
        parts = [_part(archive, value, content_type, one) for one in ranges]
        return sized_multipart_answer("multipart/byteranges", parts, status=206, headers=headers)
    one = ranges[0] if ranges else None
    part = _part(archive, value, content_type, one)
    status = 206 if one else 200
    if chosen.multipart:
        related = f'multipart/related; type="{chosen.media_type}"'
        return sized_multipart_answer(related, [part], status=status, headers=headers)
    if one:
        headers = {**headers, "content-range": one.content_range(value.length)}
    return Answer(status, {**headers, "content-type": content_type}, part.body, part.length)


def _part(archive: Archive, value: BulkValue, content_type: str, one: ByteRange | None) -> Part:
    whole = one or ByteRange(0, value.length)
    headers = (("Content-Range", one.content_range(value.length)),) if one else ()
    return Part(
        content_type,
        bulk_data.bulk_pieces(archive, value, whole.start, whole.stop),
        whole.stop - whole.start,
        headers=headers,
    )
