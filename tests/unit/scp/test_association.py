"""Who may come in, and which service answers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fake_port import FakePort
from fileroom.admin.callers import list_held_callers
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError
from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation, PeerAddress
from fileroom.scp import association as association_module
from fileroom.scp.association import PeerAssociation
from fileroom.ul.items import PresentationContextProposal
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import AssociateAC, AssociateRJ, AssociateRQ

HERE, ELSEWHERE = PeerAddress("127.0.0.1", 50000), PeerAddress("10.0.0.1", 50000)
ECHO = AcceptedContext(1, uids.VERIFICATION, uids.IMPLICIT_VR_LITTLE_ENDIAN)


def request(called: str = "FILEROOM", calling: str = "CT1") -> AssociateRQ:
    proposal = PresentationContextProposal(1, uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,))
    return AssociateRQ(called_aet=called, calling_aet=calling, presentation_contexts=(proposal,))


async def associate(archive: Archive, asked: AssociateRQ, peer: PeerAddress = HERE) -> AssociateAC | AssociateRJ:
    return await PeerAssociation(archive, peer, FakePort()).associate(asked)


async def test_a_caller_from_this_machine_comes_in(archive: Archive) -> None:
    answer = await associate(archive, request())
    assert isinstance(answer, AssociateAC)
    assert [context.result for context in answer.presentation_contexts] == [0]


async def test_an_unknown_caller_is_turned_away_for_its_title_and_noted(archive: Archive) -> None:
    answer = await associate(archive, request(), ELSEWHERE)
    assert isinstance(answer, AssociateRJ)
    assert (answer.result, answer.source, answer.reason) == (1, 1, 3)
    assert [(caller.aet, caller.host) for caller in await list_held_callers(archive.pool)] == [("CT1", "10.0.0.1")]


async def test_another_called_title_is_refused_unless_it_does_not_matter(archive: Archive) -> None:
    answer = await associate(archive, request(called="OTHER"))
    assert isinstance(answer, AssociateRJ)
    assert answer.reason == 7
    lenient = dataclasses.replace(archive, settings=Settings(called_aet_check=False))
    assert isinstance(await associate(lenient, request(called="OTHER")), AssociateAC)


@pytest.mark.parametrize("calling", ["", "A\0B", "A\nB", "\x1b[31m"])
async def test_a_title_with_control_characters_does_not_come_in(archive: Archive, calling: str) -> None:
    answer = await associate(archive, request(calling=calling))
    assert isinstance(answer, AssociateRJ)
    assert answer.reason == 3


async def test_without_a_database_the_caller_may_come_again(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any, **__: Any) -> bool:
        raise DatabaseError("away")

    monkeypatch.setattr(association_module, "admit", away)
    answer = await associate(archive, request())
    assert isinstance(answer, AssociateRJ)
    assert answer.result == 2  # transient


async def test_an_echo_is_answered(archive: Archive) -> None:
    port = FakePort()
    handler = PeerAssociation(archive, HERE, port)
    await handler.associate(request())
    await handler.handle(Operation(ECHO, CommandSet(CommandField.C_ECHO_RQ, 3), None))
    [(context_id, answer, _)] = port.sent
    assert (context_id, answer.command_field, answer.message_id_responded_to) == (1, CommandField.C_ECHO_RSP, 3)
    assert answer.status == Status.SUCCESS


@pytest.mark.parametrize("field", [CommandField.N_GET_RQ, CommandField.N_SET_RQ, CommandField.N_DELETE_RQ])
async def test_an_operation_that_we_do_not_have_is_told_so(archive: Archive, field: CommandField) -> None:
    port = FakePort()
    handler = PeerAssociation(archive, HERE, port)
    await handler.associate(request())
    await handler.handle(Operation(ECHO, CommandSet(field, 3), None))
    assert port.statuses == [Status.UNRECOGNIZED_OPERATION]
