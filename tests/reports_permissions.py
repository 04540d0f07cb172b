"""Which permission each service of `reports` asks for first: a coroutine that takes the archive asks, or stands in INNER."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

REPORTS: Final[dict[str, Permission]] = {
    "editing.add_addendum": Permission.REPORT_SIGN,
    "editing.begin_report": Permission.REPORT_WRITE,
    "editing.cancel_report": Permission.REPORT_WRITE,
    "editing.correct_report": Permission.REPORT_SIGN,
    "editing.discard_edit": Permission.REPORT_WRITE,
    "editing.read_edit": Permission.REPORT_WRITE,
    "editing.save_report": Permission.REPORT_WRITE,
    "editing.sign_report": Permission.REPORT_WRITE,
    "linking.link_due": Permission.SYSTEM_MANAGE,
    "outputs.outputs_due": Permission.SYSTEM_MANAGE,
    "receive.put_report": Permission.ORDER_MANAGE,
    "reports.get_report": Permission.STUDY_VIEW,
    "reports.get_versions": Permission.STUDY_VIEW,
    "reports.reports_of_study": Permission.STUDY_VIEW,
    "reports.search_reports": Permission.STUDY_VIEW,
    "templates.add_starters": Permission.REPORT_SIGN,
    "templates.get_template": Permission.REPORT_WRITE,
    "templates.list_template_versions": Permission.REPORT_WRITE,
    "templates.list_templates": Permission.REPORT_WRITE,
    "templates.propose_templates": Permission.REPORT_WRITE,
    "templates.put_template": Permission.REPORT_SIGN,
    "templates.remove_template": Permission.REPORT_SIGN,
}

INNER: Final[dict[str, str]] = {
    "subject.read_subject": "for who may see the report and has asked: `outputs`, `documents`; it reads images, which asks again",
    "receive.put_report_of": "for `receive.put_report` and `from_objects`, which ask",
}
