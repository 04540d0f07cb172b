"""What a C-GET or C-MOVE sends, for the audit trail: that it begins, and what was sent and what was not, by study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fileroom.admin.audit_events import begin_sending, sent
from fileroom.admin.audit_message import ActiveParticipant, StudyReference
from fileroom.archive.retrieve import StoredInstance
from fileroom.archive.services import Archive
from fileroom.archive.suboperations import Progress
from fileroom.archive.transfers import studies_of
from fileroom.core.access import current_access


@contextmanager
def put_down(
    archive: Archive, receiver: ActiveParticipant, instances: Sequence[StoredInstance], progress: Progress
) -> Iterator[None]:
    """Note what happens to the instances inside of the block. Raises DatabaseError, before anything is sent."""
    aet, requestor = archive.settings.aet, current_access()
    studies = _studies(instances)
    if studies:
        archive.audit.note(begin_sending(aet, requestor, receiver, studies))
    try:
        yield
    finally:
        arrived = progress.arrived(instances)
        if arrived:
            archive.audit.note(sent(aet, requestor, receiver, _studies(arrived)))
        left = len(instances) - len(arrived)
        if left:
            there = {instance.sop_instance_uid for instance in arrived}
            missing = [instance for instance in instances if instance.sop_instance_uid not in there]
            reason = progress.last_failure or "the transfer was ended"
            archive.audit.note(sent(aet, requestor, receiver, _studies(missing), failure=reason))


def _studies(instances: Sequence[StoredInstance]) -> tuple[StudyReference, ...]:
    return studies_of((instance.study_instance_uid, instance.sop_class_uid) for instance in instances)
