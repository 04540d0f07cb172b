"""The API over HTTP messages and the real services: what is refused and how, versions, pages, hidden studies."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from fileroom.admin.people import People
from fileroom.admin.sessions import begin_session
from fileroom.admin.tokens import TokenRequest, create_token
from fileroom.archive.services import Archive
from fileroom.core.access import NOBODY, SYSTEM, RowScope, acting_as, set_process_access
from fileroom.core.settings import Settings
from fileroom.web.app import create_app
from fileroom.web.credentials import PLAIN_COOKIE, form_token
from people_of_tests import HeldClock, add, people_of
from stored_objects import make_file, store_file

NODE = {"name": "CT1", "aet": "CT1", "host": "10.1.2.3", "port": 104}
Client = Callable[[str], httpx.AsyncClient]


@pytest.fixture
def people(archive: Archive) -> People:
    return people_of(archive, HeldClock())


@pytest.fixture
async def app(archive: Archive) -> AsyncIterator[httpx.AsyncClient]:
    """A client without credentials, from another machine."""
    settings = Settings(host="0.0.0.0", data=archive.settings.data)  # type: ignore[call-arg]
    served = create_app(dataclasses.replace(archive, settings=settings, now=HeldClock()))
    transport = httpx.ASGITransport(served, client=("10.0.0.9", 40000))
    async with httpx.AsyncClient(transport=transport, base_url="http://pacs.hospital/api/v1") as client:
        yield client


@pytest.fixture
async def administrator(app: httpx.AsyncClient, people: People) -> httpx.AsyncClient:
    app.headers["authorization"] = f"Bearer {await create_token(people, TokenRequest('script'), 'administrator')}"
    set_process_access(NOBODY)
    return app


def problem(answer: httpx.Response) -> dict[str, object]:
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, object] = answer.json()
    assert found["status"] == answer.status_code
    assert found["detail"]
    return found


async def test_who_asks_is_told(administrator: httpx.AsyncClient) -> None:
    me = (await administrator.get("/me")).json()
    assert (me["kind"], me["name"]) == ("token", "script")
    assert "node.manage" in me["permissions"]


async def test_nobody_is_told_to_log_in(app: httpx.AsyncClient) -> None:
    answer = await app.get("/me")
    assert answer.status_code == 401
    problem(answer)


async def test_what_does_not_fit_the_document_is_400_and_says_where(administrator: httpx.AsyncClient) -> None:
    answer = await administrator.post("/nodes", json=NODE | {"port": "104", "colour": "red"})
    assert answer.status_code == 400
    assert [one["where"] for one in problem(answer)["errors"]] == ["body.port", "body.colour"]  # type: ignore[attr-defined]


async def test_what_the_service_refuses_is_422_in_its_words(administrator: httpx.AsyncClient) -> None:
    answer = await administrator.post("/nodes", json=NODE | {"charset": "KLINGON"})
    assert answer.status_code == 422
    assert "KLINGON" in str(problem(answer)["detail"])


async def test_a_misspelt_filter_does_not_find_everything(administrator: httpx.AsyncClient) -> None:
    answer = await administrator.get("/studies?patiend_id=4711")
    assert answer.status_code == 400
    assert "patiend_id" in str(problem(answer)["detail"])
    assert (await administrator.get("/studies?limit=1&limit=2")).status_code == 400


async def test_a_body_is_json_and_bounded(administrator: httpx.AsyncClient) -> None:
    assert (await administrator.post("/nodes", data=NODE)).status_code == 415
    assert (
        await administrator.post("/nodes", content=b"{", headers={"content-type": "application/json"})
    ).status_code == 400
    long = b'{"text": "' + b"x" * (5 << 20) + b'"}'
    answer = await administrator.post("/node-file", content=long, headers={"content-type": "application/json"})
    assert answer.status_code == 413
    problem(answer)


async def test_null_characters_never_reach_the_database(administrator: httpx.AsyncClient) -> None:
    assert (await administrator.get("/nodes/%00")).status_code == 400
    assert (await administrator.get("/audit/events?patient=%00")).status_code == 400
    assert (await administrator.patch("/settings", json={"settings": {"viewer_name": "a\0b"}})).status_code == 400
    document = {"document": {"roles": {"x\0": {}}}}
    assert (await administrator.put("/settings/document", json=document)).status_code == 422


async def test_other_methods_and_addresses(administrator: httpx.AsyncClient) -> None:
    answer = await administrator.put("/nodes")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    assert (await administrator.options("/nodes")).status_code == 204
    head = await administrator.head("/nodes")
    assert (head.status_code, head.content) == (200, b"")
    assert (await administrator.get("/nothing")).status_code == 404


async def test_a_node_is_added_changed_and_removed_by_version(administrator: httpx.AsyncClient) -> None:
    made = await administrator.post("/nodes", json=NODE)
    assert made.status_code == 201
    first = made.headers["etag"]
    assert (await administrator.get("/nodes/CT1")).headers["etag"] == first
    assert (await administrator.post("/nodes", json=NODE)).status_code == 409
    changed = await administrator.patch("/nodes/CT1", json={"port": 105}, headers={"if-match": first})
    assert (changed.status_code, changed.json()["port"], changed.json()["version"]) == (200, 105, 2)
    late = await administrator.patch("/nodes/CT1", json={"host": "10.9.9.9"}, headers={"if-match": first})
    assert late.status_code == 412
    assert (await administrator.get("/nodes/CT1")).json()["host"] == "10.1.2.3"
    history = (await administrator.get("/nodes/CT1/versions")).json()["items"]
    assert history[0]["changes"] == [{"field": "port", "before": "104", "after": "105"}]
    assert (await administrator.delete("/nodes/CT1", headers={"if-match": first})).status_code == 412
    assert (await administrator.delete("/nodes/CT1")).status_code == 204
    assert (await administrator.get("/nodes/CT1")).status_code == 404


async def test_accounts_and_roles_are_changed_by_version(administrator: httpx.AsyncClient) -> None:
    role = {"permissions": ["study.search"], "description": "Desk"}
    made = {
        "/accounts/anna": await administrator.post("/accounts", json={"login": "anna", "role": "physician"}),
        "/roles/ct-desk": await administrator.post("/roles", json={"name": "ct-desk", **role}),
    }
    works = {
        "/accounts/anna": ("PATCH", {"full_name": "Anna"}, {"role": "researcher"}),
        "/roles/ct-desk": ("PUT", {**role, "description": "CT"}, {**role, "permissions": ["study.view"]}),
    }
    for path, (method, theirs, mine) in works.items():
        first = made[path].headers["etag"]
        assert (await administrator.get(path)).headers["etag"] == first
        changed = await administrator.request(method, path, json=theirs, headers={"if-match": first})
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        late = await administrator.request(method, path, json=mine, headers={"if-match": first})
        assert late.status_code == 412
        now = await administrator.get(path)
        assert (now.json(), now.headers["etag"]) == (changed.json(), changed.headers["etag"])
        again = await administrator.request(method, path, json=mine, headers={"if-match": now.headers["etag"]})
        assert (again.status_code, again.json()["version"]) == (200, 3)
        assert (await administrator.request(method, path, json=theirs)).status_code == 200


async def test_lists_come_in_pages_that_follow_each_other(administrator: httpx.AsyncClient) -> None:
    for number in range(5):
        node = NODE | {"name": f"CT{number}", "aet": f"CT{number}"}
        assert (await administrator.post("/nodes", json=node)).status_code == 201
    names, address = [], "/nodes?limit=2"
    while address:
        page = (await administrator.get(address.removeprefix("/api/v1"))).json()
        names.append([one["name"] for one in page["items"]])
        address = page["next"]
    assert names == [["CT0", "CT1"], ["CT2", "CT3"], ["CT4"]]
    assert (await administrator.get("/nodes?cursor=nonsense")).status_code == 422


async def test_studies_come_in_pages_and_are_deleted_with_a_reason(
    archive: Archive, administrator: httpx.AsyncClient
) -> None:
    for number in range(3):
        await store_in_the_name_of_the_system(archive, number)
    found, address = [], "/studies?limit=2"
    while address:
        page = (await administrator.get(address.removeprefix("/api/v1"))).json()
        found += page["items"]
        address = page["next"]
    assert len({one["study_instance_uid"] for one in found}) == 3
    study = found[0]["study_instance_uid"]
    assert (await administrator.get(f"/studies/{study}/series")).json()["items"][0]["instances"] == 1
    told = (await administrator.get(f"/studies/{study}/history")).json()["items"]
    assert [one["kind"] for one in told] == ["arrival"]
    assert (await administrator.delete(f"/studies/{study}")).status_code == 400
    deleted = await administrator.delete(f"/studies/{study}", params={"reason": "wrong archive"})
    assert deleted.json() == {"studies": 1, "series": 1, "instances": 1}
    assert (await administrator.get(f"/studies/{study}")).status_code == 404
    events = (await administrator.get("/audit/events", params={"study": study})).json()["items"]
    assert any("wrong archive" in one["what"] for one in events)
    assert all(one["occurred_at"].endswith("Z") for one in events)


async def test_a_hidden_study_is_told_from_no_other(archive: Archive, app: httpx.AsyncClient, people: People) -> None:
    await store_in_the_name_of_the_system(archive, 1)
    account = await add(people, "ada", "administrator", rows=RowScope(modalities=("US",)))
    session = await begin_session(people, account.id, "10.0.0.9", "test")
    set_process_access(NOBODY)
    app.headers["cookie"] = f"{PLAIN_COOKIE}={session.secret}"
    app.headers["x-form-token"] = form_token(session.secret)
    uid = "1.2.3.1.1"
    for method, path in (
        ("GET", ""),
        ("GET", "/patient-studies"),
        ("GET", "/series"),
        ("GET", "/corrections"),
        ("GET", "/history"),
        ("DELETE", "?reason=test"),
    ):
        hidden = await app.request(method, f"/studies/{uid}{path}")
        missing = await app.request(method, f"/studies/9.9.9{path}")
        assert (hidden.status_code, missing.status_code) == (404, 404), path
        assert hidden.json()["detail"].replace(uid, "X") == missing.json()["detail"].replace("9.9.9", "X")
    assert (await app.get("/studies")).json()["items"] == []


async def test_a_session_changes_nothing_without_its_form_token(app: httpx.AsyncClient, people: People) -> None:
    account = await add(people, "ada", "administrator")
    session = await begin_session(people, account.id, "10.0.0.9", "test")
    set_process_access(NOBODY)
    app.headers["cookie"] = f"{PLAIN_COOKIE}={session.secret}"
    assert (await app.post("/nodes", json=NODE)).status_code == 403
    token = (await app.get("/me")).json()["form_token"]
    assert token == form_token(session.secret)
    assert (await app.post("/nodes", json=NODE, headers={"x-form-token": token})).status_code == 201
    other = {"x-form-token": token, "origin": "http://elsewhere.example", "sec-fetch-site": "cross-site"}
    assert (await app.delete("/nodes/CT1", headers=other)).status_code == 403


async def test_settings_are_tried_changed_compared_and_taken_back(administrator: httpx.AsyncClient) -> None:
    wanted = {"settings": {"ledger_days": 30}, "comment": "less"}
    tried = (await administrator.patch("/settings", json=wanted | {"dry_run": True})).json()
    assert tried["changes"] == [{"section": "settings", "name": "ledger_days", "old": None, "new": 30}]
    assert (await administrator.get("/settings")).json()["version"] == tried["version"] == 0
    assert (await administrator.patch("/settings", json=wanted | {"expected": 0})).json()["version"] == 1
    late = await administrator.patch("/settings", json={"settings": {"ledger_days": 31}, "expected": 0})
    assert late.status_code == 409
    assert "ledger_days" in late.json()["detail"]
    assert (await administrator.patch("/settings", json={"settings": {"ledger_days": 0}})).status_code == 422
    document = (await administrator.get("/settings/document")).json()["document"]
    assert document["settings"] == {"ledger_days": 30}
    assert (await administrator.post("/settings/rollback", json={"to": 0})).json()["version"] == 2
    history = (await administrator.get("/settings/versions")).json()["items"]
    assert [one["number"] for one in history] == [2, 1]
    changes = (await administrator.get("/settings/differences?first=0&second=2")).json()["changes"]
    assert changes == []


async def test_studies_are_sent_by_orders(archive: Archive, administrator: httpx.AsyncClient) -> None:
    await store_in_the_name_of_the_system(archive, 1)
    asked = {"node": "CT1", "studies": ["1.2.3.1.1"]}
    assert (await administrator.post("/sendings", json=asked)).status_code == 404
    assert (await administrator.post("/nodes", json=NODE)).status_code == 201
    made = (await administrator.post("/sendings", json=asked)).json()
    assert (made["order"]["state"], made["order"]["objects"]) == ("waiting", 1)
    number = made["order"]["id"]
    assert [one["id"] for one in (await administrator.get("/sendings")).json()["items"]] == [number]
    assert (await administrator.post(f"/sendings/{number}/cancel")).json()["order"]["state"] == "cancelled"
    assert (await administrator.post(f"/sendings/{number}/retry")).json()["order"]["state"] == "waiting"


async def test_a_correction_is_laid_over_and_taken_back(archive: Archive, administrator: httpx.AsyncClient) -> None:
    await store_in_the_name_of_the_system(archive, 1)
    wanted = {"attributes": [{"attribute": "StudyDescription", "values": ["Knee"]}], "reason": "typed wrongly"}
    made = await administrator.post("/studies/1.2.3.1.1/corrections", json=wanted)
    assert made.status_code == 201
    assert (await administrator.get("/studies/1.2.3.1.1")).json()["study_description"] == "Knee"
    (shown,) = (await administrator.get("/studies/1.2.3.1.1/corrections")).json()["items"]
    assert (shown["attribute"], shown["values"], shown["actor"]) == ("StudyDescription", ["Knee"], "script")
    assert (await administrator.delete(f"/corrections/{shown['id']}")).status_code == 204
    assert (await administrator.get("/studies/1.2.3.1.1")).json()["study_description"] != "Knee"
    identity = {"attributes": [{"attribute": "StudyInstanceUID", "values": ["1.2"]}], "reason": "no"}
    assert (await administrator.post("/studies/1.2.3.1.1/corrections", json=identity)).status_code == 422


async def store_in_the_name_of_the_system(archive: Archive, number: int) -> None:
    with acting_as(SYSTEM):
        uids = {"StudyInstanceUID": f"1.2.3.1.{number}", "SeriesInstanceUID": f"1.2.3.2.{number}"}
        await store_file(archive, make_file(**uids, SOPInstanceUID=f"1.2.3.3.{number}", PatientID=f"P{number}"))
