"""Which orders somebody may see: the row scope of `core.access`, for orders as `index.visibility` has it for studies.

A step's modality, the ordering institution, the referring physician and any identifier of the patient are compared. Nobody
brings orders in as objects, so who sees only own uploads sees none.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection

from fileroom.core.access import Access
from fileroom.dicom.normal_forms import normalize_name
from fileroom.index.conditions import Condition

_NEVER: Final = Condition("false")


def order_is_visible(access: Access, order: str = "o") -> Condition:
    """The condition on the row of the table imaging_order that is called `order` in the statement; empty: no restriction."""
    rows = access.rows
    if rows.is_everything:
        return Condition()
    conditions: list[Condition] = []
    if rows.own_uploads:
        return _NEVER
    if rows.patient_ids:
        conditions.append(
            Condition(
                f"EXISTS (SELECT 1 FROM patient_identifier seen WHERE seen.patient = {order}.patient "
                "AND seen.value = ANY(%s))",
                (list(rows.patient_ids),),
            )
        )
    if rows.referring_physicians:
        names = [normalize_name(name) for name in rows.referring_physicians]
        conditions.append(Condition(f"{order}.referring_physician_key = ANY(%s)", ([name for name in names if name],)))
    if rows.modalities:
        conditions.append(
            Condition(
                f"EXISTS (SELECT 1 FROM scheduled_step seen WHERE seen.imaging_order = {order}.id "
                "AND seen.modality = ANY(%s))",
                (list(rows.modalities),),
            )
        )
    if rows.institutions:
        folded = [" ".join(name.casefold().split()) for name in rows.institutions]
        conditions.append(
            Condition(f"lower(regexp_replace(btrim({order}.institution), '\\s+', ' ', 'g')) = ANY(%s)", (folded,))
        )
    return Condition.all_of(conditions)


async def is_visible(connection: AsyncConnection[Any], access: Access, number: int) -> bool:
    """Whether an order (by its row) is there, and may be seen. Raises psycopg.Error."""
    condition = order_is_visible(access)
    where = f" AND {condition.text}" if condition.text else ""
    cursor = await connection.execute(
        f"SELECT 1 FROM imaging_order o WHERE o.id = %s{where}".encode(), (number, *condition.parameters)
    )
    return await cursor.fetchone() is not None
