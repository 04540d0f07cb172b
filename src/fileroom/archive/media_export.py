"""Export of stored objects, as they leave by every other way too (corrections laid over): a folder, a ZIP file, or a
medium with a DICOMDIR (PS3.10 8, PS3.3 F)."""

from __future__ import annotations

import asyncio
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from fileroom.admin.audit import record_alone
from fileroom.admin.audit_events import exported
from fileroom.archive.dicomdir import LeftOut, make_file_set
from fileroom.archive.retrieve import Selection, StoredInstance, find_instances, open_object
from fileroom.archive.services import Archive
from fileroom.archive.transfers import studies_of
from fileroom.core.access import Permission
from fileroom.core.errors import ConflictError, InvalidObjectError, NotFoundError, TooLargeError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicom.uids import Family

_NOT_ON_MEDIA: Final = frozenset(
    {uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN}
)
_FAMILIES_NOT_ON_MEDIA: Final = frozenset({Family.JPEG_XL, Family.DEFLATED_FRAME})

_UNFIT: Final = (InvalidObjectError, UnsupportedError, TooLargeError)
"""What an object's own content may stand in the way with; everything else is a fault of store or target."""

Progress = Callable[[int, int], None]
"""Called with (objects done, objects in all)."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and what could not be."""

    objects: int
    bytes: int
    left_out: tuple[LeftOut, ...] = ()


async def export_folder(
    archive: Archive, selection: Selection, folder: Path, *, progress: Progress | None = None
) -> ExportReport:
    """Write `STUDY1/SERIES1/IMAGE1.dcm` ... below `folder`, which must be empty or new.

    Names are numbers: neither patients nor UIDs belong in file names. Raises NotFoundError, ConflictError.
    """
    instances = await _found(archive, selection)
    _require_empty(folder)
    await _put_down(archive, instances, folder)
    written = 0
    for done, (name, instance) in enumerate(_names(instances), 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            written += await _write(archive, instance, file)
        if progress is not None:
            progress(done, len(instances))
    return ExportReport(len(instances), written)


async def export_zip(
    archive: Archive, selection: Selection, path: Path, *, progress: Progress | None = None
) -> ExportReport:
    """Write one ZIP file; members are stored, not packed, as pixels hardly shrink."""
    instances = await _found(archive, selection)
    _require_free(path)
    await _put_down(archive, instances, path)
    written = 0
    part = path.with_name(path.name + ".part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as target:
            for done, (name, instance) in enumerate(_names(instances), 1):
                with target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                    written += await _write(archive, instance, member)
                if progress is not None:
                    progress(done, len(instances))
        part.rename(path)
    finally:
        part.unlink(missing_ok=True)
    return ExportReport(len(instances), written)


async def export_media(
    archive: Archive, selection: Selection, folder: Path, *, progress: Progress | None = None
) -> ExportReport:
    """Write a file-set with its DICOMDIR. Objects are given uncompressed where a medium asks for it: Explicit LE.

    An object that a medium cannot have is left out, and the report names it. Raises NotFoundError, ConflictError.
    """
    instances = await _found(archive, selection)
    _make_empty(folder)
    await _put_down(archive, instances, folder)
    left_out: list[LeftOut] = []
    uids_of: dict[Path, str] = {}
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix=".fileroom-export-", dir=folder) as temporary:
        for done, (name, instance) in enumerate(_names(instances), 1):
            uid, path = instance.sop_instance_uid, Path(temporary) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("wb") as file:
                    sizes[uid] = await _copy(archive, instance, file, _media_syntax(instance))
                uids_of[path] = uid
            except _UNFIT as error:
                left_out.append(LeftOut(uid, f"it cannot be brought into the form of a medium: {error}"))
            if progress is not None:
                progress(done, len(instances))
        left_out += await asyncio.to_thread(make_file_set, folder, uids_of)
    written = sizes.keys() - {one.sop_instance_uid for one in left_out}
    return ExportReport(len(written), sum(sizes[uid] for uid in written), tuple(left_out))


async def _found(archive: Archive, selection: Selection) -> list[StoredInstance]:
    found = find_instances(archive, selection, permission=Permission.STUDY_EXPORT)
    instances = [instance async for instance in found]
    if not instances:
        raise NotFoundError("Nothing matches; see 'fileroom find' for what there is.")
    return instances


async def _put_down(archive: Archive, instances: list[StoredInstance], target: Path) -> None:
    """In the audit trail, before the first byte leaves."""
    studies = studies_of((instance.study_instance_uid, instance.sop_class_uid) for instance in instances)
    await record_alone(archive.pool, exported(studies, str(target)))


def _names(instances: list[StoredInstance]) -> list[tuple[str, StoredInstance]]:
    studies: dict[str, int] = {}
    series: dict[tuple[str, str], int] = {}
    counts: dict[tuple[str, str], int] = {}
    named = []
    for instance in instances:
        study = studies.setdefault(instance.study_instance_uid, len(studies) + 1)
        key = (instance.study_instance_uid, instance.series_instance_uid)
        number = series.setdefault(key, sum(1 for s, _ in series if s == key[0]) + 1)
        counts[key] = counts.get(key, 0) + 1
        named.append((f"STUDY{study}/SERIES{number}/IMAGE{counts[key]}.dcm", instance))
    return named


async def _write(archive: Archive, instance: StoredInstance, file: BinaryIO | object) -> int:
    try:
        return await _copy(archive, instance, file, None)
    except _UNFIT as error:
        raise type(error)(f"Object {instance.sop_instance_uid} cannot be exported: {error}") from error


async def _copy(
    archive: Archive, instance: StoredInstance, file: BinaryIO | object, transfer_syntax: str | None
) -> int:
    written = 0
    opened = await open_object(archive, instance, transfer_syntax, part10=True, permission=Permission.STUDY_EXPORT)
    async for piece in opened.chunks:
        written += await asyncio.to_thread(file.write, piece)  # type: ignore[union-attr]  # ZIP members have no type of their own
    return written


def _media_syntax(instance: StoredInstance) -> str | None:
    """General purpose media (PS3.11 D) carry Explicit VR Little Endian or the older compressions, never the others."""
    stored = instance.transfer_syntax_uid
    is_odd = stored in _NOT_ON_MEDIA or uids.transfer_syntax(stored).family in _FAMILIES_NOT_ON_MEDIA
    return uids.EXPLICIT_VR_LITTLE_ENDIAN if is_odd else None


def _require_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"{folder} is not empty; choose a new folder.")


def _make_empty(folder: Path) -> None:
    _require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _require_free(path: Path) -> None:
    if path.exists():
        raise ConflictError(f"{path} exists; choose another name.")
