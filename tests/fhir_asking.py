"""Asking FHIR in tests: every answer is checked by models of FHIR R4 that are somebody else's."""

from __future__ import annotations

from typing import Any

import httpx
from fhir.resources.R4B import get_fhir_model_class

STUDY = "1.2.3.1"


async def get(client: httpx.AsyncClient, path: str, status: int = 200, **headers: str) -> dict[str, Any]:
    """A resource that somebody else's models find valid."""
    answer = await client.get(f"/fhir/{path}", headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/fhir+json"
    found: dict[str, Any] = answer.json()
    get_fhir_model_class(found["resourceType"]).model_validate(found)
    return found


def resources(bundle: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of a page."""
    return [entry["resource"] for entry in bundle.get("entry", [])]
