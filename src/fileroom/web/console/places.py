"""The places of the console, as the rail on the left lists them. A place that does not exist yet has no entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fileroom.core.access import Access, Permission
from fileroom.web.console.language import N_


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of the rail: `key` names its icon, `title` is a message id."""

    key: str
    path: str
    title: str
    permission: Permission


PLACES: Final = (
    Place("studies", "/", N_("Studies"), Permission.STUDY_SEARCH),
    Place("exceptions", "/exceptions", N_("Exceptions"), Permission.ORDER_READ),
    Place("worklist", "/worklist", N_("Worklist"), Permission.ORDER_READ),
    Place("worklist", "/hl7", N_("Worklist"), Permission.MESSAGE_READ),
    Place("reports", "/reports", N_("Reports"), Permission.STUDY_VIEW),
    Place("routing", "/routing", N_("Routing"), Permission.ROUTING_READ),
    Place("system", "/system", N_("System"), Permission.SYSTEM_READ),
    Place("admin", "/admin/people", N_("Admin"), Permission.USER_MANAGE),
    # Whoever may not manage people enters it by its next page.
    Place("admin", "/admin/nodes", N_("Admin"), Permission.NODE_READ),
    Place("admin", "/admin/settings", N_("Admin"), Permission.SETTINGS_READ),
    Place("admin", "/admin/associations", N_("Admin"), Permission.LEDGER_READ),
    Place("admin", "/admin/audit", N_("Admin"), Permission.AUDIT_READ),
)


HANDBOOK: Final = {
    "/admin/people": "people",
    "/admin/nodes": "operating#who-may-send",
    "/admin/audit": "audit",
    "/admin/associations": "operating#associations",
    "/admin/settings": "settings",
    "/admin/certificates": "operating#encryption",
    "/admin/break-glass": "people#break-glass",
    "/break-glass": "people#break-glass",
    "/account": "people",
    "/api/docs": "api",
    "/login": "people",
    "/system": "operating#health",
    "/exceptions": "exceptions",
    "/hl7": "ris#messages",
    "/worklist/workitem": "ris#workitems",
    "/worklist": "ris#orders-and-the-worklist",
    "/reports": "reports",
    "/open": "reports#dictation",
    "/routing/rules": "routing#rules",
    "/routing": "routing",
    "/studies": "console#a-study",
    "/search": "console#search-everywhere",
}
"""Where the handbook tells of a page, by the beginning of its address; all others stand in the console's chapter."""


def chapter_for(path: str) -> str:
    """The part of the handbook about a page of the console: a chapter's name, and where in it."""
    return next((chapter for start, chapter in HANDBOOK.items() if path.startswith(start)), "console")


PAGES: Final = (
    Place("worklist", "/hl7", N_("HL7 messages"), Permission.MESSAGE_READ),
    Place("worklist", "/hl7/feeds", N_("HL7 feeds"), Permission.MESSAGE_READ),
    Place("worklist", "/worklist/orders", N_("Orders"), Permission.ORDER_READ),
    Place("worklist", "/worklist/patients", N_("Patients"), Permission.ORDER_READ),
    Place("worklist", "/worklist/procedures", N_("Procedure codes"), Permission.ORDER_READ),
    Place("worklist", "/worklist/workitems", N_("Workitems"), Permission.ORDER_READ),
    Place("reports", "/reports/list", N_("All reports"), Permission.STUDY_VIEW),
    Place("reports", "/reports/critical", N_("Critical findings"), Permission.STUDY_VIEW),
    Place("reports", "/reports/reconciliation", N_("Reconciliation"), Permission.STUDY_VIEW),
    Place("routing", "/routing/rules", N_("Rules"), Permission.ROUTING_READ),
    Place("admin", "/admin/people", N_("People"), Permission.USER_MANAGE),
    Place("admin", "/admin/nodes", N_("Nodes"), Permission.NODE_READ),
    Place("admin", "/admin/associations", N_("Associations"), Permission.LEDGER_READ),
    Place("admin", "/admin/audit", N_("Audit trail"), Permission.AUDIT_READ),
)
"""Pages inside of places, found by the search everywhere."""


def pages_for(access: Access) -> tuple[Place, ...]:
    """Places and the pages inside of them that somebody may enter."""
    return (*places_for(access), *(page for page in PAGES if access.allows(page.permission)))


def places_for(access: Access) -> tuple[Place, ...]:
    """Those that somebody may enter, each by the first of its pages that is open to them."""
    first: dict[str, Place] = {}
    for place in PLACES:
        if access.allows(place.permission):
            first.setdefault(place.key, place)
    return tuple(first.values())
