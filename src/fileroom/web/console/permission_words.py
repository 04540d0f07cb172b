"""What each permission allows, in words for the pages; `core.access` says it to those who read the source."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission
from fileroom.web.console.language import N_

PERMISSION_WORDS: Final = {
    Permission.STUDY_SEARCH: N_("find studies and see their lists and attributes"),
    Permission.STUDY_VIEW: N_("see images and reports"),
    Permission.STUDY_EXPORT: N_("take copies away: download, media, sending to a node"),
    Permission.STUDY_STORE: N_("bring objects in"),
    Permission.STUDY_CORRECT: N_("change what studies are shown and sent with"),
    Permission.STUDY_DELETE: N_("delete studies, series and objects"),
    Permission.STUDY_BREAK_GLASS: N_("see, with a reason and for a time, what the row scope hides"),
    Permission.NODE_READ: N_("see nodes and held callers, and call them"),
    Permission.NODE_MANAGE: N_("add, change and remove nodes"),
    Permission.LEDGER_READ: N_("see associations and deliveries"),
    Permission.SYSTEM_READ: N_("see the state of the system: storage, queues, metrics"),
    Permission.SYSTEM_MANAGE: N_("upkeep: verify and repair, make the index anew"),
    Permission.SETTINGS_READ: N_("see the settings"),
    Permission.SETTINGS_MANAGE: N_("change the settings"),
    Permission.USER_MANAGE: N_("accounts, roles, sessions and tokens of others"),
    Permission.ROUTING_READ: N_("see rules, destinations and deliveries"),
    Permission.ROUTING_MANAGE: N_("change rules and destinations; retry, hold and redirect deliveries"),
    Permission.IDENTITY_REVEAL: N_("open the vault of a de-identification project"),
    Permission.EDGE_LINK: N_("be an edge of the edge link"),
    Permission.ORDER_READ: N_("see patients, orders and the worklist"),
    Permission.ORDER_MANAGE: N_("change orders, merge patients, match studies with orders"),
    Permission.MESSAGE_READ: N_("see HL7 messages and their effects"),
    Permission.MESSAGE_MANAGE: N_("mend, repeat and send HL7 messages; change feeds"),
    Permission.REPORT_WRITE: N_("write reports, as drafts or preliminary; note who heard of a critical finding"),
    Permission.REPORT_SIGN: N_("sign reports, add to them and correct them"),
    Permission.AUDIT_READ: N_("search the audit trail; review who broke the glass"),
}
