"""Choosing a representation by the Accept header or the `accept` parameter, with the error when there is none."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from fileroom.dicomweb.media_types import Representation, choose, parse_accept
from fileroom.web.errors import NotAcceptableError

NEGOTIATED = frozenset({"accept", "charset"})
"""Query parameters that say how an answer is sent, not what is in it (PS3.18 8.3.3)."""


def negotiate(request: Request, offered: Sequence[Representation], default_type: str | None = None) -> Representation:
    """The best of `offered`; `default_type` is what `*/*` stands for. Raises NotAcceptableError, which names them."""
    accepted = parse_accept(request.headers.get("accept"), request.query_params.get("accept"))
    chosen = choose(accepted, offered, default_type)
    if chosen is None:
        raise not_acceptable(offered)
    return chosen


def not_acceptable(offered: Sequence[Representation]) -> NotAcceptableError:
    """The error that says what could have been had."""
    forms = dict.fromkeys(_shown(representation) for representation in offered)
    if not forms:
        return NotAcceptableError("This cannot be sent in any form that DICOMweb knows")
    return NotAcceptableError(f"None of the accepted media types can be sent; ask for one of: {', '.join(forms)}")


def search_parameters(request: Request) -> list[tuple[str, str]]:
    """The query parameters without those of the negotiation."""
    return [(name, value) for name, value in request.query_params.multi_items() if name.lower() not in NEGOTIATED]


def _shown(representation: Representation) -> str:
    inner = representation.part_content_type()
    return f'multipart/related; type="{inner}"' if representation.multipart else inner
