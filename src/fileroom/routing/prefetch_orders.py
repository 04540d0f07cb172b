"""Orders of the RIS as occasions to prefetch: the priors are there before the patient is.

An order counts once, as soon as its patient is known; how far orders have been looked at is a row (`prefetch_mark`).
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.routing.prefetch import order_arrived
from fileroom.routing.prefetch_rules import read_prefetch_rules
from fileroom.routing.rule_set import zone_named

ORDERS_PER_ROUND: Final = 500
_MARK: Final = "orders"
_SETTLED_S: Final = 60
"""A transaction that is committed later may bear an earlier time: what changed within it is looked at again."""
_CHANGED: Final = b"""
SELECT o.id, i.value, i.authority, coalesce(s.modality, ''), o.body_part, o.procedure_meaning, coalesce(s.start_date, ''),
       coalesce(s.start_time, ''), o.changed_at
FROM imaging_order o
JOIN patient_identifier i ON i.patient = o.patient AND i.is_first
LEFT JOIN LATERAL (
    SELECT * FROM scheduled_step WHERE imaging_order = o.id ORDER BY start_date, start_time, id LIMIT 1) s ON true
WHERE o.changed_at > %s AND o.state IN ('scheduled', 'arrived')
  AND NOT EXISTS (SELECT FROM prefetch_occasion p WHERE p.kind = 'order' AND p.key = o.id::text)
ORDER BY o.changed_at, o.id LIMIT %s"""


async def note_orders(archive: Archive) -> int:
    """Make occasions of the orders that came since the last round; returns how many. Raises NotAllowedError, DatabaseError."""
    require(Permission.SYSTEM_MANAGE)
    has_rules = any(rule.on == "order" for rule in await read_prefetch_rules(archive))
    async with archive.pool.connection() as connection:
        # Orders of before there was a mark are none: a hospital that begins has thousands.
        await connection.execute(
            b"INSERT INTO prefetch_mark (name, reached) VALUES (%s, 0) ON CONFLICT (name) DO NOTHING", (_MARK,)
        )
        cursor = await connection.execute(b"SELECT reached_at, now() FROM prefetch_mark WHERE name = %s", (_MARK,))
        row = await cursor.fetchone()
        reached, now = row if row else (archive.now(), archive.now())
        cursor = await connection.execute(_CHANGED, (reached, ORDERS_PER_ROUND))
        orders = await cursor.fetchall() if has_rules else []
    made = 0
    zone = archive.settings.routing_zone
    for number, patient_id, issuer, modality, body_part, description, date, time, _ in orders:
        made += await order_arrived(
            archive,
            order=str(number),
            patient_id=patient_id,
            issuer=issuer,
            modality=modality,
            body_part=body_part,
            description=description,
            scheduled_for=scheduled_moment(date, time, zone),
        )
    settled = now - dt.timedelta(seconds=_SETTLED_S)
    looked_at = min(orders[-1][8], settled) if len(orders) == ORDERS_PER_ROUND else settled
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE prefetch_mark SET reached_at = greatest(reached_at, %s) WHERE name = %s", (looked_at, _MARK)
        )
    return made


def scheduled_moment(date: str, time: str, zone: str) -> dt.datetime | None:
    """The moment of a step's DA and TM by the hospital's clock; None where there is no such day."""
    digits = (date + time.partition(".")[0].ljust(6, "0"))[:14]
    try:
        moment = dt.datetime.strptime(digits, "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return moment.replace(tzinfo=zone_named(zone)) if zone_named(zone) else moment.astimezone()
