"""Which reports somebody may see: those of studies that they may see; without a study, those of orders that they may see.

A draft is its author's, and of those who may write reports themselves.
"""

from __future__ import annotations

from fileroom.core.access import Access, Permission
from fileroom.index.conditions import Condition
from fileroom.index.visibility import study_is_visible, visibility_of
from fileroom.worklist.order_visibility import order_is_visible


def report_is_visible(access: Access, report: str = "r") -> Condition:
    """The condition on the row of the table report that is called `report` in the statement; empty: no restriction."""
    conditions: list[Condition] = []
    if not access.allows(Permission.REPORT_WRITE):
        conditions.append(Condition(f"({report}.state <> 'draft' OR {report}.created_by = %s)", (access.name,)))
    if not access.rows.is_everything:
        studies = study_is_visible(visibility_of(access), "seen_s")
        orders = order_is_visible(access, "seen_o")
        conditions.append(
            Condition(
                f"""CASE WHEN EXISTS (SELECT FROM study x WHERE x.study_instance_uid = {report}.study_instance_uid)
                THEN EXISTS (SELECT FROM study seen_s WHERE seen_s.study_instance_uid = {report}.study_instance_uid
                    AND {studies.text or "true"})
                ELSE EXISTS (SELECT FROM imaging_order seen_o WHERE seen_o.id = {report}.imaging_order
                    AND {orders.text or "true"}) END""",
                (*studies.parameters, *orders.parameters),
            )
        )
    return Condition.all_of(conditions)
