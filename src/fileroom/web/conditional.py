"""Conditional requests: entity tags made from what an answer depends on (RFC 9110 8.8.3, 13.1.2).

A stored object never changes under its key, so its key, the corrections laid over it and the form it leaves in name the
bytes of an answer.
"""

from __future__ import annotations

import hashlib

from starlette.requests import Request

from fileroom.archive.retrieve import StoredInstance
from fileroom.web.answers import PRIVATE, Answer


def entity_tag(instance: StoredInstance, *form: object) -> str:
    """A strong tag for `instance` in one form: media type, transfer syntax, frames, rendering."""
    seed = repr((instance.storage_key, instance.corrections, form)).encode()
    return f'"{hashlib.blake2b(seed, digest_size=12).hexdigest()}"'


def not_modified(request: Request, tag: str) -> Answer | None:
    """The empty answer 304 where the client has this very form already."""
    return Answer(304, {"etag": tag, "cache-control": PRIVATE}) if is_known(request, tag) else None


def is_known(request: Request, tag: str) -> bool:
    """Whether the client says that it has what `tag` names."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    known = {member.strip().removeprefix("W/") for member in header.split(",")}
    return tag in known or "*" in known
