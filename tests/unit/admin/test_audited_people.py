"""Logins and changes of people, roles and tokens stand in the audit trail, without any secret."""

from __future__ import annotations

import pytest

from fileroom.admin.accounts import AccountChange, change_account, set_password
from fileroom.admin.audit_search import AuditQuery, AuditRecord, search
from fileroom.admin.logins import Client, log_in
from fileroom.admin.people import People
from fileroom.admin.roles import Role, add_role, remove_role
from fileroom.admin.sessions import end_session, end_sessions
from fileroom.admin.tokens import TokenRequest, create_token, revoke_token
from fileroom.core.access import NOBODY, SYSTEM, Permission, acting_as
from fileroom.core.errors import NotAuthenticatedError
from people_of_tests import OTHER_PASSWORD, PASSWORD, add

HERE = Client("10.0.0.1", "Browser/1")


async def events(people: People, kind: str) -> list[AuditRecord]:
    with acting_as(SYSTEM):
        return [*reversed((await search(people.pool, AuditQuery(event=kind))).records)]


async def test_logins_right_and_wrong_and_the_end(people: People) -> None:
    await add(people, "ada")
    with acting_as(NOBODY):
        for login in ("ada", "nobody-of-that-name"):
            with pytest.raises(NotAuthenticatedError):
                await log_in(people, login, "wrong", HERE)
        session = await log_in(people, "ada", PASSWORD, HERE)
        await end_session(people, session.secret)
        await end_session(people, session.secret)
    found = await events(people, "110114")
    assert [(one.event_type, one.actor, one.address, one.outcome) for one in found] == [
        ("110122", "ada", "10.0.0.1", 4),
        ("110122", "nobody-of-that-name", "10.0.0.1", 4),
        ("110122", "ada", "10.0.0.1", 0),
        ("110123", "ada", "10.0.0.1", 0),
    ]


async def test_accounts_roles_and_tokens(people: People) -> None:
    await add(people, "ada")
    await change_account(people, "ada", AccountChange(role="auditor", disabled=False))
    await set_password(people, "ada", OTHER_PASSWORD)
    with acting_as(NOBODY):
        await log_in(people, "ada", OTHER_PASSWORD, HERE)
    assert await end_sessions(people, "ada") == 1
    await add_role(people, Role("desk", frozenset({Permission.STUDY_SEARCH})))
    await remove_role(people, "desk")
    secret = await create_token(people, TokenRequest("robot"), "auditor")
    await revoke_token(people, "robot")
    found = await events(people, "110113")
    assert [(one.event_type, one.message.objects[0].name) for one in found] == [
        *[("110137", "ada")] * 4,
        *[("110136", "desk")] * 2,
        *[("110137", "robot")] * 2,
    ]
    assert "to auditor" in found[1].what
    told = str(found)
    assert not any(each in told for each in (secret, PASSWORD, OTHER_PASSWORD))
