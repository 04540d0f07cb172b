"""Which image of a study a viewer shows first, known before the viewer itself has loaded anything.

The rule is that of the viewer at /viewer (OHIF), so that its own first image is the same one: of the first series by
series number that holds images, the slice that lies farthest along the normal of its plane where the slices make up a
volume, else the one with the lowest instance number.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from fileroom.archive import retrieve
from fileroom.archive.retrieve import Selection, StoredInstance
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidObjectError, NotFoundError
from fileroom.dicom import uids

_VOLUMES: Final = frozenset({"CT", "MR", "PT", "NM"})
_NOT_FIRST: Final = frozenset({"SEG", "KO", "PR", "SR", "RTSTRUCT", "RTPLAN", "RTDOSE", "SM", "ECG"})
"""Shown behind everything else, or not as one image."""
INSTANCES_MAX: Final = 20_000
"""Looked at before giving up: a picture that comes late is no use."""
_SAME_DIRECTION: Final = 1e-3


async def find_first_image(archive: Archive, study_uid: str) -> StoredInstance:
    """Raises NotFoundError where the study has no image to begin with, NotAllowedError, DatabaseError, StorageError."""
    first = last = None
    rest = INSTANCES_MAX
    async for instance in retrieve.find_instances(archive, Selection(study_uids=(study_uid,))):
        rest -= 1
        if rest < 0 or (first is not None and instance.series_instance_uid != first.series_instance_uid):
            break
        if _is_picture(instance):
            first, last = first or instance, instance
    if first is None or last is None:
        raise NotFoundError(f"There is no image in study {study_uid}.")
    if first is last or first.modality not in _VOLUMES or (first.number_of_frames or 1) > 1:
        return first
    return await _farthest(archive, first, last)


def _is_picture(instance: StoredInstance) -> bool:
    has_pixels = bool(instance.rows and instance.columns)
    is_film = uids.transfer_syntax(instance.transfer_syntax_uid).is_video
    return has_pixels and not is_film and instance.modality not in _NOT_FIRST


async def _farthest(archive: Archive, first: StoredInstance, last: StoredInstance) -> StoredInstance:
    """Of the two ends of a stack, the one farther along the normal (PS3.3 C.7.6.2.1.1)."""
    try:
        headers = [await retrieve.read_header(archive, end) for end in (first, last)]
    except InvalidObjectError:
        return first
    near, far = (_plane(header) for header in headers)
    if near is None or far is None or not np.allclose(near[0], far[0], atol=_SAME_DIRECTION):
        return first
    normal = np.cross(near[0][:3], near[0][3:])
    return last if normal @ far[1] > normal @ near[1] else first


def _plane(header: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Image Orientation and Image Position (Patient), None where they are not there or no numbers."""
    try:
        orientation = np.array(header.ImageOrientationPatient, dtype=float)
        position = np.array(header.ImagePositionPatient, dtype=float)
    except (AttributeError, TypeError, ValueError):
        return None
    return (orientation, position) if orientation.shape == (6,) and position.shape == (3,) else None
