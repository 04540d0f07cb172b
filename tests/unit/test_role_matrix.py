"""Every address of the web port and every DIMSE service, times every built-in role: let in or refused as the list says."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from starlette.routing import Router

from asking import empty_viewer, is_let_in, name_of, routes_of
from fake_port import FakePort
from fileroom.admin.roles import BUILT_IN, Role
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, SYSTEM, Access, ActorKind, Permission, set_process_access
from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.status import Status
from fileroom.net.association_handler import Operation, PeerAddress
from fileroom.scp.association import SERVICES as SERVED
from fileroom.scp.association import PeerAssociation
from fileroom.ul.items import PresentationContextProposal
from fileroom.ul.negotiation import AcceptedContext
from fileroom.ul.pdu import AssociateRQ
from fileroom.web.app import create_router
from route_permissions import ACCOUNT, EDGE, OPEN, PERSON, ROUTES, SERVICES
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file


@pytest.fixture
def router(archive: Archive, tmp_path: Path) -> Router:
    """All addresses, over an empty archive."""
    folder = tmp_path / "viewer"
    folder.mkdir()
    settings = Settings(viewer_folder=str(empty_viewer(folder)))
    return create_router(dataclasses.replace(archive, settings=settings))


def person(role: Role) -> Access:
    return Access(ActorKind.PERSON, role.name, role.permissions, account_id=1)


def may(needed: Permission | str, access: Access) -> bool:
    if needed == OPEN:
        return True
    if needed == EDGE:
        return False  # nobody in this matrix has such a token; tests/unit/routing/test_edge_link.py has
    if needed == ACCOUNT:
        return access.account_id is not None
    if needed == PERSON:
        return access.kind is ActorKind.PERSON and Permission.STUDY_BREAK_GLASS in access.permissions
    return needed in access.permissions


def test_every_address_and_service_is_listed(router: Router) -> None:
    found = {name_of(*route) for route in routes_of(router)}
    assert sorted(found - ROUTES.keys()) == [], "not in tests/route_permissions.py"
    assert sorted(ROUTES.keys() - found) == [], "listed, but there is no such address"
    assert {*SERVED, CommandField.C_STORE_RQ} == SERVICES.keys()


@pytest.mark.parametrize("role", [*BUILT_IN, "nobody", "system"])
async def test_addresses(router: Router, role: str) -> None:
    access = {"nobody": NOBODY, "system": SYSTEM}.get(role) or person(BUILT_IN[role])
    wrong = []
    for method, path in routes_of(router):
        name = name_of(method, path)
        let_in = await is_let_in(router, method, path, access)
        if name in ROUTES and let_in != may(ROUTES[name], access):
            wrong.append(f"{name} {'lets in' if let_in else 'refuses'} {role}")
    assert wrong == []


def encoded(**elements: Any) -> bytes:
    dataset = Dataset()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return bytes(buffer.getvalue())


def commitment_request() -> bytes:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT, "1.2.3"
    return encoded(TransactionUID="1.2.9", ReferencedSOPSequence=[item])


REQUESTS: dict[CommandField, tuple[str, dict[str, Any], bytes | None]] = {
    CommandField.C_ECHO_RQ: (uids.VERIFICATION, {}, None),
    CommandField.C_FIND_RQ: (uids.STUDY_ROOT_FIND, {}, encoded(QueryRetrieveLevel="STUDY", StudyInstanceUID="")),
    CommandField.C_GET_RQ: (uids.STUDY_ROOT_GET, {}, encoded(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")),
    CommandField.C_MOVE_RQ: (
        uids.STUDY_ROOT_MOVE,
        {"move_destination": "PEER"},
        encoded(QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2"),
    ),
    CommandField.N_ACTION_RQ: (
        uids.STORAGE_COMMITMENT_PUSH,
        {
            "requested_sop_class_uid": uids.STORAGE_COMMITMENT_PUSH,
            "requested_sop_instance_uid": uids.STORAGE_COMMITMENT_PUSH_INSTANCE,
            "action_type_id": 1,
        },
        commitment_request(),
    ),
    CommandField.N_EVENT_REPORT_RQ: (
        uids.STORAGE_COMMITMENT_PUSH,
        {
            "affected_sop_class_uid": uids.STORAGE_COMMITMENT_PUSH,
            "affected_sop_instance_uid": uids.STORAGE_COMMITMENT_PUSH_INSTANCE,
            "event_type_id": 1,
        },
        commitment_request(),
    ),
    CommandField.N_CREATE_RQ: (
        uids.INSTANCE_AVAILABILITY_NOTIFICATION,
        {"affected_sop_class_uid": uids.INSTANCE_AVAILABILITY_NOTIFICATION},
        encoded(StudyInstanceUID="1.2"),
    ),
    CommandField.N_SET_RQ: (
        uids.MODALITY_PERFORMED_PROCEDURE_STEP,
        {
            "requested_sop_class_uid": uids.MODALITY_PERFORMED_PROCEDURE_STEP,
            "requested_sop_instance_uid": "1.2.3",
        },
        encoded(PerformedProcedureStepStatus="COMPLETED"),
    ),
    CommandField.N_GET_RQ: (
        uids.MODALITY_PERFORMED_PROCEDURE_STEP,
        {
            "requested_sop_class_uid": uids.MODALITY_PERFORMED_PROCEDURE_STEP,
            "requested_sop_instance_uid": "1.2.3",
        },
        None,
    ),
}


async def association(archive: Archive, port: FakePort, access: Access) -> PeerAssociation:
    handler = PeerAssociation(archive, PeerAddress("127.0.0.1", 50000), cast(Any, port), lambda _aet, _host: access)
    proposal = PresentationContextProposal(1, uids.VERIFICATION, (uids.IMPLICIT_VR_LITTLE_ENDIAN,))
    await handler.associate(AssociateRQ(called_aet="FILEROOM", calling_aet="CT1", presentation_contexts=(proposal,)))
    return handler


async def status_of(archive: Archive, field: CommandField, access: Access) -> int:
    """The first answer to a request in somebody's name, in a process in which nobody acts."""
    port = FakePort()
    handler = await association(archive, port, access)
    set_process_access(NOBODY)
    if field is CommandField.C_STORE_RQ:
        file = make_file()
        command = CommandSet(
            field, 5, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1.1.1", has_dataset=True
        )
        sink = handler.open_store_sink(AcceptedContext(9, CT, EXPLICIT_LE), command)
        sink.write(memoryview(data_set_of(file)))
        ended = sink.finish()
        if ended is not None:
            await ended
    else:
        sop_class, more, dataset = REQUESTS[field]
        command = CommandSet(field, 5, has_dataset=dataset is not None, **more)
        task = asyncio.create_task(
            handler.handle(Operation(AcceptedContext(9, sop_class, EXPLICIT_LE), command, dataset))
        )
        async with asyncio.timeout(10):
            while not port.sent and not task.done():
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return port.statuses[0]


@pytest.mark.parametrize("role", [*BUILT_IN, "nobody"])
async def test_services(archive: Archive, role: str) -> None:
    access = NOBODY if role == "nobody" else person(BUILT_IN[role])
    wrong = []
    for field, needed in SERVICES.items():
        status = await status_of(archive, field, access)
        if (status != Status.NOT_AUTHORIZED) != may(needed, access):
            wrong.append(f"{field.name} answers {role} {status:04X}")
    assert wrong == []


async def test_what_is_permitted_is_done(archive: Archive) -> None:
    """So that a refusal is not one of everybody."""
    administrator = person(BUILT_IN["administrator"])
    expected = {
        CommandField.C_ECHO_RQ: Status.SUCCESS,
        CommandField.C_FIND_RQ: Status.SUCCESS,
        CommandField.C_GET_RQ: Status.SUCCESS,
        CommandField.C_MOVE_RQ: Status.MOVE_DESTINATION_UNKNOWN,
        CommandField.N_ACTION_RQ: Status.SUCCESS,
        CommandField.C_STORE_RQ: Status.SUCCESS,
    }
    assert {field: await status_of(archive, field, administrator) for field in expected} == expected
