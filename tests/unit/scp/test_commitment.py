"""Storage commitment: asked by N-ACTION, answered by N-EVENT-REPORT here or later, through restarts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from fileroom.admin.nodes import Node, add_node
from fileroom.archive import commitment
from fileroom.archive.services import Archive
from fileroom.scp.commitment import deliver_due
from stored_objects import CT, make_file, store_file
from unit.scp.conftest import Peer

MR = "1.2.840.10008.5.1.4.1.1.4"
SOP = "1.2.3.1.1.1"


def request(*items: tuple[str, str], transaction: str = "1.9.9") -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = transaction
    dataset.ReferencedSOPSequence = []
    for sop_class, sop_instance in items:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_instance
        dataset.ReferencedSOPSequence.append(item)
    return dataset


async def ask(
    port: int, dataset: Dataset, *, wait: bool = True, answer: int = 0, instance: str | None = None, action: int = 1
) -> tuple[int, list[tuple[int, Dataset]]]:
    """The status of the N-ACTION, and the reports that came on the same association."""
    reports: list[tuple[int, Dataset]] = []
    came = threading.Event()

    def handle(event: evt.Event) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        return answer, None

    def note_answer(event: evt.Event) -> None:
        if type(event.message).__name__ == "N_EVENT_REPORT_RSP":
            came.set()

    def run() -> int:
        entity = AE(ae_title="MODALITY")
        entity.add_requested_context(StorageCommitmentPushModel)
        handlers = [(evt.EVT_N_EVENT_REPORT, handle), (evt.EVT_DIMSE_SENT, note_answer)]
        association = entity.associate("127.0.0.1", port, ae_title="FILEROOM", evt_handlers=handlers)
        uid = instance or StorageCommitmentPushModelInstance
        status, _ = association.send_n_action(dataset, action, StorageCommitmentPushModel, uid)
        if wait and status.Status == 0:
            came.wait(10)
        association.release() if wait else association.abort()
        return int(status.Status)

    return await asyncio.to_thread(run), reports


async def rows(archive: Archive, columns: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(f"SELECT {columns} FROM commitment".encode())).fetchall()


async def make_due(archive: Archive) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE commitment SET next_attempt_at = now() WHERE state = 'pending'")


async def until_delivered(archive: Archive) -> None:
    """The row is settled a moment after the requester has answered."""
    async with asyncio.timeout(5):
        while await rows(archive, "state") != [("delivered",)]:
            await asyncio.sleep(0)


async def test_what_is_stored_is_committed_on_the_same_association(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    status, [(event, result)] = await ask(dicom_port, request((CT, SOP)))
    assert (status, event) == (0, 1)
    assert result.TransactionUID == "1.9.9"
    assert result.RetrieveAETitle == "FILEROOM"
    assert [item.ReferencedSOPInstanceUID for item in result.ReferencedSOPSequence] == [SOP]
    assert "FailedSOPSequence" not in result
    await until_delivered(archive)


async def test_what_is_missing_or_another_class_or_lost_on_the_disk_is_not(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.2"))
    lost = await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.3"))
    cut = await store_file(archive, make_file(SOPInstanceUID="1.2.3.1.1.4"))
    await archive.store.delete(lost.storage_key)
    path = archive.store.path(cut.storage_key)
    assert path is not None
    path.write_bytes(b"cut")
    items = [(CT, SOP), (MR, "1.2.3.1.1.2"), (CT, "1.2.3.1.1.3"), (CT, "1.2.3.1.1.4"), (CT, "1.2.99")]
    _, [(event, result)] = await ask(dicom_port, request(*items))
    assert event == 2
    assert [item.ReferencedSOPInstanceUID for item in result.ReferencedSOPSequence] == [SOP]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in result.FailedSOPSequence}
    assert failed == {"1.2.3.1.1.2": 0x0119, "1.2.3.1.1.3": 0x0112, "1.2.3.1.1.4": 0x0112, "1.2.99": 0x0112}


async def test_the_result_follows_on_a_new_association_when_the_requester_has_left(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("modality", "MODALITY", "127.0.0.1", peer.port))
    await store_file(archive, make_file())
    # A requester that answers the report with a failure counts as one that has not got it.
    await ask(dicom_port, request((CT, SOP)), answer=0x0110)
    await make_due(archive)
    assert await deliver_due(archive) == 1
    [(event, result)] = peer.reports
    assert (event, result.TransactionUID) == (1, "1.9.9")
    assert await rows(archive, "state, attempts") == [("delivered", 1)]
    assert await deliver_due(archive) == 0


async def test_the_result_is_due_at_once_when_the_association_ends_before_it(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check_for_ever(*_: object) -> None:
        await asyncio.Event().wait()

    peer = start_peer()
    await add_node(archive.pool, Node("modality", "MODALITY", "127.0.0.1", peer.port))
    await store_file(archive, make_file())
    monkeypatch.setattr(commitment, "check_items", check_for_ever)
    await ask(dicom_port, request((CT, SOP)), wait=False)
    async with asyncio.timeout(commitment.SAME_ASSOCIATION_S / 2):
        while await rows(archive, "state, attempts, next_attempt_at <= now()") != [("pending", 0, True)]:
            await asyncio.sleep(0)
    monkeypatch.undo()
    assert await deliver_due(archive) == 1
    assert [event for event, _ in peer.reports] == [1]


async def test_a_requester_that_leaves_as_soon_as_it_has_the_result_is_not_told_again(
    archive: Archive, dicom_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = commitment.delivered, 0

    async def slow_at_first(archive: Archive, row_id: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.Event().wait()  # until the association ends
        await real(archive, row_id)

    monkeypatch.setattr(commitment, "delivered", slow_at_first)
    await store_file(archive, make_file())
    _, reports = await ask(dicom_port, request((CT, SOP)))
    await until_delivered(archive)
    assert (calls, len(reports)) == (2, 1)


async def test_a_requester_that_cannot_be_reached_is_tried_again_soon_then_later(
    archive: Archive, dicom_port: int
) -> None:
    await store_file(archive, make_file())
    await ask(dicom_port, request((CT, SOP)), answer=0x0110)
    for attempts, (soonest_s, latest_s) in ((1, (1, 6)), (2, (50, 70)), (3, (100, 140))):
        await make_due(archive)
        assert await deliver_due(archive) == 1
        pause = "extract(epoch FROM next_attempt_at - now())::float"
        [(state, tried, error, pause_s)] = await rows(archive, f"state, attempts, last_error, {pause}")
        assert (state, tried) == ("pending", attempts)
        assert "fileroom node add" in error
        assert soonest_s < pause_s < latest_s
        assert await deliver_due(archive) == 0


async def test_after_a_day_the_result_is_given_up(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    await ask(dicom_port, request((CT, SOP)), answer=0x0110)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE commitment SET requested_at = now() - interval '25 hours'")
    await make_due(archive)
    await deliver_due(archive)
    assert await rows(archive, "state, finished_at IS NOT NULL") == [("failed", True)]


@pytest.mark.parametrize(
    ("dataset", "options", "status"),
    [
        (request((CT, SOP)), {"instance": "1.2.3"}, 0x0112),
        (request((CT, SOP)), {"action": 2}, 0x0123),
        (request(), {}, 0x0115),
        (request((CT, SOP), transaction=""), {}, 0x0115),
    ],
)
async def test_wrong_requests_are_refused_and_not_kept(
    archive: Archive, dicom_port: int, dataset: Dataset, options: dict[str, Any], status: int
) -> None:
    assert (await ask(dicom_port, dataset, **options))[0] == status
    assert await rows(archive, "*") == []
