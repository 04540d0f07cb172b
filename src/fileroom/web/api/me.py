"""`/me`: who asks, and what belongs to their own account: profile, sessions, tokens, broken glass."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Request, Response
from pydantic import Field

from fileroom.admin import accounts, break_glass, sessions, tokens
from fileroom.admin.break_glass import MINUTES_DEFAULT, MINUTES_MAX
from fileroom.admin.profiles import Profile
from fileroom.admin.row_scopes import row_scope_to_json
from fileroom.core.access import ActorKind, Permission, current_access
from fileroom.core.limits import API_TOKEN_DAYS_MAX
from fileroom.web.api.break_glass import ShownGlass
from fileroom.web.api.models import INTEGRAL, Asked, Moment, Name, NewSecret, NumberInPath, Rows, ShortText, Shown, Text
from fileroom.web.api.operations import ACCOUNT, OPEN, PERSON, Api
from fileroom.web.api.tokens import FhirPatientAsked, FhirScopesAsked, ShownToken
from fileroom.web.api.versions import IfMatch, require_unchanged, tag
from fileroom.web.authentication import form_token_of, identity_of


class ShownProfile(Shown):
    """What a person has chosen; empty: as the browser or the installation has it."""

    language: str
    time_zone: str
    theme: str
    density: str
    columns: list[str]
    layout: str
    hanging_protocol: str


class AskedProfile(Asked):
    """What a person chooses; what is left out becomes empty."""

    language: Literal["", "en", "de"] = ""
    time_zone: Annotated[ShortText, Field(examples=["Europe/Berlin"])] = ""
    theme: Literal["", "dark", "light"] = ""
    density: Literal["", "compact", "normal", "roomy"] = ""
    columns: Annotated[list[Annotated[ShortText, Field(max_length=64)]], Field(max_length=60, default_factory=list)]
    layout: Literal["", "images", "series", "panels"] = ""
    hanging_protocol: Annotated[ShortText, Field(max_length=64)] = ""


class Me(Shown):
    """Who asks, and what they may do."""

    kind: Annotated[ActorKind, Field(description="What kind of somebody.")]
    name: str
    full_name: str
    permissions: list[str]
    rows: Rows
    profile: ShownProfile
    expires_at: Moment | None
    form_token: Annotated[
        str | None, Field(description="For the header X-Form-Token of changes in a session of the console.")
    ]


class ShownSession(Shown):
    """A session of the console."""

    id: int
    address: str
    user_agent: str
    created_at: Moment
    last_seen_at: Moment
    expires_at: Moment


class Sessions(Shown):
    """Living sessions, the latest first."""

    items: list[ShownSession]


class OwnTokens(Shown):
    """One's own tokens, by name."""

    items: list[ShownToken]


class NewOwnToken(Asked):
    """A token that may do at most what its person may."""

    name: Annotated[Name, Field(max_length=60, examples=["dose-report"])]
    permissions: Annotated[
        list[Permission] | None, Field(min_length=1, max_length=100, description="Null: all that you may.")
    ] = None
    days: Annotated[
        int | None, Field(strict=True, ge=1, le=API_TOKEN_DAYS_MAX, description="Null: without an end."), INTEGRAL
    ] = None
    fhir_scopes: FhirScopesAsked = None
    fhir_patient: FhirPatientAsked = None


class GlassToBreak(Asked):
    """Why, and for how long."""

    reason: Annotated[Text, Field(min_length=8, examples=["Emergency in room 4, patient unconscious"])]
    minutes: Annotated[int, Field(strict=True, ge=1, le=MINUTES_MAX), INTEGRAL] = MINUTES_DEFAULT


def add_me(api: Api) -> None:
    """The operations."""
    people = api.people
    me = api.resource("me", "Who asks: permissions, profile, own sessions and tokens, breaking the glass.")

    @me.get("/me", "get", OPEN)
    async def get_me(request: Request) -> Me:
        """Who asks, and what they may do."""
        identity, access = identity_of(request), current_access()
        return Me(
            kind=access.kind,
            name=access.name,
            full_name=identity.full_name,
            permissions=sorted(access.permissions),
            rows=Rows(**row_scope_to_json(access.rows)),
            profile=_profile(identity.profile),
            expires_at=identity.expires_at,
            form_token=form_token_of(request) or None,
        )

    @me.get("/me/profile", "get_profile", ACCOUNT)
    async def get_profile(response: Response) -> ShownProfile:
        """One's own profile."""
        shown = _profile((await accounts.find_own_account(people)).profile)
        tag(response, shown)
        return shown

    @me.put("/me/profile", "set_profile", ACCOUNT)
    async def set_profile(asked: AskedProfile, response: Response, if_match: IfMatch = None) -> ShownProfile:
        """Choose language, time zone, columns and looks."""
        require_unchanged(if_match, _profile((await accounts.find_own_account(people)).profile))
        values = asked.model_dump()
        await accounts.change_own_profile(people, Profile(**{**values, "columns": tuple(values["columns"])}))
        shown = _profile((await accounts.find_own_account(people)).profile)
        tag(response, shown)
        return shown

    @me.get("/me/sessions", "sessions", ACCOUNT)
    async def list_sessions() -> Sessions:
        """One's own living sessions."""
        return Sessions.model_validate({"items": await sessions.list_own_sessions(people)}, from_attributes=True)

    @me.delete("/me/sessions/{session_id}", "end_session", ACCOUNT)
    async def end_session(session_id: NumberInPath) -> None:
        """End a session of one's own."""
        await sessions.end_own_session(people, session_id)

    @me.get("/me/tokens", "tokens", ACCOUNT)
    async def list_tokens() -> OwnTokens:
        """One's own tokens, without their secrets."""
        return OwnTokens.model_validate({"items": await tokens.list_own_tokens(people)}, from_attributes=True)

    @me.add("/me/tokens", "add_token", ACCOUNT)
    async def add_token(asked: NewOwnToken) -> NewSecret:
        """Make a token; its secret is told this once. A token cannot make tokens."""
        permissions = None if asked.permissions is None else frozenset(asked.permissions)
        request = tokens.TokenRequest(
            asked.name, permissions, asked.days, tuple(asked.fhir_scopes or ()), asked.fhir_patient
        )
        return NewSecret(secret=await tokens.create_own_token(people, request))

    @me.delete("/me/tokens/{token_id}", "revoke_token", ACCOUNT)
    async def revoke_token(token_id: NumberInPath) -> None:
        """End a token of one's own; it is refused within seconds."""
        await tokens.revoke_own_token(people, token_id)

    @me.add("/me/break-glass", "break_glass", PERSON)
    async def break_the_glass(asked: GlassToBreak) -> ShownGlass:
        """See for a time what the row scope hides, with a reason. An auditor reviews it afterwards."""
        return ShownGlass.model_validate(await break_glass.break_glass(people, asked.reason, asked.minutes))

    @me.delete_and_tell("/me/break-glass", "end_break_glass", PERSON)
    async def end_break_glass() -> ShownGlass:
        """End it before its time."""
        return ShownGlass.model_validate(await break_glass.end_break_glass(people))


def _profile(profile: Profile) -> ShownProfile:
    return ShownProfile.model_validate(profile, from_attributes=True)
