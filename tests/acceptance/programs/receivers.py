"""Receivers that forget nothing: every object that came, each time that it came, and when."""

from __future__ import annotations

import io
import threading
import time
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, StoragePresentationContexts, evt
from pynetdicom.transport import ThreadedAssociationServer

from acceptance.dicom_files import read_part10
from acceptance.programs.dcmtk import StoreScp
from acceptance.programs.processes import LOOPBACK

OUT_OF_RESOURCES: Final = 0xA700
CANNOT_UNDERSTAND: Final = 0xC000


@dataclass(frozen=True, slots=True)
class Receipt:
    """One object that was taken, once. `at`: time.time()."""

    sop_instance_uid: str
    dataset: bytes
    at: float
    transfer_syntax: str = str(ExplicitVRLittleEndian)


def receipts_of(receiver: StoreScp) -> dict[str, list[Receipt]]:
    """What a `storescp` with `+uf` has: it writes a file each time that an object comes."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    for path in receiver.received():
        part = read_part10(path)
        found[part.sop_instance_uid].append(
            Receipt(part.sop_instance_uid, part.dataset, path.stat().st_mtime, part.transfer_syntax_uid)
        )
    return found


def files_of(folder: Path) -> dict[str, list[Receipt]]:
    """What lies in a folder and below it."""
    found: dict[str, list[Receipt]] = defaultdict(list)
    for path in sorted(folder.rglob("*.dcm")):
        ds = dcmread(path, specific_tags=["SOPInstanceUID"])
        found[str(ds.SOPInstanceUID)].append(Receipt(str(ds.SOPInstanceUID), path.read_bytes(), path.stat().st_mtime))
    return found


def fate(sop_instance_uid: str) -> str:
    """What the picky receiver does with an object: `taken`, `full` (twice A700, then taken) or `never` (C000)."""
    number = zlib.crc32(sop_instance_uid.encode())
    return "never" if number % 11 == 0 else "full" if number % 5 == 0 else "taken"


class PickyReceiver:
    """pynetdicom that refuses some objects for ever and some twice. A context manager."""

    def __init__(self, aet: str = "PICKY") -> None:
        self.aet = aet
        self.receipts: dict[str, list[Receipt]] = defaultdict(list)
        self.refusals: Counter[int] = Counter()
        self._refused: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._server: ThreadedAssociationServer | None = None
        self.port = 0

    def __enter__(self) -> PickyReceiver:
        ae = AE(ae_title=self.aet)
        ae.maximum_pdu_size = 0
        for context in StoragePresentationContexts:
            ae.add_supported_context(
                str(context.abstract_syntax), [str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)]
            )
        self._server = ae.start_server((LOOPBACK, 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._take)])
        self.port = self._server.server_address[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.shutdown()

    def _take(self, event: evt.Event) -> int:
        request: Any = event.request
        uid = str(request.AffectedSOPInstanceUID)
        dataset = request.DataSet.getvalue()
        with self._lock:
            what = fate(uid)
            if what == "never" or (what == "full" and self._refused[uid] < 2):
                self._refused[uid] += 1
                status = CANNOT_UNDERSTAND if what == "never" else OUT_OF_RESOURCES
                self.refusals[status] += 1
                return status
            syntax = str(event.context.transfer_syntax)
            self.receipts[uid].append(Receipt(uid, dataset, time.time(), syntax))
        return 0x0000


def dataset_of(receipt: Receipt) -> Dataset:
    """A received data set, read."""
    implicit = receipt.transfer_syntax == ImplicitVRLittleEndian
    return read_dataset(io.BytesIO(receipt.dataset), is_implicit_VR=implicit, is_little_endian=True)


def pixels_of(ds: Dataset) -> bytes:
    """Pixel Data as it stands there; empty where there is none."""
    return bytes(ds.PixelData) if "PixelData" in ds else b""
