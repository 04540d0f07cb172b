"""DICOM files of the tests: their data sets byte by byte, and one image in many transfer syntaxes (PS3.5, PS3.10)."""

from __future__ import annotations

import io
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import imagecodecs
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filereader import read_dataset
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from corpus.ct import make_ct_series, uid_of

JPEG_XL_LOSSLESS: Final = "1.2.840.10008.1.2.4.110"
PREAMBLE_BYTES: Final = 128
_GROUP_LENGTH_ELEMENT_BYTES: Final = 12

DCMTK_PROPOSALS: Final[dict[str, str]] = {
    ImplicitVRLittleEndian: "-xi",
    ExplicitVRLittleEndian: "-xe",
    ExplicitVRBigEndian: "-xb",
    DeflatedExplicitVRLittleEndian: "-xd",
    RLELossless: "-xr",
    JPEGLosslessSV1: "-xs",
    JPEGBaseline8Bit: "-xy",
    JPEGExtended12Bit: "-xx",
    JPEGLSLossless: "-xt",
    JPEGLSNearLossless: "-xu",
    JPEG2000Lossless: "-xv",
    JPEG2000: "-xw",
}
"""The option by which storescu proposes a transfer syntax."""
DCMTK_PREFERENCES: Final = {uid: option.replace("-", "+") for uid, option in DCMTK_PROPOSALS.items()}
"""The option by which getscu prefers a transfer syntax."""


@dataclass(frozen=True, slots=True)
class Part10:
    """A file as its parts: what its meta information says, and the data set as it stands there."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes = field(repr=False)


def read_part10(content: bytes | Path) -> Part10:
    """Split a Part 10 file without touching its data set (PS3.10 section 7)."""
    data = content.read_bytes() if isinstance(content, Path) else content
    start = PREAMBLE_BYTES + 4
    assert data[PREAMBLE_BYTES:start] == b"DICM", "not a Part 10 file"
    meta_bytes = int.from_bytes(data[start + 8 : start + 12], "little")
    end = start + _GROUP_LENGTH_ELEMENT_BYTES + meta_bytes
    meta = read_dataset(io.BytesIO(data[start:end]), is_implicit_VR=False, is_little_endian=True)
    return Part10(
        str(meta.MediaStorageSOPClassUID),
        str(meta.MediaStorageSOPInstanceUID),
        str(meta.TransferSyntaxUID),
        data[end:],
    )


def as_dataset(part: Part10) -> Dataset:
    """The data set as pydicom reads it, its pixels ready to be decoded."""
    uid = UID(part.transfer_syntax_uid)
    content = zlib.decompress(part.dataset, wbits=-zlib.MAX_WBITS) if uid.is_deflated else part.dataset
    ds = read_dataset(io.BytesIO(content), is_implicit_VR=uid.is_implicit_VR, is_little_endian=uid.is_little_endian)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = uid
    return ds


def by_instance(paths: list[Path]) -> dict[str, Part10]:
    """Files by their SOP Instance UID."""
    parts = [read_part10(path) for path in paths]
    return {part.sop_instance_uid: part for part in parts}


def study_uid(path: Path) -> str:
    """The study that a file belongs to."""
    return str(pydicom.dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True).StudyInstanceUID)


def wg04_folder() -> Path | None:
    """Real images of the NEMA compression set: FILEROOM_TEST_DATA, or beside the checkout; None where absent."""
    named = os.environ.get("FILEROOM_TEST_DATA")
    candidates = [Path(named), Path(named) / "wg04"] if named else [Path(__file__).parents[3] / "shared/data/wg04"]
    return next((folder for folder in candidates if (folder / "UNC").is_dir()), None)


def make_ct_in(transfer_syntax_uid: str, folder: Path, count: int = 2, seed: int = 0) -> list[Path]:
    """A CT series of 64x64 in a transfer syntax: the uncompressed ones, deflated, RLE, JPEG 2000, HTJ2K, JPEG XL."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, data in enumerate(make_ct_series(None, count, seed=seed), start=1):
        path = folder / f"{number:04d}.dcm"
        path.write_bytes(_in_transfer_syntax(data, transfer_syntax_uid))
        paths.append(path)
    return paths


def with_new_identity(path: Path, target: Path, seed: int, number: int = 1) -> Path:
    """A copy that is another instance of another study, so that tests on one archive do not meet."""
    ds = pydicom.dcmread(path)
    ds.StudyInstanceUID = uid_of("study", seed)
    ds.SeriesInstanceUID = uid_of("series", seed)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("instance", seed, number)
    target.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(target, enforce_file_format=True)
    return target


def _in_transfer_syntax(data: bytes, uid: str) -> bytes:
    ds = pydicom.dcmread(io.BytesIO(data))
    if uid == ExplicitVRBigEndian:
        # Pixel cells of 16 bits are words (PS3.5 8.1.1): they turn with the byte order, which pydicom leaves to us.
        ds.PixelData = ds.pixel_array.astype(">u2").tobytes()
    elif uid == RLELossless:
        ds.compress(RLELossless, generate_instance_uid=False)
    elif uid in _ENCODERS:
        ds.PixelData = encapsulate([_ENCODERS[uid](ds.pixel_array)])
        ds["PixelData"].VR = "OB"
        ds["PixelData"].is_undefined_length = True
    # pydicom writes only transfer syntaxes that it knows: another is named afterwards, by as many characters.
    known = uid if UID(uid).is_transfer_syntax and not UID(uid).is_private else str(HTJ2KLossless)
    assert known == uid or len(known) == len(uid)
    ds.file_meta.TransferSyntaxUID = known
    out = io.BytesIO()
    little, implicit = uid != ExplicitVRBigEndian, uid == ImplicitVRLittleEndian
    if uid == DeflatedExplicitVRLittleEndian:
        return _deflated(ds)
    list(ds.iterall())  # Values that are still encoded would keep their byte order.
    pydicom.dcmwrite(out, ds, implicit_vr=implicit, little_endian=little, enforce_file_format=True)
    return out.getvalue() if known == uid else out.getvalue().replace(known.encode() + b"\0", uid.encode() + b"\0", 1)


def _deflated(ds: Dataset) -> bytes:
    """A raw deflate stream, padded to an even length (PS3.5 A.5)."""
    out = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(out, enforce_file_format=True)
    plain = read_part10(out.getvalue()).dataset
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = compressor.compress(plain) + compressor.flush()
    head = io.BytesIO()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    pydicom.dcmwrite(head, _only_meta(ds), enforce_file_format=True)
    meta_end = len(head.getvalue()) - len(read_part10(head.getvalue()).dataset)
    return head.getvalue()[:meta_end] + deflated + b"\0" * (len(deflated) % 2)


def _only_meta(ds: Dataset) -> Dataset:
    empty = Dataset()
    empty.SOPClassUID, empty.SOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    empty.file_meta = ds.file_meta
    return empty


_ENCODERS: Final = {
    str(JPEG2000Lossless): lambda pixels: imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"),
    str(HTJ2KLossless): lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
    str(JPEGLSLossless): lambda pixels: imagecodecs.jpegls_encode(pixels),
    JPEG_XL_LOSSLESS: lambda pixels: imagecodecs.jpegxl_encode(pixels, lossless=True, usecontainer=False),
}
