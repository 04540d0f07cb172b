"""What came in together, counted by study, for the audit trail: one event for each study, not one for each object.

Of an association that goes on, the trail has the beginning after LOOK_INTERVAL_S and the counts every REPORT_INTERVAL_S, so
that also a killed worker leaves behind who sent what.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import structlog

from fileroom.admin.audit_events import begin_receiving, received
from fileroom.admin.audit_message import Action, AuditEvent, SopClassCount, StudyReference
from fileroom.archive.services import Archive
from fileroom.archive.store import StoreKind, StoreOutcome
from fileroom.core.access import Access
from fileroom.core.errors import DatabaseError

REPORT_INTERVAL_S: Final = 120.0
LOOK_INTERVAL_S: Final = 2.0
"""Most associations are over by then; those need no word of their beginning."""
BEGUN_STUDIES_MAX: Final = 10_000
"""Remembered as begun for one association; a migration that sends more tells of some twice."""
AFTER_END_S: Final = 1.0
"""Objects that had wholly come when their association ended are stored a moment later."""

_log: Final = structlog.get_logger(__name__)


@dataclass(slots=True)
class StudyCounts:
    """Objects by action, study and SOP class."""

    counts: Counter[tuple[Action, str, str]]

    @classmethod
    def empty(cls) -> StudyCounts:
        """Nothing yet."""
        return cls(Counter())

    def add(self, outcome: StoreOutcome) -> None:
        """One more object. What was there already is not created (PS3.15 A.5.3.7)."""
        action = Action.READ if outcome.kind is StoreKind.ALREADY_THERE else Action.CREATE
        self.counts[action, outcome.study_instance_uid, outcome.sop_class_uid] += 1

    def studies(self, *actions: Action) -> tuple[StudyReference, ...]:
        """The studies with their counts, of these actions (none: of all)."""
        found: dict[str, list[SopClassCount]] = {}
        for (action, study_uid, sop_class_uid), count in self.counts.items():
            if not actions or action in actions:
                found.setdefault(study_uid, []).append(SopClassCount(sop_class_uid, count))
        return tuple(StudyReference(uid, tuple(classes)) for uid, classes in found.items())


class ReceivedObjects:
    """The objects of one association or request, until they are put down. For one event loop."""

    def __init__(self, archive: Archive, sender: Access) -> None:
        self._archive = archive
        self._sender = sender
        self._stored = StudyCounts.empty()
        self._refused = 0
        self._reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self._report_at = 0.0
        self._begun: set[str] = set()
        self._has_ended = False
        self.study_uids: set[str] = set()
        """The studies of everything that was stored, at most BEGUN_STUDIES_MAX of them."""

    def stored(self, outcome: StoreOutcome) -> None:
        """An object is safe."""
        if len(self.study_uids) < BEGUN_STUDIES_MAX:
            self.study_uids.add(outcome.study_instance_uid)
        self._stored.add(outcome)
        self._report_later()

    def refused(self, reason: str) -> None:
        """An object was not kept."""
        self._refused += 1
        self._reason = reason
        self._report_later()

    def ended(self) -> None:
        """No more is expected: put it down now."""
        self._has_ended = True
        self._report()

    def _report_later(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._report_at = loop.time() + REPORT_INTERVAL_S
            self._timer = loop.call_later(AFTER_END_S if self._has_ended else LOOK_INTERVAL_S, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        if self._has_ended or loop.time() >= self._report_at:
            self._report()
            return
        studies = [study for study in self._stored.studies(Action.CREATE) if study.uid not in self._begun]
        if len(self._begun) > BEGUN_STUDIES_MAX:
            self._begun.clear()
        self._begun.update(study.uid for study in studies)
        aet = self._archive.settings.aet
        self._note([begin_receiving(aet, self._sender, (replace(study, sop_classes=()),)) for study in studies])
        self._timer = loop.call_later(LOOK_INTERVAL_S, self._look)

    def _report(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._note(self._events())
        self._stored.counts.clear()
        self._refused = 0

    def _note(self, events: Iterable[AuditEvent]) -> None:
        try:
            for event in events:
                self._archive.audit.note(event)
        except DatabaseError as error:
            _log.error("audit_lost", sender=self._sender.name, reason=str(error))

    def _events(self) -> Iterable[AuditEvent]:
        aet = self._archive.settings.aet
        for action in (Action.CREATE, Action.READ):
            for study in self._stored.studies(action):
                yield replace(received(aet, self._sender, (study,)), action=action)
        if self._refused:
            reason = f"{self._refused} objects were refused; the last: {self._reason}"
            yield received(aet, self._sender, (), refused_reason=reason)


def studies_of(instances: Iterable[tuple[str, str]]) -> tuple[StudyReference, ...]:
    """Studies with their counts, from pairs of Study Instance UID and SOP Class UID."""
    found: dict[str, Counter[str]] = {}
    for study_uid, sop_class_uid in instances:
        found.setdefault(study_uid, Counter())[sop_class_uid] += 1
    return tuple(
        StudyReference(uid, tuple(SopClassCount(sop_class, count) for sop_class, count in classes.items()))
        for uid, classes in found.items()
    )
