"""`/hl7`: messages that came in, messages that leave, and the feeds that they come and go by."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.core.access import Permission
from fileroom.feeds import feeds, inbox_search, outbox, replay
from fileroom.feeds.feed_fields import KEEP_DAYS_MAX, PORT_MAX, SENDERS_MAX
from fileroom.feeds.feeds import Feed
from fileroom.feeds.inbox_search import MessageFilter, ShownMessage
from fileroom.web.api.models import Asked, AskedMoment, Flag, Moment, NameInPath, NumberInPath, ShortText, Shown, Text
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address, read_cursor, write_cursor

State = Literal["applied", "ignored", "failed", "rejected", "duplicate"]
OutState = Literal["waiting", "sent", "dead", "cancelled"]
_Searched = Annotated[str, Query(max_length=200)]


class MessageEffect(Shown):
    """What became of a message, and which row it is about."""

    words: str
    subject: Annotated[str, Field(description="patient, visit, order or study; empty where it is none.")]
    number: int


class Hl7Message(Shown):
    """A message that came in."""

    id: int
    feed: Annotated[str, Field(description="Empty: no feed took it.")]
    sender: Annotated[str, Field(description="MSH-3|MSH-4.")]
    address: str
    control_id: str
    kind: str
    state: State
    answered: Annotated[str, Field(description="AA, AE, AR, CA, CE, CR; empty where the sender wanted no answer.")]
    reason: str
    effects: list[MessageEffect]
    patient_ids: list[str]
    accession_numbers: list[str]
    order_numbers: list[str]
    first: Annotated[int | None, Field(description="The message that this one repeats or mends.")]
    mended_by: int | None
    received_at: Moment
    received_by: str
    milliseconds: float
    bytes: int


class Hl7Field(Shown):
    """A field of a segment; `before` where it is another in the previous message of the same order or patient."""

    number: int
    name: str
    text: str
    is_cut: bool
    before: str | None


class Hl7Segment(Shown):
    """A segment."""

    name: str
    title: str
    fields: list[Hl7Field]
    state: str


class Hl7MessageContent(Shown):
    """A message with its segments, what was answered, and the message before it of the same order or patient."""

    message: Hl7Message
    segments: list[Hl7Segment]
    gone: Annotated[list[Hl7Segment], Field(description="Segments that only the previous message has.")]
    answer: list[Hl7Segment]
    is_masked: Annotated[bool, Field(description="Who the patient is, is not shown to this account.")]
    warnings: list[str]
    previous: int | None


class Hl7MessagePage(Page[Hl7Message]):
    """Messages, the newest first."""


class Replay(Asked):
    """How a message shall be applied again."""

    text: Annotated[
        str | None,
        Field(strict=True, max_length=replay.TEXT_CHARS_MAX, description="The mended message, one segment a line."),
    ] = None
    feed: Annotated[ShortText, Field(description="By whose mapping; else that of the feed that took it.")] = ""
    reason: Text = ""


class OutgoingHl7Message(Shown):
    """A message that leaves."""

    id: int
    feed: str
    control_id: str
    kind: str
    state: OutState
    attempts: int
    next_try_at: Moment
    reason: str
    cause: str
    made_at: Moment
    made_by: str
    sent_at: Moment | None


class OutgoingHl7Page(Page[OutgoingHl7Message]):
    """Messages that leave, the newest first."""


class SentHl7(Asked):
    """A message to be sent, one segment a line."""

    feed: ShortText
    text: Annotated[str, Field(strict=True, min_length=8, max_length=1_000_000)]


class CancelledHl7(Asked):
    """Why it shall not be sent."""

    reason: Annotated[Text, Field(min_length=1)]


class QueuedHl7(Shown):
    """Its number in the outbox."""

    id: int


class AskedFeed(Asked):
    """A feed; which members it takes depends on its direction."""

    direction: Literal["in", "out"] = "in"
    port: Annotated[int, Field(strict=True, ge=0, le=PORT_MAX, description="In: 0 for the default port.")] = 0
    tls: Literal["off", "on", "mutual"] = "off"
    keep_days: Annotated[int | None, Field(strict=True, ge=1, le=KEEP_DAYS_MAX)] = None
    note: Text | None = None
    senders: Annotated[
        list[ShortText] | None,
        Field(
            max_length=SENDERS_MAX, description="In: APPLICATION|FACILITY@NETWORK.", examples=[["RIS|H@10.1.2.0/24"]]
        ),
    ] = None
    on_failure: Annotated[Literal["refuse", "accept"] | None, Field(description="In: AE, or AA and mended here.")] = (
        None
    )
    silent_minutes: Annotated[int | None, Field(strict=True, ge=0, description="In: the alarm on silence.")] = None
    queries: Annotated[Literal["refuse", "answer"] | None, Field(description="In: may it ask for patients?")] = None
    order_answer: Annotated[
        Literal["ack", "order"] | None, Field(description="In: orders are answered by ACK, or by ORR, ORG, ORI.")
    ] = None
    assumed_charset: Annotated[
        ShortText | None, Field(description="In: of messages whose MSH-18 is empty (HL7 table 0211).")
    ] = None
    mapping: Annotated[dict[str, Any] | None, Field(description="In: how its messages are read (docs/hl7.md).")] = None
    host: Annotated[ShortText | None, Field(description="Out: where it sends to.")] = None
    kinds: Annotated[list[ShortText] | None, Field(max_length=50, description="Out: what is forwarded.")] = None
    sources: Annotated[list[ShortText] | None, Field(max_length=50, description="Out: from which feeds.")] = None
    attempts_max: Annotated[int | None, Field(strict=True, ge=1, description="Out.")] = None
    give_up_hours: Annotated[int | None, Field(strict=True, ge=0, description="Out.")] = None
    timeout_s: Annotated[int | None, Field(strict=True, ge=1, description="Out.")] = None
    billing: Annotated[
        Literal["none", "performed", "reported"] | None, Field(description="Out: which orders are charged (DFT^P03).")
    ] = None
    billing_accounts: Annotated[
        Literal["no", "yes"] | None, Field(description="Out: accounts are told before charges (BAR).")
    ] = None
    identifier_domains: Annotated[
        list[ShortText] | None,
        Field(max_length=50, description="Out: whose changed numbers are told (ADT^A31); * for all."),
    ] = None
    reports: Annotated[
        Literal["none", "oru", "mdm"] | None, Field(description="Out: how reports are told (ORU^R01, MDM^T02 ...).")
    ] = None
    report_document: Annotated[
        Literal["text", "pdf", "both"] | None, Field(description="Out: what goes with a report.")
    ] = None
    report_preliminary: Annotated[
        Literal["yes", "no"] | None, Field(description="Out: preliminary reports are told, too.")
    ] = None
    report_sources: Annotated[
        list[ShortText] | None,
        Field(max_length=50, description="Out: whose reports are told: console, dicom, feeds in; none: console."),
    ] = None
    orders: Annotated[
        Literal["none", "complete", "all"] | None, Field(description="Out: which orders are told (ORM^O01).")
    ] = None
    rewrite: Annotated[
        list[Annotated[str, Field(max_length=400)]] | None,
        Field(
            max_length=200, description="Out: lines that change each message as it leaves.", examples=[["MSH-5 = RIS2"]]
        ),
    ] = None
    enabled: Flag = True

    def fields(self) -> dict[str, Any]:
        """As the service takes them: what is said."""
        return self.model_dump(exclude={"enabled"}, exclude_none=True)


class Hl7Feed(Shown):
    """A feed."""

    name: str
    fields: Annotated[dict[str, Any], Field(description="As they were saved, with what was not said filled in.")]
    enabled: bool
    version: int
    changed_by: str
    is_built_in: Annotated[bool, Field(description="Nobody made it: it takes what this machine sends.")]


class Hl7Feeds(Shown):
    """All feeds, by name."""

    items: list[Hl7Feed]


def add_messages(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("hl7", "HL7 messages in and out, and the feeds that they come and go by.")

    @resource.get("/hl7/messages", "messages", Permission.MESSAGE_READ)
    async def all_messages(
        request: Request,
        q: Annotated[str, Query(max_length=200, description="Words, or their beginnings, in the message.")] = "",
        feed: Annotated[str | None, Query(max_length=64)] = None,
        state: Annotated[State | None, Query()] = None,
        troubled: Annotated[bool, Query(description="Failed or rejected, and not mended.")] = False,
        kind: Annotated[str, Query(max_length=12, description="ADT^A08, or ADT for all of them.")] = "",
        patient: _Searched = "",
        accession: _Searched = "",
        order: _Searched = "",
        control_id: _Searched = "",
        since: AskedMoment | None = None,
        until: AskedMoment | None = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> Hl7MessagePage:
        """Messages that came in, the newest first."""
        place = read_cursor(cursor, int)
        before = int(str(place[0])) if place else None
        states = (state,) if state else ()
        wanted = MessageFilter(q, feed, states, troubled, kind, patient, accession, order, control_id, since, until)
        found = await inbox_search.list_messages(archive, wanted, before=before, limit=limit)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return Hl7MessagePage(
            items=[Hl7Message.model_validate(one) for one in found], next=next_address(request, behind)
        )

    @resource.get("/hl7/messages/{number}", "message", Permission.MESSAGE_READ)
    async def get_message(number: NumberInPath) -> Hl7MessageContent:
        """One message, field by field."""
        return _content(await inbox_search.get_message(archive, number))

    @resource.post("/hl7/messages/{number}/replay", "replay", Permission.MESSAGE_MANAGE)
    async def replay_message(number: NumberInPath, asked: Replay) -> Hl7Message:
        """Apply a message again, as it came or mended; answers the row that it became, which says what came of it."""
        made = await replay.replay_message(archive, number, text=asked.text, feed=asked.feed, reason=asked.reason)
        return Hl7Message.model_validate((await inbox_search.get_message(archive, made)).row)

    @resource.get("/hl7/outbox", "outbox", Permission.MESSAGE_READ)
    async def all_outgoing(
        request: Request,
        feed: Annotated[str, Query(max_length=64)] = "",
        state: Annotated[OutState | None, Query()] = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> OutgoingHl7Page:
        """Messages that leave, the newest first."""
        place = read_cursor(cursor, int)
        before = int(str(place[0])) if place else None
        wanted = outbox.OutgoingFilter(feed, (state,) if state else ())
        found = await outbox.list_outgoing(archive, wanted, before=before, limit=limit)
        behind = write_cursor(found[-1].id) if len(found) == limit else ""
        return OutgoingHl7Page(
            items=[OutgoingHl7Message.model_validate(one) for one in found], next=next_address(request, behind)
        )

    @resource.post("/hl7/outbox", "send", Permission.MESSAGE_MANAGE)
    async def send_message(asked: SentHl7) -> QueuedHl7:
        """Put a message into the outbox of a feed."""
        lines = "\r".join(asked.text.replace("\r\n", "\n").replace("\r", "\n").strip("\n").split("\n"))
        return QueuedHl7(id=await outbox.send_message(archive, asked.feed, (lines + "\r").encode()))

    @resource.post("/hl7/outbox/{number}/resend", "resend", Permission.MESSAGE_MANAGE)
    async def resend(number: NumberInPath) -> QueuedHl7:
        """Send a message once more, behind what waits."""
        return QueuedHl7(id=await outbox.resend_outgoing(archive, number))

    @resource.post("/hl7/outbox/{number}/cancel", "cancel", Permission.MESSAGE_MANAGE)
    async def cancel(number: NumberInPath, asked: CancelledHl7) -> QueuedHl7:
        """Take a message that waits out of the way of those behind it."""
        await outbox.cancel_outgoing(archive, number, asked.reason)
        return QueuedHl7(id=number)

    @resource.get("/hl7/feeds", "feeds", Permission.MESSAGE_READ)
    async def all_feeds() -> Hl7Feeds:
        """All feeds, by name."""
        return Hl7Feeds(items=[_feed(one) for one in await feeds.list_feeds(archive)])

    @resource.get("/hl7/feeds/{name}", "feed", Permission.MESSAGE_READ)
    async def get_feed(name: NameInPath) -> Hl7Feed:
        """One feed."""
        return _feed(await feeds.get_feed(archive, name))

    @resource.put("/hl7/feeds/{name}", "save_feed", Permission.MESSAGE_MANAGE)
    async def save_feed(name: NameInPath, asked: AskedFeed) -> Hl7Feed:
        """Add a feed, or replace it."""
        return _feed(await feeds.put_feed(archive, name, asked.fields(), enabled=asked.enabled))

    @resource.delete("/hl7/feeds/{name}", "remove_feed", Permission.MESSAGE_MANAGE)
    async def remove_feed(name: NameInPath) -> None:
        """Remove a feed; its messages stay."""
        await feeds.remove_feed(archive, name)


def _content(found: ShownMessage) -> Hl7MessageContent:
    return Hl7MessageContent(
        message=Hl7Message.model_validate(found.row),
        segments=[Hl7Segment.model_validate(one) for one in found.segments],
        gone=[Hl7Segment.model_validate(one) for one in found.gone],
        answer=[Hl7Segment.model_validate(one) for one in found.answer],
        is_masked=found.is_masked,
        warnings=list(found.warnings),
        previous=found.previous,
    )


def _feed(one: Feed) -> Hl7Feed:
    return Hl7Feed.model_validate(one)
