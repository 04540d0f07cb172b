"""What this server of FHIR can do: the capability statement, made from the tables that searches are read by.

And the document of SMART on FHIR: there is no authorization server, tokens are made in Fileroom and carry their scopes.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from fileroom import __version__
from fileroom.fhir.elements import TERMINOLOGY, Resource
from fileroom.fhir.kinds import Kind
from fileroom.fhir.registry import KINDS


def capability_statement(base: str, now: dt.datetime) -> Resource:
    """The capability statement (FHIR R4 5.1)."""
    resources = [_resource(kind) for kind in KINDS.values()]
    resources.append(
        {
            "type": "Subscription",
            "interaction": [{"code": code} for code in ("read", "search-type", "create", "update", "delete")],
            "versioning": "versioned",
            "documentation": "Channel rest-hook; payload none or application/fhir+json. "
            "Notices are sent with the rights of whoever made the subscription.",
        }
    )
    resources.append({"type": "Binary", "interaction": [{"code": "read"}]})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": now.date().isoformat(),
        "kind": "instance",
        "software": {"name": "Fileroom", "version": __version__},
        "implementation": {"description": "Fileroom", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["json", "application/fhir+json"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "service": [
                        {"coding": [{"system": f"{TERMINOLOGY}/restful-security-service", "code": "SMART-on-FHIR"}]}
                    ],
                    "description": "Authorization: Bearer TOKEN. Tokens are made in Fileroom, with scopes of SMART on FHIR.",
                },
                "resource": resources,
            }
        ],
    }


def smart_configuration() -> dict[str, Any]:
    """`.well-known/smart-configuration`, as far as it is meant without an authorization server."""
    kinds = ("*", *KINDS, "Binary", "Subscription")
    return {
        "capabilities": ["permission-patient", "permission-user", "permission-v1", "permission-v2"],
        "scopes_supported": [f"{level}/{kind}.rs" for level in ("patient", "user", "system") for kind in kinds],
        "grant_types_supported": [],
        "code_challenge_methods_supported": [],
    }


def _resource(kind: Kind) -> Resource:
    codes = ["read", "search-type"] + (["vread", "history-instance"] if kind.name == "DiagnosticReport" else [])
    found: Resource = {
        "type": kind.name,
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned" if kind.name in ("Patient", "ServiceRequest", "DiagnosticReport") else "no-version",
        "readHistory": kind.name == "DiagnosticReport",
        "searchParam": [{"name": one.name, "type": one.type} for one in kind.parameters.values()],
    }
    includes = [f"{kind.name}:{name}" for name in kind.includes]
    revincludes = [
        f"{other.name}:{name}"
        for other in KINDS.values()
        for name, include in other.includes.items()
        if include.target == kind.name
    ]
    if includes:
        found["searchInclude"] = includes
    if revincludes:
        found["searchRevInclude"] = revincludes
    if kind.name == "Patient":
        found["operation"] = [
            {"name": "everything", "definition": "http://hl7.org/fhir/OperationDefinition/Patient-everything"}
        ]
    return found
