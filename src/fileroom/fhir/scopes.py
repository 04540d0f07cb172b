"""What a token with scopes in the manner of SMART on FHIR may do here: which kinds of resources, and of whom."""

from __future__ import annotations

from fileroom.core.access import Access, current_access
from fileroom.core.errors import NotAllowedError, told

EVERY_KIND = "*"


def require_scope(kind: str, right: str) -> tuple[int, ...] | None:
    """That whoever acts may do this (one of c r u d s) with this kind; returns the patients that it is narrowed to, None:
    to nobody in particular. Raises NotAllowedError."""
    return patients_of(current_access(), kind, right)


def patients_of(access: Access, kind: str, right: str) -> tuple[int, ...] | None:
    """As `require_scope`, for somebody."""
    scopes = access.fhir
    if scopes is None:
        return None
    found = [scope for scope in scopes.scopes if scope.kind in (kind, EVERY_KIND) and right in scope.rights]
    if not found:
        raise NotAllowedError(told("The token {who} has no scope for this with {kind}.", who=access.name, kind=kind))
    return None if any(scope.level != "patient" for scope in found) else scopes.patients


def may(access: Access, kind: str, right: str) -> bool:
    """Whether the scopes allow it."""
    try:
        patients_of(access, kind, right)
    except NotAllowedError:
        return False
    return True


def may_read_documents() -> None:
    """Documents of reports are read by whoever may read reports. Raises NotAllowedError."""
    require_scope("DiagnosticReport", "r")
