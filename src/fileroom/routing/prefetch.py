"""Priors before anybody asks: on an arrival, on an order or on a timer they are chosen, fetched and pushed on.

    arrivals (studies above a mark), order_arrived()  ->  prefetch_occasion  ->  rules  ->  fetch_job  ->  deliveries

Everything stands in rows: a worker that is killed loses nothing, and an occasion that is worked off twice orders nothing
twice. What was fetched is no occasion, and is never pushed to where it came from, so two archives that prefetch from each
other come to rest.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from psycopg.rows import class_row
from pydicom.dataset import Dataset

from fileroom.admin.entries import read_entries
from fileroom.archive import query as archive_query
from fileroom.archive.examine import Claim
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError, InvalidRequestError, NotFoundError, told
from fileroom.dicom import uids
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.json_model import encode_dataset
from fileroom.dicom.query import Key, Level, Page, Query, SingleValue
from fileroom.index.attributes import BY_KEYWORD
from fileroom.index.known_studies import instances_here
from fileroom.routing.conditions import compile_condition
from fileroom.routing.deliveries import order_delivery
from fileroom.routing.destinations import DESTINATIONS
from fileroom.routing.fetch import RECEIVED_BY, Known, insert_fetch
from fileroom.routing.operands import Facts
from fileroom.routing.prefetch_rules import PrefetchRule, read_prefetch_rules
from fileroom.routing.relevance import Prior, Subject, choose
from fileroom.routing.source_calls import ask_source, reason_of, text_of
from fileroom.routing.sources import Source, read_sources
from fileroom.tasks.loop import retry_delay

PRIORS_MAX: Final = 500
"""Studies of one patient that are weighed."""
ATTEMPTS_MAX: Final = 8
"""Of one occasion, while sources do not answer: about four hours."""
OCCASIONS_KEPT_DAYS: Final = 30
TIMER_OCCASIONS_MAX: Final = 500
"""Worked off at one turn of a timer; the rest at the next."""
_SETTLED_S: Final = 120
"""A study's number is given before its row can be seen; no commit takes so long."""
_CLAIM_S: Final = 300
_OUTCOME_CHARS_MAX: Final = 500
_ARRIVALS: Final = "arrivals"
_RETURNED: Final = tuple(
    BY_KEYWORD[word].tag
    for word in (
        *("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "StudyDate", "StudyDescription"),
        *("ModalitiesInStudy", "NumberOfStudyRelatedInstances"),
    )
)
_BODY_PART: Final = 0x00180015

_log: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Occasion:
    """Something that may be a reason to prefetch."""

    id: int
    kind: str
    patient_id: str
    issuer: str
    study_instance_uid: str
    modality: str
    body_part: str
    description: str
    scheduled_for: dt.datetime | None
    attempts: int
    created_at: dt.datetime

    @property
    def subject(self) -> Subject:
        """What priors are compared with."""
        date = (self.scheduled_for or self.created_at).strftime("%Y%m%d")
        return Subject(self.study_instance_uid, self.modality, self.body_part, self.description, date)


# --- what may be a reason ---


async def order_arrived(
    archive: Archive,
    *,
    order: str,
    patient_id: str,
    issuer: str = "",
    modality: str = "",
    body_part: str = "",
    description: str = "",
    scheduled_for: dt.datetime | None = None,
) -> bool:
    """An order has come; `order` names it, so that it counts once. False: it was known.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    if not patient_id or not order:
        raise InvalidRequestError(told("An order needs a name and a patient to prefetch for."))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""INSERT INTO prefetch_occasion (kind, key, patient_id, issuer, modality, body_part, description, scheduled_for)
                VALUES ('order', %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (kind, key) DO NOTHING RETURNING id""",
            (order, patient_id, issuer, modality, body_part, description, scheduled_for),
        )
        return await cursor.fetchone() is not None


async def note_arrivals(archive: Archive) -> int:
    """Make occasions of the studies that began to arrive; what was fetched is none. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    has_rules = bool(await read_prefetch_rules(archive))
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"""INSERT INTO prefetch_mark (name, reached) SELECT %s, coalesce(max(id), 0) FROM study
                ON CONFLICT (name) DO NOTHING""",
            (_ARRIVALS,),
        )
        cursor = await connection.execute(b"SELECT reached FROM prefetch_mark WHERE name = %s FOR UPDATE", (_ARRIVALS,))
        row = await cursor.fetchone()
        reached = int(row[0]) if row else 0
        if has_rules:
            await connection.execute(_NOTE, (reached, RECEIVED_BY))
        await connection.execute(
            b"""UPDATE prefetch_mark SET reached_at = now(), reached = greatest(reached, (SELECT max(id) FROM study
                WHERE id > %s AND received_at < now() - make_interval(secs => %s))) WHERE name = %s""",
            (reached, _SETTLED_S, _ARRIVALS),
        )
    return 0


_NOTE: Final = b"""
INSERT INTO prefetch_occasion (kind, key, patient_id, issuer, study_instance_uid, modality, body_part, description)
SELECT 'arrival', s.study_instance_uid, s.patient_id, coalesce(s.issuer_of_patient_id, ''), s.study_instance_uid,
       coalesce(e.modality, ''), coalesce(e.body_part_examined, ''), coalesce(s.study_description, '')
FROM study s JOIN LATERAL (SELECT * FROM series WHERE study = s.id ORDER BY id LIMIT 1) e ON true
WHERE s.id > %s AND s.patient_id <> '' AND s.study_instance_uid IS NOT NULL
  AND NOT EXISTS (SELECT FROM instance i WHERE i.series = e.id AND i.received_by = %s)
  AND NOT EXISTS (SELECT FROM fetch_job f WHERE f.study_instance_uid = s.study_instance_uid)
ON CONFLICT (kind, key) DO NOTHING"""


# --- working it off, in the task worker ---


async def prefetch_due(archive: Archive, stop: asyncio.Event) -> int:
    """Work off one occasion by the rules for its kind; returns 1, or 0 when none is due. Raises DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    occasion = None if stop.is_set() else await _claim(archive)
    if occasion is None:
        return 0
    outcomes, failed = [], False
    for rule in await read_prefetch_rules(archive):
        if rule.on == occasion.kind:
            outcome, complete = await _apply(archive, rule, occasion)
            failed = failed or not complete
            outcomes.append(f"{rule.name}: {outcome}")
    again = failed and occasion.attempts < ATTEMPTS_MAX
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""UPDATE prefetch_occasion SET state = %s, outcome = %s, due_at = now() + make_interval(secs => %s)
                WHERE id = %s""",
            (
                "waiting" if again else "done",
                "; ".join(outcomes)[:_OUTCOME_CHARS_MAX],
                retry_delay(occasion.attempts) if again else 0,
                occasion.id,
            ),
        )
    return 1


async def prefetch_by_timer(archive: Archive) -> int:
    """Let the rules with a timer work off what has come since their last turn. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    for rule in await read_prefetch_rules(archive):
        if rule.on == "timer":
            await _take_turn(archive, rule)
    return 0


async def push_fetched(archive: Archive) -> int:
    """Order the deliveries of what has been fetched and shall be read elsewhere. Returns how many studies were pushed."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT id, study_instance_uid, push_to, rule FROM fetch_job
                WHERE state = 'done' AND push_to <> '{}' AND due_at <= now() ORDER BY due_at LIMIT 20"""
        )
        rows = await cursor.fetchall()
    for number, study_uid, push_to, rule in rows:
        later = await _push(archive, study_uid, push_to, rule)
        async with archive.pool.connection() as connection:
            await connection.execute(
                b"""UPDATE fetch_job SET push_to = %s, due_at = now() + interval '1 minute' WHERE id = %s""",
                (later, number),
            )
    return len(rows)


async def forget_old_occasions(archive: Archive) -> int:
    """Remove occasions of long ago. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"DELETE FROM prefetch_occasion WHERE created_at < now() - make_interval(days => %s)",
            (OCCASIONS_KEPT_DAYS,),
        )
    return 0


# --- one occasion ---


async def _apply(archive: Archive, rule: PrefetchRule, occasion: Occasion) -> tuple[str, bool]:
    """What came of a rule, and whether all sources have answered."""
    if not _fits(archive, rule, occasion):
        return "its condition does not hold", True
    sources = await read_sources(archive, lambda one: one.prefetch and (not rule.sources or one.name in rule.sources))
    results = await asyncio.gather(*(_priors_at(archive, source, occasion) for source in sources))
    here = await _priors_here(archive, occasion)
    known = {prior.study_uid: prior for found, _ in results for prior in found} | {one.study_uid: one for one in here}
    problems = [problem for _, problem in results if problem]
    chosen = choose(known.values(), occasion.subject, rule.measure)
    ordered = 0
    for prior in chosen:
        ordered += await _order(archive, rule, prior)
    words = f"{len(chosen)} of {len(known)} priors chosen, {ordered} ordered"
    return f"{words}; {'; '.join(problems)}" if problems else words, not problems


async def _order(archive: Archive, rule: PrefetchRule, prior: Prior) -> bool:
    is_here = not prior.source or bool(await instances_here(archive.pool, prior.study_uid))
    if (is_here and not rule.push_to) or await _was_ordered(archive, rule, prior.study_uid):
        return False
    return await insert_fetch(
        archive,
        prior.study_uid,
        Known(prior.source, prior.instances),
        reason="prefetch",
        asked_by=f"prefetch rule {rule.name}",
        rule=rule.name,
        push_to=rule.push_to,
        is_here=is_here,
    )


async def _was_ordered(archive: Archive, rule: PrefetchRule, study_uid: str) -> bool:
    """By the same rule within a day: another image of the same patient is no reason to do it again."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT FROM fetch_job WHERE study_instance_uid = %s AND rule = %s AND state IN ('waiting', 'running', 'done')
                AND requested_at > now() - interval '1 day' LIMIT 1""",
            (study_uid, rule.name),
        )
        return await cursor.fetchone() is not None


def _fits(archive: Archive, rule: PrefetchRule, occasion: Occasion) -> bool:
    """Whether the condition holds, of what is known of the occasion as if it were an object's header."""
    if not rule.when:
        return True
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.PatientID, header.IssuerOfPatientID = occasion.patient_id, occasion.issuer
    header.Modality, header.BodyPartExamined = occasion.modality, occasion.body_part
    header.StudyDescription, header.StudyInstanceUID = occasion.description, occasion.study_instance_uid
    condition = compile_condition(rule.when)
    scanned = scan_header(encode_dataset(header), uids.EXPLICIT_VR_LITTLE_ENDIAN, condition.tags, complete=True)
    claim = Claim("", "", uids.EXPLICIT_VR_LITTLE_ENDIAN, occasion.kind)
    try:
        return condition.holds(Facts(scanned, claim, "", archive.now()))
    except Exception as error:  # noqa: BLE001 - a condition of people; CEL raises what it likes
        _log.warning("condition_failed", rule=rule.name, error_type=type(error).__name__)
        return False


def _patient_query(occasion: Occasion) -> Query:
    patient_id = BY_KEYWORD["PatientID"]
    return Query(
        Level.STUDY,
        keys=(Key(patient_id.tag, patient_id.vr, SingleValue(occasion.patient_id)),),
        return_tags=tuple((tag,) for tag in (*_RETURNED, _BODY_PART)),
        page=Page(PRIORS_MAX),
    )


async def _priors_at(archive: Archive, source: Source, occasion: Occasion) -> tuple[list[Prior], str]:
    try:
        found = await ask_source(archive, source, _patient_query(occasion))
    except FileroomError as error:
        return [], reason_of(source, error)
    priors = []
    for match in found:
        values = {word: text_of(match, BY_KEYWORD[word].tag) for word in _WORDS}
        issuer = values["IssuerOfPatientID"]
        if values["PatientID"] != occasion.patient_id or (issuer and occasion.issuer and issuer != occasion.issuer):
            continue  # the same number, given by somebody else
        priors.append(_prior(values, text_of(match, _BODY_PART), source.name))
    return priors, ""


async def _priors_here(archive: Archive, occasion: Occasion) -> list[Prior]:
    priors = []
    async with aclosing(archive_query.search(archive, _patient_query(occasion))) as answers:
        async for found in answers:
            values = {word: _text(found.values.get(BY_KEYWORD[word].tag)) for word in _WORDS}
            values["StudyInstanceUID"] = found.study_instance_uid or ""
            issuer = values["IssuerOfPatientID"]
            if not (issuer and occasion.issuer and issuer != occasion.issuer):
                priors.append(_prior(values, "", ""))
    return priors


_WORDS: Final = (
    *("PatientID", "IssuerOfPatientID", "StudyInstanceUID", "StudyDate", "StudyDescription"),
    *("ModalitiesInStudy", "NumberOfStudyRelatedInstances"),
)


def _prior(values: dict[str, str], body_part: str, source: str) -> Prior:
    instances = values["NumberOfStudyRelatedInstances"]
    return Prior(
        values["StudyInstanceUID"],
        values["StudyDate"],
        tuple(filter(None, values["ModalitiesInStudy"].split("\\"))),
        body_part,
        values["StudyDescription"],
        source,
        int(instances) if instances.isascii() and instances.isdigit() and len(instances) < 8 else 0,
    )


def _text(value: Any) -> str:
    return "\\".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


# --- pushing on ---


async def _push(archive: Archive, study_uid: str, push_to: Sequence[str], rule: str) -> list[str]:
    """Order the deliveries; what could not be ordered and may be later."""
    destinations = {one.name: one.fields for one in await read_entries(archive.pool, DESTINATIONS) if one.enabled}
    origins = await _origins(archive, study_uid)
    later: list[str] = []
    for name in push_to:
        if name not in destinations or any(leads_to(destinations, name, origin) for origin in origins):
            _log.info("not_pushed", destination=name, rule=rule)
            continue
        try:
            await order_delivery(archive, [study_uid], name, f"prefetch rule {rule}")
        except NotFoundError:
            continue  # the study was deleted meanwhile
        except FileroomError as error:
            _log.warning("push_waits", destination=name, reason=str(error))
            later.append(name)
    return later


async def _origins(archive: Archive, study_uid: str) -> list[Source]:
    """The sources that a study was fetched from."""
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT DISTINCT source FROM fetch_job WHERE study_instance_uid = %s AND objects > 0", (study_uid,)
        )
        names = {row[0] for row in await cursor.fetchall()}
    return await read_sources(archive, lambda one: one.name in names)


def leads_to(destinations: dict[str, dict[str, Any]], name: str, source: Source) -> bool:
    """Whether a destination leads to where a source is: the same node, or the same server; of a pool, any of its members."""
    target = destinations.get(name, {}).get("target", {})
    if source.node and target.get("node") == source.node:
        return True
    server = urlsplit(source.dicomweb).netloc if source.dicomweb else ""
    if server and any(isinstance(one, str) and urlsplit(one).netloc == server for one in target.values()):
        return True
    members = [one.get("destination", "") for one in target.get("members", []) if isinstance(one, dict)]
    return any(member != name and leads_to(destinations, member, source) for member in members)


# --- rows ---

_COLUMNS: Final = b"""id, kind, patient_id, issuer, study_instance_uid, modality, body_part, description, scheduled_for,
    attempts, created_at"""


async def _claim(archive: Archive) -> Occasion | None:
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(Occasion)) as cursor:
        await cursor.execute(
            b"""UPDATE prefetch_occasion SET attempts = attempts + 1, due_at = now() + make_interval(secs => %s)
                WHERE id = (SELECT id FROM prefetch_occasion WHERE state = 'waiting' AND due_at <= now()
                  ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING """
            + _COLUMNS,
            (_CLAIM_S,),
        )
        return await cursor.fetchone()


async def _take_turn(archive: Archive, rule: PrefetchRule) -> None:
    mark = f"timer:{rule.name}"
    async with archive.pool.connection() as connection, connection.cursor(row_factory=class_row(Occasion)) as cursor:
        await connection.execute(
            b"""INSERT INTO prefetch_mark (name, reached, reached_at) SELECT %s, coalesce(max(id), 0), now()
                FROM prefetch_occasion ON CONFLICT (name) DO NOTHING""",
            (mark,),
        )
        await cursor.execute(
            b"SELECT "
            + _COLUMNS
            + b""" FROM prefetch_occasion WHERE id > (SELECT reached FROM prefetch_mark WHERE name = %s
                AND reached_at <= now() - make_interval(mins => %s)) ORDER BY id LIMIT %s""",
            (mark, rule.every_minutes, TIMER_OCCASIONS_MAX),
        )
        occasions = await cursor.fetchall()
    for occasion in occasions:
        await _apply(archive, rule, occasion)
        async with archive.pool.connection() as connection:
            await connection.execute(b"UPDATE prefetch_mark SET reached = %s WHERE name = %s", (occasion.id, mark))
    if occasions:
        async with archive.pool.connection() as connection:
            await connection.execute(b"UPDATE prefetch_mark SET reached_at = now() WHERE name = %s", (mark,))
