"""New UIDs that follow from the old ones: the same object sent again, or another object that refers to it, gets the same.

2.25 and the first 128 bits of SHA-256 over installation, scope and old UID (PS3.5 B.2 asks for a UUID there, which this is in
form: version 8 of RFC 9562).
"""

from __future__ import annotations

import hashlib
import uuid


def derived_uid(secret: str, scope: str, *parts: str) -> str:
    """At most 44 characters. `secret` is the installation's UID, `scope` keeps treatments apart."""
    digest = hashlib.sha256("\0".join((secret, scope, *parts)).encode()).digest()[:16]
    value = int.from_bytes(digest, "big")
    value = value & ~(0xF << 76) | 8 << 76  # version
    value = value & ~(0x3 << 62) | 2 << 62  # variant
    return f"2.25.{uuid.UUID(int=value).int}"
