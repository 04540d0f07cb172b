"""What the study list shows beside the attributes: how far a study has come in, from whom, and what does not fit.

Everything is asked for the few studies of a page, by their rows; who may see those was decided before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from fileroom.core.errors import DatabaseError
from fileroom.db.pool import Pool
from fileroom.index.visibility import Visibility, study_is_visible

SERIES_DRAWN_MAX: Final = 24
"""Series whose sizes are given for drawing; more could not be told apart in a table's cell."""
ARRIVING_MAX: Final = 500
"""Studies that are looked at each second for being in motion. Fifty busy modalities send to fifty at once."""


@dataclass(frozen=True, slots=True)
class StudyState:
    """How a study is. `series_sizes` are instances of its first series in the order in which they came."""

    row_id: int
    series: int
    instances: int
    series_sizes: list[int]
    stations: list[str]
    institutions: list[str]
    sender: str
    received_by: str
    received_at: dt.datetime
    changed_at: dt.datetime | None
    quiet_s: float | None
    exceptions: int


@dataclass(frozen=True, slots=True)
class StudyInMotion:
    """A study that has changed lately: its row, its UID, how many instances it has, and for how long it is quiet."""

    row_id: int
    study_instance_uid: str
    instances: int
    quiet_s: float


_STATES: Final = f"""
SELECT s.id AS row_id, coalesce(e.series, 0) AS series, coalesce(e.instances, 0) AS instances,
    coalesce(e.sizes, '{{}}') AS series_sizes, coalesce(e.stations, '{{}}') AS stations,
    coalesce(e.institutions, '{{}}') AS institutions, coalesce(i.sender, '') AS sender,
    coalesce(i.received_by, '') AS received_by, s.received_at, e.changed_at,
    extract(epoch FROM now() - e.changed_at)::float AS quiet_s, coalesce(x.exceptions, 0) AS exceptions
FROM study s
LEFT JOIN LATERAL (
    SELECT count(*) AS series, sum(instance_count)::bigint AS instances, max(changed_at) AS changed_at,
        (array_agg(instance_count ORDER BY id))[1:{SERIES_DRAWN_MAX}] AS sizes,
        array_agg(DISTINCT station_name) FILTER (WHERE station_name IS NOT NULL) AS stations,
        array_agg(DISTINCT institution_name) FILTER (WHERE institution_name IS NOT NULL) AS institutions
    FROM series WHERE study = s.id
) e ON true
LEFT JOIN LATERAL (
    SELECT i.sender, i.received_by FROM series f JOIN instance i ON i.series = f.id WHERE f.study = s.id LIMIT 1
) i ON true
LEFT JOIN (
    SELECT study, sum(number)::bigint AS exceptions FROM (
        SELECT f.study, count(*) AS number
        FROM conflict c JOIN instance i ON i.sop_instance_uid = c.sop_instance_uid JOIN series f ON f.id = i.series
        WHERE f.study = ANY(%(rows)s) GROUP BY f.study
        UNION ALL
        SELECT t.id, count(*) FROM lost_object l JOIN study t ON t.study_instance_uid = l.study_instance_uid
        WHERE t.id = ANY(%(rows)s) GROUP BY t.id
    ) AS found GROUP BY study
) x ON x.study = s.id
WHERE s.id = ANY(%(rows)s)
"""


@dataclass(frozen=True, slots=True)
class SeriesSample:
    """One instance of a series, to know what kind of objects it has."""

    series_row_id: int
    sop_instance_uid: str
    sop_class_uid: str
    has_pixels: bool
    frames: int
    sender: str
    received_by: str
    received_at: dt.datetime


_SAMPLES: Final = """
SELECT e.id AS series_row_id, i.sop_instance_uid, i.sop_class_uid, i.rows IS NOT NULL AND i.columns IS NOT NULL AS has_pixels,
    greatest(coalesce(i.number_of_frames, 1), 1) AS frames, i.sender, i.received_by, i.received_at
FROM unnest(%s::bigint[]) AS e(id) CROSS JOIN LATERAL (SELECT * FROM instance WHERE series = e.id LIMIT 1) i
"""
_IN_MOTION: Final = """
SELECT s.id AS row_id, s.study_instance_uid, sum(e.instance_count)::bigint AS instances,
    extract(epoch FROM now() - max(e.changed_at))::float AS quiet_s
FROM series e JOIN study s ON s.id = e.study
WHERE NOT e.documented AND e.changed_at > now() - make_interval(secs => %s) AND {visible}
GROUP BY s.id ORDER BY max(e.changed_at) DESC LIMIT %s
"""
_WITH_EXCEPTIONS: Final = """
SELECT uid FROM (
    SELECT s.study_instance_uid AS uid, c.received_at AS at
    FROM conflict c JOIN instance i ON i.sop_instance_uid = c.sop_instance_uid
    JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
    UNION ALL SELECT study_instance_uid, found_at FROM lost_object
) AS found JOIN study s ON s.study_instance_uid = found.uid WHERE {visible}
GROUP BY uid ORDER BY max(at) DESC LIMIT %s
"""


async def read_states(pool: Pool, row_ids: Sequence[int]) -> dict[int, StudyState]:
    """The states of studies by row; one that is gone is not there. Raises DatabaseError."""
    if not row_ids:
        return {}
    found = await _rows(pool, StudyState, _STATES, {"rows": list(row_ids)})
    return {state.row_id: state for state in found}


async def read_samples(pool: Pool, series_row_ids: Sequence[int]) -> dict[int, SeriesSample]:
    """One instance of each series, by the series' row. Raises DatabaseError."""
    found = await _rows(pool, SeriesSample, _SAMPLES, (list(series_row_ids),))
    return {sample.series_row_id: sample for sample in found}


async def studies_in_motion(pool: Pool, within_s: float, visibility: Visibility) -> list[StudyInMotion]:
    """Studies with a series that changed within the last seconds and has no metadata document since; the latest first.

    The index of series without a document makes it cheap, however large the archive. Raises DatabaseError.
    """
    visible = study_is_visible(visibility)
    statement = _IN_MOTION.format(visible=visible.text or "true")
    return await _rows(pool, StudyInMotion, statement, (within_s, *visible.parameters, ARRIVING_MAX))


async def studies_with_exceptions(pool: Pool, visibility: Visibility) -> list[str]:
    """The UIDs of studies of which something contradicts what is here, or is lost, the latest first. Raises DatabaseError."""
    visible = study_is_visible(visibility)
    statement = _WITH_EXCEPTIONS.format(visible=visible.text or "true")
    try:
        async with pool.connection() as connection:
            cursor = await connection.execute(statement.encode(), (*visible.parameters, ARRIVING_MAX))
            return [str(row[0]) for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _failure(error) from error


async def _rows(pool: Pool, kind: type[Any], statement: str, parameters: Any) -> list[Any]:
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=class_row(kind)) as cursor:
            await cursor.execute(statement.encode(), parameters)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise _failure(error) from error


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(f"The database could not tell how studies are: {type(error).__name__}. Try again.")
