"""What a service knows of the association that its request came on."""

from __future__ import annotations

from dataclasses import dataclass

from fileroom.admin.ledger_journal import Journal
from fileroom.admin.ledger_port import RecordedPort
from fileroom.admin.node_fields import Node
from fileroom.archive.services import Archive
from fileroom.core.errors import FileroomError
from fileroom.net.association_handler import AssociationPort, Operation
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
    journal: Journal | None = None
    node: Node | None = None
    """The node that called, if it is one."""

    @classmethod
    def from_request(
        cls,
        archive: Archive,
        port: AssociationPort,
        request: AssociateRQ,
        journal: Journal | None = None,
        *,
        node: Node | None = None,
    ) -> Call:
        """The call that a request, once accepted, opens."""
        answered = ((item.sop_class_uid, offer.answer_extended(item)) for item in request.user_information.extended)
        abilities = {sop_class: answer for sop_class, answer in answered if answer is not None}
        told = port if journal is None else RecordedPort(port, journal)
        return cls(archive, told, request.calling_aet, request.called_aet, abilities, journal, node)

    def explain(self, operation: Operation, error: FileroomError) -> None:
        """Tell the ledger why an operation will be refused: the answer to the peer has room for 64 characters only."""
        if self.journal is not None:
            self.journal.explain(error, operation.command.message_id)

    def is_able(self, sop_class_uid: str, ability: int) -> bool:
        """Whether one of `scp.offer`'s abilities was agreed for a SOP class."""
        answer = self.abilities.get(sop_class_uid, b"")
        return len(answer) > ability and answer[ability] == 1
