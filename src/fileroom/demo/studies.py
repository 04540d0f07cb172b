"""The demo archive: which patient had which examination when, and how it is written to a folder.

`write_demo_studies` is the whole of it. Everything follows from the seed: the same seed gives the same bytes, UIDs
included, whichever subset is asked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, JPEGLSLossless, RLELossless

from fileroom.demo import (
    angiogram,
    breast,
    documents,
    findings,
    hand,
    people,
    radiography,
    scintigram,
    tomography,
    ultrasound,
)
from fileroom.demo.chest import NODULE_CENTRE_MM
from fileroom.demo.encoding import to_bytes
from fileroom.demo.modules import Code, Study
from fileroom.demo.people import Person

NEWEST_DAY: Final = dt.date(2026, 11, 20)
"""The day of the newest study; ages of studies count from here. Fixed, so that the same seed gives the same bytes."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What was written."""

    folder: Path
    patients: int
    studies: int
    series: int
    instances: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One study to make: `make` yields its `instances` objects."""

    key: str
    person: Person
    days_ago: int
    time: dt.time
    description: str
    body_part: str
    reason: str
    requested: Code
    instances: int
    make: Callable[[Study], Iterator[Dataset]]

    def study(self, seed: int, number: int) -> Study:
        """The study of this plan for a seed; `number` counts through all plans."""
        moment = dt.datetime.combine(NEWEST_DAY - dt.timedelta(days=self.days_ago), self.time)
        return Study(
            self.key, seed, self.person, moment, number, self.description, self.body_part, self.reason, self.requested
        )


def write_demo_studies(
    folder: Path,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    only: Collection[str] | None = None,
) -> DemoReport:
    """Write the demo studies as Part 10 files below `folder` (made if missing), one folder per study.

    `progress` is called with (objects written, objects in all) after each object. `only` names the studies to make
    (`study_keys()`); None makes all. Raises ValueError for an unknown name.
    """
    unknown = set(only or ()) - set(study_keys())
    if unknown:
        raise ValueError(f"no demo study is called {', '.join(sorted(unknown))}; there are: {', '.join(study_keys())}")
    chosen = [(number, plan) for number, plan in enumerate(PLANS, start=4711) if only is None or plan.key in only]
    total = sum(plan.instances for _, plan in chosen)
    series: set[str] = set()
    written = size = 0
    for number, plan in chosen:
        place = folder / plan.key
        place.mkdir(parents=True, exist_ok=True)
        for index, ds in enumerate(plan.make(plan.study(seed, number)), start=1):
            data = to_bytes(ds)
            (place / f"{index:04d}.dcm").write_bytes(data)
            series.add(str(ds.SeriesInstanceUID))
            written, size = written + 1, size + len(data)
            if progress:
                progress(written, total)
    patients = {plan.person.patient_id for _, plan in chosen}
    return DemoReport(folder, len(patients), len(chosen), len(series), written, size)


def study_keys() -> tuple[str, ...]:
    """The names of all demo studies, oldest plan first."""
    return tuple(plan.key for plan in PLANS)


# --- studies of several series ---

_NODULE_SLICE: Final = round((tomography.CHEST_TOP_MM - NODULE_CENTRE_MM[2]) / tomography.CHEST_SPACING_MM) + 1
_CHEST_FINDINGS: Final = (
    "Spiculated solid nodule of 17 mm in the right upper lobe, not touching the pleura.",
    "No further nodules. Central airways open. No pleural effusion.",
    "Heart of normal size. No enlarged mediastinal or hilar lymph nodes.",
    "Upper abdomen, as far as included, without abnormality.",
)
_CHEST_IMPRESSION: Final = (
    "Suspicious nodule in the right upper lobe. FDG PET/CT and presentation at the chest board advised."
)
_ECHO_FINDINGS: Final = (
    "Left ventricle of normal size, ejection fraction 62 %. No regional wall motion abnormality.",
    "Mitral and tricuspid valves open freely. No pericardial effusion.",
)


def _chest_ct(study: Study) -> Iterator[Dataset]:
    """The CT and everything that was made from it."""
    images = tuple((tomography.CHEST_AXIAL, str(CTImageStorage), _NODULE_SLICE + offset) for offset in (0, -2, 2))
    yield from tomography.chest_ct(study)
    yield from documents.text_report(study, _CHEST_FINDINGS, _CHEST_IMPRESSION, images[:1])
    yield from documents.dose_report(study, (("Topogram", 0.12, 4.6), ("Thorax", 5.4, 162.0)))
    yield from documents.pdf_report(study, (*_CHEST_FINDINGS, "Impression: " + _CHEST_IMPRESSION))
    yield from findings.key_objects(study, images, "Nodule, right upper lobe")
    grid = tomography.CHEST_GRID
    column = (NODULE_CENTRE_MM[0] - grid.left_mm) / grid.column_mm + 1
    row = (NODULE_CENTRE_MM[1] - grid.top_mm) / grid.row_mm + 1
    yield from findings.marked_image(study, images[0], (column, row), 20.0, grid.rows, "17 mm")
    slices = tuple((number, tomography.chest_slice_z(number)) for number in range(1, tomography.CHEST_SLICES + 1))
    yield from findings.nodule_segmentation(study, tomography.CHEST_AXIAL, slices, grid, tomography.CHEST_SPACING_MM)


def _echo(study: Study) -> Iterator[Dataset]:
    yield from ultrasound.echo_cine(study)
    yield from documents.text_report(study, _ECHO_FINDINGS, "Normal echocardiogram.", ())


_TWO_VIEWS: Final = Code("XCH2", "99FILEROOM", "X-ray chest, two views")
_HEAD: Final = Code("CTHD", "99FILEROOM", "CT head without contrast")
_BREAST: Final = Code("MGBI", "99FILEROOM", "Mammography, both breasts")
_HAND: Final = Code("XHND", "99FILEROOM", "X-ray hand")
_ECHO: Final = Code("USEC", "99FILEROOM", "Transthoracic echocardiography")
_BONE: Final = Code("NMBO", "99FILEROOM", "Bone scintigraphy")

PLANS: Final = (
    Plan(
        "cr-chest-prior", people.SOERENSEN, 742, dt.time(8, 52), "Chest PA and lateral", "CHEST", "Before hip surgery",
        _TWO_VIEWS, 2, lambda study: radiography.chest_cr(study, 0.0),
    ),
    Plan(
        "ct-head-prior", people.LEBEDEVA, 735, dt.time(15, 20), "CT head", "HEAD", "Dizziness",
        _HEAD, tomography.HEAD_SLICES, lambda study: tomography.head_ct(study, bleed=False, syntax=RLELossless),
    ),
    Plan(
        "mg-prior", people.LIN, 731, dt.time(9, 30), "Mammography", "BREAST", "Screening",
        _BREAST, 4, lambda study: breast.mammograms(study, lesion=False),
    ),
    Plan(
        "nm-bone-prior", people.ECHEVERRIA, 402, dt.time(14, 10), "Bone scintigraphy", "WHOLEBODY",
        "Prostate cancer, staging", _BONE, 1, lambda study: scintigram.bone_scan(study, lesions=1),
    ),
    Plan(
        "us-echo-prior", people.WISNIEWSKA, 371, dt.time(11, 0), "Echocardiography", "HEART", "Heart murmur",
        _ECHO, 2, _echo,
    ),
    Plan(
        "dx-hand-prior", people.KALLIAS, 47, dt.time(22, 18), "Right hand PA", "HAND", "Fall onto the fist",
        _HAND, 1, lambda study: hand.hand_dx(study, broken=True),
    ),
    Plan(
        "mr-brain", people.YUKIMURA, 33, dt.time(10, 5), "MR brain", "BRAIN", "Numbness of the left arm",
        Code("MRBR", "99FILEROOM", "MR brain without contrast"), 3 * tomography.BRAIN_SLICES, tomography.brain_mr,
    ),
    Plan(
        "cr-chest-male", people.NAJJAR, 21, dt.time(16, 41), "Chest PA", "CHEST", "Fever",
        Code("XCH1", "99FILEROOM", "X-ray chest, one view"), 1,
        lambda study: radiography.chest_cr(study, 0.0, with_lateral=False),
    ),
    Plan(
        "us-echo", people.SEO, 12, dt.time(13, 40), "Echocardiography", "HEART", "Shortness of breath",
        _ECHO, 2, _echo,
    ),
    Plan(
        "xa-coronary", people.SEO, 10, dt.time(8, 15), "Coronary angiography", "HEART", "Angina on exertion",
        Code("XACO", "99FILEROOM", "Coronary angiography"), 1, angiogram.coronary_run,
    ),
    Plan(
        "cr-chest", people.SOERENSEN, 9, dt.time(9, 14), "Chest PA and lateral", "CHEST", "Cough for six weeks",
        _TWO_VIEWS, 2, lambda study: radiography.chest_cr(study, 1.0),
    ),
    Plan(
        "ct-chest", people.SOERENSEN, 6, dt.time(11, 25), "CT thorax with contrast", "CHEST", "Nodule on chest X-ray",
        Code("CTTH", "99FILEROOM", "CT thorax with contrast"), tomography.CHEST_SLICES + 7, _chest_ct,
    ),
    Plan(
        "dx-hand", people.KALLIAS, 5, dt.time(10, 2), "Right hand PA", "HAND", "Follow-up of fracture",
        _HAND, 1, lambda study: hand.hand_dx(study, broken=False),
    ),
    Plan(
        "nm-bone", people.ECHEVERRIA, 4, dt.time(13, 55), "Bone scintigraphy", "WHOLEBODY", "Back pain, rising PSA",
        _BONE, 1, lambda study: scintigram.bone_scan(study, lesions=6),
    ),
    Plan(
        "mg", people.LIN, 3, dt.time(9, 5), "Mammography", "BREAST", "Lump in the left breast",
        _BREAST, 4, lambda study: breast.mammograms(study, lesion=True),
    ),
    Plan(
        "pt-chest", people.SOERENSEN, 2, dt.time(12, 30), "FDG PET chest", "CHEST", "Nodule, right upper lobe",
        Code("PTFD", "99FILEROOM", "FDG PET"), tomography.PET_SLICES, tomography.chest_pet,
    ),
    Plan(
        "ct-head", people.LEBEDEVA, 1, dt.time(2, 47), "CT head", "HEAD", "Sudden weakness of the right side",
        _HEAD, tomography.HEAD_SLICES, lambda study: tomography.head_ct(study, bleed=True, syntax=JPEGLSLossless),
    ),
)  # fmt: skip
