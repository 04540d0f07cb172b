"""Random secrets that are shown once, and the hashes by which they are known again.

They carry 256 bits of chance, so a plain SHA-256 keeps them: nobody can try that many (unlike passwords, which are slow on
purpose). What the database loses opens nothing.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

SECRET_BYTES: Final = 32
TOKEN_PREFIX: Final = "fr_"  # noqa: S105 - lets people and scanners of repositories see what it is
_SECRET_CHARS_MAX: Final = 100
_READABLE: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what looks alike: 0 o, 1 l i."""


def new_secret(prefix: str = "") -> str:
    """256 random bits as text that fits into a cookie or a header."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. Text that is no secret of ours has a hash that no row has."""
    if len(secret) > _SECRET_CHARS_MAX:
        return b""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_readable_secret(groups: int, characters: int = 5) -> str:
    """A random text to be typed by people, in groups: five characters have 24 bits."""
    return "-".join("".join(secrets.choice(_READABLE) for _ in range(characters)) for _ in range(groups))
