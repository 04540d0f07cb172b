"""What is said of a feed: who sends on which port, how it is answered, what goes out and where to.

A feed is an entry of the section "feeds" (`feeds.feeds`). How its messages are read is its `mapping`, which `feeds.mapping`
checks; all else is checked here. Protocol: HL7 v2.5.1 ch. 2.9 (acknowledgement), MLLP Release 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.networks import Networks, networks_of
from fileroom.feeds.rewriting import LINE_CHARS_MAX, LINES_MAX, read_rewrites
from fileroom.hl7.charsets import find_charset

DEFAULT_FEED: Final = "default"
"""The feed that takes what comes from this machine where no other one does; an entry of this name takes its place."""
PORT_MAX: Final = 65535
SENDERS_MAX: Final = 50
SENDER_CHARS_MAX: Final = 300
KINDS_MAX: Final = 50
NAMES_MAX: Final = 50
KEEP_DAYS_DEFAULT: Final = 90
KEEP_DAYS_MAX: Final = 3650
SILENT_MINUTES_MAX: Final = 7 * 24 * 60
ATTEMPTS_DEFAULT: Final = 5
ATTEMPTS_MAX: Final = 100
TIMEOUT_S_DEFAULT: Final = 30
TIMEOUT_S_MAX: Final = 300
CONSOLE_REPORTS: Final = "console"
DICOM_REPORTS: Final = "dicom"
HOURS_DEFAULT: Final = 72
HOURS_MAX: Final = 30 * 24
_HOST_CHARS_MAX: Final = 255
_KIND: Final = re.compile(r"[A-Z0-9*]{1,7}(\^[A-Z0-9*]{1,4})?")
_ANY: Final = ("", "*")


NO_NETWORKS: Final = Networks()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: MSH-3, MSH-4 and the network that it calls from. An empty one is any."""

    application: str = ""
    facility: str = ""
    networks: Networks = NO_NETWORKS

    def names(self, application: str, facility: str, address: str) -> bool:
        """Whether a message of this application and facility, from this address, is of this sender."""
        if self.application and self.application != application:
            return False
        if self.facility and self.facility != facility:
            return False
        return not self.networks or self.networks.hold(address)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A feed that messages come in by. `port` 0: the default port, which it shares with others."""

    name: str
    port: int = 0
    tls: str = "off"
    """`off`, `on` or `mutual`: the sender must show a certificate of somebody we trust."""
    senders: tuple[Sender, ...] = ()
    on_failure: str = "refuse"
    """What is answered where a message cannot be applied: `refuse` (AE) or `accept` (AA, and it is mended here)."""
    silent_minutes: int = 0
    keep_days: int = KEEP_DAYS_DEFAULT
    enabled: bool = True
    queries: str = "refuse"
    """Whether the sender may ask for patients: `refuse` (AR) or `answer`."""
    order_answer: str = "ack"
    """What an order is answered with: `ack`, or `order` (ORR, ORG, ORI with the order as it stands)."""
    assumed_charset: str = ""
    """The character set (HL7 table 0211) of messages whose MSH-18 is empty; empty: ASCII, or what the bytes look like."""

    def names(self, application: str, facility: str, address: str) -> bool:
        """Whether the feed takes this sender; one with a port of its own and no sender takes everybody who calls that."""
        if not self.senders:
            return self.port != 0
        return any(one.names(application, facility, address) for one in self.senders)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A feed that messages leave by. What came in is forwarded as it came, but for the lines of `rewrite`."""

    name: str
    host: str
    port: int
    tls: str = "off"
    kinds: tuple[str, ...] = ()
    """Which are forwarded: ADT^A08, ADT^*, or ADT for all of them; none: nothing is forwarded, others may send here."""
    sources: tuple[str, ...] = ()
    """Feeds whose messages are forwarded; none: of all."""
    attempts_max: int = ATTEMPTS_DEFAULT
    """How often a message is sent that the receiver answers with an error, before it is a dead letter."""
    give_up_hours: int = HOURS_DEFAULT
    """After how long a message is a dead letter that cannot be delivered because nobody answers. 0: never."""
    timeout_s: int = TIMEOUT_S_DEFAULT
    keep_days: int = KEEP_DAYS_DEFAULT
    enabled: bool = True
    orders: str = "none"
    """Orders that it is told (ORM^O01): `none`, `complete` (exams whose images are complete) or `all` (each change too)."""
    billing: str = "none"
    """Which orders are charged by DFT^P03: `none`, `performed` ones, or those that are `reported`."""
    billing_accounts: bool = False
    """Whether BAR^P01 and P05 tell of the account before a charge."""
    identifier_domains: tuple[str, ...] = ()
    """Assigning authorities between which changed numbers of a person are told (ADT^A31); `*`: all."""

    reports: str = "none"
    """How reports are told: `none`, `oru` (ORU^R01) or `mdm` (MDM^T02 and its like)."""
    report_document: str = "text"
    """What of them: `text`, `pdf` or `both`."""
    report_preliminary: bool = True
    """Whether preliminary versions are told, too."""
    report_sources: tuple[str, ...] = ()
    rewrite: tuple[str, ...] = ()
    """Lines that change each message as it leaves (`rewriting`)."""
    """Whose reports: CONSOLE_REPORTS, DICOM_REPORTS, names of feeds in; none: those that are written here."""

    def tells_report_of(self, source: str, source_name: str) -> bool:
        """Whether reports of this source are told: `console`, `dicom`, or `hl7` with its feed."""
        if not self.enabled or self.reports == "none":
            return False
        return (source_name if source == "hl7" else source) in (self.report_sources or (CONSOLE_REPORTS,))

    def forwards(self, feed: str, kind: str) -> bool:
        """Whether a message of this kind that came by this feed is forwarded."""
        if not self.enabled or (self.sources and feed not in self.sources):
            return False
        return any(fnmatchcase(kind, one) or kind.partition("^")[0] == one for one in self.kinds)


BUILT_IN: Final = Incoming(DEFAULT_FEED)

IN_FIELDS: Final = frozenset(
    (
        *("direction", "port", "tls", "senders", "on_failure", "silent_minutes", "keep_days", "mapping", "note"),
        *("queries", "order_answer", "assumed_charset"),
    )
)
OUT_FIELDS: Final = frozenset(
    (
        *("direction", "host", "port", "tls", "kinds", "sources", "attempts_max", "give_up_hours", "timeout_s"),
        *("keep_days", "note", "orders", "billing", "billing_accounts", "identifier_domains"),
        *("reports", "report_document", "report_preliminary", "report_sources", "rewrite"),
    )
)
_NOTE_CHARS_MAX: Final = 1000


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields without `mapping` in their normal form. Raises InvalidRequestError."""
    direction = _choice(fields, "direction", ("in", "out"))
    known = IN_FIELDS if direction == "in" else OUT_FIELDS
    if unknown := set(fields) - known:
        raise InvalidRequestError(
            told("A feed {direction} has no field {name}.", direction=direction, name=f"{min(unknown):.60}")
        )
    checked: dict[str, Any] = {
        "direction": direction,
        "port": _number(fields, "port", 0, 0, PORT_MAX),
        "tls": _choice(fields, "tls", ("off", "on", "mutual")),
        "keep_days": _number(fields, "keep_days", KEEP_DAYS_DEFAULT, 1, KEEP_DAYS_MAX),
        "note": _text(fields, "note", _NOTE_CHARS_MAX),
    }
    return checked | (_checked_in(fields, checked) if direction == "in" else _checked_out(fields, checked))


def incoming(name: str, fields: Mapping[str, Any], *, enabled: bool = True) -> Incoming:
    """The feed that checked fields describe."""
    return Incoming(
        name,
        fields["port"],
        fields["tls"],
        tuple(sender_from_text(one) for one in fields["senders"]),
        fields["on_failure"],
        fields["silent_minutes"],
        fields["keep_days"],
        enabled,
        fields.get("queries", "refuse"),
        fields.get("order_answer", "ack"),
        fields.get("assumed_charset", ""),
    )


def outgoing(name: str, fields: Mapping[str, Any], *, enabled: bool = True) -> Outgoing:
    """The feed that checked fields describe."""
    return Outgoing(
        name,
        fields["host"],
        fields["port"],
        fields["tls"],
        tuple(fields["kinds"]),
        tuple(fields["sources"]),
        fields["attempts_max"],
        fields["give_up_hours"],
        fields["timeout_s"],
        fields["keep_days"],
        enabled,
        fields.get("orders", "none"),
        fields.get("billing", "none"),
        fields.get("billing_accounts", "no") == "yes",
        tuple(fields.get("identifier_domains", ())),
        fields.get("reports", "none"),
        fields.get("report_document", "text"),
        fields.get("report_preliminary", "yes") == "yes",
        tuple(fields.get("report_sources", ())),
        tuple(fields.get("rewrite", ())),
    )


def sender_from_text(text: str) -> Sender:
    """`APPLICATION|FACILITY@NETWORK`, of which any part may be missing or `*`. Raises InvalidRequestError."""
    text = text.strip()
    if not text or len(text) > SENDER_CHARS_MAX or not text.isprintable():
        raise InvalidRequestError(
            told(
                "A sender is written APPLICATION|FACILITY@NETWORK, with at most {most} characters.",
                most=SENDER_CHARS_MAX,
            )
        )
    who, _, network = text.rpartition("@") if "@" in text else (text, "", "")
    application, _, facility = (part.strip() for part in who.partition("|"))
    try:
        networks = networks_of("" if network.strip() in _ANY else network)
    except ValueError as error:
        raise InvalidRequestError(told("The sender {text}: {reason}.", text=text, reason=str(error))) from error
    sender = Sender("" if application == "*" else application, "" if facility == "*" else facility, networks)
    if not (sender.application or sender.facility or networks):
        raise InvalidRequestError(
            told("The sender {text} names nobody: it needs an application, a facility or a network.", text=text)
        )
    return sender


# --- helpers ---


def _checked_in(fields: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
    if checked["tls"] != "off" and not checked["port"]:
        raise InvalidRequestError(told("TLS needs a port of the feed's own: the default port is without."))
    senders = _texts(fields, "senders", SENDERS_MAX, SENDER_CHARS_MAX)
    for one in senders:
        sender_from_text(one)
    return {
        "senders": senders,
        "on_failure": _choice(fields, "on_failure", ("refuse", "accept")),
        "silent_minutes": _number(fields, "silent_minutes", 0, 0, SILENT_MINUTES_MAX),
        "queries": _choice(fields, "queries", ("refuse", "answer")),
        "order_answer": _choice(fields, "order_answer", ("ack", "order")),
        "assumed_charset": _charset(fields),
    }


def _checked_out(fields: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
    host = _text(fields, "host", _HOST_CHARS_MAX)
    if not host or any(one.isspace() for one in host):
        raise InvalidRequestError(told("A feed out needs the host that it sends to."))
    if not checked["port"]:
        raise InvalidRequestError(told("A feed out needs the port that it sends to."))
    kinds = [one.upper() for one in _texts(fields, "kinds", KINDS_MAX, 12)]
    for one in kinds:
        if not _KIND.fullmatch(one):
            raise InvalidRequestError(
                told("{kind} is no kind of message. Write ADT^A08, ADT^* or * for all.", kind=one)
            )
    return {
        "host": host,
        "kinds": kinds,
        "sources": _texts(fields, "sources", NAMES_MAX, 64),
        "attempts_max": _number(fields, "attempts_max", ATTEMPTS_DEFAULT, 1, ATTEMPTS_MAX),
        "give_up_hours": _number(fields, "give_up_hours", HOURS_DEFAULT, 0, HOURS_MAX),
        "timeout_s": _number(fields, "timeout_s", TIMEOUT_S_DEFAULT, 1, TIMEOUT_S_MAX),
        "orders": _choice(fields, "orders", ("none", "complete", "all")),
        "billing": _choice(fields, "billing", ("none", "performed", "reported")),
        "billing_accounts": _choice(fields, "billing_accounts", ("no", "yes")),
        "identifier_domains": _texts(fields, "identifier_domains", NAMES_MAX, 64),
        "reports": _choice(fields, "reports", ("none", "oru", "mdm")),
        "report_document": _choice(fields, "report_document", ("text", "pdf", "both")),
        "report_preliminary": _choice(fields, "report_preliminary", ("yes", "no")),
        "report_sources": _texts(fields, "report_sources", NAMES_MAX, 64),
        "rewrite": _rewrite(fields),
    }


def _rewrite(fields: Mapping[str, Any]) -> list[str]:
    lines = _texts(fields, "rewrite", LINES_MAX, LINE_CHARS_MAX)
    read_rewrites(lines)
    return lines


def _text(fields: Mapping[str, Any], name: str, most: int) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str) or len(value) > most or not value.replace("\n", " ").replace("\r", "").isprintable():
        raise InvalidRequestError(told("{name} is a text of at most {most} characters.", name=name, most=most))
    return value.strip()


def _texts(fields: Mapping[str, Any], name: str, most: int, chars_max: int) -> list[str]:
    value = fields.get(name, [])
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, list | tuple) or len(value) > most:
        raise InvalidRequestError(told("{name} is a list of at most {most} texts.", name=name, most=most))
    found = [_text({name: one}, name, chars_max) for one in value]
    return [one for one in dict.fromkeys(found) if one]


def _charset(fields: Mapping[str, Any]) -> str:
    name = _text(fields, "assumed_charset", 40)
    if name and find_charset(name) is None:
        raise InvalidRequestError(
            told("{name} is no character set of HL7 table 0211; 8859/1 and UNICODE UTF-8 are usual.", name=name)
        )
    return name


def _number(fields: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = fields.get(name, default)
    if isinstance(value, str):
        value = default if not value.strip() else int(value) if value.isascii() and value.isdigit() else None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise InvalidRequestError(
            told("{name} is a whole number from {least} to {most}.", name=name, least=least, most=most)
        )
    return value


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> str:
    value = fields.get(name, choices[0])
    if value not in choices:
        raise InvalidRequestError(told("{name} is one of {choices}.", name=name, choices=", ".join(choices)))
    return str(value)
