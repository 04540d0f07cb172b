"""Proof by counting: a C-FIND at the node must find each object that it has taken (PS3.4 C.4.1, IMAGE level)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fileroom.admin.node_fields import Node
from fileroom.archive.node_calls import connect_node
from fileroom.archive.services import Archive
from fileroom.core.errors import PeerError
from fileroom.dicom import uids
from fileroom.dicom.identifier import AnswerElement, decode_identifier, encode_answer
from fileroom.dimse.status import StatusCategory, category, describe
from fileroom.net.association_client import ProposedContext
from fileroom.routing.destination_kind import Outcome, OutcomeKind
from fileroom.routing.outgoing import OutgoingObject

MATCHES_MAX: Final = 100_000
"""Instances of one series; more is an answer without end."""
_UNCOMPRESSED: Final = (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
_CONTEXT: Final = ProposedContext(uids.STUDY_ROOT_FIND, _UNCOMPRESSED)


async def count_at_node(archive: Archive, node: Node, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
    """By delivery id TAKEN for what the node finds, TRY_LATER for what it does not. Raises PeerError."""
    found: set[str] = set()
    series = {(one.study_instance_uid, one.series_instance_uid) for one in batch}
    async with connect_node(archive, node, purpose="find", contexts=[_CONTEXT]) as (association, _):
        syntax = association.context_of(uids.STUDY_ROOT_FIND).transfer_syntax
        for study_uid, series_uid in sorted(series):
            identifier = encode_answer(_question(study_uid, series_uid), syntax, None)
            responses = association.find(uids.STUDY_ROOT_FIND, identifier, timeout_s=node.response_timeout_s)
            number = 0
            async for response in responses:
                kind = category(response.status)
                if kind is StatusCategory.FAILURE:
                    raise PeerError(f"{node.name} cannot count the series {series_uid}: {describe(response.status)}")
                if response.dataset:
                    found.add(str(decode_identifier(response.dataset, syntax).get("SOPInstanceUID", "")))
                    number += 1
                if number > MATCHES_MAX:
                    raise PeerError(f"{node.name} answers with more than {MATCHES_MAX} instances of one series")
    missing = Outcome(
        OutcomeKind.TRY_LATER,
        f"{node.name} took it but does not find it when asked (C-FIND). Look there whether it was lost; it is asked again.",
    )
    return {one.delivery_id: Outcome(OutcomeKind.TAKEN) if one.sop_instance_uid in found else missing for one in batch}


def _question(study_uid: str, series_uid: str) -> list[AnswerElement]:
    return [
        AnswerElement(0x00080018, "UI", ""),
        AnswerElement(0x00080052, "CS", "IMAGE"),
        AnswerElement(0x0020000D, "UI", study_uid),
        AnswerElement(0x0020000E, "UI", series_uid),
    ]
