"""What is written on pictures, read from headers of all kinds."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataset import Dataset

from fileroom.dicom.display import Annotation, Window
from fileroom.pixels.annotations import annotate, patient_lines, technique_lines
from fileroom.pixels.request import RenderRequest
from pixel_objects import header

BOTH = (Annotation.PATIENT, Annotation.TECHNIQUE)


def test_the_patient_is_named() -> None:
    made = header(4, 4, PatientName="Sørensen^Zoë^^Dr", PatientID="FR-1", PatientSex="F", PatientBirthDate="19700131")
    assert patient_lines(made) == ["Sorensen, Zoe Dr", "ID FR-1", "F  born 1970-01-31"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou"),
        ("=山田^太郎", "??, ??"),
        ("", None),
        ("A\x1b[31m\nB" + "C" * 200, "A?[31m?B" + "C" * 56),
    ],
)
def test_names_of_all_kinds(name: str, line: str | None) -> None:
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName = name
    assert patient_lines(made) == ([line] if line else [])


def test_the_technique_is_told() -> None:
    made = header(4, 4, Modality="CT", StudyDate="20261101", StudyTime="1005", SeriesNumber="2", InstanceNumber="45",
                  KVP="120", SliceThickness="1.250", StudyDescription="Head", NumberOfFrames="9")  # fmt: skip
    lines = technique_lines(made, RenderRequest(window=Window(40, 400)), 2)
    assert lines == [
        "CT  2026-11-01  10:05",
        "Head",
        "Series 2  Image 45  Frame 3/9",
        "120 kV  1.25 mm  C 40 W 400",
    ]
    assert technique_lines(Dataset(), RenderRequest(), 0) == []


@pytest.mark.parametrize("shape", [(400, 300), (400, 300, 3), (1, 1), (7, 2000)])
def test_letters_are_seen_on_light_and_dark(shape: tuple[int, ...]) -> None:
    made = header(4, 4, PatientName="Doe^Jane", PatientID="1", Modality="CT")
    for level in (0, 255):
        frame = np.full(shape, level, np.uint8)
        written = annotate(frame, made, RenderRequest(annotations=BOTH), 0)
        assert (written.shape, written.dtype) == (frame.shape, np.uint8)
        if shape[0] > 100:
            upper, middle, lower = written[:100, :150], written[150:250], written[-60:, :150]
            assert abs(int(upper.max() if level == 0 else upper.min()) - level) > 180
            assert abs(int(lower.max() if level == 0 else lower.min()) - level) > 180
            assert (middle == level).all()
