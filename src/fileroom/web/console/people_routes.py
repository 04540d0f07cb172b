"""The addresses of people: login, logout, one's own account, and the accounts of others."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.web.authentication import LOGIN_PATH, IdentityCache
from fileroom.web.console.account import account_handlers
from fileroom.web.console.break_glass_page import break_glass_handlers
from fileroom.web.console.login import (
    CODE_PATH,
    LOGOUT_PATH,
    code_handler,
    code_page_handler,
    login_handler,
    login_page_handler,
    logout_handler,
    passkey_login_handler,
)
from fileroom.web.console.openid_pages import (
    OPENID_PATH,
    OPENID_RETURN_PATH,
    openid_handler,
    openid_return_handler,
)
from fileroom.web.console.page import page_handler
from fileroom.web.console.passkey_pages import ASK_PATH, OFFER_PATH, PASSKEY_LOGIN_PATH, ask_handler, offer_handler
from fileroom.web.console.people import people_handlers
from fileroom.web.console.preferences import preference_handlers
from fileroom.web.console.settings_page import settings_handlers
from fileroom.web.endpoint import Endpoint, Handler


def people_routes(archive: Archive, people: People, cache: IdentityCache) -> list[BaseRoute]:
    """The routes; what goes wrong in one is told as a page."""
    pages: dict[str, dict[str, Handler]] = {
        LOGIN_PATH: {"GET": login_page_handler(archive), "POST": login_handler(archive, people)},
        CODE_PATH: {"GET": code_page_handler(archive), "POST": code_handler(archive, people)},
        PASSKEY_LOGIN_PATH: {"POST": passkey_login_handler(archive, people)},
        OPENID_PATH: {"GET": openid_handler(archive, people)},
        OPENID_RETURN_PATH: {"GET": openid_return_handler(archive, people)},
        LOGOUT_PATH: {"POST": logout_handler(archive, people, cache)},
    }
    pages |= account_handlers(archive, people, cache) | people_handlers(archive, people, cache)
    pages |= settings_handlers(archive, people, cache)
    pages |= preference_handlers(people, cache) | break_glass_handlers(archive, people, cache)
    asked: dict[str, Handler] = {OFFER_PATH: offer_handler(people), ASK_PATH: ask_handler(people)}
    routes: list[BaseRoute] = [Route(path, Endpoint(path, {"POST": handler})) for path, handler in asked.items()]
    for path, handlers in pages.items():
        told = {method: page_handler(archive, path, handler) for method, handler in handlers.items()}
        routes.append(Route(path, Endpoint(path, told)))
    return routes
