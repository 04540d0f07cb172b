"""A message of the inbox, or one that somebody has at hand, read by a feed's mapping or one that is being written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.feeds import charset_of_feed, get_feed
from fileroom.feeds.inbox_search import message_bytes
from fileroom.feeds.mapping_fields import check_mapping, mapping_from_fields
from fileroom.feeds.mapping_trial import Trial, try_mapping
from fileroom.feeds.masking import sees_patients
from fileroom.hl7.message import parse_message


async def preview_mapping(
    archive: Archive,
    *,
    number: int = 0,
    raw: bytes = b"",
    feed: str = "",
    mapping: Mapping[str, Any] | None = None,
) -> Trial:
    """What a message (`raw`, else the one of this number in the inbox) is read as by `mapping`, else by that of `feed`.

    Nothing is written. Raises InvalidRequestError (the mapping is wrong), Hl7Error (it is no message), NotFoundError,
    NotAllowedError (also who may not see patients), DatabaseError.
    """
    access = require(Permission.MESSAGE_READ)
    if not sees_patients(access):
        access.require(Permission.ORDER_READ)
    if mapping is None and feed:
        found = await get_feed(archive, feed)
        if not found.is_incoming:
            raise InvalidRequestError(told("The feed {name} sends messages; it reads none.", name=feed))
        mapping = found.fields["mapping"]
    used = mapping_from_fields(check_mapping(mapping or {}))
    assumed = await charset_of_feed(archive.pool, feed) if feed else ""
    return try_mapping(parse_message(raw or await message_bytes(archive, number), assumed_charset=assumed), used)
