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
    "summaries.marks_of_studies": Permission.STUDY_VIEW,
    "summaries.summaries_of_studies": Permission.STUDY_VIEW,
    "templates.add_starters": Permission.REPORT_SIGN,
    "templates.get_template": Permission.REPORT_WRITE,
    "templates.list_template_versions": Permission.REPORT_WRITE,
    "templates.list_templates": Permission.REPORT_WRITE,
    "templates.propose_templates": Permission.REPORT_WRITE,
    "templates.put_template": Permission.REPORT_SIGN,
    "templates.remove_template": Permission.REPORT_SIGN,
    "assignments.assign_report": Permission.ORDER_MANAGE,
    "assignments.list_assignments": Permission.STUDY_VIEW,
    "assignments.undo_assignment": Permission.ORDER_MANAGE,
    "critical.acknowledge_critical": Permission.STUDY_VIEW,
    "critical.count_open": Permission.STUDY_VIEW,
    "critical.critical_events": Permission.STUDY_VIEW,
    "critical.get_critical": Permission.STUDY_VIEW,
    "critical.list_critical": Permission.STUDY_VIEW,
    "critical.note_critical": Permission.REPORT_WRITE,
    "critical.note_flagged": Permission.SYSTEM_MANAGE,
    "critical.overdue_critical": Permission.SYSTEM_READ,
    "critical.reopen_critical": Permission.REPORT_WRITE,
    "critical_due.claim_notices": Permission.SYSTEM_MANAGE,
    "critical_due.settle_notice": Permission.SYSTEM_MANAGE,
    "critical_levels.list_levels": Permission.STUDY_VIEW,
    "critical_levels.put_level": Permission.ROUTING_MANAGE,
    "critical_levels.remove_level": Permission.ROUTING_MANAGE,
    "reconciliation.count_findings": Permission.STUDY_VIEW,
    "reconciliation.dismiss_findings": Permission.ORDER_MANAGE,
    "reconciliation.list_findings": Permission.STUDY_VIEW,
    "reconciliation.suggest_studies": Permission.STUDY_VIEW,
    "reconciliation.undismiss_finding": Permission.ORDER_MANAGE,
    "targets.list_targets": Permission.STUDY_VIEW,
    "targets.put_target": Permission.SETTINGS_MANAGE,
    "targets.remove_target": Permission.SETTINGS_MANAGE,
    "turnaround.list_waiting": Permission.STUDY_VIEW,
    "turnaround.report_board": Permission.STUDY_VIEW,
}

INNER: Final[dict[str, str]] = {
    "subject.read_subject": "for who may see the report and has asked: `outputs`, `documents`; it reads images, which asks again",
    "receive.put_report_of": "for `receive.put_report` and `from_objects`, which ask",
}
