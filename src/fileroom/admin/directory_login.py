"""Logging in with a password of the directory, and looking somebody up there.

Accounts of Fileroom itself come first: the directory is asked only for logins that no other account has. So an administrator
enters while the directory is down, and a person of the directory who is called like one does not become one.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from fileroom.admin.accounts import checked_login
from fileroom.admin.audit import record_alone
from fileroom.admin.audit_events import login_failed
from fileroom.admin.directory import RefusedByDirectoryError, directory_down
from fileroom.admin.group_roles import GroupRole, choose_group_role, group_roles_of
from fileroom.admin.lockout import Attempt
from fileroom.admin.people import People
from fileroom.admin.provided_accounts import take_in
from fileroom.admin.provided_people import ProvidedPerson, Source
from fileroom.core.access import Permission, RowScope, require
from fileroom.core.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    ServiceError,
    told,
)
from fileroom.core.limits import PASSWORD_CHARS_MAX

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """Somebody in the directory, and what Fileroom makes of their groups; `role` empty: they may not log in."""

    login: str
    full_name: str
    dn: str
    groups: tuple[str, ...]
    group: str
    role: str
    rows: RowScope


async def log_in_by_directory(people: People, login: str, password: str, address: str, attempt: Attempt) -> str | None:
    """The login of the account of whoever has this password in the directory, brought up to date; None: nobody has.

    Raises NotAuthenticatedError, NotAllowedError, ConflictError, InvalidRequestError, ProviderDownError.
    """
    if (
        not people.settings.ldap_url
        or not 0 < len(password) <= PASSWORD_CHARS_MAX
        or not await _is_theirs(people, login)
    ):
        return None
    try:
        mapping = _mapping(people)
        person = await people.directory.find_person(people.settings, login, password)
        if person is None:
            return None
        return (await take_in(people, person, mapping, address=address)).login
    except RefusedByDirectoryError as error:
        if not error.args[0]:
            return None
        await _note(people, login, address, str(error.args[0]))
        raise NotAuthenticatedError(error.args[0]) from None
    except NotAuthenticatedError:
        await _note(people, login, address, "the account is disabled")
        raise
    except (NotAllowedError, ConflictError, InvalidRequestError, ServiceError) as error:
        await attempt.take_back()  # the password was right, or was not looked at
        await _note(people, login, address, str(error))
        if isinstance(error, ConfigurationError):
            raise directory_down() from error
        raise


async def look_up_in_directory(people: People, login: str) -> DirectoryEntry:
    """What the directory knows of a login, and the role that it would get: for whoever sets it up.

    Raises NotFoundError, NotAllowedError, InvalidRequestError, ProviderDownError, ConfigurationError.
    """
    require(Permission.USER_MANAGE)
    if not people.settings.ldap_url:
        raise NotFoundError(told("No directory is set up; FILEROOM_LDAP_URL is empty."))
    mapping = _mapping(people)
    person = await people.directory.find_person(people.settings, checked_login(login), None)
    if person is None:
        raise NotFoundError(
            told("The directory knows nobody, or more than one person, by the login {login}.", login=login[:80])
        )
    return _entry(person, choose_group_role(mapping, person.groups))


def _entry(person: ProvidedPerson, given: GroupRole | None) -> DirectoryEntry:
    group, role, rows = (given.group, given.role, given.rows) if given else ("", "", RowScope())
    return DirectoryEntry(person.login, person.full_name, person.place, person.groups, group, role, rows)


def _mapping(people: People) -> tuple[GroupRole, ...]:
    """Raises ConfigurationError."""
    return group_roles_of(people.settings.ldap_roles, "ldap_roles")


async def _is_theirs(people: People, login: str) -> bool:
    """Whether the directory is the one to ask: a login can be one, and no account of another source has it."""
    try:
        if checked_login(login) != login:
            return False
    except InvalidRequestError:
        return False
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT FROM account WHERE login = %s AND source <> %s", (login, Source.LDAP.value)
        )
        return await cursor.fetchone() is None


async def _note(people: People, login: str, address: str, reason: str) -> None:
    _log.warning("login_refused", login=login, address=address, reason=reason)
    await record_alone(people.pool, login_failed(login, address, f"directory: {reason}"))
