"""`fileroom hl7 ...`: HL7 messages that came in and go out, and the feeds that they come and go by."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fileroom.cli.output import print_json, print_rows, with_archive
from fileroom.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from fileroom.archive.services import Archive
    from fileroom.feeds.feeds import Feed
    from fileroom.feeds.inbox_search import MessageRow, ShownMessage
    from fileroom.feeds.mapping_trial import Trial
    from fileroom.feeds.outbox import OutgoingMessage

app = typer.Typer(help="HL7 messages in and out, and the feeds that they come and go by.", no_args_is_help=True)
feed_app = typer.Typer(help="Who sends HL7 messages to Fileroom, and who gets some.", no_args_is_help=True)
app.add_typer(feed_app, name="feed")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Number = Annotated[int, typer.Argument(min=1, help="The message's number, as 'hl7 list' shows it.")]


@app.command("list")
def list_messages(
    text: Annotated[str, typer.Argument(help="Words, or their beginnings, that stand in the message.")] = "",
    feed: Annotated[str | None, typer.Option(help="Only those of this feed.")] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="applied, ignored, failed, rejected or duplicate. Repeatable."),
    ] = None,
    troubled: Annotated[bool, typer.Option("--troubled", help="Failed or rejected, and not mended.")] = False,
    kind: Annotated[str, typer.Option(help="ADT^A08, or ADT for all of them.")] = "",
    patient: Annotated[str, typer.Option(help="Patient ID.")] = "",
    accession: Annotated[str, typer.Option(help="Accession number.")] = "",
    order: Annotated[str, typer.Option(help="Placer or filler order number.")] = "",
    control_id: Annotated[str, typer.Option(help="Control ID (MSH-10).")] = "",
    before: Annotated[int | None, typer.Option(help="Only those below this number: the next page.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the messages that came in, the newest first. Example: `fileroom hl7 list --troubled --json`"""

    async def work(archive: Archive) -> list[MessageRow]:
        from fileroom.feeds.inbox_search import MessageFilter
        from fileroom.feeds.inbox_search import list_messages as found

        wanted = MessageFilter(text, feed, tuple(state or ()), troubled, kind, patient, accession, order, control_id)
        return await found(archive, wanted, before=before, limit=limit)

    rows = with_archive(work)
    if as_json:
        print_json([dataclasses.asdict(one) for one in rows])
        return
    if not rows:
        typer.echo("No message fits. What a sender sends to the HL7 port appears here.", err=True)
        return
    print_rows(["number", "received", "feed", "kind", "control_id", "state", "effect"], map(_Row, rows), as_json=False)


@app.command("show")
def show(
    number: Number,
    as_json: Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes as they came.")] = False,
) -> None:
    """Show a message: what it says, what became of it, what was answered. Example: `fileroom hl7 show 17`"""
    if raw:
        import sys

        from fileroom.feeds.inbox_search import message_bytes

        sys.stdout.buffer.write(with_archive(lambda archive: message_bytes(archive, number)))
        return

    async def work(archive: Archive) -> ShownMessage:
        from fileroom.feeds.inbox_search import get_message

        return await get_message(archive, number)

    found = with_archive(work)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    row = found.row
    typer.echo(
        f"{row.kind or 'no message'} {row.control_id} of {row.sender or 'nobody'} by {row.feed or 'no feed'}, "
        f"{row.received_at:%Y-%m-%d %H:%M:%S}"
    )
    typer.echo(f"{row.state}, answered {row.answered or 'nothing'}" + (f": {row.reason}" if row.reason else ""))
    for effect in row.effects:
        typer.echo(f"  {effect['words']}")
    for segment in found.segments:
        typer.echo(f"{segment.name}  {segment.title}")
        for field in segment.fields:
            was = f"   (was: {field.before or 'empty'})" if field.before is not None else ""
            typer.echo(f"  {segment.name}-{field.number:<3} {field.name:<36.36} {field.text}{was}")
    if not found.is_readable:
        typer.echo(found.text)


@app.command("preview")
def preview(
    message: Annotated[str, typer.Argument(help="A message's number in the inbox, or a file with one.")],
    feed: Annotated[str, typer.Option(help="By whose mapping it is read.")] = "default",
    mapping: Annotated[Path | None, typer.Option("--mapping", help="A mapping in JSON instead of a feed's.")] = None,
    as_json: Json = False,
) -> None:
    """Show how a message is read: its facts, their places, what it does. Example: `fileroom hl7 preview 17 --feed ris`"""
    is_number = message.isascii() and message.isdigit() and len(message) <= 15
    raw = b"" if is_number else _read(Path(message))
    fields = _read_json(mapping) if mapping else None

    async def work(archive: Archive) -> Trial:
        from fileroom.feeds.previews import preview_mapping

        number = int(message) if is_number else 0
        return await preview_mapping(archive, number=number, raw=raw, feed=feed, mapping=fields)

    trial = with_archive(work)
    if as_json:
        print_json(dataclasses.asdict(trial))
    else:
        for sentence in (*trial.changes, *trial.notes):
            typer.echo(sentence)
        for one in trial.warnings:
            typer.echo(f"Not used: {one.words} ({one.path}) {one.raw}: {one.why}")
        said = [one for one in trial.facts if one.path]
        print_rows(["fact", "path", "raw", "used"], said, as_json=False)
        if trial.error:
            typer.echo(trial.error, err=True)
    if trial.error:
        raise typer.Exit(1)


@app.command("replay")
def replay(
    number: Number,
    file: Annotated[Path | None, typer.Option("--file", help="The mended message, one segment a line.")] = None,
    feed: Annotated[str, typer.Option(help="By whose mapping it is read; else that of the feed that took it.")] = "",
    reason: Annotated[str, typer.Option(help="It stands in the audit trail.")] = "",
    as_json: Json = False,
) -> None:
    """Apply a message again, as it came or mended. Example: `fileroom hl7 replay 17 --file mended.hl7`"""
    text = _read(file).decode("utf-8", "replace") if file else None

    async def work(archive: Archive) -> ShownMessage:
        from fileroom.feeds.inbox_search import get_message
        from fileroom.feeds.replay import replay_message

        return await get_message(archive, await replay_message(archive, number, text=text, feed=feed, reason=reason))

    row = with_archive(work).row
    if as_json:
        print_json(dataclasses.asdict(row))
    else:
        words = "; ".join(str(one["words"]) for one in row.effects) or row.reason
        typer.echo(f"Message {row.id}: {row.state}{f': {words}' if words else ''}")
    if row.state in ("failed", "rejected"):
        raise typer.Exit(1)


@app.command("send")
def send(
    feed: Annotated[str, typer.Argument(help="The feed out that it leaves by.")],
    file: Annotated[Path, typer.Argument(help="A file with one message; - for standard input.")],
) -> None:
    """Put a message into the outbox of a feed. Example: `fileroom hl7 send ward-ris message.hl7`"""
    raw = _read(file).replace(b"\r\n", b"\r").replace(b"\n", b"\r")

    async def work(archive: Archive) -> int:
        from fileroom.feeds.outbox import send_message

        return await send_message(archive, feed, raw)

    typer.echo(f"Message {with_archive(work)} waits in the outbox of {feed}.")


@app.command("outbox")
def outbox(
    feed: Annotated[str, typer.Option(help="Only those of this feed.")] = "",
    state: Annotated[list[str] | None, typer.Option("--state", help="waiting, sent, dead or cancelled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 50,
    as_json: Json = False,
) -> None:
    """List the messages that leave, the newest first. Example: `fileroom hl7 outbox --state dead`"""

    async def work(archive: Archive) -> list[OutgoingMessage]:
        from fileroom.feeds.outbox import OutgoingFilter, list_outgoing

        return await list_outgoing(archive, OutgoingFilter(feed, tuple(state or ())), limit=limit)

    found = with_archive(work)
    print_rows(["id", "feed", "kind", "control_id", "state", "attempts", "reason"], found, as_json=as_json)


@app.command("resend")
def resend(number: Annotated[int, typer.Argument(min=1, help="The number in the outbox.")]) -> None:
    """Send a message of the outbox once more. Example: `fileroom hl7 resend 12`"""

    async def work(archive: Archive) -> int:
        from fileroom.feeds.outbox import resend_outgoing

        return await resend_outgoing(archive, number)

    typer.echo(f"Message {with_archive(work)} waits in the outbox.")


@app.command("cancel")
def cancel(
    number: Annotated[int, typer.Argument(min=1, help="The number in the outbox.")],
    reason: Annotated[str, typer.Option(help="Why it shall not be sent.")],
) -> None:
    """Do not send a message that waits. Example: `fileroom hl7 cancel 12 --reason 'sent by hand'`"""

    async def work(archive: Archive) -> None:
        from fileroom.feeds.outbox import cancel_outgoing

        await cancel_outgoing(archive, number, reason)

    with_archive(work)
    typer.echo(f"Cancelled {number}.")


# --- feeds ---


@feed_app.command("list")
def list_feeds(as_json: Json = False) -> None:
    """List the feeds. Example: `fileroom hl7 feed list --json`"""

    async def work(archive: Archive) -> list[Feed]:
        from fileroom.feeds.feeds import list_feeds as found

        return await found(archive)

    feeds = with_archive(work)
    if as_json:
        print_json([dataclasses.asdict(one) for one in feeds])
        return
    print_rows(["name", "direction", "where", "who", "state"], map(_FeedRow, feeds), as_json=False)


@feed_app.command("add")
def add_feed(
    name: Annotated[str, typer.Argument(help="The feed's name.")],
    sender: Annotated[
        list[str] | None,
        typer.Option("--sender", help="APPLICATION|FACILITY@NETWORK, any part may be missing. Repeatable."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="A port of its own; 0: the default port.")] = 0,
    to: Annotated[str, typer.Option(help="HOST:PORT: a feed out, to there.")] = "",
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Out: what is forwarded, ADT^A08, ADT or *. Repeatable.")
    ] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Out: from which feeds in. None: all.")] = None,
    tls: Annotated[str, typer.Option(help="off, on or mutual.")] = "off",
    preset: Annotated[str, typer.Option(help="In: how its messages are read; 'docs/hl7.md' lists the presets.")] = "",
    silent_minutes: Annotated[int, typer.Option(min=0, help="In: an alarm after so long without a message.")] = 0,
    keep_days: Annotated[int, typer.Option(min=1, help="How long its messages are kept.")] = 90,
    accept_failed: Annotated[
        bool, typer.Option("--accept-failed", help="In: answer AA to what cannot be applied, and mend it here.")
    ] = False,
    also: Annotated[
        list[str] | None,
        typer.Option("--set", help="Another field, NAME=VALUE: queries=answer, billing=performed ... Repeatable."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Change the one that is there.")] = False,
) -> None:
    """Add a feed. Example: `fileroom hl7 feed add ris --sender 'RIS|HOSPITAL@10.1.2.0/24' --set queries=answer`"""
    fields: dict[str, Any] = {"tls": tls, "keep_days": keep_days}
    if to:
        host, _, number = to.rpartition(":")
        fields |= {
            "direction": "out",
            "host": host.strip("[]"),
            "port": number,
            "kinds": kind or [],
            "sources": source or [],
        }
    else:
        fields |= {
            "direction": "in",
            "port": port,
            "senders": sender or [],
            "silent_minutes": silent_minutes,
            "on_failure": "accept" if accept_failed else "refuse",
            "mapping": {"preset": preset} if preset else {},
        }
    for one in also or []:
        field, _, value = one.partition("=")
        fields[field.strip()] = value.strip()

    async def work(archive: Archive) -> Feed:
        from fileroom.feeds.feeds import put_feed

        return await put_feed(archive, name, fields, new=None if replace else True)

    typer.echo(f"{with_archive(work).name} is in force within seconds.")


@feed_app.command("remove")
def remove_feed(name: Annotated[str, typer.Argument(help="The feed's name.")]) -> None:
    """Remove a feed; its messages stay. Example: `fileroom hl7 feed remove ris`"""

    async def work(archive: Archive) -> None:
        from fileroom.feeds.feeds import remove_feed as remove

        await remove(archive, name)

    with_archive(work)
    typer.echo(f"Removed {name}.")


# --- helpers ---


class _Row:
    """A line of the list."""

    def __init__(self, one: MessageRow) -> None:
        self.number, self.feed, self.kind, self.control_id, self.state = (
            one.id,
            one.feed,
            one.kind,
            one.control_id,
            one.state,
        )
        self.received = f"{one.received_at:%Y-%m-%d %H:%M:%S}"
        self.effect = "; ".join(str(effect["words"]) for effect in one.effects) or one.reason


class _FeedRow:
    """A line of the list of feeds."""

    def __init__(self, one: Feed) -> None:
        fields = one.fields
        self.name, self.direction = one.name, fields["direction"]
        if one.is_incoming:
            self.where = f"port {fields['port']}" if fields["port"] else "default port"
            self.who = ", ".join(fields["senders"]) or ("this machine" if one.is_built_in else "everybody who calls")
        else:
            self.where = f"{fields['host']}:{fields['port']}"
            self.who = ", ".join(fields["kinds"]) or "what is sent by hand"
        self.state = "built in" if one.is_built_in else "in force" if one.enabled else "not in force"


def _read(file: Path) -> bytes:
    import sys

    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InvalidRequestError(f"{file} cannot be read: {error.strerror}.") from error


def _read_json(file: Path) -> dict[str, Any]:
    import json

    try:
        found = json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{file} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequestError(f"{file} holds no JSON object.")
    return found
