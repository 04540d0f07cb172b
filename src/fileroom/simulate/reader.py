"""The radiologist of the simulated hospital: which examinations are read, in which steps, with which words. Pure.

A report is dictated in another system, which sends it by HL7 (ORU^R01): preliminary and final, corrected later, as text or as a
PDF. Some are not read by the end of the day.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import Final

from fileroom.simulate.plan import Story, Twist

AUTHORS: Final = ("Falk^Ida^^Dr.", "Greif^Otto^^Dr.")


class Course(enum.StrEnum):
    """How an examination is read."""

    UNREAD = "unread"
    PRELIMINARY = "preliminary"
    """A resident's report, which nobody has signed yet."""
    FINAL = "final"
    PRELIMINARY_FINAL = "preliminary_final"
    CORRECTED = "corrected"
    """Signed, and corrected later."""
    DOCUMENT = "document"
    """Final, as a PDF."""


WEIGHTS: Final = {
    Course.UNREAD: 10,
    Course.PRELIMINARY: 10,
    Course.FINAL: 35,
    Course.PRELIMINARY_FINAL: 25,
    Course.CORRECTED: 10,
    Course.DOCUMENT: 10,
}
"""Of a hundred examinations."""
_NORMAL: Final = "No abnormality."
_FINDINGS: Final = (
    _NORMAL,
    "A nodule of 6 mm in the right upper lobe.",
    "Fracture of the fifth metacarpal without displacement.",
    "Gallstones up to 12 mm; no dilated ducts.",
    "Old lacunar infarct; nothing new.",
)


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a report. `state` of HL7 table 0123: P, F or C. `after_s`: since the patient came."""

    state: str
    after_s: float
    text: str
    is_document: bool = False


@dataclass(frozen=True, slots=True)
class Dictation:
    """A report with all its messages. `number`: what the dictation system calls it."""

    number: str
    author: str
    course: Course
    said: tuple[Said, ...]


def read(story: Story) -> Dictation:
    """The report of a story; one that nobody reads has no messages."""
    chance = random.Random(f"report {story.placer}")  # noqa: S311 - a plan, no secret
    course = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    author, finding = chance.choice(AUTHORS), chance.choice(_FINDINGS)
    if not story.images_made or story.twist in (Twist.EMERGENCY, Twist.DISCONTINUED):
        course = Course.UNREAD
    first = f"{story.procedure.meaning}: {finding}"
    steps: dict[Course, tuple[Said, ...]] = {
        Course.UNREAD: (),
        Course.PRELIMINARY: (Said("P", 480, first),),
        Course.FINAL: (Said("F", 540, first),),
        Course.PRELIMINARY_FINAL: (Said("P", 480, first), Said("F", 600, f"{first} Compared with earlier images.")),
        Course.CORRECTED: (Said("F", 540, first), Said("C", 660, f"{first} Corrected: the other side.")),
        Course.DOCUMENT: (Said("F", 540, first, is_document=True),),
    }
    return Dictation(f"SR{story.placer}", author, course, steps[course])


def document(text: str) -> bytes:
    """A PDF of one page that says this in Helvetica (ISO 32000-1 7.5): small, and good for every viewer."""
    shown = text.encode("latin-1", "replace").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
    page = b"BT /F1 12 Tf 72 760 Td (" + shown + b") Tj ET"
    parts = (
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    written, places = bytearray(b"%PDF-1.4\n"), []
    for number, part in enumerate(parts, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % (len(parts) + 1)
    written += b"".join(b"%010d 00000 n \n" % place for place in places)
    written += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(parts) + 1, table)
    return bytes(written)
