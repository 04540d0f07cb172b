"""Notices by webhook: the contract, the signature, what they tell and what not, answers."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.routing.contract import DestinationContract, Settled, sample_objects
from fileroom.routing.destination_kind import OutcomeKind
from fileroom.routing.webhook_destination import WEBHOOK
from web_service import Asked, Said, WebService, serving

SECRET = "a secret of many characters"


class TestWebhook(DestinationContract):
    kind = WEBHOOK
    keeps_objects = False

    @pytest.fixture
    async def target(self) -> AsyncIterator[Mapping[str, Any]]:
        self.events: dict[str, list[str]] = {}
        async with serving(WebService(self.answer)) as service:
            yield {"url": f"{service.url}/hook?key=of-the-address", "secret": SECRET}

    def answer(self, asked: Asked) -> Said:
        event = json.loads(asked.body)
        if event["event"] == "objects":
            self.events[event["id"]] = [one["SOPInstanceUID"] for one in event["objects"]]
        return Said(410) if asked.path == "/gone-for-good" else Said(204)

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        return [uid for uids in self.events.values() for uid in uids]

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "url": "http://127.0.0.1:9/hook"}

    def refusing(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "url": target["url"].replace("/hook", "/gone-for-good")}


async def posted(tmp_path: Path, said: Said, **target: Any) -> tuple[Settled, list[Asked]]:
    async with serving(WebService(lambda _: said)) as service:
        settled = await TestWebhook().send({"url": service.url, **target}, tmp_path, sample_objects(3))
        return settled, service.asked


async def test_one_signed_event_for_all(tmp_path: Path) -> None:
    settled, asked = await posted(tmp_path, Said(200), secret=SECRET)
    assert settled.kinds == [OutcomeKind.TAKEN] * 3
    (one,) = asked
    moment = one.headers["fileroom-timestamp"]
    assert abs(time.time() - int(moment)) < 60
    expected = hmac.new(SECRET.encode(), moment.encode() + b"." + one.body, hashlib.sha256).hexdigest()
    assert one.headers["fileroom-signature"] == f"sha256={expected}"
    event = json.loads(one.body)
    assert one.headers["fileroom-event"] == event["id"]
    assert event["count"] == 3
    assert event["study"] == {"StudyInstanceUID": sample_objects(1)[0].study_instance_uid}
    assert [found["SOPInstanceUID"] for found in event["objects"]] == [x.sop_instance_uid for x in sample_objects(3)]


async def test_only_chosen_attributes_are_told(tmp_path: Path) -> None:
    _, asked = await posted(tmp_path, Said(200))
    assert b"CONTRACT" not in asked[0].body
    assert "fileroom-signature" not in asked[0].headers
    _, asked = await posted(tmp_path, Said(200), attributes=["Modality", "PatientID"])
    assert json.loads(asked[0].body)["study"]["PatientID"] == "CONTRACT-1"


async def test_a_repeated_notice_has_the_same_number(tmp_path: Path) -> None:
    numbers = {(await posted(tmp_path, Said(200)))[1][0].headers["fileroom-event"] for _ in range(2)}
    assert len(numbers) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(302, "refused"), (400, "refused"), (401, "try later"), (429, "try later"), (500, "try later")]
)
async def test_answers(tmp_path: Path, status: int, kind: str) -> None:
    settled, asked = await posted(tmp_path, Said(status, b"", {"location": "http://127.0.0.1:9/"}))
    assert settled.kinds == [OutcomeKind(kind)] * 3
    assert len(asked) == 1
    assert str(status) in settled.calls[0][1].cause


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "short"},
        {"token": "abc", "url": "http://x/"},
        {"attributes": ["PixelData"]},
        {"attributes": ["Nothing"]},
    ],
)
def test_what_cannot_work_is_refused(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        WEBHOOK.check({"url": "https://x.example/hook", **wrong})
