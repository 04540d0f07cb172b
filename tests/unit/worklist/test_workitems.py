"""Workitems in the database: who may do what, what is searched, who is told of which event, and that nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import NotAllowedError, NotFoundError
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Range, SequenceItem, SingleValue, Wildcard
from fileroom.worklist import workitem_outbox as outbox
from fileroom.worklist import workitem_rules as rules
from fileroom.worklist.workitem_rules import DuplicateWorkitemError, UnknownWorkitemError, WorkitemError
from fileroom.worklist.workitem_search import (
    fits,
    keys_from_json,
    keys_of_identifier,
    keys_to_json,
    pruned,
    search_workitems,
)
from fileroom.worklist.workitem_subscriptions import subscribe, suspend, unsubscribe
from fileroom.worklist.workitems import (
    change_workitem_state,
    create_workitem,
    get_workitem,
    request_cancel,
    update_workitem,
    workitem_history,
)
from workitem_models import TRANSACTION, UID, json_of, performed, progress, workitem

GLOBAL, FILTERED = rules.GLOBAL_SUBSCRIPTION, rules.FILTERED_SUBSCRIPTION
ADA = Access(ActorKind.PERSON, "ada", frozenset({Permission.ORDER_READ, Permission.ORDER_MANAGE}), account_id=1)
BOB = Access(ActorKind.PERSON, "bob", frozenset({Permission.ORDER_READ}), account_id=2)


@pytest.fixture(autouse=True)
def as_ada() -> Any:
    with acting_as(ADA):
        yield


async def make(archive: Archive, uid: str = UID, **values: Any) -> None:
    await create_workitem(archive, uid, json_of(workitem(**values)))


async def found(archive: Archive, *keys: Key) -> list[str]:
    return [one.sop_instance_uid async for one in search_workitems(archive, keys)]


async def told(archive: Archive, aet: str) -> list[tuple[str, int, str]]:
    """What waits for an AE title: workitem, event type, state."""
    return [
        (one.sop_instance_uid, one.event_type, (one.information.get("00741000") or {"Value": [""]})["Value"][0])
        for one in await outbox.waiting_notices(archive, aet)
    ]


async def test_a_workitem_from_its_making_to_its_end(archive: Archive) -> None:
    await make(archive)
    with pytest.raises(DuplicateWorkitemError):
        await make(archive)
    await subscribe(archive, UID, "WATCHER")
    assert await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION) == 0
    with pytest.raises(WorkitemError) as caught:
        await update_workitem(archive, UID, json_of(progress("10")), "1.2.3")
    assert caught.value.status == 0xC301
    await update_workitem(archive, UID, json_of(progress("10", "begun")), TRANSACTION)
    await update_workitem(archive, UID, json_of(performed()), TRANSACTION)
    assert await change_workitem_state(archive, UID, "COMPLETED", TRANSACTION) == 0
    assert await change_workitem_state(archive, UID, "COMPLETED", TRANSACTION) == 0xB306
    kept = await get_workitem(archive, UID)
    assert (kept.state, kept.performer, kept.patient_name) == ("COMPLETED", "ada", "Müller^Jörg")
    assert kept.ended_at is not None
    assert TRANSACTION not in str(kept)
    assert [event[1:] for event in await told(archive, "WATCHER")] == [
        (1, "SCHEDULED"),
        (1, "IN PROGRESS"),
        (3, ""),
        (1, "COMPLETED"),
    ]
    history = await workitem_history(archive, UID)
    assert [(one.event_type, one.caused_by) for one in history] == [
        (1, "ada"),
        (3, "ada"),
        (1, "ada"),
        (5, "ada"),
        (1, "ada"),
    ]


async def test_who_only_reads_changes_nothing(archive: Archive) -> None:
    await make(archive)
    with acting_as(BOB):
        assert (await get_workitem(archive, UID)).label == "Segment the liver"
        for attempt in (
            create_workitem(archive, "1.2.4", json_of(workitem())),
            update_workitem(archive, UID, {}),
            change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION),
            request_cancel(archive, UID, {}),
        ):
            with pytest.raises(NotAllowedError):
                await attempt
    node = Access(ActorKind.NODE, "ALGO@10.0.0.1", frozenset({Permission.STUDY_STORE}))
    with acting_as(node):
        assert await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION) == 0


async def test_a_request_to_stop_cancels_what_nobody_has_begun(archive: Archive) -> None:
    await make(archive)
    await subscribe(archive, UID, "WATCHER")
    why = {"00741238": {"vr": "LT", "Value": ["Patient went home"]}}
    assert await request_cancel(archive, UID, why, "RIS") == 0
    assert await request_cancel(archive, UID, why) == 0xB304
    kept = await get_workitem(archive, UID)
    [item] = kept.attributes["00741002"]["Value"]
    assert (kept.state, item["00741238"]["Value"]) == ("CANCELED", ["Patient went home"])
    assert [event[1:] for event in await told(archive, "WATCHER")] == [
        (1, "SCHEDULED"),
        (2, ""),
        (1, "IN PROGRESS"),
        (1, "CANCELED"),
    ]
    asked = (await outbox.waiting_notices(archive, "WATCHER"))[1].information
    assert asked["00741236"]["Value"] == ["RIS"]
    assert asked["0074100C"]["Value"] == ["ada"]


async def test_a_performer_that_nobody_reaches_cannot_be_asked_to_stop(archive: Archive) -> None:
    await make(archive)
    await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION)
    with pytest.raises(WorkitemError) as caught:
        await request_cancel(archive, UID, {})
    assert caught.value.status == 0xC312
    await subscribe(archive, UID, "ALGO")
    assert await request_cancel(archive, UID, {}) == 0
    assert (await get_workitem(archive, UID)).state == "IN PROGRESS"
    await update_workitem(archive, UID, json_of(performed()), TRANSACTION)
    await change_workitem_state(archive, UID, "COMPLETED", TRANSACTION)
    with pytest.raises(WorkitemError) as caught:
        await request_cancel(archive, UID, {})
    assert caught.value.status == 0xC311


def request_key(*keys: Key) -> Key:
    return Key(rules.REQUEST, "SQ", SequenceItem(keys))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Key(rules.STATE, "CS", SingleValue("SCHEDULED")), ["1.1", "1.2"]),
        (Key(rules.STATE, "CS", SingleValue("COMPLETED")), []),
        (Key(rules.PATIENT_NAME, "PN", Wildcard("mull*")), ["1.1"]),
        (Key(rules.PATIENT_NAME, "PN", Wildcard("*ute")), ["1.2"]),
        (Key(rules.PATIENT_ID, "LO", Wildcard("P*")), ["1.1", "1.2"]),
        (Key(rules.PRIORITY, "CS", AnyOf(("HIGH", "LOW"))), ["1.2"]),
        (Key(rules.START, "DT", Range("20261123", "20261123")), ["1.1"]),
        (Key(rules.START, "DT", Range("20261123100000", None)), ["1.2"]),
        (Key(rules.SOP_INSTANCE, "UI", AnyOf(("1.2", "1.9"))), ["1.2"]),
        (request_key(Key(0x00080050, "SH", SingleValue("A2"))), ["1.2"]),
        (
            request_key(Key(0x00080050, "SH", SingleValue("A1")), Key(rules.STUDY_UID, "UI", SingleValue("1.2.1"))),
            ["1.1"],
        ),
        (request_key(Key(rules.STUDY_UID, "UI", SingleValue("1.2.77"))), []),
        (Key(rules.WORKITEM_CODE, "SQ", SequenceItem((Key(0x00080100, "SH", SingleValue("110004")),))), ["1.1", "1.2"]),
        (Key(rules.EXPECTED_END, "DT", EmptyValue()), ["1.1", "1.2"]),
    ],
)
async def test_searching(archive: Archive, key: Key, expected: list[str]) -> None:
    await make(archive, "1.1")
    other = workitem(
        PatientName="Schmidt^Ute",
        PatientID="P2",
        ScheduledProcedureStepPriority="HIGH",
        ScheduledProcedureStepStartDateTime="20261124080000",
    )
    other.ReferencedRequestSequence[0].AccessionNumber = "A2"
    await create_workitem(archive, "1.2", json_of(other))
    assert await found(archive, key) == expected
    assert keys_from_json(keys_to_json([key])) == (key,)


def test_an_identifier_is_understood_and_answered() -> None:
    asked = workitem(PatientName="MUL*", PatientID="", ScheduledProcedureStepStartDateTime="20261123-")
    asked.ReferencedRequestSequence[0].StudyInstanceUID = ""
    keys = {key.tag: key.matching for key in keys_of_identifier(json_of(asked))}
    assert keys[rules.PATIENT_NAME] == Wildcard("MUL*")
    assert rules.PATIENT_ID not in keys
    assert keys[rules.START] == Range("20261123", None)
    model = json_of(workitem())
    assert fits(model, ())
    answer = pruned(model, {"0040A370": {"vr": "SQ", "Value": [{"00080050": {"vr": "SH"}}]}, "00081195": {"vr": "UI"}})
    assert answer == {"0040A370": {"vr": "SQ", "Value": [{"00080050": {"vr": "SH", "Value": ["A1"]}}]}}


async def watched(archive: Archive, aet: str) -> list[str]:
    return sorted({event[0] for event in await told(archive, aet)})


async def test_subscriptions_to_all_and_to_some(archive: Archive) -> None:
    await make(archive, "1.1")
    await subscribe(archive, GLOBAL, "LOCKED", deletion_lock=True)
    await subscribe(archive, GLOBAL, "FREE")
    await subscribe(archive, FILTERED, "SOME", keys=[Key(rules.PATIENT_ID, "LO", SingleValue("P2"))])
    assert await watched(archive, "LOCKED") == ["1.1"]
    assert await watched(archive, "FREE") == []  # without a lock no state is told of what is there already
    await make(archive, "1.2", PatientID="P2")
    assert await watched(archive, "FREE") == ["1.2"]
    assert await watched(archive, "SOME") == ["1.2"]
    await change_workitem_state(archive, "1.1", "IN PROGRESS", TRANSACTION)
    assert await watched(archive, "FREE") == ["1.1", "1.2"]
    assert await watched(archive, "SOME") == ["1.2"]
    await suspend(archive, GLOBAL, "FREE")
    await unsubscribe(archive, FILTERED, "SOME")
    await make(archive, "1.3", PatientID="P2")
    assert await watched(archive, "LOCKED") == ["1.1", "1.2", "1.3"]
    assert await watched(archive, "FREE") == ["1.1", "1.2"]
    assert await watched(archive, "SOME") == ["1.2"]
    with pytest.raises(NotFoundError):
        await unsubscribe(archive, GLOBAL, "SOME")
    with pytest.raises(WorkitemError) as caught:
        await suspend(archive, "1.1", "LOCKED")
    assert caught.value.status == 0xC314


async def test_a_title_belongs_to_who_subscribed_it(archive: Archive) -> None:
    await make(archive)
    await subscribe(archive, UID, "MINE")
    with acting_as(BOB):
        for attempt in (
            subscribe(archive, UID, "MINE"),
            unsubscribe(archive, UID, "MINE"),
            outbox.open_channel(archive, "MINE"),
        ):
            with pytest.raises(NotAllowedError):
                await attempt
        await subscribe(archive, UID, "HIS")


async def test_a_channel_tells_in_order_and_a_newer_one_takes_over(archive: Archive) -> None:
    await make(archive)
    first = await outbox.open_channel(archive, "MINE")
    assert await outbox.channel_notices(archive, "MINE", first) == []
    await subscribe(archive, UID, "MINE")
    await change_workitem_state(archive, UID, "IN PROGRESS", TRANSACTION)
    waiting = await outbox.channel_notices(archive, "MINE", first)
    assert [one.information["00741000"]["Value"] for one in waiting] == [["SCHEDULED"], ["IN PROGRESS"]]
    await outbox.notices_told(archive, "MINE", [waiting[0].number])
    second = await outbox.open_channel(archive, "MINE")
    with pytest.raises(outbox.ChannelTakenError):
        await outbox.channel_notices(archive, "MINE", first)
    assert await outbox.channel_notices(archive, "MINE", second) == waiting[1:]


def scoped(**scope: Sequence[str] | bool) -> Access:
    rows = RowScope(**{key: tuple(value) if not isinstance(value, bool) else value for key, value in scope.items()})  # type: ignore[arg-type]
    return Access(ActorKind.PERSON, "carl", ADA.permissions, rows, account_id=3)


async def test_the_row_scope_holds_for_workitems_and_their_events(archive: Archive) -> None:
    await make(archive, "1.1")
    await make(archive, "1.2", PatientID="P2")
    with acting_as(scoped(patient_ids=["P2"])):
        assert await found(archive) == ["1.2"]
        with pytest.raises(UnknownWorkitemError):
            await get_workitem(archive, "1.1")
        await subscribe(archive, GLOBAL, "CARL", deletion_lock=True)
        assert await watched(archive, "CARL") == ["1.2"]
    with acting_as(scoped(own_uploads=True)):
        assert await found(archive) == []
        await make(archive, "1.3")
        assert await found(archive) == ["1.3"]
    with acting_as(scoped(modalities=["MR"])):
        assert await found(archive) == []
    await make(archive, "1.4", PatientID="P9")
    with acting_as(scoped(patient_ids=["P2"])):
        assert await watched(archive, "CARL") == ["1.2"]  # subscribed to it too, but never told of what is not seen


async def test_what_ended_long_ago_is_removed_unless_it_is_locked(archive: Archive) -> None:
    for uid in ("1.1", "1.2"):
        await make(archive, uid)
        await request_cancel(archive, uid, {})
    await subscribe(archive, "1.2", "KEEPER", deletion_lock=True)
    async with archive.pool.connection() as connection:
        await connection.execute(b"UPDATE workitem SET ended_at = now() - interval '2 years'")
    with acting_as(SYSTEM):
        assert await outbox.forget_old_workitems(archive) == 1
        assert await outbox.forget_old_workitems(archive) == 0
    with pytest.raises(UnknownWorkitemError) as caught:
        await get_workitem(archive, "1.1")
    assert caught.value.is_gone
    with pytest.raises(DuplicateWorkitemError):
        await make(archive, "1.1")
    assert (await get_workitem(archive, "1.2")).state == "CANCELED"


async def test_a_restart_is_told_to_subscribers_once(archive: Archive) -> None:
    await subscribe(archive, GLOBAL, "MINE")
    with acting_as(SYSTEM):
        await outbox.note_restart(archive)
        await outbox.note_restart(archive)
    [notice] = await outbox.waiting_notices(archive, "MINE")
    assert (notice.sop_instance_uid, notice.event_type) == (GLOBAL, 4)
    assert notice.information["00741242"]["Value"] == ["RESTARTED"]
