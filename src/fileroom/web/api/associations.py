"""`/associations`: the ledger. Who called, whom Fileroom called, what happened, and what to do about what failed."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query, Request
from pydantic import Field

from fileroom.admin.ledger_advice import advise
from fileroom.admin.ledger_rows import Direction, Outcome
from fileroom.admin.ledger_search import AssociationEntry, LedgerFilter, Place
from fileroom.admin.nodes import find_node
from fileroom.archive.associations import search_associations, show_association
from fileroom.core.access import Permission
from fileroom.core.errors import InvalidRequestError, NotFoundError
from fileroom.web.api.models import AskedMoment, AskedUid, Moment, NumberInPath, Shown
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import Limit, Page, next_address

Word = Annotated[str, Query(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
LedgerCursor = Annotated[
    str, Query(max_length=60, pattern=r"^[0-9.-]*$", description="Where a page ended; `next` has it.")
]


class ShownAdvice(Shown):
    """What went wrong, and what to do next."""

    what: str
    next: str


class ShownAssociation(Shown):
    """One association, or the attempt at one."""

    id: int
    began_at: Moment
    ended_at: Moment | None
    direction: Direction
    purpose: str
    parent: Annotated[int | None, Field(description="The association that this one was opened for.")]
    calling_aet: str
    called_aet: str
    peer_host: str
    peer_port: int
    tls: bool
    implementation_version: str
    outcome: Outcome
    mark: Literal["good", "warning", "failed"]
    detail: str
    contexts_proposed: int
    contexts_accepted: int
    bytes_in: int
    bytes_out: int
    requests: int
    objects: int
    warnings: int
    failures: int
    advice: list[ShownAdvice]


class AssociationPage(Page[ShownAssociation]):
    """Associations, the newest first."""


class ShownContext(Shown):
    """A presentation context and the answer (PS3.8 9.3.3.2)."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: list[str]
    result: int | None
    transfer_syntax: str
    role: str


class ShownOperation(Shown):
    """A request and its answer, or many that are alike."""

    n: int
    kind: str
    by_us: bool
    began_at: Moment
    ended_at: Moment | None
    busy_s: float
    count: int
    status: Annotated[int | None, Field(description="DIMSE status.")]
    reason: str
    sop_class_uid: str
    transfer_syntax_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    bytes: int
    matches: int
    completed: int | None
    warned: int | None
    failed: int | None
    destination: str


class CarriedStudy(Shown):
    """A study that objects were carried of, as far as one may see it."""

    study_instance_uid: str
    patient_name: str
    patient_id: str
    study_date: str
    description: str


class WholeAssociation(ShownAssociation):
    """One association with its contexts, operations and studies."""

    contexts: list[ShownContext]
    operations: list[ShownOperation]
    studies: list[CarriedStudy]


def add_associations(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource(
        "associations", "The association ledger: every association with its outcome, and for failures the next step."
    )

    @resource.get("/associations", "search", Permission.LEDGER_READ)
    async def search(
        request: Request,
        aet: Annotated[Word, Query(description="The peer's AE title, as written.")] = "",
        node: Annotated[Word, Query(description="A node's name.")] = "",
        host: Annotated[Word, Query(description="The peer's address.")] = "",
        patient: Annotated[Word, Query(description="A Patient ID or a name, with the wildcards of DICOM.")] = "",
        direction: Annotated[Direction | None, Query(description="Who called: in, the peer.")] = None,
        outcome: Annotated[Outcome | None, Query(description="How it ended.")] = None,
        failed: Annotated[bool, Query(description="Only those that went wrong.")] = False,
        since: Annotated[AskedMoment | None, Query(description="Begun then or later.")] = None,
        until: Annotated[AskedMoment | None, Query(description="Begun before.")] = None,
        sop_instance_uid: Annotated[AskedUid | None, Query(description="Those on which this object failed.")] = None,
        limit: Limit = 100,
        cursor: LedgerCursor = "",
    ) -> AssociationPage:
        """Search the ledger, the newest first."""
        if node:
            found = await find_node(archive.pool, name=node)
            if found is None:
                raise NotFoundError(f"There is no node named {node}.")
            if aet not in ("", found.aet):
                raise InvalidRequestError(
                    f"The node {node} has the AE title {found.aet}, not {aet}; name one of the two."
                )
            aet = found.aet
        wanted = LedgerFilter(
            aet=aet,
            host=host,
            direction=direction,
            since=since,
            until=until,
            failed=failed,
            outcome=outcome,
            sop_instance_uid=sop_instance_uid or "",
        )
        entries = await search_associations(
            archive, wanted, patient=patient, after=Place.parse(cursor) if cursor else None, limit=limit
        )
        behind = str(entries[-1].place) if len(entries) == limit else ""
        own = archive.settings.aet
        return AssociationPage(items=[_shown(entry, own) for entry in entries], next=next_address(request, behind))

    @resource.get("/associations/{number}", "get", Permission.LEDGER_READ)
    async def get_association(number: NumberInPath) -> WholeAssociation:
        """One association: what was agreed, every operation, what failed and what to do."""
        entry, studies = await show_association(archive, number)
        return WholeAssociation(
            **dict(_shown(entry, archive.settings.aet)),
            contexts=[ShownContext.model_validate(context) for context in entry.contexts],
            operations=[ShownOperation.model_validate(row) for row in entry.operations],
            studies=[CarriedStudy.model_validate(study) for study in studies],
        )


def _shown(entry: AssociationEntry, own_aet: str) -> ShownAssociation:
    names = ShownAssociation.model_fields.keys() - {"mark", "advice"}
    return ShownAssociation(
        **{name: getattr(entry, name) for name in names},
        mark=entry.mark.name.lower(),
        advice=[ShownAdvice(what=one.what_text, next=one.next_text) for one in advise(entry, own_aet)],
    )
