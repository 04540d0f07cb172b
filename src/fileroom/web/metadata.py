"""WADO-RS metadata of studies, series and instances (PS3.18 10.4.1.1.2), in DICOM JSON or native XML."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from starlette.requests import Request

from fileroom.archive import metadata, retrieve
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.dicom.json_model import BulkPath
from fileroom.dicom.xml_model import encoded_to_xml
from fileroom.dicomweb.offers import DICOM_XML, METADATA_OFFERS
from fileroom.web.address import dicomweb_root, optional_path_uid, path_uid
from fileroom.web.answers import PRIVATE, Answer, before_first, compressed
from fileroom.web.endpoint import Handler
from fileroom.web.instances import begun, select_instances
from fileroom.web.matches import retrieve_url
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
        answer = Answer(200, headers, await before_first(await _json_array(archive, request, root_url)))
        return compressed(answer, request.headers.get("accept-encoding"))

    return handle


async def _json_array(archive: Archive, request: Request, root_url: str) -> AsyncIterator[bytes]:
    """One JSON array in pieces. Raises NotFoundError, here or at the first piece."""
    study, series = path_uid(request, "study"), optional_path_uid(request, "series")
    if series is None:
        return metadata.study_metadata(archive, study, root_url)
    if "instance" not in request.path_params:
        return metadata.series_metadata(archive, study, series, root_url)
    return metadata.instances_metadata(archive, await select_instances(archive, request), root_url)


async def _xml_parts(archive: Archive, instances: Sequence[StoredInstance], root_url: str) -> AsyncIterator[Part]:
    for instance in instances:
        header = await retrieve.read_header_bytes(archive, instance)
        uri = _bulk_uri(instance, root_url)
        document = encoded_to_xml(header.data, header.transfer_syntax, bulk_uri=uri, pixel_data=header.pixel_data)
        yield Part(DICOM_XML, document)


def _bulk_uri(instance: StoredInstance, root_url: str) -> Callable[[BulkPath], str]:
    """Addresses of the instance's bulk data: tags in hexadecimal, item numbers between them."""
    names = (instance.study_instance_uid, instance.series_instance_uid, instance.sop_instance_uid)
    url = f"{retrieve_url(root_url, *names)}/bulkdata"

    def address(path: BulkPath) -> str:
        steps = (f"{number:08X}" if place % 2 == 0 else str(number) for place, number in enumerate(path))
        return f"{url}/{'/'.join(steps)}"

    return address
