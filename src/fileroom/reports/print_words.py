"""The words that are printed on a report around its text, by the language that reports are written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fileroom.reports.facts import ReportState

_ENGLISH: Final = {
    "patient": "Patient",
    "patient_id": "Patient ID",
    "born": "Date of birth",
    "sex": "Sex",
    "accession": "Accession number",
    "study": "Examination",
    "date": "Date",
    "referring": "Referring physician",
    "report": "Report",
    "version": "version {version}",
    "of": "page {page} of {pages}",
    "addendum": "Addendum",
    "correction": "Reason of the correction",
    "signed": "Signed electronically by {name} on {when}",
    "not_signed": "Not signed. Written by {name}",
    "draft": "DRAFT",
    "preliminary": "PRELIMINARY",
    "corrected": "CORRECTED",
    "cancelled": "CANCELLED",
    "missing": "Letters shown as \N{REPLACEMENT CHARACTER} are not in this font; the report in the archive has them.",
    "cut": "The text is longer than is printed; the report in the archive has all of it.",
}
_GERMAN: Final = {
    "patient": "Patient",
    "patient_id": "Patienten-ID",
    "born": "Geburtsdatum",
    "sex": "Geschlecht",
    "accession": "Auftragsnummer",
    "study": "Untersuchung",
    "date": "Datum",
    "referring": "Überweisung durch",
    "report": "Befund",
    "version": "Fassung {version}",
    "of": "Seite {page} von {pages}",
    "addendum": "Nachtrag",
    "correction": "Grund der Korrektur",
    "signed": "Elektronisch freigegeben durch {name} am {when}",
    "not_signed": "Nicht freigegeben. Verfasst durch {name}",
    "draft": "ENTWURF",
    "preliminary": "VORLÄUFIG",
    "corrected": "KORRIGIERT",
    "cancelled": "ZURÜCKGEZOGEN",
    "missing": "Zeichen, für die \N{REPLACEMENT CHARACTER} steht, fehlen in der Schrift dieses Drucks; im Archiv stehen sie.",
    "cut": "Der Text ist länger, als gedruckt wird; im Archiv steht er ganz.",
}
_STAMPS: Final = frozenset(("draft", "preliminary", "corrected", "cancelled"))


def words_in(language: str) -> Mapping[str, str]:
    """German, or English for every other language."""
    return _GERMAN if language.lower().partition("-")[0] == "de" else _ENGLISH


def stamp_of(state: ReportState, words: Mapping[str, str]) -> str:
    """What stands on each page of a report that is not simply final."""
    return words[state.value] if state.value in _STAMPS else ""


def date_words(date: str, language: str) -> str:
    """A DA as people read it; anything else as it is."""
    if len(date) != 8 or not date.isascii() or not date.isdigit():
        return date
    year, month, day = date[:4], date[4:6], date[6:]
    return f"{day}.{month}.{year}" if words_in(language) is _GERMAN else f"{year}-{month}-{day}"


def name_words(name: str) -> str:
    """A PN as people read it: prefix, family and given names; other ways to write it in parentheses."""
    first, *others = name.split("=")[:3]
    groups = [" ".join(_group_words(first)), *(" ".join(other.replace("^", " ").split()) for other in others)]
    shown = [one for one in groups if one]
    return shown[0] + (f" ({', '.join(shown[1:])})" if shown[1:] else "") if shown else ""


def _group_words(group: str) -> list[str]:
    family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
    given = " ".join(part for part in (given, middle) if part.strip())
    named = ", ".join(part.strip() for part in (family, given) if part.strip())
    return [part.strip() for part in (prefix, named, suffix) if part.strip()]
