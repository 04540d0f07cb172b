"""What goes on, minute by minute and hour by hour: written by the task worker, read by the dashboard's charts.

What was counted since the last time (`tasks.meter_files`) is added to the row of this minute and to that of this hour. So
nothing is added up later, and a chart of any length reads a few hundred rows, however large the archive.
"""

from __future__ import annotations

import datetime as dt
import enum
import socket
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path
from typing import Final

import orjson
import psycopg
from psycopg.rows import dict_row

from fileroom.archive.gauges import read_gauges, read_storage
from fileroom.archive.processes import list_processes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import DatabaseError
from fileroom.core.meters import Meters, total
from fileroom.index.arrivals import Arrivals, studies_since
from fileroom.tasks.meter_files import meters_folder, read_workers, sum_of_workers

MINUTE_S: Final = 60
HOUR_S: Final = 3600
MINUTES_KEPT: Final = dt.timedelta(days=2)
HOURS_KEPT: Final = dt.timedelta(days=731)
FORECAST_DAYS: Final = 28
FORECAST_DAYS_MIN: Final = 3.0
"""With less history a forecast would say what one busy day was, not what will be."""
FORECAST_YEARS_MAX: Final = 10
_BASELINE: Final = "baseline.json"
"""Beside the workers' files, and forgotten with them when the server starts."""


class Span(enum.Enum):
    """A length of time that charts show: its name, the rows it is made from, and how far its points are apart."""

    HOUR = ("1h", MINUTE_S, 60, 60)
    DAY = ("24h", MINUTE_S, 300, 288)
    WEEK = ("7d", HOUR_S, 3600, 168)
    QUARTER = ("90d", HOUR_S, 21_600, 360)

    def __init__(self, title: str, row_s: int, step_s: int, points: int) -> None:
        self.title, self.row_s, self.step_s, self.points = title, row_s, step_s, points

    @classmethod
    def named(cls, name: str) -> Span:
        """The one of that name, else the day."""
        return next((span for span in cls if span.title == name), cls.DAY)


@dataclass(frozen=True, slots=True)
class Counted:
    """What has happened: sums since a beginning, or in a time."""

    objects_in: float = 0
    bytes_in: float = 0
    objects_out: float = 0
    bytes_out: float = 0
    failures: float = 0
    associations: float = 0
    requests: float = 0
    request_errors: float = 0
    cpu_s: float = 0.0

    def since(self, before: Counted) -> Counted:
        """The difference; where a count is smaller than before it began anew."""
        pairs = zip(astuple(self), astuple(before), strict=True)
        return Counted(*(now - then if now >= then else now for now, then in pairs))


COUNTED: Final = tuple(field.name for field in fields(Counted))
STOOD: Final = ("queued", "memory_bytes", "storage_bytes", "storage_free_bytes", "database_bytes")


@dataclass(frozen=True, slots=True)
class Point:
    """A moment of a chart: what happened in its step, and how it stood; None where nothing is known of that time."""

    at: dt.datetime
    values: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the store is full, if it goes on as in the last `days`. `bytes_per_day` None: too little is known yet.

    `full_at` None: it has no end, it does not grow, or not within FORECAST_YEARS_MAX years.
    """

    days: float
    bytes_per_day: float | None = None
    full_at: dt.datetime | None = None


def counted(meters: Meters) -> Counted:
    """The sums that charts are made of. Processor time is not among them: it is each process's own."""
    errors = sum(sum(numbers[:-1]) for labels, numbers in meters.requests.values.items() if labels[-1].startswith("5"))
    return Counted(
        total(meters.received),
        total(meters.received_bytes),
        total(meters.sent),
        total(meters.sent_bytes),
        total(meters.not_received) + total(meters.not_sent),
        total(meters.associations),
        total(meters.requests),
        errors,
    )


async def keep_figures(archive: Archive) -> int:
    """Write down what has happened since the last time and how it stands; forget what is old. Returns 0.

    Raises NotAllowedError, DatabaseError: then the next time writes this too.
    """
    require(Permission.SYSTEM_READ)
    folder = meters_folder(archive.settings.data)
    workers = read_workers(folder)
    processes = list_processes(archive, workers)
    sums = counted(sum_of_workers(workers, archive.meters))
    now = _Baseline(sums, {f"{one.name} {one.pid}": one.cpu_s for one in processes if one.cpu_s is not None})
    before = _read_baseline(folder / _BASELINE)
    difference = replace(sums.since(before.counted), cpu_s=now.cpu_since(before))
    gauges, storage = await read_gauges(archive), await read_storage(archive)
    stood = {
        "queued": gauges.queued,
        "memory_bytes": sum(process.memory_bytes or 0 for process in processes),
        "storage_bytes": storage.objects + storage.aside,
        "storage_free_bytes": storage.usable,
        "database_bytes": storage.database,
    }
    moment = archive.now()
    try:
        async with archive.pool.connection() as connection, connection.transaction():
            for span_s in (MINUTE_S, HOUR_S):
                values = {"span_s": span_s, "at": _floor(moment, span_s), "machine": socket.gethostname()}
                await connection.execute(_ADD, values | asdict(difference) | stood)
            await connection.execute(_FORGET, {"minutes": moment - MINUTES_KEPT, "hours": moment - HOURS_KEPT})
    except psycopg.Error as error:
        raise DatabaseError(f"The figures could not be written: {type(error).__name__}.") from error
    _write_baseline(folder / _BASELINE, now)
    return 0


async def read_figures(archive: Archive, span: Span) -> list[Point]:
    """The points of a chart, the oldest first, one for each step. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    last = _floor(archive.now(), span.step_s)
    step = dt.timedelta(seconds=span.step_s)
    first = last - step * (span.points - 1)
    try:
        async with archive.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(_READ, {"span_s": span.row_s, "first": first, "step": step})
            rows = {row.pop("step_at"): row for row in await cursor.fetchall()}
    except psycopg.Error as error:
        raise DatabaseError(f"The figures could not be read: {type(error).__name__}. Try again.") from error
    moments = (first + step * number for number in range(span.points))
    return [
        Point(at, {name: float(value or 0) for name, value in rows[at].items()} if at in rows else None)
        for at in moments
    ]


async def counted_since(archive: Archive, moment: dt.datetime) -> Counted:
    """What has happened since a moment, to the hour or, within the last two days, to the minute."""
    require(Permission.SYSTEM_READ)
    span_s = MINUTE_S if archive.now() - moment < MINUTES_KEPT else HOUR_S
    sums = ", ".join(f"coalesce(sum({name}), 0)::float" for name in COUNTED)
    statement = f"SELECT {sums} FROM figure WHERE span_s = %s AND at >= %s"  # noqa: S608 - names of our columns
    try:
        async with archive.pool.connection() as connection:
            row = await (await connection.execute(statement.encode(), (span_s, moment))).fetchone()
    except psycopg.Error as error:
        raise DatabaseError(f"The figures could not be read: {type(error).__name__}. Try again.") from error
    return Counted(*(row or ()))


async def arrivals_since(archive: Archive, moment: dt.datetime) -> Arrivals:
    """Studies that have come since, whoever may see them. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    return await studies_since(archive.pool, moment)


async def forecast(archive: Archive, usable_bytes: int | None) -> Forecast:
    """When the store is full: a straight line through the last weeks. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_READ)
    now = archive.now()
    try:
        async with archive.pool.connection() as connection:
            cursor = await connection.execute(_GROWTH, (now - dt.timedelta(days=FORECAST_DAYS),))
            rows = [(float(seconds) / 86_400, float(size)) for seconds, size in await cursor.fetchall()]
    except psycopg.Error as error:
        raise DatabaseError(f"The figures could not be read: {type(error).__name__}. Try again.") from error
    return straight_line(rows, usable_bytes, now)


def straight_line(rows: list[tuple[float, float]], usable_bytes: int | None, now: dt.datetime) -> Forecast:
    """A forecast from (days, bytes), by least squares."""
    days = rows[-1][0] - rows[0][0] if rows else 0.0
    if days < FORECAST_DAYS_MIN:
        return Forecast(days)
    middle_x, middle_y = (sum(row[axis] for row in rows) / len(rows) for axis in (0, 1))
    slope = sum((x - middle_x) * (y - middle_y) for x, y in rows) / sum((x - middle_x) ** 2 for x, _ in rows)
    if usable_bytes is None or slope <= 0 or usable_bytes / slope > FORECAST_YEARS_MAX * 365:
        return Forecast(days, slope)
    return Forecast(days, slope, now + dt.timedelta(days=usable_bytes / slope))


def _floor(moment: dt.datetime, seconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment.timestamp() // seconds * seconds, dt.UTC)


@dataclass(frozen=True, slots=True)
class _Baseline:
    """What was written last: the sums, and the processor time (s) of each process, by name and number."""

    counted: Counted
    cpu_s: dict[str, float]

    def cpu_since(self, before: _Baseline) -> float:
        """What the processes have used since. One that died takes its time along; all that a new one has used is new."""
        return sum(max(0.0, now - before.cpu_s.get(process, 0.0)) for process, now in self.cpu_s.items())


def _read_baseline(path: Path) -> _Baseline:
    try:
        content = orjson.loads(path.read_bytes())
        sums, times = ({str(k): float(v) for k, v in content[part].items()} for part in ("counted", "cpu_s"))
        return _Baseline(Counted(**sums), times)
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return _Baseline(Counted(), {})


def _write_baseline(path: Path, now: _Baseline) -> None:
    if path.parent.is_dir():
        part = path.with_suffix(".part")
        part.write_bytes(orjson.dumps(asdict(now)))
        part.replace(path)


_NAMES: Final = ("span_s", "at", "machine", *COUNTED, *STOOD)
_ADD: Final = f"""
INSERT INTO figure ({", ".join(_NAMES)}) VALUES ({", ".join(f"%({name})s" for name in _NAMES)})
ON CONFLICT (span_s, at, machine) DO UPDATE SET
{", ".join(f"{name} = figure.{name} + excluded.{name}" for name in COUNTED)},
{", ".join(f"{name} = excluded.{name}" for name in STOOD)}
""".encode()  # noqa: S608 - names of our columns
_FORGET: Final = b"""
DELETE FROM figure WHERE (span_s = 60 AND at < %(minutes)s) OR (span_s = 3600 AND at < %(hours)s)"""
# Of several machines: what each did together; how store and database stood, which they share, once.
_READ: Final = f"""
SELECT date_bin(%(step)s, at, '2000-01-01 00:00+00') AS step_at, {", ".join(f"sum({name}) AS {name}" for name in COUNTED)},
    max(queued) AS queued, sum(memory_bytes) / count(DISTINCT at) AS memory_bytes, max(storage_bytes) AS storage_bytes,
    min(storage_free_bytes) AS storage_free_bytes, max(database_bytes) AS database_bytes
FROM figure WHERE span_s = %(span_s)s AND at >= %(first)s GROUP BY 1""".encode()  # noqa: S608
_GROWTH: Final = b"""
SELECT extract(epoch FROM at), max(storage_bytes + database_bytes) FROM figure
WHERE span_s = 3600 AND at > %s GROUP BY at ORDER BY at"""
