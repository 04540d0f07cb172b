"""C-GET and C-MOVE as another implementation sees them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelGet,
    PatientRootQueryRetrieveInformationModelMove,
    PatientStudyOnlyQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from corpus.ct import make_ct_series
from fileroom.admin.nodes import Node, add_node
from fileroom.archive.correct import Corrections, add_corrections
from fileroom.archive.retrieve import Selection, StoredInstance, list_instances
from fileroom.archive.services import Archive
from fileroom.archive.suboperations import plan_associations
from fileroom.dicom import uids
from fileroom.dicom.correction import AttributeCorrection
from stored_objects import make_file, store_file
from unit.scp.conftest import Peer

EXPLICIT, IMPLICIT = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN
STUDY_GET, PATIENT_GET = StudyRootQueryRetrieveInformationModelGet, PatientRootQueryRetrieveInformationModelGet
STUDY_MOVE, PATIENT_MOVE = StudyRootQueryRetrieveInformationModelMove, PatientRootQueryRetrieveInformationModelMove
JPEG = (uids.JPEG_BASELINE, uids.JPEG_LOSSLESS)
Responses = list[tuple[Dataset, Dataset | None]]


def keys(level: str, **attributes: Any) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in attributes.items():
        setattr(identifier, keyword, value)
    return identifier


async def get(
    port: int, model: str, identifier: Dataset, syntaxes: list[str] | None = None, answer: int = 0
) -> tuple[Responses, list[Dataset]]:
    """All responses to a C-GET, and the objects that came."""
    received: list[Dataset] = []

    def handle(event: evt.Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        received.append(dataset)
        return answer

    def run() -> Responses:
        entity = AE(ae_title="TESTER")
        entity.add_requested_context(model)
        entity.add_requested_context(CTImageStorage, syntaxes or [EXPLICIT])
        role = build_role(CTImageStorage, scp_role=True)
        association = entity.associate(
            "127.0.0.1", port, ext_neg=[role], ae_title="FILEROOM", evt_handlers=[(evt.EVT_C_STORE, handle)]
        )
        assert association.is_established
        responses = list(association.send_c_get(identifier, model))
        association.release()
        return responses

    return await asyncio.to_thread(run), received


async def move(port: int, model: str, identifier: Dataset, destination: str = "PEER") -> Responses:
    def run() -> Responses:
        entity = AE(ae_title="TESTER")
        entity.add_requested_context(model)
        association = entity.associate("127.0.0.1", port, ae_title="FILEROOM")
        assert association.is_established
        responses = list(association.send_c_move(identifier, destination, model, msg_id=77))
        association.release()
        return responses

    return await asyncio.to_thread(run)


def counts(response: Dataset) -> tuple[int, int, int, int]:
    """Status, completed, failed, warning."""
    return (
        response.Status,
        response.NumberOfCompletedSuboperations,
        response.NumberOfFailedSuboperations,
        response.NumberOfWarningSuboperations,
    )


async def store_series(archive: Archive, count: int = 3) -> list[Dataset]:
    files = make_ct_series(None, count, 16)
    for file in files:
        await store_file(archive, file)
    return [pydicom.dcmread(io.BytesIO(file)) for file in files]


async def test_a_study_comes_back_as_it_was_sent(archive: Archive, dicom_port: int) -> None:
    sent = await store_series(archive)
    responses, received = await get(dicom_port, STUDY_GET, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert received == sent
    first, last = responses[0][0], responses[-1][0]
    assert (first.Status, first.NumberOfRemainingSuboperations) == (0xFF00, 3)
    assert counts(last) == (0x0000, 3, 0, 0)
    assert "NumberOfRemainingSuboperations" not in last


@pytest.mark.parametrize(
    ("model", "level", "attributes", "found"),
    [
        (PATIENT_GET, "PATIENT", {"PatientID": "P1"}, 4),
        (PATIENT_GET, "STUDY", {"PatientID": "P1", "StudyInstanceUID": "1"}, 3),
        (PATIENT_GET, "STUDY", {"StudyInstanceUID": ["1", "2"]}, 4),
        (PATIENT_GET, "STUDY", {"PatientID": "P2", "StudyInstanceUID": "1"}, 0),
        (STUDY_GET, "SERIES", {"StudyInstanceUID": "1", "SeriesInstanceUID": ["1.1", "1.2"]}, 3),
        (STUDY_GET, "SERIES", {"SeriesInstanceUID": "1.2"}, 1),
        (STUDY_GET, "IMAGE", {"StudyInstanceUID": "1", "SeriesInstanceUID": "1.1", "SOPInstanceUID": "1.1.2"}, 1),
        (STUDY_GET, "IMAGE", {"SOPInstanceUID": ["1.1.1", "1.1.2", "2.1.1"]}, 3),
        (STUDY_GET, "STUDY", {"StudyInstanceUID": "1", "PatientID": "IGNORED"}, 3),
        (PatientStudyOnlyQueryRetrieveInformationModelGet, "STUDY", {"PatientID": "P1", "StudyInstanceUID": "2"}, 1),
    ],
)
async def test_every_level_and_lists_of_uids(
    archive: Archive, dicom_port: int, model: str, level: str, attributes: dict[str, Any], found: int
) -> None:
    for uid in ("1.1.1", "1.1.2", "1.2.1", "2.1.1"):
        study, series, _ = uid.split(".")
        file = make_file(StudyInstanceUID=study, SeriesInstanceUID=f"{study}.{series}", SOPInstanceUID=uid)
        await store_file(archive, file)
    responses, received = await get(dicom_port, model, keys(level, **attributes))
    assert len(received) == found
    assert counts(responses[-1][0]) == (0x0000, found, 0, 0)


@pytest.mark.parametrize(
    ("model", "identifier"),
    [
        (STUDY_GET, keys("PATIENT", PatientID="P1")),
        (STUDY_GET, keys("STUDY")),
        (STUDY_GET, keys("NONSENSE", StudyInstanceUID="1")),
        (STUDY_GET, keys("SERIES", StudyInstanceUID="1")),
        (PatientStudyOnlyQueryRetrieveInformationModelGet, keys("SERIES", SeriesInstanceUID="1.1")),
    ],
)
async def test_a_wrong_identifier_is_refused(
    archive: Archive, dicom_port: int, model: str, identifier: Dataset
) -> None:
    responses, received = await get(dicom_port, model, identifier)
    assert [response.Status for response, _ in responses] == [0xA900]
    assert received == []


async def test_the_peer_gets_another_transfer_syntax_only_if_it_must(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file(EXPLICIT))
    identifier = keys("STUDY", StudyInstanceUID="1.2.3.1")
    for syntax in (EXPLICIT, IMPLICIT):
        _, [received] = await get(dicom_port, STUDY_GET, identifier, [syntax])
        assert received.file_meta.TransferSyntaxUID == syntax
        assert received.PixelData == b"\1\2\3\4\5\6\7\x08"


async def test_what_the_peer_does_not_take_fails_and_is_listed(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    mr = make_file(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", SOPInstanceUID="9", InstanceNumber=2)
    await store_file(archive, mr)
    responses, received = await get(dicom_port, STUDY_GET, keys("STUDY", StudyInstanceUID="1.2.3.1"))
    assert len(received) == 1
    last, failed = responses[-1]
    assert counts(last) == (0xB000, 1, 1, 0)
    assert failed is not None
    assert failed.FailedSOPInstanceUIDList == "9"


async def test_warnings_and_failures_of_the_peer_are_counted(archive: Archive, dicom_port: int) -> None:
    sent = await store_series(archive, 2)
    identifier = keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID)
    warned, _ = await get(dicom_port, STUDY_GET, identifier, answer=0xB007)
    assert counts(warned[-1][0]) == (0xB000, 0, 0, 2)
    failed, _ = await get(dicom_port, STUDY_GET, identifier, answer=0xA700)
    assert counts(failed[-1][0]) == (0xA702, 0, 2, 0)
    assert len(failed[-1][1].FailedSOPInstanceUIDList) == 2  # type: ignore[union-attr]


async def test_a_lost_file_fails_alone(archive: Archive, dicom_port: int) -> None:
    sent = await store_series(archive)
    instances = await list_instances(archive, Selection(study_uids=(sent[0].StudyInstanceUID,)))
    await archive.store.delete(instances[1].storage_key)
    responses, received = await get(dicom_port, STUDY_GET, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert received == [sent[0], sent[2]]
    assert counts(responses[-1][0]) == (0xB000, 2, 1, 0)
    assert responses[-1][1].FailedSOPInstanceUIDList == sent[1].SOPInstanceUID  # type: ignore[union-attr]


async def test_corrections_are_laid_over(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    name = AttributeCorrection((0x00100010,), "PN", ("ROE^RICHARD",))
    await add_corrections(archive, Corrections("1.2.3.1", (name,), "wrong patient", "anna"))
    _, [received] = await get(dicom_port, STUDY_GET, keys("STUDY", StudyInstanceUID="1.2.3.1"))
    assert received.PatientName == "ROE^RICHARD"


async def test_a_cancelled_get_ends_with_what_remains(archive: Archive, dicom_port: int) -> None:
    sent = await store_series(archive, 20)
    identifier = keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID)

    def run() -> list[Dataset]:
        entity = AE(ae_title="TESTER")
        entity.add_requested_context(STUDY_GET)
        entity.add_requested_context(CTImageStorage, [EXPLICIT])
        handlers = [(evt.EVT_C_STORE, lambda event: cancel(event.assoc))]
        association = entity.associate(
            "127.0.0.1",
            dicom_port,
            ae_title="FILEROOM",
            ext_neg=[build_role(CTImageStorage, scp_role=True)],
            evt_handlers=handlers,
        )
        responses = [status for status, _ in association.send_c_get(identifier, STUDY_GET, msg_id=5)]
        association.release()
        return responses

    def cancel(association: Any) -> int:
        association.send_c_cancel(5, None, STUDY_GET)
        return 0

    last = (await asyncio.to_thread(run))[-1]
    assert last.Status == 0xFE00
    assert last.NumberOfRemainingSuboperations + last.NumberOfCompletedSuboperations == 20
    assert last.NumberOfRemainingSuboperations > 0


# --- C-MOVE ---


async def test_move_sends_to_the_node_and_names_who_asked(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port))
    sent = await store_series(archive)
    responses = await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert peer.stored == sent
    assert counts(responses[-1][0]) == (0x0000, 3, 0, 0)
    assert set(peer.originators) == {("TESTER", 77)}
    assert set(peer.calling_aets) == {"FILEROOM"}


async def test_move_to_an_unknown_node_is_refused(archive: Archive, dicom_port: int) -> None:
    await store_file(archive, make_file())
    [(response, _)] = await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID="1.2.3.1"), "NOWHERE")
    assert response.Status == 0xA801
    assert "NOWHERE" in response.ErrorComment


async def test_move_of_nothing_succeeds_without_calling_the_node(archive: Archive, dicom_port: int) -> None:
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", 1))
    [(response, _)] = await move(dicom_port, PATIENT_MOVE, keys("PATIENT", PatientID="NOBODY"))
    assert counts(response) == (0x0000, 0, 0, 0)


async def test_move_to_a_node_that_is_down_fails_for_every_object(archive: Archive, dicom_port: int) -> None:
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", 1))
    sent = await store_series(archive, 2)
    responses = await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    last, failed = responses[-1]
    assert counts(last) == (0xA702, 0, 2, 0)
    assert failed is not None
    assert list(failed.FailedSOPInstanceUIDList) == [image.SOPInstanceUID for image in sent]


async def test_an_object_that_breaks_the_nodes_association_fails_alone(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port))
    sent = await store_series(archive, 5)
    peer.breaks_at = frozenset({sent[1].SOPInstanceUID, sent[4].SOPInstanceUID})
    responses = await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    last, failed = responses[-1]
    assert counts(last) == (0xB000, 3, 2, 0)
    assert failed is not None
    assert set(failed.FailedSOPInstanceUIDList) == set(peer.breaks_at)
    assert peer.stored == [sent[0], sent[2], sent[3]]


async def test_a_node_that_breaks_every_association_is_not_called_for_ever(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port))
    sent = await store_series(archive, 6)
    peer.breaks_at = frozenset(image.SOPInstanceUID for image in sent)
    responses = await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert counts(responses[-1][0]) == (0xA702, 0, 6, 0)
    assert peer.stored == []


async def test_move_reencodes_for_a_node_that_takes_implicit_only(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer(IMPLICIT)
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port))
    sent = await store_series(archive, 1)
    await move(dicom_port, STUDY_MOVE, keys("STUDY", StudyInstanceUID=sent[0].StudyInstanceUID))
    assert peer.stored[0].file_meta.TransferSyntaxUID == IMPLICIT
    assert peer.stored[0].PixelData == sent[0].PixelData


async def test_move_sends_compressed_objects_as_stored_or_decoded_as_the_node_needs(
    archive: Archive, dicom_port: int, start_peer: Callable[..., Peer]
) -> None:
    path = get_testdata_file("MR_small_RLE.dcm", download=False)
    assert isinstance(path, str)
    sent = pydicom.dcmread(path)
    await store_file(archive, Path(path).read_bytes())
    identifier = keys("STUDY", StudyInstanceUID=sent.StudyInstanceUID)
    modern, old = start_peer(EXPLICIT, uids.RLE_LOSSLESS), start_peer(IMPLICIT)
    await add_node(archive.pool, Node("modern", "MODERN", "127.0.0.1", modern.port))
    await add_node(archive.pool, Node("old", "OLD", "127.0.0.1", old.port))
    for destination, peer, syntax in (("MODERN", modern, uids.RLE_LOSSLESS), ("OLD", old, IMPLICIT)):
        responses = await move(dicom_port, STUDY_MOVE, identifier, destination)
        assert counts(responses[-1][0]) == (0x0000, 1, 0, 0)
        assert peer.stored[0].file_meta.TransferSyntaxUID == syntax
        assert (peer.stored[0].pixel_array == sent.pixel_array).all()


def test_no_association_needs_more_contexts_than_it_can_have() -> None:
    def instance(number: int) -> StoredInstance:
        uid = str(number)
        return StoredInstance("1", "2", uid, f"9.{number % 90}", JPEG[number % 2], "", 1, 0, 0, 1, 1, 1, 1, "CT")

    instances = [instance(number) for number in range(1000)]
    plans = list(plan_associations(instances))
    assert len(plans) > 1
    assert sorted(i.sop_instance_uid for plan in plans for i in plan.instances) == sorted(map(str, range(1000)))
    for plan in plans:
        assert len(plan.contexts) <= 128
        offered = {(c.abstract_syntax, c.transfer_syntaxes) for c in plan.contexts}
        for each in plan.instances:
            assert (each.sop_class_uid, (each.transfer_syntax_uid,)) in offered
            assert (each.sop_class_uid, (EXPLICIT, IMPLICIT)) in offered
