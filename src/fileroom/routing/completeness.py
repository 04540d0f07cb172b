"""When is a series or study complete? Then what was gathered for it goes, and rules that look at whole studies are asked.

Nothing says it for certain, so every hint counts; they are rows (`gathering`), and survive any restart:

    expected counts      MPPS, storage commitment, instance availability name the objects: all here, complete at once
    end of association   and HINTED_S without another object
    stable time          nothing came for `routing_stable_s`

An object that comes later is gathered anew and goes by itself; what has gone is not sent again.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from fileroom.archive.retrieve import Selection, list_instances, read_header_bytes
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import FileroomError
from fileroom.db.pool import Pool
from fileroom.dicom.header_scan import scan_header
from fileroom.routing.operands import StudyFacts
from fileroom.routing.planner import Planner
from fileroom.routing.rule_trials import arrivals_of, claim_of
from fileroom.worklist.order_search import facts_of_study

HINTED_S: Final = 10.0
"""Quiet for so long after a hint: modalities open an association for each series, some for each image."""
STUDIES_PER_ROUND: Final = 200
EXPECTED_MAX: Final = 1_000_000

_log: Final = structlog.get_logger(__name__)


class Hint(enum.StrEnum):
    """What says that a study may be complete."""

    ASSOCIATION_ENDED = "association_ended"
    COMMITMENT = "commitment"
    """The sender asks whether its objects are safe (PS3.4 J): it has sent them all."""
    AVAILABILITY = "availability"
    """Instance availability notification (PS3.4 R)."""
    MPPS = "mpps"
    """The procedure step is completed and names its images (PS3.4 F.7)."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """A study that is waited for."""

    study_instance_uid: str
    quiet_s: float
    hints: dict[str, Any]
    instances: int


async def give_hint(pool: Pool, study_uids: Sequence[str], hint: Hint, expected: int | None = None) -> None:
    """Something says that these studies may be complete; `expected`: how many instances each must have at least.

    Costs next to nothing where nothing is waited for. Raises DatabaseError.
    """
    uids = sorted({uid for uid in study_uids if uid})
    if not uids:
        return
    value: dict[str, Any] = {hint.value: True}
    if expected is not None:
        value["expected"] = min(expected, EXPECTED_MAX)
    async with pool.connection() as connection:
        await connection.execute(
            b"UPDATE gathering SET hints = hints || %s WHERE study_instance_uid = ANY(%s)", (Jsonb(value), uids)
        )


async def hint_of_objects(pool: Pool, sop_uids: Sequence[str], hint: Hint) -> None:
    """The same of the studies that hold these objects. Raises DatabaseError."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT DISTINCT s.study_instance_uid FROM instance i JOIN series e ON e.id = i.series
                JOIN study s ON s.id = e.study WHERE i.sop_instance_uid = ANY(%s)""",
            (list(sop_uids),),
        )
        uids = [row[0] for row in await cursor.fetchall()]
    await give_hint(pool, uids, hint)


def is_complete(quiet_s: float, hints: dict[str, Any], instances: int, stable_s: float) -> bool:
    """Whether what is known makes a study or series complete."""
    expected = hints.get("expected")
    if isinstance(expected, int) and expected > 0:
        # The count decides while it can; when objects stay away, the stable time does.
        return instances >= expected or quiet_s >= stable_s
    hinted = any(hints.get(hint.value) for hint in Hint)
    return quiet_s >= (min(HINTED_S, stable_s) if hinted else stable_s)


async def release_complete(archive: Archive) -> int:
    """Let go what was gathered for series and studies that are complete now; returns how many studies were looked at.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    stable_s = float(archive.settings.routing_stable_s)
    released = 0
    for one in await _gatherings(archive.pool, min(HINTED_S, stable_s)):
        if is_complete(one.quiet_s, one.hints, one.instances, stable_s):
            await _release_study(archive, one)
            released += 1
        else:
            await _release_series(archive, one, stable_s)
    return released


# --- studies ---


async def _gatherings(pool: Pool, quiet_s: float) -> list[Gathering]:
    """Those that have been quiet for a while, or of which it is known how many instances there will be."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            b"""SELECT g.study_instance_uid, extract(epoch FROM now() - g.last_at)::float8, g.hints,
                    coalesce((SELECT sum(e.instance_count) FROM study s JOIN series e ON e.study = s.id
                        WHERE s.study_instance_uid = g.study_instance_uid), 0)::bigint
                FROM gathering g
                WHERE g.last_at < now() - make_interval(secs => %s) OR g.hints ? 'expected' OR EXISTS (
                    SELECT FROM delivery d WHERE d.study_instance_uid = g.study_instance_uid AND d.state = 'gathering'
                    AND d.until = 'series')
                ORDER BY g.last_at LIMIT %s""",
            (quiet_s, STUDIES_PER_ROUND),
        )
        return [Gathering(*row) for row in await cursor.fetchall()]


async def _release_study(archive: Archive, one: Gathering) -> None:
    """Everything of the study goes; late rules are asked first, so that nothing is forgotten when that fails."""
    planned = await _late_deliveries(archive, one)
    async with archive.pool.connection() as connection, connection.transaction():
        # Nothing may have come meanwhile; then it is looked at again in the next round.
        cursor = await connection.execute(
            b"""DELETE FROM gathering WHERE study_instance_uid = %s
                AND last_at <= now() - make_interval(secs => %s * 0.99) RETURNING 1""",
            (one.study_instance_uid, min(one.quiet_s, HINTED_S)),
        )
        if await cursor.fetchone() is None:
            return
        if planned:
            await connection.execute(b"SELECT add_deliveries(%s)", (Jsonb(planned),))
        await _release(connection, b"state = 'gathering' AND study_instance_uid = %s", (one.study_instance_uid,))
    _log.info("study_complete", instances=one.instances, hints=sorted(one.hints), quiet_s=round(one.quiet_s, 1))


async def _release_series(archive: Archive, one: Gathering, stable_s: float) -> None:
    """Series that are complete while their study is not: a study of a long day."""
    hinted = any(one.hints.get(hint.value) for hint in Hint)
    quiet_s = min(HINTED_S, stable_s) if hinted else stable_s
    async with archive.pool.connection() as connection, connection.transaction():
        await _release(
            connection,
            b"""state = 'gathering' AND until = 'series' AND study_instance_uid = %s AND series_instance_uid IN (
                SELECT e.series_instance_uid FROM series e JOIN study s ON s.id = e.study
                WHERE s.study_instance_uid = %s AND e.changed_at < now() - make_interval(secs => %s))""",
            (one.study_instance_uid, one.study_instance_uid, quiet_s),
        )


async def _release(connection: AsyncConnection[Any], condition: bytes, parameters: Sequence[object]) -> None:
    cursor = await connection.execute(
        b"UPDATE delivery SET state = 'waiting', due_at = now() WHERE " + condition + b" RETURNING parcel_id",
        parameters,
    )
    parcels = sorted({row[0] for row in await cursor.fetchall()})
    if parcels:
        await connection.execute(b"SELECT wake_parcels(%s)", (parcels,))


# --- rules that ask for the whole study ---


async def _late_deliveries(archive: Archive, one: Gathering) -> list[dict[str, Any]]:
    """As `add_deliveries` takes them. What cannot be read is left out, and told."""
    planner = archive.arrivals
    if not isinstance(planner, Planner) or not planner.rules.has_late:
        return []
    instances = await list_instances(
        archive, Selection(study_uids=(one.study_instance_uid,)), permission=Permission.STUDY_SEARCH
    )
    arrivals = await arrivals_of(archive, one.study_instance_uid)
    begun = min((when for *_, when in arrivals.values()), default=archive.now())
    facts = StudyFacts(
        instances=len(instances),
        series=len({instance.series_instance_uid for instance in instances}),
        modalities=tuple(sorted({instance.modality for instance in instances if instance.modality})),
        age_minutes=(archive.now() - begun).total_seconds() / 60,
        status="complete",
    )
    async with archive.pool.connection() as connection:
        order = await facts_of_study(connection, one.study_instance_uid)
    ids = await _instance_ids(archive, [instance.sop_instance_uid for instance in instances])
    now: dt.datetime = archive.now().astimezone()
    found: list[dict[str, Any]] = []
    for instance in instances:
        if instance.sop_instance_uid not in ids:
            continue
        sender, received_by, _ = arrivals.get(instance.sop_instance_uid, ("", "", begun))
        try:
            encoded = await read_header_bytes(archive, instance, permission=Permission.STUDY_SEARCH)
            header = scan_header(encoded.data, encoded.transfer_syntax, planner.tags, complete=True)
        except FileroomError as error:
            _log.warning("object_not_routed", sop_instance_uid=instance.sop_instance_uid, reason=str(error))
            continue
        claim = claim_of(instance, sender, received_by)
        wanted = [
            planned
            for on in ("series", "study")
            for planned in planner.rules.plan_study(header, claim, now, facts, order, on=on)
        ]
        if wanted:
            found.append(
                {
                    "instance": ids[instance.sop_instance_uid],
                    "study": instance.study_instance_uid,
                    "series": instance.series_instance_uid,
                    "sop": instance.sop_instance_uid,
                    "class": instance.sop_class_uid,
                    "bytes": instance.file_bytes,
                    "deliveries": [list(planned) for planned in wanted],
                }
            )
    return found


async def _instance_ids(archive: Archive, uids: list[str]) -> dict[str, int]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT sop_instance_uid, id FROM instance WHERE sop_instance_uid = ANY(%s)", (uids,)
        )
        return {row[0]: row[1] for row in await cursor.fetchall()}
