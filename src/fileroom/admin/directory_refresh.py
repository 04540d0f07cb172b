"""Between logins: what the directory says of its people now, so that who leaves there does not stay here with old tokens."""

from __future__ import annotations

import structlog

from fileroom.admin.group_roles import group_roles_of
from fileroom.admin.people import People
from fileroom.admin.provided_accounts import follow_groups
from fileroom.admin.provided_people import Source
from fileroom.core.errors import ConfigurationError, ProviderDownError

_log = structlog.get_logger(__name__)


async def refresh_directory_accounts(people: People) -> int:
    """Background work: every enabled account of the directory gets the role of its groups, or loses it.

    A directory that is down changes nothing. Returns 0: there is no more to do at once.
    """
    settings = people.settings
    if not settings.ldap_url:
        return 0
    async with people.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT login, subject FROM account WHERE source = %s AND disabled_at IS NULL ORDER BY id",
            (Source.LDAP.value,),
        )
        accounts = await cursor.fetchall()
    try:
        mapping = group_roles_of(settings.ldap_roles, "ldap_roles")
        for login, subject in accounts:
            person = await people.directory.find_person(settings, login, None)
            is_same = person is not None and person.subject == subject
            await follow_groups(people, Source.LDAP, subject, person.groups if person and is_same else (), mapping)
    except (ProviderDownError, ConfigurationError) as error:
        _log.warning("directory_accounts_not_refreshed", reason=str(error))
    return 0
