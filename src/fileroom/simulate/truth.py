"""What must be true in a Fileroom that has seen the whole day. Written down from the plan alone, never from Fileroom."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fileroom.simulate.plan import Story, Twist
from fileroom.simulate.reader import document, read

OPEN = frozenset({Twist.TYPED, Twist.EMERGENCY, Twist.LATE_ORDER})
"""Whether their images meet their order by themselves is for the rules of matching to say."""


@dataclass(slots=True)
class Truth:
    """By patient ID, accession number and Study Instance UID."""

    patients: dict[str, dict[str, str]] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    """Retired patient ID to that of the survivor."""
    orders: dict[str, dict[str, str]] = field(default_factory=dict)
    studies: dict[str, dict[str, Any]] = field(default_factory=dict)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the dictation system's number."""

    def as_document(self) -> dict[str, Any]:
        """For a JSON file."""
        return {
            "patients": self.patients,
            "merged": self.merged,
            "orders": self.orders,
            "studies": self.studies,
            "reports": self.reports,
        }


def truth_of(stories: Iterable[Story]) -> Truth:
    """The end of the day."""
    truth = Truth()
    for story in stories:
        _patient(truth, story)
        if story.twist is not Twist.EMERGENCY:
            truth.orders[story.accession] = {"patient": story.person.patient_id, "state": _order_state(story)}
        if story.images_made:
            truth.studies[story.image_study_uid] = {
                "patient": story.known_as.patient_id if story.twist is Twist.EMERGENCY else story.person.patient_id,
                "accession": "" if story.twist in (Twist.TYPED, Twist.EMERGENCY) else story.accession,
                "images": story.images_made,
                "modality": story.procedure.modality,
                "matched": None if story.twist in OPEN else True,
            }
        _report(truth, story)
    return truth


def _report(truth: Truth, story: Story) -> None:
    dictation = read(story)
    if not dictation.said:
        return
    last = dictation.said[-1]
    truth.reports[dictation.number] = {
        "patient": story.person.patient_id,
        "accession": story.accession,
        "study": None if story.twist in OPEN else story.image_study_uid,
        "state": {"P": "preliminary", "F": "final", "C": "corrected"}[last.state],
        "versions": len(dictation.said),
        "text": "" if last.is_document else last.text,
        "document_sha256": hashlib.sha256(document(last.text)).hexdigest() if last.is_document else "",
    }


def _patient(truth: Truth, story: Story) -> None:
    person = story.person
    if story.twist is Twist.EMERGENCY:
        return  # nobody has registered who it is
    truth.patients[person.patient_id] = {
        "name": story.new_name or person.name,
        "birth_date": person.birth_date,
        "sex": person.sex,
    }
    if story.second is not None and story.twist is Twist.UNMERGED:
        other = story.second
        truth.patients[other.patient_id] = {"name": other.name, "birth_date": other.birth_date, "sex": other.sex}
    elif story.second is not None:
        truth.merged[story.second.patient_id] = person.patient_id


def _order_state(story: Story) -> str:
    if story.twist is Twist.CANCELLED:
        return "cancelled"
    if story.twist is Twist.DISCONTINUED:
        return "discontinued"
    # Without a performed step that names the order, only a matching of the images ends it.
    return "open" if story.twist in OPEN else "completed"
