"""`/tokens`: how programs log in."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request
from pydantic import Field

from fileroom.admin import tokens
from fileroom.admin.fhir_scopes import SCOPES_MAX
from fileroom.core.access import Permission
from fileroom.core.errors import NotFoundError
from fileroom.core.limits import API_TOKEN_DAYS_MAX
from fileroom.web.api.models import INTEGRAL, NUMBER_MAX, Asked, Moment, Name, NewSecret, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, by_number, cut, next_address


class ShownToken(Shown):
    """A token without its secret; `login` of its person, or `role` of the program."""

    id: int
    name: str
    login: str | None
    role: str | None
    permissions: Annotated[list[str] | None, Field(description="Null: all that the role or the person may.")]
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    last_used_at: Moment | None
    fhir_scopes: Annotated[
        list[str] | None,
        Field(description="Scopes of FHIR, for which alone it is good; null: it is not narrowed to FHIR."),
    ] = None
    fhir_patient: Annotated[int | None, Field(description="Whom scopes of the level patient are about.")] = None


class TokenPage(Page[ShownToken]):
    """Tokens."""


FhirScopesAsked = Annotated[
    list[Annotated[str, Field(max_length=80, examples=["user/ImagingStudy.rs"])]] | None,
    Field(max_length=SCOPES_MAX, description="Scopes in the manner of SMART on FHIR: good for these resources alone."),
]
FhirPatientAsked = Annotated[
    int | None,
    Field(strict=True, ge=1, le=NUMBER_MAX, description="The patient (its number) of scopes of the level patient."),
    INTEGRAL,
]


class NewToken(Asked):
    """A program's token."""

    name: Annotated[Name, Field(max_length=60, examples=["dose-report"])]
    role: Annotated[Name, Field(examples=["researcher"])]
    permissions: Annotated[
        list[Permission] | None,
        Field(min_length=1, max_length=100, description="Only these of the role's; null: all of them."),
    ] = None
    days: Annotated[
        int | None, Field(strict=True, ge=1, le=API_TOKEN_DAYS_MAX, description="Null: without an end."), INTEGRAL
    ] = None
    fhir_scopes: FhirScopesAsked = None
    fhir_patient: FhirPatientAsked = None


def add_tokens(api: Api) -> None:
    """The operations."""
    people = api.people
    resource = api.resource("tokens", "API tokens, by which programs log in.")

    @resource.get("/tokens", "all", Permission.USER_MANAGE)
    async def all_tokens(request: Request, limit: Limit = 100, cursor: Cursor = "") -> TokenPage:
        """All tokens, of programs and persons, without their secrets."""
        found, behind = cut(await tokens.list_tokens(people), lambda token: by_number(token.id), cursor, limit)
        return TokenPage(
            items=[ShownToken.model_validate(token) for token in found], next=next_address(request, behind)
        )

    @resource.add("/tokens", "add", Permission.USER_MANAGE)
    async def add_token(asked: NewToken) -> NewSecret:
        """Make a program's token; its secret is told this once. A token cannot make tokens."""
        permissions = None if asked.permissions is None else frozenset(asked.permissions)
        request = tokens.TokenRequest(
            asked.name, permissions, asked.days, tuple(asked.fhir_scopes or ()), asked.fhir_patient
        )
        return NewSecret(secret=await tokens.create_token(people, request, asked.role))

    @resource.delete("/tokens/{token_id}", "revoke", Permission.USER_MANAGE)
    async def revoke_token(token_id: NumberInPath) -> None:
        """End a token; it is refused within seconds."""
        for token in await tokens.list_tokens(people):
            if token.id == token_id:
                await tokens.revoke_token(people, f"{token.login}/{token.name}" if token.login else token.name)
                return
        raise NotFoundError(f"There is no token {token_id}; it may be revoked already.")
