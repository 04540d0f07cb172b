"""WADO-RS metadata of studies, series and instances (PS3.18 10.4.1.1.2), in DICOM JSON or native XML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request

from fileroom.archive import metadata, retrieve
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.dicom.xml_model import encoded_to_xml
from fileroom.dicomweb.offers import DICOM_XML, METADATA_OFFERS
from fileroom.web.address import dicomweb_root, optional_path_uid, path_uid
from fileroom.web.answers import PRIVATE, Answer, accepts_gzip, before_first, compressed
from fileroom.web.endpoint import Handler
from fileroom.web.instances import begun, select_instances
from fileroom.web.negotiation import negotiate
from fileroom.web.parts import Part, multipart_answer


def metadata_handler(archive: Archive) -> Handler:
    """The handler of `/metadata` below a study, a series or an instance."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, METADATA_OFFERS)
        root_url = dicomweb_root(request)
        headers = {"cache-control": PRIVATE, "vary": "Accept"}
        if chosen.media_type == DICOM_XML:
            parts = _xml_parts(archive, await select_instances(archive, request), root_url)
            return await begun(multipart_answer(chosen, parts, headers))
        headers["content-type"] = chosen.media_type
        accept_encoding = request.headers.get("accept-encoding")
        if "instance" in request.path_params:
            instances = await select_instances(archive, request)
            array = metadata.instances_metadata(archive, instances, root_url)
            return compressed(Answer(200, headers, await before_first(array)), accept_encoding)
        headers["vary"] = "Accept, Accept-Encoding"
        if packed := accepts_gzip(accept_encoding):
            headers["content-encoding"] = "gzip"
        return Answer(200, headers, await before_first(_json_array(archive, request, root_url, packed=packed)))

    return handle


def _json_array(archive: Archive, request: Request, root_url: str, *, packed: bool) -> AsyncIterator[bytes]:
    """One JSON array of a study or a series, in pieces or as a gzip stream. Raises NotFoundError at the first piece."""
    study, series = path_uid(request, "study"), optional_path_uid(request, "series")
    if series is None:
        return metadata.study_metadata(archive, study, root_url, packed=packed)
    return metadata.series_metadata(archive, study, series, root_url, packed=packed)


async def _xml_parts(archive: Archive, instances: Sequence[StoredInstance], root_url: str) -> AsyncIterator[Part]:
    for instance in instances:
        header = await retrieve.read_header_bytes(archive, instance, behind=True)
        document = encoded_to_xml(
            header.data,
            header.transfer_syntax,
            bulk_uri=metadata.bulk_data_uri(instance, root_url),
            pixel_data=header.pixel_data,
            behind=header.behind,
        )
        yield Part(DICOM_XML, document)
