"""A data set that was made here as bytes, Explicit VR Little Endian (PS3.5 A.2)."""

from __future__ import annotations

import io
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fileroom.dicom import uids
from fileroom.dicom.part10 import build_file_meta

SYNTAX: Final = uids.EXPLICIT_VR_LITTLE_ENDIAN


def data_set_bytes(dataset: Dataset) -> bytes:
    """Without preamble and meta information."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, dataset)
    return out.getvalue()


def file_bytes(dataset: Dataset, aet: str) -> bytes:
    """As a file (PS3.10)."""
    out = io.BytesIO()
    out.write(build_file_meta(str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), SYNTAX, sending_aet=aet))
    out.write(data_set_bytes(dataset))
    return out.getvalue()
