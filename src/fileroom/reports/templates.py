"""Report templates: entries by name, each with what it fits, a title, and sections with headings and text to begin with.

A study is proposed the template that fits it best: one that names its procedure code before one that names its body part,
and that before one that names only its modality. What a template names must fit; what it leaves out fits everything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fileroom.admin.entries import (
    Entry,
    EntryVersion,
    Fields,
    Section,
    get_entry,
    list_entries,
    list_entry_versions,
    put_entry,
    read_entries,
    remove_entry,
)
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.reports.facts import ReportSection
from fileroom.reports.template_starters import STARTERS
from fileroom.reports.template_words import (
    PLACEHOLDERS,
    ReportedStudy,
    fill,
    read_reported_study,
    unknown_placeholders,
)

TITLE_CHARS_MAX: Final = 200
HEADING_CHARS_MAX: Final = 100
SECTIONS_MAX: Final = 30
TEXT_CHARS_MAX: Final = 20_000
"""Of one section of a template; a normal findings text has some thousand."""
FITS_MAX: Final = 100
_FIT_CHARS_MAX: Final = 64
LANGUAGES: Final = ("en", "de")
_LISTS: Final = ("modalities", "procedure_codes", "body_parts")
_KNOWN: Final = (*_LISTS, "title", "language", "sections")


def check_template(_: str, fields: Mapping[str, Any]) -> Fields:
    """The fields of a template in their normal form. Raises InvalidRequestError."""
    unknown = sorted(set(map(str, fields)) - set(_KNOWN))
    if unknown:
        raise InvalidRequestError(
            told(
                "A report template has no field {field}. It has: {known}.",
                field=unknown[0][:40],
                known=", ".join(sorted(_KNOWN)),
            )
        )
    checked: Fields = {key: _names(key, fields.get(key)) for key in _LISTS}
    checked["modalities"] = [one.upper() for one in checked["modalities"]]
    checked["title"] = _line("title", fields.get("title", ""), TITLE_CHARS_MAX)
    checked["language"] = fields.get("language") or "en"
    if checked["language"] not in LANGUAGES:
        raise InvalidRequestError(told("{field} is one of {names}.", field="language", names=", ".join(LANGUAGES)))
    sections = fields.get("sections")
    if not isinstance(sections, list | tuple) or not 1 <= len(sections) <= SECTIONS_MAX:
        raise InvalidRequestError(told("A report template has 1 to {most} sections.", most=SECTIONS_MAX))
    checked["sections"] = [_section(one) for one in sections]
    return {key: value for key, value in checked.items() if value not in ("", [])}


TEMPLATES: Final = Section(
    "report_templates",
    "report template",
    check_template,
    may_read=Permission.REPORT_WRITE,
    may_manage=Permission.REPORT_SIGN,
)


# --- for people and the API ---


async def list_templates(archive: Archive) -> list[Entry]:
    """All templates by name. Raises NotAllowedError, DatabaseError."""
    return await list_entries(archive.pool, TEMPLATES)


async def get_template(archive: Archive, name: str) -> Entry:
    """One template. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await get_entry(archive.pool, TEMPLATES, name)


async def list_template_versions(archive: Archive, name: str) -> list[EntryVersion]:
    """What a template was, the latest first. Raises NotFoundError, NotAllowedError, DatabaseError."""
    return await list_entry_versions(archive.pool, TEMPLATES, name)


async def put_template(
    archive: Archive,
    name: str,
    fields: Mapping[str, Any],
    *,
    enabled: bool = True,
    version: int | None = None,
    new: bool | None = None,
) -> Entry:
    """Add a template or change it; see `entries.put_entry`. Reports that were begun with it stay as they are.

    Raises InvalidRequestError, ConflictError, NotFoundError, NotAllowedError, DatabaseError.
    """
    return await put_entry(
        archive.pool, archive.settings, TEMPLATES, name, fields, enabled=enabled, version=version, new=new
    )


async def remove_template(archive: Archive, name: str) -> None:
    """Remove a template. Raises NotFoundError, NotAllowedError, DatabaseError."""
    await remove_entry(archive.pool, TEMPLATES, name)


async def add_starters(archive: Archive, language: str) -> list[Entry]:
    """The templates that come with Fileroom, in one language, where there are none yet.

    Raises ConflictError (there are some already), NotAllowedError, DatabaseError.
    """
    require(Permission.REPORT_SIGN)
    if await read_entries(archive.pool, TEMPLATES):
        raise ConflictError(
            told("There are report templates already. Those that come with Fileroom are for an empty list.")
        )
    starters = STARTERS.get(language, STARTERS["en"])
    return [await put_template(archive, name, fields, new=True) for name, fields in starters.items()]


async def propose_templates(archive: Archive, study_uid: str, language: str = "en") -> tuple[list[Entry], list[Entry]]:
    """The enabled templates for a study: those that fit it, the best first, and all others by name.

    Raises NotFoundError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.REPORT_WRITE)
    async with archive.pool.connection() as connection:
        study = await read_reported_study(connection, access, study_uid)
    if study is None:
        raise NotFoundError(told("There is no such study in the archive, or it is not yours to see."))
    entries = [one for one in await read_entries(archive.pool, TEMPLATES) if one.enabled]
    fitting = ranked(entries, study, language)
    return fitting, [one for one in entries if one not in fitting]


# --- which one, and what becomes of it ---


def ranked(entries: Sequence[Entry], study: ReportedStudy, language: str = "en") -> list[Entry]:
    """The templates that fit a study, the best first; among equals those in the reader's language, then by name."""
    found = [(score, one) for one in entries if (score := _score(one.fields, study)) is not None]
    found.sort(key=lambda pair: (-pair[0], pair[1].fields.get("language") != language, pair[1].name))
    return [one for _, one in found]


def sections_for(fields: Mapping[str, Any], study: ReportedStudy) -> tuple[ReportSection, ...]:
    """A template's sections with the study's words in the places of placeholders."""
    language = fields.get("language", "en")
    return tuple(
        ReportSection(one["heading"], fill(one["text"], study, language)) for one in fields.get("sections", ())
    )


def title_for(fields: Mapping[str, Any], study: ReportedStudy) -> str:
    """A template's title, else what was done."""
    text = fill(fields.get("title", ""), study, fields.get("language", "en")).strip()
    return (text or study.procedure or study.study_description)[:TITLE_CHARS_MAX]


# --- helpers ---


def _score(fields: Mapping[str, Any], study: ReportedStudy) -> int | None:
    """None: it names something that the study is not."""
    score = 0
    if codes := fields.get("procedure_codes"):
        if study.procedure_code not in codes:
            return None
        score += 4
    if parts := fields.get("body_parts"):
        if not any(_is_part_of(part, study) for part in parts):
            return None
        score += 2
    if modalities := fields.get("modalities"):
        if not set(modalities) & set(study.modalities):
            return None
        score += 1
    return score


def _is_part_of(part: str, study: ReportedStudy) -> bool:
    """Named by the study or its order, or a word of its description: many devices leave Body Part Examined empty."""
    wanted = part.casefold()
    if wanted in (one.casefold() for one in study.body_parts):
        return True
    words = re.findall(r"\w+", f"{study.study_description} {study.procedure}".casefold())
    return wanted in words


def _section(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or set(value) - {"heading", "text"}:
        raise InvalidRequestError(told("A section of a report template has a heading and a text."))
    text = value.get("text", "")
    if not isinstance(text, str) or len(text) > TEXT_CHARS_MAX or "\0" in text:
        raise InvalidRequestError(
            told("{field} is a text of at most {most} characters.", field="text", most=TEXT_CHARS_MAX)
        )
    heading = _line("heading", value.get("heading", ""), HEADING_CHARS_MAX)
    if wrong := unknown_placeholders(text):
        raise InvalidRequestError(
            told(
                "{placeholder} stands for nothing. There are: {known}.",
                placeholder=f"{{{wrong[0]}}}",
                known=", ".join(f"{{{one}}}" for one in PLACEHOLDERS),
            )
        )
    return {"heading": heading, "text": text.replace("\r\n", "\n").replace("\r", "\n").strip()}


def _line(field: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value.strip()) > most or not value.strip().isprintable():
        raise InvalidRequestError(told("{field} is a text of at most {most} characters.", field=field, most=most))
    return value.strip()


def _names(field: str, value: object) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list | tuple) or len(value) > FITS_MAX:
        raise InvalidRequestError(told("{field} is a list of at most {most} texts.", field=field, most=FITS_MAX))
    return [one for one in dict.fromkeys(_line(field, text, _FIT_CHARS_MAX) for text in value) if one]
