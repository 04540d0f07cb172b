"""The directory (LDAP, Active Directory): does this password fit, who is that, and in which groups.

Fileroom logs in as itself, finds the person by an escaped filter, and tries the password by a bind as that person. Servers are
asked in the order of the setting; one that did not answer is asked last for a while. What a person may do then is decided by
`admin.provided_accounts`.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from fileroom.admin.provided_people import ProvidedPerson, Source
from fileroom.core.errors import ConfigurationError, PeerRefusedError, ProviderDownError, told
from fileroom.core.limits import (
    DIRECTORY_ANSWER_TIMEOUT_S,
    DIRECTORY_CONNECT_TIMEOUT_S,
    DIRECTORY_DOWN_S,
    DIRECTORY_GROUPS_MAX,
    DIRECTORY_LOGINS_MAX,
    DIRECTORY_NESTING_MAX,
)
from fileroom.core.settings import Settings

if TYPE_CHECKING:
    from fileroom.net.ldap_client import LdapConnection, LdapEntry, LdapServer

_log = structlog.get_logger(__name__)
_NESTED_RULE: Final = "1.2.840.113556.1.4.1941"
"""LDAP_MATCHING_RULE_IN_CHAIN (MS-ADTS 3.1.1.3.4.4.3): Active Directory goes through groups in groups by itself."""
_BATCH: Final = 50
"""Groups whose groups are asked for at once: a filter of some kilobytes."""
_PERSON: Final = ("sAMAccountName", "uid", "displayName", "cn", "objectGUID", "entryUUID", "userAccountControl")
_DISABLED: Final = 0x2
"""ADS_UF_ACCOUNTDISABLE of userAccountControl (MS-ADTS 2.2.16)."""
_SENTENCE_OF_AD: Final = {
    "532": told("Your password in the directory has run out. Change it there, then log in."),
    "773": told("The directory wants a new password from you first. Change it there, then log in."),
}
"""Active Directory tells these (data NNN in its message) only to whoever has the right password."""


class RefusedByDirectoryError(Exception):
    """The password does not fit; `args[0]` may be told to the person."""


@dataclass(frozen=True, slots=True)
class _Asked:
    settings: Settings
    server: LdapServer
    login: str
    password: str | None
    """None: nothing is tried, as whoever asks only looks somebody up."""


class Directory:
    """What a process remembers of the directory: which servers were down, and how many logins are under way."""

    def __init__(self) -> None:
        self._down_until: dict[str, float] = {}
        self._free = asyncio.Semaphore(DIRECTORY_LOGINS_MAX)
        # Not those of everybody: a directory that does not answer must not hold up images, nor other logins.
        self._threads = ThreadPoolExecutor(DIRECTORY_LOGINS_MAX, "directory")

    async def find_person(self, settings: Settings, login: str, password: str | None) -> ProvidedPerson | None:
        """The person of this login and password; None: there is none. `password` None looks somebody up.

        Raises RefusedByDirectoryError for a wrong password, ProviderDownError when no server could be asked.
        """
        if password == "":  # a bind without a password succeeds as nobody (RFC 4513 5.1.2)
            raise RefusedByDirectoryError("")
        try:
            async with asyncio.timeout(DIRECTORY_ANSWER_TIMEOUT_S):
                await self._free.acquire()
        except TimeoutError:
            _log.error("directory_down", reason=f"{DIRECTORY_LOGINS_MAX} logins wait for it already")
            raise directory_down() from None
        try:
            for server in self._in_order(settings):
                try:
                    asked = _Asked(settings, server, login, password)
                    found = await asyncio.get_running_loop().run_in_executor(self._threads, _ask, asked)
                except PeerRefusedError as error:
                    self._down_until[str(server)] = time.monotonic() + DIRECTORY_DOWN_S
                    _log.error("directory_down", server=str(server), reason=str(error))
                    continue
                except ConfigurationError as error:
                    _log.error("directory_set_up_wrongly", server=str(server), reason=str(error))
                    break
                self._down_until.pop(str(server), None)
                return found
        finally:
            self._free.release()
        raise directory_down()

    def _in_order(self, settings: Settings) -> list[LdapServer]:
        """The servers of the setting; those that were down a moment ago last."""
        # Only where there is a directory: it takes a tenth of a second to load.
        from fileroom.net.ldap_client import ldap_server_of

        try:
            servers = [ldap_server_of(url, plain=settings.ldap_plain) for url in settings.ldap_url.split()]
        except ConfigurationError as error:
            _log.error("directory_set_up_wrongly", reason=str(error))
            return []
        now = time.monotonic()
        return sorted(servers, key=lambda server: self._down_until.get(str(server), 0.0) > now)


def directory_down() -> ProviderDownError:
    """The sentence for people; the log has the reason."""
    return ProviderDownError(
        told(
            "The directory (LDAP) cannot be asked now. Accounts of Fileroom itself, such as an administrator's, can log in; "
            "the log says why."
        )
    )


# --- in a thread ---


def _ask(asked: _Asked) -> ProvidedPerson | None:
    """Raises PeerRefusedError, ConfigurationError, RefusedByDirectoryError."""
    with _connected(asked) as connection:
        _bind_as_ourselves(asked.settings, connection)
        entry = _find_entry(asked, connection)
        if entry is None:
            return None
        if asked.password is not None:
            _try_password(asked, entry.dn)
        login = (entry.text("sAMAccountName") or entry.text("uid") or asked.login).lower()
        groups = tuple(_groups_of(asked.settings, connection, entry.dn, login))
        name = entry.text("displayName") or entry.text("cn")
        return ProvidedPerson(Source.LDAP, _subject(entry), login, name, groups, entry.dn)


def _connected(asked: _Asked) -> LdapConnection:
    from fileroom.net.ldap_client import LdapConnection, tls_context

    return LdapConnection(
        asked.server,
        tls_context(asked.settings.ldap_ca),
        connect_timeout_s=DIRECTORY_CONNECT_TIMEOUT_S,
        answer_timeout_s=DIRECTORY_ANSWER_TIMEOUT_S,
    )


def _bind_as_ourselves(settings: Settings, connection: LdapConnection) -> None:
    from fileroom.net.ldap_client import SUCCESS

    password = settings.ldap_bind_password.get_secret_value()
    if settings.ldap_bind_dn and not password:
        raise ConfigurationError("FILEROOM_LDAP_BIND_PASSWORD is empty.")
    answer = connection.bind(settings.ldap_bind_dn, password if settings.ldap_bind_dn else "")
    if answer.code != SUCCESS:
        raise PeerRefusedError(
            f"refuses Fileroom's own login {settings.ldap_bind_dn!r}: {answer.code} {answer.message}"
        )


def _find_entry(asked: _Asked, connection: LdapConnection) -> LdapEntry | None:
    from fileroom.net.ldap_client import SIZE_LIMIT_EXCEEDED, SUCCESS

    question = _filled(asked.settings.ldap_user_filter, {"login": asked.login})
    answer, entries = connection.search(asked.settings.ldap_base, question, _PERSON, entries_max=2)
    if answer.code not in (SUCCESS, SIZE_LIMIT_EXCEEDED):
        raise PeerRefusedError(f"cannot search below {asked.settings.ldap_base!r}: {answer.code} {answer.message}")
    if len(entries) > 1:
        _log.error("directory_login_ambiguous", login=asked.login, found=[entry.dn for entry in entries])
        return None
    return entries[0] if entries and not _is_disabled(entries[0]) else None


def _is_disabled(entry: LdapEntry) -> bool:
    """Active Directory refuses the password of such an entry; whoever only looks somebody up has to look at this too."""
    control = entry.text("userAccountControl")
    return control.isdigit() and bool(int(control) & _DISABLED)


def _try_password(asked: _Asked, dn: str) -> None:
    """On a connection of its own: the other one stays ours, whose rights show the groups."""
    from fileroom.net.ldap_client import INVALID_CREDENTIALS, SUCCESS

    with _connected(asked) as connection:
        answer = connection.bind(dn, asked.password or "")
    if answer.code == INVALID_CREDENTIALS:
        reason = re.search(r"\bdata ([0-9a-f]+)", answer.message)
        raise RefusedByDirectoryError(_SENTENCE_OF_AD.get(reason[1], "") if reason else "")
    if answer.code != SUCCESS:
        raise RefusedByDirectoryError("")  # locked, not allowed from here, and the like: theirs to know


def _groups_of(settings: Settings, connection: LdapConnection, dn: str, login: str) -> Iterator[str]:
    """Names and DNs of the groups of a person, groups in groups as the setting says."""
    if settings.ldap_nested_groups == "rule":
        question = _filled(f"(member:{_NESTED_RULE}:={{dn}})", {"dn": dn})
    else:
        question = _filled(settings.ldap_group_filter, {"dn": dn, "login": login})
    seen = {entry.dn.casefold(): entry for entry in _search_groups(settings, connection, question)}
    latest = list(seen.values())
    for _ in range(DIRECTORY_NESTING_MAX if settings.ldap_nested_groups == "steps" else 0):
        found: list[LdapEntry] = []
        for start in range(0, len(latest), _BATCH):
            batch = latest[start : start + _BATCH]
            parts = "".join(_filled("(member={dn})(uniqueMember={dn})", {"dn": entry.dn}) for entry in batch)
            found += _search_groups(settings, connection, f"(|{parts})")
        latest = [entry for entry in found if entry.dn.casefold() not in seen]
        seen |= {entry.dn.casefold(): entry for entry in latest}
        if not latest or len(seen) > DIRECTORY_GROUPS_MAX:
            break
    for entry in seen.values():
        yield entry.dn
        if name := entry.text("cn"):
            yield name


def _search_groups(settings: Settings, connection: LdapConnection, question: str) -> list[LdapEntry]:
    from fileroom.net.ldap_client import SIZE_LIMIT_EXCEEDED, SUCCESS

    answer, entries = connection.search(settings.ldap_base, question, ["cn"], entries_max=DIRECTORY_GROUPS_MAX)
    if answer.code not in (SUCCESS, SIZE_LIMIT_EXCEEDED):
        raise PeerRefusedError(f"cannot search for groups by {question!r:.200}: {answer.code} {answer.message}")
    if answer.code == SIZE_LIMIT_EXCEEDED:
        _log.warning("directory_groups_cut", groups=len(entries))
    return entries


def _filled(question: str, values: Mapping[str, str]) -> str:
    """A filter with its places filled in one go, so that a value that reads {dn} stays what it is."""
    from fileroom.net.ldap_client import escaped

    return re.sub(r"\{(login|dn)\}", lambda place: escaped(values.get(place[1], "")), question)


def _subject(entry: LdapEntry) -> str:
    """What stays when somebody marries or moves to another department: the entry's own number, else its DN."""
    number = entry.attributes.get("objectguid", ())
    if number and len(number[0]) == 16:
        return str(uuid.UUID(bytes_le=number[0]))
    return entry.text("entryUUID").lower() or entry.dn.casefold()
