"""Storage Commitment (PS3.4 Annex J): the result on the same association, on a new one, and after a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_role

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import Part10, read_part10
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.processes import free_ports
from acceptance.programs.pynetdicom_peer import (
    STORAGE_COMMITMENT_PUSH,
    STORAGE_COMMITMENT_PUSH_INSTANCE,
    CommitmentListener,
    association,
    commitment_server,
    send_exactly,
)
from corpus.ct import uid_of

RESULT_TIMEOUT_S = 60.0
ALL_SAFE, SOME_ARE_NOT = 1, 2
NO_SUCH_OBJECT_INSTANCE = 0x0112
REQUEST_COMMITMENT = 1
IMPLICIT = "1.2.840.10008.1.2"


def _request(transaction: str, parts: list[Part10]) -> Dataset:
    request = Dataset()
    request.TransactionUID = transaction
    items = []
    for part in parts:
        item = Dataset()
        item.ReferencedSOPClassUID = part.sop_class_uid
        item.ReferencedSOPInstanceUID = part.sop_instance_uid
        items.append(item)
    request.ReferencedSOPSequence = Sequence(items)
    return request


def _ask(port: int, request: Dataset, aet: str, listener: CommitmentListener, wait_s: float | None) -> None:
    """N-ACTION; keeps the association until the result has come, or releases it at once when `wait_s` is None."""
    with association(
        port,
        [(STORAGE_COMMITMENT_PUSH, [IMPLICIT])],
        calling_aet=aet,
        handlers=[listener.handler],
        roles=[build_role(STORAGE_COMMITMENT_PUSH, scu_role=True, scp_role=True)],
    ) as assoc:
        status, _ = assoc.send_n_action(
            request, REQUEST_COMMITMENT, STORAGE_COMMITMENT_PUSH, STORAGE_COMMITMENT_PUSH_INSTANCE
        )
        assert status.Status == 0x0000, status
        if wait_s is not None:
            listener.wait(wait_s)


def _stored(fileroom: Fileroom, files: list[Path]) -> list[Part10]:
    assert {answer.status for answer in send_exactly(fileroom.dicom_port, files)} == {0}
    return [read_part10(path) for path in files]


def test_stored_objects_are_committed_on_the_same_association(
    fileroom: Fileroom, ct_series: SeriesFactory, new_seed: Callable[[], int]
) -> None:
    parts = _stored(fileroom, ct_series(3))
    transaction = uid_of("transaction", new_seed())
    listener = CommitmentListener()
    _ask(fileroom.dicom_port, _request(transaction, parts), "COMMIT1", listener, RESULT_TIMEOUT_S)
    result = listener.wait(0)
    assert result.event_type == ALL_SAFE
    assert result.information.TransactionUID == transaction
    assert {item.ReferencedSOPInstanceUID for item in result.information.ReferencedSOPSequence} == {
        part.sop_instance_uid for part in parts
    }


def test_unknown_objects_are_reported_as_failed(
    fileroom: Fileroom, ct_series: SeriesFactory, new_seed: Callable[[], int]
) -> None:
    stored, unknown = _stored(fileroom, ct_series(1)), [read_part10(path) for path in ct_series(2)]
    listener = CommitmentListener()
    request = _request(uid_of("transaction", new_seed()), stored + unknown)
    _ask(fileroom.dicom_port, request, "COMMIT2", listener, RESULT_TIMEOUT_S)
    result = listener.wait(0)
    assert result.event_type == SOME_ARE_NOT
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in result.information.FailedSOPSequence}
    assert failed == {part.sop_instance_uid: NO_SUCH_OBJECT_INSTANCE for part in unknown}
    assert len(result.information.ReferencedSOPSequence) == 1


def test_result_comes_on_a_new_association_when_the_first_is_gone(
    fileroom: Fileroom, ct_series: SeriesFactory, new_seed: Callable[[], int]
) -> None:
    parts = _stored(fileroom, ct_series(2))
    (port,) = free_ports(1)
    fileroom.add_node("commit3", "COMMIT3", port)
    listener = CommitmentListener()
    with commitment_server(port, listener, "COMMIT3"):
        request = _request(uid_of("transaction", new_seed()), parts)
        _ask(fileroom.dicom_port, request, "COMMIT3", CommitmentListener(), None)
        assert listener.wait(RESULT_TIMEOUT_S).event_type == ALL_SAFE


def test_result_survives_a_restart(
    fileroom_factory: FileroomFactory, ct_series: SeriesFactory, new_seed: Callable[[], int]
) -> None:
    room = fileroom_factory(workers=1)
    parts = _stored(room, ct_series(2))
    (port,) = free_ports(1)
    room.add_node("commit4", "COMMIT4", port)
    # Nobody listens there yet.
    _ask(room.dicom_port, _request(uid_of("transaction", new_seed()), parts), "COMMIT4", CommitmentListener(), None)
    room.kill()
    room.wait_until_nothing_runs()
    listener = CommitmentListener()
    with commitment_server(port, listener, "COMMIT4"):
        room.start()
        assert listener.wait(RESULT_TIMEOUT_S).event_type == ALL_SAFE
