"""Which permission each service of `feeds` asks for first: a coroutine that takes the archive asks, or stands in INNER."""

from __future__ import annotations

from typing import Final

from fileroom.core.access import Permission

FEEDS: Final[dict[str, Permission]] = {
    "billing.tell_charges": Permission.SYSTEM_MANAGE,
    "gauges.read_ris_gauges": Permission.SYSTEM_READ,
    "feed_versions.go_back": Permission.MESSAGE_MANAGE,
    "feed_versions.list_feed_versions": Permission.MESSAGE_READ,
    "feeds.feed_versions": Permission.MESSAGE_READ,
    "feeds.get_feed": Permission.MESSAGE_READ,
    "feeds.list_feeds": Permission.MESSAGE_READ,
    "feeds.put_feed": Permission.MESSAGE_MANAGE,
    "feeds.remove_feed": Permission.MESSAGE_MANAGE,
    "identifier_updates.tell_identifiers": Permission.SYSTEM_MANAGE,
    "inbox_search.get_message": Permission.MESSAGE_READ,
    "inbox_search.list_messages": Permission.MESSAGE_READ,
    "inbox_search.message_bytes": Permission.MESSAGE_READ,
    "order_messages.send_exam": Permission.REPORT_WRITE,
    "order_messages.tell_orders": Permission.SYSTEM_MANAGE,
    "outbox.cancel_outgoing": Permission.MESSAGE_MANAGE,
    "outbox.list_outgoing": Permission.MESSAGE_READ,
    "outbox.resend_outgoing": Permission.MESSAGE_MANAGE,
    "outbox.send_due": Permission.SYSTEM_MANAGE,
    "outbox.send_message": Permission.MESSAGE_MANAGE,
    "previews.preview_mapping": Permission.MESSAGE_READ,
    "replay.replay_message": Permission.MESSAGE_MANAGE,
    "report_outbox.send_report": Permission.MESSAGE_MANAGE,
    "report_outbox.tell_reports": Permission.SYSTEM_MANAGE,
    "retention.forget_old_messages": Permission.SYSTEM_MANAGE,
}

_SENDER: Final = "called by the HL7 worker for whoever sends; what a sender may do, its feed says"

INNER: Final[dict[str, str]] = {
    "changes.apply_asked": "hands on to `worklist.apply` and `reports.receive`, which ask",
    "inbox.keep_fault": _SENDER,
    "inbox.receive_at": _SENDER,
    "inbox.receive_message": _SENDER,
    "inbox.receive_again": "for `replay.replay_message`, which asks",
}
