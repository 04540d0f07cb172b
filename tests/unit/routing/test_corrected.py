"""What is corrected after its delivery goes again, and says what stands now: pynetdicom as the destination."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from fileroom.admin.entries import put_entry
from fileroom.admin.nodes import Node, add_node
from fileroom.archive.arrivals import PlannedDelivery
from fileroom.archive.correct import Corrections, add_corrections, revoke_corrections
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.routing.corrected import CAUSE, resend_corrected
from fileroom.routing.deliveries import DeliveryFilter, list_deliveries
from fileroom.routing.destination_fields import checked_destination
from fileroom.routing.destinations import DESTINATIONS
from fileroom.worklist.exceptions import undo_exception
from fileroom.worklist.matching import match_due
from stored_objects import make_file, store_file
from unit.routing.test_lanes import EXPLICIT_LE, Everything, bring
from unit.worklist.test_matching import images, order

STUDY = "1.2.3.1"
NAME = AttributeCorrection((0x00100010,), "PN", ("ROE^RICHARD",))


@pytest.fixture
def heard() -> Iterator[tuple[list[str], int]]:
    """Names as a Storage SCP has received them, and its port."""
    names: list[str] = []

    def store(event: evt.Event) -> int:
        names.append(str(event.dataset.PatientName))
        return 0

    entity = AE(ae_title="WS1")
    entity.add_supported_context(CTImageStorage, EXPLICIT_LE)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    yield names, server.server_address[1]
    server.shutdown()


async def routed(archive: Archive, port: int, **fields: Any) -> Archive:
    await add_node(archive.pool, Node("WS1", "WS1", "127.0.0.1", port))
    fields = {"kind": "dicom", "target": {"node": "WS1"}, **fields}
    entry = await put_entry(archive.pool, archive.settings, DESTINATIONS, "WS1", fields)
    return dataclasses.replace(archive, arrivals=Everything(PlannedDelivery(entry.id, None)))


async def settled(archive: Archive, seconds: int = 60) -> int:
    """As if the corrections were so old, and what was delivered older still."""
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"UPDATE corrected_study SET corrected_at = corrected_at - make_interval(secs => %s)", (seconds,)
        )
        await connection.execute(
            b"UPDATE delivery SET taken_at = taken_at - interval '10 minutes' WHERE state = 'delivered'"
        )
    return await resend_corrected(archive)


async def test_what_was_delivered_before_it_met_its_order_goes_again_and_again_when_that_is_undone(
    archive: Archive, heard: tuple[list[str], int]
) -> None:
    sender = await routed(archive, heard[1])
    await images(sender)
    await bring(sender)
    assert heard[0] == ["DOE^JANE"]
    await order(sender)
    while await match_due(sender):
        pass
    assert await settled(sender) == 1
    (waiting,) = await list_deliveries(sender, DeliveryFilter())
    assert (waiting.state, waiting.cause, waiting.attempts) == ("waiting", CAUSE, 0)
    await bring(sender)
    await undo_exception(sender, STUDY)
    assert await settled(sender) == 1
    await bring(sender)
    assert heard[0] == ["DOE^JANE", "Doe^Jane", "DOE^JANE"]
    assert await settled(sender) == 0


async def test_corrections_by_hand_go_out_too_and_what_was_never_delivered_is_not_sent(
    archive: Archive, heard: tuple[list[str], int]
) -> None:
    sender = await routed(archive, heard[1])
    await store_file(sender, make_file())
    await bring(sender)
    await store_file(
        archive, make_file(StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1", SOPInstanceUID="1.2.9.1.1")
    )
    for study in (STUDY, "1.2.9"):
        await add_corrections(sender, Corrections(study, (NAME,), "passport seen", "ada"))
    assert await settled(sender) == 2
    await bring(sender)
    assert heard[0] == ["DOE^JANE", "ROE^RICHARD"]


async def test_what_was_sent_after_the_correction_is_not_sent_twice(
    archive: Archive, heard: tuple[list[str], int]
) -> None:
    sender = await routed(archive, heard[1])
    await store_file(sender, make_file())
    ids = await add_corrections(sender, Corrections(STUDY, (NAME,), "passport seen", "ada"))
    await revoke_corrections(sender, ids, actor="ada")
    await bring(sender)
    async with sender.pool.connection() as connection:
        await connection.execute(b"UPDATE corrected_study SET corrected_at = corrected_at - interval '1 hour'")
    assert await resend_corrected(sender) == 1
    await bring(sender)
    assert heard[0] == ["DOE^JANE"]


async def test_a_study_that_a_lane_has_in_hand_waits_for_its_end(
    archive: Archive, heard: tuple[list[str], int]
) -> None:
    sender = await routed(archive, heard[1])
    await store_file(sender, make_file())
    await bring(sender)
    await add_corrections(sender, Corrections(STUDY, (NAME,), "passport seen", "ada"))
    async with sender.pool.connection() as connection:
        await connection.execute(b"UPDATE parcel SET state = 'claimed', claimed_until = now() + interval '1 minute'")
    assert await settled(sender) == 0
    async with sender.pool.connection() as connection:
        await connection.execute(b"UPDATE parcel SET state = 'idle'")
    assert await settled(sender) == 1


@pytest.mark.parametrize(
    ("fields", "again"),
    [
        ({"corrected": "never"}, False),
        ({"kind": "folder", "target": {"path": "outbox"}}, False),
        ({"kind": "folder", "target": {"path": "outbox"}, "corrected": "always"}, True),
    ],
)
async def test_a_destination_says_whether_it_wants_that(archive: Archive, fields: dict[str, Any], again: bool) -> None:
    sender = await routed(archive, 1, **fields)
    await store_file(sender, make_file())
    async with sender.pool.connection() as connection:
        await connection.execute(b"UPDATE delivery SET state = 'delivered', taken_at = now()")
    await add_corrections(sender, Corrections(STUDY, (NAME,), "passport seen", "ada"))
    await settled(sender)
    (row,) = await list_deliveries(sender, DeliveryFilter())
    assert (row.state == "waiting") is again


def test_the_field_has_three_values() -> None:
    fields = {"kind": "dicom", "target": {"node": "WS1"}}
    assert "corrected" not in checked_destination("WS1", {**fields, "corrected": "usual"})
    with pytest.raises(InvalidRequestError):
        checked_destination("WS1", {**fields, "corrected": "sometimes"})
