"""Which stored objects a retrieval means: rows of instances with all that is needed to send them.

An object's corrections come with its row, read in the same statement, so that what is sent never mixes two states.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from fileroom.core.errors import DatabaseError
from fileroom.core.limits import QUERY_ROWS_PER_FETCH
from fileroom.db.pool import Pool
from fileroom.dicom.correction import AttributeCorrection


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
    corrections: tuple[AttributeCorrection, ...] = ()


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
_COLUMNS: Final = f"""s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid, i.sop_class_uid, i.transfer_syntax_uid,
       i.storage_key, i.file_bytes, i.dataset_offset, i.pixel_offset, i.number_of_frames, i.rows, i.columns,
       i.instance_number, e.modality, {_CORRECTIONS}
FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"""
_SELECT: Final = f"SELECT {_COLUMNS}"
_SELECT_WITH_SERIES: Final = f"SELECT e.id, {_COLUMNS}"
_IS_FIRST: Final = "i.id = (SELECT min(x.id) FROM instance x WHERE x.series = e.id)"
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


async def select_instances(
    connection: AsyncConnection[Any], selection: Selection, limit: int | None = None
) -> list[StoredInstance]:
    """`list_instances` inside the transaction of `connection`; with `limit` only the first of them."""
    if selection.is_empty:
        return []
    text, parameters = _statement(selection)
    if limit is not None:
        text += f" LIMIT {int(limit)}"
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), parameters)
        return [_stored_instance(row) for row in await cursor.fetchall()]


async def select_representatives(connection: AsyncConnection[Any], study_uid: str) -> list[tuple[int, StoredInstance]]:
    """(row of the series, its first instance) for each series of a study, in the order in which the series came."""
    text = f"{_SELECT_WITH_SERIES} WHERE s.study_instance_uid = %s AND {_IS_FIRST} ORDER BY e.id"
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), (study_uid,))
        return [(row[0], _stored_instance(row[1:])) for row in await cursor.fetchall()]


def write_correction(correction: AttributeCorrection) -> tuple[list[int], str, Jsonb | None]:
    """Path, VR and value of a correction as the table keeps them."""
    value = correction.value
    if isinstance(value, bytes):
        kept: Jsonb | None = Jsonb(base64.b64encode(value).decode())
    else:
        kept = None if value is None else Jsonb(list(value))
    return list(correction.path), correction.vr, kept


def read_correction(path: list[int], vr: str, value: list[Any] | str | None) -> AttributeCorrection:
    """The correction of a row."""
    if isinstance(value, str):
        return AttributeCorrection(tuple(path), vr, base64.b64decode(value))
    return AttributeCorrection(tuple(path), vr, None if value is None else tuple(value))


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
    corrections = tuple(read_correction(path, vr, value) for path, vr, value in laid) if laid else ()
    return StoredInstance(*(*row[:_CORRECTIONS_COLUMN], corrections))


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(
        f"The database could not tell which objects are meant: {type(error).__name__}. Try again later."
    )
