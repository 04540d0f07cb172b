"""Which permission each address of the web port and each DIMSE service asks for: the list that the role matrix holds them to.

A new address needs a line here. OPEN: no permission; ACCOUNT: an account of one's own, whatever its role.
"""

from __future__ import annotations

from typing import Final

from api_permissions import ACCOUNT, API, OPEN, PERSON
from fileroom.core.access import Permission
from fileroom.dimse.command_set import CommandField

__all__ = ["ACCOUNT", "EDGE", "OPEN", "PERSON", "ROUTES", "SERVICES"]

_SEARCH, _VIEW, _EXPORT = Permission.STUDY_SEARCH, Permission.STUDY_VIEW, Permission.STUDY_EXPORT
_STORE, _SYSTEM, _USERS = Permission.STUDY_STORE, Permission.SYSTEM_READ, Permission.USER_MANAGE
_GLASS, _AUDIT = Permission.STUDY_BREAK_GLASS, Permission.AUDIT_READ
_NODES, _MANAGE_NODES = Permission.NODE_READ, Permission.NODE_MANAGE
_STUDY: Final = "/dicom-web/studies/{study}"
_SERIES: Final = _STUDY + "/series/{series}"
_INSTANCE: Final = _SERIES + "/instances/{instance}"
_FRAMES: Final = _INSTANCE + "/frames/{frames}"
_LOOK: Final = "/studies/{study}/series/{series}"

EDGE: Final = "the token of an edge"
"""Its permission alone is not enough: an administrator is no edge."""

ROUTES: Final[dict[str, Permission | str]] = {
    "GET /worklist": Permission.ORDER_READ,
    "GET /worklist/orders": Permission.ORDER_READ,
    "GET /worklist/order": Permission.ORDER_READ,
    "GET /worklist/order/edit": Permission.ORDER_MANAGE,
    "POST /worklist/order/save": Permission.ORDER_MANAGE,
    "POST /worklist/order/state": Permission.ORDER_MANAGE,
    "GET /worklist/procedures": Permission.ORDER_READ,
    "GET /worklist/procedures/table.csv": Permission.ORDER_READ,
    "POST /worklist/procedures/save": Permission.ORDER_MANAGE,
    "POST /worklist/procedures/remove": Permission.ORDER_MANAGE,
    "POST /worklist/procedures/import": Permission.ORDER_MANAGE,
    "GET /routing/edges": Permission.ROUTING_READ,
    "POST /routing/edges/add": Permission.ROUTING_MANAGE,
    "POST /routing/edges/token": Permission.ROUTING_MANAGE,
    "POST /routing/edges/save": Permission.ROUTING_MANAGE,
    "POST /routing/edges/enable": Permission.ROUTING_MANAGE,
    "POST /routing/edges/disable": Permission.ROUTING_MANAGE,
    "POST /routing/edges/remove": Permission.ROUTING_MANAGE,
    "POST /routing/edges/connect": Permission.ROUTING_MANAGE,
    "POST /routing/edges/disconnect": Permission.ROUTING_MANAGE,
    "GET /exceptions": Permission.ORDER_READ,
    "GET /exceptions/{study}": Permission.ORDER_READ,
    "POST /exceptions/fix": Permission.ORDER_MANAGE,
    "POST /exceptions/fix-marked": Permission.ORDER_MANAGE,
    "POST /exceptions/undo": Permission.ORDER_MANAGE,
    "POST /exceptions/dismiss": Permission.ORDER_MANAGE,
    "POST /exceptions/matching": Permission.ORDER_MANAGE,
    "POST /exceptions/matching/remove": Permission.ORDER_MANAGE,
    # --- the edge link ---
    "GET /edge/v1/offers": EDGE,
    "GET /edge/v1/offers/{offer}": EDGE,
    "POST /edge/v1/hello": EDGE,
    "POST /edge/v1/outcomes": EDGE,
    "PUT /edge/v1/objects/{sha256}": EDGE,
    # --- DICOMweb and WADO-URI ---
    "GET /dicom-web": OPEN,
    "GET /dicom-web/": OPEN,
    "GET /dicom-web/instances": _SEARCH,
    "GET /dicom-web/series": _SEARCH,
    "GET /dicom-web/studies": _SEARCH,
    "POST /dicom-web/studies": _STORE,
    f"GET {_STUDY}": _VIEW,
    f"POST {_STUDY}": _STORE,
    f"GET {_STUDY}/instances": _SEARCH,
    f"GET {_STUDY}/metadata": _VIEW,
    f"GET {_STUDY}/rendered": _VIEW,
    f"GET {_STUDY}/series": _SEARCH,
    f"GET {_STUDY}/thumbnail": _VIEW,
    f"GET {_SERIES}": _VIEW,
    f"GET {_SERIES}/instances": _SEARCH,
    f"GET {_SERIES}/metadata": _VIEW,
    f"GET {_SERIES}/rendered": _VIEW,
    f"GET {_SERIES}/thumbnail": _VIEW,
    f"GET {_INSTANCE}": _VIEW,
    f"GET {_INSTANCE}/bulkdata/{{path:path}}": _VIEW,
    f"GET {_INSTANCE}/metadata": _VIEW,
    f"GET {_INSTANCE}/pixeldata": _VIEW,
    f"GET {_INSTANCE}/rendered": _VIEW,
    f"GET {_INSTANCE}/thumbnail": _VIEW,
    f"GET {_FRAMES}": _VIEW,
    f"GET {_FRAMES}/rendered": _VIEW,
    f"GET {_FRAMES}/thumbnail": _VIEW,
    "GET /wado": _VIEW,
    # --- the same where other archives stand behind it ---
    **{
        f"GET /dicom-web/federated{path}": permission
        for path, permission in (
            *(("/instances", _SEARCH), ("/series", _SEARCH), ("/studies", _SEARCH)),
            *((f"/studies/{{study}}{one}", _SEARCH) for one in ("/instances", "/series", "/series/{series}/instances")),
            *((f"/studies/{{study}}{one}", _VIEW) for one in ("", "/metadata", "/rendered", "/thumbnail")),
            *(
                (f"/studies/{{study}}/series/{{series}}{one}", _VIEW)
                for one in ("", "/metadata", "/rendered", "/thumbnail")
            ),
            *(
                (f"/studies/{{study}}/series/{{series}}/instances/{{instance}}{one}", _VIEW)
                for one in (
                    *("", "/bulkdata/{path:path}", "/metadata", "/pixeldata", "/rendered", "/thumbnail"),
                    *("/frames/{frames}", "/frames/{frames}/rendered", "/frames/{frames}/thumbnail"),
                )
            ),
        )
    },
    # --- other archives ---
    "GET /worklist/why": Permission.ORDER_READ,
    "GET /worklist/views": Permission.ORDER_READ,
    "POST /worklist/views/save": Permission.ORDER_MANAGE,
    "POST /worklist/views/remove": Permission.ORDER_MANAGE,
    "GET /studies/elsewhere": _SEARCH,
    "POST /studies/elsewhere/fetch": _VIEW,
    "GET /routing/sources": Permission.ROUTING_READ,
    "POST /routing/sources/echo": Permission.ROUTING_READ,
    **{
        f"POST /routing/sources/{one}": Permission.ROUTING_MANAGE
        for one in ("save", "remove", "cancel", "retry", "prefetch", "prefetch/remove")
    },
    # --- the viewer ---
    "GET /viewer": _VIEW,
    "GET /viewer/app-config.js": OPEN,
    "GET /viewer/first-image": _VIEW,
    "GET /viewer/logo": OPEN,
    "GET /viewer/{build}/{name}": OPEN,
    "GET /viewer/{path:path}": _VIEW,
    # --- the console ---
    "GET /": _SEARCH,
    "GET /events/studies": _SEARCH,
    "GET /studies/rows": _SEARCH,
    "POST /studies/columns": OPEN,
    "POST /studies/filters": _SEARCH,
    "GET /studies/download": _EXPORT,
    "GET /studies/send": _EXPORT,
    "POST /studies/send": _EXPORT,
    "GET /studies/sent": _EXPORT,
    "POST /studies/sent/again": _EXPORT,
    "POST /studies/sent/cancel": _EXPORT,
    "GET /studies/{study}": _SEARCH,
    "GET /studies/{study}/history": _SEARCH,
    f"GET {_LOOK}/look": _VIEW,
    f"GET {_LOOK}/instances/{{instance}}/attributes": _SEARCH,
    f"GET {_LOOK}/instances/{{instance}}/document": _VIEW,
    "GET /static/{version}/{name}": OPEN,
    "GET /static/fileroom.css": OPEN,
    "POST /preferences": OPEN,
    "GET /help": OPEN,
    "GET /help/images/{name}": OPEN,
    "GET /help/{name:path}": OPEN,
    # --- associations and the audit trail ---
    "GET /admin/associations": Permission.LEDGER_READ,
    "GET /admin/associations/{number}": Permission.LEDGER_READ,
    "GET /events/associations": Permission.LEDGER_READ,
    "GET /admin/audit": Permission.AUDIT_READ,
    "GET /admin/audit/check": Permission.AUDIT_READ,
    "POST /admin/audit/check": Permission.AUDIT_READ,
    "GET /admin/audit/events/{number}": Permission.AUDIT_READ,
    "GET /admin/audit/export": Permission.AUDIT_READ,
    # --- people ---
    "GET /login": OPEN,
    "POST /login": OPEN,
    "GET /login/code": OPEN,
    "POST /login/code": OPEN,
    "POST /login/passkey": OPEN,
    "POST /login/passkey/ask": OPEN,
    "GET /login/openid": OPEN,
    "GET /login/openid/return": OPEN,
    "POST /logout": OPEN,
    "GET /account": ACCOUNT,
    "GET /account/new-password": ACCOUNT,
    "POST /account/new-password": ACCOUNT,
    "POST /account/passkeys/add": ACCOUNT,
    "POST /account/passkeys/offer": ACCOUNT,
    "POST /account/passkeys/remove": ACCOUNT,
    "POST /account/passkeys/rename": ACCOUNT,
    "POST /account/password": ACCOUNT,
    "POST /account/profile": ACCOUNT,
    "POST /account/second-factor": ACCOUNT,
    "POST /account/second-factor/confirm": ACCOUNT,
    "POST /account/second-factor/remove": ACCOUNT,
    "POST /account/sessions/end": ACCOUNT,
    "POST /account/tokens": ACCOUNT,
    "POST /account/tokens/revoke": ACCOUNT,
    "GET /break-glass": _GLASS,
    "POST /break-glass": _GLASS,
    "POST /break-glass/end": _GLASS,
    "GET /admin/break-glass": _AUDIT,
    "POST /admin/break-glass/review": _AUDIT,
    "GET /admin/people": _USERS,
    "POST /admin/people/add": _USERS,
    "POST /admin/people/change": _USERS,
    "POST /admin/people/disable": _USERS,
    "POST /admin/people/enable": _USERS,
    "POST /admin/people/logout": _USERS,
    "POST /admin/people/password": _USERS,
    "POST /admin/people/reset-password": _USERS,
    "POST /admin/people/rename": _USERS,
    "POST /admin/people/roles/add": _USERS,
    "POST /admin/people/roles/change": _USERS,
    "POST /admin/people/roles/remove": _USERS,
    "POST /admin/people/second-factor/remove": _USERS,
    "POST /admin/people/tokens": _USERS,
    "POST /admin/people/tokens/revoke": _USERS,
    "POST /admin/people/unlock": _USERS,
    # --- settings ---
    "GET /admin/certificates": Permission.SETTINGS_READ,
    "GET /admin/certificates/pem": Permission.SETTINGS_READ,
    "POST /admin/certificates/activate": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/add": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/deactivate": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/distrust": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/remove": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/request": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/revoked": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/self-signed": Permission.SETTINGS_MANAGE,
    "POST /admin/certificates/trust": Permission.SETTINGS_MANAGE,
    "GET /admin/settings": Permission.SETTINGS_READ,
    "GET /admin/settings/file": Permission.SETTINGS_READ,
    "GET /admin/settings/history": Permission.SETTINGS_READ,
    "POST /admin/settings/apply": Permission.SETTINGS_MANAGE,
    "POST /admin/settings/review": Permission.SETTINGS_MANAGE,
    "POST /admin/settings/rollback": Permission.SETTINGS_MANAGE,
    # --- the console's other pages ---
    "GET /search": OPEN,
    "GET /system": _SYSTEM,
    "GET /system/figures": _SYSTEM,
    "GET /system/now": _SYSTEM,
    "GET /routing/projects": Permission.ROUTING_READ,
    "GET /routing/projects/project": Permission.ROUTING_READ,
    "GET /routing/projects/report": Permission.ROUTING_READ,
    "GET /routing/projects/report.csv": Permission.ROUTING_READ,
    "POST /routing/projects/save": Permission.ROUTING_MANAGE,
    "POST /routing/projects/remove": Permission.ROUTING_MANAGE,
    "POST /routing/projects/reveal": Permission.IDENTITY_REVEAL,
    "GET /routing/treatments": Permission.ROUTING_READ,
    "GET /routing/treatments/treatment": Permission.ROUTING_READ,
    "POST /routing/treatments/save": Permission.ROUTING_MANAGE,
    "POST /routing/treatments/try": Permission.ROUTING_READ,
    "POST /routing/treatments/remove": Permission.ROUTING_MANAGE,
    "GET /admin/nodes": _NODES,
    "GET /admin/nodes/export": _NODES,
    "GET /admin/nodes/node": _NODES,
    "POST /admin/nodes/add": _MANAGE_NODES,
    "POST /admin/nodes/approve": _MANAGE_NODES,
    "POST /admin/nodes/change": _MANAGE_NODES,
    "POST /admin/nodes/disable": _MANAGE_NODES,
    "POST /admin/nodes/echo": _NODES,
    "POST /admin/nodes/enable": _MANAGE_NODES,
    "POST /admin/nodes/ignore": _MANAGE_NODES,
    "POST /admin/nodes/import": _MANAGE_NODES,
    "POST /admin/nodes/remove": _MANAGE_NODES,
    # --- routing: schedules and alerts ---
    "GET /routing/schedules": Permission.ROUTING_READ,
    "POST /routing/schedules/save": Permission.ROUTING_MANAGE,
    "POST /routing/schedules/remove": Permission.ROUTING_MANAGE,
    "GET /routing/alerts": Permission.ROUTING_READ,
    "POST /routing/alerts/acknowledge": Permission.ROUTING_MANAGE,
    "POST /routing/alerts/save": Permission.ROUTING_MANAGE,
    "POST /routing/alerts/remove": Permission.ROUTING_MANAGE,
    "POST /routing/alerts/usual": Permission.ROUTING_MANAGE,
    # --- routing: map, deliveries, a destination ---
    "GET /routing": Permission.ROUTING_READ,
    "GET /routing/destinations": Permission.ROUTING_READ,
    "GET /routing/destinations/{name}": Permission.ROUTING_READ,
    "GET /routing/destination/new": Permission.ROUTING_READ,
    "POST /routing/destination/save": Permission.ROUTING_MANAGE,
    "POST /routing/destination/probe": Permission.ROUTING_READ,
    "POST /routing/destination/state": Permission.ROUTING_MANAGE,
    "POST /routing/destination/remove": Permission.ROUTING_MANAGE,
    "GET /routing/deliveries": Permission.ROUTING_READ,
    "GET /routing/deliveries/export": Permission.ROUTING_READ,
    "GET /routing/deliveries/{number}": Permission.ROUTING_READ,
    "POST /routing/deliveries/do": Permission.ROUTING_MANAGE,
    "POST /routing/deliveries/review": Permission.ROUTING_MANAGE,
    "GET /routing/rules": Permission.ROUTING_READ,
    "GET /routing/rules/rule": Permission.ROUTING_READ,
    "POST /routing/rules/save": Permission.ROUTING_MANAGE,
    "POST /routing/rules/try": Permission.ROUTING_READ,
    "POST /routing/rules/backtest": Permission.ROUTING_READ,
    "POST /routing/rules/enable": Permission.ROUTING_MANAGE,
    "POST /routing/rules/disable": Permission.ROUTING_MANAGE,
    "POST /routing/rules/move": Permission.ROUTING_MANAGE,
    "POST /routing/rules/remove": Permission.ROUTING_MANAGE,
    "POST /routing/rules/restore": Permission.ROUTING_MANAGE,
    # --- for those who watch ---
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": _SYSTEM,
    # --- the administration API ---
    **API,
}

SERVICES: Final[dict[CommandField, Permission | str]] = {
    CommandField.C_ECHO_RQ: OPEN,
    CommandField.C_FIND_RQ: _SEARCH,
    CommandField.C_GET_RQ: _VIEW,
    CommandField.C_MOVE_RQ: _EXPORT,
    CommandField.C_STORE_RQ: _STORE,
    CommandField.N_ACTION_RQ: _STORE,
    CommandField.N_EVENT_REPORT_RQ: OPEN,
    CommandField.N_CREATE_RQ: _STORE,
}
