"""The history of a study: who sent it and when, every association that carried it, every view, export and change.

It is put together from the index, the corrections, the association ledger and the audit trail, the latest first, page by
page. Each part is given to whoever may read it; for the others it is said that it is hidden.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
from psycopg.rows import dict_row

from fileroom.admin.audit_events import audit_log_used
from fileroom.admin.audit_message import Action, EventCode
from fileroom.admin.audit_names import Names, names_for
from fileroom.admin.audit_search import AuditRecord, record_of
from fileroom.archive.correct import CorrectionRecord, list_corrections
from fileroom.archive.services import Archive
from fileroom.archive.study_contents import get_study
from fileroom.archive.study_list import ListedStudy
from fileroom.core.access import Permission, current_access, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, told

PAGE_ENTRIES_MAX: Final = 200
_KEPT: Final = "o.status = 0 OR o.status BETWEEN 45056 AND 49151"
"""Success, and the warnings of C-STORE, Bxxx (PS3.4 B.2.3)."""


class Source(enum.IntEnum):
    """Where an entry comes from; of two at the same moment the greater one counts as later."""

    ARRIVAL = 1
    CORRECTION = 2
    REVOCATION = 3
    ASSOCIATION = 4
    EVENT = 5


@dataclass(frozen=True, slots=True, order=True)
class HistoryPlace:
    """Where an entry stands; the next page goes on before it."""

    at: dt.datetime
    source: Source
    number: int

    def __str__(self) -> str:
        return f"{self.at.astimezone(dt.UTC):%Y%m%dT%H%M%S.%f}-{self.source.value}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The place that `str` gave. Raises InvalidRequestError."""
        try:
            moment, source, number = text.split("-")
            at = dt.datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=dt.UTC)
            if not 0 <= int(number) < 1 << 63:
                raise ValueError(text)
            return cls(at, Source(int(source)), int(number))
        except (ValueError, OverflowError) as error:
            raise InvalidRequestError(
                told("This page of the history does not exist; begin at the newest one.")
            ) from error


@dataclass(frozen=True, slots=True)
class CarriedBy:
    """What one association did with objects of the study: `by_us` those that Fileroom sent."""

    association: int
    began_at: dt.datetime
    peer: str
    host: str
    purpose: str
    by_us: bool
    objects: int
    failures: int


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One thing that happened; of the values behind `source` one is there."""

    place: HistoryPlace
    study: ListedStudy | None = None
    correction: CorrectionRecord | None = None
    carried: CarriedBy | None = None
    event: AuditRecord | None = None


@dataclass(frozen=True, slots=True)
class StudyHistory:
    """A page of it. `next_place` is None on the last one; what may not be seen is named by the permission it needs."""

    study: ListedStudy
    entries: tuple[HistoryEntry, ...]
    next_place: HistoryPlace | None
    names: Names
    hidden: frozenset[Permission]


async def study_history(
    archive: Archive, study_uid: str, *, before: HistoryPlace | None = None, limit: int = 50
) -> StudyHistory:
    """A page of the history of a study that may be seen. Raises NotFoundError, NotAllowedError, DatabaseError."""
    require(Permission.STUDY_SEARCH)
    study = await get_study(archive, study_uid)
    access = current_access()
    limit = min(limit, PAGE_ENTRIES_MAX)
    entries = _arrival(study)
    if access.allows(Permission.STUDY_VIEW):
        entries += _corrections(await list_corrections(archive, study_uid, revoked_too=True))
    if access.allows(Permission.LEDGER_READ):
        entries += await _associations(archive, study_uid, before, limit + 1)
    if access.allows(Permission.AUDIT_READ):
        _note_reading(archive, study_uid)
        entries += await _events(archive, study_uid, before, limit + 1)
    found = sorted(
        (entry for entry in entries if before is None or entry.place < before),
        key=lambda entry: entry.place,
        reverse=True,
    )
    shown = tuple(found[:limit])
    asked = (Permission.STUDY_VIEW, Permission.LEDGER_READ, Permission.AUDIT_READ)
    names = Names()
    if access.allows(Permission.AUDIT_READ):
        names = await names_for(archive.pool, (entry.event for entry in shown if entry.event is not None))
    return StudyHistory(
        study=study,
        entries=shown,
        next_place=shown[-1].place if len(found) > limit else None,
        names=names,
        hidden=frozenset(one for one in asked if not access.allows(one)),
    )


def _arrival(study: ListedStudy) -> list[HistoryEntry]:
    return [HistoryEntry(HistoryPlace(study.state.received_at, Source.ARRIVAL, 0), study=study)]


def _corrections(corrections: Iterable[CorrectionRecord]) -> list[HistoryEntry]:
    entries = []
    for one in corrections:
        entries.append(HistoryEntry(HistoryPlace(one.made_at, Source.CORRECTION, one.id), correction=one))
        if one.revoked_at is not None:
            place = HistoryPlace(one.revoked_at, Source.REVOCATION, one.id)
            entries.append(HistoryEntry(place, correction=one))
    return entries


def _note_reading(archive: Archive, study_uid: str) -> None:
    """Reading the trail is an event; of one page and its reloads, one."""
    access, now = current_access(), asyncio.get_running_loop().time()
    if archive.audit.is_new_view(access.kind, access.name, access.address, study_uid, "history", now=now):
        archive.audit.note(audit_log_used(f"history of study={study_uid}"))


async def _associations(
    archive: Archive, study_uid: str, before: HistoryPlace | None, limit: int
) -> list[HistoryEntry]:
    condition, values = _before(before, Source.ASSOCIATION, "o.association_began_at", "o.association")
    statement = f"""
        SELECT a.id AS association, a.began_at, a.peer_host AS host, a.purpose,
            CASE a.direction WHEN 'in' THEN a.calling_aet ELSE a.called_aet END AS peer,
            c.by_us, c.objects, c.failures
        FROM (SELECT o.association, o.association_began_at, bool_or(o.by_us) AS by_us,
                  sum(o.count) FILTER (WHERE {_KEPT})::bigint AS objects,
                  sum(o.count) FILTER (WHERE ({_KEPT}) IS NOT TRUE)::bigint AS failures
              FROM association_operation o WHERE o.study_instance_uid = %s AND {condition}
              GROUP BY o.association, o.association_began_at
              ORDER BY o.association_began_at DESC, o.association DESC LIMIT %s) c
        JOIN association a ON a.id = c.association AND a.began_at = c.association_began_at"""  # noqa: S608 - our own words
    return [
        HistoryEntry(
            HistoryPlace(row["began_at"], Source.ASSOCIATION, row["association"]),
            carried=CarriedBy(**(row | {"objects": row["objects"] or 0, "failures": row["failures"] or 0})),
        )
        for row in await _fetch(archive, statement, [study_uid, *values, limit])
    ]


async def _events(archive: Archive, study_uid: str, before: HistoryPlace | None, limit: int) -> list[HistoryEntry]:
    """Events about the study but what the other parts tell: corrections, and that a transfer begins; and searches."""
    condition, values = _before(before, Source.EVENT, "occurred_at", "id")
    statement = f"""SELECT * FROM audit_event WHERE study_uids @> ARRAY[%s] AND {condition}
        AND event <> ALL(%s) AND NOT (event = %s AND action = %s)
        ORDER BY occurred_at DESC, id DESC LIMIT %s"""  # noqa: S608 - our own words
    told_elsewhere = [EventCode.BEGIN_TRANSFERRING.value, EventCode.QUERY.value]
    corrected = [EventCode.INSTANCES_ACCESSED.value, Action.UPDATE.value]
    rows = await _fetch(archive, statement, [study_uid, *values, told_elsewhere, *corrected, limit])
    records = [record_of(row) for row in rows]
    return [HistoryEntry(HistoryPlace(one.occurred_at, Source.EVENT, one.id), event=one) for one in records]


def _before(before: HistoryPlace | None, source: Source, at: str, number: str) -> tuple[str, list[Any]]:
    if before is None:
        return "true", []
    if source == before.source:
        return f"({at}, {number}) < (%s, %s)", [before.at, before.number]
    return (f"{at} <= %s" if source < before.source else f"{at} < %s"), [before.at]


async def _fetch(archive: Archive, statement: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement.encode(), values)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(
            told("The history could not be read ({kind}). Try again later; see /readyz.", kind=type(error).__name__)
        ) from error
