"""Break-glass: a reason, a time, an end, an event for each, and somebody else who looks at it."""

from __future__ import annotations

import datetime as dt

import psycopg
import pytest

from fileroom.admin.accounts import NewAccount, add_account
from fileroom.admin.authentication import identity_of_account, identity_of_session
from fileroom.admin.break_glass import (
    MINUTES_MAX,
    REASON_CHARS_MAX,
    break_glass,
    end_break_glass,
    find_own_break_glass,
    list_break_glass,
    review_break_glass,
)
from fileroom.admin.people import People
from fileroom.admin.sessions import begin_session
from fileroom.core.access import EVERYTHING, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from people_of_tests import PASSWORD, HeldClock

CT = RowScope(modalities=("CT",))
REASON = "Collapsed in the ward, no history known"
AUDITOR = Access(ActorKind.PERSON, "auditor", frozenset({Permission.AUDIT_READ}), account_id=999_999)


async def person(
    people: People, login: str = "ada", role: str = "physician", rows: RowScope = CT
) -> tuple[Access, str]:
    """A person with a session: their access, and its secret."""
    account = await add_account(people, NewAccount(login, role, PASSWORD, rows=rows))
    secret = (await begin_session(people, account.id, "10.0.0.7", "tests")).secret
    identity = await identity_of_session(people, secret)
    assert identity is not None
    return identity.access, secret


async def rows_now(people: People, secret: str) -> RowScope:
    identity = await identity_of_session(people, secret)
    assert identity is not None
    return identity.access.rows


async def test_a_broken_glass_shows_everything_until_its_time_is_over(people: People, clock: HeldClock) -> None:
    access, secret = await person(people)
    assert access.rows == CT
    with acting_as(access):
        glass = await break_glass(people, f"  {REASON}\n", 30)
        assert await find_own_break_glass(people) == glass
    assert (glass.login, glass.reason) == ("ada", REASON)
    assert glass.ends_at - glass.began_at == dt.timedelta(minutes=30)
    identity = await identity_of_session(people, secret)
    assert identity is not None
    assert identity.access.rows == EVERYTHING
    assert identity.access.permissions == access.permissions
    assert identity.expires_at == glass.ends_at  # no cache goes on believing it
    clock.wait(minutes=29, seconds=59)
    assert await rows_now(people, secret) == EVERYTHING
    clock.wait(seconds=1)
    assert await rows_now(people, secret) == CT
    with acting_as(access):
        assert await find_own_break_glass(people) is None


async def test_it_widens_the_sessions_of_one_account_and_nothing_else(people: People) -> None:
    ada, secret = await person(people)
    _, others_secret = await person(people, "bob")
    second = (await begin_session(people, ada.account_id or 0, "10.0.0.8", "tests")).secret
    with acting_as(ada):
        await break_glass(people, REASON)
    assert await rows_now(people, secret) == await rows_now(people, second) == EVERYTHING
    assert await rows_now(people, others_secret) == CT
    by_password = await identity_of_account(people, ada.account_id or 0)
    assert by_password is not None
    assert by_password.access.rows == CT


async def test_it_can_be_ended_before_its_time(people: People) -> None:
    access, secret = await person(people)
    with acting_as(access):
        await break_glass(people, REASON)
        await end_break_glass(people)
        assert await rows_now(people, secret) == CT
        with pytest.raises(NotFoundError, match="broken no glass"):
            await end_break_glass(people)


@pytest.mark.parametrize("reason", ["", " " * 50, "x", "a\0bcdefghij", "y" * (REASON_CHARS_MAX + 1)])
async def test_without_a_reason_nothing_is_shown(people: People, reason: str) -> None:
    access, secret = await person(people)
    with acting_as(access), pytest.raises(InvalidRequestError, match="reason"):
        await break_glass(people, reason)
    assert await rows_now(people, secret) == CT


@pytest.mark.parametrize("minutes", [0, -5, MINUTES_MAX + 1])
async def test_the_time_is_bounded(people: People, minutes: int) -> None:
    access, _ = await person(people)
    with acting_as(access), pytest.raises(InvalidRequestError, match="minutes"):
        await break_glass(people, REASON, minutes)


async def test_only_persons_with_the_right_break_it(people: People) -> None:
    technologist, _ = await person(people, "tom", "technologist")
    everything, _ = await person(people, "rita", "radiologist", EVERYTHING)
    allowed = frozenset({Permission.STUDY_BREAK_GLASS})
    token = Access(ActorKind.TOKEN, "script", allowed, CT, account_id=1)
    node = Access(ActorKind.NODE, "CT1@10.0.0.9", allowed, CT)
    for access, error in ((technologist, NotAllowedError), (token, NotAllowedError), (node, NotAllowedError)):
        with acting_as(access), pytest.raises(error):
            await break_glass(people, REASON)
    with acting_as(everything), pytest.raises(ConflictError, match="Nothing is hidden"):
        await break_glass(people, REASON)
    assert await list_break_glass(people) == []


async def test_somebody_else_reviews_it_once_it_is_over(people: People, clock: HeldClock) -> None:
    ada, _ = await person(people)
    with acting_as(ada):
        glass = await break_glass(people, REASON, 10)
        with pytest.raises(NotAllowedError):
            await list_break_glass(people)
    with acting_as(AUDITOR):
        with pytest.raises(ConflictError, match="still open"):
            await review_break_glass(people, glass.id, "It was as they say")
        clock.wait(minutes=10)
        with pytest.raises(NotFoundError):
            await review_break_glass(people, glass.id + 1, "It was as they say")
        with pytest.raises(InvalidRequestError, match="remark"):
            await review_break_glass(people, glass.id, "  ")
        assert [one.id for one in await list_break_glass(people, unreviewed_only=True)] == [glass.id]
        reviewed = await review_break_glass(people, glass.id, "It was as they say")
        assert (reviewed.reviewed_by, reviewed.review) == ("auditor", "It was as they say")
        assert await list_break_glass(people, unreviewed_only=True) == []
        assert await list_break_glass(people) == [reviewed]
        with pytest.raises(ConflictError, match="reviewed already"):
            await review_break_glass(people, glass.id, "Again")


async def test_nobody_reviews_their_own(people: People, clock: HeldClock) -> None:
    ada, _ = await person(people)
    with acting_as(ada):
        glass = await break_glass(people, REASON, 10)
    clock.wait(minutes=10)
    also_auditor = Access(ActorKind.PERSON, "ada", frozenset({Permission.AUDIT_READ}), account_id=ada.account_id)
    with acting_as(also_auditor), pytest.raises(NotAllowedError, match="Somebody else"):
        await review_break_glass(people, glass.id, "All fine")


async def test_begin_end_and_review_are_in_the_audit_trail(
    people: People, clock: HeldClock, empty_database: str
) -> None:
    access, _ = await person(people)
    with acting_as(access):
        glass = await break_glass(people, REASON)
        await end_break_glass(people)
    clock.wait(minutes=1)
    with acting_as(AUDITOR):
        await review_break_glass(people, glass.id, "Right")
    with psycopg.connect(empty_database) as connection:
        found = connection.execute(
            "SELECT actor, event_type, message::text FROM audit_event WHERE event_type IN ('110127', '110138') ORDER BY id"
        ).fetchall()
    assert [(actor, kind) for actor, kind, _ in found] == [("ada", "110127"), ("ada", "110138"), ("auditor", "110138")]
    assert REASON in found[0][2]
