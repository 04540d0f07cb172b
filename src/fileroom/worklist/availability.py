"""Instance Availability Notification as its SCU (PS3.4 Annex R): nodes hear which instances of a study can be had here.

    instances above a mark ─> available_study ─> the study is quiet ─> a notice for each node that has the role

Nothing of this is done while no node has the role. A study that grows is told of again, whole.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.dicom import uids
from fileroom.dicom.json_model import JsonObject
from fileroom.worklist.node_notices import queue_notice

STUDIES_PER_ROUND: Final = 20
INSTANCES_MAX: Final = 100_000
"""Named in one notice: the largest studies have some ten thousand."""
SETTLED_S: Final = 120
"""An instance's number is given before its row can be seen; no commit takes so long."""
_NOBODY: Final = b"SELECT NOT EXISTS (SELECT 1 FROM node WHERE enabled AND 'availability' = ANY(roles))"
_NOTE: Final = b"""
    INSERT INTO available_study (study_instance_uid)
    SELECT DISTINCT s.study_instance_uid FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study
    WHERE i.id > %s AND s.study_instance_uid IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM available_study k WHERE k.study_instance_uid = s.study_instance_uid
            AND (k.due_at IS NOT NULL OR k.told = (SELECT sum(instance_count) FROM series x WHERE x.study = s.id)))
    ON CONFLICT (study_instance_uid) DO UPDATE SET due_at = now()"""
_MOVE_ON: Final = b"""
    UPDATE availability_mark SET reached = ahead, ahead = (SELECT coalesce(max(id), 0) FROM instance), ahead_at = now()
    WHERE ahead_at < now() - make_interval(secs => %s)"""
_DUE: Final = b"""
    SELECT a.study_instance_uid FROM available_study a WHERE a.due_at <= now() ORDER BY a.due_at LIMIT %s
    FOR UPDATE SKIP LOCKED"""


async def tell_availability(archive: Archive) -> int:
    """Queue the notices of studies that have become quiet; returns how many those were.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute(_NOBODY)
        row = await cursor.fetchone()
        if row is None or row[0]:
            # Whoever gets the role later hears of what comes from then on.
            await connection.execute(b"DELETE FROM availability_mark")
            return 0
        await _note_arrivals(connection)
        cursor = await connection.execute(_DUE, (STUDIES_PER_ROUND,))
        told = 0
        for (uid,) in await cursor.fetchall():
            told += await _tell(archive, connection, uid)
    return told


async def _note_arrivals(connection: AsyncConnection[Any]) -> None:
    await connection.execute(
        b"""INSERT INTO availability_mark (reached, ahead) SELECT coalesce(max(id), 0), coalesce(max(id), 0) FROM instance
            ON CONFLICT (one_row) DO NOTHING"""
    )
    cursor = await connection.execute(b"SELECT reached FROM availability_mark FOR UPDATE")
    row = await cursor.fetchone()
    await connection.execute(_NOTE, (int(row[0]) if row else 0,))
    await connection.execute(_MOVE_ON, (SETTLED_S,))


async def _tell(archive: Archive, connection: AsyncConnection[Any], uid: str) -> int:
    """One study: 0 when it is not quiet yet, or gone."""
    cursor = await connection.execute(
        b"""SELECT extract(epoch FROM now() - max(e.changed_at))::float8, sum(e.instance_count)::bigint
            FROM series e JOIN study s ON s.id = e.study WHERE s.study_instance_uid = %s""",
        (uid,),
    )
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        await connection.execute(b"DELETE FROM available_study WHERE study_instance_uid = %s", (uid,))
        return 0
    missing_s = archive.settings.routing_stable_s - row[0]
    if missing_s > 0:
        await connection.execute(
            b"UPDATE available_study SET due_at = now() + make_interval(secs => %s) WHERE study_instance_uid = %s",
            (missing_s + 0.1, uid),
        )
        return 0
    model = await _notification(archive, connection, uid)
    await queue_notice(connection, "availability", f"2.25.{uuid.uuid4().int}", model, study_uid=uid)
    await connection.execute(
        b"UPDATE available_study SET due_at = NULL, told = %s WHERE study_instance_uid = %s", (int(row[1]), uid)
    )
    return 1


async def _notification(archive: Archive, connection: AsyncConnection[Any], uid: str) -> JsonObject:
    """PS3.4 table R.3.2-1: the performed steps, the study, its series and instances, all of them online."""
    cursor = await connection.execute(
        b"""SELECT e.series_instance_uid, i.sop_class_uid, i.sop_instance_uid FROM study s JOIN series e ON e.study = s.id
            JOIN instance i ON i.series = e.id WHERE s.study_instance_uid = %s ORDER BY e.id, i.id LIMIT %s""",
        (uid, INSTANCES_MAX),
    )
    series: dict[str, list[JsonObject]] = {}
    for series_uid, sop_class, sop_uid in await cursor.fetchall():
        series.setdefault(series_uid, []).append(
            {
                "00081150": _text("UI", sop_class),
                "00081155": _text("UI", sop_uid),
                "00080056": _text("CS", "ONLINE"),
                "00080054": _text("AE", archive.settings.aet),
            }
        )
    cursor = await connection.execute(
        b"SELECT sop_instance_uid FROM performed_step WHERE study_instance_uid = %s ORDER BY id LIMIT 100", (uid,)
    )
    steps = [
        {
            "00081150": _text("UI", uids.MODALITY_PERFORMED_PROCEDURE_STEP),
            "00081155": _text("UI", step),
            "00404019": {"vr": "SQ", "Value": []},
        }
        for (step,) in await cursor.fetchall()
    ]
    return {
        "00081111": {"vr": "SQ", "Value": steps},
        "0020000D": _text("UI", uid),
        "00081115": {
            "vr": "SQ",
            "Value": [
                {"00081199": {"vr": "SQ", "Value": items}, "0020000E": _text("UI", series_uid)}
                for series_uid, items in series.items()
            ],
        },
    }


def _text(vr: str, value: str) -> JsonObject:
    return {"vr": vr, "Value": [value]}
