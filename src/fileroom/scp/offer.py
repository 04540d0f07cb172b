"""What Fileroom accepts from a peer that opens an association: SOP classes, transfer syntaxes, roles, extensions.

The conformance statement's tables are made from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fileroom.admin.node_fields import Node, NodeRole
from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.ul.items import ExtendedNegotiation, RoleSelection
from fileroom.ul.negotiation import AbstractSyntaxRule, AcceptancePolicy

_PREFERRED: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
MESSAGE_TRANSFER_SYNTAXES: Final = (*_PREFERRED, uids.EXPLICIT_VR_BIG_ENDIAN)
"""For messages that are not objects: queries, commitment requests."""
STORAGE_TRANSFER_SYNTAXES: Final = (
    *_PREFERRED,
    *(uid for uid, syntax in uids.TRANSFER_SYNTAXES.items() if uid not in _PREFERRED),
)
"""For objects, in the order of preference: what needs no decoder first, then everything, stored as received."""

QUERY_RETRIEVE_FIND: Final = (uids.PATIENT_ROOT_FIND, uids.STUDY_ROOT_FIND, uids.PATIENT_STUDY_ONLY_FIND)
QUERY_RETRIEVE_MOVE: Final = (uids.PATIENT_ROOT_MOVE, uids.STUDY_ROOT_MOVE, uids.PATIENT_STUDY_ONLY_MOVE)
QUERY_RETRIEVE_GET: Final = (uids.PATIENT_ROOT_GET, uids.STUDY_ROOT_GET, uids.PATIENT_STUDY_ONLY_GET)

PERFORMED_STEP: Final = (uids.MODALITY_PERFORMED_PROCEDURE_STEP, uids.MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE)
"""Modality Performed Procedure Step (PS3.4 F.7, F.8)."""

WORKITEMS: Final = (uids.UPS_PUSH, uids.UPS_PULL, uids.UPS_WATCH, uids.UPS_QUERY)
"""Unified Procedure Step (PS3.4 CC); events go out on associations that we open."""

_MESSAGE_RULE: Final = AbstractSyntaxRule(MESSAGE_TRANSFER_SYNTAXES)
SERVICE_RULES: Final[dict[str, AbstractSyntaxRule]] = {
    uids.VERIFICATION: _MESSAGE_RULE,
    uids.STORAGE_COMMITMENT_PUSH: AbstractSyntaxRule(MESSAGE_TRANSFER_SYNTAXES, requestor_may_be_scp=True),
    uids.INSTANCE_AVAILABILITY_NOTIFICATION: _MESSAGE_RULE,
    uids.MODALITY_WORKLIST_FIND: _MESSAGE_RULE,
    **dict.fromkeys((*PERFORMED_STEP, *WORKITEMS), _MESSAGE_RULE),
    **dict.fromkeys((*QUERY_RETRIEVE_FIND, *QUERY_RETRIEVE_MOVE, *QUERY_RETRIEVE_GET), _MESSAGE_RULE),
}
_STORAGE_RULE: Final = AbstractSyntaxRule(STORAGE_TRANSFER_SYNTAXES, requestor_may_be_scp=True)
_UNKNOWN_STORAGE_RULE: Final = AbstractSyntaxRule(STORAGE_TRANSFER_SYNTAXES, any_other=True, requestor_may_be_scp=True)

# Extended negotiation of the Query/Retrieve service class (PS3.4 C.5): one byte per ability, 1 for yes.
RELATIONAL: Final = 0
COMBINED_DATETIME: Final = 1
FUZZY_NAMES: Final = 2
TIMEZONE_ADJUSTMENT: Final = 3
_ABILITIES: Final = 4

_STANDARD_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."


def policy(
    settings: Settings,
    *,
    caller_is_known: bool,
    node: Node | None = None,
    roles: Sequence[RoleSelection] = (),
) -> AcceptancePolicy:
    """The policy for one request. An unknown caller is refused by its AE title.

    `node` narrows it: its roles to what they allow, its lists to the transfer syntaxes that it prefers. `roles` are those
    that the request proposes (PS3.7 D.3.3.4); they tell whether a storage SOP class is for sending or for a C-GET.
    """
    unknown_too = settings.accept_unknown_sop_classes
    own_titles = {settings.aet, settings.federated_aet, node.own_aet if node is not None else ""} - {""}
    proposed = {role.sop_class_uid: role for role in roles}

    def rule_of(abstract_syntax: str) -> AbstractSyntaxRule | None:
        service = SERVICE_RULES.get(abstract_syntax)
        if service is not None:
            return service
        is_known = uids.is_storage_sop_class(abstract_syntax)
        if not is_known and not (unknown_too and _may_be_storage(abstract_syntax)):
            return None
        usual = _UNKNOWN_STORAGE_RULE if unknown_too else _STORAGE_RULE
        return usual if node is None else _storage_rule(usual, node, proposed.get(abstract_syntax))

    return AcceptancePolicy(
        rule_of=rule_of,
        called_aets=frozenset(own_titles) if settings.called_aet_check else None,
        calling_aets=None if caller_is_known else frozenset(),
        permits=lambda uid: node is None or _permits(node, uid, proposed.get(uid)),
        extended_answer=answer_extended,
    )


def _storage_rule(usual: AbstractSyntaxRule, node: Node, proposed: RoleSelection | None) -> AbstractSyntaxRule:
    """How objects travel between us and a node; which way tells the role that it proposes."""
    is_for_get = proposed is not None and not proposed.scu_role
    chosen = node.propose_syntaxes if is_for_get else node.accept_syntaxes
    # The default transfer syntax must be taken whatever an administrator prefers (PS3.5 10.1).
    syntaxes = tuple(dict.fromkeys((*chosen, uids.IMPLICIT_VR_LITTLE_ENDIAN))) if chosen else usual.transfer_syntaxes
    return AbstractSyntaxRule(
        syntaxes,
        any_other=usual.any_other and not chosen,
        requestor_may_be_scu=node.may(NodeRole.SEND),
        requestor_may_be_scp=node.may(NodeRole.RETRIEVE),
    )


def _permits(node: Node, abstract_syntax: str, proposed: RoleSelection | None) -> bool:
    """Whether a node's roles let it use an abstract syntax."""
    if abstract_syntax == uids.VERIFICATION:
        return True
    if abstract_syntax == uids.STORAGE_COMMITMENT_PUSH:
        tells_us = proposed is not None and proposed.scp_role
        return node.may(NodeRole.COMMIT) or (tells_us and node.may(NodeRole.DESTINATION))
    if abstract_syntax in (
        *QUERY_RETRIEVE_FIND,
        uids.MODALITY_WORKLIST_FIND,
        uids.MODALITY_PERFORMED_PROCEDURE_STEP_RETRIEVE,
        uids.UPS_WATCH,
        uids.UPS_QUERY,
    ):
        return node.may(NodeRole.QUERY)
    if abstract_syntax in (uids.UPS_PUSH, uids.UPS_PULL):
        return node.may(NodeRole.SEND) or node.may(NodeRole.QUERY)
    if abstract_syntax in (*QUERY_RETRIEVE_MOVE, *QUERY_RETRIEVE_GET):
        return node.may(NodeRole.RETRIEVE)
    would_send = proposed is None or proposed.scu_role
    would_get = proposed is not None and proposed.scp_role
    return (would_send and node.may(NodeRole.SEND)) or (would_get and node.may(NodeRole.RETRIEVE))


def answer_extended(item: ExtendedNegotiation) -> bytes | None:
    """Which of the abilities asked for we have: all those that the standard defines for the SOP class."""
    if item.sop_class_uid in (*QUERY_RETRIEVE_FIND, uids.MODALITY_WORKLIST_FIND):
        asked = item.information[:_ABILITIES]
        return bytes(1 if byte == 1 else 0 for byte in asked)
    if item.sop_class_uid in (*QUERY_RETRIEVE_MOVE, *QUERY_RETRIEVE_GET):
        return bytes(1 if byte == 1 else 0 for byte in item.information[:1])
    return None


def _may_be_storage(uid: str) -> bool:
    """A private UID, or one where the standard puts its storage SOP classes: a later edition may have more of them.

    The standard's other UIDs are services that we do not have.
    """
    return not uid.startswith("1.2.840.10008.") or uid.startswith(_STANDARD_STORAGE)
