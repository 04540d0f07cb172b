"""Patient/{id}/$everything: the patient, then the orders, studies and reports, the newest first, page after page."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.fhir.elements import Resource, Words
from fileroom.fhir.kinds import Kind
from fileroom.fhir.question import COUNT_MAX, Pairs, Question, cursor_of, read_cursor, read_question
from fileroom.fhir.registry import KINDS
from fileroom.fhir.scopes import may
from fileroom.fhir.search import Found, read_resource, search_resources

COUNT_DEFAULT: Final = 100
_PARTS: Final = tuple(kind for kind in KINDS.values() if kind.is_of_patients and kind.name != "Patient")


@dataclass(frozen=True, slots=True)
class EverythingQuestion:
    """What is asked. `kinds` are those to be answered; `since` a condition on when a resource changed, as a parameter."""

    kept: tuple[tuple[str, str], ...]
    kinds: tuple[str, ...]
    count: int
    since: str = ""
    behind: tuple[str, int] | None = None


def read_everything_question(pairs: Pairs, *, zone: dt.tzinfo | None = None) -> EverythingQuestion:
    """Parameters _count, _type and _since; others are left out. Raises InvalidRequestError."""
    kept = tuple((name, value) for name, value in pairs if value and name in ("_count", "_type", "_since", "_cursor"))
    given = dict(kept)
    since = given.get("_since", "")
    if since:
        read_question(KINDS["Patient"], [("_lastUpdated", f"ge{since}")], zone=zone)
    known = ("Patient", *(kind.name for kind in _PARTS))
    wanted = tuple(filter(None, given.get("_type", "").split(",")))
    if unknown := [one for one in wanted if one not in known]:
        raise InvalidRequestError(
            told("_type is one of {names}, not {name}.", names=", ".join(known), name=unknown[0][:40])
        )
    count = read_question(KINDS["Patient"], [("_count", given.get("_count", str(COUNT_DEFAULT)))]).count
    behind = read_cursor(given["_cursor"]) if "_cursor" in given else None
    return EverythingQuestion(kept, wanted or known, min(max(count, 1), COUNT_MAX), since, behind)


async def read_everything(archive: Archive, number: str, asked: EverythingQuestion, words: Words) -> Found:
    """One page. Raises NotFoundError, NotAllowedError, InvalidRequestError, DatabaseError."""
    access = require(Permission.ORDER_READ)
    patient = await read_resource(archive, KINDS["Patient"], number, words)
    found: list[Resource] = []
    place, row = asked.behind or ("", 0)
    if asked.behind is None and "Patient" in asked.kinds:
        found.append(patient)
    parts = [kind for kind in _PARTS if kind.name in asked.kinds and access.allows(kind.permission) and _may(kind)]
    names = [kind.name for kind in parts]
    start = names.index(place) if place in names else 0
    for kind in parts[start:]:
        behind = (str(row), row) if kind.name == place and row else None
        left = asked.count - len(found)
        if left <= 0:
            return Found(tuple(found), cursor=cursor_of(kind.name, 0))
        page = await search_resources(archive, kind, _question(kind, number, asked, left, behind, words), words)
        found += page.matches
        if page.cursor:
            return Found(tuple(found), cursor=cursor_of(kind.name, read_cursor(page.cursor)[1]))
    return Found(tuple(found))


def _question(
    kind: Kind, number: str, asked: EverythingQuestion, count: int, behind: tuple[str, int] | None, words: Words
) -> Question:
    pairs = [("patient", number), ("_count", str(count))]
    pairs += [("_lastUpdated", f"ge{asked.since}")] if asked.since else []
    return replace(read_question(kind, pairs, base=words.base, zone=words.zone), behind=behind)


def _may(kind: Kind) -> bool:
    return may(current_access(), kind.name, "s")
