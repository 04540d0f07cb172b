"""The columns of the study list: what each shows, what it is searched by, and which a person has chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from fileroom.web.authentication import identity_of
from fileroom.web.console.language import N_

COLUMNS_COOKIE: Final = "fileroom_columns"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `title` and `hint` are message ids; `field` is the parameter that it is searched by, if it can be."""

    key: str
    title: str
    field: str = ""
    hint: str = ""
    is_number: bool = False
    is_usual: bool = True


COLUMNS: Final = (
    Column("status", N_("State"), "status"),
    Column("name", N_("Patient"), "PatientName", N_("Beginnings of names, or Family^Given with * and ?")),
    Column("id", N_("Patient ID"), "PatientID", N_("How it begins, or with * and ?")),
    Column("birth", N_("Born"), "PatientBirthDate", N_("1980-12-31, or 1980-01-01..1980-12-31"), is_usual=False),
    Column("sex", N_("Sex, age"), "PatientSex", N_("F, M or O")),
    Column("modality", N_("Modality"), "ModalitiesInStudy", N_("CT, or several: CT, MR")),
    Column("description", N_("Study"), "StudyDescription", N_("Any part of the description")),
    Column("date", N_("Date"), "StudyDate", N_("today, yesterday, 7d, 2026-11-20 or 2026-11-01..2026-11-20")),
    Column("accession", N_("Accession no."), "AccessionNumber", N_("How it begins, or with * and ?")),
    Column("series", N_("Series"), is_number=True),
    Column("images", N_("Objects"), is_number=True),
    Column(
        "sender", N_("Sent by"), "SourceApplicationEntityTitle", N_("AE title or token: how it begins, or with * and ?")
    ),
    Column("station", N_("Station"), "StationName", N_("How it begins, or with * and ?")),
    Column("referring", N_("Referred by"), "ReferringPhysicianName", N_("Beginnings of names"), is_usual=False),
    Column("institution", N_("Institution"), "InstitutionName", N_("How it begins, or with * and ?"), is_usual=False),
    Column("study_id", N_("Study ID"), "StudyID", N_("How it begins, or with * and ?"), is_usual=False),
    Column("received", N_("Received"), is_usual=False),
)
_BY_KEY: Final = {column.key: column for column in COLUMNS}
_ALWAYS: Final = frozenset({"status", "name"})
"""Without these a row says nothing."""


def usual_columns() -> tuple[str, ...]:
    """The keys of the columns that somebody sees who has chosen none."""
    return tuple(column.key for column in COLUMNS if column.is_usual)


def chosen_columns(request: Request) -> tuple[Column, ...]:
    """The columns by this browser's choice, else by the person's, in our order."""
    text = request.cookies.get(COLUMNS_COOKIE, "")
    keys = {key for key in text.split(".") if key in _BY_KEY}
    keys = keys or {key for key in identity_of(request).profile.columns if key in _BY_KEY} or set(usual_columns())
    return tuple(column for column in COLUMNS if column.key in keys | _ALWAYS)


def columns_cookie(keys: list[str]) -> str:
    """What the cookie holds for a choice; nothing of it is taken as it came."""
    return ".".join(column.key for column in COLUMNS if column.key in keys)
