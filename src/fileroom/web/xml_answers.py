"""DICOM JSON objects as parts of application/dicom+xml (PS3.18 8.7.3.2, PS3.19 A.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from fileroom.dicom.json_model import parse_json
from fileroom.dicom.xml_model import stream_xml
from fileroom.dicomweb.media_types import Representation
from fileroom.dicomweb.offers import DICOM_XML
from fileroom.web.answers import Answer
from fileroom.web.parts import Part, multipart_answer

_PARTS: Final = Representation(DICOM_XML, multipart=True)


def xml_parts(objects: Iterable[bytes], headers: dict[str, str]) -> Answer:
    """One part for each DICOM JSON object. RFC 2046 wants at least one part: an answer of none is empty, 204."""
    found = list(objects)
    if not found:
        return Answer(204, headers)

    async def parts() -> AsyncIterator[Part]:
        for one in found:
            yield Part(DICOM_XML, b"".join(stream_xml(parse_json(one))))

    return multipart_answer(_PARTS, parts(), headers)
