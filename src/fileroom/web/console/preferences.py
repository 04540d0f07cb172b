"""`/preferences`: theme, density and language of this browser, kept in cookies that hold nothing else."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from starlette.requests import Request

from fileroom.web.answers import NO_STORE, Answer
from fileroom.web.console.forms import own_path, read_form
from fileroom.web.console.language import LANGUAGES
from fileroom.web.console.page import DENSITIES, DENSITY_COOKIE, LANGUAGE_COOKIE, THEME_COOKIE, THEMES

KEPT_S: Final = 365 * 24 * 3600

_CHOICES: Final = {
    "theme": (THEME_COOKIE, frozenset(THEMES)),
    "density": (DENSITY_COOKIE, frozenset(DENSITIES)),
    "language": (LANGUAGE_COOKIE, frozenset(LANGUAGES)),
}


async def preferences_handler(request: Request) -> Answer:
    """Keep the one choice that the form names, and go back to the page that it was made on."""
    form = await read_form(request)
    headers = {"location": own_path(form.get("back")), "cache-control": NO_STORE}
    for field, (cookie, allowed) in _CHOICES.items():
        value = form.get(field)
        if value in allowed:
            headers["set-cookie"] = f"{cookie}={value}; Max-Age={KEPT_S}; Path=/; SameSite=Lax; HttpOnly"
            break
    return Answer(HTTPStatus.SEE_OTHER, headers)
