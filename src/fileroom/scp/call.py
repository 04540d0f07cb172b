"""What a service knows of the association that its request came on."""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.archive.services import Archive
from fileroom.net.association_handler import AssociationPort
from fileroom.scp import offer
from fileroom.ul.pdu import AssociateRQ


@dataclass(frozen=True, slots=True)
class Call:
    """An established association: who called whom, and which query abilities were agreed, by SOP class."""

    archive: Archive
    port: AssociationPort
    calling_aet: str
    called_aet: str
    abilities: dict[str, bytes]

    @classmethod
    def from_request(cls, archive: Archive, port: AssociationPort, request: AssociateRQ) -> Call:
        """The call that a request, once accepted, opens."""
        answered = ((item.sop_class_uid, offer.answer_extended(item)) for item in request.user_information.extended)
        abilities = {sop_class: answer for sop_class, answer in answered if answer is not None}
        return cls(archive, port, request.calling_aet, request.called_aet, abilities)

    def is_able(self, sop_class_uid: str, ability: int) -> bool:
        """Whether one of `scp.offer`'s abilities was agreed for a SOP class."""
        answer = self.abilities.get(sop_class_uid, b"")
        return len(answer) > ability and answer[ability] == 1
