"""Headings of reports as codes (PS3.16 CID 7001, 7002): what people write in English or German, and the code for it.

A heading that nobody knows keeps its words, under a code of Fileroom's own scheme that follows from them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

PRIVATE_SCHEME: Final = "99FILEROOM"
"""Coding Scheme Designator of headings that the standard has no code for (PS3.16 8.2: begins with 99)."""
MEANING_CHARS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Concept:
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Heading:
    """The concept of a section, and of a text in it."""

    section: Concept
    element: Concept


def _heading(code: str, meaning: str, element: Concept | None = None) -> Heading:
    section = Concept(code, "LN", meaning)
    return Heading(section, element or section)


FINDINGS: Final = _heading("59776-5", "Findings", Concept("121071", "DCM", "Finding"))
IMPRESSIONS: Final = _heading("19005-8", "Impressions", Concept("121073", "DCM", "Impression"))
ADDENDUM: Final = _heading("55107-7", "Addendum")
_HISTORY: Final = _heading("11329-0", "History")
_PROCEDURE: Final = _heading(
    "55111-9", "Current Procedure Descriptions", Concept("121065", "DCM", "Procedure Description")
)
_RECOMMENDATIONS: Final = _heading("18783-1", "Recommendations", Concept("121075", "DCM", "Recommendation"))
_PREVIOUS: Final = _heading("18834-2", "Previous Findings", Concept("121069", "DCM", "Previous Finding"))
_KNOWN: Final[dict[str, Heading]] = {
    word: heading
    for words, heading in (
        (("history", "clinical history", "anamnese", "anamnesis"), _HISTORY),
        (
            ("clinical information", "clinical data", "klinische angaben", "klinische angabe", "klinik"),
            _heading("55752-0", "Clinical Information"),
        ),
        (
            ("indication", "indications", "indikation", "reason for examination"),
            _heading("18785-6", "Indications for Procedure"),
        ),
        (("request", "question", "clinical question", "fragestellung", "anforderung"), _heading("55115-0", "Request")),
        (("technique", "procedure", "examination", "technik", "untersuchung", "untersuchungstechnik"), _PROCEDURE),
        (("comparison", "previous findings", "vergleich", "voraufnahmen", "vorbefund", "vorbefunde"), _PREVIOUS),
        (("finding", "findings", "report", "befund", "befunde", "befundtext"), FINDINGS),
        (("impression", "impressions", "assessment", "opinion", "beurteilung", "eindruck"), IMPRESSIONS),
        (
            ("recommendation", "recommendations", "empfehlung", "empfehlungen", "procedere", "prozedere"),
            _RECOMMENDATIONS,
        ),
        (
            ("conclusion", "conclusions", "schlussfolgerung"),
            _heading("55110-1", "Conclusions", Concept("121077", "DCM", "Conclusion")),
        ),
        (("summary", "zusammenfassung"), _heading("55112-7", "Summary")),
        (("complications", "komplikationen"), _heading("55109-3", "Complications")),
        (
            ("medication", "medications administered", "contrast", "kontrastmittel", "medikation"),
            _heading("29549-3", "Medications Administered"),
        ),
        (
            ("dose", "radiation exposure", "dosis", "strahlenexposition"),
            _heading("73569-6", "Radiation Exposure and Protection Information"),
        ),
        (
            ("critical results", "communication of critical results", "kritische befunde"),
            _heading("73568-8", "Communication of Critical Results"),
        ),
        (("addendum", "nachtrag", "ergänzung"), ADDENDUM),
    )
    for word in words
}


def heading_of(words: str) -> Heading:
    """The concepts of a heading; one without words is of the findings."""
    said = " ".join(words.split()).strip(" :.").casefold()
    if not said:
        return FINDINGS
    found = _KNOWN.get(said)
    if found is not None:
        return found
    digest = hashlib.sha256(said.encode()).hexdigest()[:12].upper()
    concept = Concept(f"H{digest}", PRIVATE_SCHEME, " ".join(words.replace("\\", "/").split())[:MEANING_CHARS_MAX])
    return Heading(concept, concept)


def is_heading(words: str) -> bool:
    """Whether people head a section with these words."""
    return " ".join(words.split()).strip(" :.").casefold() in _KNOWN
