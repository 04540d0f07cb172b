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
    # Exceptions, Worklist and Routing take their lines here, in this order, when there is something behind them.
    Place("admin", "/admin/people", N_("Admin"), Permission.USER_MANAGE),
)


def places_for(access: Access) -> tuple[Place, ...]:
    """Those that somebody may enter."""
    return tuple(place for place in PLACES if access.allows(place.permission))
