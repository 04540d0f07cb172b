"""One question to this archive and to others at the same time.

    async with asked_elsewhere(archive, query) as elsewhere:      the sources begin to answer
        ... answer from here, note the UIDs in `seen` ...
        async for answer in elsewhere.answers(seen):              each as soon as it is there

Sources are asked side by side, each with a time of its own: one that is slow or dead costs its own answers and a note, not
those of the others. One that said nothing in its time is left out of the questions of the next half minute, which say so
(`archive.silent_peers`); an echo or a fetch asks it nevertheless. What is here comes first and counts; the same study from
elsewhere is left out.

Nobody learns more from elsewhere than from here: a row scope filters what comes (`foreign_rows`), and a study that is here
and hidden stays hidden when another archive tells of it too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import structlog

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, require
from fileroom.core.errors import FileroomError, PeerTimeoutError
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.query import AnyOf, Key, Level, Query
from fileroom.index.attributes import UNIQUE_KEYS
from fileroom.index.known_studies import known_studies
from fileroom.index.search import Answer
from fileroom.index.visibility import visibility_of
from fileroom.routing.foreign_rows import DECIDING_TAGS, may_be_seen
from fileroom.routing.source_calls import ISSUER, PATIENT_ID, STUDY_UID, ask_source, reason_of, text_of
from fileroom.routing.sources import Source, node_of, read_sources

SOURCES_ASKED_MAX: Final = 32
"""By one question; each is an association of its own."""
ASKED_AT_ONCE_MAX: Final = 16
_UIDS_PER_QUESTION: Final = 200
"""Studies of whom is asked at once which of them may be seen."""
_PATIENT_KEYS: Final = ((PATIENT_ID,), (ISSUER,))

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What one source said: its matches as DICOM JSON, or why there are none. `aet` names it in (0008,0054)."""

    source: Source
    aet: str
    matches: Sequence[JsonObject] = ()
    problem: str = ""


@dataclass(slots=True)
class Elsewhere:
    """The sources of one question, while they answer."""

    level: Level
    tasks: list[asyncio.Task[SourceAnswer]] = field(default_factory=list)

    async def answers(self, seen: set[str]) -> AsyncGenerator[SourceAnswer, None]:
        """Each answer as soon as it is there, without what was `seen` before (`match_key`); what it brings is added there."""
        for done in asyncio.as_completed(self.tasks):
            answer = await done
            fresh: list[JsonObject] = []
            for match in answer.matches:
                key = match_key(self.level, match)
                if key not in seen:
                    seen.add(key)
                    fresh.append(match)
            yield dataclasses.replace(answer, matches=fresh)


@asynccontextmanager
async def asked_elsewhere(
    archive: Archive, query: Query, *, caller: str = "", via: str = "", names: Sequence[str] = ()
) -> AsyncIterator[Elsewhere]:
    """Ask the sources that searches may reach. `caller` is the node that asks: a source that asks us is not asked back, so that
    two archives that know each other do not ask in circles. `via`: the way a question over HTTP came. `names`: only these.

    Leaving the block ends what is still under way. Raises NotAllowedError, DatabaseError.
    """
    access = require(Permission.STUDY_SEARCH)
    sources = await _chosen(archive, caller, names)
    at_once = asyncio.Semaphore(ASKED_AT_ONCE_MAX)

    async def ask(source: Source) -> SourceAnswer:
        async with at_once:
            return await _ask(archive, source, query, access, via)

    elsewhere = Elsewhere(query.level, [asyncio.create_task(ask(source)) for source in sources])
    try:
        yield elsewhere
    finally:
        for task in elsewhere.tasks:
            task.cancel()
        await asyncio.gather(*elsewhere.tasks, return_exceptions=True)


def match_key(level: Level, match: JsonObject) -> str:
    """By what two matches are the same one."""
    if level is Level.PATIENT:
        return f"{text_of(match, PATIENT_ID)}\0{text_of(match, ISSUER)}"
    return text_of(match, UNIQUE_KEYS[level].tag)


def answer_key(level: Level, found: Answer) -> str:
    """The same of a match from here (`with_patient_keys`)."""
    if level is Level.PATIENT:
        return f"{found.values.get(PATIENT_ID) or ''}\0{found.values.get(ISSUER) or ''}"
    uids = {
        Level.STUDY: found.study_instance_uid,
        Level.SERIES: found.series_instance_uid,
        Level.INSTANCE: found.sop_instance_uid,
    }
    return uids[level] or ""


def with_patient_keys(query: Query) -> Query:
    """The same question to our own index, with what patients are told apart by among what is returned."""
    if query.level is not Level.PATIENT or query.return_tags is None:
        return query
    return dataclasses.replace(query, return_tags=tuple(dict.fromkeys((*query.return_tags, *_PATIENT_KEYS))))


# --- one source ---


async def _chosen(archive: Archive, caller: str, names: Sequence[str]) -> list[Source]:
    sources = await read_sources(archive, lambda one: one.federate and (not names or one.name in names))
    if caller and any(one.node == caller for one in sources):
        return []
    return sources[:SOURCES_ASKED_MAX]


async def _ask(archive: Archive, source: Source, query: Query, access: Access, via: str) -> SourceAnswer:
    aet = _label_as_aet(source)
    peer = f"source {source.name} {source.where}"
    silence, left_s = archive.silent.reason(peer)
    if silence:
        return SourceAnswer(source, aet, problem=f"{silence} It is asked again in {math.ceil(left_s)} s.")
    try:
        if source.node:
            aet = (await node_of(archive, source)).aet
        found = await ask_source(archive, source, _with_deciding_tags(query, access), via=via)
        archive.silent.answered(peer)
        return SourceAnswer(source, aet, await _visible(archive, source, query, access, found))
    except FileroomError as error:
        _log.warning("source_did_not_answer", source=source.name, reason=type(error).__name__)
        if isinstance(error, PeerTimeoutError):
            archive.silent.note(peer, str(error))
        return SourceAnswer(source, aet, problem=reason_of(source, error))


def _label_as_aet(source: Source) -> str:
    """What a DICOMweb service is called where an AE title is wanted."""
    return "".join(char for char in source.shown if " " <= char <= "~" and char != "\\")[:16].strip() or "DICOMWEB"


def _with_deciding_tags(query: Query, access: Access) -> Query:
    below_study = query.level > Level.STUDY
    wanted = [(STUDY_UID,)] if below_study else list(_PATIENT_KEYS) if query.level is Level.PATIENT else []
    if query.level is Level.STUDY and not access.rows.is_everything:
        wanted += [(tag,) for tag in DECIDING_TAGS]
    if query.return_tags is None or not wanted:
        return query
    return dataclasses.replace(query, return_tags=tuple(dict.fromkeys((*query.return_tags, *wanted))))


async def _visible(
    archive: Archive, source: Source, query: Query, access: Access, found: list[JsonObject]
) -> list[JsonObject]:
    """What whoever asks may see of it."""
    rows = access.rows
    if query.level is Level.PATIENT:
        if rows.is_everything:
            return found
        # A patient is seen by a study of theirs; only a scope of patients alone can be told without one.
        by_patient = bool(rows.patient_ids) and dataclasses.replace(rows, patient_ids=()).is_everything
        return [match for match in found if by_patient and text_of(match, PATIENT_ID) in rows.patient_ids]
    if not rows.is_everything:
        if query.level is Level.STUDY:
            found = [match for match in found if may_be_seen(rows, match)]
        else:
            allowed = await _allowed_studies(archive, source, access, {text_of(match, STUDY_UID) for match in found})
            found = [match for match in found if text_of(match, STUDY_UID) in allowed]
    here = await known_studies(archive.pool, {text_of(one, STUDY_UID) for one in found}, visibility_of(access))
    return [match for match in found if here.get(text_of(match, STUDY_UID), True)]


async def _allowed_studies(archive: Archive, source: Source, access: Access, uids: set[str]) -> set[str]:
    """Which of these studies somebody with a row scope may see, by what the source says of them."""
    allowed: set[str] = set()
    ordered = sorted(filter(None, uids))
    for start in range(0, len(ordered), _UIDS_PER_QUESTION):
        key = Key(STUDY_UID, "UI", AnyOf(tuple(ordered[start : start + _UIDS_PER_QUESTION])))
        question = Query(Level.STUDY, keys=(key,), return_tags=tuple((tag,) for tag in DECIDING_TAGS))
        for match in await ask_source(archive, source, question):
            if may_be_seen(access.rows, match):
                allowed.add(text_of(match, STUDY_UID))
    return allowed
