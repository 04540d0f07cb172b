"""What the services around people stand on: the database, the settings, the clock, the hashing of passwords, and those who
vouch for others."""

from __future__ import annotations

from dataclasses import dataclass, field

from fileroom.admin.directory import Directory
from fileroom.admin.openid import OpenIdProvider
from fileroom.admin.passwords import PasswordHashing
from fileroom.core.clock import Now
from fileroom.core.settings import Settings
from fileroom.db.pool import Pool


@dataclass(frozen=True, slots=True)
class People:
    """Accounts, roles, sessions and tokens. One for each process, so that the limit on hashing holds."""

    pool: Pool
    settings: Settings
    now: Now
    hashing: PasswordHashing = field(default_factory=PasswordHashing)
    directory: Directory = field(default_factory=Directory)
    openid: OpenIdProvider = field(default_factory=OpenIdProvider)
