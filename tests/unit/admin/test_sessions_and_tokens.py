"""Sessions and API tokens: what they open, when they end, and that the database does not hold them."""

from __future__ import annotations

import pytest

from fileroom.admin.accounts import AccountChange, change_account
from fileroom.admin.authentication import identity_of_session, identity_of_token
from fileroom.admin.people import People
from fileroom.admin.roles import Role, add_role, change_role
from fileroom.admin.sessions import (
    begin_session,
    end_own_session,
    end_session,
    end_sessions,
    forget_dead_sessions,
    list_own_sessions,
    list_sessions,
)
from fileroom.admin.tokens import (
    TokenRequest,
    create_own_token,
    create_token,
    list_own_tokens,
    list_tokens,
    revoke_own_token,
    revoke_token,
)
from fileroom.core.access import NOBODY, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.core.limits import SESSIONS_PER_ACCOUNT_MAX
from people_of_tests import HeldClock, access_of, add, everything_stored

VIEW = frozenset({Permission.STUDY_VIEW})


# --- sessions ---


async def test_a_session_is_not_stored(people: People, empty_database: str) -> None:
    account = await add(people, "mueller")
    session = await begin_session(people, account.id, "10.0.0.1", "Browser/1")
    assert len(session.secret) >= 43
    assert session.secret not in everything_stored(empty_database)


@pytest.mark.parametrize("forged", ["", "x", "x" * 43, "x" * 10_000, "\0", "' OR 1=1 --", "\udcff"])
async def test_a_forged_one_opens_nothing(people: People, forged: str) -> None:
    await begin_session(people, (await add(people, "mueller")).id, "10.0.0.1", "")
    assert await identity_of_session(people, forged) is None
    assert await identity_of_token(people, forged) is None


async def test_silence_ends_a_session(people: People, clock: HeldClock) -> None:
    session = await begin_session(people, (await add(people, "mueller")).id, "10.0.0.1", "")
    for _ in range(3):
        clock.wait(minutes=59)
        assert await identity_of_session(people, session.secret) is not None
    clock.wait(minutes=61)
    assert await identity_of_session(people, session.secret) is None


async def test_age_ends_a_session_that_is_used_all_the_time(people: People, clock: HeldClock) -> None:
    session = await begin_session(people, (await add(people, "mueller")).id, "10.0.0.1", "")
    for _ in range(23):
        clock.wait(minutes=30)
        assert await identity_of_session(people, session.secret) is not None
    clock.wait(minutes=31)
    assert await identity_of_session(people, session.secret) is None


async def test_people_see_and_end_their_own_sessions(people: People) -> None:
    account, other = await add(people, "mueller"), await add(people, "schmidt")
    here = await begin_session(people, account.id, "10.0.0.1", "Browser/1")
    there = await begin_session(people, account.id, "10.0.0.2", "Browser/2\n\x1b[31m")
    theirs = await begin_session(people, other.id, "10.0.0.3", "")
    identity, foreign = (
        await identity_of_session(people, there.secret),
        await identity_of_session(people, theirs.secret),
    )
    assert identity is not None
    assert foreign is not None
    with acting_as(await access_of(people, account)):
        listed = await list_own_sessions(people)
        assert [(one.address, one.user_agent) for one in listed] == [
            ("10.0.0.2", "Browser/2[31m"),
            ("10.0.0.1", "Browser/1"),
        ]
        with pytest.raises(NotFoundError):
            await end_own_session(people, foreign.session_id or 0)
        await end_own_session(people, identity.session_id or 0)
    assert await identity_of_session(people, there.secret) is None
    assert await identity_of_session(people, here.secret) is not None
    assert await identity_of_session(people, theirs.secret) is not None
    await end_session(people, here.secret)
    await end_session(people, here.secret)
    assert await identity_of_session(people, here.secret) is None


async def test_an_administrator_ends_all_of_somebody(people: People) -> None:
    account = await add(people, "mueller")
    for number in range(3):
        await begin_session(people, account.id, f"10.0.0.{number}", "")
    assert len(await list_sessions(people, "mueller")) == 3
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await end_sessions(people, "mueller")
    assert await end_sessions(people, "mueller") == 3
    assert await list_sessions(people, "mueller") == []


async def test_of_too_many_the_oldest_end(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    sessions = []
    for _ in range(SESSIONS_PER_ACCOUNT_MAX + 2):
        sessions.append(await begin_session(people, account.id, "10.0.0.1", ""))
        clock.wait(1)
    alive = [await identity_of_session(people, session.secret) is not None for session in sessions]
    assert alive == [False] * 2 + [True] * SESSIONS_PER_ACCOUNT_MAX


async def test_dead_sessions_are_removed(people: People, clock: HeldClock, empty_database: str) -> None:
    account = await add(people, "mueller")
    await begin_session(people, account.id, "10.0.0.1", "OldBrowser")
    clock.wait(hours=2)
    alive = await begin_session(people, account.id, "10.0.0.1", "NewBrowser")
    await forget_dead_sessions(people)
    stored = everything_stored(empty_database)
    assert "OldBrowser" not in stored
    assert "NewBrowser" in stored
    assert await identity_of_session(people, alive.secret) is not None


# --- tokens ---


async def test_a_token_has_the_rights_of_its_role(people: People, empty_database: str) -> None:
    await add_role(people, Role("ct", VIEW | {Permission.STUDY_SEARCH}, RowScope(modalities=("CT",))))
    secret = await create_token(people, TokenRequest("dose report"), "ct")
    assert secret.startswith("fr_")
    assert secret not in everything_stored(empty_database)
    identity = await identity_of_token(people, secret)
    assert identity is not None
    access = identity.access
    assert (access.kind, access.name, access.account_id) == (ActorKind.TOKEN, "dose report", None)
    assert access.permissions == VIEW | {Permission.STUDY_SEARCH}
    assert access.rows == RowScope(modalities=("CT",))
    await change_role(people, Role("ct", VIEW, RowScope(modalities=("MR",))))
    identity = await identity_of_token(people, secret)
    assert identity is not None
    assert (identity.access.permissions, identity.access.rows) == (VIEW, RowScope(modalities=("MR",)))


async def test_a_token_may_be_narrower_than_its_role(people: People) -> None:
    secret = await create_token(people, TokenRequest("one", VIEW), "radiologist")
    identity = await identity_of_token(people, secret)
    assert identity is not None
    assert identity.access.permissions == VIEW
    with pytest.raises(InvalidRequestError, match=r"does not have study\.delete"):
        await create_token(people, TokenRequest("two", frozenset({Permission.STUDY_DELETE})), "radiologist")


async def test_a_token_expires(people: People, clock: HeldClock) -> None:
    secret = await create_token(people, TokenRequest("one", days=2), "researcher")
    clock.wait(hours=47)
    assert await identity_of_token(people, secret) is not None
    clock.wait(hours=2)
    assert await identity_of_token(people, secret) is None


async def test_a_token_is_revoked(people: People) -> None:
    secret = await create_token(people, TokenRequest("one"), "researcher")
    await create_token(people, TokenRequest("two"), "researcher")
    await revoke_token(people, "one")
    assert await identity_of_token(people, secret) is None
    assert [token.name for token in await list_tokens(people)] == ["two"]
    with pytest.raises(NotFoundError, match="no token named 'one'"):
        await revoke_token(people, "one")


@pytest.mark.parametrize(
    "request_",
    [
        TokenRequest(""),
        TokenRequest("x" * 61),
        TokenRequest("a/b"),
        TokenRequest("a\0b"),
        TokenRequest("x", frozenset()),
        TokenRequest("x", days=0),
        TokenRequest("x", days=100_000),
    ],
)
async def test_a_token_that_makes_no_sense_is_refused(people: People, request_: TokenRequest) -> None:
    with pytest.raises(InvalidRequestError):
        await create_token(people, request_, "researcher")
    assert await list_tokens(people) == []


async def test_a_name_is_taken_once_by_programs_and_once_by_each_person(people: People) -> None:
    await create_token(people, TokenRequest("laptop"), "researcher")
    with pytest.raises(ConflictError):
        await create_token(people, TokenRequest("laptop"), "researcher")
    for login in ("mueller", "schmidt"):
        with acting_as(await access_of(people, await add(people, login))):
            await create_own_token(people, TokenRequest("laptop"))
            with pytest.raises(ConflictError):
                await create_own_token(people, TokenRequest("laptop"))
    await revoke_token(people, "mueller/laptop")
    assert [(token.login, token.role) for token in await list_tokens(people)] == [
        (None, "researcher"),
        ("schmidt", None),
    ]


async def test_ones_own_token_may_what_one_may_and_no_more(people: People) -> None:
    account = await add(people, "mueller", rows=RowScope(modalities=("CT",)))
    with acting_as(await access_of(people, account)):
        wide = await create_own_token(people, TokenRequest("wide"))
        narrow = await create_own_token(people, TokenRequest("narrow", VIEW))
        with pytest.raises(NotAllowedError, match=r"user\.manage"):
            await create_own_token(people, TokenRequest("more", frozenset({Permission.USER_MANAGE})))
        with pytest.raises(NotAllowedError):
            await create_token(people, TokenRequest("program"), "researcher")
        assert [token.name for token in await list_own_tokens(people)] == ["narrow", "wide"]
    identity = await identity_of_token(people, wide)
    assert identity is not None
    assert identity.access.name == "mueller/wide"
    assert identity.access.account_id == account.id
    assert identity.access.rows == RowScope(modalities=("CT",))
    identity = await identity_of_token(people, narrow)
    assert identity is not None
    assert identity.access.permissions == VIEW
    await change_account(people, "mueller", AccountChange(role="auditor"))  # who may less, has tokens that may less
    identity = await identity_of_token(people, narrow)
    assert identity is not None
    assert identity.access.permissions == frozenset()


async def test_a_token_makes_no_tokens(people: People) -> None:
    access = Access(ActorKind.TOKEN, "t", frozenset(Permission))
    with acting_as(access), pytest.raises(NotAllowedError, match="cannot make tokens"):
        await create_token(people, TokenRequest("x"), "researcher")
    account = await add(people, "mueller")
    with (
        acting_as(Access(ActorKind.TOKEN, "t", frozenset(Permission), account_id=account.id)),
        pytest.raises(NotAllowedError),
    ):
        await create_own_token(people, TokenRequest("x"))


async def test_who_is_disabled_has_no_tokens_that_work(people: People) -> None:
    account, other = await add(people, "mueller"), await add(people, "schmidt")
    with acting_as(await access_of(people, account)):
        secret = await create_own_token(people, TokenRequest("laptop"))
        (token,) = await list_own_tokens(people)
    with acting_as(await access_of(people, other)), pytest.raises(NotFoundError):
        await revoke_own_token(people, token.id)
    await change_account(people, "mueller", AccountChange(disabled=True))
    assert await identity_of_token(people, secret) is None
    await change_account(people, "mueller", AccountChange(disabled=False))
    assert await identity_of_token(people, secret) is not None
    with acting_as(await access_of(people, account)):
        await revoke_own_token(people, token.id)
    assert await identity_of_token(people, secret) is None


async def test_when_a_token_was_used_is_known_to_the_minute(people: People, clock: HeldClock) -> None:
    secret = await create_token(people, TokenRequest("one"), "researcher")
    assert (await list_tokens(people))[0].last_used_at is None
    await identity_of_token(people, secret)
    first = clock()
    clock.wait(30)
    await identity_of_token(people, secret)
    assert (await list_tokens(people))[0].last_used_at == first
    clock.wait(31)
    await identity_of_token(people, secret)
    assert (await list_tokens(people))[0].last_used_at == clock()
