"""Which permission each operation of the administration API asks for: `route_permissions` with the addresses below /api.

PERSON: the permission to break the glass, in a session or with a password; a program has no emergencies.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

OPEN: Final = "open"
ACCOUNT: Final = "account"
PERSON: Final = "person"

API: Final[dict[str, Permission | str]] = {
    "GET /api/docs": OPEN,
    "GET /api/docs/{resource}": OPEN,
    "GET /api/openapi.json": OPEN,
    "GET /api/v1/me": OPEN,
    "GET /api/v1/me/profile": ACCOUNT,
    "PUT /api/v1/me/profile": ACCOUNT,
    "GET /api/v1/me/sessions": ACCOUNT,
    "DELETE /api/v1/me/sessions/{session_id}": ACCOUNT,
    "GET /api/v1/me/tokens": ACCOUNT,
    "POST /api/v1/me/tokens": ACCOUNT,
    "DELETE /api/v1/me/tokens/{token_id}": ACCOUNT,
    "POST /api/v1/me/break-glass": PERSON,
    "DELETE /api/v1/me/break-glass": PERSON,
    "GET /api/v1/studies": Permission.STUDY_SEARCH,
    "GET /api/v1/studies/{study}": Permission.STUDY_SEARCH,
    "DELETE /api/v1/studies/{study}": Permission.STUDY_DELETE,
    "GET /api/v1/studies/{study}/patient-studies": Permission.STUDY_SEARCH,
    "GET /api/v1/studies/{study}/series": Permission.STUDY_SEARCH,
    "GET /api/v1/studies/{study}/series/{series}/instances": Permission.STUDY_SEARCH,
    "DELETE /api/v1/studies/{study}/series/{series}": Permission.STUDY_DELETE,
    "DELETE /api/v1/studies/{study}/series/{series}/instances/{instance}": Permission.STUDY_DELETE,
    "GET /api/v1/studies/{study}/corrections": Permission.STUDY_VIEW,
    "POST /api/v1/studies/{study}/corrections": Permission.STUDY_CORRECT,
    "DELETE /api/v1/corrections/{correction_id}": Permission.STUDY_CORRECT,
    "GET /api/v1/filters": Permission.STUDY_SEARCH,
    "PUT /api/v1/filters": Permission.STUDY_SEARCH,
    "DELETE /api/v1/filters/{filter_id}": Permission.STUDY_SEARCH,
    "GET /api/v1/nodes": Permission.NODE_READ,
    "POST /api/v1/nodes": Permission.NODE_MANAGE,
    "GET /api/v1/nodes/{node}": Permission.NODE_READ,
    "PATCH /api/v1/nodes/{node}": Permission.NODE_MANAGE,
    "DELETE /api/v1/nodes/{node}": Permission.NODE_MANAGE,
    "GET /api/v1/nodes/{node}/versions": Permission.NODE_READ,
    "POST /api/v1/nodes/{node}/echo": Permission.NODE_READ,
    "GET /api/v1/held-callers": Permission.NODE_READ,
    "POST /api/v1/held-callers/approve": Permission.NODE_MANAGE,
    "PUT /api/v1/held-callers/ignored": Permission.NODE_MANAGE,
    "GET /api/v1/associations": Permission.LEDGER_READ,
    "GET /api/v1/associations/{number}": Permission.LEDGER_READ,
    "GET /api/v1/audit/events": Permission.AUDIT_READ,
    "POST /api/v1/audit/verification": Permission.AUDIT_READ,
    "GET /api/v1/accounts": Permission.USER_MANAGE,
    "POST /api/v1/accounts": Permission.USER_MANAGE,
    "GET /api/v1/accounts/{login}": Permission.USER_MANAGE,
    "PATCH /api/v1/accounts/{login}": Permission.USER_MANAGE,
    "DELETE /api/v1/accounts/{login}/wait": Permission.USER_MANAGE,
    "DELETE /api/v1/accounts/{login}/second-factor": Permission.USER_MANAGE,
    "GET /api/v1/accounts/{login}/sessions": Permission.USER_MANAGE,
    "DELETE /api/v1/accounts/{login}/sessions": Permission.USER_MANAGE,
    "PUT /api/v1/accounts/{login}/password": Permission.USER_MANAGE,
    "GET /api/v1/roles": Permission.USER_MANAGE,
    "POST /api/v1/roles": Permission.USER_MANAGE,
    "GET /api/v1/roles/{role}": Permission.USER_MANAGE,
    "PUT /api/v1/roles/{role}": Permission.USER_MANAGE,
    "DELETE /api/v1/roles/{role}": Permission.USER_MANAGE,
    "GET /api/v1/tokens": Permission.USER_MANAGE,
    "POST /api/v1/tokens": Permission.USER_MANAGE,
    "DELETE /api/v1/tokens/{token_id}": Permission.USER_MANAGE,
    "GET /api/v1/break-glass": Permission.AUDIT_READ,
    "POST /api/v1/break-glass/{glass_id}/review": Permission.AUDIT_READ,
    "GET /api/v1/settings": Permission.SETTINGS_READ,
    "PATCH /api/v1/settings": Permission.SETTINGS_MANAGE,
    "GET /api/v1/settings/document": Permission.SETTINGS_READ,
    "PUT /api/v1/settings/document": Permission.SETTINGS_MANAGE,
    "GET /api/v1/settings/versions": Permission.SETTINGS_READ,
    "GET /api/v1/settings/differences": Permission.SETTINGS_READ,
    "POST /api/v1/settings/rollback": Permission.SETTINGS_MANAGE,
    "GET /api/v1/system": Permission.SYSTEM_READ,
    "GET /api/v1/system/troubles": Permission.SYSTEM_READ,
}
