"""The audit trail's rows: append-only, sealed, searched, verified."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from fileroom.admin import audit_events as events
from fileroom.admin.audit import record, record_alone
from fileroom.admin.audit_buffer import VIEW_WINDOW_S, WAITING_EVENTS_MAX, AuditBuffer
from fileroom.admin.audit_chain import ChainEnd, make_checkpoint, read_end, seal_waiting
from fileroom.admin.audit_message import STUDIES_PER_EVENT_MAX, StudyReference
from fileroom.admin.audit_retention import first_of_month, keep_months
from fileroom.admin.audit_search import AuditQuery, AuditRecord, read_all, search
from fileroom.admin.audit_verify import AuditVerifyReport, FindingKind, verify_trail
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import DatabaseError, InvalidRequestError, NotAllowedError
from unit.admin.audit_samples import NODE, PERSON, every_kind

TABLES = ("audit_event", "audit_seal", "audit_checkpoint")


@pytest.fixture(autouse=True)
async def _numbers_from_one(archive: Archive) -> None:
    """The events of each test have the numbers 1, 2, 3 ..."""
    async with archive.pool.connection() as connection:
        await connection.execute("ALTER SEQUENCE audit_event_id RESTART")


async def fill(archive: Archive, count: int = 5) -> None:
    for number in range(count):
        await record_alone(archive.pool, events.role_changed(f"role{number}", "changed"))
    await seal_waiting(archive.pool)


async def tamper(archive: Archive, statement: str, *parameters: object) -> None:
    """As somebody who owns the database, past the triggers."""
    async with archive.pool.connection() as connection, connection.transaction():
        await connection.execute("SET LOCAL session_replication_role = replica")
        cursor = await connection.execute(statement, parameters)
        assert cursor.rowcount


async def add_study(archive: Archive, uid: str, patient_id: str, name: str = "DOE^JANE") -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        cursor = await connection.execute("INSERT INTO patient (identity) VALUES (%s) RETURNING id", (uid,))
        row = await cursor.fetchone()
        assert row
        await connection.execute(
            "INSERT INTO study (patient, study_instance_uid, patient_id, patient_name, accession_number)"
            " VALUES (%s, %s, %s, %s, 'A1')",
            (row[0], uid, patient_id, name),
        )


def found(report: AuditVerifyReport) -> list[tuple[str, int, int]]:
    return [(finding.kind.value, finding.position, finding.event_id) for finding in report.findings]


# --- writing ---


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_rows_cannot_be_changed_or_deleted(archive: Archive, table: str, change: str) -> None:
    await fill(archive)
    await make_checkpoint(archive.pool)
    column = "outcome" if table == "audit_event" else "position"
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        async with archive.pool.connection() as connection:
            await connection.execute(change.format(table, column, column).encode())


async def test_partitions_cannot_be_truncated(archive: Archive) -> None:
    await fill(archive)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with archive.pool.connection() as connection:
            await connection.execute(f"TRUNCATE audit_event_{dt.datetime.now(dt.UTC):%Y%m}".encode())


async def test_an_event_goes_with_the_transaction_that_it_reports(archive: Archive) -> None:
    with pytest.raises(ZeroDivisionError):
        async with archive.pool.connection() as connection, connection.transaction():
            await record(connection, events.role_changed("a", "b"))
            raise ZeroDivisionError
    assert await all_of(archive) == []


async def test_events_name_the_patient_of_their_study(archive: Archive) -> None:
    await add_study(archive, "1.2.3", "4711")
    await record_alone(
        archive.pool, events.viewed([StudyReference("1.2.3"), StudyReference("9.9")], "images", actor=PERSON)
    )
    records = await all_of(archive, AuditQuery(user="ada"))
    known, unknown = sorted(records, key=lambda one: one.study_uids)
    assert (known.study_uids, known.patient_ids) == (("1.2.3",), ("4711",))
    assert [one.name for one in known.message.objects] == ["1.2.3", "DOE^JANE"]
    assert known.message.objects[0].accession_numbers == ("A1",)
    assert (unknown.study_uids, unknown.patient_ids) == (("9.9",), ())


async def test_a_message_speaks_of_one_patient_and_stays_small(archive: Archive) -> None:
    for number in range(30):
        await add_study(archive, f"1.{number}", "P1" if number < 28 else "P2")
    studies = [StudyReference(f"1.{number}") for number in range(30)]
    await record_alone(archive.pool, events.viewed(studies, "images", actor=PERSON))
    records = await all_of(archive, AuditQuery(user="ada"))
    assert sorted(len(one.study_uids) for one in records) == [2, 28 - STUDIES_PER_EVENT_MAX, STUDIES_PER_EVENT_MAX]
    assert all(len(one.patient_ids) == 1 for one in records)


# --- the buffer ---


async def test_what_is_noted_is_written_at_the_end_at_latest(archive: Archive) -> None:
    buffer = AuditBuffer()
    buffer.start(archive.pool)
    for event in every_kind():
        buffer.note(event)
    await buffer.stop()
    written = {one.event for one in await all_of(archive)}
    assert written | {"110101"} == {event.event.value for event in every_kind()}


async def test_a_full_buffer_refuses(archive: Archive) -> None:
    buffer = AuditBuffer()
    event = events.role_changed("a", "b")
    for _ in range(WAITING_EVENTS_MAX):
        buffer.note(event)
    with pytest.raises(DatabaseError, match="nothing is given out"):
        buffer.note(event)


async def test_a_view_is_new_once_in_its_window() -> None:
    buffer = AuditBuffer()
    assert [buffer.is_new_view("ada", "1.2", now=now) for now in (0.0, 1.0, VIEW_WINDOW_S)] == [True, False, True]
    assert buffer.is_new_view("bob", "1.2", now=1.0)


# --- the chain ---


async def test_a_whole_trail_verifies_and_tells_its_end(archive: Archive) -> None:
    await fill(archive, 5)
    await make_checkpoint(archive.pool)
    await fill(archive, 3)
    report = await verify_trail(archive.pool)
    assert (report.events, report.waiting, report.findings) == (8, 0, [])
    async with archive.pool.connection() as connection:
        assert (await read_end(connection))[0] == report.end
    assert report.end.position == 8


async def test_an_unsealed_event_waits(archive: Archive) -> None:
    await record_alone(archive.pool, events.role_changed("a", "b"))
    report = await verify_trail(archive.pool)
    assert (report.events, report.waiting, report.findings) == (0, 1, [])
    assert await seal_waiting(archive.pool) == 1
    assert await seal_waiting(archive.pool) == 0


CHANGES = (
    "UPDATE audit_event SET actor = 'eve' WHERE id = 3",
    "UPDATE audit_event SET outcome = 8 WHERE id = 3",
    "UPDATE audit_event SET study_uids = '{1.2}' WHERE id = 3",
    "UPDATE audit_event SET message = jsonb_set(message, '{participants,0,user}', '\"eve\"') WHERE id = 3",
    "UPDATE audit_seal SET content = sha256('x') WHERE position = 3",
)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_row_is_found_at_its_place(archive: Archive, change: str) -> None:
    await fill(archive)
    await tamper(archive, change)
    places = {(position, event) for _, position, event in found(await verify_trail(archive.pool))}
    assert places == {(3, 3)}


async def test_a_moved_event_is_missed(archive: Archive) -> None:
    await fill(archive)
    await tamper(archive, "UPDATE audit_event SET occurred_at = occurred_at - interval '1 ms' WHERE id = 3")
    assert found(await verify_trail(archive.pool)) == [("missing", 3, 3), ("unsealed", 0, 3)]


async def test_a_removed_event_is_missed(archive: Archive) -> None:
    await fill(archive)
    await tamper(archive, "DELETE FROM audit_event WHERE id = 3")
    assert found(await verify_trail(archive.pool)) == [("missing", 3, 3)]


async def test_an_event_removed_with_its_seal_is_missed(archive: Archive) -> None:
    await fill(archive)
    await tamper(archive, "DELETE FROM audit_event WHERE id = 3")
    await tamper(archive, "DELETE FROM audit_seal WHERE position = 3")
    report = await verify_trail(archive.pool)
    assert [finding.kind for finding in report.findings] == [FindingKind.MISSING]
    assert "3 to 3" in report.findings[0].detail


async def test_an_event_removed_before_its_seal_is_missed(archive: Archive) -> None:
    await record_alone(archive.pool, events.role_changed("a", "b"))
    await tamper(archive, "DELETE FROM audit_event")
    await seal_waiting(archive.pool)
    assert found(await verify_trail(archive.pool)) == [("missing", 0, 1)]


async def test_exchanged_rows_are_found(archive: Archive) -> None:
    await fill(archive)
    await tamper(archive, "UPDATE audit_seal SET position = 7 - position WHERE position IN (3, 4)")
    kinds = {(finding.kind, finding.position) for finding in (await verify_trail(archive.pool)).findings}
    assert {(FindingKind.REORDERED, 3), (FindingKind.REORDERED, 4)} <= kinds


async def test_an_inserted_event_is_found(archive: Archive) -> None:
    await fill(archive)
    await tamper(
        archive,
        "INSERT INTO audit_event (id, event, action, outcome, actor_kind, actor, message)"
        " VALUES (99, '110114', 'E', 0, 'person', 'eve', '{}')",
    )
    assert found(await verify_trail(archive.pool)) == [("unsealed", 0, 99)]


async def test_a_cut_end_is_found_by_a_checkpoint(archive: Archive) -> None:
    await fill(archive)
    await make_checkpoint(archive.pool)
    await tamper(archive, "DELETE FROM audit_seal WHERE position > 3")
    await tamper(archive, "DELETE FROM audit_event WHERE id > 3")
    assert ("missing", 4, 0) in found(await verify_trail(archive.pool))


async def test_a_rewritten_chain_is_found_by_a_checkpoint_from_elsewhere(archive: Archive) -> None:
    await fill(archive)
    end = (await verify_trail(archive.pool)).end
    await tamper(archive, "UPDATE audit_event SET actor = 'eve' WHERE id = 3")
    await tamper(archive, "DELETE FROM audit_seal")
    await tamper(archive, "INSERT INTO audit_queue SELECT id, occurred_at FROM audit_event")
    await seal_waiting(archive.pool)
    assert (await verify_trail(archive.pool)).findings == []
    report = await verify_trail(archive.pool, expected=end)
    assert found(report) == [("checkpoint", 5, 5)]
    assert found(await verify_trail(archive.pool, expected=ChainEnd(9, end.chain))) == [("missing", 6, 0)]


async def test_checkpoints_come_by_the_hour_and_only_with_news(archive: Archive) -> None:
    await fill(archive)
    for _ in range(3):
        await make_checkpoint(archive.pool)
    async with archive.pool.connection() as connection:
        cursor = await connection.execute("SELECT position FROM audit_checkpoint")
        assert await cursor.fetchall() == [(5,)]


# --- keeping ---


async def test_old_months_go_and_the_chain_goes_on(archive: Archive) -> None:
    await make_old_month(archive)
    await fill(archive, 2)
    now = dt.datetime.now(dt.UTC)
    assert await keep_months(archive.pool, 600, now) == 0
    assert await keep_months(archive.pool, 3, now) == 2
    await seal_waiting(archive.pool)
    report = await verify_trail(archive.pool)
    assert report.findings == []
    assert report.kept_since == first_of_month(now, 3)
    assert report.events == 3  # the two, and the one that says what was deleted
    assert any("audit_keep_months" in one.what for one in await all_of(archive))


async def test_what_waits_for_the_syslog_server_is_kept(archive: Archive) -> None:
    await make_old_month(archive)
    async with archive.pool.connection() as connection:
        await connection.execute("INSERT INTO audit_forward (target, position) VALUES ('tls://x:1', 2)")
    assert await keep_months(archive.pool, 3, dt.datetime.now(dt.UTC)) == 0
    async with archive.pool.connection() as connection:
        await connection.execute("UPDATE audit_forward SET position = 3")
    assert await keep_months(archive.pool, 3, dt.datetime.now(dt.UTC)) == 2


async def make_old_month(archive: Archive) -> None:
    """Three sealed events of half a year ago, in partitions of their own."""
    then = first_of_month(dt.datetime.now(dt.UTC), 6)
    async with archive.pool.connection() as connection, connection.transaction():
        for table in ("audit_event", "audit_seal"):
            await connection.execute(
                f"CREATE TABLE IF NOT EXISTS {table}_{then:%Y%m} PARTITION OF {table}"
                f" FOR VALUES FROM ('{then.isoformat()}') TO ('{(then + dt.timedelta(days=28)).isoformat()}')".encode()
            )
    await fill(archive, 3)
    at = then + dt.timedelta(days=3)
    await tamper(archive, "UPDATE audit_event SET occurred_at = %s", at)
    await tamper(archive, "DELETE FROM audit_seal")
    await tamper(archive, "INSERT INTO audit_queue SELECT id, occurred_at FROM audit_event")
    await seal_waiting(archive.pool)
    await tamper(archive, "UPDATE audit_seal SET sealed_at = %s", at)
    assert (await verify_trail(archive.pool)).findings == []


# --- searching ---


async def all_of(archive: Archive, query: AuditQuery | None = None) -> list[AuditRecord]:
    records = [one async for one in read_all(archive.pool, query or AuditQuery())]
    return [one for one in records if one.event != "110101"]


async def test_who_looked_at_this_patient(archive: Archive) -> None:
    await add_study(archive, "1.2", "4711")
    await add_study(archive, "1.3", "4712")
    await record_alone(
        archive.pool,
        events.viewed([StudyReference("1.2")], "images", actor=PERSON),
        events.viewed([StudyReference("1.3")], "images", actor=PERSON),
        events.queried("FILEROOM", NODE, b"", "PATIENT: PatientID=4711", sop_class_uid="1", patient_ids=["4711"]),
    )
    records = await all_of(archive, AuditQuery(patient="4711"))
    assert {(one.actor, one.title) for one in records} == {
        ("ada", "DICOM Instances Accessed"),
        ("CT1@10.1.2.3", "Query"),
    }


async def test_searches_by_user_study_time_and_outcome(archive: Archive) -> None:
    await record_alone(archive.pool, *every_kind())
    everything = await all_of(archive)
    middle = sorted(one.occurred_at for one in everything)[len(everything) // 2]
    cases = {
        AuditQuery(user="ada"): lambda one: one.actor == "ada",
        AuditQuery(user="CT1"): lambda one: one.actor.startswith("CT1@"),
        AuditQuery(study="1.2.3"): lambda one: "1.2.3" in one.study_uids,
        AuditQuery(since=middle): lambda one: one.occurred_at >= middle,
        AuditQuery(until=middle): lambda one: one.occurred_at < middle,
        AuditQuery(event="110114"): lambda one: one.event == "110114",
        AuditQuery(event_type="110127"): lambda one: one.event_type == "110127",
        AuditQuery(failures_only=True): lambda one: one.outcome > 0,
    }
    for query, fits in cases.items():
        expected = [one.id for one in everything if fits(one)]
        assert [one.id for one in await all_of(archive, query)] == expected
        assert 0 < len(expected) < len(everything)


async def test_pages_join_without_gap_or_repetition(archive: Archive) -> None:
    async with archive.pool.connection() as connection, connection.transaction():
        await record(connection, *(events.role_changed(f"r{number}", "x") for number in range(25)))
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute("UPDATE audit_event SET occurred_at = now()")  # all at the same moment
    query, ids = AuditQuery(event="110113", limit=7), []
    while True:
        page = await search(archive.pool, query)
        ids += [one.id for one in page.records]
        if not page.next_cursor:
            break
        query = replace(query, cursor=page.next_cursor)
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 25


async def test_reading_is_put_down_once_for_a_question(archive: Archive) -> None:
    await record_alone(archive.pool, *every_kind())
    with acting_as(Access(ActorKind.PERSON, "otto", frozenset({Permission.AUDIT_READ}), address="10.9.9.9")):
        page = await search(archive.pool, AuditQuery(patient="4711", limit=1))
        first = await search(archive.pool, AuditQuery(limit=1))
        await search(archive.pool, AuditQuery(limit=1, cursor=first.next_cursor))
    assert page.records == ()
    reads = [one async for one in read_all(archive.pool, AuditQuery(user="otto"))]
    assert [(one.event, one.what, one.address) for one in reads] == [
        ("110101", "everything", "10.9.9.9"),
        ("110101", "patient=4711", "10.9.9.9"),
    ]


@pytest.mark.parametrize("work", [search, lambda pool, _: verify_trail(pool)])
async def test_reading_needs_the_permission(archive: Archive, work: Any) -> None:
    with acting_as(PERSON), pytest.raises(NotAllowedError):
        await work(archive.pool, AuditQuery())


@pytest.mark.parametrize("cursor", ["x", "WzEsMl0", "W10", "!!!!", "bnVsbA"])
async def test_forged_cursors_are_refused(archive: Archive, cursor: str) -> None:
    with pytest.raises(InvalidRequestError):
        await search(archive.pool, AuditQuery(cursor=cursor))
