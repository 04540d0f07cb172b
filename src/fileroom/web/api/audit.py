"""`/audit`: who did what. Reading it is itself an event."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import Field

from fileroom.admin import audit_search
from fileroom.admin.audit_chain import ChainEnd
from fileroom.admin.audit_message import to_json
from fileroom.admin.audit_search import AuditQuery, AuditRecord
from fileroom.admin.audit_sentences import sentence_of
from fileroom.admin.audit_verify import FindingKind, verify_trail
from fileroom.core.access import Permission
from fileroom.web.api.models import INTEGRAL, NUMBER_MAX, Asked, AskedMoment, AskedUid, Moment, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Cursor, Limit, Page, next_address

Word = Annotated[str, Query(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]


class ShownEvent(Shown):
    """One event as it was written."""

    id: int
    occurred_at: Moment
    event: Annotated[str, Field(description="Code of EventID (PS3.15 A.5).")]
    event_type: str
    title: str
    sentence: Annotated[str, Field(description="The event in plain words.")]
    what: Annotated[str, Field(description="The sentence that goes with it, or the keys of a query.")]
    action: str
    outcome: Annotated[int, Field(description="0: success.")]
    actor_kind: str
    actor: str
    address: str
    patient_ids: list[str]
    study_instance_uids: list[str]
    message: Annotated[dict[str, Any], Field(description="The whole audit message.")]


class EventPage(Page[ShownEvent]):
    """Events, the latest first."""


class Checkpoint(Asked):
    """An end of the chain that was noted elsewhere."""

    position: Annotated[int, Field(strict=True, ge=1, le=NUMBER_MAX), INTEGRAL]
    chain: Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]


class VerifyRequest(Asked):
    """What the trail shall be held against; null: itself alone."""

    checkpoint: Checkpoint | None = None


class ShownFinding(Shown):
    """Something that is wrong with the trail."""

    kind: FindingKind
    position: int
    event_id: int
    occurred_at: Moment | None
    detail: str


class ShownEnd(Shown):
    """The end of the chain: worth noting elsewhere."""

    position: int
    chain: str


class VerifyResult(Shown):
    """What came of a check of the whole trail."""

    whole: bool
    events: int
    waiting: int
    kept_since: Moment | None
    end: ShownEnd
    findings: list[ShownFinding]


def add_audit(api: Api) -> None:
    """The operations."""
    pool = api.archive.pool
    resource = api.resource("audit", "The audit trail: who did what, when and from where.")

    @resource.get("/audit/events", "search", Permission.AUDIT_READ)
    async def search(
        request: Request,
        patient: Annotated[Word, Query(description="Patient ID.")] = "",
        user: Annotated[Word, Query(description="Login, token, AE title or AET@address.")] = "",
        study: Annotated[AskedUid | None, Query(description="Study Instance UID.")] = None,
        event: Annotated[Word, Query(description="Code of EventID, for example 110114 for logins.")] = "",
        event_type: Annotated[Word, Query(description="Code of EventTypeCode.")] = "",
        failures: Annotated[bool, Query(description="Only what failed or was refused.")] = False,
        since: Annotated[AskedMoment | None, Query(description="Then or later.")] = None,
        until: Annotated[AskedMoment | None, Query(description="Before.")] = None,
        limit: Limit = 100,
        cursor: Cursor = "",
    ) -> EventPage:
        """Search the trail, the latest first: who looked at this patient?"""
        asked = AuditQuery(
            patient=patient,
            user=user,
            study=study or "",
            since=since,
            until=until,
            event=event,
            event_type=event_type,
            failures_only=failures,
            limit=limit,
            cursor=cursor,
        )
        page = await audit_search.search(pool, asked)
        return EventPage(items=[_shown(one) for one in page.records], next=next_address(request, page.next_cursor))

    @resource.post("/audit/verification", "verify", Permission.AUDIT_READ)
    async def verify(asked: VerifyRequest) -> VerifyResult:
        """Check every event against its seal and the chain of seals. It reads the whole trail."""
        noted = asked.checkpoint
        expected = ChainEnd(noted.position, bytes.fromhex(noted.chain)) if noted else None
        report = await verify_trail(pool, expected=expected)
        return VerifyResult(
            whole=not report.findings,
            events=report.events,
            waiting=report.waiting,
            kept_since=report.kept_since,
            end=ShownEnd(position=report.end.position, chain=report.end.chain.hex()),
            findings=[ShownFinding.model_validate(finding) for finding in report.findings],
        )


def _shown(record: AuditRecord) -> ShownEvent:
    same = ("id", "occurred_at", "event", "event_type", "title", "what", "action", "outcome")
    return ShownEvent(
        **{name: getattr(record, name) for name in (*same, "actor_kind", "actor", "address")},
        sentence=str(sentence_of(record)),
        patient_ids=list(record.patient_ids),
        study_instance_uids=list(record.study_uids),
        message=to_json(record.message),
    )
