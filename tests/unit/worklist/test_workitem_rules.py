"""States of Unified Procedure Steps: the whole table CC.1.1-2, what makes a workitem, what ends it, which events follow."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from fileroom.dicom import uids
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.performed_rules import AttributesError, items_of, text_of
from fileroom.worklist.workitem_rules import WorkitemError
from workitem_models import TRANSACTION, UID, json_of, performed, progress, workitem

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
KEY = {"SCHEDULED": "", "IN PROGRESS": TRANSACTION, "COMPLETED": TRANSACTION, "CANCELED": TRANSACTION}


@pytest.mark.parametrize(
    ("wanted", "sent", "expected"),
    [
        # state now: SCHEDULED, IN PROGRESS, COMPLETED, CANCELED
        ("IN PROGRESS", TRANSACTION, (0, 0xC302, 0xC300, 0xC300)),
        ("IN PROGRESS", "", (0xC301, 0xC301, 0xC301, 0xC301)),
        ("SCHEDULED", TRANSACTION, (0xC303, 0xC303, 0xC303, 0xC303)),
        ("COMPLETED", TRANSACTION, (0xC310, 0, 0xB306, 0xC300)),
        ("COMPLETED", "", (0xC301, 0xC301, 0xC301, 0xC301)),
        ("CANCELED", TRANSACTION, (0xC310, 0, 0xC300, 0xB304)),
        ("CANCELED", "", (0xC301, 0xC301, 0xC301, 0xC301)),
        ("COMPLETED", "1.2.3.other", (0xC310, 0xC301, 0xC301, 0xC301)),
    ],
)
def test_every_row_of_the_state_table(wanted: str, sent: str, expected: tuple[int, ...]) -> None:
    found = []
    for now in rules.STATES:
        try:
            found.append(rules.check_transition(now, wanted, KEY[now], sent))
        except WorkitemError as error:
            found.append(error.status)
    assert tuple(found) == expected


def test_a_new_workitem_has_what_the_manager_adds() -> None:
    asked = workitem(WorklistLabel=None, TransactionUID="1.2.3")
    made = rules.check_create(json_of(asked), UID, uids.UPS_PUSH, NOW)
    assert made.is_modified
    assert text_of(made.attributes, rules.WORKLIST_LABEL) == "Worklist"
    assert text_of(made.attributes, rules.SOP_INSTANCE) == UID
    assert text_of(made.attributes, rules.MODIFIED) == "20261123090000+0000"
    assert "00081195" not in made.attributes
    assert made.attributes["00741216"] == {"vr": "SQ"}
    assert not rules.check_create(json_of(workitem()), UID, uids.UPS_PUSH, NOW).is_modified


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        ({"ScheduledProcedureStepPriority": None}, rules.PRIORITY),
        ({"ScheduledProcedureStepPriority": "SOON"}, rules.PRIORITY),
        ({"ProcedureStepLabel": ""}, rules.LABEL),
        ({"ScheduledProcedureStepStartDateTime": None}, rules.START),
        ({"InputReadinessState": "PERHAPS"}, rules.READINESS),
        ({"ProcedureStepState": None}, rules.STATE),
        ({"StudyInstanceUID": "no uid"}, rules.STUDY_UID),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_what_a_workitem_needs(values: dict[str, Any], tag: int) -> None:
    with pytest.raises(AttributesError) as caught:
        rules.check_create(json_of(workitem(**values)), UID, uids.UPS_PUSH, NOW)
    assert caught.value.tags == (tag,)


def test_a_workitem_begins_scheduled() -> None:
    with pytest.raises(WorkitemError) as caught:
        rules.check_create(json_of(workitem(ProcedureStepState="IN PROGRESS")), UID, uids.UPS_PUSH, NOW)
    assert caught.value.status == 0xC309


def test_what_is_complete_says_what_was_done() -> None:
    now = rules.check_create(json_of(workitem()), UID, uids.UPS_PUSH, NOW).attributes
    with pytest.raises(WorkitemError) as caught:
        rules.ended(now, rules.COMPLETED, NOW)
    assert caught.value.status == 0xC304
    change = json_of(performed())
    del change["00741216"]["Value"][0]["00404051"]
    with pytest.raises(WorkitemError, match="PerformedProcedureStepEndDateTime"):
        rules.ended(rules.merged(now, change, NOW), rules.COMPLETED, NOW)
    done = rules.ended(rules.merged(now, json_of(performed()), NOW), rules.COMPLETED, NOW)
    assert text_of(done, rules.STATE) == "COMPLETED"


def test_what_is_cancelled_says_when_and_why() -> None:
    now = rules.check_create(json_of(workitem()), UID, uids.UPS_PUSH, NOW).attributes
    [item] = items_of(rules.ended(now, rules.CANCELED, NOW), rules.PROGRESS)
    assert text_of(item, rules.CANCELLED_AT) == "20261123090000+0000"
    assert text_of(items_of(item, rules.CANCEL_CODE)[0], 0x00080100) == "110513"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"PatientName": "Other^Patient"}, AttributesError),
        ({"ProcedureStepState": "COMPLETED"}, AttributesError),
        ({"ProcedureStepState": "SCHEDULED"}, WorkitemError),
        ({"ProcedureStepLabel": ""}, AttributesError),
        ({"ScheduledProcedureStepStartDateTime": "soon"}, AttributesError),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_what_may_not_be_changed(values: dict[str, Any], kind: type[Exception]) -> None:
    now = rules.check_create(json_of(workitem()), UID, uids.UPS_PUSH, NOW).attributes
    rules.put(now, rules.STATE, rules.IN_PROGRESS)
    model = json_of(workitem(**values))
    only = {key: model[key] for key in model if key in ("00100010", "00741000", "00741204", "00404005")}
    if "ProcedureStepState" not in values:
        del only["00741000"]
    with pytest.raises(kind):
        rules.merged(now, only, NOW)


def test_events_of_changes() -> None:
    now = rules.check_create(json_of(workitem()), UID, uids.UPS_PUSH, NOW).attributes
    assert [event.event_type for event in rules.events_of_creation(now)] == [1, 5]
    further = rules.merged(now, json_of(progress("30", "halfway")), NOW)
    [event] = rules.events_of_change(now, further)
    assert (event.event_type, event.information["00741002"]["Value"][0]["00741004"]["Value"]) == (3, [30])
    assert rules.events_of_change(further, further) == []
    begun = dict(further)
    rules.put(begun, rules.STATE, rules.IN_PROGRESS)
    [event] = rules.events_of_change(further, begun)
    assert event.information == {
        "00741000": {"vr": "CS", "Value": ["IN PROGRESS"]},
        "00404041": {"vr": "CS", "Value": ["READY"]},
    }
