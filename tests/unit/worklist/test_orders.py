"""Orders as messages make and change them, in any order and twice."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, acting_as
from fileroom.core.errors import ConflictError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.worklist.changes import Cause, Effect, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState, PatientFacts, StepFacts, VisitFacts
from fileroom.worklist.order_rows import Order, read_order
from fileroom.worklist.order_search import read_history
from fileroom.worklist.orders import change_order_state, change_step_state, put_order, save_order, set_order_state
from fileroom.worklist.procedure_codes import ProcedureCode, put_procedure_code

RIS = Cause("RIS feed")
ADA = PatientFacts((Identifier("4711", "HOSP"),), name="Lovelace^Ada", birth_date="18151210", sex="F")
BEA = PatientFacts((Identifier("4712", "HOSP"),), name="Brown^Bea")
STEP = StepFacts(modality="CT", station_aets=("CT1",), start="202611221030")


def facts(placer: str = "P1", **more: Any) -> OrderFacts:
    given = {
        "placer": Identifier(placer, "RIS") if placer else None,
        "accession": Identifier("A123"),
        "procedure": Code("CTABD", "L", "CT abdomen"),
        "steps": (STEP,),
    }
    return OrderFacts(**(given | more))


def new(**more: Any) -> PutOrder:
    return PutOrder(facts(**more), ADA, must_be="new")


def state(wanted: OrderState, **more: Any) -> PutOrder:
    given = {"placer": Identifier("P1", "RIS")} | more
    return PutOrder(OrderFacts(**given), state=wanted)


async def put(archive: Archive, change: PutOrder) -> list[Effect]:
    async with archive.pool.connection() as connection, connection.transaction():
        return await put_order(archive, connection, change, RIS)


async def orders_of(archive: Archive) -> list[Order]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT id FROM imaging_order ORDER BY id")
        found = [await read_order(connection, row[0]) for row in await cursor.fetchall()]
    return [one for one in found if one is not None]


async def only(archive: Archive) -> Order:
    [order] = await orders_of(archive)
    return order


def words(effects: list[Effect]) -> list[str]:
    return [one.words for one in effects if one.subject == "order"]


# --- making ---


async def test_a_new_order_is_made_with_its_patient_and_step(archive: Archive) -> None:
    told = await put(archive, new())
    assert words(told) == ["order A123 made, 1 step for CT1 at 2026-11-22 10:30"]
    order = await only(archive)
    assert (order.patient_id, order.patient_name) == ("4711", "Lovelace^Ada")
    assert order.study_instance_uid.startswith("2.25.")
    [step] = order.steps
    assert (step.modality, step.station_aets, step.start_date, step.start_time) == (
        "CT",
        ("CT1",),
        "20261122",
        "103000",
    )
    assert step.step_id == f"{order.id}-1"
    assert step.state is OrderState.SCHEDULED


async def test_the_study_uid_and_step_id_of_the_order_are_kept(archive: Archive) -> None:
    await put(archive, new(study_instance_uid="1.2.3.4", steps=(StepFacts(step_id="SPS1", modality="MR"),)))
    order = await only(archive)
    assert order.study_instance_uid == "1.2.3.4"
    assert order.steps[0].step_id == "SPS1"


async def test_an_order_without_steps_gets_one(archive: Archive) -> None:
    told = await put(archive, new(steps=None))
    assert words(told) == ["order A123 made, 1 step for any station, no time yet"]
    assert len((await only(archive)).steps) == 1


async def test_an_order_without_a_patient_gets_it_later(archive: Archive) -> None:
    told = await put(archive, PutOrder(facts(), None, must_be="new"))
    assert "its patient has not been told yet" in words(told)
    assert (await only(archive)).patient is None
    told = await put(archive, PutOrder(facts(), ADA))
    assert words(told) == ["order A123 changed: patient"]
    assert (await only(archive)).patient_id == "4711"


async def test_an_order_makes_the_patient_and_visit_that_nobody_has_told_of(archive: Archive) -> None:
    await put(archive, PutOrder(facts(), ADA, VisitFacts(Identifier("V1"), location="WARD 3")))
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(
            b"SELECT v.number, v.location FROM imaging_order o JOIN visit v ON v.id = o.visit AND v.patient = o.patient"
        )
        assert await cursor.fetchall() == [("V1", "WARD 3")]


async def test_an_order_without_any_number_is_refused(archive: Archive) -> None:
    with pytest.raises(InvalidRequestError, match="ORC-2"):
        await put(archive, PutOrder(OrderFacts(procedure=Code("X")), ADA))


@pytest.mark.parametrize("start", ["20261399", "tomorrow", "2026112210303099"])
async def test_a_start_that_is_no_time_is_refused_and_nothing_is_written(archive: Archive, start: str) -> None:
    with pytest.raises(InvalidRequestError, match="start"):
        await put(archive, new(steps=(StepFacts(start=start),)))
    assert await orders_of(archive) == []


async def test_too_many_steps_are_refused(archive: Archive) -> None:
    with pytest.raises(InvalidRequestError, match="50 steps"):
        await put(archive, new(steps=(STEP,) * 51))


async def test_nobody_puts_an_order(archive: Archive) -> None:
    with acting_as(NOBODY), pytest.raises(NotAllowedError):
        await put(archive, new())


# --- which order ---


@pytest.mark.parametrize(
    "known_by",
    [{"placer": Identifier("P1", "RIS")}, {"filler": Identifier("F1", "RIS")}, {"accession": Identifier("A123")}],
)
async def test_an_order_is_found_by_any_of_its_numbers(archive: Archive, known_by: dict[str, Identifier]) -> None:
    await put(archive, new(filler=Identifier("F1", "RIS")))
    await put(archive, PutOrder(OrderFacts(**known_by, priority="STAT"), must_be="known"))  # type: ignore[arg-type]
    assert (await only(archive)).priority == "STAT"


async def test_the_same_accession_at_two_facilities_stays_two_orders(archive: Archive) -> None:
    await put(archive, new(placer="", accession=Identifier("A1", "NORTH")))
    await put(archive, PutOrder(facts("", accession=Identifier("A1", "SOUTH")), BEA, must_be="new"))
    assert [(one.accession_authority, one.patient_id) for one in await orders_of(archive)] == [
        ("NORTH", "4711"),
        ("SOUTH", "4712"),
    ]


async def test_an_accession_without_authority_leads_to_no_other_patients_order(archive: Archive) -> None:
    await put(archive, new(placer=""))
    await put(archive, PutOrder(facts(""), BEA, must_be="new"))
    assert [one.patient_id for one in await orders_of(archive)] == ["4711", "4712"]


async def test_the_same_placer_number_of_two_placers_is_two_orders(archive: Archive) -> None:
    await put(archive, new(accession=None))
    await put(archive, new(placer="", accession=None, filler=Identifier("P1", "OTHER")))
    await put(archive, PutOrder(OrderFacts(placer=Identifier("P1", "OTHER"), procedure=Code("X")), BEA))
    assert len(await orders_of(archive)) == 3


async def test_several_orders_share_an_accession_and_a_study(archive: Archive) -> None:
    await put(archive, new(placer="P1", study_instance_uid="1.2.3"))
    await put(archive, new(placer="P2", study_instance_uid="1.2.3"))
    assert [one.placer_number for one in await orders_of(archive)] == ["P1", "P2"]
    await put(archive, state(OrderState.ARRIVED, placer=None, accession=Identifier("A123")))
    assert [one.state for one in await orders_of(archive)] == [OrderState.ARRIVED] * 2
    with pytest.raises(ConflictError, match="2 orders have this number"):
        await put(archive, PutOrder(OrderFacts(accession=Identifier("A123"), reason="pain")))


async def test_procedures_of_one_order_are_told_apart_by_their_id(archive: Archive) -> None:
    await put(archive, new(procedure_id="R1"))
    await put(archive, new(procedure_id="R2", procedure=Code("CTTHO", "L")))
    await put(archive, new(procedure_id="R2", priority="STAT"))
    assert [(one.procedure_id, one.priority) for one in await orders_of(archive)] == [("R1", "ROUTINE"), ("R2", "STAT")]


async def test_an_order_entered_by_its_accession_takes_on_the_placers_number(archive: Archive) -> None:
    await put(archive, new(placer=""))
    await put(archive, new(placer="P9"))
    assert (await only(archive)).placer_number == "P9"


# --- changing ---


async def test_a_new_order_that_is_there_is_an_update_and_told_so(archive: Archive) -> None:
    await put(archive, new())
    told = await put(archive, new(steps=(StepFacts(modality="CT", station_aets=("CT2",), start="20261123080000"),)))
    assert words(told) == ["order A123 was there already: brought up to date (start, modality and station)"]
    [step] = (await only(archive)).steps
    assert (step.station_aets, step.start_date, step.start_time) == (("CT2",), "20261123", "080000")


async def test_the_same_again_changes_nothing(archive: Archive) -> None:
    await put(archive, new())
    before = await only(archive)
    assert words(await put(archive, new())) == ["order A123: nothing new"]
    assert await only(archive) == before


async def test_what_is_not_said_stays_and_what_is_empty_is_taken_away(archive: Archive) -> None:
    await put(archive, new(reason="pain", department="ER", details={"PatientTransportArrangements": "bed"}))
    await put(archive, PutOrder(OrderFacts(placer=Identifier("P1", "RIS"), reason="")))
    order = await only(archive)
    assert (order.reason, order.department, order.procedure_code) == ("", "ER", "CTABD")
    assert order.details == {"PatientTransportArrangements": "bed"}
    assert len(order.steps) == 1


async def test_a_change_of_an_unknown_order_makes_it_where_it_says_enough(archive: Archive) -> None:
    told = await put(archive, PutOrder(facts(), ADA, must_be="known"))
    assert "it was to be changed and was not known: made from what the change says" in words(told)
    with pytest.raises(NotFoundError, match="P7"):
        await put(archive, PutOrder(OrderFacts(placer=Identifier("P7")), ADA, must_be="known"))


async def test_steps_are_known_by_their_id_and_others_stay(archive: Archive) -> None:
    await put(archive, new(steps=(StepFacts("S1", "CT"), StepFacts("S2", "MR"))))
    await put(archive, new(steps=(StepFacts("S2", start="202611230900"), StepFacts("S3", "US"))))
    steps = (await only(archive)).steps
    assert [(one.step_id, one.modality, one.start_date) for one in steps] == [
        ("S1", "CT", ""),
        ("S2", "MR", "20261123"),
        ("S3", "US", ""),
    ]


async def test_a_step_that_we_named_takes_on_the_name_that_the_ris_gives_later(archive: Archive) -> None:
    await put(archive, new())
    await put(archive, new(steps=(StepFacts("SPS-77"),)))
    [step] = (await only(archive)).steps
    assert (step.step_id, step.modality) == ("SPS-77", "CT")


async def test_an_order_moves_to_another_patient_when_its_number_says_so(archive: Archive) -> None:
    await put(archive, new())
    told = await put(archive, PutOrder(facts(), BEA))
    assert "order A123 belongs to another patient now" in words(told)
    assert (await only(archive)).patient_id == "4712"


# --- states ---


async def test_a_cancelled_order_cancels_its_steps(archive: Archive) -> None:
    await put(archive, new(steps=(StepFacts("S1"), StepFacts("S2"))))
    assert words(await put(archive, state(OrderState.CANCELLED))) == ["order A123 is cancelled now"]
    order = await only(archive)
    assert {order.state, *(step.state for step in order.steps)} == {OrderState.CANCELLED}


async def test_a_cancellation_before_its_order_keeps_it_cancelled(archive: Archive) -> None:
    told = await put(archive, PutOrder(facts(), ADA, state=OrderState.CANCELLED))
    assert words(told) == ["order A123 is not known: kept as cancelled, and it stays so when it comes"]
    told = await put(archive, new(department="ER"))
    assert words(told) == ["order A123 came after it was cancelled: kept, and stays so"]
    order = await only(archive)
    assert (order.state, order.department, order.steps[0].state) == (OrderState.CANCELLED, "ER", OrderState.CANCELLED)
    assert order.steps[0].station_aets == ("CT1",)
    told = await put(archive, new())
    assert words(told)[-1] == "order A123 was cancelled and is placed anew"
    order = await only(archive)
    assert {order.state, order.steps[0].state} == {OrderState.SCHEDULED}


async def test_a_change_of_a_cancelled_order_leaves_it_cancelled(archive: Archive) -> None:
    await put(archive, new())
    await put(archive, state(OrderState.CANCELLED))
    told = await put(archive, PutOrder(facts(priority="STAT"), ADA, state=OrderState.ARRIVED, must_be="known"))
    assert words(told)[-1] == "order A123 stays cancelled: arrived does not follow that"
    order = await only(archive)
    assert (order.state, order.priority) == (OrderState.CANCELLED, "STAT")


async def test_work_that_has_begun_is_discontinued_not_cancelled(archive: Archive) -> None:
    await put(archive, new())
    await put(archive, state(OrderState.IN_PROGRESS))
    assert words(await put(archive, state(OrderState.CANCELLED))) == ["order A123 is discontinued now"]
    assert (await only(archive)).steps[0].state is OrderState.DISCONTINUED


async def test_a_completed_order_stays_completed_when_placed_again(archive: Archive) -> None:
    await put(archive, new())
    await put(archive, state(OrderState.COMPLETED))
    await put(archive, new(priority="STAT"))
    assert (await only(archive)).state is OrderState.COMPLETED


async def test_an_order_follows_its_steps(archive: Archive) -> None:
    await put(archive, new(steps=(StepFacts("S1"), StepFacts("S2"))))
    order = await only(archive)
    first, second = (step.id for step in order.steps)
    seen = []
    for step, wanted in (
        (first, OrderState.IN_PROGRESS),
        (first, OrderState.COMPLETED),
        (second, OrderState.DISCONTINUED),
    ):
        async with archive.pool.connection() as connection, connection.transaction():
            await change_step_state(connection, order.id, step, wanted, RIS)
        seen.append((await only(archive)).state)
    assert seen == [OrderState.IN_PROGRESS, OrderState.IN_PROGRESS, OrderState.COMPLETED]


async def test_what_happens_to_an_order_by_a_modality_is_told(archive: Archive) -> None:
    await put(archive, new())
    number = (await only(archive)).id
    async with archive.pool.connection() as connection, connection.transaction():
        await change_order_state(connection, number, OrderState.COMPLETED, Cause("CT1"))
        told = await change_order_state(connection, number, OrderState.IN_PROGRESS, Cause("CT1"))
    assert words(told) == ["order A123 stays completed: in progress does not follow that"]


# --- people ---


async def test_a_person_reopens_a_final_order_and_nobody_skips_that(archive: Archive) -> None:
    await put(archive, new())
    await put(archive, state(OrderState.CANCELLED))
    number = (await only(archive)).id
    with pytest.raises(ConflictError, match="Reopen it first"):
        await set_order_state(archive, number, OrderState.ARRIVED)
    await set_order_state(archive, number, OrderState.SCHEDULED, reason="cancelled by mistake")
    order = await only(archive)
    assert {order.state, order.steps[0].state} == {OrderState.SCHEDULED}
    assert "because: cancelled by mistake" in (await read_history(archive, number))[0].sentences


async def test_an_order_entered_without_a_number_gets_an_accession(archive: Archive) -> None:
    number, _ = await save_order(archive, PutOrder(OrderFacts(steps=(STEP,)), ADA))
    order = await only(archive)
    assert order.id == number
    assert order.accession_number.startswith("FR")


async def test_an_order_is_not_entered_twice(archive: Archive) -> None:
    await save_order(archive, PutOrder(facts(), ADA))
    with pytest.raises(ConflictError, match="A123 already"):
        await save_order(archive, PutOrder(facts(), ADA))


async def test_two_who_change_one_order_do_not_write_over_each_other(archive: Archive) -> None:
    number, _ = await save_order(archive, PutOrder(facts(), ADA))
    await save_order(archive, PutOrder(OrderFacts(reason="first")), number=number, version=1)
    with pytest.raises(ConflictError, match="changed by"):
        await save_order(archive, PutOrder(OrderFacts(reason="second")), number=number, version=1)
    assert (await only(archive)).reason == "first"


async def test_a_change_that_takes_anothers_placer_number_is_refused(archive: Archive) -> None:
    await put(archive, new(placer="P1", accession=None))
    number, _ = await save_order(archive, PutOrder(facts("P2", accession=None), ADA))
    with pytest.raises(ConflictError, match="Another order"):
        await save_order(archive, PutOrder(OrderFacts(placer=Identifier("P1", "RIS"))), number=number)


# --- the table ---


async def test_the_procedure_code_table_fills_what_the_message_leaves_open(archive: Archive) -> None:
    await put_procedure_code(
        archive,
        ProcedureCode(
            "CTABD",
            meaning="CT of the abdomen",
            modality="CT",
            body_part="ABDOMEN",
            station_aets=("CT1", "CT2"),
            location="ROOM 7",
            minutes=20,
            protocol_codes=(Code("77", "99L", "Abdomen venous"),),
        ),
    )
    await put(archive, new(procedure=Code("CTABD", "L"), steps=(StepFacts(station_aets=("CT9",), start="20261122"),)))
    order = await only(archive)
    [step] = order.steps
    assert (order.procedure_meaning, order.body_part) == ("CT of the abdomen", "ABDOMEN")
    assert (step.modality, step.station_aets, step.location, step.minutes) == ("CT", ("CT9",), "ROOM 7", 20)
    assert step.protocol_codes == (Code("77", "99L", "Abdomen venous"),)


async def test_another_procedure_brings_its_own_station(archive: Archive) -> None:
    await put_procedure_code(archive, ProcedureCode("CTABD", modality="CT", station_aets=("CT1",)))
    await put_procedure_code(archive, ProcedureCode("MRABD", modality="MR", station_aets=("MR1",)))
    await put(archive, new(steps=(StepFacts(start="202611221030"),)))
    await put(archive, new(procedure=Code("MRABD"), steps=(StepFacts(start="202611221100"),)))
    [step] = (await only(archive)).steps
    assert (step.modality, step.station_aets, step.start_time) == ("MR", ("MR1",), "110000")


async def test_a_step_of_another_modality_is_not_what_the_table_speaks_of(archive: Archive) -> None:
    await put_procedure_code(archive, ProcedureCode("CTABD", modality="CT", station_aets=("CT1",), location="ROOM 7"))
    await put(archive, new(steps=(StepFacts("S1"), StepFacts("S2", "US"))))
    first, second = (await only(archive)).steps
    assert (first.modality, first.station_aets, first.location) == ("CT", ("CT1",), "ROOM 7")
    assert (second.modality, second.station_aets, second.location) == ("US", (), "")


# --- what is left behind ---


async def test_every_change_is_in_the_history_and_in_the_audit_trail(archive: Archive, empty_database: str) -> None:
    await put(archive, new())
    await put(archive, state(OrderState.CANCELLED))
    history = await read_history(archive, (await only(archive)).id)
    assert [one.sentences for one in history] == [
        ("order A123 is cancelled now",),
        ("order A123 made, 1 step for CT1 at 2026-11-22 10:30",),
    ]
    with psycopg.connect(empty_database) as connection:
        events = connection.execute(
            "SELECT action, patient_ids FROM audit_event WHERE event = '110109' ORDER BY id"
        ).fetchall()
    assert events == [("C", ["4711"]), ("U", ["4711"])]
