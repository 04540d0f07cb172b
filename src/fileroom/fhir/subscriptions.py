"""Subscriptions (FHIR R4 Subscription, rest-hook): what somebody wants to be told of, and where.

    Subscription {status: requested, criteria: "ImagingStudy?modality=CT", channel: {type: rest-hook, endpoint: https://..}}

What is told is looked for with the rights of whoever made or changed the subscription last, as they are at that time
(`notices`). Since Fileroom then calls an address that somebody names, it takes the permission to change destinations, and the
same rules as for them: http and https alone, no login in the address, redirects not followed; what names patients, or shows a
secret, goes without TLS to this machine alone, or where FILEROOM_FHIR_PLAIN_HTTP allows it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import orjson
from psycopg.rows import class_row

from fileroom.admin.audit import record
from fileroom.admin.audit_events import node_changed
from fileroom.admin.sealing import seal, unseal
from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, require
from fileroom.core.errors import ConflictError, InvalidRequestError, NotFoundError, told
from fileroom.fhir.conditions import as_row
from fileroom.fhir.elements import Resource, Words, filled, instant
from fileroom.fhir.question import Question, read_question
from fileroom.fhir.registry import KINDS
from fileroom.fhir.scopes import require_scope
from fileroom.fhir.search import connected
from fileroom.routing.target_fields import FieldType, TargetField, checked_value

KIND: Final = "Subscription"
SUBSCRIPTIONS_MAX: Final = 200
"""Each is a search for each change."""
TOLD_KINDS: Final = ("Patient", "ServiceRequest", "ImagingStudy", "DiagnosticReport")
CRITERIA_CHARS_MAX: Final = 2000
HEADERS_MAX: Final = 10
HEADER_CHARS_MAX: Final = 2000
REASON_CHARS_MAX: Final = 1000
HIDDEN: Final = "***"
"""What stands for the value of a header, which is never shown; sent back, it keeps what is there."""
PAYLOAD: Final = "application/fhir+json"
_PAYLOADS: Final = ("", PAYLOAD, "application/json")
_ENDPOINT: Final = TargetField("channel.endpoint", told("Address"), FieldType.URL, required=True)
_REFUSED_HEADERS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "te", "trailer", "upgrade", "expect")
)
_STATES: Final = ("requested", "active", "error", "off")


class RemovedError(NotFoundError):
    """It was there, and was removed."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """A row of fhir_subscription. `headers` are sealed."""

    id: int
    criteria: str
    kind: str
    endpoint: str
    payload: str
    headers: bytes | None
    header_names: list[str]
    reason: str
    state: str
    error: str
    ends_at: dt.datetime | None
    base: str
    dicomweb: str
    owner_kind: str
    owner: str
    account_id: int | None
    token_id: int | None
    version: int
    changed_at: dt.datetime
    removed_at: dt.datetime | None

    def words(self, zone: str) -> Words:
        """How its notices are written."""
        return Words(self.base, self.dicomweb, ZoneInfo(zone) if zone else None)


COLUMNS: Final = ", ".join(Subscription.__dataclass_fields__)


def subscription_resource(one: Subscription) -> Resource:
    """As a resource; values of headers are not shown."""
    return filled(
        resourceType=KIND,
        id=str(one.id),
        meta={"versionId": str(one.version), "lastUpdated": instant(one.changed_at)},
        status=one.state,
        reason=one.reason or one.criteria,
        criteria=one.criteria,
        error=one.error or None,
        end=instant(one.ends_at) if one.ends_at else None,
        channel=filled(
            type="rest-hook",
            endpoint=one.endpoint,
            payload=one.payload or None,
            header=[f"{name}: {HIDDEN}" for name in one.header_names],
        ),
    )


async def list_subscriptions(
    archive: Archive, *, number: str = "", state: str = "", after: int = 0, limit: int = 100
) -> list[Subscription]:
    """By their numbers. Raises NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    require_scope(KIND, "s")
    async with connected(archive) as connection, connection.cursor(row_factory=class_row(Subscription)) as cursor:
        await cursor.execute(
            f"""SELECT {COLUMNS} FROM fhir_subscription WHERE removed_at IS NULL AND id > %s AND (%s = '' OR id = %s)
                AND (%s = '' OR state = %s) ORDER BY id LIMIT %s""".encode(),
            (after, number, as_row(number), state, state, limit),
        )
        return await cursor.fetchall()


async def get_subscription(archive: Archive, number: str) -> Subscription:
    """One. Raises NotFoundError (RemovedError where it was removed), NotAllowedError, DatabaseError."""
    require(Permission.ROUTING_READ)
    require_scope(KIND, "r")
    return await _read(archive, number)


async def put_subscription(
    archive: Archive, resource: Mapping[str, Any], words: Words, number: str = "", *, version: int | None = None
) -> tuple[Subscription, bool]:
    """Make one, or change it (`number`); returns it, and whether it is new. It is whoever's that put it last.

    Raises InvalidRequestError, NotFoundError, ConflictError (changed meanwhile, or too many), NotAllowedError, DatabaseError.
    """
    access = require(Permission.ROUTING_MANAGE)
    require_scope(KIND, "u" if number else "c")
    before = await _read(archive, number) if number else None
    if before is not None and version is not None and before.version != version:
        raise ConflictError(told("The subscription has changed meanwhile; read it again."))
    wanted = _wanted(archive, resource, words, before)
    token = await _token_of(archive, access)
    async with connected(archive) as connection, connection.cursor(row_factory=class_row(Subscription)) as cursor:
        values = {
            **wanted,
            "base": words.base,
            "dicomweb": words.dicomweb,
            "owner_kind": access.kind.value,
            "owner": access.name,
            "account_id": access.account_id,
            "token_id": token,
        }
        if before is None:
            names = ", ".join((*values, "changed_by"))
            marks = ", ".join("%s" for _ in range(len(values) + 1))
            await cursor.execute(
                f"""INSERT INTO fhir_subscription ({names}) SELECT {marks}
                    WHERE (SELECT count(*) FROM fhir_subscription WHERE removed_at IS NULL) < %s
                    RETURNING {COLUMNS}""".encode(),
                (*values.values(), access.name, SUBSCRIPTIONS_MAX),
            )
        else:
            changes = ", ".join(f"{name} = %s" for name in (*values, "changed_by"))
            await cursor.execute(
                f"""UPDATE fhir_subscription SET {changes}, error = '', version = version + 1, changed_at = now()
                    WHERE id = %s AND version = %s AND removed_at IS NULL RETURNING {COLUMNS}""".encode(),
                (*values.values(), access.name, before.id, before.version),
            )
        made = await cursor.fetchone()
        if made is None and before is None:
            raise ConflictError(told("There are {count} subscriptions already.", count=SUBSCRIPTIONS_MAX))
        if made is None:
            raise ConflictError(told("The subscription has changed meanwhile; read it again."))
        # From here on changes count.
        newest = "(SELECT coalesce(max(id), 0) FROM instance)" if made.kind == "ImagingStudy" else "0"
        await connection.execute(
            f"INSERT INTO fhir_mark (kind, reached) SELECT %s, {newest} ON CONFLICT (kind) DO NOTHING".encode(),
            (made.kind,),
        )
        where = urlsplit(made.endpoint)
        what = "changed" if before else "made"
        await record(
            connection,
            node_changed(
                f"subscription {made.id}",
                f"FHIR subscription {what}: {made.criteria} to {where.scheme}://{where.netloc}{where.path}, {made.state}",
            ),
        )
    return made, before is None


async def remove_subscription(archive: Archive, number: str) -> None:
    """End one, with what waits to be told. Raises NotFoundError, NotAllowedError, DatabaseError."""
    access = require(Permission.ROUTING_MANAGE)
    require_scope(KIND, "d")
    found = await _read(archive, number)
    async with connected(archive) as connection:
        await connection.execute(
            b"""UPDATE fhir_subscription SET removed_at = now(), headers = NULL, changed_by = %s, version = version + 1
                WHERE id = %s""",
            (access.name, found.id),
        )
        await connection.execute(b"DELETE FROM fhir_notice WHERE subscription = %s", (found.id,))
        await record(
            connection, node_changed(f"subscription {found.id}", f"FHIR subscription removed: {found.criteria}")
        )


def question_of(criteria: str, base: str, zone: str) -> Question:
    """The search of a subscription. Raises InvalidRequestError for one that cannot be told of."""
    kind, _, query = criteria.partition("?")
    if kind not in TOLD_KINDS:
        raise InvalidRequestError(
            told(
                "criteria begins with one of {names} and ?, not with {kind}.",
                names=", ".join(TOLD_KINDS),
                kind=kind[:40],
            )
        )
    pairs = parse_qsl(query, max_num_fields=50)
    if chosen := [name for name, _ in pairs if name.startswith("_") and name not in ("_id",)]:
        raise InvalidRequestError(told("{name} has no meaning in criteria.", name=chosen[0][:40]))
    return read_question(KINDS[kind], pairs, base=base, zone=ZoneInfo(zone) if zone else None, strict=True)


def headers_of(archive: Archive, one: Subscription) -> dict[str, str]:
    """The headers that its notices carry. Raises ConfigurationError."""
    if one.headers is None:
        return {}
    found = orjson.loads(unseal(archive.settings.data, bytes(one.headers)))
    return {str(name): str(value) for name, value in found.items()}


def may_be_called(endpoint: str, *, plain_http: bool, has_secrets: bool) -> bool:
    """Whether a notice with patients' data or a secret may go there: by TLS, to this machine, or where it is allowed."""
    parts = urlsplit(endpoint)
    if parts.scheme == "https" or plain_http or not has_secrets:
        return True
    host = parts.hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _read(archive: Archive, number: str) -> Subscription:
    async with connected(archive) as connection, connection.cursor(row_factory=class_row(Subscription)) as cursor:
        await cursor.execute(f"SELECT {COLUMNS} FROM fhir_subscription WHERE id = %s".encode(), (as_row(number),))
        found = await cursor.fetchone()
    if found is None:
        raise NotFoundError(told("There is no {kind} {id}.", kind=KIND, id=number[:64]))
    if found.removed_at is not None:
        raise RemovedError(told("The {kind} {id} was removed.", kind=KIND, id=number[:64]))
    return found


async def _token_of(archive: Archive, access: Access) -> int | None:
    """The row of the token that acts. Raises InvalidRequestError for somebody in whose name nothing can be done later."""
    if access.kind is ActorKind.TOKEN:
        async with connected(archive) as connection:
            cursor = await connection.execute(
                b"SELECT id FROM api_token WHERE name = %s AND account_id IS NOT DISTINCT FROM %s",
                (access.name.rpartition("/")[2], access.account_id),
            )
            row = await cursor.fetchone()
        if row is not None:
            return int(row[0])
    elif access.kind is ActorKind.SYSTEM or (access.kind is ActorKind.PERSON and access.account_id is not None):
        return None
    raise InvalidRequestError(told("Only a person, a token or this machine can have a subscription."))


def _wanted(archive: Archive, resource: Mapping[str, Any], words: Words, before: Subscription | None) -> dict[str, Any]:
    """The columns of a resource that was sent. Raises InvalidRequestError."""
    criteria = _text(resource, "criteria", CRITERIA_CHARS_MAX)
    state = _text(resource, "status", 20)
    if state not in _STATES:
        raise InvalidRequestError(told("status is one of {names}.", names=", ".join(_STATES)))
    question = question_of(criteria, words.base, archive.settings.routing_zone)
    channel = resource.get("channel")
    if not isinstance(channel, Mapping):
        raise InvalidRequestError(told("A subscription has a channel."))
    if channel.get("type") != "rest-hook":
        raise InvalidRequestError(told("The channel's type is rest-hook; others are not made."))
    endpoint = str(checked_value(_ENDPOINT, channel.get("endpoint", "")))
    payload = channel.get("payload", "")
    if payload not in _PAYLOADS:
        raise InvalidRequestError(told("The payload is application/fhir+json, or there is none."))
    headers = _headers(archive, channel.get("header", []), before)
    plain = archive.settings.fhir_plain_http
    if not may_be_called(endpoint, plain_http=plain, has_secrets=bool(payload or headers)):
        raise InvalidRequestError(
            told(
                "{url} is not encrypted, and patients' data or a secret would be sent there. Take https, or a subscription "
                "without payload and header.",
                url=endpoint[:200],
            )
        )
    return {
        "criteria": criteria,
        "kind": question.kind.name,
        "endpoint": endpoint,
        "payload": PAYLOAD if payload else "",
        "headers": seal(archive.settings.data, orjson.dumps(headers)) if headers else None,
        "header_names": list(headers),
        "reason": _text(resource, "reason", REASON_CHARS_MAX, required=False),
        "state": "off" if state == "off" else "active",
        "ends_at": _end(resource.get("end")),
    }


def _headers(archive: Archive, lines: object, before: Subscription | None) -> dict[str, str]:
    if not isinstance(lines, Sequence) or isinstance(lines, str) or len(lines) > HEADERS_MAX:
        raise InvalidRequestError(told("header is a list of at most {most} lines.", most=HEADERS_MAX))
    kept = headers_of(archive, before) if before is not None else {}
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = str(line).partition(":")
        name, value = name.strip(), value.strip()
        is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        is_value = value.isascii() and value.isprintable() and len(value) <= HEADER_CHARS_MAX
        if not colon or not is_name or len(name) > 100 or not is_value or name.lower() in _REFUSED_HEADERS:
            raise InvalidRequestError(told("{name} is no header that can be sent.", name=repr(name[:40])))
        if value == HIDDEN:
            if name not in kept:
                raise InvalidRequestError(told("The value of the header {name} is missing.", name=name[:40]))
            value = kept[name]
        found[name] = value
    return found


def _text(resource: Mapping[str, Any], name: str, chars_max: int, *, required: bool = True) -> str:
    value = resource.get(name, "")
    if not isinstance(value, str) or (required and not value) or len(value) > chars_max or "\0" in value:
        raise InvalidRequestError(told("{name} is a text of at most {most} characters.", name=name, most=chars_max))
    return value


def _end(value: object) -> dt.datetime | None:
    if value is None:
        return None
    try:
        found = dt.datetime.fromisoformat(str(value))
        if found.tzinfo is None:
            raise ValueError(value)
    except ValueError as error:
        raise InvalidRequestError(told("end is a moment with its offset, as 2026-12-01T00:00:00Z.")) from error
    return found
