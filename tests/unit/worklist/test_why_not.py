"""Why is it not on the worklist? Each cause planted, and named."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import add_node
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotAllowedError
from fileroom.dicom.json_model import encode_dataset
from fileroom.worklist.query_log import AskedQuery, note_query
from fileroom.worklist.why_not import Mark, Trace, explain
from fileroom.worklist.worklist_views import put_view
from worklist_rows import add_patient, add_step

EXPLICIT = "1.2.840.10008.1.2.1"


async def asked(archive: Archive, step: dict[str, str] | None = None, *, caller: str = "CT1", **keys: str) -> None:
    """The modality has asked."""
    dataset, item = Dataset(), Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    for keyword, value in (step or {}).items():
        setattr(item, keyword, value)
    dataset.ScheduledProcedureStepSequence = Sequence([item])
    given = {**keys, **(step or {})}
    await note_query(archive.pool, AskedQuery(caller, "10.0.0.1", given, encode_dataset(dataset), EXPLICIT))


async def message(archive: Archive, state: str, reason: str = "") -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO hl7_message (feed, kind, raw, digest, state, answered, answer, reason, accession_numbers,
                    patient_ids) VALUES ('RIS', 'ORM^O01', '', '', %s, 'AA', '', %s, '{A1}', '{P1}')""",
            (state, reason),
        )


async def run(archive: Archive, statement: str) -> None:
    async with archive.pool.connection() as connection:
        await connection.execute(statement.encode())


async def why(archive: Archive, caller: str = "CT1", accession: str = "A1", **options: Any) -> Trace:
    return await explain(archive, caller, accession=accession, **options)


def cause(trace: Trace) -> tuple[str, str]:
    """The stage and the words of what decides."""
    assert not trace.is_on
    assert trace.answer == trace.causes[0].words
    return trace.causes[0].stage, trace.answer


async def test_what_is_on_the_worklist_is_said_to_be(archive: Archive) -> None:
    await add_step(archive, 1)
    await message(archive, "applied")
    await asked(archive, {"Modality": "CT", "ScheduledStationAETitle": "CT1"})
    trace = await why(archive)
    assert (trace.is_on, trace.answer, trace.causes) == (True, "It is on the worklist of CT1.", [])
    assert [one.stage for one in trace.findings] == [
        *("message", "order", "step", "view", "question", "question", "caller")
    ]
    assert trace.asked_keys == "Modality=CT, ScheduledStationAETitle=CT1"


async def test_no_message_and_no_order(archive: Archive) -> None:
    trace = await why(archive)
    assert cause(trace) == ("order", "There is no order with the accession number A1.")
    assert trace.findings[0].words == "No HL7 message names it."


async def test_the_message_failed(archive: Archive) -> None:
    await message(archive, "failed", "no patient in PID")
    assert cause(await why(archive)) == ("message", "The message ORM^O01 of RIS was not applied: no patient in PID")


async def test_the_patient_was_merged(archive: Archive) -> None:
    survivor = await add_patient(archive, "P2")
    retired = await add_patient(archive, "P1")
    await run(archive, f"UPDATE registered_patient SET merged_into = {survivor} WHERE id = {retired}")
    await run(archive, f"UPDATE patient_identifier SET patient = {survivor}, is_first = false WHERE value = 'P1'")
    await add_step(archive, 1, patient=survivor)
    await asked(archive)
    trace = await explain(archive, "CT1", patient="P1")
    assert cause(trace) == ("patient", "The patient P1 was merged into P2, and is on worklists under that ID.")
    assert (await explain(archive, "CT1", patient="P2")).is_on


async def test_an_order_that_came_before_its_patient(archive: Archive) -> None:
    await add_step(archive, 1, order={"patient": None})
    stage, words = cause(await why(archive))
    assert stage == "order"
    assert "no patient" in words


@pytest.mark.parametrize("state", ["cancelled", "completed", "discontinued"])
async def test_the_order_is_over(archive: Archive, state: str) -> None:
    await add_step(archive, 1, order={"state": state}, state=state)
    await asked(archive)
    assert cause(await why(archive)) == ("order", f"The order A1 is {state}.")


async def test_the_step_is_in_progress_already(archive: Archive) -> None:
    await add_step(archive, 1, order={"state": "in_progress"}, state="in_progress")
    await asked(archive)
    stage, words = cause(await why(archive))
    assert stage == "view"
    assert words.endswith("in progress")


@pytest.mark.parametrize(
    ("key", "wanted", "stored"),
    [
        ("Modality", "MR", "CT"),
        ("ScheduledStationAETitle", "MR1", "CT1"),
        ("ScheduledProcedureStepStartDate", "20261123", "20261122"),
        ("ScheduledProcedureStepStartTime", "1000-1200", "083000"),
        ("ScheduledProcedureStepLocation", "ROOM2", "ROOM1"),
    ],
)
async def test_a_key_of_the_last_question(archive: Archive, key: str, wanted: str, stored: str) -> None:
    await add_step(archive, 1)
    await asked(archive, {"Modality": "CT", key: wanted})
    stage, words = cause(await why(archive))
    assert (stage, words) == ("question", f"The last question asks for {key} {wanted}; the step has {stored}.")


async def test_a_key_of_the_patient(archive: Archive) -> None:
    await add_step(archive, 1)
    await asked(archive, PatientName="DOE^JOHN")
    assert cause(await why(archive))[1] == "The last question asks for PatientName DOE^JOHN; the step has Doe^Jane."


async def test_only_the_last_question_counts(archive: Archive) -> None:
    await add_step(archive, 1)
    await asked(archive, {"Modality": "MR"})
    await asked(archive, {"Modality": "CT"})
    assert (await why(archive)).is_on


async def test_a_question_that_cannot_be_answered(archive: Archive) -> None:
    await add_step(archive, 1)
    await asked(archive, {"ScheduledProcedureStepStartDate": "20261399-"})
    stage, words = cause(await why(archive))
    assert stage == "question"
    assert "ScheduledProcedureStepStartDate" in words


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"modalities": ["MR"]}, "the modality is MR"),
        ({"stations": ["MR*"]}, "the station's AE title is MR*"),
        ({"locations": ["ROOM2"]}, "the location is ROOM2"),
        ({"station_names": ["X"]}, "the station's name is X"),
        ({"begins": "today"}, "the step begins from"),
        ({"ends": "today-400"}, "the step begins until"),
        ({"states": ["arrived"]}, "the state is arrived"),
    ],
)
async def test_a_filter_of_the_view(archive: Archive, fields: dict[str, Any], word: str) -> None:
    await add_step(archive, 1, start_date="20200101" if "begins" in fields else "20991231")
    await put_view(archive, "Room 1", {**fields, "aets": ["CT1"]})
    await asked(archive)
    stage, words = cause(await why(archive))
    assert stage == "view"
    assert words.startswith("View Room 1: only where ")
    assert word in words


async def test_the_step_is_for_another_station(archive: Archive) -> None:
    await add_step(archive, 1, station_aets=["CT2"])
    await put_view(archive, "Own", {"own_aet": True})
    await asked(archive)
    stage, words = cause(await why(archive))
    assert (stage, words) == ("view", "View Own: only where the step is for CT1 itself. The step S1 does not fit: CT2")


async def test_the_limit_of_the_view(archive: Archive) -> None:
    patient = await add_patient(archive, "P1")
    for number, time in ((1, "1200"), (2, "0800"), (3, "0900")):
        await add_step(archive, number, patient=patient, start_time=time)
    await put_view(archive, "Short", {"results_max": 2})
    await asked(archive)
    assert cause(await why(archive)) == ("view", "2 steps come before it, and the view Short shows 2.")
    assert (await why(archive, accession="A3")).is_on


async def test_the_modality_has_never_asked(archive: Archive) -> None:
    await add_step(archive, 1)
    assert cause(await why(archive)) == ("caller", "CT1 has never asked for the worklist.")


async def test_the_modality_is_held(archive: Archive) -> None:
    await add_step(archive, 1)
    await run(archive, "INSERT INTO held_caller (aet, host) VALUES ('CT1', '10.0.0.9')")
    assert cause(await why(archive)) == ("caller", "CT1 called from 10.0.0.9, and nobody has approved that.")


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Node("CT", "CT1", "ct", 104, enabled=False), "The node CT is disabled."),
        (Node("CT", "CT1", "ct", 104, roles=("send",)), "The node CT may not search: it lacks a role."),
    ],
)
async def test_the_node_may_not_ask(archive: Archive, node: Node, words: str) -> None:
    await add_step(archive, 1)
    await add_node(archive.pool, node)
    assert cause(await why(archive)) == ("caller", words)


async def test_an_order_changed_after_the_question(archive: Archive) -> None:
    await add_step(archive, 1)
    await asked(archive)
    await run(archive, "UPDATE imaging_order SET changed_at = now() + interval '1 minute'")
    trace = await why(archive)
    assert trace.is_on
    assert any(one.mark is Mark.NOTE and "changed after" in one.words for one in trace.findings)


async def test_who_may_not_see_the_order_is_told_of_none(archive: Archive) -> None:
    await add_step(archive, 1)
    await asked(archive)
    with acting_as(Access(ActorKind.PERSON, "ada", frozenset({Permission.ORDER_READ}), RowScope(modalities=("MR",)))):
        assert cause(await why(archive))[0] == "order"
    with acting_as(Access(ActorKind.PERSON, "ada")), pytest.raises(NotAllowedError):
        await why(archive)
    with pytest.raises(InvalidRequestError):
        await explain(archive, "CT1")
