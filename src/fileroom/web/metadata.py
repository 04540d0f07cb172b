"""WADO-RS metadata of studies, series and instances (PS3.18 10.4.1.1.2)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.requests import Request

from fileroom.archive import metadata
from fileroom.archive.services import Archive
from fileroom.dicomweb.offers import METADATA_OFFERS
from fileroom.web.address import dicomweb_root, optional_path_uid, path_uid
from fileroom.web.answers import PRIVATE, Answer, before_first, compressed
from fileroom.web.endpoint import Handler
from fileroom.web.instances import select_instances
from fileroom.web.negotiation import negotiate


def metadata_handler(archive: Archive) -> Handler:
    """The handler of `/metadata` below a study, a series or an instance."""

    async def handle(request: Request) -> Answer:
        chosen = negotiate(request, METADATA_OFFERS)
        root_url = dicomweb_root(request)
        headers = {"content-type": chosen.media_type, "cache-control": PRIVATE, "vary": "Accept"}
        answer = Answer(200, headers, await before_first(await _array(archive, request, root_url)))
        return compressed(answer, request.headers.get("accept-encoding"))

    return handle


async def _array(archive: Archive, request: Request, root_url: str) -> AsyncIterator[bytes]:
    """The JSON array in pieces. Raises NotFoundError, here or at the first piece."""
    study, series = path_uid(request, "study"), optional_path_uid(request, "series")
    if series is None:
        return metadata.study_metadata(archive, study, root_url)
    if "instance" not in request.path_params:
        return metadata.series_metadata(archive, study, series, root_url)
    return metadata.instances_metadata(archive, await select_instances(archive, request), root_url)
