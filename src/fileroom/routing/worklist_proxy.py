"""Questions for a modality worklist (PS3.4 K.6.1), passed on to the sources that have one; their answers put together.

The same scheduled step from two sources is one answer. Whoever has a row scope sees the entries that fit it; where an entry
does not say what decides, it is not shown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, RowScope, require
from fileroom.core.errors import FileroomError, PeerTimeoutError
from fileroom.dicom.identifier import AnswerElement
from fileroom.dicom.json_model import JsonObject
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.attributes import BY_KEYWORD
from fileroom.routing.source_calls import find_at_node, reason_of, text_of
from fileroom.routing.sources import Source, node_of, read_sources

WORKLIST_FIND: Final = "1.2.840.10008.5.1.4.31"
SOURCES_MAX: Final = 16
_STEPS: Final = 0x00400100
_STEP_ID: Final = 0x00400009
_STUDY_UID: Final = BY_KEYWORD["StudyInstanceUID"].tag
_PATIENT_ID: Final = BY_KEYWORD["PatientID"].tag
_REFERRING: Final = BY_KEYWORD["ReferringPhysicianName"].tag
_MODALITY: Final = BY_KEYWORD["Modality"].tag

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorklistAnswer:
    """The entries of all sources, and those sources that did not answer, as people call them."""

    entries: Sequence[JsonObject]
    silent: Sequence[str] = ()


async def worklist_sources(archive: Archive) -> list[Source]:
    """The sources that have a worklist. Raises DatabaseError."""
    return (await read_sources(archive, lambda one: one.worklist and bool(one.node)))[:SOURCES_MAX]


async def ask_worklists(archive: Archive, elements: list[AnswerElement], *, caller: str = "") -> WorklistAnswer:
    """What the sources answer to an identifier; a source that asks is not asked back. Raises NotAllowedError, DatabaseError."""
    access = require(Permission.STUDY_SEARCH)
    sources = [source for source in await worklist_sources(archive) if source.node != caller]
    results = await asyncio.gather(*(_ask(archive, source, elements) for source in sources))
    entries: dict[tuple[str, str], JsonObject] = {}
    for number, entry in enumerate(one for found, _ in results for one in found):
        if may_be_shown(access.rows, entry):
            entries.setdefault(entry_identity(entry) or ("", str(number)), entry)
    return WorklistAnswer(tuple(entries.values()), tuple(silent for _, silent in results if silent))


def may_be_shown(rows: RowScope, entry: JsonObject) -> bool:
    """Whether an entry of a worklist is within a row scope. It names no institution, and nobody has brought it in."""
    if rows.is_everything:
        return True
    if rows.own_uploads or rows.institutions:
        return False
    if rows.patient_ids and text_of(entry, _PATIENT_ID) not in rows.patient_ids:
        return False
    if rows.modalities and not {text_of(step, _MODALITY) for step in _steps(entry)} & set(rows.modalities):
        return False
    if not rows.referring_physicians:
        return True
    named = normalize_name(text_of(entry, _REFERRING))
    return bool(named) and named in {normalize_name(name) for name in rows.referring_physicians}


async def _ask(archive: Archive, source: Source, elements: list[AnswerElement]) -> tuple[list[JsonObject], str]:
    try:
        async with asyncio.timeout(source.timeout_s):
            node = await node_of(archive, source)
            return await find_at_node(archive, node, WORKLIST_FIND, elements, source.results_max), ""
    except TimeoutError:
        error: FileroomError = PeerTimeoutError(f"{source.shown} did not answer within {source.timeout_s} s.")
    except FileroomError as caught:
        error = caught
    _log.warning("source_did_not_answer", source=source.name, reason=reason_of(source, error))
    return [], source.shown


def entry_identity(entry: JsonObject) -> tuple[str, str] | None:
    """By what two entries are the same one: the step's ID within its study; without a step ID, each is one of its own."""
    steps = "\\".join(text_of(step, _STEP_ID) for step in _steps(entry))
    return (text_of(entry, _STUDY_UID), steps) if steps else None


def _steps(entry: JsonObject) -> list[JsonObject]:
    values = entry.get(f"{_STEPS:08X}", {}).get("Value", [])
    return [item for item in values if isinstance(item, dict)]
