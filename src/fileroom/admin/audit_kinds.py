"""The kinds of events by names that people use: what `--event` and the page of the audit trail understand.

A kind is a code of PS3.16 CID 400 with, where that says too little, a type of CID 401 or an action. A code may be written
for itself too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fileroom.admin.audit_message import Action, EventCode, EventType
from fileroom.core.errors import InvalidRequestError, told

CODE_DIGITS: Final = 6


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of events: its name in commands, its title for people, and what it means in the trail."""

    name: str
    title: str
    event: str
    event_type: str = ""
    action: str = ""


def _kind(name: str, title: str, event: str, event_type: str = "", action: str = "") -> Kind:
    return Kind(name, title, event, event_type, action)


_ACCESSED, _MOVED = EventCode.INSTANCES_ACCESSED.value, EventCode.INSTANCES_TRANSFERRED.value
_ALERT, _AUTHENTICATION = EventCode.SECURITY_ALERT.value, EventCode.USER_AUTHENTICATION.value

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        _kind("view", N_("Images or reports were viewed"), _ACCESSED, action=Action.READ),
        _kind("change", N_("A study was corrected"), _ACCESSED, action=Action.UPDATE),
        _kind("order", N_("An order was made or changed"), EventCode.ORDER_RECORD.value),
        _kind("patient", N_("A patient's record was changed"), EventCode.PATIENT_RECORD.value),
        _kind("delete", N_("A study was deleted"), EventCode.STUDY_DELETED.value),
        _kind("delete-part", N_("A part of a study was deleted"), _ACCESSED, action=Action.DELETE),
        _kind("receive", N_("Objects were received"), _MOVED, action=Action.CREATE),
        _kind("send", N_("Objects were sent"), _MOVED, action=Action.READ),
        _kind("begin", N_("A transfer began"), EventCode.BEGIN_TRANSFERRING.value),
        _kind("export", N_("Studies were exported"), EventCode.EXPORT.value),
        _kind("import", N_("Studies were imported"), EventCode.IMPORT.value),
        _kind("query", N_("Somebody searched"), EventCode.QUERY.value),
        _kind("login", N_("Somebody logged in, or could not"), _AUTHENTICATION, EventType.LOGIN.value),
        _kind("logout", N_("Somebody logged out"), _AUTHENTICATION, EventType.LOGOUT.value),
        _kind("refused", N_("Something was not permitted"), _ALERT, EventType.USE_OF_RESTRICTED_FUNCTION.value),
        _kind("break-glass", N_("The glass was broken"), _ALERT, EventType.EMERGENCY_OVERRIDE_STARTED.value),
        _kind(
            "break-glass-end",
            N_("Break-glass ended or was reviewed"),
            _ALERT,
            EventType.EMERGENCY_OVERRIDE_STOPPED.value,
        ),
        _kind("account", N_("An account or token was changed"), _ALERT, EventType.USER_SECURITY_CHANGED.value),
        _kind("role", N_("A role was changed"), _ALERT, EventType.SECURITY_ROLES_CHANGED.value),
        _kind("node", N_("A node was changed"), _ALERT, EventType.NETWORK_CONFIGURATION.value),
        _kind("setting", N_("A setting was changed"), _ALERT, EventType.SOFTWARE_CONFIGURATION.value),
        _kind(
            "security-setting", N_("A setting of security was changed"), _ALERT, EventType.SECURITY_CONFIGURATION.value
        ),
        _kind("audit", N_("The audit trail was read"), EventCode.AUDIT_LOG_USED.value),
        _kind("service", N_("Fileroom started or stopped"), EventCode.APPLICATION_ACTIVITY.value),
        _kind("network", N_("The ports were opened or closed"), EventCode.NETWORK_ENTRY.value),
    )
}
"""In the order in which people look for them."""


def kind_of(written: str) -> Kind:
    """The kind of a name, or of a code of CID 400 or CID 401. Raises InvalidRequestError."""
    known = KINDS.get(written.lower())
    if known is not None:
        return known
    if len(written) == CODE_DIGITS and written.isascii() and written.isdigit():
        events = {code.value for code in vars(EventCode).values() if hasattr(code, "value")}
        return Kind(written, written, written) if written in events else Kind(written, written, "", written)
    raise InvalidRequestError(
        told(
            "There is no kind of event {written}; the names are {names}.",
            written=repr(written[:40]),
            names=", ".join(KINDS),
        )
    )
