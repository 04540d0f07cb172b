"""Small data sets as they arrive, for tests of rules."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"


def encoded(dataset: Dataset, *, implicit: bool = False) -> bytes:
    """The bytes of a bare data set, little endian."""
    out = DicomBytesIO()
    out.is_little_endian = True
    out.is_implicit_VR = implicit
    write_dataset(out, dataset)
    return out.getvalue()
