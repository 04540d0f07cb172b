"""The questions to the audit trail in the words that people write: the same ones in commands and on the page.

`patient`, `user`, `study` and `address` are compared as they are written; `from` and `to` are moments (`admin.moments`);
`event` is a kind (`admin.audit_kinds`); `outcome` is `failure` or `success`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from fileroom.admin.audit_kinds import kind_of
from fileroom.admin.audit_search import AuditQuery
from fileroom.admin.moments import read_moment
from fileroom.core.errors import InvalidRequestError, TooLargeError, told

WORDS: Final = ("user", "patient", "study", "event", "outcome", "from", "to", "address")
"""What can be asked for."""
OUTCOMES: Final = ("failure", "success")
VALUE_CHARS_MAX: Final = 400
"""Patient IDs and logins have 64 characters, `AET@address` up to 300."""


def read_filter(words: Mapping[str, str], now: dt.datetime) -> AuditQuery:
    """The question; words that are empty or missing do not matter. Raises InvalidRequestError, TooLargeError."""
    given = {name: words.get(name, "").strip() for name in WORDS}
    for name, value in given.items():
        if len(value) > VALUE_CHARS_MAX or "\0" in value:
            raise TooLargeError(
                told("The value of {name} is longer than {most} characters.", name=name, most=VALUE_CHARS_MAX)
            )
    if given["outcome"] and given["outcome"] not in OUTCOMES:
        raise InvalidRequestError(
            told("An outcome is failure or success, not {written}.", written=repr(given["outcome"][:40]))
        )
    kind = kind_of(given["event"]) if given["event"] else None
    return AuditQuery(
        patient=given["patient"],
        user=given["user"],
        study=given["study"],
        address=given["address"],
        since=read_moment(given["from"], now),
        until=read_moment(given["to"], now, end=True),
        event=kind.event if kind else "",
        event_type=kind.event_type if kind else "",
        action=kind.action if kind else "",
        failures_only=given["outcome"] == "failure",
        successes_only=given["outcome"] == "success",
    )
