"""Data sets of workitems in the bodies of requests and answers (PS3.18 11.1): DICOM JSON, or XML with or without multipart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from starlette.requests import Request

from fileroom.core.errors import InvalidObjectError, InvalidRequestError, TooLargeError
from fileroom.core.limits import WORKITEM_BODY_BYTES_MAX
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject, encoded_to_model, model_to_encoded
from fileroom.dicom.xml_model import parse_xml, stream_xml
from fileroom.dicomweb.media_types import Representation, parse_media_type
from fileroom.dicomweb.multipart import End, MultipartParser, PartBegin, PartData, boundary_of
from fileroom.dicomweb.offers import DICOM_JSON, DICOM_XML
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.errors import UnsupportedMediaTypeError
from fileroom.web.parts import Part, sized_multipart_answer

WORKITEM_OFFERS: Final = (
    Representation(DICOM_JSON),
    Representation("application/json"),
    Representation(DICOM_XML),
    Representation(DICOM_XML, multipart=True),
)
"""One data set, which peers ask for with and without multipart/related."""
BODY_TYPES: Final = (DICOM_JSON, DICOM_XML, f'multipart/related; type="{DICOM_XML}"')
_JSON_TYPES: Final = frozenset({DICOM_JSON, "application/json"})
_XML_TYPES: Final = frozenset({DICOM_XML, "application/xml", "text/xml"})


async def read_dataset(request: Request, *, may_be_empty: bool = False) -> JsonObject:
    """The data set of a request's body, as the archive writes DICOM JSON: values are checked, sorted and of their VR.

    Raises InvalidRequestError, UnsupportedMediaTypeError, TooLargeError.
    """
    body = await _read(request)
    if not body.strip():
        if may_be_empty:
            return {}
        raise InvalidRequestError("The request has no body; send one data set as application/dicom+json")
    header = request.headers.get("content-type")
    if not header:
        raise UnsupportedMediaTypeError(f"The request has no Content-Type; send {DICOM_JSON} or {DICOM_XML}")
    content_type = parse_media_type(header)
    if content_type.essence == "multipart/related":
        part_type, body = _only_part(body, boundary_of(content_type))
        content_type = parse_media_type(part_type or content_type.parameter("type") or DICOM_XML)
    if content_type.essence in _JSON_TYPES:
        model = _json(body)
    elif content_type.essence in _XML_TYPES:
        model = _checked(lambda: parse_xml(body))
    else:
        raise UnsupportedMediaTypeError(
            f"Content-Type {content_type.essence} is not taken; send {', '.join(BODY_TYPES)}"
        )
    return _normal(model)


def dataset_answer(model: JsonObject, chosen: Representation, headers: dict[str, str]) -> Answer:
    """A data set in the form that was chosen."""
    headers = {"cache-control": NO_STORE, "vary": "Accept", **headers}
    if chosen.media_type != DICOM_XML:
        return Answer(200, {**headers, "content-type": chosen.media_type}, orjson.dumps([model]))
    document = b"".join(stream_xml(model))
    if chosen.multipart:
        return sized_multipart_answer(
            f'multipart/related; type="{DICOM_XML}"', [Part(DICOM_XML, document)], headers=headers
        )
    return Answer(200, {**headers, "content-type": DICOM_XML}, document)


async def _read(request: Request) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > WORKITEM_BODY_BYTES_MAX:
            raise TooLargeError(f"A workitem has at most {WORKITEM_BODY_BYTES_MAX} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def _json(body: bytes) -> JsonObject:
    """One object, or an array of one: both are sent."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"The body is not JSON: {error}") from error
    if isinstance(found, list):
        if len(found) != 1:
            raise InvalidRequestError(f"The body must hold one data set, not {len(found)}")
        found = found[0]
    if not isinstance(found, dict):
        raise InvalidRequestError("The body must be a DICOM JSON object: tags as names, attributes as values")
    # Command elements (group 0000) may stand beside the data set; they are no part of it.
    return {str(name).upper(): value for name, value in found.items() if not str(name).startswith("0000")}


def _normal(model: JsonObject) -> JsonObject:
    """The same by way of its encoding, which refuses what is no DICOM."""

    def run() -> JsonObject:
        encoded = model_to_encoded(model)
        found = encoded_to_model(encoded.head + encoded.tail, uids.EXPLICIT_VR_LITTLE_ENDIAN)
        found.pop("00080005", None)
        return found

    return _checked(run)


def _checked(work: Callable[[], JsonObject]) -> JsonObject:
    try:
        return work()
    except (InvalidObjectError, ValueError) as error:
        raise InvalidRequestError(f"The body is no DICOM data set: {error}") from error


def _only_part(body: bytes, boundary: str) -> tuple[str | None, bytes]:
    parser = MultipartParser(boundary, parts_max=1)
    kind: str | None = None
    pieces: list[bytes] = []
    for event in parser.feed(body):
        if isinstance(event, PartBegin):
            kind = event.header("content-type")
        elif isinstance(event, PartData):
            pieces.append(bytes(event.data))
        elif isinstance(event, End):
            break
    parser.close()
    return kind, b"".join(pieces)
