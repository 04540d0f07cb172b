"""Making a page: one template, the frame around it, the reader's language and looks, and headers that let nothing else in.

    return await page(archive, request, "studies.html", place="studies", studies=found)

Templates escape everything. No page carries script or style of its own, so the content security policy names this server
alone and stored text cannot run, whatever it says.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import operator
import zoneinfo
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.requests import Request

from fileroom.archive.services import Archive
from fileroom.core.access import Access, Permission, current_access
from fileroom.core.errors import FileroomError
from fileroom.routing.alerts import count_firing
from fileroom.web.answers import NO_STORE, Answer, compressed
from fileroom.web.authentication import form_token_of, identity_of
from fileroom.web.console import formats
from fileroom.web.console.assets import asset_url
from fileroom.web.console.language import LANGUAGES, Reader, choose_reader
from fileroom.web.console.places import chapter_for, places_for
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer

THEMES: Final = ("auto", "light", "dark")
DENSITIES: Final = ("normal", "compact", "roomy")
THEME_COOKIE: Final = "fileroom_theme"
DENSITY_COOKIE: Final = "fileroom_density"
LANGUAGE_COOKIE: Final = "fileroom_language"
PART_HEADER: Final = "x-fileroom-part"
"""Our script asks with it for a piece of a page, without the frame."""

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class View:
    """Who looks, and how it shall look to them."""

    access: Access
    reader: Reader
    theme: str
    density: str
    zone: dt.tzinfo | None = None
    """The time zone that moments are shown in; None: the server's."""

    @property
    def tag(self) -> str:
        """Language and region, for the formats."""
        return str(self.reader.locale).replace("_", "-")


def view_of(request: Request) -> View:
    """The view of a request: looks by cookie, as they belong to a screen, else as the person has chosen them."""
    cookies = request.cookies
    profile = identity_of(request).profile
    theme, density = cookies.get(THEME_COOKIE) or profile.theme, cookies.get(DENSITY_COOKIE) or profile.density
    return View(
        current_access(),
        choose_reader(cookies.get(LANGUAGE_COOKIE) or profile.language, request.headers.get("accept-language")),
        theme if theme in THEMES else THEMES[0],
        density if density in DENSITIES else DENSITIES[0],
        zoneinfo.ZoneInfo(profile.time_zone) if profile.time_zone else None,
    )


def is_part(request: Request) -> bool:
    """Is only a piece of the page wanted, to be put into one that is open?"""
    return PART_HEADER in request.headers


async def page(
    archive: Archive, request: Request, template: str, *, place: str = "", status: int = 200, **values: Any
) -> Answer:
    """The answer that shows `template`. `place` is the key of the rail's entry that is lit."""
    view = view_of(request)
    alerts_in_rail = await _alerts_in_rail(archive, view.access)
    html = (
        environment(view.tag)
        .get_template(template)
        .render(
            view=view,
            place=place,
            places=places_for(view.access),
            alerts_in_rail=alerts_in_rail,
            chapter_of_page=chapter_for(request.url.path),
            languages=LANGUAGES,
            themes=THEMES,
            address=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            aet=archive.settings.aet,
            person=identity_of(request),
            form_token=form_token_of(request),
            **values,
        )
    )
    headers = {
        "content-type": "text/html; charset=utf-8",
        "cache-control": NO_STORE,
        "vary": "Accept-Language, Cookie",
        # Forms of this site must name their origin; under `no-referrer` browsers send `Origin: null`.
        "referrer-policy": "same-origin",
        "content-security-policy": CONTENT_SECURITY_POLICY,
    }
    return compressed(Answer(status, headers, html.encode("utf-8", "replace")), request.headers.get("accept-encoding"))


async def _alerts_in_rail(archive: Archive, access: Access) -> int:
    """How many alerts nobody has acknowledged, for those who may see them. A page without it is better than none."""
    if not access.allows(Permission.ROUTING_READ):
        return 0
    try:
        return await count_firing(archive)
    except (FileroomError, psycopg.Error):
        return 0


def page_handler(archive: Archive, route: str, handler: Callable[[Request], Awaitable[Answer]]) -> Handler:
    """The same handler; what goes wrong in it is told as a page."""

    async def handle(request: Request) -> Answer:
        try:
            return await handler(request)
        except Exception as error:  # noqa: BLE001 - the boundary of a request; the error table logs it
            return await error_page(archive, request, error_answer(error, route), error)

    return handle


async def error_page(archive: Archive, request: Request, problem: Answer, error: Exception | None = None) -> Answer:
    """A problem document as a page, with its headers; what `error` says in the reader's language."""
    detail = orjson.loads(problem.body if isinstance(problem.body, bytes) else b"{}").get("detail", "")
    if isinstance(error, FileroomError):
        detail = view_of(request).reader.say(error)
    answer = await page(archive, request, "error.html", status=problem.status, detail=detail, code=problem.status)
    kept = {name: value for name, value in problem.headers.items() if name == "retry-after"}
    return answer.with_headers(kept)


@functools.lru_cache(maxsize=64)
def environment(tag: str) -> Environment:
    """The templates in one language and region."""
    reader = choose_reader(None, tag)
    made = Environment(
        loader=PackageLoader("fileroom.web.console"),
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(reader.gettext, reader.ngettext, newstyle=True)  # type: ignore[attr-defined]  # by the extension
    made.globals["asset_url"] = asset_url
    made.filters |= _filters(tag, reader)
    return made


def _grouped(items: Iterable[Any], name: str) -> list[tuple[Any, list[Any]]]:
    """Neighbours with the same attribute together, in the order they came in; Jinja's own `groupby` sorts."""
    return [(key, list(members)) for key, members in itertools.groupby(items, key=operator.attrgetter(name))]


def _zone_of(context: Context) -> dt.tzinfo | None:
    """Macros that are imported without their page's context show the server's time."""
    view = context.get("view")
    return view.zone if isinstance(view, View) else None


def _filters(tag: str, reader: Reader) -> dict[str, Callable[..., object]]:
    return {
        "groupby_in_order": _grouped,
        "person": formats.person_name,
        "short_uid": formats.short_uid,
        "day": lambda text, width="medium": formats.date(text, tag, width),
        "clock": lambda text: formats.time(text, tag),
        "moment": pass_context(
            lambda context, value, width="short": formats.moment(value, tag, width, _zone_of(context))
        ),
        "age": lambda study: formats.age(study.birth_date, study.date, study.age, reader),
        "number": lambda value: formats.number(value, tag),
        "size": lambda value: formats.size(value, tag),
    }
