"""`/break-glass`: that there is something is told, nothing else; a reason opens it; somebody else reviews it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from fileroom.admin.break_glass import list_break_glass
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import RowScope
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import PASSWORD, HeldClock, add, people_of
from stored_objects import make_file, store_file

BASE_URL = "http://pacs.hospital"
REASON = "Collapsed in the ward, no history known"
PATIENT = "SECRET-77"


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)


@pytest.fixture
async def client(archive: Archive, people: People, clock: HeldClock) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody on the network; ada sees MR only, the archive holds a CT."""
    hidden = {"PatientID": PATIENT, "AccessionNumber": "ACC-9", "PatientName": "Hidden^Person"}
    await store_file(archive, make_file(Modality="CT", **hidden))
    await add(people, "ada", "physician", rows=RowScope(modalities=("MR",)))
    await add(people, "eve", "researcher", rows=RowScope(modalities=("MR",)))
    await add(people, "adam", "auditor")
    app = create_app(dataclasses.replace(archive, settings=Settings(host="0.0.0.0"), now=clock))
    transport = httpx.ASGITransport(app, client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, headers={"accept": "text/html"}) as client:
        yield client


async def _enter(client: httpx.AsyncClient, login: str) -> None:
    client.cookies.clear()
    assert (await client.post("/login", data={"username": login, "password": PASSWORD})).status_code == 303


async def _send(client: httpx.AsyncClient, path: str, **fields: object) -> httpx.Response:
    token = form_token(client.cookies[PLAIN_COOKIE])
    return await client.post(path, data={"form_token": token, **fields}, headers={"origin": BASE_URL})


def _study_of(page: str) -> str:
    found = re.search(r'href="/studies/([0-9.]+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("address", [f"/search?q={PATIENT}", "/search?q=ACC-9", f"/?PatientID={PATIENT}"])
async def test_that_there_is_a_study_is_told_and_nothing_of_it(client: httpx.AsyncClient, address: str) -> None:
    await _enter(client, "ada")
    page = (await client.get(address)).text
    assert "There is a study outside your access" in page
    assert "/break-glass?back=" in page
    for detail in ("Hidden", "Person", "CT1", "/studies/1"):
        assert detail not in page


@pytest.mark.parametrize("text", ["SECRET", "SECRET-7", "SECRET*", "secret-7?", "Hidden", "", "x" * 500])
async def test_only_exact_numbers_are_answered(client: httpx.AsyncClient, text: str) -> None:
    await _enter(client, "ada")
    answer = await client.get("/search", params={"q": text})
    assert answer.status_code == 200
    assert "outside your access" not in answer.text


async def test_who_may_not_break_the_glass_is_told_nothing(client: httpx.AsyncClient) -> None:
    await _enter(client, "eve")
    assert "outside your access" not in (await client.get(f"/search?q={PATIENT}")).text
    assert (await client.get("/break-glass")).status_code == 403


async def test_a_reason_opens_it_until_it_is_ended(
    client: httpx.AsyncClient, people: People, archive: Archive, clock: HeldClock
) -> None:
    await _enter(client, "ada")
    for reason in ("", "x", "aaaaaaaaaaaa"):
        refused = await _send(client, "/break-glass", reason=reason, minutes="60", back="/")
        assert refused.status_code == 400
        assert 'role="alert"' in refused.text
    began = await _send(client, "/break-glass", reason=REASON, minutes="60", back=f"/search?q={PATIENT}")
    assert (began.status_code, began.headers["location"]) == (303, f"/search?q={PATIENT}")
    page = (await client.get(began.headers["location"])).text
    study = _study_of(page)
    assert "The glass is broken" in page  # on every page
    assert (await client.get(f"/studies/{study}")).status_code == 200

    assert (await _send(client, "/break-glass/end", back="/")).status_code == 303
    assert "The glass is broken" not in (await client.get("/")).text
    offered = await client.get(f"/studies/{study}")  # a link that somebody kept is a way in again
    assert offered.status_code == 404
    assert "There is a study outside your access" in offered.text
    assert f'value="/studies/{study}"' in offered.text
    assert PATIENT not in offered.text
    assert (await client.get("/studies/1.2.3.999")).status_code == 404
    assert "outside your access" not in (await client.get("/studies/1.2.3.999")).text


async def test_an_auditor_reviews_what_was_seen(
    client: httpx.AsyncClient, people: People, archive: Archive, clock: HeldClock
) -> None:
    await _enter(client, "ada")
    await _send(client, "/break-glass", reason=REASON, minutes="15", back="/")
    glass = (await list_break_glass(people))[0]
    study = _study_of((await client.get(f"/search?q={PATIENT}")).text)
    async with archive.pool.connection() as connection:
        # As the trail has it: the person's view, in the time of the glass.
        await connection.execute(
            b"""INSERT INTO audit_event
                    (occurred_at, event, action, outcome, actor_kind, actor, patient_ids, study_uids, message)
                VALUES (%s, '110103', 'R', 0, 'person', 'ada', %s, %s, '{}')""",
            (clock(), [PATIENT], [study]),
        )
    clock.wait(minutes=16)
    await _enter(client, "adam")
    page = (await client.get("/admin/break-glass")).text
    for told in ("ada", REASON, PATIENT, study):
        assert told in page
    assert (await _send(client, "/admin/break-glass/review", id=glass.id, remark="")).status_code == 400
    done = await _send(client, "/admin/break-glass/review", id=glass.id, remark="Asked the ward: fits")
    assert done.status_code == 303
    assert REASON not in (await client.get("/admin/break-glass")).text
    assert "Asked the ward: fits" in (await client.get("/admin/break-glass?show=all")).text
    await _enter(client, "ada")
    assert (await client.get("/admin/break-glass")).status_code == 403
