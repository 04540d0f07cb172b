"""Put objects into an archive in tests, the way every door does."""

from __future__ import annotations

import io
import struct
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

from fileroom.archive.services import Archive
from fileroom.archive.store import Claim, StoreOutcome, begin
from fileroom.dicom.part10 import parse_file_meta

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"


async def store_file(archive: Archive, file: bytes) -> StoreOutcome:
    """Store a Part 10 object."""
    meta = parse_file_meta(file, complete=True)
    header = dcmread(io.BytesIO(file), stop_before_pixels=True, force=True)
    incoming = begin(archive, Claim(header.SOPClassUID, header.SOPInstanceUID, meta.transfer_syntax, "test"))
    data = memoryview(file)[meta.data_set_offset :]
    for start in range(0, len(data), 1 << 20):
        incoming.write(data[start : start + (1 << 20)])
        await incoming.drain()
    return await incoming.finish()


def data_set_of(file: bytes) -> bytes:
    """The data set of a Part 10 object as encoded there."""
    return file[parse_file_meta(file, complete=True).data_set_offset :]


def make_file(syntax: str = EXPLICIT_LE, *, pixels: bytes | None = b"\1\2\3\4\5\6\7\x08", **attributes: Any) -> bytes:
    """A small Part 10 object: a CT image of 2 x 2 pixels unless the attributes say otherwise."""
    dataset = Dataset()
    for keyword, value in (_DEFAULTS | attributes).items():
        setattr(dataset, keyword, value)
    if pixels is not None:
        dataset.Rows = dataset.Columns = 2
        dataset.SamplesPerPixel = 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit = 15
        dataset.PixelRepresentation = 0
        dataset.add_new(0x7FE00010, "OW", pixels)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def undecodable_file(**attributes: Any) -> bytes:
    """The same as JPEG XL whose only frame is none, so that it can be had in no other transfer syntax."""
    image = {"Rows": 2, "Columns": 2, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "HighBit": 7}
    image |= {"BitsAllocated": 8, "BitsStored": 8, "PixelRepresentation": 0}
    header = make_file("1.2.840.10008.1.2.4.110", pixels=None, **image, **attributes)
    items = struct.pack("<HHIHHI8sHHI", 0xFFFE, 0xE000, 0, 0xFFFE, 0xE000, 8, b"no image", 0xFFFE, 0xE0DD, 0)
    return header + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF) + items


_DEFAULTS: dict[str, Any] = {
    "SOPClassUID": CT,
    "SOPInstanceUID": "1.2.3.1.1.1",
    "StudyInstanceUID": "1.2.3.1",
    "SeriesInstanceUID": "1.2.3.1.1",
    "PatientName": "DOE^JANE",
    "PatientID": "P1",
    "StudyDate": "20260101",
    "Modality": "CT",
    "SeriesNumber": 1,
    "InstanceNumber": 1,
}
