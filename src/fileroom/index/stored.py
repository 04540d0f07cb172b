"""Which stored objects a retrieval means: rows of instances with all that is needed to send them.

An object's corrections come with its row, read in the same statement, so that what is sent never mixes two states. What
the one who asks may not see is not found (`index.visibility`).
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
from fileroom.db.pool import Pool
from fileroom.dicom.correction import AttributeCorrection
from fileroom.index.visibility import Visibility, study_is_visible


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
       i.instance_number, e.modality, {_CORRECTIONS}"""
_FROM: Final = "FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"
_SELECT: Final = f"SELECT {_COLUMNS} {_FROM}"
_SELECT_WITH_SERIES: Final = f"SELECT e.id, {_COLUMNS} {_FROM}"
_FIRST_OF_EACH_SERIES: Final = """i.id = ANY(ARRAY(SELECT min(x.id) FROM instance x JOIN series y ON y.id = x.series
      JOIN study z ON z.id = y.study WHERE z.study_instance_uid = %s GROUP BY x.series))"""
_SERIES_ORDER: Final = "s.study_instance_uid, e.series_number, e.id"
_ORDER: Final = f"{_SERIES_ORDER}, i.instance_number, i.id"
_REPEATED: Final = frozenset({0, 1, 3, 4, 13})
"""Study, series, SOP class, transfer syntax, modality."""
_CORRECTIONS_COLUMN: Final = 14


async def stream_instances(pool: Pool, selection: Selection, visibility: Visibility) -> AsyncIterator[StoredInstance]:
    """The selected instances by study, series number, instance number. Raises DatabaseError.

    They are read series by series, and no connection is held between two of them, however long the caller takes. An
    empty selection selects nothing.
    """
    for row in await _list_series(pool, selection, visibility):
        try:
            async with pool.connection() as connection:
                instances = await select_instances(connection, selection, visibility, series=row)
        except psycopg.Error as error:
            raise _failure(error) from error
        for instance in instances:
            yield instance


async def list_instances(pool: Pool, selection: Selection, visibility: Visibility) -> list[StoredInstance]:
    """`stream_instances` in one list; the connection is free again when it returns."""
    try:
        async with pool.connection() as connection:
            return await select_instances(connection, selection, visibility)
    except psycopg.Error as error:
        raise _failure(error) from error


async def select_instances(
    connection: AsyncConnection[Any],
    selection: Selection,
    visibility: Visibility,
    *,
    limit: int | None = None,
    series: int | None = None,
) -> list[StoredInstance]:
    """`list_instances` inside the transaction of `connection`; only the first `limit`, only of the row `series`."""
    if selection.is_empty:
        return []
    condition, parameters = _condition(selection, visibility)
    text = f"{_SELECT} WHERE {condition}"
    if series is not None:
        text, parameters = text + " AND e.id = %s", [*parameters, series]
    text += f" ORDER BY {_ORDER}"
    if limit is not None:
        text += f" LIMIT {int(limit)}"
    shared: dict[Any, Any] = {}
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), parameters)
        return [_stored_instance(_sharing(row, shared)) for row in await cursor.fetchall()]


async def select_representatives(connection: AsyncConnection[Any], study_uid: str) -> list[tuple[int, StoredInstance]]:
    """(row of the series, its first instance) for each series of a study, in the order in which the series came."""
    text = f"{_SELECT_WITH_SERIES} WHERE {_FIRST_OF_EACH_SERIES} ORDER BY e.id"
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), (study_uid,))
        return [(row[0], _stored_instance(row[1:])) for row in await cursor.fetchall()]


async def has_visible_study(connection: AsyncConnection[Any], study_uid: str, visibility: Visibility) -> bool:
    """Whether a study may be seen. Always, where everything may be: whether it exists is then found out elsewhere."""
    visible = study_is_visible(visibility)
    if not visible.text:
        return True
    text = f"SELECT EXISTS (SELECT 1 FROM study s WHERE s.study_instance_uid = %s AND {visible.text})"
    cursor = await connection.execute(text.encode(), (study_uid, *visible.parameters))
    row = await cursor.fetchone()
    return bool(row and row[0])


async def select_places(
    connection: AsyncConnection[Any], sop_uids: Sequence[str], visibility: Visibility
) -> dict[str, tuple[str, str, int]]:
    """(SOP class, storage key, bytes) by SOP Instance UID of those instances that are here and may be seen."""
    visible = study_is_visible(visibility)
    tables = _FROM if visible.text else "FROM instance i"
    text = f"""SELECT i.sop_instance_uid, i.sop_class_uid, i.storage_key, i.file_bytes {tables}
               WHERE i.sop_instance_uid = ANY(%s) AND {visible.text or "true"}"""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(text.encode(), (list(sop_uids), *visible.parameters))
        return {row[0]: (row[1], row[2], row[3]) for row in await cursor.fetchall()}


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


async def _list_series(pool: Pool, selection: Selection, visibility: Visibility) -> list[int]:
    """The rows of the series that have something of the selection, in the order of giving."""
    if selection.is_empty:
        return []
    condition, parameters = _condition(selection, visibility)
    text = f"SELECT e.id {_FROM} WHERE {condition} GROUP BY e.id, s.study_instance_uid ORDER BY {_SERIES_ORDER}"
    try:
        async with pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(text.encode(), parameters)
            return [row[0] for row in await cursor.fetchall()]
    except psycopg.Error as error:
        raise _failure(error) from error


def _condition(selection: Selection, visibility: Visibility) -> tuple[str, list[object]]:
    conditions: list[str] = []
    parameters: list[object] = []
    for name, column in _CONDITIONS:
        values: Sequence[str] = getattr(selection, name)
        if values:
            conditions.append(f"{column} = ANY(%s)")
            parameters.append(list(values))
    visible = study_is_visible(visibility)
    if visible.text:
        conditions.append(visible.text)
        parameters += visible.parameters
    return " AND ".join(conditions), parameters


def _sharing(row: tuple[Any, ...], shared: dict[Any, Any]) -> tuple[Any, ...]:
    """The same row with texts that many rows have in memory only once: half of what a long list takes."""
    return tuple(shared.setdefault(value, value) if place in _REPEATED else value for place, value in enumerate(row))


def _stored_instance(row: tuple[Any, ...]) -> StoredInstance:
    laid = row[_CORRECTIONS_COLUMN]
    corrections = tuple(read_correction(path, vr, value) for path, vr, value in laid) if laid else ()
    return StoredInstance(*(*row[:_CORRECTIONS_COLUMN], corrections))


def _failure(error: psycopg.Error) -> DatabaseError:
    return DatabaseError(
        f"The database could not tell which objects are meant: {type(error).__name__}. Try again later."
    )
