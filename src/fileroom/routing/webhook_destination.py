"""A notice to another program: a signed POST of what was sent, once for each batch. Objects themselves are not sent.

    POST url
    Content-Type: application/json
    Fileroom-Event: 5d41...                 the same when the notice is repeated, so that it is acted upon once
    Fileroom-Timestamp: 1795370000          seconds since 1970
    Fileroom-Signature: sha256=9f86...      HMAC-SHA256 of TIMESTAMP "." BODY with the secret, in hexadecimal

    {"event": "objects", "id": ..., "destination": ..., "study": {"StudyInstanceUID": ...}, "series": [...], "objects": [...]}

An answer of 2xx settles all objects of the batch; attributes of the study stand in it only as far as `attributes` names them.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from fileroom.core.errors import InvalidRequestError, PeerRefusedError, RequestError, told
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.notice_fields import ATTRIBUTES_FIELD, attributes_of, checked_attributes, event_id
from fileroom.routing.opening import refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled
from fileroom.routing.web_client import TLS_FIELDS, WebAnswer, WebClient, open_web_client, require_tls, wait_as_told

TIMEOUT_S: Final = 30.0
SECRET_CHARS_MIN: Final = 16
"""Of the secret that signs: 128 bits of hexadecimal would be 32; less than half of that can be tried out."""


@dataclass(frozen=True, slots=True)
class WebhookKind:
    """Kind `webhook`."""

    name: str = "webhook"
    secrets: frozenset[str] = frozenset({"secret", "token"})
    confirmations: frozenset[Confirmation] = frozenset({Confirmation.ANSWER})
    fields: tuple[TargetField, ...] = (
        TargetField("url", told("Address"), FieldType.URL, required=True, help=told("Where the notice is posted.")),
        TargetField(
            "secret",
            told("Secret"),
            FieldType.SECRET,
            help=told("Signs each notice, so that the receiver knows it is ours. Empty: not signed."),
        ),
        TargetField("token", told("Token"), FieldType.SECRET, help=told("Sent as Authorization: Bearer.")),
        ATTRIBUTES_FIELD,
        *TLS_FIELDS,
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        found = checked_target(told("A webhook"), self.fields, target)
        checked_attributes(found)
        secret = found.get("secret", "")
        if secret and secret != "secret" and len(secret) < SECRET_CHARS_MIN:  # noqa: S105 - what stands for one
            raise InvalidRequestError(told("The secret needs at least {least} characters.", least=SECRET_CHARS_MIN))
        if not str(found.get("token", "")).isprintable():
            raise InvalidRequestError(told("The token is one line."))
        if found.get("token"):
            require_tls(found, "url")
        return found

    def describe(self, target: Mapping[str, Any]) -> str:
        """Its address without what stands behind its path, which may hold a key."""
        return str(target.get("url", "")).partition("?")[0]

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[WebhookSession]:
        """Connects with the first notice. Raises ConfigurationError, DatabaseError."""
        target = filled(self.fields, context.target)
        login = {**target, "login": "bearer" if target["token"] else "none"}
        async with open_web_client(context.archive, login) as client:
            yield WebhookSession(client, target, context.destination)

    async def probe(self, context: KindContext) -> str:
        """Posts an event `probe`, which receivers leave alone. Raises PeerError."""
        async with self.open(context) as session:
            answer = await session.post(
                {"event": "probe", "destination": context.destination}, f"probe-{time.time_ns()}"
            )
        if not 200 <= answer.status < 300:
            raise PeerRefusedError(_sentence(str(context.target["url"]), answer))
        return told("{url} answers {status}.", url=self.describe(context.target), status=answer.status)


WEBHOOK: Final = WebhookKind()


class WebhookSession:
    """One lane that posts notices."""

    def __init__(self, client: WebClient, target: Mapping[str, Any], destination: str) -> None:
        self._client = client
        self._url = str(target["url"])
        self._secret = str(target["secret"])
        self._attributes = tuple(target["attributes"])
        self._destination = destination

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """One notice for all. Raises PeerError when nobody answers."""
        if not batch:
            return
        try:
            event = await self._event(batch)
        except RequestError as error:
            outcome = refused(error)
        else:
            answer = await self.post(event, str(event["id"]))
            if answer.status in (429, 503) and await wait_as_told(answer):
                answer = await self.post(event, str(event["id"]))
            outcome = _outcome(self._url, answer)
        for one in batch:
            settle(one, outcome)

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """The answer is all there is."""
        del batch
        return {}

    async def post(self, event: Mapping[str, Any], number: str) -> WebAnswer:
        """Post an event, signed. Raises PeerError."""
        body = orjson.dumps(event)
        headers = {"content-type": "application/json", "accept": "*/*", "fileroom-event": number}
        if self._secret:
            moment = str(int(time.time()))
            signature = hmac.new(self._secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
            headers |= {"fileroom-timestamp": moment, "fileroom-signature": f"sha256={signature}"}
        headers["content-length"] = str(len(body))
        return await self._client.ask("POST", self._url, headers=headers, body=lambda: _once(body), timeout_s=TIMEOUT_S)

    async def _event(self, batch: Sequence[OutgoingObject]) -> dict[str, Any]:
        first = batch[0]
        return {
            "event": "objects",
            "id": event_id(self._destination, batch),
            "destination": self._destination,
            "study": {
                "StudyInstanceUID": first.study_instance_uid,
                **(await attributes_of(first, self._attributes)),
            },
            "series": list(dict.fromkeys(one.series_instance_uid for one in batch)),
            "objects": [{"SOPClassUID": one.sop_class_uid, "SOPInstanceUID": one.sop_instance_uid} for one in batch],
            "count": len(batch),
        }


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _outcome(url: str, answer: WebAnswer) -> Outcome:
    if 200 <= answer.status < 300:
        return Outcome(OutcomeKind.TAKEN, status=answer.status)
    later = answer.status in (401, 408, 425, 429) or answer.status >= 500
    return Outcome(OutcomeKind.TRY_LATER if later else OutcomeKind.REFUSED, _sentence(url, answer), answer.status)


def _sentence(url: str, answer: WebAnswer) -> str:
    if 300 <= answer.status < 400:
        advice = told("it redirects elsewhere, which is not followed; give the final address")
    elif answer.status in (401, 403):
        advice = told("it does not accept the token or the signature")
    elif answer.status >= 500 or answer.status in (408, 425, 429):
        advice = told("it failed or is busy; it is tried again")
    else:
        advice = told("it refuses the notice")
    return told(
        "{url} answers {status}{said}: {advice}.",
        url=url.partition("?")[0],
        status=answer.status,
        said=f" ({answer.said})" if answer.said else "",
        advice=advice,
    )
