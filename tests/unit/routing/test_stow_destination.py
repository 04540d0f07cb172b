"""STOW-RS: the contract against a small service, every kind of answer, logins, limits of a request. PS3.18 10.5, annex I."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydicom import dcmread

from fileroom.core.errors import InvalidRequestError, PeerError, PeerRefusedError
from fileroom.core.identifiers import UID
from fileroom.dicomweb.stow_response import Failed, FailureReason, Stored, WarningReason, store_response_xml
from fileroom.routing import web_client
from fileroom.routing.contract import CT, DestinationContract, Settled, sample_object, sample_objects
from fileroom.routing.destination_kind import OutcomeKind
from fileroom.routing.stow_destination import STOW
from web_service import Asked, Said, WebService, serving

TAKEN, WARNED, REFUSED, LATER = OutcomeKind.TAKEN, OutcomeKind.WARNED, OutcomeKind.REFUSED, OutcomeKind.TRY_LATER


class Archive:
    """A service that keeps what it is sent, and answers searches."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def __call__(self, asked: Asked) -> Said:
        if asked.method == "GET":
            study = asked.path.split("/")[3] if asked.path.count("/") > 2 else ""
            offset = int(parse_qs(asked.query).get("offset", ["0"])[0])
            rows = [{"00080018": {"vr": "UI", "Value": [uid]}} for uid, one in self.kept.items() if one == study]
            return Said(200, json.dumps(rows[offset : offset + 2]).encode(), {"content-type": "application/dicom+json"})
        headers = [dcmread(io.BytesIO(body)) for _, body in asked.parts]
        for header in headers:
            self.kept[str(header.SOPInstanceUID)] = str(header.StudyInstanceUID)
        return Said(200, module(stored=[str(one.SOPInstanceUID) for one in headers]))


class TestStow(DestinationContract):
    kind = STOW

    @pytest.fixture
    async def target(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mapping[str, Any]]:
        self.there = Archive()
        monkeypatch.setattr("fileroom.routing.stow_destination.PAGE", 2)
        async with serving(WebService(self.there)) as service:
            yield {"url": f"{service.url}/rs", "login": "bearer", "token": "a secret token", "plain_http": True}

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        return list(self.there.kept)

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "url": "http://127.0.0.1:9/rs"}


def module(
    *, stored: Sequence[str] = (), warned: Mapping[str, int] | None = None, failed: Mapping[str, int] | None = None
) -> bytes:
    """A Store Instances Response Module, written by hand."""
    references = [{"00081155": {"vr": "UI", "Value": [uid]}} for uid in stored]
    references += [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081196": {"vr": "US", "Value": [code]}}
        for uid, code in (warned or {}).items()
    ]
    failures = [
        {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [code]}}
        for uid, code in (failed or {}).items()
    ]
    found: dict[str, Any] = {"00081190": {"vr": "UR"}}
    if references:
        found["00081199"] = {"vr": "SQ", "Value": references}
    if failures:
        found["00081198"] = {"vr": "SQ", "Value": failures}
    return json.dumps(found).encode()


async def send(
    tmp_path: Path, said: Any, number: int = 3, objects: Sequence[Any] | None = None, **target: Any
) -> tuple[Settled, WebService]:
    """Send to a service that answers so; the first answer, the second ..., the last one again."""
    answers = list(said) if isinstance(said, list) else [said]

    def answer(asked: Asked) -> Said:
        del asked
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async with serving(WebService(answer)) as service:
        whole = {"url": f"{service.url}/rs", **target}
        return await TestStow().send(whole, tmp_path, objects or sample_objects(number)), service


UIDS = [one.sop_instance_uid for one in sample_objects(5)]


async def test_one_request_holds_many_objects(tmp_path: Path) -> None:
    settled, service = await send(tmp_path, Said(200, module(stored=UIDS)), 5)
    assert settled.kinds == [TAKEN] * 5
    (asked,) = service.asked
    assert (asked.method, asked.path) == ("POST", "/rs/studies/1.2.826.0.1.3680043.2.1143.77")
    assert asked.headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')
    assert int(asked.headers["content-length"]) == len(asked.body)
    assert [body for _, body in asked.parts] == [one.data for one in sample_objects(5)]
    assert settled.calls[0][1].sent_bytes == len(sample_objects(1)[0].data)


@pytest.mark.parametrize(("limit", "sizes"), [({"objects_max": 2}, [2, 2, 1]), ({"objects_max": 1}, [1] * 5)])
async def test_requests_keep_to_their_limits(tmp_path: Path, limit: dict[str, int], sizes: list[int]) -> None:
    settled, service = await send(tmp_path, Said(200), 5, **limit)
    assert settled.kinds == [TAKEN] * 5
    assert [len(one.parts) for one in service.asked] == sizes


async def test_requests_keep_to_their_bytes(tmp_path: Path) -> None:
    objects = [type(one)(one.delivery_id, one.data + bytes(600_000), dataset=one.dataset) for one in sample_objects(4)]
    settled, service = await send(tmp_path, Said(200), objects=objects, mib_max=1)
    assert settled.kinds == [TAKEN] * 4
    assert [len(one.parts) for one in service.asked] == [1, 1, 1, 1]


async def test_each_object_has_its_own_outcome(tmp_path: Path) -> None:
    body = module(stored=UIDS[:1], warned={UIDS[1]: 0xB000}, failed={UIDS[2]: 0xA900, UIDS[3]: 0xA700})
    settled, _ = await send(tmp_path, Said(202, body), 5)
    assert settled.kinds == [TAKEN, WARNED, REFUSED, LATER, LATER]
    causes = [outcome.cause for _, outcome in settled.calls]
    assert "B000" in causes[1]
    assert "A900" in causes[2]
    assert "does not name this object" in causes[4]
    assert [outcome.status for _, outcome in settled.calls][2] == 0xA900


async def test_answers_in_xml_are_read_too(tmp_path: Path) -> None:
    outcomes = [
        Stored(CT, UID(UIDS[0]), UID("1.2"), UID("1.3"), WarningReason.COERCED),
        Failed(FailureReason.CANNOT_UNDERSTAND, "no pixels", CT, UIDS[1]),
        Stored(CT, UID(UIDS[2]), UID("1.2"), UID("1.3")),
    ]
    body = store_response_xml(outcomes, "https://x/rs")
    settled, _ = await send(tmp_path, Said(202, body, {"content-type": "application/dicom+xml"}))
    assert settled.kinds == [WARNED, REFUSED, TAKEN]
    assert "no pixels" in settled.by_id[2].cause


async def test_success_with_an_empty_list_is_no_proof(tmp_path: Path) -> None:
    """As Orthanc answers where it took no part."""
    settled, _ = await send(tmp_path, Said(200, b'{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}'))
    assert settled.kinds == [LATER] * 3


async def test_a_duplicate_is_there(tmp_path: Path) -> None:
    settled, _ = await send(tmp_path, Said(409, module(failed=dict.fromkeys(UIDS[:3], 0x0111))))
    assert settled.kinds == [TAKEN] * 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, TAKEN),
        (202, LATER),
        (301, REFUSED),
        (400, REFUSED),
        (401, LATER),
        (403, REFUSED),
        (404, REFUSED),
        (409, REFUSED),
        (415, REFUSED),
        (500, LATER),
        (502, LATER),
        (503, LATER),
        (429, LATER),
    ],
)
async def test_a_status_without_a_list(tmp_path: Path, status: int, kind: OutcomeKind) -> None:
    headers = {"location": "http://127.0.0.1:9/elsewhere"} if status == 301 else {}
    settled, service = await send(tmp_path, Said(status, b"", headers))
    assert settled.kinds == [kind] * 3
    assert len(service.asked) == 1
    assert all(outcome.status == status for _, outcome in settled.calls)
    assert kind is TAKEN or all(str(status) in outcome.cause for _, outcome in settled.calls)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"<a/>", b'{"00081199": {"vr": "SQ", "Value": 3}}', b"\xff" * 50]
)
async def test_strange_answers_are_no_success(tmp_path: Path, body: bytes) -> None:
    settled, _ = await send(tmp_path, Said(409, body))
    assert settled.kinds == [REFUSED] * 3


async def test_a_short_pause_is_waited_for(tmp_path: Path) -> None:
    busy = Said(503, b"", {"retry-after": "0"})
    settled, service = await send(tmp_path, [busy, busy, Said(200)])
    assert settled.kinds == [TAKEN] * 3
    assert len(service.asked) == 3


async def test_a_long_pause_is_left_to_the_next_try(tmp_path: Path) -> None:
    settled, service = await send(tmp_path, Said(503, b"", {"retry-after": "3600"}))
    assert settled.kinds == [LATER] * 3
    assert len(service.asked) == 1


async def test_too_large_a_request_is_made_smaller(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        return Said(413) if len(asked.parts) > 1 else Said(200)

    async with serving(WebService(answer)) as service:
        settled = await TestStow().send({"url": service.url}, tmp_path, sample_objects(4))
    assert settled.kinds == [TAKEN] * 4
    assert [one for one, _ in settled.calls] == [1, 2, 3, 4]
    async with serving(WebService(lambda _: Said(413))) as service:
        settled = await TestStow().send({"url": service.url}, tmp_path, sample_objects(2))
    assert settled.kinds == [REFUSED] * 2


async def test_a_connection_that_breaks_is_tried_later(tmp_path: Path) -> None:
    settled = Settled()
    async with serving(WebService(lambda _: Said(hang_up=True))) as service:
        context = TestStow().context({"url": service.url}, tmp_path)
        async with STOW.open(context) as session:
            with pytest.raises(PeerError):
                await session.send(sample_objects(2), settled)
    assert settled.calls == [] or set(settled.kinds) == {LATER}


async def test_an_object_of_unknown_length_goes_in_chunks(tmp_path: Path) -> None:
    class Unmeasured:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def open(self, transfer_syntax: str | None = None, *, part10: bool) -> Any:
            found = await self.inner.open(transfer_syntax, part10=part10)
            return type(found)(found.transfer_syntax, None, None, found.chunks)

    settled, service = await send(tmp_path, Said(200), objects=[Unmeasured(sample_objects(1)[0])])
    assert settled.kinds == [TAKEN]
    assert service.asked[0].headers["transfer-encoding"] == "chunked"
    assert service.asked[0].parts[0][1] == sample_objects(1)[0].data


# --- logins ---


async def test_basic_and_bearer(tmp_path: Path) -> None:
    more = {"login": "basic", "user": "fileroom", "password": "pässword", "plain_http": True}
    _, service = await send(tmp_path, Said(200), **more)
    assert service.asked[0].headers["authorization"] == "Basic ZmlsZXJvb206cMOkc3N3b3Jk"
    _, service = await send(tmp_path, Said(200), login="bearer", token="abc", plain_http=True)
    assert service.asked[0].headers["authorization"] == "Bearer abc"


class Tokens:
    """A service with a token service beside it."""

    def __init__(self, *, expires_in: int = 3600, good: str = "t2") -> None:
        self.given = 0
        self.expires_in, self.good = expires_in, good

    def __call__(self, asked: Asked) -> Said:
        if asked.path == "/token":
            if asked.headers["authorization"] != "Basic Y2xpZW50JTNBMTpzJTI1ZWNyZXQ=":  # client%3A1:s%25ecret
                return Said(401, b'{"error": "invalid_client"}', {"content-type": "application/json"})
            self.given += 1
            body = {"access_token": f"t{self.given}", "expires_in": self.expires_in, "token_type": "Bearer"}
            return Said(200, json.dumps(body).encode())
        good = asked.headers.get("authorization") == f"Bearer {self.good}"
        return Said(200) if good or self.good == "any" else Said(401)


def with_oauth(url: str, **more: Any) -> dict[str, Any]:
    return {
        "url": f"{url}/rs",
        "login": "oauth2",
        "token_url": f"{url}/token",
        "client_id": "client:1",
        "client_secret": "s%ecret",
        "scope": "store search",
        "plain_http": True,
        **more,
    }


async def test_a_token_is_fetched_once_and_again_when_it_is_refused(tmp_path: Path) -> None:
    tokens = Tokens()
    async with serving(WebService(tokens)) as service:
        settled = await TestStow().send(with_oauth(service.url, objects_max=1), tmp_path, sample_objects(3))
    assert settled.kinds == [TAKEN] * 3
    assert tokens.given == 2
    assert [one.path for one in service.asked].count("/token") == 2
    form = parse_qs(service.asked[0].body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["store search"]}


async def test_a_token_is_renewed_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, moment = Tokens(expires_in=100, good="any"), [1000.0]
    monkeypatch.setattr(web_client, "monotonic", lambda: moment[0])
    async with serving(WebService(tokens)) as service:
        context = TestStow().context(with_oauth(service.url), tmp_path)
        async with STOW.open(context) as session:
            for at, given in ((1000.0, 1), (1069.0, 1), (1071.0, 2)):
                moment[0] = at
                await session.send(sample_objects(1), Settled())
                assert tokens.given == given


async def test_a_wrong_client_secret_says_so(tmp_path: Path) -> None:
    async with serving(WebService(Tokens())) as service:
        with pytest.raises(PeerRefusedError, match="invalid_client") as raised:
            await TestStow().send(with_oauth(service.url, client_secret="wrong-one"), tmp_path, sample_objects(1))
    assert "wrong-one" not in str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "file:///etc/passwd"},
        {"url": "ftp://x/"},
        {"url": "https://user:pass@x/"},
        {"url": ""},
        {"login": "basic", "user": "u"},
        {"login": "bearer", "token": "x", "url": "http://x/"},
        {"login": "oauth2", "token_url": "http://x/", "client_id": "a", "client_secret": "b"},
        {"objects_max": 0},
        {"objects_max": "5"},
        {"login": "digest"},
    ],
)
def test_what_cannot_work_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        STOW.check({"url": "https://x.example/rs", **wrong})


def test_the_address_is_that_of_the_services_root() -> None:
    assert STOW.check({"url": "https://x.example/rs/studies/"}) == {"url": "https://x.example/rs"}


async def test_a_probe_searches(tmp_path: Path) -> None:
    async with serving(WebService(lambda _: Said(204))) as service:
        await STOW.probe(TestStow().context({"url": service.url}, tmp_path))
        assert service.asked[0].path == "/studies"
    async with serving(WebService(lambda _: Said(403))) as service:
        with pytest.raises(PeerRefusedError, match="403"):
            await STOW.probe(TestStow().context({"url": service.url}, tmp_path))


async def test_a_broken_object_costs_no_other(tmp_path: Path) -> None:
    study = "1.2.826.0.1.3680043.2.1143.77"
    objects = [sample_object(1, study), sample_object(2, study, cut=True), sample_object(3, study, broken=True)]
    settled, service = await send(tmp_path, Said(200), objects=[*objects, sample_object(4, study)])
    assert settled.kinds == [TAKEN, REFUSED, REFUSED, TAKEN]
    assert len(settled.calls) == 4
    assert [len(one.parts) for one in service.asked] == [2]
