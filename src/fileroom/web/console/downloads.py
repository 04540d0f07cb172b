"""Taking studies away: `/studies/download`, as a ZIP file or as a ZIP file of a medium with its DICOMDIR."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from starlette.requests import Request

from fileroom.admin.audit import record_alone
from fileroom.admin.audit_events import exported
from fileroom.admin.audit_message import StudyReference
from fileroom.archive import media_export, retrieve
from fileroom.archive.retrieve import Selection, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, NotFoundError, TooLargeError, told
from fileroom.core.identifiers import UID
from fileroom.core.limits import MEDIA_DOWNLOAD_BYTES_MAX, STREAM_CHUNK_BYTES, STUDY_PAGE_MAX
from fileroom.web.answers import PRIVATE, Answer, Piece
from fileroom.web.audited import requestor
from fileroom.web.endpoint import Handler
from fileroom.web.files import object_pieces
from fileroom.web.instances import begun
from fileroom.web.zip_stream import ZipEntry, zip_pieces

_FORMS: Final = ("zip", "media")


def download_handler(archive: Archive) -> Handler:
    """The handler of `/studies/download?uid=...&uid=...&form=zip`."""

    async def handle(request: Request) -> Answer:
        uids = list(dict.fromkeys(UID(uid) for uid in request.query_params.getlist("uid")))
        form = request.query_params.get("form", "zip")
        if not uids or len(uids) > STUDY_PAGE_MAX or form not in _FORMS:
            raise InvalidRequestError(told("Mark the studies that shall be downloaded, and choose ZIP or DICOMDIR."))
        instances = await retrieve.list_instances(
            archive, Selection(study_uids=tuple(uids)), permission=Permission.STUDY_EXPORT
        )
        if not instances:
            raise NotFoundError(told("None of these studies is in the archive any more."))
        if form == "zip":  # a medium is put down where it is made
            studies = [StudyReference(uid) for uid in dict.fromkeys(one.study_instance_uid for one in instances)]
            await record_alone(archive.pool, exported(studies, "ZIP file, downloaded", actor=requestor(request)))
        entries = _objects(archive, instances) if form == "zip" else _medium(archive, uids, instances)
        name = "study" if len(uids) == 1 else "studies"
        headers = {
            "content-type": "application/zip",
            # Neither a patient nor a UID belongs in a file's name.
            "content-disposition": f'attachment; filename="{name}.zip"',
            "cache-control": PRIVATE,
        }
        return await begun(Answer(200, headers, zip_pieces(entries, archive.now())))

    return handle


async def _objects(archive: Archive, instances: list[StoredInstance]) -> AsyncIterator[ZipEntry]:
    """`study-0001/series-0001/000001.dcm`, as the objects leave by every other way."""
    studies: dict[str, int] = {}
    series: dict[str, int] = {}
    for number, instance in enumerate(instances, start=1):
        study = studies.setdefault(instance.study_instance_uid, len(studies) + 1)
        folder = series.setdefault(instance.series_instance_uid, len(series) + 1)
        opened = await retrieve.open_object(archive, instance, part10=True, permission=Permission.STUDY_EXPORT)
        yield ZipEntry(f"study-{study:04d}/series-{folder:04d}/{number:06d}.dcm", object_pieces(opened))


async def _medium(archive: Archive, uids: list[UID], instances: list[StoredInstance]) -> AsyncIterator[ZipEntry]:
    """A file-set, made in a temporary folder first: its DICOMDIR is known only when all of it is there."""
    total = sum(instance.file_bytes for instance in instances)
    if total > MEDIA_DOWNLOAD_BYTES_MAX:
        raise TooLargeError(
            told(
                "A medium of more than {size} GiB is not made here. Download the studies one by one, or use "
                "'fileroom export --media' on the server.",
                size=MEDIA_DOWNLOAD_BYTES_MAX // 2**30,
            )
        )
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="fileroom-medium-"))
    try:
        target = folder / "medium"
        await media_export.export_media(archive, Selection(study_uids=tuple(uids)), target)
        for path in await asyncio.to_thread(_files, target):
            yield ZipEntry(str(path.relative_to(target)), _file(path))
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def _file(path: Path) -> AsyncIterator[Piece]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, STREAM_CHUNK_BYTES):
            yield piece
