"""Which stored objects a retrieval means: rows of instances with all that is needed to send them.

An object's corrections come with its row, read in the same statement, so that what is sent never mixes two states.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from fileroom.core.errors import DatabaseError
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.db.pool import Pool


@dataclass(frozen=True, slots=True)
class LaidCorrection:
    """One attribute that is changed on every way out. `path` are tags from the top level down; None takes it out."""

    path: tuple[int, ...]
    vr: str
    value: str | None


@dataclass(frozen=True, slots=True)
class StoredInstance:
    """One stored object, as it was received, and the corrections to be laid over it (the last one of a path wins).

    Offsets and sizes are bytes of the stored file (PS3.10). `pixel_offset` is where the value of Pixel Data begins,
    None without pixels or in a deflated data set. `number_of_frames`, `rows` and `columns` are None where the header
    has none.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    storage_key: str
    file_bytes: int
    dataset_offset: int
    pixel_offset: int | None
    number_of_frames: int | None
    rows: int | None
    columns: int | None
    instance_number: int | None
    modality: str | None
    corrections: tuple[LaidCorrection, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """What shall be retrieved: every instance that fits all of the lists that are not empty."""

    patient_ids: tuple[str, ...] = ()
    study_uids: tuple[str, ...] = ()
    series_uids: tuple[str, ...] = ()
    sop_uids: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing is named: this would mean the whole archive."""
        return not (self.patient_ids or self.study_uids or self.series_uids or self.sop_uids)


_CONDITIONS: Final = (
    ("patient_ids", "s.patient_id"),
    ("study_uids", "s.study_instance_uid"),
    ("series_uids", "e.series_instance_uid"),
    ("sop_uids", "i.sop_instance_uid"),
)
_CORRECTIONS: Final = """(SELECT json_agg(json_build_array(c.path, c.vr, c.value) ORDER BY c.id) FROM correction c
      WHERE c.revoked_at IS NULL AND c.study_instance_uid = s.study_instance_uid
      AND (c.series_instance_uid IS NULL OR c.series_instance_uid = e.series_instance_uid)
      AND (c.sop_instance_uid IS NULL OR c.sop_instance_uid = i.sop_instance_uid))"""
_SELECT: Final = f"""
SELECT s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax_uid,
       i.storage_key, i.file_bytes, i.dataset_offset, i.pixel_offset, i.number_of_frames, i.rows, i.columns,
       i.instance_number, e.modality, {_CORRECTIONS}
FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"""
_ORDER: Final = "s.study_instance_uid, e.series_number, e.id, i.instance_number, i.id"
_CORRECTIONS_COLUMN: Final = 14


async def stream_instances(pool: Pool, selection: Selection) -> AsyncIterator[StoredInstance]:
    """The selected instances by study, series number, instance number. Raises DatabaseError.

    They come from a cursor that holds a connection until the iterator is closed; an empty selection selects nothing.
    """
    if selection.is_empty:
        return
    text, parameters = _statement(selection)
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            async for row in cursor.stream(text.encode(), parameters, size=QUERY_ROWS_PER_FETCH):
                yield _stored_instance(row)
    except psycopg.Error as error:
        raise _failure(error) from error


async def list_instances(pool: Pool, selection: Selection) -> list[StoredInstance]:
    """`stream_instances` in one list; the connection is free again when it returns."""
    try:
        async with pool.connection() as connection:
            return await select_instances(connection, selection)
    except psycopg.Error as error:
        raise _failure(error) from error


async def select_instances(connection: AsyncConnection[Any], selection: Selection) -> list[StoredInstance]:
    """`list_instances` inside the transaction of `connection`."""
    if selection.is_empty:
        return []
    text, parameters = _statement(selection)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), parameters)
        return [_stored_instance(row) for row in await cursor.fetchall()]


def _statement(selection: Selection) -> tuple[str, list[list[str]]]:
    conditions: list[str] = []
    parameters: list[list[str]] = []
    for name, column in _CONDITIONS:
        values: Sequence[str] = getattr(selection, name)
        if values:
            conditions.append(f"{column} = ANY(%s)")
            parameters.append(list(values))
    return f"{_SELECT} WHERE {' AND '.join(conditions)} ORDER BY {_ORDER}", parameters


def _stored_instance(row: tuple[Any, ...]) -> StoredInstance:
    laid = row[_CORRECTIONS_COLUMN]
    corrections = tuple(LaidCorrection(tuple(path), vr, value) for path, vr, value in laid) if laid else ()
    return StoredInstance(*(*row[:_CORRECTIONS_COLUMN], corrections))


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(
        f"The database could not tell which objects are meant: {type(error).__name__}. Try again later."
    )
