"""One connection to an LDAP server (RFC 4511): TLS, simple bind, search. Over `ldap3`, which blocks: call it in a thread.

TLS is checked by OpenSSL with the name that was dialled; `ldap3` compares names itself, and not all of them.
"""

from __future__ import annotations

import socket
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from fileroom.core.errors import ConfigurationError, PeerRefusedError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # names that pyasn1 has renamed since
    import ldap3
    from ldap3.core.exceptions import LDAPException
    from ldap3.utils.conv import escape_filter_chars

SUCCESS: Final = 0
SIZE_LIMIT_EXCEEDED: Final = 4
INVALID_CREDENTIALS: Final = 49
_PORTS: Final = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class LdapServer:
    """Where a server is. `tls` is `ldaps`, `starttls`, or empty for none."""

    host: str
    port: int
    tls: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class LdapEntry:
    """What was found: the DN, and the values asked for by lower-case attribute names."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]

    def text(self, name: str) -> str:
        """The first value as text; empty where there is none."""
        values = self.attributes.get(name.lower(), ())
        return values[0].decode("utf-8", "replace").strip() if values else ""


@dataclass(frozen=True, slots=True)
class LdapAnswer:
    """A result (RFC 4511 4.1.9): its code and the server's words."""

    code: int
    message: str = ""


def ldap_server_of(url: str, *, plain: bool) -> LdapServer:
    """The server of `ldaps://HOST[:PORT]` or `ldap://HOST[:PORT]`. Raises ConfigurationError."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in _PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ConfigurationError(f"{url!r:.100} is no address of a directory; write ldaps://HOST or ldap://HOST.")
    tls = "ldaps" if parts.scheme == "ldaps" else "" if plain else "starttls"
    return LdapServer(parts.hostname, port, tls)


def escaped(value: str) -> str:
    """A value as it may stand in a filter (RFC 4515 3)."""
    return str(escape_filter_chars(value))


def tls_context(ca: str) -> ssl.SSLContext:
    """How servers are checked: by the certificates of a PEM file, or by the system's. Raises ConfigurationError."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"The certificates in {ca} cannot be read: {error}") from error


class LdapConnection:
    """An open connection; a context manager. Whatever goes wrong with server or network raises PeerRefusedError."""

    def __init__(
        self, server: LdapServer, context: ssl.SSLContext, *, connect_timeout_s: int, answer_timeout_s: int
    ) -> None:
        place = ldap3.Server(
            server.host,
            port=server.port,
            use_ssl=server.tls == "ldaps",
            tls=_CheckedTls(context) if server.tls else None,
            get_info=ldap3.NONE,
            connect_timeout=connect_timeout_s,
        )
        self._server = server
        self._connection = ldap3.Connection(
            place,
            receive_timeout=answer_timeout_s,
            auto_bind=ldap3.AUTO_BIND_NONE,
            auto_referrals=False,
            check_names=False,
            raise_exceptions=False,
            read_only=True,
        )

    def __enter__(self) -> Self:
        try:
            self._do(self._connection.open)
            if self._server.tls == "starttls":
                self._do(self._connection.start_tls)
        except PeerRefusedError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        # ldap3 leaves a socket open whose other end is closed already.
        opened: socket.socket | None = self._connection.socket
        try:
            self._connection.unbind()
        except (LDAPException, OSError):
            pass
        if opened is not None:
            opened.close()

    def bind(self, dn: str, password: str) -> LdapAnswer:
        """Simple bind (RFC 4513 5.1); anonymous with an empty DN. A DN without a password is a mistake of the caller."""
        if dn and not password:
            raise ValueError("a bind with a name and no password proves nothing (RFC 4513 5.1.2)")
        connection = self._connection
        connection.authentication = ldap3.SIMPLE if dn else ldap3.ANONYMOUS
        # As bytes: ldap3 would refuse a password that SASLprep (RFC 4013) does not allow, which is no fault of the server.
        connection.user, connection.password = dn or None, password.encode("utf-8", "replace") or None
        self._do(connection.bind)
        return self._answer()

    def search(
        self, base: str, question: str, attributes: Sequence[str], *, entries_max: int
    ) -> tuple[LdapAnswer, list[LdapEntry]]:
        """The entries below `base` that a filter finds, `entries_max` at most; references elsewhere are not followed."""
        self._do(
            lambda: self._connection.search(
                base, question, ldap3.SUBTREE, attributes=list(attributes), size_limit=entries_max
            )
        )
        found = [
            LdapEntry(one["dn"], {name.lower(): tuple(values) for name, values in one["raw_attributes"].items()})
            for one in self._connection.response or ()
            if one.get("type") == "searchResEntry"
        ]
        return self._answer(), found[:entries_max]

    def _answer(self) -> LdapAnswer:
        result = self._connection.result or {}
        return LdapAnswer(int(result.get("result", -1)), str(result.get("message") or result.get("description") or ""))

    def _do(self, act: Any) -> None:
        try:
            act()
        except (LDAPException, OSError) as error:
            raise PeerRefusedError(f"{self._server}: {error}") from error


class _CheckedTls(ldap3.Tls):  # type: ignore[misc]  # ldap3 has no types
    """TLS with the context's own check of certificate and name."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:  # noqa: ARG002 - as ldap3 calls it
        """Put TLS around the connection's socket."""
        plain: socket.socket = connection.socket
        connection.socket = self._context.wrap_socket(plain, server_hostname=connection.server.host)
