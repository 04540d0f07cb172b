"""Pixel arrays into data sets, in the transfer syntaxes that devices use (PS3.5 A.4), and data sets into bytes."""

from __future__ import annotations

import io
from typing import Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

NATIVE: Final = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
JPEG_QUALITY: Final = 88
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


def set_pixels(ds: Dataset, pixels: Pixels, bits_stored: int, syntax: str = ExplicitVRLittleEndian) -> None:
    """Put monochrome pixels (rows x columns, or frames x rows x columns) into `ds`, encoded in `syntax`.

    The photometric interpretation must be set already. Frames are put into one fragment each.
    """
    ds.SamplesPerPixel = 1
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits_stored, bits_stored - 1, 0
    set_transfer_syntax(ds, syntax)
    if syntax in NATIVE:
        data = pixels.tobytes()
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
        return
    frames = pixels if pixels.ndim == 3 else pixels[None]
    ds.PixelData = encapsulate([_encode_frame(frame, syntax) for frame in frames])
    ds["PixelData"].VR = "OB"


def set_colour_jpeg(ds: Dataset, frames: list[NDArray[np.uint8]]) -> None:
    """Put colour frames (rows x columns x RGB) into `ds` as JPEG baseline with YBR_FULL_422 (PS3.5 8.2.1)."""
    coded = []
    for frame in frames:
        out = io.BytesIO()
        Image.fromarray(frame).save(out, "JPEG", quality=JPEG_QUALITY, subsampling="4:2:2")
        coded.append(out.getvalue())
    ds.SamplesPerPixel, ds.PlanarConfiguration = 3, 0
    ds.PhotometricInterpretation = "YBR_FULL_422"
    ds.Rows, ds.Columns = frames[0].shape[:2]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = f"{frames[0].nbytes * len(frames) / sum(map(len, coded)):.2f}"
    ds.LossyImageCompressionMethod = "ISO_10918_1"
    set_transfer_syntax(ds, JPEGBaseline8Bit)
    ds.PixelData = encapsulate(coded)
    ds["PixelData"].VR = "OB"


def set_transfer_syntax(ds: Dataset, syntax: str) -> None:
    """Complete the file meta information of `ds` (PS3.10 7.1)."""
    meta = ds.file_meta
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)


def to_bytes(ds: Dataset) -> bytes:
    """The whole object as a file (PS3.10)."""
    out = io.BytesIO()
    dcmwrite(out, ds, enforce_file_format=True)
    return out.getvalue()


def _encode_frame(frame: Pixels, syntax: str) -> bytes:
    if syntax == JPEGLSLossless:
        return bytes(imagecodecs.jpegls_encode(frame))
    if syntax == JPEG2000Lossless:
        return bytes(imagecodecs.jpeg2k_encode(frame, level=0, codecformat="j2k", reversible=True, mct=False))
    if syntax == RLELossless:
        return _rle_frame(frame)
    raise ValueError(f"no encoder here for transfer syntax {syntax}: add one to encoding.py")


def _rle_frame(frame: Pixels) -> bytes:
    """PS3.5 annex G: a segment per byte of a pixel, the highest first, each row packed for itself."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8).reshape(*frame.shape, frame.dtype.itemsize)
    segments = []
    for index in range(frame.dtype.itemsize):
        packed = bytes(imagecodecs.packbits_encode(np.ascontiguousarray(planes[..., index]), axis=-1))
        segments.append(packed + b"\0" * (len(packed) % 2))
    header = np.zeros(16, dtype="<u4")
    header[0] = len(segments)
    header[1 : 1 + len(segments)] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return header.tobytes() + b"".join(segments)
