"""`/critical-results`, `/turnaround`, `/reconciliation`, `/reporting-systems`: what is to be done about reports, how fast."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BeforeValidator, Field

from fileroom.core.access import Permission
from fileroom.feeds.order_messages import send_exam
from fileroom.reports import assignments, critical, reconciliation, reporting_systems
from fileroom.reports.critical_levels import CRITICAL
from fileroom.reports.handover import hand_over
from fileroom.reports.reporting_systems import ReportingSystem
from fileroom.reports.turnaround import STAGES, BoardFilter, report_board
from fileroom.web.api.models import (
    INTEGRAL,
    NUMBER_MAX,
    Asked,
    Count,
    Flag,
    Moment,
    NameInPath,
    NumberInPath,
    ShortText,
    Shown,
    Text,
    Uid,
)
from fileroom.web.api.operations import Api
from fileroom.web.api.paging import LIMIT_DEFAULT, Limit


def _number(value: object) -> object:
    """Of a query, where everything is text."""
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 6 else value


Kind = Literal["images_without_report", "reports_without_images", "orders_without_images", "reports_on_cancelled"]
Way = Literal["fileroom", "phone", "person", "other"]
_Number = Annotated[int, Field(strict=True, ge=1, le=NUMBER_MAX), INTEGRAL]


class CriticalResult(Shown):
    """A critical finding."""

    id: int
    report: int
    level: str
    finding: str
    told_to: str
    due_at: Moment
    noted_at: Moment
    noted_by: str
    acknowledged_at: Moment | None
    acknowledged_by: str
    how: str
    comment: str
    told_at: Moment | None
    escalated_at: Moment | None
    study_instance_uid: str
    accession_number: str
    patient_id: str
    patient_name: str


class CriticalResults(Shown):
    """Critical findings."""

    items: list[CriticalResult]


class AskedCriticalResult(Asked):
    """A finding that somebody must hear of."""

    report: _Number
    finding: Annotated[Text, Field(min_length=1)]
    level: ShortText = CRITICAL
    told_to: Annotated[ShortText, Field(description="Who must hear of it.")] = ""


class AskedAcknowledgement(Asked):
    """Who has heard of it, and how."""

    how: Annotated[Way, Field(description="fileroom: whoever asks.")] = "fileroom"
    by: Annotated[ShortText, Field(description="Who was told, where it is not whoever asks.")] = ""
    comment: Text = ""


class MeasuredWay(Shown):
    """How long one way took, in minutes."""

    way: Annotated[str, Field(description=f"One of {', '.join(STAGES)}.")]
    studies: int
    median: float
    percentile_90: float


class TurnaroundFigures(Shown):
    """Of one group of studies."""

    group: Literal["all", "modality", "priority", "day", "hour"]
    key: str
    studies: int
    reported: int
    in_time: int
    ways: list[MeasuredWay]


class WaitingForReport(Shown):
    """A study without a signed report."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    description: str
    modality: str
    priority: str
    images_at: Moment
    due_at: Moment
    state: Annotated[str, Field(description="Of the report that is begun; empty: none.")]
    report: int | None
    order: int | None


class Turnaround(Shown):
    """The board."""

    waiting_number: int
    late_number: int
    targets: Annotated[dict[str, int], Field(description="Minutes by priority.")]
    figures: list[TurnaroundFigures]
    waiting: list[WaitingForReport]


class Misfit(Shown):
    """Something that does not fit."""

    kind: Kind
    subject: str
    reason: Annotated[str, Field(description=f"One of {', '.join(reconciliation.REASONS)}.")]
    at: Moment
    study_instance_uid: str
    report: int | None
    order: int | None
    accession_number: str
    patient_id: str
    patient_name: str
    what: str
    modality: str
    dismissed_by: str
    dismissed_because: str


class Misfits(Shown):
    """What does not fit."""

    items: list[Misfit]


class AskedMisfitDismissal(Asked):
    """What is to leave its list, and why."""

    subjects: Annotated[list[ShortText], Field(min_length=1, max_length=reconciliation.BULK_MAX)]
    reason: Annotated[ShortText, Field(min_length=1)]


class AskedAssignment(Asked):
    """Which study or order a report is of."""

    study: ShortText = ""
    order: _Number | None = None
    reason: ShortText = ""
    other_patient: Annotated[Flag, Field(description="Also where the patient is another one.")] = False


class AskedReportingSystem(Asked):
    """A program that dictates."""

    url: ShortText = ""
    context: Literal["none", "json", "xml", "text"] = "none"
    template: Annotated[str, Field(strict=True, max_length=reporting_systems.TEMPLATE_CHARS_MAX)] = ""
    extension: ShortText = ""
    media_type: ShortText = ""
    folder: ShortText = ""
    feed: ShortText = ""
    enabled: Flag = True


class ShownReportingSystem(AskedReportingSystem):
    """A program that dictates."""

    name: str
    version: int


class ReportingSystems(Shown):
    """All of them, by name."""

    items: list[ShownReportingSystem]


class HandedOver(Shown):
    """What the program of an exam gets."""

    url: str
    content: str
    media_type: str
    file_name: str


def add_report_upkeep(api: Api) -> None:
    """The operations."""
    archive = api.archive
    resource = api.resource("report_upkeep", "Critical findings, turnaround times, reconciliation, dictation.")

    @resource.get("/critical-results", "critical_results", Permission.STUDY_VIEW)
    async def critical_results(
        acknowledged: Annotated[bool, Query()] = False, limit: Limit = LIMIT_DEFAULT
    ) -> CriticalResults:
        """Open findings, those that are due first; or those acknowledged."""
        found = await critical.list_critical(archive, acknowledged=acknowledged, limit=limit)
        return CriticalResults(items=[CriticalResult.model_validate(one) for one in found])

    @resource.post("/critical-results", "note_critical", Permission.REPORT_WRITE)
    async def note(asked: AskedCriticalResult) -> CriticalResult:
        """Note a finding on a report; whom its level names is told."""
        found = await critical.note_critical(
            archive, asked.report, asked.finding, level=asked.level, told_to=asked.told_to
        )
        return CriticalResult.model_validate(found)

    @resource.post("/critical-results/{number}/acknowledgement", "acknowledge_critical", Permission.STUDY_VIEW)
    async def acknowledge(number: NumberInPath, asked: AskedAcknowledgement) -> CriticalResult:
        """Somebody has heard of it."""
        found = await critical.acknowledge_critical(archive, number, how=asked.how, by=asked.by, comment=asked.comment)
        return CriticalResult.model_validate(found)

    @resource.get("/turnaround", "turnaround", Permission.STUDY_VIEW)
    async def turnaround(
        days: Annotated[Literal[1, 7, 30, 90, 365], BeforeValidator(_number), Query()] = 7,
        modality: Annotated[str, Query(max_length=16)] = "",
        priority: Annotated[Literal["", "STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"], Query()] = "",
        limit: Limit = LIMIT_DEFAULT,
    ) -> Turnaround:
        """How long reports took, and which studies wait for theirs."""
        board = await report_board(archive, BoardFilter(days, modality.replace("\0", ""), priority), waiting=limit)
        return Turnaround(
            waiting_number=board.waiting_number,
            late_number=board.late_number,
            targets=dict(board.targets),
            figures=[
                TurnaroundFigures(
                    group=one.group,
                    key=one.key,
                    studies=one.studies,
                    reported=one.reported,
                    in_time=one.in_time,
                    ways=[
                        MeasuredWay(way=name, studies=way.number, median=way.median, percentile_90=way.percentile_90)
                        for name, way in one.ways.items()
                    ],
                )
                for one in board.figures
            ],
            waiting=[WaitingForReport.model_validate(one) for one in board.waiting],
        )

    @resource.get("/reconciliation/{kind}", "misfits", Permission.STUDY_VIEW)
    async def misfits(
        kind: Kind,
        hours: Annotated[int, INTEGRAL, Query(ge=0, le=reconciliation.HOURS_MAX)] = reconciliation.HOURS_DEFAULT,
        dismissed: Annotated[bool, Query()] = False,
        limit: Limit = LIMIT_DEFAULT,
    ) -> Misfits:
        """What does not fit, or what was dismissed of it."""
        found = await reconciliation.list_findings(archive, kind, hours=hours, dismissed=dismissed, limit=limit)
        return Misfits(items=[Misfit.model_validate(one) for one in found])

    @resource.post("/reconciliation/{kind}/dismissal", "dismiss_misfits", Permission.ORDER_MANAGE)
    async def dismiss(kind: Kind, asked: AskedMisfitDismissal) -> Count:
        """Take them off their list; how many left it."""
        return Count(count=await reconciliation.dismiss_findings(archive, kind, asked.subjects, asked.reason))

    @resource.post("/report-assignments/{number}", "assign_report", Permission.ORDER_MANAGE)
    async def assign(number: NumberInPath, asked: AskedAssignment) -> None:
        """Say which study or order a report is of."""
        await assignments.assign_report(
            archive,
            number,
            study_uid=asked.study,
            order=asked.order,
            reason=asked.reason,
            other_patient=asked.other_patient,
        )

    @resource.delete("/report-assignments/{number}", "undo_assignment", Permission.ORDER_MANAGE)
    async def undo(number: NumberInPath) -> None:
        """Take back what was said last of a report."""
        await assignments.undo_assignment(archive, number)

    @resource.get("/reporting-systems", "reporting_systems", Permission.STUDY_VIEW)
    async def systems() -> ReportingSystems:
        """Programs that dictate."""
        return ReportingSystems(items=[_system(one) for one in await reporting_systems.list_systems(archive)])

    @resource.put("/reporting-systems/{name}", "put_reporting_system", Permission.ROUTING_MANAGE)
    async def put_system(name: NameInPath, asked: AskedReportingSystem) -> ShownReportingSystem:
        """Add one or change it."""
        fields = asked.model_dump(exclude={"enabled"})
        return _system(await reporting_systems.put_system(archive, name, fields, enabled=asked.enabled))

    @resource.delete("/reporting-systems/{name}", "remove_reporting_system", Permission.ROUTING_MANAGE)
    async def remove_system(name: NameInPath) -> None:
        """Remove it."""
        await reporting_systems.remove_system(archive, name)

    @resource.post("/reporting-systems/{name}/exams/{study}", "hand_over", Permission.REPORT_WRITE)
    async def hand(name: NameInPath, study: Uid) -> HandedOver:
        """URL and file of an exam for a program; it is put down who took them."""
        made = await hand_over(archive, study, name)
        content = made.content.decode("utf-8", "replace")
        return HandedOver(url=made.url, content=content, media_type=made.media_type, file_name=made.file_name)

    @resource.post("/reporting-systems/{name}/orders/{study}", "send_exam", Permission.REPORT_WRITE)
    async def send(name: NameInPath, study: Uid) -> None:
        """Send the order of a study to the feed of a program."""
        await send_exam(archive, study, (await reporting_systems.get_system(archive, name)).feed)


def _system(one: ReportingSystem) -> ShownReportingSystem:
    return ShownReportingSystem.model_validate(
        {name: getattr(one, name) for name in ShownReportingSystem.model_fields}, strict=False
    )
