"""From the facts of an association to sentences that a person understands, each with the next step: one table.

`advise` gives the sentences of an association that went wrong, the most telling first. They are templates with values, so
that the console can translate them: `_(advice.what) % advice.values`. `N_` marks them for the catalogue.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileroom.admin.ledger_journal import ENDED_BEFORE
from fileroom.admin.ledger_rows import Direction, OperationRow, Outcome
from fileroom.admin.ledger_search import AssociationEntry, ContextEntry
from fileroom.core.errors import PeerRefusedError
from fileroom.dicom import uids
from fileroom.dimse.status import Status, StatusCategory, category, describe
from fileroom.ul.items import AbortSource, ContextResult

ADVICE_MAX: Final = 20
"""Sentences for one association; the same one is said once for all objects that it is true of."""


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


class See(enum.Enum):
    """Where the next step is done, for a link."""

    NODE = "the node of this peer"
    NODES = "nodes, to add one"
    HELD = "callers that wait for approval"
    SETTINGS = "settings"
    SYSTEM = "the state of the system"
    REFUSALS = "objects that were refused"
    CONFLICTS = "objects that were kept aside"
    CAUSED = "the associations that this one caused"
    CERTIFICATES = "our certificates and those that we trust"


@dataclass(frozen=True, slots=True)
class Advice:
    """What went wrong and what to do next, `see` where. `operation` is the number of the operation that it is about, if any."""

    what: str
    next_step: str
    values: dict[str, object] = field(default_factory=dict)
    operation: int | None = None
    see: See | None = None

    @property
    def what_text(self) -> str:
        """What happened, in English."""
        return self.what % self.values

    @property
    def next_text(self) -> str:
        """The next step, in English."""
        return self.next_step % self.values


# What happened, the next step, and where it is done. `%(they)s` is the peer's AE title, `%(we)s` ours, `%(host)s` its address.
_TABLE: Final[dict[str, tuple[str, str, See | None]]] = {
    # --- no association ---
    "unknown caller": (
        N_("%(they)s at %(host)s called, and nobody has approved it."),
        N_("If you know it, approve it as a node: it waits there with this AE title and address."),
        See.HELD,
    ),
    "bad title": (
        N_("A caller at %(host)s gave an AE title that is empty or has characters that are not allowed."),
        N_("Give the device an AE title of 1 to 16 letters and digits."),
        See.HELD,
    ),
    "node disabled": (
        N_("%(they)s at %(host)s called, but its node is disabled: %(detail)s"),
        N_("Enable it under Nodes > %(they)s, if it shall take part again."),
        See.NODE,
    ),
    "other address": (
        N_("%(they)s called from %(host)s, where its node may not call from: %(detail)s"),
        N_("If it has moved, approve the call under Nodes, or correct the addresses under Nodes > %(they)s."),
        See.HELD,
    ),
    "tls demanded": (
        N_("%(they)s at %(host)s called without the encryption that its node must use: %(detail)s"),
        N_("Switch TLS on at the device and let it call the port for TLS, or switch it off under Nodes > %(they)s."),
        See.NODE,
    ),
    "tls failed": (
        N_("A caller at %(host)s did not get through the TLS handshake: %(detail)s."),
        N_("The certificates that callers are checked by stand under Certificates."),
        See.CERTIFICATES,
    ),
    "node limit": (
        N_("%(they)s was turned away: %(detail)s"),
        N_("Look for associations that it keeps open without using them, or raise the limit under Nodes > %(they)s."),
        See.NODE,
    ),
    "not ready": (
        N_("%(they)s was turned away because Fileroom could not look it up: %(detail)s"),
        N_("See under System what is down. The device can try again."),
        See.SYSTEM,
    ),
    "called title": (
        N_("%(they)s called %(called)s, but this archive is called %(own)s."),
        N_("Correct the called AE title at the device, or let any title in (setting called_aet_check)."),
        See.SETTINGS,
    ),
    "congestion": (
        N_("%(they)s was turned away because this archive was stopping or too slow to answer."),
        N_("The device can try again at once. If this happens often, look at the load of the server and its database."),
        See.SYSTEM,
    ),
    "limit": (
        N_("%(they)s was turned away because as many associations were open as a worker serves."),
        N_("Look for devices that keep associations open without using them, or set more workers (setting workers)."),
        See.SETTINGS,
    ),
    "rejected": (
        N_("%(they)s was turned away: %(detail)s"),
        N_("The device's proposal is unusual; compare it with the conformance statement."),
        None,
    ),
    "peer knows us not": (
        N_("%(they)s at %(host)s does not let %(we)s in."),
        N_("Register our AE title %(we)s with this machine's address at %(they)s."),
        See.NODE,
    ),
    "peer called otherwise": (
        N_("The system at %(host)s port %(port)s says that it is not called %(they)s."),
        N_("Ask for its AE title and correct the node."),
        See.NODE,
    ),
    "peer full": (
        N_("%(they)s has no room for another association now: %(detail)s"),
        N_(
            "It is tried again if it was a task of Fileroom's; else try later. If it happens often, its limit is too low."
        ),
        None,
    ),
    "peer rejected": (
        N_("%(they)s at %(host)s refused our association: %(detail)s"),
        N_("Ask whoever runs %(they)s why; its log has the same moment."),
        None,
    ),
    "unreachable": (
        N_("%(they)s could not be reached: %(detail)s"),
        N_(
            "Check that it is switched on, that address and port of the node are right, and that no firewall is between."
        ),
        See.NODE,
    ),
    "tls on plain port": (
        N_("A caller at %(host)s spoke TLS, but this port is without encryption."),
        N_("Switch TLS off at the device, or let it call the port for TLS."),
        None,
    ),
    "web on dicom port": (
        N_("A web browser or program at %(host)s called the DICOM port with HTTP."),
        N_("Give it the address of the web port instead."),
        None,
    ),
    "no dicom": (
        N_("A caller at %(host)s sent something that is not DICOM: %(detail)s"),
        N_("Check which program there is set to this port; a port scanner does this too."),
        None,
    ),
    "said nothing": (
        N_("A caller at %(host)s opened a connection and then asked for no association."),
        N_("Nothing to do if it is a health check or scanner. Else the device, or a firewall, gave up in the middle."),
        None,
    ),
    # --- nothing, or too little, agreed on ---
    "transfer syntax refused by us": (
        N_("%(they)s proposed only %(syntaxes)s for %(sop_class)s, which is not accepted from it."),
        N_(
            "Allow it under Nodes > %(they)s > Transfer syntaxes, or set the device to an uncompressed transfer syntax."
        ),
        See.NODE,
    ),
    "refused and left": (
        N_("%(sop_class)s was refused as %(syntaxes)s, and then nothing was done on the association."),
        N_(
            "If objects are missing, allow this transfer syntax under Nodes > %(they)s, or have them sent uncompressed."
        ),
        See.NODE,
    ),
    "class refused by us": (
        N_("%(they)s asked for %(sop_class)s, a service that this archive does not offer."),
        N_(
            "If it is a kind of object, accept unknown SOP classes (setting accept_unknown_sop_classes); else switch it off."
        ),
        See.SETTINGS,
    ),
    "transfer syntax refused by peer": (
        N_("%(they)s does not take %(sop_class)s as %(syntaxes)s."),
        N_("Nothing to do if it was sent in another transfer syntax; else enable one of these at %(they)s."),
        None,
    ),
    "class refused by peer": (
        N_("%(they)s does not take %(sop_class)s at all."),
        N_("Enable this SOP class at %(they)s, or do not send such objects to it."),
        None,
    ),
    "role refused by us": (
        N_("%(they)s asked for %(sop_class)s, which the roles of its node do not allow."),
        N_("Give it the role under Nodes > %(they)s > Roles, if it shall have it."),
        See.NODE,
    ),
    "context refused": (
        N_("%(sop_class)s was refused without a reason that says more."),
        N_("Ask whoever runs %(they)s; its log has the same moment."),
        None,
    ),
    # --- a bad end ---
    "aborted by peer": (
        N_("%(they)s broke the association off (A-ABORT of its application)."),
        N_(
            "Look into the device's log at this time: often somebody cancelled, it waited too long, or it missed a context."
        ),
        None,
    ),
    "aborted by peer protocol": (
        N_("%(they)s broke the association off because it did not understand what it was sent (reason %(reason)s)."),
        N_("Keep the time and this page for the device's support, and for a report to Fileroom."),
        None,
    ),
    "aborted by us": (
        N_("Fileroom broke the association off: %(detail)s"),
        N_("If the device is known to be correct, report this with the device's model and software version."),
        None,
    ),
    "connection lost": (
        N_("The connection to %(they)s was cut without a farewell."),
        N_(
            "Look for a device that was switched off, a loose cable or wireless, or a firewall that ends quiet connections."
        ),
        None,
    ),
    "timed out": (
        N_("%(they)s fell silent: %(detail)s"),
        N_("Look whether the device hangs or its network is gone. It can simply call again."),
        None,
    ),
    "interrupted": (
        N_("The part of Fileroom that served %(they)s ended in the middle."),
        N_(
            "What was answered with success is safe; the device will send the rest again. The reason is in the server's log."
        ),
        None,
    ),
    # --- operations ---
    "store full": (
        N_("%(count)s objects from %(they)s were not stored: %(detail)s"),
        N_("Make room on the object store, then send them again; nothing that was stored before is touched."),
        See.SYSTEM,
    ),
    "store failed": (
        N_("%(count)s objects from %(they)s were not stored: %(detail)s"),
        N_("Check the object store and the database under System, then send them again."),
        See.SYSTEM,
    ),
    "store mismatch": (
        N_("%(count)s objects from %(they)s were refused: %(detail)s"),
        N_("The sender announces another object than it sends; its software needs a correction."),
        None,
    ),
    "store invalid": (
        N_("%(count)s objects from %(they)s were refused: %(detail)s"),
        N_("Look at what was refused, and why. The sender's software needs a correction."),
        See.REFUSALS,
    ),
    "not allowed": (
        N_("%(they)s was not permitted to do %(kind)s: %(detail)s"),
        N_("Give it the role under Nodes > %(they)s > Roles, if it shall have it."),
        See.NODE,
    ),
    "store cut": (
        N_("%(count)s objects from %(they)s were cut off: the association ended before they were complete."),
        N_("Nothing of them is kept. The device will send them again, or must be told to."),
        None,
    ),
    "kept aside": (
        N_("%(count)s objects came with the UID of another object; they are kept aside."),
        N_("Look at them and decide which is right."),
        See.CONFLICTS,
    ),
    "unknown destination": (
        N_("%(they)s asked for objects to be sent to %(destination)s, which is not a node."),
        N_("Add a node with AE title %(destination)s and the address and port at which it listens."),
        See.NODES,
    ),
    "suboperations failed": (
        N_("%(failed)s of %(total)s objects that %(they)s asked for did not arrive: %(detail)s"),
        N_("Look at the associations that were opened for it; they say why."),
        See.CAUSED,
    ),
    "query refused": (
        N_("%(kind)s of %(they)s was refused: %(detail)s"),
        N_("The device asks in a way that the standard does not allow; look at its query settings."),
        None,
    ),
    "too many": (
        N_("%(kind)s of %(they)s was ended early: %(detail)s"),
        N_("Let the device ask more narrowly, for example by date or modality."),
        None,
    ),
    "unknown service": (
        N_("%(they)s asked for %(kind)s, which this archive does not offer."),
        N_("Switch this service off at the device."),
        None,
    ),
    "never answered": (
        N_("%(kind)s of %(they)s had no answer before the association ended."),
        N_("If the device gave up waiting, make its timeout longer; 60 seconds are usual."),
        None,
    ),
    "operation failed": (
        N_("%(kind)s of %(they)s failed with %(status)s. %(detail)s"),
        N_("See the reason; if it is none of the device's doing, look under System and into the server's log."),
        See.SYSTEM,
    ),
    "peer refused": (
        N_("%(they)s answered %(kind)s with %(status)s (%(count)s times). %(detail)s"),
        N_("The reason is in the log of %(they)s at this time."),
        None,
    ),
    "peer takes it not": (
        N_("%(count)s objects were not sent to %(they)s: it does not take %(sop_class)s as %(syntax)s."),
        N_("Enable this SOP class and transfer syntax at %(they)s, or have them sent uncompressed."),
        None,
    ),
    "peer silent": (
        N_("%(kind)s to %(they)s came to no answer (%(count)s times): %(detail)s"),
        N_("Look whether %(they)s is overloaded or was restarted; then have them sent again."),
        None,
    ),
}

_NO_PDU_TYPE: Final = re.compile(r"([0-9A-F]{2})H is not a PDU type")
_TLS_HANDSHAKE: Final = 0x16
_FIRST_LETTERS_OF_HTTP: Final = frozenset(b"GPHODCT")


def advise(entry: AssociationEntry, own_aet: str) -> list[Advice]:
    """What went wrong with an association, as far as its entry has it; empty when nothing did."""
    speaker = _Speaker(entry, own_aet)
    found: dict[str, Advice] = {}
    for advice in (*_of_the_contexts(speaker), *_of_the_end(speaker), *_of_the_operations(speaker)):
        found.setdefault(advice.what_text, advice)
    return list(found.values())[:ADVICE_MAX]


class _Speaker:
    """Makes sentences about one association."""

    def __init__(self, entry: AssociationEntry, own_aet: str) -> None:
        incoming = entry.direction is Direction.IN
        self.entry = entry
        self._values = {
            "they": (entry.calling_aet if incoming else entry.called_aet) or entry.peer_host,
            "we": (entry.called_aet if incoming else entry.calling_aet) or own_aet,
            "called": entry.called_aet,
            "own": own_aet,
            "host": entry.peer_host,
            "port": entry.peer_port,
            "detail": entry.detail,
        }

    def say(self, key: str, values: dict[str, object] | None = None, operation: int | None = None) -> Advice:
        """The sentence of `_TABLE`, with further values."""
        what, next_step, see = _TABLE[key]
        return Advice(what, next_step, self._values | (values or {}), operation, see)


# --- contexts ---


def _of_the_contexts(speaker: _Speaker) -> Iterator[Advice]:
    """Refused contexts of SOP classes that could not be used at all.

    And all of them, where nothing was done on the association: perhaps it was just that which was wanted.
    """
    entry = speaker.entry
    is_useless = entry.came_for_nothing
    usable = {context.abstract_syntax for context in entry.contexts if context.is_accepted}
    refused: dict[tuple[str, int], list[ContextEntry]] = {}
    for context in entry.contexts:
        if context.result and (is_useless or context.abstract_syntax not in usable):
            refused.setdefault((context.abstract_syntax, context.result), []).append(context)
    if entry.contexts_accepted and entry.outcome is Outcome.RELEASED and not entry.failures and not is_useless:
        return  # What was needed was agreed on: proposing more than is used is how devices are.
    by = "us" if entry.direction is Direction.IN else "peer"
    for (abstract_syntax, result), contexts in refused.items():
        syntaxes = dict.fromkeys(uids.uid_name(syntax) for c in contexts for syntax in c.transfer_syntaxes)
        values: dict[str, object] = {"sop_class": uids.uid_name(abstract_syntax), "syntaxes": _list(list(syntaxes))}
        if abstract_syntax in usable:
            yield speaker.say("refused and left", values)
        elif result == ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED:
            yield speaker.say(f"transfer syntax refused by {by}", values)
        elif result == ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED:
            yield speaker.say(f"class refused by {by}", values)
        elif result == ContextResult.USER_REJECTION and by == "us":
            yield speaker.say("role refused by us", values)
        else:
            yield speaker.say("context refused", values)


def _list(names: Sequence[str], shown: int = 4) -> str:
    more = f" (+{len(names) - shown})" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


# --- the end ---


_LEFT: Final = (Outcome.CONNECTION_LOST, Outcome.ABORTED_BY_PEER, Outcome.ABORTED_BY_US)


def _of_the_end(speaker: _Speaker) -> Iterator[Advice]:
    entry = speaker.entry
    incoming = entry.direction is Direction.IN
    if entry.outcome in _LEFT and entry.contexts and not any(context.is_accepted for context in entry.contexts):
        return  # Nothing was agreed on, so whoever had called left: the contexts say it all.
    match entry.outcome:
        case Outcome.REJECTED:
            yield speaker.say(_rejection_by_us(entry) if incoming else _rejection_by_peer(entry))
        case Outcome.UNREACHABLE:
            known = f"{entry.called_aet} at {entry.peer_host}:{entry.peer_port} could not be reached: "
            yield speaker.say("unreachable", {"detail": entry.detail.removeprefix(known)})
        case Outcome.ABORTED_BY_PEER:
            by_application = entry.abort_source == AbortSource.SERVICE_USER
            key = "aborted by peer" if by_application else "aborted by peer protocol"
            yield speaker.say(key, {"reason": entry.abort_reason})
        case Outcome.ABORTED_BY_US:
            yield speaker.say(_abort_by_us(entry))
        case Outcome.CONNECTION_LOST:
            yield speaker.say("connection lost" if entry.contexts_proposed or not incoming else "said nothing")
        case Outcome.TIMED_OUT:
            yield speaker.say("timed out" if entry.contexts_proposed or not incoming else "said nothing")
        case Outcome.INTERRUPTED:
            yield speaker.say("interrupted")
        case Outcome.OPEN | Outcome.RELEASED:
            return


def _rejection_by_us(entry: AssociationEntry) -> str:
    if entry.cause:
        return entry.cause.value
    reasons = {(1, 7): "called title", (3, 1): "congestion", (3, 2): "limit"}
    return reasons.get((entry.reject_source or 0, entry.reject_reason or 0), "rejected")


def _rejection_by_peer(entry: AssociationEntry) -> str:
    reasons = {(1, 3): "peer knows us not", (1, 7): "peer called otherwise", (3, 1): "peer full", (3, 2): "peer full"}
    return reasons.get((entry.reject_source or 0, entry.reject_reason or 0), "peer rejected")


def _abort_by_us(entry: AssociationEntry) -> str:
    if entry.contexts_proposed:
        return entry.cause.value or "aborted by us"
    first = _NO_PDU_TYPE.search(entry.detail)
    byte = int(first[1], 16) if first is not None else None
    if byte == _TLS_HANDSHAKE:
        return "tls on plain port"
    return "web on dicom port" if byte in _FIRST_LETTERS_OF_HTTP else "no dicom"


# --- operations ---


def _of_the_operations(speaker: _Speaker) -> Iterator[Advice]:
    """One sentence for all operations that failed in the same way."""
    alike: dict[tuple[str, str, str], list[OperationRow]] = {}
    for row in speaker.entry.operations:
        key = _key_of(row)
        if key is not None:
            alike.setdefault((key, row.kind, "" if key in _SAME_WHATEVER_THE_REASON else row.reason), []).append(row)
    for (key, kind, _), rows in alike.items():
        first = rows[0]
        values: dict[str, object] = {
            "kind": kind,
            "count": sum(row.count for row in rows),
            "detail": first.reason,
            "status": describe(first.status or 0),
            "destination": first.destination,
            "sop_class": uids.uid_name(first.sop_class_uid),
            "syntax": uids.uid_name(first.transfer_syntax_uid),
            "failed": first.failed,
            "total": sum(part or 0 for part in (first.completed, first.warned, first.failed)),
        }
        yield speaker.say(key, values, first.n)


_SAME_WHATEVER_THE_REASON: Final = frozenset(
    {"store cut", "kept aside", "store mismatch", "store invalid", "never answered"}
)
_STORE_CAUSES: Final = {
    "StorageFullError": "store full",
    "MismatchError": "store mismatch",
    "InvalidObjectError": "store invalid",
    "NotAllowedError": "not allowed",
}


def _key_of(row: OperationRow) -> str | None:
    """The sentence for an operation, None for one that went well or goes on."""
    if row.ended_at is None:
        return None
    kind = StatusCategory.FAILURE if row.status is None else category(row.status)
    if row.by_us:
        if kind in (StatusCategory.SUCCESS, StatusCategory.CANCEL):
            return None
        if row.status is None:
            return "peer takes it not" if row.cause == PeerRefusedError.__name__ else "peer silent"
        return "peer refused"
    if row.failed:
        return "suboperations failed"
    if kind in (StatusCategory.SUCCESS, StatusCategory.CANCEL):
        return None
    if row.kind == "C-STORE":
        return _key_of_store(row, kind)
    return _first(row, _OPERATION_RULES) or ("operation failed" if kind is StatusCategory.FAILURE else None)


def _key_of_store(row: OperationRow, kind: StatusCategory) -> str | None:
    if kind is StatusCategory.WARNING:
        return "kept aside"
    if row.status is None:
        return "store cut"
    return _STORE_CAUSES.get(row.cause, "store failed")


_Rule = tuple[Callable[[OperationRow], bool], str]
_OPERATION_RULES: Final[tuple[_Rule, ...]] = (
    (lambda row: row.status is None and row.reason == ENDED_BEFORE, "never answered"),
    (lambda row: row.status == Status.MOVE_DESTINATION_UNKNOWN, "unknown destination"),
    (lambda row: row.status == Status.UNRECOGNIZED_OPERATION, "unknown service"),
    (lambda row: row.status == Status.NOT_AUTHORIZED, "not allowed"),
    (lambda row: row.status == Status.IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS, "query refused"),
    (lambda row: row.status == Status.OUT_OF_RESOURCES and row.cause in ("", "TooLargeError"), "too many"),
)


def _first(row: OperationRow, rules: Sequence[_Rule]) -> str | None:
    return next((key for fits, key in rules if fits(row)), None)
