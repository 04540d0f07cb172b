"""Who comes to the hospital on a simulated day, and what happens to each. Pure: the same seed gives the same day."""

from __future__ import annotations

import datetime as dt
import enum
import random
from dataclasses import dataclass
from typing import Final

from fileroom.core.errors import InvalidRequestError, told

PATIENTS_MAX: Final = 100_000
"""Of one run: two years of a large department."""
AUTHORITY: Final = "SIMULATED"
"""Who assigns the patient identifiers: nobody's real patient has one of them."""

_FAMILY: Final = (
    *("Abel", "Brandt", "Cieślak", "Dvořák", "Ekström", "Fournier", "García", "Hoàng", "İnce", "Jørgensen", "Kowalski"),
    *("Lindqvist", "Müller", "Nakamura", "O'Brien", "Petrov", "Quispe", "Rossi", "Sánchez", "Tóth", "Ünal", "Vargas"),
)
_GIVEN_F: Final = ("Ana", "Birgit", "Chloé", "Dóra", "Elif", "Freya", "Greta", "Hana", "Inés", "Jana", "Zoë")
_GIVEN_M: Final = ("Åke", "Bruno", "Carlos", "Dávid", "Emre", "Finn", "Goran", "Henri", "Ivan", "José", "Zoltán")
_PHYSICIANS: Final = ("Amsel^Ruth^^Dr.", "Bussard^Karl^^Dr.", "Celik^Deniz^^Dr.", "Drossel^Anna^^Prof.")


class Twist(enum.StrEnum):
    """What happens to a patient besides the usual."""

    NONE = "none"
    RENAMED = "renamed"
    """The name is mended by A08 after the images have come."""
    RESCHEDULED = "rescheduled"
    """The order moves to a later time before the patient arrives."""
    CANCELLED = "cancelled"
    DISCONTINUED = "discontinued"
    """The step is broken off after the first image."""
    MERGED = "merged"
    """Was registered twice: the second record, under which all was done, is merged into the first (A40)."""
    MERGED_EARLY = "merged_early"
    """The same, before the images were made."""
    UNMERGED = "unmerged"
    """Another patient's record is merged into this one by mistake, and taken out again (A40, A37)."""
    REPEATED = "repeated"
    """The RIS sends each message twice, as after a lost acknowledgement."""
    TYPED = "typed"
    """The modality was not asked for its worklist: the patient was typed in, without an accession number."""
    EMERGENCY = "emergency"
    """Images of an unknown patient; nothing is ordered."""
    LATE_ORDER = "late_order"
    """The images come before their order, with the accession number that the order will have."""


WEIGHTS: Final = {
    Twist.NONE: 57,
    Twist.RENAMED: 6,
    Twist.RESCHEDULED: 6,
    Twist.CANCELLED: 6,
    Twist.DISCONTINUED: 3,
    Twist.MERGED: 4,
    Twist.MERGED_EARLY: 3,
    Twist.UNMERGED: 3,
    Twist.REPEATED: 4,
    Twist.TYPED: 3,
    Twist.EMERGENCY: 2,
    Twist.LATE_ORDER: 3,
}
"""Of a hundred patients."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """What can be ordered, and where it is done."""

    code: str
    meaning: str
    modality: str
    station_aet: str
    body_part: str
    images: tuple[int, int]
    """At least and at most."""


PROCEDURES: Final = (
    Procedure("CTCHE", "CT chest", "CT", "SIMCT1", "CHEST", (4, 12)),
    Procedure("CTABD", "CT abdomen", "CT", "SIMCT1", "ABDOMEN", (4, 12)),
    Procedure("MRHEA", "MR head", "MR", "SIMMR1", "HEAD", (4, 10)),
    Procedure("DXCHE", "Chest, two views", "DX", "SIMDX1", "CHEST", (2, 2)),
    Procedure("DXHAN", "Hand, two views", "DX", "SIMDX1", "HAND", (2, 2)),
    Procedure("USABD", "Ultrasound of the abdomen", "US", "SIMUS1", "ABDOMEN", (2, 6)),
)
MODALITIES: Final = {one.station_aet: one.modality for one in PROCEDURES}


@dataclass(frozen=True, slots=True)
class Person:
    """A patient: `name` as PN, `birth_date` as DA."""

    patient_id: str
    name: str
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True)
class Story:
    """One patient's visit. Times are seconds from the beginning of the day, before it is played faster."""

    number: int
    person: Person
    twist: Twist
    procedure: Procedure
    accession: str
    placer: str
    study_uid: str
    """As the order says."""
    images: int
    physician: str
    arrives_s: float
    second: Person | None = None
    """The record that is merged away (UNMERGED: for a while); for EMERGENCY, as whom the modality knows the patient."""
    new_name: str = ""

    @property
    def known_as(self) -> Person:
        """Under whom orders and images are made."""
        return self.person if self.second is None or self.twist is Twist.UNMERGED else self.second

    @property
    def image_study_uid(self) -> str:
        """As the images say: another one where the modality knew no order."""
        return (
            f"{self.study_uid}.9" if self.twist in (Twist.TYPED, Twist.EMERGENCY, Twist.LATE_ORDER) else self.study_uid
        )

    @property
    def images_made(self) -> int:
        """How many come to be."""
        if self.twist is Twist.CANCELLED:
            return 0
        return 1 if self.twist is Twist.DISCONTINUED else self.images


def make_stories(seed: int, patients: int, per_hour: float) -> list[Story]:
    """The patients of a day in the order in which they come. Raises InvalidRequestError."""
    if not 1 <= patients <= PATIENTS_MAX:
        raise InvalidRequestError(told("There are 1 to {most} patients.", most=PATIENTS_MAX))
    if not 0 < per_hour <= 1_000_000:
        raise InvalidRequestError(told("Patients per hour: more than 0, at most a million."))
    chance = random.Random(seed)  # noqa: S311 - a plan, no secret
    arrives_s, made = 0.0, []
    for number in range(1, patients + 1):
        made.append(_story(chance, seed, number, arrives_s))
        arrives_s += chance.expovariate(per_hour / 3600)
    return made


def _story(chance: random.Random, seed: int, number: int, arrives_s: float) -> Story:
    twist = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    person = _person(chance, f"S{seed}-{number:05d}")
    procedure = chance.choice(PROCEDURES)
    second = None
    if twist in (Twist.MERGED, Twist.MERGED_EARLY):
        second = Person(f"{person.patient_id}T", person.name, person.birth_date, person.sex)
    elif twist is Twist.UNMERGED:
        second = _person(chance, f"{person.patient_id}U")
    elif twist is Twist.EMERGENCY:
        second = Person(f"{person.patient_id}E", "Unknown^Emergency", "", "")
    return Story(
        number=number,
        person=person,
        twist=twist,
        procedure=procedure,
        accession=f"SA{seed:03d}{number:06d}",
        placer=f"SP{seed:03d}{number:06d}",
        study_uid=_uid(chance),
        images=chance.randint(*procedure.images),
        physician=chance.choice(_PHYSICIANS),
        arrives_s=arrives_s,
        second=second,
        new_name=f"{person.name.partition('^')[0]}-Neu^{person.name.partition('^')[2]}"
        if twist is Twist.RENAMED
        else "",
    )


def _person(chance: random.Random, patient_id: str) -> Person:
    sex = chance.choice("FM")
    given = chance.choice(_GIVEN_F if sex == "F" else _GIVEN_M)
    birth = dt.date(1930, 1, 1) + dt.timedelta(days=chance.randrange(94 * 365))
    return Person(patient_id, f"{chance.choice(_FAMILY)}^{given}", birth.strftime("%Y%m%d"), sex)


def _uid(chance: random.Random) -> str:
    """A UID of the kind that is made from random bits (PS3.5 B.2)."""
    return f"2.25.{chance.getrandbits(127)}"
