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

from fileroom.demo import documents, people, radiography, tomography, ultrasound
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

_NODULE_SLICE: Final = round((tomography.CHEST_TOP_MM - 176.0) / tomography.CHEST_SPACING_MM) + 1
_CHEST_FINDINGS: Final = (
    "Spiculated solid nodule of 17 mm in the right upper lobe, not touching the pleura.",
    "No further nodules. Central airways open. No pleural effusion.",
    "Heart of normal size. No enlarged mediastinal or hilar lymph nodes.",
    "Upper abdomen, as far as included, without abnormality.",
)
_CHEST_IMPRESSION: Final = (
    "Suspicious nodule in the right upper lobe. FDG PET/CT and presentation at the chest board advised."
)


def _chest_ct(study: Study) -> Iterator[Dataset]:
    key_image = ((tomography.CHEST_AXIAL, str(CTImageStorage), _NODULE_SLICE),)
    yield from tomography.chest_ct(study)
    yield from documents.text_report(study, _CHEST_FINDINGS, _CHEST_IMPRESSION, key_image)
    yield from documents.dose_report(study, (("Topogram", 0.12, 4.6), ("Thorax", 5.4, 162.0)))
    yield from documents.pdf_report(study, (*_CHEST_FINDINGS, "Impression: " + _CHEST_IMPRESSION))


PLANS: Final = (
    Plan(
        "cr-chest-prior", people.SOERENSEN, 742, dt.time(8, 52), "Chest PA and lateral", "CHEST", "Before hip surgery",
        Code("XCH2", "99FILEROOM", "X-ray chest, two views"), 2, lambda study: radiography.chest_cr(study, 0.0),
    ),
    Plan(
        "ct-head-prior", people.LEBEDEVA, 735, dt.time(15, 20), "CT head", "HEAD", "Dizziness",
        Code("CTHD", "99FILEROOM", "CT head without contrast"), tomography.HEAD_SLICES,
        lambda study: tomography.head_ct(study, bleed=False, syntax=RLELossless),
    ),
    Plan(
        "mr-brain", people.YUKIMURA, 33, dt.time(10, 5), "MR brain", "BRAIN", "Numbness of the left arm",
        Code("MRBR", "99FILEROOM", "MR brain without contrast"), 3 * tomography.BRAIN_SLICES, tomography.brain_mr,
    ),
    Plan(
        "us-echo", people.SEO, 12, dt.time(13, 40), "Echocardiography", "HEART", "Shortness of breath",
        Code("USEC", "99FILEROOM", "Transthoracic echocardiography"), 1, ultrasound.echo_cine,
    ),
    Plan(
        "cr-chest", people.SOERENSEN, 9, dt.time(9, 14), "Chest PA and lateral", "CHEST", "Cough for six weeks",
        Code("XCH2", "99FILEROOM", "X-ray chest, two views"), 2, lambda study: radiography.chest_cr(study, 1.0),
    ),
    Plan(
        "ct-chest", people.SOERENSEN, 6, dt.time(11, 25), "CT thorax with contrast", "CHEST", "Nodule on chest X-ray",
        Code("CTTH", "99FILEROOM", "CT thorax with contrast"), tomography.CHEST_SLICES + 4, _chest_ct,
    ),
    Plan(
        "ct-head", people.LEBEDEVA, 1, dt.time(2, 47), "CT head", "HEAD", "Sudden weakness of the right side",
        Code("CTHD", "99FILEROOM", "CT head without contrast"), tomography.HEAD_SLICES,
        lambda study: tomography.head_ct(study, bleed=True, syntax=JPEGLSLossless),
    ),
)  # fmt: skip
