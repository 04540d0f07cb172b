"""Reading orders: what somebody may see, what rules may ask about a study's order; the states and the table behind it."""

from __future__ import annotations

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.routing.operands import ORDER_FIELDS
from fileroom.worklist.changes import Cause, PutOrder
from fileroom.worklist.facts import Code, Identifier, OrderFacts, OrderState, PatientFacts, StepFacts, VisitFacts
from fileroom.worklist.order_search import (
    OrderFilter,
    StepFilter,
    facts_of_study,
    get_order,
    search_orders,
    search_steps,
    show_order,
)
from fileroom.worklist.order_states import next_state, state_of_steps, states_for_people
from fileroom.worklist.orders import put_order
from fileroom.worklist.procedure_codes import ProcedureCode, read_csv, write_csv
from stored_objects import make_file, store_file

S, A, P, C, X, D = OrderState


async def entered(archive: Archive, accession: str = "A1", uid: str | None = None, modality: str = "CT") -> int:
    facts = OrderFacts(
        accession=Identifier(accession),
        placer=Identifier(f"P-{accession}"),
        procedure=Code("CTABD", "L", "CT abdomen"),
        study_instance_uid=uid,
        priority="STAT",
        department="ER",
        institution="North  Hospital",
        ordering_physician="House^Greg",
        referring_physician="Gray^Henry",
        reason="pain",
        steps=(StepFacts(modality=modality, station_aets=("CT1",), start="202611221030"),),
    )
    patient = PatientFacts((Identifier("4711", "HOSP"),), name="Lovelace^Ada")
    visit = VisitFacts(Identifier("V1"), patient_class="I")
    async with archive.pool.connection() as connection, connection.transaction():
        effects = await put_order(archive, connection, PutOrder(facts, patient, visit), Cause("RIS"))
    return next(one.number for one in effects if one.subject == "order")


async def test_rules_are_told_all_order_fields_of_a_study(archive: Archive) -> None:
    await entered(archive, uid="1.2.3.9")
    async with archive.pool.connection() as connection:
        found = await facts_of_study(connection, "1.2.3.9")
        assert await facts_of_study(connection, "1.2.3.8") == {}
    assert set(found) == set(ORDER_FIELDS)
    assert found == {
        "accession": "A1",
        "number": "P-A1",
        "status": "scheduled",
        "priority": "STAT",
        "modality": "CT",
        "procedure": "CT abdomen",
        "procedure_code": "CTABD",
        "station": "CT1",
        "department": "ER",
        "requester": "House^Greg",
        "reason": "pain",
        "patient_class": "I",
    }


async def test_a_study_is_of_the_order_that_it_met_even_if_its_uid_says_otherwise(archive: Archive) -> None:
    await entered(archive, "A1", uid="1.2.3.9")
    other = await entered(archive, "A2")
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"INSERT INTO study_match (study_instance_uid, imaging_order, how, score, matched_by) "
            b"VALUES ('1.2.3.9', %s, 'person', 100, 'ada')",
            (other,),
        )
        assert (await facts_of_study(connection, "1.2.3.9"))["accession"] == "A2"


async def test_a_study_without_the_orders_uid_is_known_by_its_accession_and_patient(archive: Archive) -> None:
    stored = make_file(AccessionNumber="A1", PatientID="4711")
    await store_file(archive, stored)
    await entered(archive, "A1")
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT study_instance_uid FROM study")
        [[uid]] = await cursor.fetchall()
        assert (await facts_of_study(connection, uid))["accession"] == "A1"
        await connection.execute(b"UPDATE study SET patient_id = 'SOMEBODY ELSE'")
        assert await facts_of_study(connection, uid) == {}


@pytest.mark.parametrize(
    ("rows", "seen"),
    [
        (RowScope(), True),
        (RowScope(modalities=("CT",)), True),
        (RowScope(modalities=("MR",)), False),
        (RowScope(patient_ids=("4711",), institutions=("north hospital",)), True),
        (RowScope(patient_ids=("4712",)), False),
        (RowScope(institutions=("South",)), False),
        (RowScope(referring_physicians=("GRAY^henry",)), True),
        (RowScope(referring_physicians=("Other^Doctor",)), False),
        (RowScope(own_uploads=True), False),
    ],
)
async def test_a_row_scope_hides_orders(archive: Archive, rows: RowScope, seen: bool) -> None:
    number = await entered(archive)
    who = Access(ActorKind.PERSON, "ada", frozenset({Permission.ORDER_READ}), rows, account_id=1)
    with acting_as(who):
        assert bool(await search_orders(archive, OrderFilter())) is seen
        assert bool(await search_steps(archive, StepFilter())) is seen
        if seen:
            assert (await show_order(archive, number)).order.id == number
        else:
            with pytest.raises(NotFoundError):
                await get_order(archive, number)


async def test_steps_are_paged_in_the_order_of_their_start(archive: Archive) -> None:
    numbers = [await entered(archive, f"A{place}") for place in range(5)]
    first = await search_steps(archive, StepFilter("20261122", "20261122"), limit=3)
    rest = await search_steps(archive, StepFilter("20261122", "20261122"), limit=3, after=first[-1].id)
    assert [one.order for one in (*first, *rest)] == numbers


@pytest.mark.parametrize(
    ("now", "wanted", "after"),
    [(S, A, A), (A, S, S), (S, P, P), (P, A, P), (P, X, D), (C, P, C), (X, S, X), (D, C, D), (A, X, X), (P, C, C)],
)
def test_which_state_follows_which(now: OrderState, wanted: OrderState, after: OrderState) -> None:
    assert next_state(now, wanted) is after


def test_a_person_may_always_schedule_again() -> None:
    assert all(S in states_for_people(state) for state in OrderState if state is not S)
    assert states_for_people(X) == (S,)


@pytest.mark.parametrize(
    ("steps", "state"),
    [((), None), ((S, S), None), ((S, P), P), ((C, S), P), ((C, D), C), ((D, X), D), ((X, X), X), ((A, X), None)],
)
def test_an_order_stands_as_its_steps_do(steps: tuple[OrderState, ...], state: OrderState | None) -> None:
    assert state_of_steps(steps) is state


def test_the_table_is_read_as_it_was_written() -> None:
    rows = [
        ProcedureCode(
            "A", "L", 'say "x", y', "CT", "HEAD", "L", ("CT1", "CT2"), "Room 7", 20, (Code("1", "99L", "m"),)
        ),
        ProcedureCode("B"),
    ]
    assert read_csv(write_csv(rows)) == rows
    assert read_csv("\ufeffCode;Modality\r\nA;ct\r\n") == [ProcedureCode("A", modality="CT")]


@pytest.mark.parametrize(
    "text", ["", "name\nx\n", "code,colour\nA,red\n", "code\nA,B\n", "code,stations\nA,A_TITLE_THAT_IS_TOO_LONG\n"]
)
def test_a_table_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        read_csv(text)
