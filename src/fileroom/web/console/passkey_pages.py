"""Passkeys on the pages: what the browser asks a passkey for, making, renaming and removing one's own, logging in by one.

Questions are fetched by `static/passkeys.js` as JSON; answers come as ordinary forms, so that what goes wrong is told by the
page as everywhere else.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import orjson
from starlette.requests import Request

from fileroom.admin.logins import confirm_presence
from fileroom.admin.passkey_challenges import Site
from fileroom.admin.passkey_logins import ask_for_passkey
from fileroom.admin.passkeys import add_own_passkey, offer_passkey, remove_own_passkey, rename_own_passkey
from fileroom.admin.people import People
from fileroom.core.errors import RequestError
from fileroom.web.address import client_address, own_origin
from fileroom.web.answers import NO_STORE, Answer, json_answer
from fileroom.web.authentication import FORM_TOKEN_FIELD, identity_of, require_form_token
from fileroom.web.console.form_pages import Did, FormWork, back_to, whole_number
from fileroom.web.console.forms import read_form
from fileroom.web.console.page import view_of
from fileroom.web.credentials import read_head, session_secret
from fileroom.web.endpoint import Handler
from fileroom.web.errors import error_answer, problem

ACCOUNT_PATH: Final = "/account"
OFFER_PATH: Final = "/account/passkeys/offer"
ASK_PATH: Final = "/login/passkey/ask"
PASSKEY_LOGIN_PATH: Final = "/login/passkey"
SECOND_STEP: Final = "code"
"""The value of the field `step` where the password was right already."""


def site_of(request: Request) -> Site:
    """This server as the browser of a request sees it. `web.guard` has checked the name."""
    origin = own_origin(request)
    return Site(request.url.hostname or "", origin)


def passkey_works() -> dict[str, FormWork]:
    """What the forms of one's own account do, by path below it."""
    return {"/passkeys/add": _add, "/passkeys/rename": _rename, "/passkeys/remove": _remove}


def offer_handler(people: People) -> Handler:
    """The handler of OFFER_PATH: a new passkey for whoever is logged in and shows it once more."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        require_form_token(request, form.get(FORM_TOKEN_FIELD))
        await confirm_presence(
            people, identity_of(request).session_id, form.exactly("password"), client_address(request)
        )
        return _question(request, await offer_passkey(people, site_of(request)))

    return _told(handle, OFFER_PATH)


def ask_handler(people: People) -> Handler:
    """The handler of ASK_PATH: anybody's passkey, or after the password one of that account's."""

    async def handle(request: Request) -> Answer:
        form = await read_form(request)
        half = (session_secret(read_head(request.scope)) or "") if form.get("step") == SECOND_STEP else None
        return _question(request, await ask_for_passkey(people, site_of(request), half))

    return _told(handle, ASK_PATH)


def _question(request: Request, options: str) -> Answer:
    """With the origin that we expect: behind a proxy that hides it the script can say what is wrong."""
    answer = {"origin": own_origin(request), "publicKey": orjson.loads(options)}
    return json_answer(answer).with_headers({"cache-control": NO_STORE})


def _told(handler: Handler, route: str) -> Handler:
    """The same handler; what was asked wrongly is told in the reader's language."""

    async def handle(request: Request) -> Answer:
        try:
            return await handler(request)
        except RequestError as error:
            answer = error_answer(error, route)
            said = problem(HTTPStatus(answer.status), view_of(request).reader.say(error))
            kept = {name: value for name, value in answer.headers.items() if name == "retry-after"}
            return said.with_headers(kept)

    return handle


async def _add(did: Did) -> Answer:
    site, form = site_of(did.request), did.form
    codes = await add_own_passkey(did.people, site, form.get("name"), form.get("credential"))
    return await did.show(did.request, recovery_codes=codes) if codes else back_to(ACCOUNT_PATH, "passkey")


async def _rename(did: Did) -> Answer:
    await rename_own_passkey(did.people, whole_number(did.form, "id"), did.form.get("name"))
    return back_to(ACCOUNT_PATH, "passkey")


async def _remove(did: Did) -> Answer:
    session = identity_of(did.request).session_id
    await confirm_presence(did.people, session, did.form.exactly("password"), client_address(did.request))
    await remove_own_passkey(did.people, whole_number(did.form, "id"))
    return back_to(ACCOUNT_PATH, "passkey")
