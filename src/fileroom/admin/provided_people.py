"""Somebody as a directory or an OpenID provider knows them, before Fileroom has an account for them."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Source(enum.StrEnum):
    """Who vouches for an account."""

    LOCAL = "local"
    """Fileroom itself, by a password or passkey of its own."""
    LDAP = "ldap"
    OPENID = "openid"


@dataclass(frozen=True, slots=True)
class ProvidedPerson:
    """`subject` names the person at the source for ever; login, name and groups may change there."""

    source: Source
    subject: str
    login: str
    full_name: str
    groups: tuple[str, ...]
    place: str = ""
    """The DN, for whoever looks somebody up."""
