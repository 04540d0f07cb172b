"""What is alarming: conditions, and what they find in the sums of the ledger. Pure; `routing.alerts` keeps the rows.

    {"kind": "queue_age", "above": 30, "destinations": ["PACS"], "severity": "critical", "notify": ["desk"],
     "quiet": "nights", "repeat_min": 60}

A condition finds one thing for each destination or edge it fits (`subject`), or one for the whole. An alert begins when
something is found, and ends when it has not been found for END_AFTER_S: numbers that swing about the limit make one
alert, not many.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.admin.entries import Entry, Fields
from fileroom.core.errors import InvalidRequestError, told

END_AFTER_S: Final = 60.0
TRIES_MIN: Final = 10
"""Of fewer attempts a rate says nothing."""
NAMES_MAX: Final = 50
REPEAT_MIN_MAX: Final = 7 * 24 * 60
WINDOW_MIN_MAX: Final = 24 * 60


class AlertKind(enum.StrEnum):
    """What is looked at."""

    QUEUE_AGE = "queue_age"
    """Minutes since the oldest waiting object came (while its destination may be sent to)."""
    FAILURE_RATE = "failure_rate"
    """Percent of the attempts of the window that failed."""
    DEAD_LETTERS = "dead_letters"
    """Objects given up."""
    QUARANTINED = "quarantined"
    """Objects that could not be de-identified."""
    DESTINATION_DOWN = "destination_down"
    """Minutes since a destination is down."""
    DISK = "disk"
    """Percent of the store's disk that are used."""
    RULE_ERROR = "rule_error"
    """Rules that failed on an object in the window."""
    ROUTING_LOOP = "routing_loop"
    """Objects in the window that had been here already."""
    EDGE_SILENT = "edge_silent"
    """Minutes since an edge last called, once that is longer than it may be silent."""
    FEED_SILENT = "feed_silent"
    """Minutes since an HL7 feed was last heard of, once that is longer than it allows."""
    MESSAGES_FAILED = "messages_failed"
    """HL7 messages of a feed that wait to be mended, or that could not be delivered."""
    CRITICAL_OVERDUE = "critical_overdue"
    """Critical findings that nobody acknowledged in time."""


OF_DESTINATIONS: Final = frozenset(AlertKind) - {
    AlertKind.DISK,
    AlertKind.RULE_ERROR,
    AlertKind.ROUTING_LOOP,
    AlertKind.EDGE_SILENT,
    AlertKind.FEED_SILENT,
    AlertKind.MESSAGES_FAILED,
    AlertKind.CRITICAL_OVERDUE,
}
ABOVE_USUAL: Final[Mapping[AlertKind, float]] = {
    AlertKind.QUEUE_AGE: 60,
    AlertKind.FAILURE_RATE: 20,
    AlertKind.DEAD_LETTERS: 0,
    AlertKind.QUARANTINED: 0,
    AlertKind.DESTINATION_DOWN: 5,
    AlertKind.DISK: 90,
    AlertKind.RULE_ERROR: 0,
    AlertKind.ROUTING_LOOP: 0,
    AlertKind.EDGE_SILENT: 0,
    AlertKind.FEED_SILENT: 0,
    AlertKind.MESSAGES_FAILED: 0,
    AlertKind.CRITICAL_OVERDUE: 0,
}
"""The limit where none is given: it alarms above that."""
UNITS: Final[Mapping[AlertKind, str]] = {
    AlertKind.QUEUE_AGE: "min",
    AlertKind.FAILURE_RATE: "%",
    AlertKind.DEAD_LETTERS: "",
    AlertKind.QUARANTINED: "",
    AlertKind.DESTINATION_DOWN: "min",
    AlertKind.DISK: "%",
    AlertKind.RULE_ERROR: "",
    AlertKind.ROUTING_LOOP: "",
    AlertKind.EDGE_SILENT: "min",
    AlertKind.FEED_SILENT: "min",
    AlertKind.MESSAGES_FAILED: "",
    AlertKind.CRITICAL_OVERDUE: "",
}
SEVERITIES: Final = ("critical", "warning")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition. `notify` are destinations of the kinds mail and webhook; `quiet` is a schedule that is open while nobody
    shall be disturbed; `repeat_min` 0: one notice is enough."""

    id: int
    name: str
    kind: AlertKind
    above: float
    destinations: tuple[str, ...] = ()
    """Empty: all."""
    window_min: int = 15
    severity: str = "warning"
    notify: tuple[str, ...] = ()
    quiet: str = ""
    repeat_min: int = 0
    enabled: bool = True
    version: int = 1


@dataclass(frozen=True, slots=True)
class DestinationSums:
    """How it stands with one destination. Ages in minutes; `waiting_min` None where nothing waits that could be sent."""

    name: str
    waiting_min: float | None = None
    waiting: int = 0
    failed: int = 0
    quarantined: int = 0
    down_min: float | None = None
    down_because: str = ""
    tries: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """By window in minutes: attempts, and how many of them failed."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Everything that conditions look at."""

    destinations: tuple[DestinationSums, ...] = ()
    disk_percent: float | None = None
    troubles: Mapping[tuple[AlertKind, int], tuple[int, str]] = field(default_factory=dict)
    """By kind and window in minutes: how many, and what the last one was."""
    silent_edges: Mapping[str, float] = field(default_factory=dict)
    """Those that should call and do not: since how many minutes."""
    silent_feeds: Mapping[str, float] = field(default_factory=dict)
    """Of HL7, likewise."""
    failed_messages: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By feed: those that wait to be mended, and dead letters. Under "" are those that no feed took."""
    overdue_findings: tuple[int, float] = (0, 0.0)
    """Critical findings that nobody acknowledged in time, and the minutes of the one that is longest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is as a condition says."""

    subject: str
    value: float
    sentence: str


def checked_condition(name: str, fields: Mapping[str, Any]) -> Fields:
    """The fields in their normal form, defaults in their places. Raises InvalidRequestError."""
    del name
    known = {"kind", "above", "destinations", "window_min", "severity", "notify", "quiet", "repeat_min"}
    if unknown := sorted(set(map(str, fields)) - known):
        raise InvalidRequestError(
            told("An alert has no field {name}; it has {known}.", name=unknown[0][:40], known=", ".join(sorted(known)))
        )
    if fields.get("kind") not in tuple(AlertKind):
        kinds = ", ".join(AlertKind)
        raise InvalidRequestError(told("The kind of an alert is one of {kinds}.", kinds=kinds))
    kind = AlertKind(fields["kind"])
    severity, quiet = fields.get("severity", "warning"), fields.get("quiet", "")
    if severity not in SEVERITIES:
        raise InvalidRequestError(told("The severity of an alert is critical or warning."))
    if not isinstance(quiet, str):
        raise InvalidRequestError(told("The quiet times (quiet) of an alert are the name of a schedule."))
    destinations = _names(fields, "destinations")
    if destinations and kind not in OF_DESTINATIONS:
        raise InvalidRequestError(told("An alert of the kind {kind} is not about destinations.", kind=kind.value))
    return {
        "kind": kind.value,
        "above": _number(fields, "above", ABOVE_USUAL[kind], 100 if UNITS[kind] == "%" else 10_000_000),
        "destinations": destinations,
        "window_min": int(_number(fields, "window_min", 15, WINDOW_MIN_MAX, least=5)),
        "severity": severity,
        "notify": _names(fields, "notify"),
        "quiet": quiet.strip(),
        "repeat_min": int(_number(fields, "repeat_min", 0, REPEAT_MIN_MAX)),
    }


def condition_of(entry: Entry) -> Condition:
    """From an entry whose fields were checked."""
    fields = entry.fields
    return Condition(
        entry.id,
        entry.name,
        AlertKind(fields["kind"]),
        fields["above"],
        tuple(fields["destinations"]),
        fields["window_min"],
        fields["severity"],
        tuple(fields["notify"]),
        fields["quiet"],
        fields["repeat_min"],
        entry.enabled,
        entry.version,
    )


def findings(condition: Condition, sums: Sums) -> list[Finding]:
    """What of it is so now."""
    if condition.kind is AlertKind.DISK:
        if sums.disk_percent is None or sums.disk_percent <= condition.above:
            return []
        sentence = f"The disk of the store is {sums.disk_percent:.0f} % full. Free some space, or make it larger."
        return [Finding("", sums.disk_percent, sentence)]
    if condition.kind in (AlertKind.RULE_ERROR, AlertKind.ROUTING_LOOP):
        number, last = sums.troubles.get((condition.kind, condition.window_min), (0, ""))
        if number <= condition.above:
            return []
        what = "Rules failed" if condition.kind is AlertKind.RULE_ERROR else "Objects came back in a loop"
        return [Finding("", number, f"{what}: {number} in the last {condition.window_min} minutes; the last: {last}")]
    if condition.kind is AlertKind.EDGE_SILENT:
        return [_of_edge(name, minutes) for name, minutes in sums.silent_edges.items() if minutes > condition.above]
    if condition.kind is AlertKind.FEED_SILENT:
        return [_of_feed(name, minutes) for name, minutes in sums.silent_feeds.items() if minutes > condition.above]
    if condition.kind is AlertKind.MESSAGES_FAILED:
        counts = sums.failed_messages.items()
        return [_of_messages(name, *count) for name, count in counts if sum(count) > condition.above]
    if condition.kind is AlertKind.CRITICAL_OVERDUE:
        number, minutes = sums.overdue_findings
        if number <= condition.above:
            return []
        sentence = f"Critical findings that nobody acknowledged in time: {number}, the oldest for {_minutes(minutes)}."
        return [Finding("", number, sentence)]
    found = (_of_destination(condition, one) for one in sums.destinations)
    wanted = frozenset(condition.destinations)
    return [one for one in found if one is not None and (not wanted or one.subject in wanted)]


def has_ended(seen_at: dt.datetime, now: dt.datetime) -> bool:
    """Whether an alert that was last found at `seen_at` is over."""
    return (now - seen_at).total_seconds() >= END_AFTER_S


# --- helpers ---


def _of_edge(name: str, minutes: float) -> Finding:
    sentence = f"The edge {name} has not called for {_minutes(minutes)}. See whether it runs and has a line."
    return Finding(name, minutes, sentence)


def _of_feed(name: str, minutes: float) -> Finding:
    sentence = f"No HL7 message has come by the feed {name} for {_minutes(minutes)}. See whether its sender runs."
    return Finding(name, minutes, sentence)


def _of_messages(name: str, failed: int, dead: int) -> Finding:
    whose = f"of the feed {name}" if name else "that no feed takes"
    parts = [f"{failed} to be mended" if failed else "", f"{dead} not delivered" if dead else ""]
    sentence = f"HL7 messages {whose}: {', '.join(one for one in parts if one)}. The inbox and the outbox say why."
    return Finding(name, failed + dead, sentence)


def _of_destination(condition: Condition, one: DestinationSums) -> Finding | None:
    value, sentence = _measure(condition, one)
    if value is None or value <= condition.above:
        return None
    return Finding(one.name, value, sentence)


def _measure(condition: Condition, one: DestinationSums) -> tuple[float | None, str]:
    match condition.kind:
        case AlertKind.QUEUE_AGE:
            minutes = one.waiting_min
            return minutes, f"{one.waiting} objects wait for {one.name}, the oldest for {_minutes(minutes)}."
        case AlertKind.FAILURE_RATE:
            tries, failed = one.tries.get(condition.window_min, (0, 0))
            rate = 100 * failed / tries if tries >= TRIES_MIN else None
            last = f"In the last {condition.window_min} minutes"
            return rate, f"{last} {failed} of {tries} attempts to send to {one.name} failed."
        case AlertKind.DEAD_LETTERS:
            return (
                one.failed,
                f"{one.failed} objects for {one.name} were given up. Look at their causes and retry them.",
            )
        case AlertKind.QUARANTINED:
            return (
                one.quarantined,
                f"{one.quarantined} objects for {one.name} could not be de-identified and stay here.",
            )
        case AlertKind.DESTINATION_DOWN:
            return one.down_min, f"{one.name} is down for {_minutes(one.down_min)}: {one.down_because}"
        case _:
            return None, ""


def _minutes(minutes: float | None) -> str:
    whole = int(minutes or 0)
    return f"{whole} min" if whole < 120 else f"{whole // 60} h {whole % 60} min"


def _names(fields: Mapping[str, Any], name: str) -> list[str]:
    values = fields.get(name, [])
    if isinstance(values, str):
        values = [one for one in (piece.strip() for piece in values.split(",")) if one]
    if (
        not isinstance(values, (list, tuple))
        or len(values) > NAMES_MAX
        or not all(isinstance(one, str) and one.strip() for one in values)
    ):
        raise InvalidRequestError(
            told("The field {name} of an alert is a list of at most {most} names.", name=name, most=NAMES_MAX)
        )
    return [one.strip() for one in values]


def _number(fields: Mapping[str, Any], name: str, usual: float, most: float, *, least: float = 0) -> float:
    value = fields.get(name, usual)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise InvalidRequestError(
            told("The field {name} of an alert is a number from {least} to {most}.", name=name, least=least, most=most)
        )
    return value
