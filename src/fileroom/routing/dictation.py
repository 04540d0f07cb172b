"""The context file of an exam, put into the folder that a reporting system reads."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, StorageError, told
from fileroom.reports.handover import hand_over
from fileroom.reports.reporting_systems import get_system
from fileroom.routing.folder_destination import allowed_root


async def put_context(archive: Archive, study_uid: str, system: str) -> str:
    """Write the file; returns its name. A program that looks never sees half of it.

    Raises InvalidRequestError (the system reads no folder), ConfigurationError (the setting `routing_folders` does not allow
    it), StorageError, NotFoundError, NotAllowedError, DatabaseError.
    """
    require(Permission.REPORT_WRITE)
    named = await get_system(archive, system)
    if not named.folder:
        raise InvalidRequestError(told("The reporting system {name} reads no folder.", name=named.name))
    root, is_own = allowed_root(archive.settings, named.folder)
    made = await hand_over(archive, study_uid, system, target=f"dictation {named.name}, folder")
    # Two exams may have the same accession number: the Study Instance UID makes the name one of its own.
    stem, _, extension = made.file_name.rpartition(".")
    name = f"{stem}-{''.join(one for one in study_uid if one in '0123456789.')[-40:]}.{extension}"
    await asyncio.to_thread(_write, root, name, made.content, is_own)
    return name


def _write(root: Path, name: str, content: bytes, is_own: bool) -> None:
    part = root / f".{name}.{os.getpid()}.part"
    try:
        if is_own:
            root.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(root / name)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise StorageError(
            told(
                "{path} cannot be written: {reason}. See whether the folder is there.",
                path=str(root),
                reason=str(error.strerror),
            )
        ) from error
