"""Memory of a worker: while one huge object comes and goes, and with 50 associations at once."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from typing import Final

import pydicom

from acceptance.dicom_files import read_part10
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.fileroom import ASSOCIATION_WORKER, WEB_WORKER
from acceptance.programs.processes import LOOPBACK, reset_peak_memory, resident_bytes
from acceptance.programs.raw_scu import RawAssociation
from benchmarks.results import Goal, Row
from benchmarks.session import Session
from corpus.ct import make_big_multiframe, make_ct_series

MIB: Final = 1024 * 1024
GROWTH: Final = Goal("at most 64 MiB more", at_most=64)
ASSOCIATIONS: Final = 50
OBJECTS_EACH: Final = 4
TIMEOUT_S: Final = 900.0


def memory(session: Session) -> list[Row]:
    """Rows of both."""
    return [*_one_huge_object(session), _many_associations(session)]


def _one_huge_object(session: Session) -> list[Row]:
    size_mib = session.amount(2048, 64)
    folder = session.new_folder("huge")
    big = folder / "big.dcm"
    make_big_multiframe(big, size_mib * MIB)
    ds = pydicom.dcmread(big, stop_before_pixels=True)
    study = str(ds.StudyInstanceUID)
    path = f"studies/{study}/series/{ds.SeriesInstanceUID}/instances/{ds.SOPInstanceUID}"
    with session.fileroom(workers=1) as room:
        client = Dcmtk(room.dicom_port, room.aet)
        (worker,), (web,) = room.workers(ASSOCIATION_WORKER), room.workers(WEB_WORKER)

        def receive() -> None:
            assert client.store([big], environment={"TCP_NODELAY": "1"}).returncode == 0

        def c_get() -> None:
            keys = ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}"]
            command = ["getscu", "-aec", room.aet, "-S", "--ignore", *keys, LOOPBACK, str(room.dicom_port)]
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)

        def wado_rs() -> None:
            accept = 'Accept: multipart/related; type="application/dicom"; transfer-syntax=*'
            command = ["curl", "-sS", "--fail", "-o", "/dev/null", "-H", accept, f"{room.dicomweb}/{path}"]
            subprocess.run(command, check=True, timeout=TIMEOUT_S)

        steps: list[tuple[str, int, Callable[[], None]]] = [
            ("received by C-STORE", worker, receive),
            ("returned by C-GET", worker, c_get),
            ("returned by WADO-RS", web, wado_rs),
        ]
        return [
            Row(
                work=f"memory: one {size_mib:,} MiB multi-frame object {what}",
                unit="MiB more",
                ours=_growth_mib(pid, step),
                goal=GROWTH,
                bound_on="value",
            )
            for what, pid, step in steps
        ]


def _growth_mib(pid: int, step: Callable[[], None]) -> float:
    """The highest memory during the step above that before it."""
    before = resident_bytes(pid)
    reset_peak_memory(pid)
    step()
    return max(0, resident_bytes(pid, peak=True) - before) / MIB


def _many_associations(session: Session) -> Row:
    with session.fileroom(workers=1) as room:
        (worker,) = room.workers(ASSOCIATION_WORKER)
        reset_peak_memory(worker)
        ready = threading.Barrier(ASSOCIATIONS)
        failures: list[str] = []

        def send(seed: int) -> None:
            objects = [read_part10(data) for data in make_ct_series(None, OBJECTS_EACH, 512, 5_000_000 + seed)]
            context = (objects[0].sop_class_uid, objects[0].transfer_syntax_uid)
            with RawAssociation(room.dicom_port, [context]) as association:
                ready.wait(TIMEOUT_S)
                for each in objects:
                    uids = (each.sop_class_uid, each.sop_instance_uid, each.transfer_syntax_uid)
                    answer = association.store(*uids, each.dataset)
                    if answer.status != 0:
                        failures.append(str(answer))

        senders = [threading.Thread(target=send, args=(seed,)) for seed in range(ASSOCIATIONS)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert not failures, failures[:3]
        peak_mb = resident_bytes(worker, peak=True) / 1e6
    return Row(
        work=f"memory of a worker: {ASSOCIATIONS} associations sending 512x512 CT at once",
        unit="MB",
        ours=peak_mb,
        goal=Goal("under 400 MB", at_most=400),
        bound_on="value",
    )
