"""Series metadata in DICOM JSON (PS3.18 10.4.1.1.2, annex F), made once when a series has been quiet for a while.

The document is kept compressed in the object store. A series that is still arriving, or has just been corrected, is
answered from its headers, one after another.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from fileroom.archive.services import Archive
from fileroom.index.stored import StoredInstance


def series_metadata(archive: Archive, study_uid: str, series_uid: str, bulk_data_root: str) -> AsyncIterator[bytes]:
    """The JSON array of all instances of a series, in pieces: from its document if there is one, else from headers.

    Bulk data (Pixel Data, and values above BULK_VALUE_BYTES_MAX) is named as
    `{bulk_data_root}/studies/{uid}/series/{uid}/instances/{uid}/bulkdata/{path}` where path is GGGGEEEE, and for an
    element in sequences GGGGEEEE/item/GGGGEEEE with items from 0. `bulk_data_root` is the address of the DICOMweb
    service without the last slash. Raises NotFoundError at the first piece.
    """
    raise NotImplementedError


def study_metadata(archive: Archive, study_uid: str, bulk_data_root: str) -> AsyncIterator[bytes]:
    """The same for all series of a study, one array."""
    raise NotImplementedError


def instances_metadata(archive: Archive, instances: list[StoredInstance], bulk_data_root: str) -> AsyncIterator[bytes]:
    """The same for these instances, from their headers."""
    raise NotImplementedError


async def document_stable_series(archive: Archive) -> int:
    """Make the documents of series that have been quiet for `settings.series_stable_s`; returns how many."""
    raise NotImplementedError
