"""Fifty associations at once, all sending, stay under 400 MB a worker."""

from __future__ import annotations

import threading

from acceptance.conftest import FileroomFactory
from acceptance.dicom_files import read_part10
from acceptance.programs.fileroom import ASSOCIATION_WORKER
from acceptance.programs.processes import reset_peak_memory, resident_bytes
from acceptance.programs.raw_scu import RawAssociation
from corpus.ct import make_ct_series

ASSOCIATIONS = 50
OBJECTS_EACH = 4
WORKER_BYTES_MAX = 400 * 1000 * 1000


def test_fifty_sending_associations_stay_under_400_mb(fileroom_factory: FileroomFactory) -> None:
    room = fileroom_factory(workers=1)
    (worker,) = room.workers(ASSOCIATION_WORKER)
    reset_peak_memory(worker)
    failures: list[str] = []
    ready = threading.Barrier(ASSOCIATIONS)

    def send(seed: int) -> None:
        objects = [read_part10(data) for data in make_ct_series(None, OBJECTS_EACH, 512, 5_000_000 + seed)]
        context = (objects[0].sop_class_uid, objects[0].transfer_syntax_uid)
        with RawAssociation(room.dicom_port, [context]) as assoc:
            ready.wait(60)  # All are open before any sends.
            for each in objects:
                answer = assoc.store(each.sop_class_uid, each.sop_instance_uid, each.transfer_syntax_uid, each.dataset)
                if answer.status != 0:
                    failures.append(str(answer))

    senders = [threading.Thread(target=send, args=(seed,)) for seed in range(ASSOCIATIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert failures == []
    assert room.instance_count() == ASSOCIATIONS * OBJECTS_EACH
    peak = resident_bytes(worker, peak=True)
    assert peak < WORKER_BYTES_MAX, f"the worker took {peak / 1e6:.0f} MB"
