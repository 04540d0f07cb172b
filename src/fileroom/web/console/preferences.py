"""What somebody chooses where they see it: theme, density, language at `/preferences`, columns at `/studies/columns`.

Who has logged in finds it again on every machine: it is kept with the account. A cookie says the same until every worker has
heard of it. Without an account the cookie alone keeps it.
"""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from fileroom.admin.accounts import change_own_profile
from fileroom.admin.people import People
from fileroom.admin.profiles import Profile
from fileroom.core.limits import ACCESS_CACHE_S
from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, IdentityCache, identity_of, require_form_token
from fileroom.web.console.forms import own_path, read_form
from fileroom.web.console.language import LANGUAGES
from fileroom.web.console.page import DENSITIES, DENSITY_COOKIE, LANGUAGE_COOKIE, THEME_COOKIE, THEMES
from fileroom.web.console.study_columns import COLUMNS_COOKIE, columns_cookie, usual_columns
from fileroom.web.endpoint import Handler

PREFERENCES_PATH: Final = "/preferences"
COLUMNS_PATH: Final = "/studies/columns"
KEPT_S: Final = 365 * 24 * 3600
_HEARD_S: Final = int(3 * ACCESS_CACHE_S)
"""By then every worker asks the database again."""

_CHOICES: Final = {
    "theme": (THEME_COOKIE, frozenset(THEMES)),
    "density": (DENSITY_COOKIE, frozenset(DENSITIES)),
    "language": (LANGUAGE_COOKIE, frozenset(LANGUAGES)),
}
_AS_THE_SYSTEM: Final = "auto"


def preference_handlers(people: People, cache: IdentityCache) -> dict[str, dict[str, Handler]]:
    """The handlers of both addresses, by path."""

    async def look(request: Request) -> Answer:
        """Keep the one choice that the form names, and go back to the page that it was made on."""
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        for field, (cookie, allowed) in _CHOICES.items():
            value = form.get(field)
            if value in allowed:
                chosen: dict[str, Any] = {field: "" if value == _AS_THE_SYSTEM else value}
                profile = dataclasses.replace(identity_of(request).profile, **chosen)
                return await _kept(people, cache, request, profile, f"{cookie}={value}", form.get("back"))
        return _back(form.get("back"))

    async def columns(request: Request) -> Answer:
        """Keep which columns of the study list are shown."""
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        value = columns_cookie(form.all("column")) or columns_cookie(list(usual_columns()))
        profile = dataclasses.replace(identity_of(request).profile, columns=tuple(value.split(".")))
        return await _kept(people, cache, request, profile, f"{COLUMNS_COOKIE}={value}", form.get("back"))

    return {PREFERENCES_PATH: {"POST": look}, COLUMNS_PATH: {"POST": columns}}


async def _kept(
    people: People, cache: IdentityCache, request: Request, profile: Profile, cookie: str, back: str
) -> Answer:
    lasts_s = KEPT_S
    if identity_of(request).session_id is not None:
        await change_own_profile(people, profile)
        cache.forget()
        lasts_s = _HEARD_S
    return _back(back, {"set-cookie": f"{cookie}; Max-Age={lasts_s}; Path=/; SameSite=Lax; HttpOnly"})


def _back(address: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(HTTPStatus.SEE_OTHER, {"location": own_path(address), "cache-control": NO_STORE, **(headers or {})})
