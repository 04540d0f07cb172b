"""Objects to another archive by STOW-RS (PS3.18 10.5): many in one request, one outcome for each.

    request ─▶ 200 all stored · 202/409 each as the answer names it · 413 in smaller requests · 429/503 later
              401 later (a login) · other 4xx refused · 5xx later · a redirect is not followed

The body streams: objects are opened one after the other while it is sent.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from fileroom.archive.retrieve import OpenedObject
from fileroom.core.errors import InvalidObjectError, PeerRefusedError, RequestError, told
from fileroom.core.limits import MIB
from fileroom.dicom.xml_model import parse_xml
from fileroom.dicomweb.model import key_of, number_of, text_of
from fileroom.dicomweb.multipart import PART_TAIL, MultipartWriter
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.opening import open_file, refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled
from fileroom.routing.web_client import (
    LOGIN_FIELDS,
    LOGIN_SECRETS,
    TLS_FIELDS,
    WebAnswer,
    WebClient,
    check_login,
    open_web_client,
    wait_as_told,
)

REQUEST_TIMEOUT_S: Final = 1800.0
"""For a whole request: 64 MiB over a line of 1 Mbit/s take nine minutes."""
ASK_TIMEOUT_S: Final = 60.0
PAUSES_MAX: Final = 3
"""How often a short Retry-After is waited for within one sending."""
PAGE: Final = 1000
PAGES_MAX: Final = 100
"""100,000 instances of one study."""
_ANSWER_TYPES: Final = "application/dicom+json, application/dicom+xml;q=0.5"
_DUPLICATE: Final = 0x0111
"""Duplicate SOP Instance (PS3.7 C.5.6): it has it."""
_LATER: Final = frozenset({0x0110, *range(0xA700, 0xA800)})
"""Processing failure and out of resources: reasons that pass by themselves (PS3.4 B.2.3)."""


@dataclass(frozen=True, slots=True)
class StowKind:
    """Kind `stow`."""

    name: str = "stow"
    secrets: frozenset[str] = LOGIN_SECRETS
    confirmations: frozenset[Confirmation] = frozenset({Confirmation.ANSWER, Confirmation.COUNT})
    fields: tuple[TargetField, ...] = (
        TargetField(
            "url",
            told("Address"),
            FieldType.URL,
            required=True,
            help=told("The root of its DICOMweb services, for example https://pacs.hospital.example/dicom-web."),
        ),
        *LOGIN_FIELDS,
        *TLS_FIELDS,
        TargetField(
            "objects_max", told("Objects in one request"), FieldType.NUMBER, default=50, minimum=1, maximum=1000
        ),
        TargetField(
            "mib_max",
            told("MiB in one request"),
            FieldType.NUMBER,
            default=64,
            minimum=1,
            maximum=4096,
            help=told("An object that is larger goes alone."),
        ),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        found = checked_target(told("STOW-RS"), self.fields, target)
        found["url"] = str(found["url"]).rstrip("/").removesuffix("/studies")
        check_login(found)
        return found

    def describe(self, target: Mapping[str, Any]) -> str:
        """Its address."""
        return str(target.get("url", ""))

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[StowSession]:
        """Connects when the first objects are sent. Raises ConfigurationError, DatabaseError."""
        target = filled(self.fields, context.target)
        async with open_web_client(context.archive, target) as client:
            yield StowSession(client, target)

    async def probe(self, context: KindContext) -> str:
        """Searches for one study: address, login and certificates are good then. Raises PeerError."""
        target = filled(self.fields, context.target)
        async with open_web_client(context.archive, target) as client:
            url = f"{target['url']}/studies?limit=1"
            answer = await client.ask("GET", url, headers={"accept": "application/dicom+json"}, timeout_s=ASK_TIMEOUT_S)
        if answer.status in (200, 204):
            return told("{url} answers to searches (QIDO-RS).", url=target["url"])
        if answer.status in (405, 501):
            return told("{url} answers, but not to searches: {status}.", url=target["url"], status=answer.status)
        raise PeerRefusedError(_sentence(str(target["url"]), answer))


STOW: Final = StowKind()


@dataclass(slots=True)
class _Request:
    """One request on its way. `sent` are the objects whose parts are complete in the body; `broken` the one that was not."""

    boundary: str
    sent: list[tuple[OutgoingObject, int]] = field(default_factory=list)
    broken: tuple[OutgoingObject, RequestError] | None = None


class StowSession:
    """One lane that sends by STOW-RS."""

    def __init__(self, client: WebClient, target: Mapping[str, Any]) -> None:
        self._client = client
        self._url = str(target["url"])
        self._objects_max = int(target["objects_max"])
        self._bytes_max = int(target["mib_max"]) * MIB

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """In as few requests as the limits allow. Raises PeerError when the service cannot be reached."""
        waiting, pauses, renewed = list(batch), 0, False
        while waiting:
            opened = await self._open(self._group(waiting), settle)
            count = len(opened)
            if not all(isinstance(found, OpenedObject) for _, found in opened):
                bad = [one for one, found in opened if isinstance(found, Outcome)]
                waiting = [one for one in waiting if not any(one is other for other in bad)]
                continue  # The others are opened anew: a request is whole or not sent.
            request = _Request(secrets.token_hex(16))
            answer = await self._post(
                [(one, found) for one, found in opened if isinstance(found, OpenedObject)], request
            )
            if request.broken is not None:
                # Half of an object stood in the body, so the request was broken off: nothing of it counts.
                bad_one, error = request.broken
                settle(bad_one, refused(error))
                waiting = [one for one in waiting if one is not bad_one]
            elif answer is not None and answer.status == 401 and not renewed and self._client.drop_token():
                renewed = True
            elif answer is not None and answer.status == 413 and count > 1:
                self._objects_max = max(1, count // 2)
            elif (
                answer is not None
                and answer.status in (429, 503)
                and pauses < PAUSES_MAX
                and await wait_as_told(answer)
            ):
                pauses += 1
            elif answer is not None:
                outcomes = outcomes_of(self._url, answer, [one for one, _ in request.sent])
                for one, size in request.sent:
                    outcome = outcomes[one.sop_instance_uid]
                    settle(one, Outcome(outcome.kind, outcome.cause, outcome.status, size))
                waiting = waiting[count:]

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """What a search finds there (QIDO-RS); what it does not find may be indexed later."""
        found: dict[int, Outcome] = {}
        for study in dict.fromkeys(one.study_instance_uid for one in batch):
            there = await self._instances(study)
            for one in batch:
                if one.study_instance_uid == study and one.sop_instance_uid in there:
                    found[one.delivery_id] = Outcome(OutcomeKind.TAKEN)
        return found

    def _group(self, waiting: Sequence[OutgoingObject]) -> list[OutgoingObject]:
        """The first ones that go together: an object alone where it is larger than a request may be."""
        group: list[OutgoingObject] = []
        size = 0
        for one in waiting[: self._objects_max]:
            twice = any(one.sop_instance_uid == other.sop_instance_uid for other in group)
            if group and (twice or size + one.file_bytes > self._bytes_max):
                break
            group.append(one)
            size += one.file_bytes
        return group

    async def _open(
        self, group: Sequence[OutgoingObject], settle: Settle
    ) -> list[tuple[OutgoingObject, OpenedObject | Outcome]]:
        """Open objects; those that cannot be are settled."""
        opened: list[tuple[OutgoingObject, OpenedObject | Outcome]] = []
        for one in group:
            found = await open_file(one)
            if isinstance(found, Outcome):
                settle(one, found)
            opened.append((one, found))
        return opened

    async def _post(self, opened: Sequence[tuple[OutgoingObject, OpenedObject]], request: _Request) -> WebAnswer | None:
        """One request; None where an object broke in the middle (`request.broken`)."""
        writer = MultipartWriter(request.boundary)
        content_type = f'multipart/related; type="application/dicom"; boundary={request.boundary}'
        headers = {"accept": _ANSWER_TYPES, "content-type": content_type}
        # Without the parameter transfer-syntax, which the file tells itself: Orthanc answers 200 and keeps no part that has it.
        heads = [writer.part_head("application/dicom") for _ in opened]
        if all(one.length is not None for _, one in opened):
            inside = sum(
                len(head) + (one.length or 0) + len(PART_TAIL) for head, (_, one) in zip(heads, opened, strict=True)
            )
            headers["content-length"] = str(inside + len(writer.tail))
        study = quote(opened[0][0].study_instance_uid, safe="")
        one_study = all(one.study_instance_uid == opened[0][0].study_instance_uid for one, _ in opened)
        url = f"{self._url}/studies/{study}" if one_study else f"{self._url}/studies"
        try:
            return await self._client.ask(
                "POST",
                url,
                headers=headers,
                body=lambda: _body(request, heads, opened, writer.tail),
                timeout_s=REQUEST_TIMEOUT_S,
            )
        except RequestError:
            if request.broken is None:
                raise
            return None

    async def _instances(self, study: str) -> frozenset[str]:
        """SOP Instance UIDs of a study. Raises PeerError."""
        found: set[str] = set()
        for page in range(PAGES_MAX):
            query = urlencode({"limit": PAGE, "offset": page * PAGE})
            url = f"{self._url}/studies/{quote(study, safe='')}/instances?{query}"
            answer = await self._client.ask(
                "GET", url, headers={"accept": "application/dicom+json"}, timeout_s=ASK_TIMEOUT_S
            )
            if answer.status in (204, 404):
                break
            try:
                rows = orjson.loads(answer.body) if answer.status in (200, 206) else None
            except orjson.JSONDecodeError:
                rows = None
            if not isinstance(rows, list):
                raise PeerRefusedError(_sentence(self._url, answer))
            fresh = {text_of(row, "SOPInstanceUID") for row in rows if isinstance(row, dict)} - found
            found |= fresh
            if len(rows) < PAGE or not fresh:
                break
        return frozenset(found)


async def _body(
    request: _Request, heads: Sequence[bytes], opened: Sequence[tuple[OutgoingObject, OpenedObject]], tail: bytes
) -> AsyncIterator[bytes]:
    """The multipart body. Raises RequestError where an object breaks in the middle; `request.broken` says which."""
    request.sent.clear()
    for (outgoing, found), head in zip(opened, heads, strict=True):
        yield head
        size = 0
        try:
            async for piece in found.chunks:
                size += len(piece)
                yield piece
        except RequestError as error:
            request.broken = (outgoing, error)
            raise
        yield PART_TAIL
        request.sent.append((outgoing, size))
    yield tail


# --- the answer ---


def outcomes_of(url: str, answer: WebAnswer, sent: Sequence[OutgoingObject]) -> dict[str, Outcome]:
    """The outcome of each object that was sent, by its SOP Instance UID (PS3.18 table 10.5.3-1, annex I)."""
    module = _named_in(answer)
    named = module or {}
    outcomes: dict[str, Outcome] = {}
    for one in sent:
        uid = one.sop_instance_uid
        found = named.get(uid)
        if found is None and answer.status == 200 and module is None:
            found = Outcome(
                OutcomeKind.TAKEN, status=200
            )  # 200 says that all are stored; a list that lacks one does not.
        elif found is None and answer.status in (200, 202):
            found = Outcome(
                OutcomeKind.TRY_LATER,
                told(
                    "{url} answers {status} but does not name this object, so nothing is proven.",
                    url=url,
                    status=answer.status,
                ),
                answer.status,
            )
        outcomes[uid] = found or Outcome(_kind_of(answer.status), _sentence(url, answer), answer.status)
    return outcomes


def _named_in(answer: WebAnswer) -> dict[str, Outcome] | None:
    """What the Store Instances Response Module says of each object; None where there is none."""
    if not answer.body or answer.status not in (200, 202, 400, 403, 409, 503):
        return None
    try:
        model = parse_xml(answer.body) if answer.content_type.endswith("xml") else orjson.loads(answer.body)
    except (orjson.JSONDecodeError, InvalidObjectError):
        return None
    if isinstance(model, list) and len(model) == 1:  # Some services answer with an array, as searches do.
        model = model[0]
    if not isinstance(model, dict):
        return None
    found: dict[str, Outcome] = {}
    for item in _items(model, "ReferencedSOPSequence"):
        warning = number_of(item, "WarningReason")
        found[text_of(item, "ReferencedSOPInstanceUID")] = (
            Outcome(OutcomeKind.TAKEN, status=answer.status)
            if not warning
            else Outcome(
                OutcomeKind.WARNED, told("It was stored with the warning {code}.", code=f"{warning:04X}"), warning
            )
        )
    for item in _items(model, "FailedSOPSequence"):
        found[text_of(item, "ReferencedSOPInstanceUID")] = _failure(item)
    return found


def _failure(item: Mapping[str, Any]) -> Outcome:
    reason = number_of(dict(item), "FailureReason") or 0x0110
    comment = " ".join(text_of(dict(item), "ErrorComment").split())[:100]
    if reason == _DUPLICATE:
        return Outcome(OutcomeKind.TAKEN, told("It was there already."), reason)
    words = _REASONS.get(reason, told("the failure reason {code}", code=f"{reason:04X}"))
    cause = told("It was not stored: {reason}. {comment}", reason=words, comment=comment).strip()
    return Outcome(OutcomeKind.TRY_LATER if reason in _LATER else OutcomeKind.REFUSED, cause, reason)


_REASONS: Final[Mapping[int, str]] = {
    0x0110: told("processing failure (0110)"),
    0x0117: told("an invalid SOP Instance UID (0117)"),
    0x0122: told("the SOP class is not supported there (0122)"),
    0x0124: told("not authorized (0124)"),
    0xA700: told("no room (A700)"),
    0xA900: told("the data set does not match its SOP class (A900)"),
    0xC000: told("it cannot be understood (C000)"),
    0xC122: told("the transfer syntax is not supported there (C122)"),
    0xC409: told("another object of that UID is there already (C409)"),
}
"""PS3.18 I.2.2."""


def _kind_of(status: int) -> OutcomeKind:
    if status in (401, 408, 425, 429) or status >= 500:
        return OutcomeKind.TRY_LATER
    return OutcomeKind.REFUSED


def _sentence(url: str, answer: WebAnswer) -> str:
    """What an answer without a list of objects means, and what to do."""
    said = f" ({answer.said})" if answer.said else ""
    match answer.status:
        case 401:
            advice = told("it wants another login; check that of the destination")
        case 403:
            advice = told("the login may not do this; ask for the right to store and to search")
        case 404 | 405:
            advice = told("there is no DICOMweb service at that address; check it")
        case 406 | 415:
            advice = told("it does not take this kind of object or request")
        case 413:
            advice = told("the object is larger than it takes; raise its limit")
        case 429 | 503:
            advice = told("it is busy or out of room; it is tried again")
        case status if 300 <= status < 400:
            advice = told("it redirects elsewhere, which is not followed; give the final address")
        case status if status >= 500:
            advice = told("it failed; its log says why")
        case _:
            advice = told("it refuses the request")
    return told("{url} answers {status}{said}: {advice}.", url=url, status=answer.status, said=said, advice=advice)


def _items(model: Mapping[str, Any], keyword: str) -> list[dict[str, Any]]:
    attribute = model.get(key_of(keyword))
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return [one for one in values if isinstance(one, dict)] if isinstance(values, list) else []
