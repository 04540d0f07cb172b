"""Which permission each service of `reports` asks for first: a coroutine that takes the archive asks, or stands in INNER."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

REPORTS: Final[dict[str, Permission]] = {
    "linking.link_due": Permission.SYSTEM_MANAGE,
    "receive.put_report": Permission.ORDER_MANAGE,
    "reports.get_report": Permission.STUDY_VIEW,
    "reports.get_versions": Permission.STUDY_VIEW,
    "reports.reports_of_study": Permission.STUDY_VIEW,
    "reports.search_reports": Permission.STUDY_VIEW,
}

INNER: Final[dict[str, str]] = {
    "receive.put_report_of": "for `receive.put_report` and `from_objects`, which ask",
}
