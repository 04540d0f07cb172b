"""CT series made fast, and one object as large as wanted, for tests and benchmarks (CT Image IOD, PS3.3 A.3).

The header is encoded once by pydicom; each further instance only replaces the bytes of its SOP Instance UID, its
numbers and its position, which have a fixed width here. So a thousand instances take a fraction of a second, and what
is measured afterwards is the receiver and not the maker.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, overload

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

CT_IMAGE_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
MULTIFRAME_GRAYSCALE_WORD_SC_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.7.3"
BIG_FRAME_SIDE: Final = 1024
"""Rows and columns of a frame of the big object: 2 MiB a frame of 16 bit."""
UID_CHARS: Final = 44
SLICE_SPACING_MM: Final = 2.5


def uid_of(kind: str, seed: int, number: int = 0) -> str:
    """A UID of always 44 characters under 2.25 (PS3.5 B.2), the same for the same arguments."""
    digest = hashlib.sha256(f"{kind}/{seed}/{number}".encode()).digest()
    return f"2.25.{10**38 + int.from_bytes(digest[:16]) % (2 * 10**38)}"


@overload
def make_ct_series(folder: None, count: int, size: int = ..., seed: int = ...) -> list[bytes]: ...
@overload
def make_ct_series(folder: Path, count: int, size: int = ..., seed: int = ...) -> list[Path]: ...
def make_ct_series(folder: Path | None, count: int, size: int = 64, seed: int = 0) -> list[bytes] | list[Path]:
    """`count` slices of one CT series as Part 10 objects, Explicit VR Little Endian, 16 bit.

    Each slice is `size` x `size` pixels. With a folder, the slices are written there (it is created) and their paths
    are returned in order of instance number; without one, the bytes are. The same arguments give the same bytes;
    another seed is another patient, study and series.
    """
    template = _template(size, seed)
    if folder is None:
        return [template.instance(number) for number in range(1, count + 1)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06d}.dcm" for number in range(1, count + 1)]
    for number, path in enumerate(paths, start=1):
        path.write_bytes(template.instance(number))
    return paths


def instance_uid(seed: int, number: int) -> str:
    """The SOP Instance UID that `make_ct_series` gives to the slice of this instance number."""
    return uid_of("instance", seed, number)


def make_big_multiframe(path: Path, bytes_total: int, seed: int = 0) -> int:
    """Write one multi-frame secondary capture of about `bytes_total` bytes and return its number of frames.

    The pixel data are whole frames of 2 MiB, at least one; each begins with its own number (32 bit, from 1) and is zero
    otherwise, so the file is sparse: it takes 4 KiB of disk a frame. Memory used does not depend on `bytes_total`.
    """
    frame_bytes = BIG_FRAME_SIDE * BIG_FRAME_SIDE * 2
    frames = max(1, bytes_total // frame_bytes)
    header = _encode(_multiframe_dataset(frames, seed), pixel_bytes=frames * frame_bytes)
    with path.open("wb") as out:
        out.write(header)
        for frame in range(frames):
            out.seek(len(header) + frame * frame_bytes)
            out.write((frame + 1).to_bytes(4, "little"))
        out.truncate(len(header) + frames * frame_bytes)
    return frames


@dataclass(frozen=True, slots=True)
class _Template:
    """An encoded header with holes of fixed width, and the pixels that go behind it."""

    header: bytes
    holes: tuple[tuple[int, str], ...]
    pixels: bytes
    seed: int

    def instance(self, number: int) -> bytes:
        """The whole object of one instance number."""
        values = {
            "uid": instance_uid(self.seed, number),
            "number": f"{number:06d}",
            "position": f"{(number - 1) * SLICE_SPACING_MM:010.3f}",
        }
        header = bytearray(self.header)
        for offset, hole in self.holes:
            value = values[hole].encode("ascii")
            header[offset : offset + len(value)] = value
        # Pixels that differ from slice to slice, so that no two objects can be taken for one another.
        shift = (number * 2 * 61) % len(self.pixels)
        return bytes(header) + self.pixels[shift:] + self.pixels[:shift]


_HOLES: Final = {"uid": "1." * 21 + "11", "number": "777777", "position": "888888.888"}


def _template(size: int, seed: int) -> _Template:
    header = _encode(_ct_dataset(size, seed), pixel_bytes=size * size * 2)
    holes = []
    for hole, mark in _HOLES.items():
        offset = header.find(mark.encode("ascii"))
        while offset >= 0:
            holes.append((offset, hole))
            offset = header.find(mark.encode("ascii"), offset + 1)
    return _Template(header, tuple(holes), _ct_pixels(size, seed).tobytes(), seed)


def _ct_dataset(size: int, seed: int) -> Dataset:
    ds = _patient_and_study(seed)
    ds.SOPClassUID = CT_IMAGE_STORAGE
    ds.SOPInstanceUID = _HOLES["uid"]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality = "CT"
    ds.Manufacturer = "Fileroom"
    ds.SeriesDescription = "Test series"
    ds.SliceThickness = str(SLICE_SPACING_MM)
    ds.KVP = "120"
    ds.PatientPosition = "HFS"
    ds.SeriesNumber = "1"
    ds.AcquisitionNumber = "1"
    ds.InstanceNumber = _HOLES["number"]
    ds.ImagePositionPatient = ["-160", "-160", _HOLES["position"]]
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.FrameOfReferenceUID = uid_of("frame", seed)
    ds.PositionReferenceIndicator = ""
    ds.SliceLocation = _HOLES["position"]
    ds.PixelSpacing = [f"{320 / size:.6f}"] * 2
    ds.RescaleIntercept = "-1024"
    ds.RescaleSlope = "1"
    ds.RescaleType = "HU"
    ds.WindowCenter = "40"
    ds.WindowWidth = "400"
    _pixel_module(ds, size, bits_stored=12)
    return ds


def _multiframe_dataset(frames: int, seed: int) -> Dataset:
    ds = _patient_and_study(seed)
    ds.SOPClassUID = MULTIFRAME_GRAYSCALE_WORD_SC_STORAGE
    ds.SOPInstanceUID = uid_of("big", seed, frames)
    ds.Modality = "OT"
    ds.ConversionType = "WSD"
    ds.SeriesNumber = "1"
    ds.InstanceNumber = "1"
    ds.PatientOrientation = ""
    ds.NumberOfFrames = str(frames)
    ds.FrameIncrementPointer = 0x00182002
    ds.FrameLabelVector = ["F"]
    ds.RescaleIntercept = "0"
    ds.RescaleSlope = "1"
    ds.RescaleType = "US"
    ds.PresentationLUTShape = "IDENTITY"
    ds.BurnedInAnnotation = "NO"
    _pixel_module(ds, BIG_FRAME_SIDE, bits_stored=16)
    return ds


def _patient_and_study(seed: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = f"2025{1 + seed % 12:02d}{1 + seed % 28:02d}"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = "101500"
    ds.AccessionNumber = f"A{seed:08d}"
    ds.ReferringPhysicianName = "Referrer^Rita"
    ds.StudyDescription = "Test study"
    ds.PatientName = f"Test^Series{seed:05d}"
    ds.PatientID = f"T{seed:08d}"
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.StudyInstanceUID = uid_of("study", seed)
    ds.SeriesInstanceUID = uid_of("series", seed)
    ds.StudyID = "1"
    ds.BodyPartExamined = "CHEST"
    return ds


def _pixel_module(ds: Dataset, size: int, bits_stored: int) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows = ds.Columns = size
    ds.BitsAllocated = 16
    ds.BitsStored = bits_stored
    ds.HighBit = bits_stored - 1
    ds.PixelRepresentation = 0


def _ct_pixels(size: int, seed: int) -> NDArray[np.uint16]:
    """A bright disc with noise: the entropy of a real slice, so that compression behaves as usual."""
    rng = np.random.default_rng(seed)
    axis = np.linspace(-1, 1, size)
    disc = axis[:, None] ** 2 + axis[None, :] ** 2 < 0.8
    return (np.where(disc, 1064, 24) + rng.integers(0, 32, (size, size))).astype(np.uint16)


def _encode(ds: Dataset, pixel_bytes: int, vr: Literal["OW"] = "OW") -> bytes:
    """The Part 10 bytes up to and with the header of an explicit Pixel Data element of this length."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue() + b"\xe0\x7f\x10\x00" + vr.encode() + b"\x00\x00" + pixel_bytes.to_bytes(4, "little")
