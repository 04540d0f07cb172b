"""What nodes are told: performed steps that are forwarded, and available instances; pynetdicom as the node."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep

from fileroom.admin.node_fields import USUAL_ROLES, Node
from fileroom.admin.nodes import add_node, change_node, get_node, set_enabled
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.core.errors import NotFoundError
from fileroom.core.settings import Settings
from fileroom.worklist import node_notices
from fileroom.worklist.availability import tell_availability
from fileroom.worklist.matching import match_due
from fileroom.worklist.node_notices import cancel_notice, list_notices, resend_notice, send_notices
from stored_objects import make_file, store_file
from unit.scp.test_performed_step import UID, begun, over, states, tell
from worklist_rows import add_step


@dataclass
class Listener:
    """A RIS that is told of performed steps and of available instances."""

    port: int = 0
    status: int = 0
    created: list[tuple[str, Dataset]] = field(default_factory=list)
    changed: list[tuple[str, Dataset]] = field(default_factory=list)

    def create(self, event: evt.Event) -> tuple[int, Dataset | None]:
        if self.status == 0:
            self.created.append((str(event.request.AffectedSOPInstanceUID), event.attribute_list))
        return self.status, None

    def change(self, event: evt.Event) -> tuple[int, Dataset | None]:
        self.changed.append((str(event.request.RequestedSOPInstanceUID), event.modification_list))
        return 0, None


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    entity = AE(ae_title="RIS")
    entity.add_supported_context(ModalityPerformedProcedureStep)
    entity.add_supported_context(InstanceAvailabilityNotification)
    handlers = [(evt.EVT_N_CREATE, made.create), (evt.EVT_N_SET, made.change)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    made.port = server.server_address[1]
    yield made
    server.shutdown()


@pytest.fixture(autouse=True)
def _as_system() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


async def know(archive: Archive, listener: Listener, *roles: str, name: str = "RIS") -> None:
    await add_node(archive.pool, Node(name, name, "127.0.0.1", listener.port, roles=tuple(roles)))


async def send_all(archive: Archive) -> None:
    while await send_notices(archive):
        pass


async def test_a_performed_step_is_forwarded_in_order_as_it_was_told(
    archive: Archive, dicom_port: int, listener: Listener
) -> None:
    await know(archive, listener, "performed")
    await tell(dicom_port, ("create", begun()), ("set", over()))
    await send_all(archive)
    [(uid, created)], [(again, changed)] = listener.created, listener.changed
    assert uid == again == UID
    assert str(created.PatientName) == "Müller^Jörg"
    assert created.ScheduledStepAttributesSequence[0].AccessionNumber == "A1"
    assert created.PerformedProcedureStepStatus == "IN PROGRESS"
    assert changed.PerformedProcedureStepStatus == "COMPLETED"
    assert len(changed.PerformedSeriesSequence[0].ReferencedImageSequence) == 2
    assert "PatientName" not in changed  # An N-SET must not name it (PS3.4 F.7.2-1)
    assert [one.state for one in await list_notices(archive)] == ["sent", "sent"]


async def test_only_who_has_the_role_is_told(archive: Archive, dicom_port: int, listener: Listener) -> None:
    await know(archive, listener, *USUAL_ROLES)
    await tell(dicom_port, ("create", begun()))
    assert await list_notices(archive) == []


async def test_the_sender_does_not_hear_its_own_step(archive: Archive, dicom_port: int, listener: Listener) -> None:
    await know(archive, listener, "send", "performed", name="CT1")
    await tell(dicom_port, ("create", begun()))
    assert await list_notices(archive) == []


async def test_a_node_that_is_away_is_told_later_and_in_order(
    archive: Archive, dicom_port: int, listener: Listener
) -> None:
    await know(archive, listener, "performed")
    there = await get_node(archive.pool, "RIS")
    await change_node(archive.pool, "RIS", replace(there, port=9))
    await tell(dicom_port, ("create", begun()), ("set", over()))
    await send_all(archive)
    newest, first = await list_notices(archive, "RIS")
    assert (first.state, first.attempts, newest.attempts) == ("waiting", 1, 0)
    assert "RIS" in first.reason
    await change_node(archive.pool, "RIS", replace(await get_node(archive.pool, "RIS"), port=listener.port))
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE node_notice SET next_try_at = now() - interval '1 minute'")
    await send_all(archive)
    assert ([uid for uid, _ in listener.created], [uid for uid, _ in listener.changed]) == ([UID], [UID])


async def test_a_step_that_is_known_there_already_counts_as_told(
    archive: Archive, dicom_port: int, listener: Listener
) -> None:
    await know(archive, listener, "performed")
    listener.status = 0x0111
    await tell(dicom_port, ("create", begun()))
    await send_all(archive)
    assert [one.state for one in await list_notices(archive)] == ["sent"]


async def test_what_a_node_refuses_is_given_up_with_the_reason_and_can_be_sent_again(
    archive: Archive, dicom_port: int, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_notices, "ATTEMPTS_MAX", 1)
    await know(archive, listener, "performed")
    listener.status = 0x0110
    await tell(dicom_port, ("create", begun()))
    await send_all(archive)
    [dead] = await list_notices(archive, states=("dead",))
    assert "0110H" in dead.reason
    listener.status = 0
    await resend_notice(archive, dead.id)
    await send_all(archive)
    assert [uid for uid, _ in listener.created] == [UID]
    with pytest.raises(NotFoundError):
        await resend_notice(archive, dead.id)


async def test_a_notice_that_waits_can_be_cancelled(archive: Archive, dicom_port: int, listener: Listener) -> None:
    await know(archive, listener, "performed")
    await set_enabled(archive.pool, "RIS", enabled=True)
    await tell(dicom_port, ("create", begun()))
    [waiting] = await list_notices(archive)
    await cancel_notice(archive, waiting.id)
    await send_all(archive)
    assert listener.created == []


async def test_instances_are_told_when_their_study_is_quiet_and_again_when_it_grows(
    archive: Archive, dicom_port: int, listener: Listener
) -> None:
    quiet = replace(archive, settings=Settings(**archive.settings.model_dump() | {"routing_stable_s": 1}))
    await know(archive, listener, "availability")
    assert await tell_availability(archive) == 0  # From now on.
    await tell(dicom_port, ("create", begun(("1.2.3", "S1", "A1"))))
    for number in range(2):
        await store_file(archive, make_file(SOPInstanceUID=f"1.2.3.1.{number}", StudyInstanceUID="1.2.3"))

    async def until_told() -> None:
        async with asyncio.timeout(60):
            while not await tell_availability(quiet):
                await asyncio.sleep(0.05)
        await send_all(archive)

    await until_told()
    [(_, first)] = listener.created
    assert first.StudyInstanceUID == "1.2.3"
    assert first.ReferencedPerformedProcedureStepSequence[0].ReferencedSOPInstanceUID == UID
    [series] = first.ReferencedSeriesSequence
    named = {one.ReferencedSOPInstanceUID: one for one in series.ReferencedSOPSequence}
    assert named.keys() == {"1.2.3.1.0", "1.2.3.1.1"}
    assert {(one.InstanceAvailability, one.RetrieveAETitle) for one in named.values()} == {("ONLINE", "FILEROOM")}
    assert await tell_availability(quiet) == 0
    await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.9", StudyInstanceUID="1.2.3"))
    await until_told()
    assert len(listener.created[1][1].ReferencedSeriesSequence[0].ReferencedSOPSequence) == 3


async def test_a_performed_step_meets_its_order_when_that_comes(archive: Archive, dicom_port: int) -> None:
    await tell(dicom_port, ("create", begun()), ("set", over()))
    await add_step(archive, 1)
    await match_due(archive)
    assert await states(archive) == ["completed", "completed"]


async def test_a_step_of_no_known_order_is_in_the_audit_trail(archive: Archive, dicom_port: int) -> None:
    await tell(dicom_port, ("create", begun()))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT count(*) FROM audit_event WHERE message::text LIKE %s", (f"%{UID}%",)
        )
        assert (await cursor.fetchone()) == (1,)
