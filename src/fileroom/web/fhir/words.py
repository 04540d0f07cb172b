"""Addresses of FHIR as a client knows them."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.fhir.elements import Words
from fileroom.web.address import dicomweb_root, own_origin
from fileroom.web.authentication import FHIR_PATH

__all__ = ["FHIR_PATH", "base_of", "words_for"]


def words_for(archive: Archive, request: Request) -> Words:
    """How resources are written for this client."""
    zone = archive.settings.routing_zone
    return Words(base_of(request), dicomweb_root(request), ZoneInfo(zone) if zone else None)


def base_of(request: Request) -> str:
    """The root of FHIR as the client knows it."""
    return f"{own_origin(request)}{FHIR_PATH}"
