"""Objects with pixels for tests: made ones, pydicom's bundled files, and the WG-04 images where they are present."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from fileroom.dicom.part10 import build_file_meta
from fileroom.pixels.decode import decode_frame
from fileroom.pixels.frames import frame_bytes, frame_table
from fileroom.pixels.source import PixelSource, open_source, reader_of

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.7"


def wg04_folder() -> Path | None:
    """The WG-04 images: `FILEROOM_TEST_DATA`, or `../shared/data/wg04` beside the repository."""
    named = os.environ.get("FILEROOM_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data" / "wg04"
    folder = folder if (folder / "UNC").is_dir() else folder / "wg04"
    return folder if (folder / "UNC").is_dir() else None


def wg04_files(*folders: str) -> list[Path]:
    """All images of the named folders; empty when the data is absent."""
    root = wg04_folder()
    return [] if root is None else sorted(path for name in folders for path in (root / name).glob("*.dcm"))


needs_wg04 = pytest.mark.skipif(
    wg04_folder() is None, reason="the WG-04 images are absent; name their folder in FILEROOM_TEST_DATA"
)


def source_of(data: bytes) -> PixelSource:
    """Open a file in memory."""
    return open_source(reader_of(data), len(data))


def bundled(name: str) -> PixelSource:
    """Open one of pydicom's own files."""
    path = get_testdata_file(name, download=False)
    assert path is not None, name
    return source_of(Path(str(path)).read_bytes())


def decoded(source: PixelSource, index: int = 0) -> np.ndarray:
    """Frame `index`, decoded."""
    frame = frame_bytes(frame_table(source), index, source.read)
    return decode_frame(source.header, source.transfer_syntax, frame, pixel_keyword=source.pixel_keyword)


def header(
    rows: int, columns: int, *, bits: int = 16, stored: int | None = None, signed: bool = False, **more: object
) -> Dataset:
    """An Image Pixel module; `more` are further keywords."""
    made = Dataset()
    made.SOPClassUID = SOP_CLASS
    made.SOPInstanceUID = "1.2.3.4"
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = rows, columns
    made.BitsAllocated, made.BitsStored = bits, stored or bits
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(signed)
    for keyword, value in more.items():
        setattr(made, keyword, value)
    return made


def color_header(rows: int, columns: int, photometric: str = "RGB", **more: object) -> Dataset:
    """An Image Pixel module of an 8 bit colour image."""
    return header(
        rows,
        columns,
        bits=8,
        **{"SamplesPerPixel": 3, "PhotometricInterpretation": photometric, "PlanarConfiguration": 0, **more},
    )


def data_set_bytes(made: Dataset, transfer_syntax: str) -> bytes:
    """Encode a data set."""
    stream = DicomBytesIO()
    stream.is_implicit_VR = transfer_syntax == "1.2.840.10008.1.2"
    stream.is_little_endian = transfer_syntax != "1.2.840.10008.1.2.2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(stream, made)
    return stream.getvalue()


def native_file(made: Dataset, pixels: bytes, *, syntax: str = "1.2.840.10008.1.2.1", vr: bytes = b"OW") -> bytes:
    """A Part 10 file with uncompressed Pixel Data."""
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    if syntax == "1.2.840.10008.1.2":
        element = struct.pack("<HHI", 0x7FE0, 0x0010, len(pixels))
    else:
        element = struct.pack(order + "HH2sHI", 0x7FE0, 0x0010, vr, 0, len(pixels))
    return build_file_meta(SOP_CLASS, "1.2.3.4", syntax) + data_set_bytes(made, syntax) + element + pixels


def item(value: bytes) -> bytes:
    """One item of encapsulated pixel data."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


DELIMITER = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def encapsulated_file(
    made: Dataset,
    fragments: Sequence[bytes],
    *,
    syntax: str,
    offsets: Sequence[int] = (),
    delimiter: bytes = DELIMITER,
) -> bytes:
    """A Part 10 file with encapsulated Pixel Data; `offsets` fill the Basic Offset Table."""
    table = item(struct.pack(f"<{len(offsets)}I", *offsets))
    element = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    body = element + table + b"".join(item(fragment) for fragment in fragments) + delimiter
    return build_file_meta(SOP_CLASS, "1.2.3.4", syntax) + data_set_bytes(made, syntax) + body


def ramp(rows: int, columns: int, low: int, high: int, dtype: object) -> np.ndarray:
    """A smooth image with noise that spans `low` to `high`."""
    rng = np.random.default_rng(7)
    slope = np.add.outer(np.arange(rows), np.arange(columns)) / max(rows + columns - 2, 1)
    noisy = low + slope * (high - low) + rng.normal(0, (high - low) / 100, (rows, columns))
    image = np.clip(np.rint(noisy), low, high)
    image[0, 0], image[-1, -1] = low, high
    return image.astype(dtype)
