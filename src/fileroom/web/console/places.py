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
    Place("system", "/system", N_("System"), Permission.SYSTEM_READ),
    Place("admin", "/admin/people", N_("Admin"), Permission.USER_MANAGE),
    # Whoever may not manage people enters it by its next page.
    Place("admin", "/admin/nodes", N_("Admin"), Permission.NODE_READ),
)


def places_for(access: Access) -> tuple[Place, ...]:
    """Those that somebody may enter, each by the first of its pages that is open to them."""
    first: dict[str, Place] = {}
    for place in PLACES:
        if access.allows(place.permission):
            first.setdefault(place.key, place)
    return tuple(first.values())
