"""Rows as `archive.verify` and `archive.rebuild` need them: which object belongs to which row, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from fileroom.db.pool import Pool


@dataclass(frozen=True, slots=True)
class FiledObject:
    """The row of an instance as far as its object goes."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    storage_key: str
    file_bytes: int
    dataset_offset: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class KeptAside:
    """The row of a conflict as far as its object goes."""

    id: int
    sop_instance_uid: str
    storage_key: str
    file_bytes: int
    digest: bytes


async def filed_objects(pool: Pool, after_id: int, limit: int, key_prefix: str = "") -> list[FiledObject]:
    """The next rows by id; with `key_prefix` only those whose object lies there."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(FiledObject)) as cursor:
        await cursor.execute(
            b"""SELECT i.id, s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid, i.storage_key, i.file_bytes,
                       i.dataset_offset, i.digest
                FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
                WHERE i.id > %s AND starts_with(i.storage_key, %s) ORDER BY i.id LIMIT %s""",
            (after_id, key_prefix, limit),
        )
        return await cursor.fetchall()


async def count_filed_objects(pool: Pool) -> int:
    """How many instances there are rows of."""
    async with pool.connection() as connection:
        row = await (await connection.execute(b"SELECT count(*) FROM instance")).fetchone()
        return int(row[0]) if row else 0


async def kept_aside(pool: Pool, after_id: int, limit: int, key_prefix: str = "") -> list[KeptAside]:
    """The next conflicts by id; with `key_prefix` only those whose object lies there."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(KeptAside)) as cursor:
        await cursor.execute(
            b"""SELECT id, sop_instance_uid, storage_key, file_bytes, digest FROM conflict
                WHERE id > %s AND starts_with(storage_key, %s) ORDER BY id LIMIT %s""",
            (after_id, key_prefix, limit),
        )
        return await cursor.fetchall()


async def count_kept_aside(pool: Pool) -> int:
    """How many conflicts there are rows of."""
    async with pool.connection() as connection:
        row = await (await connection.execute(b"SELECT count(*) FROM conflict")).fetchone()
        return int(row[0]) if row else 0


async def known_keys(pool: Pool, keys: list[str]) -> set[str]:
    """Those of `keys` that some row speaks of. An object noted as missing that is there after all is not among them."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""WITH asked AS (SELECT unnest(%s::text[]) COLLATE "C" AS key)
                SELECT key FROM asked WHERE EXISTS (SELECT 1 FROM instance WHERE storage_key = key)
                    OR EXISTS (SELECT 1 FROM conflict WHERE storage_key = key)
                    OR EXISTS (SELECT 1 FROM doomed_object WHERE storage_key = key)
                    OR EXISTS (SELECT 1 FROM lost_object WHERE storage_key = key AND kind = 'damaged')""",
            (keys,),
        )
        return {row[0] for row in await cursor.fetchall()}


async def doomed_keys(pool: Pool) -> set[str]:
    """Keys of objects that were deleted, and whose files have not been removed yet."""
    async with pool.connection() as connection:
        cursor = await connection.execute(b"SELECT storage_key FROM doomed_object")
        return {row[0] for row in await cursor.fetchall()}


async def record_lost(pool: Pool, lost: FiledObject, kind: str, reason: str) -> None:
    """Take the row of an object that is missing or damaged away, and remember it: it may be sent again now."""
    async with pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(
            b"DELETE FROM instance WHERE id = %s AND storage_key = %s RETURNING series", (lost.id, lost.storage_key)
        )
        row = await cursor.fetchone()
        if row is None:
            return  # changed meanwhile
        await connection.execute(
            b"""INSERT INTO lost_object (study_instance_uid, series_instance_uid, sop_instance_uid, storage_key, digest, kind,
                                        reason)
                VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (storage_key) DO NOTHING""",
            (
                lost.study_instance_uid,
                lost.series_instance_uid,
                lost.sop_instance_uid,
                lost.storage_key,
                lost.digest,
                kind,
                reason,
            ),
        )
        await connection.execute(
            b"""UPDATE series SET instance_count = instance_count - 1, changed_at = now(), documented = false
                WHERE id = %s""",
            row,
        )


async def record_lost_conflict(pool: Pool, lost: KeptAside, kind: str, reason: str) -> None:
    """Take the row of a conflict whose object is missing or damaged away, and remember it: it may be sent again now.

    A conflict belongs to no study or series, so theirs stay empty.
    """
    async with pool.connection() as connection:
        await connection.execute(
            b"""WITH gone AS (DELETE FROM conflict WHERE id = %s AND storage_key = %s RETURNING *)
                INSERT INTO lost_object (study_instance_uid, series_instance_uid, sop_instance_uid, storage_key, digest, kind,
                                         reason)
                SELECT '', '', sop_instance_uid, storage_key, digest, %s, %s FROM gone
                ON CONFLICT (storage_key) DO NOTHING""",
            (lost.id, lost.storage_key, kind, reason),
        )


async def forget_lost(pool: Pool, storage_key: str) -> None:
    """A lost object has turned up again and is filed."""
    async with pool.connection() as connection:
        await connection.execute(b"DELETE FROM lost_object WHERE storage_key = %s", (storage_key,))


async def corrected_studies(pool: Pool) -> list[str]:
    """Study Instance UIDs of the studies that have corrections."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT DISTINCT study_instance_uid FROM correction WHERE revoked_at IS NULL ORDER BY 1"
        )
        return [row[0] for row in await cursor.fetchall()]


async def forget_index(pool: Pool) -> None:
    """Empty the index: patients, studies, series, instances, and what refers to their files. Corrections stay.

    Who brought the studies in stands in no file: it is set aside for `restore_uploaders`.
    """
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"""INSERT INTO remembered_uploader (study_instance_uid, brought_by)
                SELECT study_instance_uid, brought_by FROM study WHERE brought_by <> ''
                ON CONFLICT (study_instance_uid) DO UPDATE SET brought_by = excluded.brought_by"""
        )
        await connection.execute(b"TRUNCATE patient, study, series, instance, conflict, lost_object")


async def restore_uploaders(pool: Pool) -> None:
    """Give studies that nobody has brought in, as the index knows it, to those who did before `forget_index`."""
    async with pool.connection() as connection, connection.transaction():
        await connection.execute(
            b"""UPDATE study s SET brought_by = r.brought_by FROM remembered_uploader r
                WHERE r.study_instance_uid = s.study_instance_uid AND s.brought_by = ''"""
        )
        await connection.execute(b"DELETE FROM remembered_uploader")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object that was not kept."""

    refused_at: str
    status: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    received_by: str
    sender: str
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """An object kept aside, as its UID has other content."""

    received_at: str
    sop_instance_uid: str
    sop_class_uid: str
    storage_key: str
    file_bytes: int
    received_by: str
    sender: str


async def list_refusals(pool: Pool, limit: int = 1000) -> list[Refusal]:
    """The latest refusals."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Refusal)) as cursor:
        await cursor.execute(
            b"""SELECT to_char(refused_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS refused_at, upper(lpad(to_hex(status), 4, '0'))
                       AS status, sop_instance_uid, sop_class_uid, transfer_syntax_uid, received_by, sender, reason
                FROM refusal ORDER BY id DESC LIMIT %s""",
            (limit,),
        )
        return await cursor.fetchall()


async def list_conflicts(pool: Pool, limit: int = 1000) -> list[Conflict]:
    """The latest conflicts."""
    async with pool.connection() as connection, connection.cursor(row_factory=class_row(Conflict)) as cursor:
        await cursor.execute(
            b"""SELECT to_char(received_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS received_at, sop_instance_uid, sop_class_uid,
                       storage_key, file_bytes, received_by, sender
                FROM conflict ORDER BY id DESC LIMIT %s""",
            (limit,),
        )
        return await cursor.fetchall()
