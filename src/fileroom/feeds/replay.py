"""Applying a message of the inbox again, as it came or mended; the row that it becomes stands beside the one that it mends."""

from __future__ import annotations

from typing import Final

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.archive.services import Archive
from fileroom.core.access import Permission, require
from fileroom.core.errors import ConflictError, Hl7Error, InvalidRequestError, NotFoundError, TooLargeError, told
from fileroom.feeds.feeds import FeedSet, InFeed, charset_of_feed, read_feeds
from fileroom.feeds.inbox import receive_again
from fileroom.feeds.masking import sees_patients
from fileroom.hl7.message import Message, parse_message

TEXT_CHARS_MAX: Final = 1_000_000
"""What somebody mends by hand."""
REASON_CHARS_MAX: Final = 500


async def replay_message(
    archive: Archive, number: int, *, text: str | None = None, feed: str = "", reason: str = ""
) -> int:
    """Apply a message again; `text` mends it, one segment a line. Returns the number of its new row.

    `feed`: by whose mapping; empty: that of the feed that took it. Raises NotFoundError, ConflictError (no feed is its own),
    InvalidRequestError, TooLargeError, NotAllowedError, DatabaseError.
    """
    access = require(Permission.MESSAGE_MANAGE)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT raw, feed, state, address FROM hl7_message WHERE id = %s", (number,))
        row = await cursor.fetchone()
    if row is None:
        raise NotFoundError(told("There is no message {number} in the inbox.", number=number))
    raw, taken_by, state = bytes(row[0]), row[1], row[2]
    if text is not None:
        if not sees_patients(access):
            access.require(Permission.ORDER_READ)  # what one cannot see, one cannot mend
        raw = mended(raw, text, assumed_charset=await charset_of_feed(archive.pool, taken_by))
    message = parse_message(raw)
    chosen = _feed(await read_feeds(archive.pool), feed or taken_by, message, row[3])
    is_mended = text is not None
    async with archive.pool.connection() as connection, connection.transaction():
        words = f"HL7 message {number} {'mended and ' if is_mended else ''}applied again: {reason[:REASON_CHARS_MAX]}"
        await record(connection, node_changed(chosen.feed.name, words.rstrip(": ")))
    return await receive_again(
        archive, chosen, raw, first=number, who=access.name, is_forwarded=state in ("failed", "rejected")
    )


def mended(raw: bytes, text: str, *, assumed_charset: str = "") -> bytes:
    """The bytes of a message with another text, in its own character set; unchanged text leaves every byte as it was.

    Raises InvalidRequestError, Hl7Error, TooLargeError.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise TooLargeError(
            told("A message that is mended by hand has at most {most} characters.", most=TEXT_CHARS_MAX)
        )
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    try:
        message = parse_message(raw, assumed_charset=assumed_charset)
    except Hl7Error:
        return lines.replace("\n", "\r").encode("utf-8") + b"\r"
    if lines == message.text.replace("\r", "\n").strip("\n"):
        return raw
    try:
        return message.encoding.encode(lines.replace("\n", "\r") + "\r")
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            told(
                "The message's character set {name} has no {letter}. Write it otherwise, or name another set in MSH-18.",
                name=message.encoding.said or message.encoding.codec,
                letter=text[error.start : error.start + 1],
            )
        ) from error


# --- helpers ---


def _feed(feeds: FeedSet, name: str, message: Message, address: str) -> InFeed:
    every: tuple[InFeed, ...] = (*feeds.incoming, *((feeds.built_in,) if feeds.built_in else ()))
    for one in every:
        if one.feed.name == name:
            return one
    application, facility = message.get("MSH-3.1"), message.get("MSH-4.1")
    for one in feeds.incoming:
        if any(sender.names(application, facility, address) for sender in one.feed.senders):
            return one
    raise ConflictError(
        told(
            "No feed in force takes messages of {who}. Name the sender in a feed, or say which feed shall read it.",
            who=f"{application or 'nobody'}|{facility or 'nowhere'}",
        )
    )
