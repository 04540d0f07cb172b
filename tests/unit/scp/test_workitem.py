"""Unified Procedure Steps, asked by pynetdicom as Push, Pull, Watch and Query SCU, told to pynetdicom as Event SCU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from fileroom.admin.nodes import Node, add_node
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from fileroom.scp.workitem_events import tell_due
from fileroom.worklist.workitem_rules import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from workitem_models import TRANSACTION, UID, performed, progress, workitem

PUSH, PULL, WATCH = UnifiedProcedureStepPush, UnifiedProcedureStepPull, UnifiedProcedureStepWatch
QUERY = UnifiedProcedureStepQuery


async def talk(port: int, work: Callable[[Association], Any]) -> Any:
    """What `work` finds on an association with all SOP classes."""

    def run() -> Any:
        entity = AE(ae_title="ALGO1")
        for sop_class in (PUSH, PULL, WATCH, QUERY):
            entity.add_requested_context(sop_class)
        association = entity.associate("127.0.0.1", port, ae_title="FILEROOM")
        assert association.is_established
        assert len(association.accepted_contexts) == 4
        try:
            return work(association)
        finally:
            association.release()

    return await asyncio.to_thread(run)


def create(association: Association, uid: str = UID, **values: Any) -> Dataset:
    status, _ = association.send_n_create(workitem(**values), PUSH, uid)
    return status


def put(association: Association, change: Dataset, key: str = TRANSACTION, uid: str = UID) -> Dataset:
    if key:
        change.TransactionUID = key
    status, _ = association.send_n_set(change, PUSH, uid, meta_uid=PULL)
    return status


def state(association: Association, wanted: str, key: str = TRANSACTION, uid: str = UID) -> int:
    information = Dataset()
    information.ProcedureStepState, information.TransactionUID = wanted, key
    status, _ = association.send_n_action(information, 1, PUSH, uid, meta_uid=PULL)
    return int(status.Status)


def cancel(association: Association, uid: str = UID, sop_class: Any = WATCH) -> int:
    information = Dataset()
    information.ReasonForCancellation, information.ContactDisplayName = "Wrong patient", "Ute"
    status, _ = association.send_n_action(information, 2, PUSH, uid, meta_uid=sop_class)
    return int(status.Status)


def watch(
    association: Association, action: int, uid: str, aet: str = "ALGO1", *, lock: str = "FALSE", **keys: Any
) -> int:
    information = Dataset()
    information.ReceivingAE = aet
    if action == 3:
        information.DeletionLock = lock
    for keyword, value in keys.items():
        setattr(information, keyword, value)
    status, _ = association.send_n_action(information, action, PUSH, uid, meta_uid=WATCH)
    return int(status.Status)


def get(association: Association, tags: list[int] | None = None, uid: str = UID, sop_class: Any = PULL) -> Any:
    return association.send_n_get(tags or [], PUSH, uid, meta_uid=sop_class)


def find(association: Association, sop_class: Any = QUERY, **keys: Any) -> list[tuple[int, Dataset | None]]:
    identifier = Dataset()
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return [(status.Status, answer) for status, answer in association.send_c_find(identifier, sop_class)]


async def test_a_step_is_pushed_pulled_and_finished(archive: Archive, dicom_port: int) -> None:
    def work(association: Association) -> list[int]:
        statuses = [
            create(association).Status,
            create(association).Status,
            state(association, "COMPLETED"),
            state(association, "IN PROGRESS", ""),
            state(association, "IN PROGRESS"),
            state(association, "IN PROGRESS"),
            state(association, "SCHEDULED"),
            put(association, progress("50", "halfway"), "1.2.3").Status,
            put(association, progress("50", "halfway")).Status,
            state(association, "COMPLETED"),
            put(association, performed()).Status,
            state(association, "COMPLETED", "1.2.3"),
            state(association, "COMPLETED"),
            state(association, "COMPLETED"),
            state(association, "CANCELED"),
            put(association, performed()).Status,
            cancel(association),
        ]
        status, shown = get(association)
        assert status.Status == 0x0000
        assert (shown.PatientName, shown.ProcedureStepState) == ("Müller^Jörg", "COMPLETED")
        assert shown.SOPClassUID == PUSH
        assert "TransactionUID" not in shown
        assert shown.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 50
        return [int(one) for one in statuses]

    assert await talk(dicom_port, work) == [
        *(0x0000, 0x0111, 0xC310, 0xC301, 0x0000, 0xC302, 0xC303, 0xC301, 0x0000, 0xC304, 0x0000, 0xC301),
        *(0x0000, 0xB306, 0xC300, 0xC300, 0xC311),
    ]


async def test_what_is_refused(dicom_port: int) -> None:
    def work(association: Association) -> None:
        assert create(association, ProcedureStepState="IN PROGRESS").Status == 0xC309
        missing = create(association, ProcedureStepLabel=None)
        assert (missing.Status, "(0074,1204)" in missing.ErrorComment) == (0x0120, True)
        assert create(association, InputReadinessState="").Status == 0x0121
        assert create(association, WorklistLabel=None).Status == 0xB300
        assert state(association, "IN PROGRESS", uid="1.2.3.9") == 0xC307
        assert cancel(association, "1.2.3.9") == 0xC307
        assert put(association, progress("1"), uid="1.2.3.9").Status == 0xC307
        assert get(association, uid="1.2.3.9")[0].Status == 0xC307
        assert watch(association, 3, UID) == 0xC308  # no node of that title
        status, _ = association.send_n_action(progress("1"), 9, PUSH, UID, meta_uid=WATCH)
        assert status.Status == 0x0123
        status, _ = association.send_n_set(progress("1"), PUSH, UID)  # Push has no N-SET
        assert status.Status == 0x0211

    await talk(dicom_port, work)


async def test_searching_on_every_class(dicom_port: int) -> None:
    request = Dataset()
    request.AccessionNumber, request.StudyInstanceUID = "A1", ""

    def work(association: Association) -> None:
        create(association, "1.1")
        create(association, "1.2", PatientName="Schmidt^Ute", ScheduledProcedureStepStartDateTime="20261124")
        for sop_class in (PULL, WATCH, QUERY):
            answers = find(
                association,
                sop_class,
                PatientName="M*",
                SOPInstanceUID="",
                ProcedureStepState="SCHEDULED",
                ScheduledProcedureStepStartDateTime="20261123-20261123235959",
                ReferencedRequestSequence=Sequence([request]),
                TransactionUID="",
                ExpectedCompletionDateTime="",
            )
            assert [status for status, _ in answers] == [0xFF00, 0x0000]
            found = answers[0][1]
            assert found is not None
            assert (found.SOPInstanceUID, found.PatientName) == ("1.1", "Müller^Jörg")
            assert found.ReferencedRequestSequence[0].StudyInstanceUID == "1.2.1"
            assert "RequestedProcedureID" not in found.ReferencedRequestSequence[0]
            assert found.ExpectedCompletionDateTime in ("", None)
            assert "TransactionUID" not in found
        assert len(find(association, QUERY, ProcedureStepState="")) == 3
        assert find(association, QUERY, ScheduledProcedureStepStartDateTime="2026-2027-2028")[0][0] == 0xA900

    await talk(dicom_port, work)


@dataclass
class Watcher:
    """A node that is told of events."""

    port: int = 0
    status: int = 0
    told: list[tuple[str, int, str]] = field(default_factory=list)
    reports: list[Dataset] = field(default_factory=list)

    def handle(self, event: evt.Event) -> tuple[int, None]:
        information = event.event_information
        assert event.request.AffectedSOPClassUID == PUSH
        if not self.status:
            text = str(information.get("ProcedureStepState", ""))
            self.told.append((str(event.request.AffectedSOPInstanceUID), int(event.event_type), text))
            self.reports.append(information)
        return self.status, None


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    found = Watcher()
    entity = AE(ae_title="ALGO1")
    entity.add_supported_context(UnifiedProcedureStepEvent, scu_role=False, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, found.handle)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    found.port = server.server_address[1]
    yield found
    server.shutdown()


async def node(archive: Archive, watcher: Watcher, *roles: str) -> None:
    with acting_as(SYSTEM):
        await add_node(archive.pool, Node("algo", "ALGO1", "127.0.0.1", watcher.port, roles=roles or ("send", "query")))


async def tell(archive: Archive) -> int:
    with acting_as(SYSTEM):
        return await tell_due(archive)


async def test_a_watcher_is_told(archive: Archive, dicom_port: int, watcher: Watcher) -> None:
    await node(archive, watcher)

    def work(association: Association) -> list[int]:
        return [
            create(association).Status,
            watch(association, 3, UID, lock="TRUE"),
            state(association, "IN PROGRESS"),
            put(association, progress("50", "halfway")).Status,
            cancel(association, sop_class=PUSH),
            watch(association, 5, UID),
        ]

    assert await talk(dicom_port, work) == [0, 0, 0, 0, 0, 0xC314]
    assert await tell(archive) == 1
    assert watcher.told == [(UID, 1, "SCHEDULED"), (UID, 1, "IN PROGRESS"), (UID, 3, ""), (UID, 2, "")]
    assert watcher.reports[2].ProcedureStepProgressInformationSequence[0].ProcedureStepProgressDescription == "halfway"
    assert (watcher.reports[3].RequestingAE, watcher.reports[3].ReasonForCancellation) == ("ALGO1", "Wrong patient")
    assert await tell(archive) == 0
    assert await talk(dicom_port, lambda association: watch(association, 4, UID)) == 0
    assert await talk(dicom_port, lambda association: put(association, progress("60")).Status) == 0
    assert await tell(archive) == 0


async def test_subscriptions_to_all_and_to_some(archive: Archive, dicom_port: int, watcher: Watcher) -> None:
    await node(archive, watcher)

    def work(association: Association) -> None:
        create(association, "1.1")
        assert watch(association, 3, FILTERED_SUBSCRIPTION) == 0x0115  # without a key
        assert watch(association, 3, FILTERED_SUBSCRIPTION, lock="TRUE", PatientID="P2") == 0
        create(association, "1.2", PatientID="P2")
        create(association, "1.3")

    await talk(dicom_port, work)
    await tell(archive)
    assert watcher.told == [("1.2", 1, "SCHEDULED"), ("1.2", 5, "")]
    await talk(dicom_port, lambda association: watch(association, 3, GLOBAL_SUBSCRIPTION, lock="TRUE"))
    await tell(archive)
    assert watcher.told[2:] == [("1.1", 1, "SCHEDULED"), ("1.3", 1, "SCHEDULED")]
    assert await talk(dicom_port, lambda association: watch(association, 5, GLOBAL_SUBSCRIPTION)) == 0
    await talk(dicom_port, lambda association: create(association, "1.4"))
    assert await tell(archive) == 0
    assert await talk(dicom_port, lambda association: watch(association, 4, GLOBAL_SUBSCRIPTION)) == 0


async def test_what_was_not_taken_is_told_again(archive: Archive, dicom_port: int, watcher: Watcher) -> None:
    await node(archive, watcher)
    watcher.status = 0x0110
    await talk(dicom_port, lambda association: (create(association), watch(association, 3, UID)))
    assert await tell(archive) == 1
    assert await tell(archive) == 0  # not before its time
    async with archive.pool.connection() as connection:
        row = await (await connection.execute(b"SELECT last_error FROM workitem_subscriber")).fetchone()
        assert row is not None
        assert "0110H" in row[0]
        await connection.execute(b"UPDATE workitem_subscriber SET next_attempt_at = now()")
    watcher.status = 0
    assert await tell(archive) == 1
    assert watcher.told == [(UID, 1, "SCHEDULED")]


async def test_the_roles_of_a_node_hold(archive: Archive, dicom_port: int, watcher: Watcher) -> None:
    await node(archive, watcher, "query")

    def work(association: Association) -> list[int]:
        return [
            create(association).Status,
            state(association, "IN PROGRESS"),
            find(association, QUERY, PatientID="")[0][0],
        ]

    assert await talk(dicom_port, work) == [0x0124, 0x0124, 0x0000]
