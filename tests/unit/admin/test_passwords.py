"""Which passwords are taken, and that their hashes tell nothing."""

from __future__ import annotations

import asyncio

import pytest

from fileroom.admin.passwords import OF_NOBODY, PasswordHashing, is_easily_guessed, require_good_password
from fileroom.core.errors import InvalidRequestError, ServiceError
from fileroom.core.limits import PASSWORD_CHARS_MAX, PASSWORD_HASHES_MAX, PASSWORD_HASHES_WAITING_MAX
from people_of_tests import OTHER_PASSWORD, PASSWORD, quick_hashing

NAMES = ("mueller", "Anna Müller", "FILEROOM")


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        OTHER_PASSWORD,
        "correct horse battery",
        "nur kleine buchstaben hier",
        "p9Xk2vQz7mLt",
        "Grüße aus dem Süden",
        "日本語のパスワードです長い",
        "my password is a long sentence",
        "mueller buys four red lanterns",
    ],
)
def test_long_ones_are_taken_whatever_they_are_made_of(password: str) -> None:
    require_good_password(password, NAMES, chars_min=12)


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "P@ssw0rd2026!",
        "passwordpassword",
        "Passwort!2026",
        "administrator1",
        "adminadmin99",
        "123456789012",
        "098765432109",
        "qwertyuiop12",
        "qwertzuiopasdf",
        "1qaz2wsx3edc",
        "abcdefghijklm",
        "aaaaaaaaaaaaaaaa",
        "abababababababab",
        "xyzxyzxyzxyzxyz",
        "anna.mueller.1",
        "Mueller-Mueller",
        "fileroomfileroom",
        "letmein-welcome",
        "iloveyou!!!!!",
        "Radiology2026",
        "willkommen123",
        "ＰＡＳＳＷＯＲＤ１２３４",
    ],
)
def test_what_guessers_try_first_is_refused(password: str) -> None:
    with pytest.raises(InvalidRequestError, match="guessers try first"):
        require_good_password(password, NAMES, chars_min=12)


@pytest.mark.parametrize(
    ("password", "reason"),
    [("", "too short"), ("k7#Vx9qLm2z", "too short"), ("a1" * 65, "too long"), ("violet\0kettle1", "control")],
)
def test_length_and_characters_have_limits(password: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        require_good_password(password, chars_min=12)


def test_a_reason_never_shows_the_password() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        require_good_password("Summer2026!!", chars_min=12)
    assert "Summer" not in str(refused.value)


def test_a_name_that_is_part_of_words_does_not_matter() -> None:
    assert not is_easily_guessed("quiet-river-lamp", ("li", "Bo Li"))


async def test_a_hash_fits_its_password_alone() -> None:
    hashing = PasswordHashing()
    kept = await hashing.make(PASSWORD)
    assert kept.startswith("$argon2id$")
    assert await hashing.make(PASSWORD) != kept
    assert await hashing.fits(kept, PASSWORD)
    assert not await hashing.fits(kept, PASSWORD + " ")
    assert not await hashing.fits(kept, "")
    assert not await hashing.fits("no hash", PASSWORD)


async def test_a_password_fits_however_the_keyboard_composes_it() -> None:
    hashing = quick_hashing()
    kept = await hashing.make("Gr\u00fc\u00dfe aus dem S\u00fcden")
    assert await hashing.fits(kept, "Gru\u0308\u00dfe aus dem Su\u0308den")


async def test_where_there_is_no_account_the_same_work_is_done() -> None:
    hashing = PasswordHashing()
    assert not hashing.is_outdated(OF_NOBODY)
    assert await hashing.fits(OF_NOBODY, "nobody")  # it is a real hash, so that comparing takes as long
    assert not await hashing.fits(None, "nobody")


async def test_endless_passwords_are_not_hashed() -> None:
    hashing = quick_hashing()
    assert not await hashing.fits(await hashing.make(PASSWORD), "x" * (PASSWORD_CHARS_MAX + 1))


async def test_a_flood_of_logins_is_told_to_come_back() -> None:
    hashing = quick_hashing()
    wanted = PASSWORD_HASHES_WAITING_MAX + PASSWORD_HASHES_MAX + 5
    kept = await hashing.make("nobody")
    results = await asyncio.gather(*(hashing.fits(kept, "x") for _ in range(wanted)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, ServiceError)]
    assert len(refused) == wanted - PASSWORD_HASHES_WAITING_MAX
    assert all(result is False for result in results if not isinstance(result, BaseException))
    assert not await hashing.fits(kept, "x")
