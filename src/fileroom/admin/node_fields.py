"""What a node is: every field with its meaning, how it is checked, and how two versions of one differ.

Values in, values out; the rows are `admin.nodes`'. What a field does is done where it belongs: who may call in
`admin.callers`, what is agreed in `scp.offer`, how we call in `archive.node_calls`.
"""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.identifiers import AETitle
from fileroom.dicom.charset import character_set

NODES_MAX: Final = 5000
"""Systems that one archive talks to; the largest hospital groups have two thousand."""
NAME_CHARS_MAX: Final = 64
"""A name for people, as it stands in lists and addresses."""
HOST_CHARS_MAX: Final = 255
"""RFC 1035 2.3.4."""
TEXT_CHARS_MAX: Final = 1000
"""Description, location, comment: a paragraph."""
CALLING_FROM_MAX: Final = 100
"""Addresses and networks of one node; a whole hospital is one network."""
SYNTAXES_MAX: Final = 100
"""Transfer syntaxes of one list; the standard has sixty."""
ASSOCIATIONS_MAX: Final = 1000
"""More at a time than that no single system opens."""
OBJECTS_PER_MINUTE_MIN: Final = 10
"""A slower pace would outlast the patience of senders: they wait for each answer."""
OBJECTS_PER_MINUTE_MAX: Final = 1_000_000
CONNECT_TIMEOUT_S_MAX: Final = 120
RESPONSE_TIMEOUT_S_MAX: Final = 3600
"""An hour: archives on tape."""
ECHO_INTERVAL_S_MIN: Final = 10
ECHO_INTERVAL_S_MAX: Final = 86_400
"""A day, the length of the strip that shows the answers."""

_DIGITS_MAX: Final = 9
_WORDS: Final = {
    "yes": True,
    "true": True,
    "1": True,
    "on": True,
    "no": False,
    "false": False,
    "0": False,
    "off": False,
}
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class NodeRole(enum.StrEnum):
    """What a node may do here, or may be used for."""

    SEND = "send"
    """Send objects (C-STORE)."""
    QUERY = "query"
    """Search (C-FIND): studies and the worklist."""
    RETRIEVE = "retrieve"
    """Have objects sent, to itself or to another node (C-GET, C-MOVE)."""
    DESTINATION = "destination"
    """Be sent objects: by a C-MOVE, by people, by rules."""
    COMMIT = "commit"
    """Ask whether objects are safe (storage commitment)."""
    PERFORMED = "performed"
    """Be told what modalities perform: their MPPS is forwarded to it."""
    AVAILABILITY = "availability"
    """Be told which instances are available (IAN) as soon as a study is quiet."""


ALL_ROLES: Final = tuple(NodeRole)
USUAL_ROLES: Final = (NodeRole.SEND, NodeRole.QUERY, NodeRole.RETRIEVE, NodeRole.DESTINATION, NodeRole.COMMIT)
"""Of a node of which nothing else is said: nobody is told of others' work unasked."""
_PERMISSIONS: Final[dict[str, frozenset[Permission]]] = {
    NodeRole.SEND: frozenset({Permission.STUDY_STORE}),
    NodeRole.QUERY: frozenset({Permission.STUDY_SEARCH, Permission.ORDER_READ}),
    NodeRole.RETRIEVE: frozenset({Permission.STUDY_VIEW, Permission.STUDY_EXPORT}),
    NodeRole.DESTINATION: frozenset(),
    NodeRole.COMMIT: frozenset({Permission.STUDY_STORE}),
    NodeRole.PERFORMED: frozenset(),
    NodeRole.AVAILABILITY: frozenset(),
}


class TlsUse(enum.StrEnum):
    """Whether associations with a node are encrypted."""

    OFF = "off"
    ON = "on"
    """Both ways; it shows no certificate of its own."""
    MUTUAL = "mutual"
    """Both ways, and it must show a certificate that we trust."""


@dataclass(frozen=True, slots=True)
class Node:
    """A system that Fileroom talks to: `name` is for people, `aet`, `host` and `port` are for the network."""

    name: str
    aet: str
    host: str
    port: int
    description: str = ""
    location: str = ""
    enabled: bool = True
    calling_from: tuple[str, ...] = ()
    """Addresses and networks (CIDR) that it may call from. Empty: what `host` stands for, and this machine."""
    roles: tuple[str, ...] = USUAL_ROLES
    tls: str = TlsUse.OFF
    tls_subject: str = ""
    """What its certificate's subject must hold, for example `CN=ct1.hospital`; empty: any that is trusted."""
    tls_fingerprint: str = ""
    """SHA-256 of its certificate, 64 hexadecimal digits; empty: any that is trusted."""
    charset: str = ""
    """Specific Character Set of what we send to it ourselves (answers to searches); empty: as it asks."""
    charset_assumed: str = ""
    """Specific Character Set of its objects that name none; empty: the default repertoire, else UTF-8, else Latin-1."""
    accept_syntaxes: tuple[str, ...] = ()
    """Transfer syntaxes that objects are taken in from it, by preference; empty: all."""
    propose_syntaxes: tuple[str, ...] = ()
    """Transfer syntaxes that objects are sent to it in, by preference; empty: as stored, else uncompressed."""
    associations_max: int = 0
    """How many it may have open at a time; 0: no limit of its own."""
    objects_per_minute_max: int = 0
    """At which pace its objects are answered; 0: as fast as they come."""
    own_aet: str = ""
    """AE title that we call it as, and by which it may call us; empty: the archive's."""
    connect_timeout_s: int = 10
    response_timeout_s: int = 120
    echo_interval_s: int = 300
    """How often it is asked whether it is there; 0: never."""
    comment: str = ""
    version: int = 1
    """Counts its changes."""
    id: int = field(default=0, compare=False)
    changed_by: str = field(default="", compare=False)

    def may(self, role: NodeRole) -> bool:
        """Whether it has a role."""
        return role in self.roles

    @property
    def permissions(self) -> frozenset[Permission]:
        """What its roles let it ask for."""
        return frozenset().union(*(_PERMISSIONS[role] for role in self.roles if role in _PERMISSIONS))


FIELDS: Final = tuple(one.name for one in dataclasses.fields(Node) if one.name not in ("id", "version", "changed_by"))
"""What an administrator sets, in the order of forms and files."""
LISTS: Final = ("calling_from", "roles", "accept_syntaxes", "propose_syntaxes")
NUMBERS: Final = (
    "port",
    "associations_max",
    "objects_per_minute_max",
    "connect_timeout_s",
    "response_timeout_s",
    "echo_interval_s",
)


def checked(node: Node) -> Node:
    """The node in its normal form. Raises InvalidRequestError, which names the field and says what would be right."""
    name = node.name.strip()
    if not name or not name.isprintable() or len(name) > NAME_CHARS_MAX:
        raise InvalidRequestError(
            told("A node needs a name of 1 to {most} characters, for example CT1.", most=NAME_CHARS_MAX)
        )
    host = node.host.strip()
    if not host.isprintable() or len(host.split()) != 1 or len(host) > HOST_CHARS_MAX:
        raise InvalidRequestError(
            told("{host} is no host name or address, for example 10.1.2.3.", host=repr(node.host[:50]))
        )
    _number("Port", node.port, 1, 65535)
    _number("Associations at a time", node.associations_max, 0, ASSOCIATIONS_MAX)
    if node.objects_per_minute_max:
        _number("Objects per minute", node.objects_per_minute_max, OBJECTS_PER_MINUTE_MIN, OBJECTS_PER_MINUTE_MAX)
    _number("Seconds to connect", node.connect_timeout_s, 1, CONNECT_TIMEOUT_S_MAX)
    _number("Seconds to answer", node.response_timeout_s, 1, RESPONSE_TIMEOUT_S_MAX)
    if node.echo_interval_s:
        _number("Seconds between echoes", node.echo_interval_s, ECHO_INTERVAL_S_MIN, ECHO_INTERVAL_S_MAX)
    return dataclasses.replace(
        node,
        name=name,
        aet=str(AETitle(node.aet)),
        host=host,
        own_aet=str(AETitle(node.own_aet)) if node.own_aet.strip() else "",
        description=_text(node.description),
        location=_text(node.location),
        comment=_text(node.comment),
        calling_from=_networks(node.calling_from),
        roles=_roles(node.roles),
        tls=_tls(node.tls),
        tls_subject=_text(node.tls_subject),
        tls_fingerprint=_fingerprint(node.tls_fingerprint),
        charset=_charset(node.charset),
        charset_assumed=_charset(node.charset_assumed),
        accept_syntaxes=_syntaxes(node.accept_syntaxes),
        propose_syntaxes=_syntaxes(node.propose_syntaxes),
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that two versions have differently, as texts."""

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {self.before or '-'} -> {self.after or '-'}"


def differences(before: Node, after: Node) -> tuple[Difference, ...]:
    """What has changed, in the order of the fields."""
    pairs = ((name, shown(getattr(before, name)), shown(getattr(after, name))) for name in FIELDS)
    return tuple(Difference(name, old, new) for name, old, new in pairs if old != new)


def merged(base: Node, theirs: Node, mine: Node) -> Node:
    """What somebody wants who began with `base`, on top of what another made of it meanwhile."""
    mine_alone = {name: getattr(mine, name) for name in FIELDS if getattr(mine, name) != getattr(base, name)}
    return dataclasses.replace(theirs, **mine_alone)


def shown(value: object) -> str:
    """A field's value as one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def to_fields(node: Node) -> dict[str, Any]:
    """The node's fields as JSON has them."""
    values = {name: getattr(node, name) for name in FIELDS}
    return {name: list(map(str, value)) if isinstance(value, tuple) else value for name, value in values.items()}


def from_fields(fields: dict[str, Any]) -> Node:
    """The node that `to_fields` wrote down; what a later version has more is left out."""
    known: dict[str, Any] = {name: fields[name] for name in FIELDS if name in fields}
    known |= {name: tuple(known[name]) for name in LISTS if name in known}
    return Node(**known)


def with_texts(node: Node, texts: Mapping[str, str]) -> Node:
    """The node with fields as people write them: lists apart by blanks or commas, yes or no. Raises InvalidRequestError."""
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in FIELDS:
            raise InvalidRequestError(
                told("A node has no field {field}; it has {all}.", field=name[:40], all=", ".join(FIELDS))
            )
        values[name] = _value(name, text.strip())
    return dataclasses.replace(node, **values)


def _value(name: str, text: str) -> object:
    if name in LISTS:
        return tuple(entry for entry in re.split(r"[\s,;|]+", text) if entry)
    if name in NUMBERS:
        if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
            raise InvalidRequestError(
                told("{field} is a whole number, not {value}.", field=name, value=repr(text[:20]))
            )
        return int(text)
    if name == "enabled":
        if text.lower() not in _WORDS:
            raise InvalidRequestError(told("{field} is yes or no, not {value}.", field=name, value=repr(text[:20])))
        return _WORDS[text.lower()]
    return text


# --- checks ---


def _number(what: str, value: int, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidRequestError(
            told(
                "{what} cannot be {value}; it must be between {least} and {most}.",
                what=what,
                value=str(value)[:20],
                least=least,
                most=most,
            )
        )


def _text(value: str) -> str:
    text = value.strip()
    if len(text) > TEXT_CHARS_MAX:
        raise InvalidRequestError(told("A text has more than {most} characters.", most=TEXT_CHARS_MAX))
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _networks(entries: tuple[str, ...]) -> tuple[str, ...]:
    if len(entries) > CALLING_FROM_MAX:
        raise InvalidRequestError(
            told(
                "There are more than {most} addresses; name a network, for example 10.1.0.0/16.", most=CALLING_FROM_MAX
            )
        )
    found: dict[str, None] = {}
    for entry in entries:
        text = entry.strip()
        if not text:
            continue
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise InvalidRequestError(
                told("{entry} is no address or network, for example 10.1.2.3 or 10.1.2.0/24.", entry=repr(text[:50]))
            ) from None
        found[str(network.network_address) if network.num_addresses == 1 else str(network)] = None
    return tuple(found)


def _roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    given = {role.strip().lower() for role in roles if role.strip()}
    unknown = sorted(given - {role.value for role in NodeRole})
    if unknown:
        raise InvalidRequestError(
            told("{role} is no role; there are {all}.", role=repr(unknown[0][:20]), all=", ".join(ALL_ROLES))
        )
    return tuple(role.value for role in NodeRole if role.value in given)


def _tls(value: str) -> str:
    text = value.strip().lower() or TlsUse.OFF.value
    if text not in [use.value for use in TlsUse]:
        raise InvalidRequestError(told("TLS is off, on or mutual, not {value}.", value=repr(value[:20])))
    return text


def _fingerprint(value: str) -> str:
    text = value.strip().lower().removeprefix("sha256:").replace(":", "").replace(" ", "")
    if text and not _FINGERPRINT.fullmatch(text):
        raise InvalidRequestError(told("A certificate's fingerprint is its SHA-256: 64 hexadecimal digits."))
    return text


def _charset(value: str) -> str:
    text = value.strip().upper()
    found = character_set(text.encode("ascii", "replace"))
    if text and (found.note is not None or len(text) > TEXT_CHARS_MAX):
        raise InvalidRequestError(
            told(
                "{value} is no character set; write ISO_IR 100, ISO_IR 192 or another of PS3.3 C.12.1.1.2.",
                value=repr(value[:50]),
            )
        )
    return text


def _syntaxes(entries: tuple[str, ...]) -> tuple[str, ...]:
    """UIDs; the names of the standard stand for them."""
    wanted = [entry.strip() for entry in entries if entry.strip()]
    if not wanted:
        return ()
    # The table stands on pydicom, which takes longer to load than all else of a list of nodes.
    from fileroom.dicom import uids

    if len(wanted) > SYNTAXES_MAX:
        raise InvalidRequestError(told("There are more than {most} transfer syntaxes.", most=SYNTAXES_MAX))
    by_name = {syntax.name.lower(): uid for uid, syntax in uids.TRANSFER_SYNTAXES.items()}
    found: dict[str, None] = {}
    for entry in wanted:
        uid = entry if entry in uids.TRANSFER_SYNTAXES else by_name.get(entry.lower())
        if uid is None:
            raise InvalidRequestError(
                told(
                    "{entry} is no transfer syntax; write its UID, for example 1.2.840.10008.1.2.4.70.",
                    entry=repr(entry[:70]),
                )
            )
        found[uid] = None
    return tuple(found)
