"""How long it takes from the order to the signed report, and which studies wait for theirs.

    ordered ─▶ arrived ─▶ performed ─▶ images complete ─▶ preliminary ─▶ final ─▶ critical finding acknowledged

Medians and 90th percentiles of the ways between these are told of the studies that came in a window of days, by modality,
priority, day and hour. What is not known of a study (no order, no preliminary report) counts in no figure. Everything is
computed when it is asked for, from the rows themselves: nothing can fall behind.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError, InvalidRequestError, told
from fileroom.index.conditions import Condition
from fileroom.index.visibility import Visibility, study_is_visible, visibility_of
from fileroom.reports.targets import PRIORITIES, ROUTINE, read_targets
from fileroom.worklist.worklist_views import hospital_time

DAYS: Final = (1, 7, 30, 90, 365)
WAITING_MAX: Final = 500
NOT_REPORTED: Final = (
    *("SR", "KO", "PR", "DOC", "AU", "REG", "RWV", "SEG", "FID", "PLAN"),
    *("RTDOSE", "RTPLAN", "RTSTRUCT", "RTRECORD", "RTIMAGE"),
)
"""Modalities of objects about images: a study of these alone waits for no report."""

STAGES: Final[Mapping[str, tuple[str, str]]] = {
    "ordered_arrived": ("ordered_at", "arrived_at"),
    "arrived_performed": ("arrived_at", "performed_at"),
    "performed_images": ("performed_at", "images_at"),
    "images_preliminary": ("images_at", "preliminary_at"),
    "preliminary_final": ("preliminary_at", "final_at"),
    "images_final": ("images_at", "final_at"),
    "final_acknowledged": ("final_at", "acknowledged_at"),
    "ordered_final": ("ordered_at", "final_at"),
}
"""The ways that are measured: from, to."""
GROUPS: Final = ("all", "modality", "priority", "day", "hour")


@dataclass(frozen=True, slots=True)
class BoardFilter:
    """Which studies: those that came within `days`, of a modality, of a priority; empty: all."""

    days: int = 7
    modality: str = ""
    priority: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How long it took, in minutes, over `number` studies."""

    number: int
    median: float
    percentile_90: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of the studies of one group: `key` is a modality, a priority, a day (YYYYMMDD) or an hour (00 to 23)."""

    group: str
    key: str
    studies: int
    reported: int
    in_time: int
    """Of those reported, within the target of their priority."""
    ways: Mapping[str, Way] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WaitingStudy:
    """A study without a signed report. `state`: of the report that is begun; empty: none."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    description: str
    modality: str
    priority: str
    images_at: dt.datetime
    due_at: dt.datetime
    state: str
    report: int | None
    report_by: str
    order: int | None

    def minutes_left(self, now: dt.datetime) -> float:
        """Until its target; below 0: it is late."""
        return (self.due_at - now).total_seconds() / 60


@dataclass(frozen=True, slots=True)
class Board:
    """Everything of the board. `waiting` are the most pressing ones of `waiting_number`."""

    figures: tuple[Figures, ...]
    waiting: tuple[WaitingStudy, ...]
    waiting_number: int
    late_number: int
    targets: Mapping[str, int]
    at: dt.datetime

    def of(self, group: str) -> list[Figures]:
        """The figures of a group, in their order."""
        return [one for one in self.figures if one.group == group]


async def report_board(archive: Archive, wanted: BoardFilter | None = None, *, waiting: int = 100) -> Board:
    """Figures, and the most pressing of the studies that wait. Raises InvalidRequestError, NotAllowedError, DatabaseError."""
    access = require(Permission.STUDY_VIEW)
    wanted = _checked(wanted or BoardFilter())
    visibility = visibility_of(access)
    targets = await read_targets(archive.pool)
    now = archive.now()
    figures, (rows, number, late) = await asyncio.gather(
        _figures(archive, wanted, visibility, targets),
        _waiting(archive, wanted, visibility, targets, min(waiting, WAITING_MAX)),
    )
    return Board(tuple(figures), tuple(rows), number, late, targets, now)


async def list_waiting(archive: Archive, wanted: BoardFilter | None = None, *, limit: int = 100) -> list[WaitingStudy]:
    """Studies that wait for a signed report, those that are due first.

    Raises InvalidRequestError, NotAllowedError, DatabaseError.
    """
    visibility = visibility_of(require(Permission.STUDY_VIEW))
    targets = await read_targets(archive.pool)
    checked = _checked(wanted or BoardFilter())
    return (await _waiting(archive, checked, visibility, targets, min(limit, WAITING_MAX)))[0]


# --- helpers ---


def _checked(wanted: BoardFilter) -> BoardFilter:
    if wanted.days not in DAYS:
        known = ", ".join(map(str, DAYS))
        raise InvalidRequestError(told("The board tells of these numbers of days: {known}.", known=known))
    if wanted.priority and wanted.priority not in PRIORITIES:
        known = ", ".join(PRIORITIES)
        raise InvalidRequestError(
            told("{name} is no priority. There are: {known}.", name=wanted.priority[:40], known=known)
        )
    return wanted


def _seen(wanted: BoardFilter, visibility: Visibility, now: dt.datetime) -> Condition:
    """The studies: common table expressions `seen` and `came`, each study with its order and its last image."""
    conditions = [
        Condition("s.received_at >= %s", (now - dt.timedelta(days=wanted.days),)),
        study_is_visible(visibility),
    ]
    if wanted.modality:
        conditions.append(Condition("s.modalities @> ARRAY[%s]", (wanted.modality,)))
    where = Condition.all_of(conditions)
    priority = (
        Condition("WHERE coalesce(o.priority, %s) = %s", (ROUTINE, wanted.priority)) if wanted.priority else Condition()
    )
    text = f"""
        WITH seen AS MATERIALIZED (
            SELECT s.id, s.study_instance_uid AS uid,
                (SELECT m FROM unnest(s.modalities) WITH ORDINALITY AS u (m, n) WHERE m <> ALL(%s) ORDER BY n LIMIT 1)
                    AS modality
            FROM study s WHERE {where.text}),
        images AS (
            SELECT e.study, max(e.changed_at) AS images_at FROM series e
            WHERE e.study IN (SELECT id FROM seen) AND e.instance_count > 0 AND e.modality <> ALL(%s) GROUP BY e.study),
        came AS MATERIALIZED (
            SELECT seen.id, seen.uid, seen.modality, images.images_at, o.id AS order_id, o.ordered_at,
                coalesce(nullif(o.priority, ''), %s) AS priority
            FROM seen JOIN images ON images.study = seen.id
            LEFT JOIN study_match m ON m.study_instance_uid = seen.uid AND m.undone_at IS NULL
            LEFT JOIN imaging_order o ON o.id = m.imaging_order
            {priority.text})"""
    none = list(NOT_REPORTED)
    return Condition(text, (none, *where.parameters, none, ROUTINE, *priority.parameters))


async def _figures(
    archive: Archive, wanted: BoardFilter, visibility: Visibility, targets: Mapping[str, int]
) -> list[Figures]:
    seen = _seen(wanted, visibility, archive.now())
    zone: object = archive.settings.routing_zone or hospital_time(archive).utcoffset()
    ways = ", ".join(f"extract(epoch FROM {end} - {begin}) / 60 AS {name}" for name, (begin, end) in STAGES.items())
    shares = ", ".join(
        f"count({name}), percentile_cont(ARRAY[0.5, 0.9]) WITHIN GROUP (ORDER BY {name}) FILTER (WHERE {name} >= 0)"
        for name in STAGES
    )
    statement = f"""{seen.text},
        told AS (
            SELECT r.study_instance_uid AS uid, min(r.finished_at) AS final_at,
                min((SELECT min(v.made_at) FROM report_version v WHERE v.report = r.id AND v.state = 'preliminary'))
                    AS preliminary_at,
                max(CASE WHEN r.is_critical THEN (SELECT max(c.acknowledged_at) FROM critical_result c WHERE c.report = r.id)
                    END) AS acknowledged_at
            FROM report r WHERE r.study_instance_uid IN (SELECT uid FROM came) AND r.state <> 'cancelled'
            GROUP BY r.study_instance_uid),
        moments AS (
            SELECT came.*, told.final_at, told.preliminary_at, told.acknowledged_at,
                (SELECT a.at FROM order_moment a WHERE a.imaging_order = came.order_id AND a.state = 'arrived') AS arrived_at,
                coalesce((SELECT max(p.ended_at) FROM performed_step p WHERE p.imaging_order = came.order_id),
                    (SELECT a.at FROM order_moment a WHERE a.imaging_order = came.order_id AND a.state = 'completed'))
                    AS performed_at
            FROM came LEFT JOIN told ON told.uid = came.uid),
        measured AS MATERIALIZED (
            SELECT coalesce(modality, '') AS modality, priority, to_char(images_at AT TIME ZONE %s, 'YYYYMMDD') AS day,
                to_char(images_at AT TIME ZONE %s, 'HH24') AS hour, {ways},
                final_at <= images_at + make_interval(mins => aim.minutes) AS is_in_time
            FROM moments LEFT JOIN unnest(%s::text[], %s::integer[]) AS aim (name, minutes) ON aim.name = priority)
        SELECT CASE grouping(modality, priority, day, hour) WHEN 15 THEN 'all' WHEN 7 THEN 'modality' WHEN 11 THEN 'priority'
                WHEN 13 THEN 'day' ELSE 'hour' END, coalesce(modality, priority, day, hour, ''), count(*),
            count(images_final), count(*) FILTER (WHERE is_in_time), {shares}
        FROM measured GROUP BY GROUPING SETS ((), (modality), (priority), (day), (hour)) ORDER BY 1, 2"""
    parameters = [*seen.parameters, zone, zone, list(targets), list(targets.values())]
    found = []
    for row in await _rows(archive, statement, parameters):
        numbers = {name: (row[5 + 2 * place], row[6 + 2 * place]) for place, name in enumerate(STAGES)}
        taken = {
            name: Way(n, *map(float, shares))
            for name, (n, shares) in numbers.items()
            if n and shares and shares[0] is not None
        }
        found.append(Figures(row[0], row[1], row[2], row[3], row[4], taken))
    return found


async def _waiting(
    archive: Archive, wanted: BoardFilter, visibility: Visibility, targets: Mapping[str, int], limit: int
) -> tuple[list[WaitingStudy], int, int]:
    """The most pressing ones, how many there are, and how many are late."""
    now = archive.now()
    seen = _seen(wanted, visibility, now)
    statement = f"""{seen.text},
        open AS MATERIALIZED (
            SELECT came.*, came.images_at + make_interval(mins => aim.minutes) AS due_at
            FROM came LEFT JOIN unnest(%s::text[], %s::integer[]) AS aim (name, minutes) ON aim.name = came.priority
            WHERE came.images_at <= %s
                AND NOT EXISTS (SELECT FROM report r WHERE r.study_instance_uid = came.uid AND r.study_instance_uid <> ''
                    AND r.state IN ('final', 'corrected'))
                AND NOT EXISTS (SELECT FROM reconciliation_note n WHERE n.kind = 'images_without_report'
                    AND n.subject = came.uid AND n.undone_at IS NULL)),
        first AS (SELECT * FROM open ORDER BY due_at, id LIMIT %s),
        sums AS (SELECT count(*) AS number, count(*) FILTER (WHERE due_at < %s) AS late FROM open)
        SELECT first.uid, coalesce(s.patient_id, ''), coalesce(s.patient_name, ''), coalesce(s.accession_number, ''),
            coalesce(s.study_date, ''), coalesce(s.study_description, ''), coalesce(first.modality, ''), first.priority,
            first.images_at, first.due_at, coalesce(r.state, ''), r.id, coalesce(r.changed_by, ''), first.order_id,
            sums.number, sums.late
        FROM sums LEFT JOIN first ON true LEFT JOIN study s ON s.id = first.id
        LEFT JOIN LATERAL (SELECT id, state, changed_by FROM report r WHERE r.study_instance_uid = first.uid
            AND r.study_instance_uid <> '' AND r.state IN ('draft', 'preliminary') ORDER BY r.id DESC LIMIT 1) r ON true
        ORDER BY first.due_at, first.id"""
    quiet = now - dt.timedelta(seconds=float(archive.settings.routing_stable_s))
    parameters = [*seen.parameters, list(targets), list(targets.values()), quiet, limit, now]
    rows = await _rows(archive, statement, parameters)
    found = [WaitingStudy(*row[:14]) for row in rows if row[0] is not None]
    return found, (int(rows[0][14]) if rows else 0), (int(rows[0][15]) if rows else 0)


async def _rows(archive: Archive, statement: str, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise DatabaseError(f"The board cannot be read: {type(error).__name__}. Try again later.") from error
