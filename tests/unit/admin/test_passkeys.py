"""Passkeys: what is taken, and every answer that must not be: replayed, late, from elsewhere, by another key, by a copy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileroom.admin.accounts import Account, AccountChange, change_account, find_account
from fileroom.admin.audit_search import AuditQuery, search
from fileroom.admin.logins import Client, check_basic, confirm_presence, finish_log_in, log_in
from fileroom.admin.passkey_challenges import CREDENTIAL_CHARS_MAX, Site, forget_old_challenges
from fileroom.admin.passkey_logins import ask_for_passkey, finish_log_in_by_passkey, log_in_by_passkey
from fileroom.admin.passkeys import (
    add_own_passkey,
    list_own_passkeys,
    offer_passkey,
    remove_own_passkey,
    rename_own_passkey,
)
from fileroom.admin.people import People
from fileroom.admin.totp import count_recovery_codes, remove_totp
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAuthenticatedError, NotFoundError
from fileroom.core.limits import FRESH_LOGIN_S, PASSKEY_CHALLENGE_S, PASSKEYS_PER_ACCOUNT_MAX
from passkeys_of_tests import USER_PRESENT, USER_VERIFIED, SoftPasskey
from people_of_tests import PASSWORD, HeldClock, access_of, add, everything_stored

SITE = Site("pacs.example", "https://pacs.example")
EVIL = "https://evil.example"
HERE = Client("10.0.0.1", "Browser/1")


async def _with_passkey(people: People, login: str = "mueller") -> tuple[Account, SoftPasskey, list[str]]:
    account = await add(people, login)
    key = SoftPasskey(SITE.name)
    with acting_as(await access_of(people, account)):
        codes = await add_own_passkey(people, SITE, "Key", key.make(await offer_passkey(people, SITE), SITE.origin))
    return account, key, codes


async def _refused(people: People, credential: str, site: Site = SITE) -> None:
    with acting_as(NOBODY), pytest.raises(NotAuthenticatedError, match="not known here"):
        await log_in_by_passkey(people, site, credential, HERE)


async def test_a_passkey_logs_in_without_a_login_and_without_a_code(people: People) -> None:
    account, key, codes = await _with_passkey(people)
    assert len(codes) == 10
    with acting_as(NOBODY):
        session = await log_in_by_passkey(
            people, SITE, key.show(await ask_for_passkey(people, SITE), SITE.origin), HERE
        )
    assert not session.second_factor_due
    trail = await search(people.pool, AuditQuery(user="mueller", event_type="110122"))
    assert trail.records[0].message.outcome_description == "passkey Key"
    with acting_as(await access_of(people, account)):
        (kept,) = await list_own_passkeys(people)
    assert (kept.name, kept.site, kept.last_used_at) == ("Key", "pacs.example", people.now())


async def test_an_answer_is_taken_once_even_by_two_at_once(people: People) -> None:
    _, key, _ = await _with_passkey(people)
    credential = key.show(await ask_for_passkey(people, SITE), SITE.origin, count=0)
    outcomes = await asyncio.gather(
        *(log_in_by_passkey(people, SITE, credential, HERE) for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in outcomes) == 1
    await _refused(people, credential)


async def test_a_question_has_its_time(people: People, clock: HeldClock) -> None:
    _, key, _ = await _with_passkey(people)
    options = await ask_for_passkey(people, SITE)
    clock.wait(PASSKEY_CHALLENGE_S + 1)
    await _refused(people, key.show(options, SITE.origin))
    await ask_for_passkey(people, SITE)
    clock.wait(PASSKEY_CHALLENGE_S + 1)
    await forget_old_challenges(people)
    async with people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT count(*) FROM passkey_challenge")
        assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize(
    "changes",
    [
        {"flags": USER_PRESENT},
        {"flags": USER_VERIFIED},
        {"flags": 0},
        {"site": "evil.example"},
        {"type": "webauthn.create"},
        {"handle": b"somebody else"},
        {"handle": None},
        {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"},
        {"signature": b""},
        {"count": 0},
    ],
    ids=str,
)
async def test_what_is_wrong_in_an_answer_is_refused(people: People, changes: dict[str, Any]) -> None:
    _, key, _ = await _with_passkey(people)
    await log_in_by_passkey(people, SITE, key.show(await ask_for_passkey(people, SITE), SITE.origin, count=5), HERE)
    await _refused(people, key.show(await ask_for_passkey(people, SITE), SITE.origin, **({"count": 6} | changes)))
    await log_in_by_passkey(people, SITE, key.show(await ask_for_passkey(people, SITE), SITE.origin, count=6), HERE)


async def test_an_answer_given_elsewhere_is_refused(people: People) -> None:
    _, key, _ = await _with_passkey(people)
    await _refused(people, key.show(await ask_for_passkey(people, SITE), EVIL))
    # A server in the middle that answers under its own name gets our question for its own name.
    evil = Site("evil.example", EVIL)
    await _refused(people, key.show(await ask_for_passkey(people, evil), EVIL, site="evil.example"), evil)
    options = await ask_for_passkey(people, SITE)
    await _refused(people, key.show(options, SITE.origin), Site("pacs.example", "https://pacs.example:8443"))


async def test_another_key_and_an_unknown_one_are_refused(people: People) -> None:
    _, key, _ = await _with_passkey(people)
    stranger = SoftPasskey(SITE.name)
    await _refused(people, stranger.show(await ask_for_passkey(people, SITE), SITE.origin, handle=key.handle))
    stranger.credential_id = key.credential_id
    await _refused(people, stranger.show(await ask_for_passkey(people, SITE), SITE.origin, handle=key.handle))


async def test_removed_and_disabled_open_nothing(people: People) -> None:
    account, key, _ = await _with_passkey(people)
    options = await ask_for_passkey(people, SITE)
    await change_account(people, "mueller", AccountChange(disabled=True))
    await _refused(people, key.show(options, SITE.origin))
    await change_account(people, "mueller", AccountChange(disabled=False))
    options = await ask_for_passkey(people, SITE)
    with acting_as(await access_of(people, account)):
        (kept,) = await list_own_passkeys(people)
        await remove_own_passkey(people, kept.id)
        assert await count_recovery_codes(people) == 0  # nothing is left that they could stand in for
        with pytest.raises(NotFoundError):
            await remove_own_passkey(people, kept.id)
    await _refused(people, key.show(options, SITE.origin))
    assert not (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due


async def test_with_a_passkey_the_password_alone_opens_nothing(people: People) -> None:
    _, key, codes = await _with_passkey(people)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    assert half.second_factor_due
    with pytest.raises(NotAuthenticatedError):
        await check_basic(people, "mueller", PASSWORD, HERE.address)
    options = await ask_for_passkey(people, SITE, half.secret)
    assert len(json.loads(options)["allowCredentials"]) == 1
    credential = key.show(options, SITE.origin, handle=None)
    await _refused(people, credential)  # a question for one step is none for the other
    options = await ask_for_passkey(people, SITE, half.secret)
    full = await finish_log_in_by_passkey(people, SITE, half.secret, key.show(options, SITE.origin, handle=None), HERE)
    assert not full.second_factor_due
    with pytest.raises(NotAuthenticatedError, match="time for the second step"):
        await ask_for_passkey(people, SITE, half.secret)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    assert not (await finish_log_in(people, half.secret, codes[0], HERE)).second_factor_due


async def test_the_second_step_takes_only_the_passkey_of_that_account(people: People) -> None:
    await _with_passkey(people)
    _, other, _ = await _with_passkey(people, "other")
    half = await log_in(people, "mueller", PASSWORD, HERE)
    options = await ask_for_passkey(people, SITE, half.secret)
    with pytest.raises(NotAuthenticatedError):
        await finish_log_in_by_passkey(people, SITE, half.secret, other.show(options, SITE.origin), HERE)
    with pytest.raises(InvalidRequestError, match="None of your passkeys"):
        await ask_for_passkey(people, Site("other.example", "https://other.example"), half.secret)


async def test_making_one_has_its_rules(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    access = await access_of(people, account)
    key = SoftPasskey(SITE.name)
    with acting_as(access):
        for changes in ({"flags": USER_PRESENT}, {"site": "evil.example"}, {"type": "webauthn.get"}):
            credential = key.make(await offer_passkey(people, SITE), SITE.origin, **changes)
            with pytest.raises(InvalidRequestError, match="could not be added"):
                await add_own_passkey(people, SITE, "Key", credential)
        with pytest.raises(InvalidRequestError, match="could not be added"):
            await add_own_passkey(people, SITE, "Key", key.make(await offer_passkey(people, SITE), EVIL))
        for name in ("", "  ", "x" * 61, "a\nb\0"):
            with pytest.raises(InvalidRequestError, match="name"):
                await add_own_passkey(people, SITE, name, "{}")
        credential = key.make(await offer_passkey(people, SITE), SITE.origin)
        await add_own_passkey(people, SITE, "Key", credential)
        with pytest.raises(InvalidRequestError):
            await add_own_passkey(people, SITE, "Key", credential)  # replayed
        with pytest.raises(ConflictError, match="known already"):
            await add_own_passkey(people, SITE, "Again", key.make(await offer_passkey(people, SITE), SITE.origin))
        assert len(json.loads(await offer_passkey(people, SITE))["excludeCredentials"]) == 1
        late = await offer_passkey(people, SITE)
        clock.wait(PASSKEY_CHALLENGE_S + 1)
        with pytest.raises(InvalidRequestError):
            await add_own_passkey(people, SITE, "Late", SoftPasskey(SITE.name).make(late, SITE.origin))
        with pytest.raises(InvalidRequestError, match="is an address"):
            await offer_passkey(people, Site("192.0.2.1", "https://192.0.2.1"))
    other = await add(people, "other")
    with acting_as(access):
        mine = await offer_passkey(people, SITE)
    with acting_as(await access_of(people, other)), pytest.raises(InvalidRequestError):
        await add_own_passkey(people, SITE, "Stolen", SoftPasskey(SITE.name).make(mine, SITE.origin))


async def test_there_is_an_end_to_how_many(people: People) -> None:
    account, _, _ = await _with_passkey(people)
    with acting_as(await access_of(people, account)):
        for number in range(PASSKEYS_PER_ACCOUNT_MAX - 1):
            made = SoftPasskey(SITE.name).make(await offer_passkey(people, SITE), SITE.origin)
            assert await add_own_passkey(people, SITE, f"Key {number}", made) == []  # there are codes already
        with pytest.raises(ConflictError, match="at most 20"):
            await offer_passkey(people, SITE)
        (first, *_) = await list_own_passkeys(people)
        await rename_own_passkey(people, first.id, " Old  key ")
        assert (await list_own_passkeys(people))[0].name == "Old key"
        with pytest.raises(NotFoundError):
            await rename_own_passkey(people, first.id + 1000, "x")


async def test_an_administrator_helps_who_has_lost_everything(people: People) -> None:
    await _with_passkey(people)
    assert (await find_account(people, "mueller")).has_second_factor
    await remove_totp(people, "mueller")
    assert not (await find_account(people, "mueller")).has_second_factor
    assert not (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due


async def test_presence_is_a_fresh_login_or_the_password(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    await log_in(people, "mueller", PASSWORD, HERE)
    async with people.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT id FROM session WHERE account_id = %s", (account.id,))
        row = await cursor.fetchone()
    assert row is not None
    with acting_as(await access_of(people, account)):
        await confirm_presence(people, row[0], "", HERE.address)
        clock.wait(FRESH_LOGIN_S + 1)
        with pytest.raises(InvalidRequestError, match="present password"):
            await confirm_presence(people, row[0], "", HERE.address)
        await confirm_presence(people, row[0], PASSWORD, HERE.address)
    other = await add(people, "other")
    with acting_as(await access_of(people, other)), pytest.raises(InvalidRequestError):
        await confirm_presence(people, row[0], "", HERE.address)  # somebody else's session


async def test_the_database_holds_public_keys_only(people: People, database_url: str) -> None:
    _, key, codes = await _with_passkey(people)
    private = key.key.private_numbers().private_value.to_bytes(32, "big").hex()
    stored = everything_stored(database_url)
    assert private not in stored
    assert codes[0] not in stored


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "rawId", "type", "response", "clientDataJSON", "authenticatorData", "signature", "userHandle"]
            ),
            inner,
            max_size=8,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(credential=st.text(max_size=50) | _JSON.map(json.dumps) | st.just("[" * 10_000) | st.just("x" * 20_000))
def test_no_answer_breaks_the_reader(people: People, credential: str) -> None:
    assert len(credential) < 2 * CREDENTIAL_CHARS_MAX

    async def try_it() -> None:
        with pytest.raises(NotAuthenticatedError):
            await log_in_by_passkey(people, SITE, credential, HERE)

    asyncio.get_event_loop().run_until_complete(try_it())
