"""pynetdicom as a peer, for what DCMTK cannot do: any transfer syntax and any bytes, commitment, many associations."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, build_role, evt
from pynetdicom.association import Association

from acceptance.dicom_files import Part10, read_part10
from acceptance.programs.processes import LOOPBACK

STORAGE_COMMITMENT_PUSH: Final = "1.2.840.10008.1.20.1"
STORAGE_COMMITMENT_PUSH_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
TIMEOUT_S: Final = 120.0
CALLING_AET: Final = "PYNETDICOM"

# Files leave as they are: not read by pydicom and written anew.
_config.STORE_SEND_CHUNKED_DATASET = True


@dataclass(frozen=True, slots=True)
class Answer:
    """The response to one C-STORE. Status None: the association ended without one."""

    sop_instance_uid: str
    status: int | None
    comment: str = ""


@contextlib.contextmanager
def association(
    port: int,
    contexts: Sequence[tuple[str, Sequence[str]]],
    *,
    called_aet: str = "FILEROOM",
    calling_aet: str = CALLING_AET,
    handlers: Sequence[Any] = (),
    roles: Sequence[Any] = (),
) -> Iterator[Association]:
    """An established association with these presentation contexts; released at the end."""
    ae = AE(ae_title=calling_aet)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
    ae.maximum_pdu_size = 0
    for abstract_syntax, transfer_syntaxes in contexts:
        ae.add_requested_context(abstract_syntax, list(transfer_syntaxes))
    assoc = ae.associate(
        LOOPBACK, port, ae_title=called_aet, evt_handlers=list(handlers) or None, ext_neg=list(roles) or None
    )
    try:
        assert assoc.is_established, f"the association was not accepted: {assoc.acceptor.primitive}"
        yield assoc
    finally:
        if assoc.is_established:
            assoc.release()
        assoc.join(10)


def send_exactly(port: int, paths: Sequence[Path], *, called_aet: str = "FILEROOM") -> list[Answer]:
    """C-STORE each file with the very bytes of its data set, over one association.

    The UIDs of the requests are those of the file meta information, whatever the data sets say.
    """
    parts = [read_part10(path) for path in paths]
    wanted = dict.fromkeys((part.sop_class_uid, part.transfer_syntax_uid) for part in parts)
    assert len(wanted) <= 128, "more presentation contexts than an association has"
    with association(port, [(sop, [syntax]) for sop, syntax in wanted], called_aet=called_aet) as assoc:
        return [_store(assoc, path, part) for path, part in zip(paths, parts, strict=True)]


def get_instances(port: int, contexts: Sequence[tuple[str, str]], identifier: Dataset) -> dict[str, Part10]:
    """C-GET (Study Root) of what `identifier` names; data sets as they came, by SOP Instance UID."""
    received: dict[str, Part10] = {}

    def keep(event: evt.Event) -> int:
        request = event.request
        uid = str(request.AffectedSOPInstanceUID)
        received[uid] = Part10(
            str(request.AffectedSOPClassUID), uid, str(event.context.transfer_syntax), request.DataSet.getvalue()
        )
        return 0x0000

    wanted = [(STUDY_ROOT_GET, ["1.2.840.10008.1.2.1"]), *((sop, [syntax]) for sop, syntax in contexts)]
    roles = [build_role(sop, scp_role=True) for sop in dict.fromkeys(sop for sop, _ in contexts)]
    with association(port, wanted, handlers=[(evt.EVT_C_STORE, keep)], roles=roles) as assoc:
        statuses = [status for status, _ in assoc.send_c_get(identifier, STUDY_ROOT_GET)]
    assert statuses, "no response to C-GET"
    assert statuses[-1].Status == 0x0000, f"C-GET ended with {statuses[-1]}"
    return received


def instances_of_study(study_instance_uid: str) -> Dataset:
    """The identifier of a C-GET or C-MOVE of a whole study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study_instance_uid
    return identifier


@dataclass(frozen=True, slots=True)
class CommitmentResult:
    """An N-EVENT-REPORT of Storage Commitment (PS3.4 J.3.3): 1 all are safe, 2 some are not."""

    event_type: int
    information: Dataset


class CommitmentListener:
    """Takes the result of a commitment request, on the association of the request or on one that the peer opens."""

    def __init__(self) -> None:
        self._result: CommitmentResult | None = None
        self._came = threading.Event()

    @property
    def handler(self) -> tuple[Any, Any]:
        """For `association` or for a server of pynetdicom."""
        return (evt.EVT_N_EVENT_REPORT, self._take)

    def wait(self, timeout_s: float) -> CommitmentResult:
        """The result. Raises AssertionError when none comes."""
        assert self._came.wait(timeout_s), f"no commitment result within {timeout_s:g} s"
        assert self._result is not None
        return self._result

    def _take(self, event: evt.Event) -> tuple[int, Dataset]:
        self._result = CommitmentResult(event.event_type, event.event_information)
        self._came.set()
        return 0x0000, Dataset()


@contextlib.contextmanager
def commitment_server(port: int, listener: CommitmentListener, aet: str) -> Iterator[None]:
    """A server that takes commitment results on associations that the peer opens."""
    ae = AE(ae_title=aet)
    ae.add_supported_context(STORAGE_COMMITMENT_PUSH, scu_role=True, scp_role=True)
    server = ae.start_server((LOOPBACK, port), block=False, evt_handlers=[listener.handler])
    try:
        yield
    finally:
        server.shutdown()


def _store(assoc: Association, path: Path, part: Part10) -> Answer:
    if not assoc.is_established:
        return Answer(part.sop_instance_uid, None)
    try:
        status = assoc.send_c_store(path)
    except ValueError as error:  # no accepted presentation context
        return Answer(part.sop_instance_uid, None, str(error))
    value = status.get("Status") if status else None
    return Answer(part.sop_instance_uid, value, str(status.get("ErrorComment", "")) if status else "")
