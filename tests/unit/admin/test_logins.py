"""Logging in: password and code, what is refused, and the wait after failures."""

from __future__ import annotations

import asyncio
import datetime as dt
import re

import pyotp
import pytest

from fileroom.admin.accounts import AccountChange, change_account, set_password
from fileroom.admin.authentication import identity_of_session
from fileroom.admin.lockout import forget_old_failures, lift_wait, plain_address
from fileroom.admin.logins import Client, check_basic, confirm_password, finish_log_in, log_in
from fileroom.admin.people import People
from fileroom.admin.totp import (
    confirm_totp,
    count_recovery_codes,
    offer_totp,
    remove_own_totp,
    remove_totp,
)
from fileroom.core.access import NOBODY, Permission, acting_as
from fileroom.core.errors import (
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotAuthenticatedError,
    TooManyAttemptsError,
)
from fileroom.core.limits import (
    ACCOUNT_FAILURES_MAX,
    ADDRESS_FAILURES_MAX,
    LOGIN_BLOCK_MAX_S,
    LOGIN_FAILURE_MEMORY_S,
    RECOVERY_CODES_MAX,
    SECOND_FACTOR_S,
)
from people_of_tests import OTHER_PASSWORD, PASSWORD, HeldClock, access_of, add, everything_stored

HERE = Client("10.0.0.1", "Browser/1")
ELSEWHERE = Client("10.9.9.9")


async def _second_factor(people: People, login: str, clock: HeldClock) -> tuple[pyotp.TOTP, list[str]]:
    account = await add(people, login)
    with acting_as(await access_of(people, account)):
        otp = pyotp.TOTP((await offer_totp(people)).secret)
        return otp, await confirm_totp(people, otp.at(clock()))


async def _fail(people: People, login: str, client: Client = HERE) -> None:
    with pytest.raises(NotAuthenticatedError):
        await log_in(people, login, "wrong", client)


async def test_the_right_password_begins_a_session(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller", full_name="Anna Müller")
    with acting_as(NOBODY):
        session = await log_in(people, " Mueller ", PASSWORD, HERE)
    assert not session.second_factor_due
    identity = await identity_of_session(people, session.secret)
    assert identity is not None
    assert (identity.access.name, identity.access.account_id, identity.full_name) == (
        "mueller",
        account.id,
        "Anna Müller",
    )
    assert identity.access.allows(Permission.STUDY_VIEW)
    assert not identity.access.allows(Permission.USER_MANAGE)


@pytest.mark.parametrize("login", ["mueller", "nobody", "", "disabled", "x" * 1000, "\0", "\ud800"])
async def test_all_that_is_wrong_is_refused_in_the_same_words(people: People, login: str) -> None:
    await add(people, "mueller")
    await add(people, "disabled")
    await change_account(people, "disabled", AccountChange(disabled=True))
    password = PASSWORD if login == "disabled" else "wrong"
    login = login.encode("utf-8", "replace").decode()
    with pytest.raises(NotAuthenticatedError, match=r"^Login or password is wrong\.$"):
        await log_in(people, login, password, HERE)


async def test_an_account_without_a_password_is_not_entered(people: People) -> None:
    await add(people, "mueller")
    async with people.pool.connection() as connection:
        await connection.execute(b"UPDATE account SET password_hash = NULL")
    for password in ("", "None", PASSWORD):
        with pytest.raises(NotAuthenticatedError):
            await log_in(people, "mueller", password, HERE)


# --- the wait ---


async def test_after_a_few_failures_even_the_right_password_waits(people: People, clock: HeldClock) -> None:
    await add(people, "mueller")
    for _ in range(ACCOUNT_FAILURES_MAX):
        await _fail(people, "mueller")
    with pytest.raises(TooManyAttemptsError, match="Wait 1 s") as refused:
        await log_in(people, "mueller", PASSWORD, HERE)
    assert refused.value.retry_after_s == 1
    clock.wait(1)
    assert await log_in(people, "mueller", PASSWORD, HERE)
    for _ in range(ACCOUNT_FAILURES_MAX - 1):  # success has made them forgotten
        await _fail(people, "mueller")


async def test_each_wait_is_twice_as_long_up_to_a_limit(people: People, clock: HeldClock) -> None:
    await add(people, "mueller")
    waits = []
    for _ in range(ACCOUNT_FAILURES_MAX - 1):
        await _fail(people, "mueller")
    for _ in range(13):
        await _fail(people, "mueller")
        with pytest.raises(TooManyAttemptsError) as refused:
            await log_in(people, "mueller", PASSWORD, HERE)
        waits.append(refused.value.retry_after_s)
        clock.wait(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
    assert max(waits) == LOGIN_BLOCK_MAX_S


async def test_many_at_once_do_not_pass_together(people: People) -> None:
    await add(people, "mueller")
    outcomes = await asyncio.gather(
        *(log_in(people, "mueller", f"guess {number}", HERE) for number in range(25)), return_exceptions=True
    )
    looked_at = [outcome for outcome in outcomes if isinstance(outcome, NotAuthenticatedError)]
    assert len(looked_at) == ACCOUNT_FAILURES_MAX
    assert sum(isinstance(outcome, TooManyAttemptsError) for outcome in outcomes) == 25 - len(looked_at)


async def test_an_invented_login_waits_like_a_real_one(people: People) -> None:
    for _ in range(ACCOUNT_FAILURES_MAX):
        await _fail(people, "nobody")
    with pytest.raises(TooManyAttemptsError):
        await log_in(people, "nobody", "wrong", HERE)


async def test_strangers_do_not_lock_somebody_out_where_they_usually_sit(people: People) -> None:
    await add(people, "mueller")
    await log_in(people, "mueller", PASSWORD, HERE)
    for _ in range(ACCOUNT_FAILURES_MAX):
        await _fail(people, "mueller", ELSEWHERE)
    with pytest.raises(TooManyAttemptsError):
        await log_in(people, "mueller", PASSWORD, ELSEWHERE)
    assert await log_in(people, "mueller", PASSWORD, HERE)


async def test_an_address_that_tries_many_accounts_waits(people: People) -> None:
    await add(people, "mueller")
    for number in range(ADDRESS_FAILURES_MAX):
        await _fail(people, f"guess{number}", ELSEWHERE)
    with pytest.raises(TooManyAttemptsError):
        await log_in(people, "mueller", PASSWORD, ELSEWHERE)
    assert await log_in(people, "mueller", PASSWORD, HERE)


async def test_an_account_of_ones_own_does_not_make_guessing_free(people: People, clock: HeldClock) -> None:
    await add(people, "attacker")
    for number in range(ADDRESS_FAILURES_MAX):
        await _fail(people, f"guess{number}", ELSEWHERE)
        clock.wait(1)
        await log_in(people, "attacker", PASSWORD, ELSEWHERE)
    with pytest.raises(NotAuthenticatedError):
        await log_in(people, "one-more", "wrong", ELSEWHERE)
    with pytest.raises(TooManyAttemptsError):
        await log_in(people, "another", "wrong", ELSEWHERE)


async def test_an_administrator_lifts_the_wait(people: People) -> None:
    for login in ("mueller", "schmidt"):
        await add(people, login)
        for _ in range(ACCOUNT_FAILURES_MAX):
            await _fail(people, login)
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await lift_wait(people, "mueller")
    await lift_wait(people, "mueller")
    assert await log_in(people, "mueller", PASSWORD, HERE)
    await set_password(people, "schmidt", OTHER_PASSWORD)
    assert await log_in(people, "schmidt", OTHER_PASSWORD, HERE)


async def test_old_failures_are_forgotten(people: People, clock: HeldClock, empty_database: str) -> None:
    for _ in range(ACCOUNT_FAILURES_MAX):
        await _fail(people, "mueller")
    clock.wait(LOGIN_FAILURE_MEMORY_S + 1)
    for _ in range(ACCOUNT_FAILURES_MAX - 1):
        await _fail(people, "mueller")
    clock.wait(LOGIN_FAILURE_MEMORY_S + 1)
    await forget_old_failures(people)
    assert "account mueller" not in everything_stored(empty_database)


def test_addresses_are_counted_as_those_who_have_them() -> None:
    assert plain_address("10.1.2.3") == plain_address("::ffff:10.1.2.3") == "10.1.2.3"
    assert plain_address("2001:db8:1:2:3::4") == plain_address("2001:db8:1:2:ffff::1") == "2001:db8:1:2::/64"
    assert plain_address("2001:db8:1:3::1") != plain_address("2001:db8:1:2::1")
    assert plain_address("::1") == "::1"
    assert plain_address("") == plain_address("testclient") == "unknown"


# --- the second factor ---


async def test_the_code_completes_the_login(people: People, clock: HeldClock) -> None:
    otp, _ = await _second_factor(people, "mueller", clock)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    assert half.second_factor_due
    assert await identity_of_session(people, half.secret) is None
    clock.wait(30)
    session = await finish_log_in(people, half.secret, otp.at(clock()), HERE)
    assert session.secret != half.secret
    identity = await identity_of_session(people, session.secret)
    assert identity is not None
    assert identity.access.name == "mueller"


async def test_a_code_is_good_once(people: People, clock: HeldClock) -> None:
    otp, _ = await _second_factor(people, "mueller", clock)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    for code in (
        otp.at(clock()),
        otp.at(clock() - dt.timedelta(seconds=30)),
    ):  # the one of the confirmation, and an older one
        with pytest.raises(NotAuthenticatedError, match="used already"):
            await finish_log_in(people, half.secret, code, HERE)
    clock.wait(30)
    code = otp.at(clock())
    await finish_log_in(people, half.secret, code, HERE)
    again = await log_in(people, "mueller", PASSWORD, HERE)
    with pytest.raises(NotAuthenticatedError, match="used already"):
        await finish_log_in(people, again.secret, code, HERE)


async def test_one_code_at_the_same_moment_is_good_once(people: People, clock: HeldClock) -> None:
    otp, _ = await _second_factor(people, "mueller", clock)
    halves = [await log_in(people, "mueller", PASSWORD, HERE) for _ in range(3)]
    clock.wait(30)
    outcomes = await asyncio.gather(
        *(finish_log_in(people, half.secret, otp.at(clock()), HERE) for half in halves), return_exceptions=True
    )
    assert sum(isinstance(outcome, NotAuthenticatedError) for outcome in outcomes) == 2


@pytest.mark.parametrize(("late_s", "good"), [(29, True), (30, True), (-30, True), (60, False), (-60, False)])
async def test_a_telephone_may_be_half_a_minute_wrong(
    people: People, clock: HeldClock, late_s: int, good: bool
) -> None:
    otp, _ = await _second_factor(people, "mueller", clock)
    clock.wait(3600)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    code = otp.at(clock() - dt.timedelta(seconds=late_s))
    if good:
        assert await finish_log_in(people, half.secret, code, HERE)
    else:
        with pytest.raises(NotAuthenticatedError):
            await finish_log_in(people, half.secret, code, HERE)


async def test_codes_cannot_be_guessed_in_bulk(people: People, clock: HeldClock) -> None:
    """Entering the password again does not make the wrong codes forgotten."""
    await _second_factor(people, "mueller", clock)
    refused = 0
    for number in range(10):
        try:
            half = await log_in(people, "mueller", PASSWORD, HERE)
            with pytest.raises(NotAuthenticatedError):
                await finish_log_in(people, half.secret, f"{number:06d}", HERE)
        except TooManyAttemptsError:
            refused += 1
    assert refused == 10 - ACCOUNT_FAILURES_MAX


async def test_the_time_for_the_code_ends(people: People, clock: HeldClock) -> None:
    otp, _ = await _second_factor(people, "mueller", clock)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    clock.wait(SECOND_FACTOR_S + 1)
    with pytest.raises(NotAuthenticatedError, match="time for the second step is over"):
        await finish_log_in(people, half.secret, otp.at(clock()), HERE)
    for secret in ("", "forged", "x" * 10_000):
        with pytest.raises(NotAuthenticatedError, match="time for the second step is over"):
            await finish_log_in(people, secret, otp.at(clock()), HERE)


async def test_recovery_codes_are_good_once_and_not_stored(
    people: People, clock: HeldClock, empty_database: str
) -> None:
    _, codes = await _second_factor(people, "mueller", clock)
    assert len(set(codes)) == RECOVERY_CODES_MAX
    stored = everything_stored(empty_database)
    assert all(re.fullmatch(r"[a-z2-9]{5}-[a-z2-9]{5}-[a-z2-9]{5}", code) and code not in stored for code in codes)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    session = await finish_log_in(people, half.secret, f" {codes[3].upper()} ", HERE)
    half = await log_in(people, "mueller", PASSWORD, HERE)
    with pytest.raises(NotAuthenticatedError):
        await finish_log_in(people, half.secret, codes[3], HERE)
    identity = await identity_of_session(people, session.secret)
    assert identity is not None
    with acting_as(identity.access):
        assert await count_recovery_codes(people) == RECOVERY_CODES_MAX - 1


async def test_the_second_factor_counts_only_after_its_first_code(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    with acting_as(await access_of(people, account)):
        with pytest.raises(ConflictError, match="Begin again"):
            await confirm_totp(people, "123456")
        offered = await offer_totp(people)
        assert offered.uri.startswith("otpauth://totp/Fileroom:mueller?secret=")
        otp = pyotp.TOTP(offered.secret)
        for wrong in ("", "abcdef", "000000" if otp.at(clock()) != "000000" else "111111", "١٢٣٤٥٦"):
            with pytest.raises(InvalidRequestError, match="not right"):
                await confirm_totp(people, wrong)
        assert not (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due
        await confirm_totp(people, otp.at(clock()))
        assert (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due
        await remove_own_totp(people)
        assert not (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due
        with pytest.raises(NotAllowedError):
            await remove_totp(people, "mueller")


async def test_an_administrator_helps_who_has_lost_the_telephone(people: People, clock: HeldClock) -> None:
    await _second_factor(people, "mueller", clock)
    await remove_totp(people, "mueller")
    assert not (await log_in(people, "mueller", PASSWORD, HERE)).second_factor_due


# --- without a session ---


async def test_programs_may_send_login_and_password(people: People, clock: HeldClock) -> None:
    account = await add(people, "mueller")
    assert await check_basic(people, "mueller", PASSWORD, "10.0.0.1") == account.id
    with pytest.raises(NotAuthenticatedError):
        await check_basic(people, "mueller", "wrong", "10.0.0.1")
    await _second_factor(people, "schmidt", clock)
    with pytest.raises(NotAuthenticatedError, match="a token of it"):
        await check_basic(people, "schmidt", PASSWORD, "10.0.0.1")


async def test_who_sits_there_is_asked_once_more(people: People) -> None:
    account = await add(people, "mueller")
    with acting_as(await access_of(people, account)):
        await confirm_password(people, PASSWORD, "10.0.0.1")
        for _ in range(ACCOUNT_FAILURES_MAX):
            with pytest.raises(InvalidRequestError, match="present password is wrong"):
                await confirm_password(people, "wrong", "10.0.0.1")
        with pytest.raises(TooManyAttemptsError):
            await confirm_password(people, PASSWORD, "10.0.0.1")
