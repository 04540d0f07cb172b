"""Fetching as rows: one order for all who wait, budgets, row scopes; occasions of arrivals and loops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.errors import NotAllowedError, PeerRefusedError, PeerTimeoutError, ServiceError
from fileroom.dicom.query import Level, Query
from fileroom.routing import federated_query, fetch, fetch_work
from fileroom.routing.federated_query import SourceAnswer, asked_elsewhere
from fileroom.routing.fetch import Known, ensure_study, insert_fetch, latest_fetch, list_fetches
from fileroom.routing.fetch_work import fetch_due
from fileroom.routing.prefetch import leads_to, note_arrivals, order_arrived
from fileroom.routing.prefetch_rules import put_prefetch_rule
from fileroom.routing.sources import Source, put_source
from stored_objects import make_file, store_file

STUDY = "1.2.3.900"
READER = frozenset({Permission.STUDY_SEARCH, Permission.STUDY_VIEW})


@pytest.fixture(autouse=True)
def _as_fileroom() -> Iterator[None]:
    with acting_as(SYSTEM):
        yield


@pytest.fixture
async def source(archive: Archive) -> Archive:
    """An archive with one source, which is not there."""
    budget = {"studies_per_hour": 1, "associations": 1}
    fields = {"dicomweb": "http://127.0.0.1:9/dicom-web", "prefetch": True, "budget": budget}
    await put_source(archive, "A", fields, new=True)
    return archive


def has(monkeypatch: pytest.MonkeyPatch, *matches: dict[str, Any]) -> list[Query]:
    """Let every source answer with these studies; the questions it is asked."""
    asked: list[Query] = []

    async def answer(_archive: Archive, _source: Source, query: Query, **_: object) -> list[dict[str, Any]]:
        asked.append(query)
        return list(matches)

    monkeypatch.setattr(federated_query, "ask_source", answer)
    return asked


def study(uid: str = STUDY, **values: str) -> dict[str, Any]:
    tags = {"patient": ("00100020", "LO"), "modality": ("00080061", "CS")}
    found: dict[str, Any] = {"0020000D": {"vr": "UI", "Value": [uid]}}
    return found | {tags[key][0]: {"vr": tags[key][1], "Value": [value]} for key, value in values.items()}


async def test_all_who_ask_for_a_study_wait_for_one_order(source: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, study())
    waiting = 0

    async def wait(*arguments: Any) -> bool:
        nonlocal waiting
        waiting += 1
        return await fetch_wait(*arguments)

    fetch_wait = fetch._wait
    monkeypatch.setattr(fetch, "_wait", wait)
    asking = [asyncio.create_task(ensure_study(source, STUDY)) for _ in range(5)]
    async with asyncio.timeout(60):
        while waiting < 5:  # Whoever asks after the order is done begins anew.
            await asyncio.sleep(0.01)
    assert [job.state for job in await list_fetches(source)] == ["waiting"]
    async with source.pool.connection() as connection:
        await connection.execute(b"UPDATE fetch_job SET state = 'done'")
    assert await asyncio.gather(*asking) == [True] * 5
    assert len(await list_fetches(source)) == 1


async def test_what_nobody_has_is_not_ordered(source: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch)
    assert await ensure_study(source, STUDY) is False
    assert await list_fetches(source) == []


async def test_a_row_scope_hides_what_it_hides_here(source: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, study(patient="P1"), study("1.2.3.901", patient="P2"), study("1.2.3.902"))
    reader = Access(ActorKind.PERSON, "ada", READER, RowScope(patient_ids=("P1",)))
    with acting_as(reader):
        query = Query(Level.STUDY, return_tags=((0x0020000D,),))
        async with asked_elsewhere(source, query) as elsewhere:
            (answer,) = [one async for one in elsewhere.answers(set())]
        assert [match["0020000D"]["Value"][0] for match in answer.matches] == [STUDY]
    has(monkeypatch, study("1.2.3.901", patient="P2"))
    with acting_as(reader):
        assert await ensure_study(source, "1.2.3.901") is False


async def test_what_is_here_and_hidden_stays_hidden_when_another_archive_tells_of_it(
    source: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await store_file(source, make_file(StudyInstanceUID=STUDY, PatientID="OTHER"))
    has(monkeypatch, study(stored.study_instance_uid, patient="P1"))
    with acting_as(Access(ActorKind.PERSON, "ada", READER, RowScope(patient_ids=("P1",)))):
        async with asked_elsewhere(source, Query(Level.STUDY, return_tags=((0x0020000D,),))) as elsewhere:
            (answer,) = [one async for one in elsewhere.answers(set())]
    assert answer.matches == []


async def test_who_may_not_search_or_view_is_refused(source: Archive) -> None:
    with acting_as(Access(ActorKind.PERSON, "ada")), pytest.raises(NotAllowedError):
        await ensure_study(source, STUDY)


async def test_the_budget_holds_back_prefetching_but_not_who_waits(
    source: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise PeerRefusedError("not now")

    monkeypatch.setattr(fetch_work, "fetch_study", fail)
    for number in range(3):
        await insert_fetch(source, f"1.2.{number}", Known("A", 1), reason="prefetch", asked_by="rule")
    stop = asyncio.Event()
    assert [await fetch_due(source, stop) for _ in range(2)] == [1, 0]
    assert sorted(job.attempts for job in await list_fetches(source)) == [0, 0, 1]
    await insert_fetch(source, "1.2.9", Known("A", 1), reason="asked", asked_by="ada")
    assert await fetch_due(source, stop) == 1
    job = await latest_fetch(source, "1.2.9")
    assert job is not None
    assert (job.state, job.attempts, job.cause) == ("waiting", 1, "not now")


async def test_three_failures_end_what_somebody_waits_for(source: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise PeerRefusedError("it is broken")

    monkeypatch.setattr(fetch_work, "fetch_study", fail)
    has(monkeypatch, study())
    waiting = asyncio.create_task(ensure_study(source, STUDY))
    while not await list_fetches(source):
        await asyncio.sleep(0)
    for _ in range(3):
        assert await fetch_due(source, asyncio.Event()) == 1
        async with source.pool.connection() as connection:
            await connection.execute(b"UPDATE fetch_job SET due_at = now() - interval '1 second'")
    with pytest.raises(ServiceError, match="it is broken"):
        await waiting


async def test_a_fetch_that_breaks_goes_on_at_the_next_source_that_has_the_study(
    source: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("B", "C"):
        await put_source(source, name, {"dicomweb": f"http://127.0.0.1:9/{name}"}, new=True)
    has(monkeypatch, study())
    tried: list[str] = []

    async def fetch(_archive: Archive, of: Source, *_: object) -> None:
        tried.append(of.name)
        if of.name != "C":
            raise PeerRefusedError(f"{of.name} broke off")
        await store_file(source, make_file(StudyInstanceUID=STUDY))

    monkeypatch.setattr(fetch_work, "fetch_study", fetch)
    waiting = asyncio.create_task(ensure_study(source, STUDY))
    while not await list_fetches(source):
        await asyncio.sleep(0)
    for _ in range(3):
        assert await fetch_due(source, asyncio.Event()) == 1, "the next one is asked at once"
    assert tried == ["A", "B", "C"]
    assert await waiting is True


async def test_a_source_that_says_nothing_costs_its_time_once_and_answers_say_so(
    source: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    seconds = [1000.0]
    source.silent.clock = lambda: seconds[0]

    async def silent(_archive: Archive, of: Source, *_: object, **__: object) -> list[dict[str, Any]]:
        asked.append(of.name)
        if len(asked) == 1:
            raise PeerTimeoutError("A did not answer within 10 s.")
        return [study()]

    async def ask() -> SourceAnswer:
        async with asked_elsewhere(source, Query(Level.STUDY, return_tags=((0x0020000D,),))) as elsewhere:
            (answer,) = [one async for one in elsewhere.answers(set())]
        return answer

    monkeypatch.setattr(federated_query, "ask_source", silent)
    assert (await ask()).problem == "A did not answer within 10 s."
    seconds[0] += 10
    assert (await ask()).problem == "A did not answer within 10 s. It is asked again in 20 s."
    assert asked == ["A"]
    seconds[0] += 20
    assert (await ask()).problem == ""
    assert (await ask()).problem == ""
    assert asked == ["A"] * 3


async def test_an_arrival_is_an_occasion_once_and_what_was_fetched_is_none(source: Archive) -> None:
    await store_file(source, make_file(StudyInstanceUID="1.2.3.1", SOPInstanceUID="1.2.3.1.1", PatientID="P1"))
    await note_arrivals(source)  # what was here before there was a rule
    await put_prefetch_rule(source, "priors", {"on": "arrival"})
    await store_file(source, make_file(StudyInstanceUID="1.2.3.2", SOPInstanceUID="1.2.3.2.1", PatientID="P1"))
    await insert_fetch(source, "1.2.3.3", Known("A", 1), reason="asked", asked_by="ada")
    await store_file(source, make_file(StudyInstanceUID="1.2.3.3", SOPInstanceUID="1.2.3.3.1", PatientID="P1"))
    for _ in range(3):
        await note_arrivals(source)
    async with source.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT study_instance_uid FROM prefetch_occasion")
        assert await cursor.fetchall() == [("1.2.3.2",)]


async def test_an_order_counts_once(archive: Archive) -> None:
    assert await order_arrived(archive, order="A1", patient_id="P1", modality="CT")
    assert not await order_arrived(archive, order="A1", patient_id="P1", modality="CT")


def test_a_destination_that_leads_back_is_known() -> None:
    destinations: dict[str, dict[str, Any]] = {
        "NODE": {"kind": "dicom", "target": {"node": "A"}},
        "WEB": {"kind": "stow", "target": {"url": "https://a.example/stow"}},
        "POOL": {"kind": "pool", "target": {"members": [{"destination": "ELSE"}, {"destination": "NODE"}]}},
        "ELSE": {"kind": "dicom", "target": {"node": "B"}},
    }
    node, web = Source("A", node="A"), Source("A", dicomweb="https://a.example/dicom-web")
    assert [leads_to(destinations, name, node) for name in destinations] == [True, False, True, False]
    assert [leads_to(destinations, name, web) for name in destinations] == [False, True, False, False]
