"""What Fileroom accepts from a peer that opens an association: SOP classes, transfer syntaxes, roles, extensions.

The conformance statement's tables are made from here.
"""

from __future__ import annotations

from typing import Final

from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.ul.items import ExtendedNegotiation
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

_MESSAGE_RULE: Final = AbstractSyntaxRule(MESSAGE_TRANSFER_SYNTAXES)
SERVICE_RULES: Final[dict[str, AbstractSyntaxRule]] = {
    uids.VERIFICATION: _MESSAGE_RULE,
    uids.STORAGE_COMMITMENT_PUSH: _MESSAGE_RULE,
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


def policy(settings: Settings, *, caller_is_known: bool) -> AcceptancePolicy:
    """The policy for one request. An unknown caller is refused by its AE title."""
    unknown_too = settings.accept_unknown_sop_classes

    def rule_of(abstract_syntax: str) -> AbstractSyntaxRule | None:
        service = SERVICE_RULES.get(abstract_syntax)
        if service is not None:
            return service
        if uids.is_storage_sop_class(abstract_syntax):
            return _UNKNOWN_STORAGE_RULE if unknown_too else _STORAGE_RULE
        return _UNKNOWN_STORAGE_RULE if unknown_too and _may_be_storage(abstract_syntax) else None

    return AcceptancePolicy(
        rule_of=rule_of,
        called_aets=frozenset({settings.aet}) if settings.called_aet_check else None,
        calling_aets=None if caller_is_known else frozenset(),
        extended_answer=answer_extended,
    )


def answer_extended(item: ExtendedNegotiation) -> bytes | None:
    """Which of the abilities asked for we have: all those that the standard defines for the SOP class."""
    if item.sop_class_uid in QUERY_RETRIEVE_FIND:
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
