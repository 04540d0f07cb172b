"""Telling subscribers of changes: rows above marks become notices, notices become POSTs.

Each kind has a mark up to which its changes were looked at. What changed above it is asked for once more by the criteria of
each subscription, with the rights of its owner, and becomes a row of fhir_notice: one for each resource, so that several
changes in a short time are one notice. A notice is sent after a moment of quiet; just before that the resource is read again,
with the rights that the owner has then. Who does not answer is asked again with growing pauses; after ATTEMPTS_MAX the
subscription is in the state error, until somebody puts it again. An owner that is no more, or may not see this any more,
switches it off.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson
from psycopg import AsyncConnection
from psycopg.rows import class_row

from fileroom.admin.audit_events import exported
from fileroom.admin.audit_message import StudyReference
from fileroom.admin.authentication import identity_of_account, identity_of_token_row
from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, Access, ActorKind, Permission, acting_as, require
from fileroom.core.errors import ConfigurationError, PeerError, RequestError, told
from fileroom.fhir.elements import Resource
from fileroom.fhir.kinds import Kind
from fileroom.fhir.question import Question
from fileroom.fhir.registry import KINDS
from fileroom.fhir.search import connected, search_resources
from fileroom.fhir.subscriptions import COLUMNS, Subscription, headers_of, may_be_called, question_of
from fileroom.index.conditions import Condition
from fileroom.routing.web_client import WebAnswer, open_web_client
from fileroom.tasks.loop import retry_delay

NOTICES_INTERVAL_S: Final = 2.0
SETTLED_S: Final = 60.0
"""A transaction that is committed later may bear an earlier time: what changed within it is looked at again."""
CHANGED_MAX: Final = 2000
"""Changes of a kind in one round; the rest comes with the next."""
AT_ONCE_MAX: Final = 20
EACH_MAX: Final = 5
"""Of one subscription at once: one that does not answer must not hold up the others."""
CLAIM_S: Final = 120.0
SEND_TIMEOUT_S: Final = 30.0
ATTEMPTS_MAX: Final = 12
"""About six hours of trying."""
KEPT_S: Final = 86_400.0
REASON_CHARS_MAX: Final = 500
_BY_TIME: Final = {
    "Patient": "SELECT p.id::text, p.changed_at::text, p.changed_at FROM registered_patient p WHERE p.changed_at > %s",
    "ServiceRequest": "SELECT o.id::text, o.changed_at::text, o.changed_at FROM imaging_order o WHERE o.changed_at > %s",
    "DiagnosticReport": "SELECT r.id::text, r.changed_at::text, r.changed_at FROM report r WHERE r.changed_at > %s",
}
_GONE: Final = told("Whoever made this subscription is no more.")
_STUDIES: Final = """SELECT s.study_instance_uid, max(n.id)::text FROM instance n JOIN series e ON e.id = n.series
    JOIN study s ON s.id = e.study WHERE n.id > %s AND s.study_instance_uid IS NOT NULL
    GROUP BY 1 ORDER BY max(n.id) LIMIT %s"""


@dataclass(frozen=True, slots=True)
class _Changed:
    """Stamps by id, and how far the mark may be moved: to a moment, or to an object's row."""

    stamps: dict[str, str]
    until_time: dt.datetime | None = None
    until_row: int | None = None


async def tell_subscribers(archive: Archive) -> int:
    """One round: note what changed, send what is due; returns how many notices were tried.

    Raises NotAllowedError, DatabaseError.
    """
    require(Permission.SYSTEM_MANAGE)
    async with connected(archive) as connection, connection.cursor(row_factory=class_row(Subscription)) as cursor:
        await cursor.execute(
            f"SELECT {COLUMNS} FROM fhir_subscription WHERE removed_at IS NULL AND state = 'active' ORDER BY id".encode()
        )
        live = {one.id: one for one in await cursor.fetchall()}
        ended = [one.id for one in live.values() if one.ends_at is not None and one.ends_at <= archive.now()]
        await connection.execute(
            b"UPDATE fhir_subscription SET state = 'off', version = version + 1, changed_at = now() WHERE id = ANY(%s)",
            (ended,),
        )
        await connection.execute(
            b"DELETE FROM fhir_notice WHERE state <> 'waiting' AND made_at < now() - make_interval(secs => %s)",
            (KEPT_S,),
        )
        # Nobody listens: what changes until somebody does is nothing new to them.
        await connection.execute(
            b"""DELETE FROM fhir_mark m WHERE NOT EXISTS (SELECT FROM fhir_subscription s
                WHERE s.kind = m.kind AND s.state = 'active' AND s.removed_at IS NULL)"""
        )
    subscriptions = [one for one in live.values() if one.id not in ended]
    for kind in {one.kind for one in subscriptions}:
        await _note_changes(archive, KINDS[kind], [one for one in subscriptions if one.kind == kind])
    due = await _claim(archive, [one.id for one in subscriptions])
    await asyncio.gather(*(_tell(archive, live[number], resource, stamp) for number, resource, stamp in due))
    return len(due)


# --- what changed ---


async def _note_changes(archive: Archive, kind: Kind, subscriptions: Sequence[Subscription]) -> None:
    """Make notices of what changed above the mark, then move the mark."""
    async with connected(archive) as connection:
        changed = await _changed(connection, kind.name)
    for one in subscriptions:
        found = await _fitting_ids(archive, one, list(changed.stamps))
        async with connected(archive) as connection:
            await connection.cursor().executemany(
                b"""INSERT INTO fhir_notice AS n (subscription, resource, stamp, due_at)
                    VALUES (%s, %s, %s, now() + make_interval(secs => %s))
                    ON CONFLICT (subscription, resource) DO UPDATE SET stamp = excluded.stamp, state = 'waiting',
                        due_at = excluded.due_at, attempts = 0, made_at = now()
                    WHERE n.stamp <> excluded.stamp""",
                [(one.id, number, changed.stamps[number], _quiet_s(archive, kind)) for number in found],
            )
    async with connected(archive) as connection:
        await connection.execute(
            b"""UPDATE fhir_mark SET reached_at = greatest(reached_at, %s), reached = greatest(reached, %s)
                WHERE kind = %s""",
            (changed.until_time, changed.until_row, kind.name),
        )


def _quiet_s(archive: Archive, kind: Kind) -> float:
    """Images come one by one: a study is told of when it has been quiet for a while."""
    return archive.settings.series_stable_s if kind.name == "ImagingStudy" else 0.0


async def _changed(connection: AsyncConnection[Any], kind: str) -> _Changed:
    """What changed of a kind above its mark, and how far the mark may be moved when that is noted."""
    cursor = await connection.execute(
        b"SELECT reached_at, reached, now() - make_interval(secs => %s) FROM fhir_mark WHERE kind = %s",
        (SETTLED_S, kind),
    )
    row = await cursor.fetchone()
    if row is None:
        return _Changed({})
    reached_at, reached, settled = row
    if kind == "ImagingStudy":
        cursor = await connection.execute(_STUDIES.encode(), (reached, CHANGED_MAX))
        studies = await cursor.fetchall()
        cursor = await connection.execute(
            b"SELECT max(id) FROM instance WHERE id > %s AND received_at < %s", (reached, settled)
        )
        [until] = await cursor.fetchone() or [None]
        if until is not None and len(studies) == CHANGED_MAX:
            until = min(until, int(studies[-1][1]))
        return _Changed({one[0]: one[1] for one in studies}, until_row=until)
    cursor = await connection.execute(f"{_BY_TIME[kind]} ORDER BY 3 LIMIT %s".encode(), (reached_at, CHANGED_MAX))
    rows = await cursor.fetchall()
    until = min(rows[-1][2], settled) if len(rows) == CHANGED_MAX else settled
    return _Changed({one[0]: one[1] for one in rows}, until_time=until)


async def _fitting_ids(archive: Archive, one: Subscription, ids: Sequence[str]) -> list[str]:
    """Which of these fit the criteria, for their owner."""
    if not ids:
        return []
    owner = await _owner(archive, one)
    if owner is None:
        await _stop(archive, one, "off", _GONE)
        return []
    found: list[str] = []
    try:
        with acting_as(owner):
            for start in range(0, len(ids), 100):
                found += [resource["id"] for resource in await _fitting(archive, one, ids[start : start + 100])]
    except RequestError as error:
        await _stop(archive, one, "off", error.sentence)
        return []
    return found


async def _fitting(archive: Archive, one: Subscription, ids: Sequence[str]) -> Sequence[Resource]:
    zone = archive.settings.routing_zone
    question = question_of(one.criteria, one.base, zone)
    narrowed = replace(
        question, condition=Condition.all_of([question.condition, _any_of(question, ids)]), count=len(ids)
    )
    found = await search_resources(archive, question.kind, narrowed, one.words(zone))
    return found.matches


def _any_of(question: Question, ids: Sequence[str]) -> Condition:
    kind = question.kind
    if kind.id == f"{kind.key}::text":
        return Condition(f"{kind.key} = ANY(%s)", ([int(number) for number in ids],))
    return Condition(f"{kind.id} = ANY(%s)", (list(ids),))


async def _owner(archive: Archive, one: Subscription) -> Access | None:
    """The owner with the rights that they have now; None: there is none any more."""
    people = People(archive.pool, archive.settings, archive.now)
    identity = None
    if one.owner_kind == ActorKind.SYSTEM:
        return SYSTEM
    if one.token_id is not None:
        identity = await identity_of_token_row(people, one.token_id)
    elif one.account_id is not None:
        identity = await identity_of_account(people, one.account_id)
    return None if identity is None else identity.access.within_fhir


# --- telling ---


async def _claim(archive: Archive, subscriptions: Sequence[int]) -> list[tuple[int, str, str]]:
    """(subscription, resource, stamp) of what is due; nobody else takes it for CLAIM_S."""
    async with connected(archive) as connection:
        cursor = await connection.execute(
            b"""UPDATE fhir_notice n SET due_at = now() + make_interval(secs => %s)
                FROM (SELECT w.subscription, w.resource FROM unnest(%s::bigint[]) AS live(id), LATERAL (
                        SELECT * FROM fhir_notice x WHERE x.subscription = live.id AND x.state = 'waiting'
                        AND x.due_at <= now() ORDER BY x.due_at LIMIT %s FOR UPDATE SKIP LOCKED) w
                    ORDER BY w.due_at LIMIT %s) d
                WHERE n.subscription = d.subscription AND n.resource = d.resource
                RETURNING n.subscription, n.resource, n.stamp""",
            (CLAIM_S, list(subscriptions), EACH_MAX, AT_ONCE_MAX),
        )
        return await cursor.fetchall()


async def _tell(archive: Archive, one: Subscription, number: str, stamp: str) -> None:
    owner = await _owner(archive, one)
    if owner is None:
        await _stop(archive, one, "off", _GONE)
        return
    try:
        with acting_as(owner):
            found = await _fitting(archive, one, [number])
    except RequestError as error:
        await _stop(archive, one, "off", error.sentence)
        return
    if not found:
        await _settle(archive, one, number, stamp, "passed", "It does not fit any more, or may not be seen.")
        return
    try:
        answer = await _post(archive, one, found[0])
    except (PeerError, ConfigurationError) as error:
        await _failed(archive, one, number, stamp, error.sentence)
        return
    if 200 <= answer.status < 300:
        _note_export(archive, one, owner, found[0])
        await _settle(archive, one, number, stamp, "sent", "")
    else:
        await _failed(archive, one, number, stamp, told("It answers {status}.", status=answer.status))


async def _post(archive: Archive, one: Subscription, resource: Resource) -> WebAnswer:
    """Without a payload the POST is empty (3.1.5.5.1); with one it is the resource. Raises PeerError, ConfigurationError."""
    headers = headers_of(archive, one)
    body = orjson.dumps(resource) if one.payload else b""
    plain = archive.settings.fhir_plain_http
    if not may_be_called(one.endpoint, plain_http=plain, has_secrets=bool(body or headers)):
        raise ConfigurationError(
            "The address is not encrypted, which FILEROOM_FHIR_PLAIN_HTTP does not allow any more."
        )
    given = {**headers, "accept": "*/*", "content-length": str(len(body))}
    if body:
        given["content-type"] = one.payload

    async def once() -> AsyncIterator[bytes]:
        yield body

    async with open_web_client(archive, {}) as client:
        return await client.ask("POST", one.endpoint, headers=given, body=once, timeout_s=SEND_TIMEOUT_S)


def _note_export(archive: Archive, one: Subscription, owner: Access, resource: Resource) -> None:
    """That something of a study or patient left the house, and in whose name."""
    studies = [resource["id"]] if resource["resourceType"] == "ImagingStudy" else []
    studies += [str(study["reference"]).partition("/")[2] for study in resource.get("imagingStudy", [])]
    if one.payload and studies:
        archive.audit.note(
            exported([StudyReference(uid) for uid in studies], one.endpoint.partition("?")[0], actor=owner)
        )


async def _settle(archive: Archive, one: Subscription, number: str, stamp: str, state: str, reason: str) -> None:
    """A change that came meanwhile keeps the notice waiting."""
    async with connected(archive) as connection:
        await connection.execute(
            b"""UPDATE fhir_notice SET state = %s, reason = %s, made_at = now()
                WHERE subscription = %s AND resource = %s AND stamp = %s""",
            (state, reason[:REASON_CHARS_MAX], one.id, number, stamp),
        )


async def _failed(archive: Archive, one: Subscription, number: str, stamp: str, reason: str) -> None:
    async with connected(archive) as connection:
        cursor = await connection.execute(
            b"""UPDATE fhir_notice SET attempts = attempts + 1, reason = %s
                WHERE subscription = %s AND resource = %s AND stamp = %s RETURNING attempts""",
            (reason[:REASON_CHARS_MAX], one.id, number, stamp),
        )
        row = await cursor.fetchone()
        attempts = int(row[0]) if row else 0
        await connection.execute(
            b"""UPDATE fhir_notice SET due_at = greatest(due_at, now() + make_interval(secs => %s))
                WHERE subscription = %s AND state = 'waiting' AND (resource <> %s OR stamp = %s)""",
            (retry_delay(max(attempts, 1)), one.id, number, stamp),
        )
        await connection.execute(
            b"UPDATE fhir_subscription SET error = %s WHERE id = %s AND version = %s AND state = 'active'",
            (reason[:REASON_CHARS_MAX], one.id, one.version),
        )
    if attempts >= ATTEMPTS_MAX:
        await _stop(archive, one, "error", reason)


async def _stop(archive: Archive, one: Subscription, state: str, reason: str) -> None:
    """The subscription tells nothing more until somebody puts it again; what waits waits with it."""
    async with connected(archive) as connection:
        await connection.execute(
            b"""UPDATE fhir_subscription SET state = %s, error = %s, version = version + 1, changed_at = now()
                WHERE id = %s AND version = %s""",
            (state, reason[:REASON_CHARS_MAX], one.id, one.version),
        )
