"""DiagnosticReport: the reports with their versions. A draft is registered: that it is there is told, its words are not."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from fileroom.archive.services import Archive
from fileroom.core.access import Permission, current_access
from fileroom.fhir.conditions import (
    NEVER,
    Token,
    as_row,
    code,
    identifiers,
    local_moment,
    moment,
    number,
    reference,
    token,
)
from fileroom.fhir.elements import TERMINOLOGY, Resource, Words, filled, instant, named, scheme
from fileroom.fhir.elements import reference as refer
from fileroom.fhir.imaging_studies import of_patients as studies_of_patients
from fileroom.fhir.imaging_studies import subject_of
from fileroom.fhir.kinds import Include, Kind, Sort, by_name
from fileroom.index.conditions import Condition
from fileroom.reports.facts import Addendum, ReportContent, ReportSection, ReportSource, ReportState
from fileroom.reports.headings import heading_of
from fileroom.reports.report_visibility import report_is_visible

LOINC_IMAGING: Final = "18748-4"
STATUS: Final = {
    ReportState.DRAFT: "registered",
    ReportState.PRELIMINARY: "preliminary",
    ReportState.FINAL: "final",
    ReportState.CORRECTED: "corrected",
    ReportState.CANCELLED: "cancelled",
}
_CONCLUDING: Final = frozenset({"19005-8", "55110-1", "55112-7"})
"""LOINC's codes of sections that say what it comes to: impressions, conclusions, summary."""
CONCLUSION_CHARS_MAX: Final = 20_000

_SUBJECT: Final = f"""coalesce((SELECT o.patient FROM imaging_order o WHERE o.id = r.imaging_order),
    (SELECT coalesce(p.merged_into, p.id) FROM registered_patient p WHERE p.id = r.patient),
    (SELECT {subject_of("s")} FROM study s WHERE s.study_instance_uid = r.study_instance_uid))"""
_COLUMNS: Final = f"""r.id, r.study_instance_uid, r.imaging_order, r.accession_number, r.source, r.source_name, r.source_number,
    r.title, r.changed_at, {_SUBJECT} AS subject,
    v.version, v.state, v.sections, v.addenda, v.document_type, v.author, v.signer, v.reason, v.made_at, v.signed_at,
    (SELECT b.sections = v.sections AND jsonb_array_length(b.addenda) < jsonb_array_length(v.addenda)
        FROM report_version b WHERE b.report = v.report AND b.version = v.version - 1) AS appended,
    s.study_date, s.study_time, s.patient_id, s.issuer_of_patient_id, s.patient_name,
    o.procedure_code, o.procedure_scheme, o.procedure_meaning
    FROM report r JOIN report_version v ON v.report = r.id
    LEFT JOIN study s ON s.study_instance_uid = r.study_instance_uid AND r.study_instance_uid <> ''
    LEFT JOIN imaging_order o ON o.id = r.imaging_order"""
_STATUS_SQL: Final = """CASE WHEN r.state <> 'corrected' THEN r.state ELSE coalesce((
    SELECT CASE WHEN b.sections = v.sections AND jsonb_array_length(b.addenda) < jsonb_array_length(v.addenda) THEN 'appended'
        WHEN v.reason = '' AND r.source = 'dicom' THEN 'amended' ELSE 'corrected' END
    FROM report_version v LEFT JOIN report_version b ON b.report = v.report AND b.version = v.version - 1
    WHERE v.report = r.id AND v.version = r.version), 'corrected') END"""


def status_of(state: ReportState, source: ReportSource, *, appended: bool, reason: str) -> str:
    """What a version is called. Of what was changed after signing: appended where its words stand and an addendum came,
    amended where an object of the archive replaced another without saying why, else corrected."""
    if state is not ReportState.CORRECTED:
        return STATUS[state]
    if appended:
        return "appended"
    return "amended" if source is ReportSource.DICOM and not reason else "corrected"


def diagnostic_report(words: Words, row: Mapping[str, Any], *, with_words: bool = True) -> Resource:
    """A version of a report as a resource; `with_words` False: only that it is there."""
    state, source = ReportState(row["state"]), ReportSource(row["source"])
    told = with_words and state is not ReportState.DRAFT
    content = content_of(row)
    numbers = [words.identifier("FILL", row["source_number"], row["source_name"])] if row["source_number"] else []
    if row["accession_number"]:
        numbers.append(words.identifier("ACSN", row["accession_number"], ""))
    uid = row["study_instance_uid"]
    return filled(
        resourceType="DiagnosticReport",
        id=str(row["id"]),
        meta={"versionId": str(row["version"]), "lastUpdated": instant(row["made_at"])},
        identifier=numbers,
        basedOn=[refer("ServiceRequest", row["imaging_order"])] if row["imaging_order"] and _sees_orders() else [],
        status=status_of(state, source, appended=bool(row["appended"]), reason=row["reason"]),
        category=[{"coding": [{"system": f"{TERMINOLOGY}/v2-0074", "code": "RAD", "display": "Radiology"}]}],
        code=_code(row),
        subject=words.subject(
            row["subject"] if _sees_orders() else None,
            row["patient_id"] or "",
            row["issuer_of_patient_id"] or "",
            row["patient_name"] or "",
        ),
        effectiveDateTime=words.moment(row["study_date"] or "", row["study_time"] or ""),
        issued=instant(row["signed_at"] or row["made_at"]),
        performer=[one for one in [named(content.author)] if one],
        resultsInterpreter=[one for one in [named(content.signer)] if one],
        imagingStudy=[refer("ImagingStudy", uid)] if uid else [],
        conclusion=_conclusion(content) if told else None,
        presentedForm=_forms(row, content) if told else [],
    )


def content_of(row: Mapping[str, Any]) -> ReportContent:
    """The words of a row; the document's bytes are not among them."""
    addenda = tuple(Addendum(one["text"], one["by"], one["at"]) for one in row["addenda"])
    sections = tuple(ReportSection(one["heading"], one["text"]) for one in row["sections"])
    return ReportContent(sections, addenda, b"", row["document_type"], row["author"], row["signer"])


def text_of(content: ReportContent) -> str:
    """The whole report as plain text."""
    parts = [f"{one.heading}\n{one.text}" if one.heading else one.text for one in content.sections]
    parts += [f"Addendum {one.at} {one.by}\n{one.text}" for one in content.addenda]
    return "\n\n".join(part.strip() for part in parts if part.strip())


async def read_version_rows(
    connection: AsyncConnection[Any], report: int, version: int | None = None
) -> list[Mapping[str, Any]]:
    """Versions of a report as rows for `diagnostic_report`, the newest first. Raises psycopg.Error."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"""SELECT {_COLUMNS} WHERE r.id = %s AND (%s::integer IS NULL OR v.version = %s)
                ORDER BY v.version DESC LIMIT 200""".encode(),
            (report, version, version),
        )
        return list(await cursor.fetchall())


async def _load(
    _archive: Archive, connection: AsyncConnection[Any], words: Words, ids: Sequence[str]
) -> dict[str, Resource]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            f"SELECT {_COLUMNS} WHERE r.id = ANY(%s) AND v.version = r.version".encode(), ([int(one) for one in ids],)
        )
        return {str(row["id"]): diagnostic_report(words, row) for row in await cursor.fetchall()}


def _sees_orders() -> bool:
    return current_access().allows(Permission.ORDER_READ)


def _code(row: Mapping[str, Any]) -> Resource:
    coding = [{"system": "http://loinc.org", "code": LOINC_IMAGING, "display": "Diagnostic imaging study"}]
    if row["procedure_code"]:
        designator = row["procedure_scheme"]
        system = {"system": scheme(designator)} if designator else {}
        coding.append(filled(**system, code=row["procedure_code"], display=row["procedure_meaning"]))
    return filled(coding=coding, text=row["title"] or row["procedure_meaning"])


def _conclusion(content: ReportContent) -> str | None:
    found = [one.text for one in content.sections if heading_of(one.heading).section.value in _CONCLUDING]
    return "\n\n".join(found).strip()[:CONCLUSION_CHARS_MAX] or None


def _forms(row: Mapping[str, Any], content: ReportContent) -> list[Resource]:
    forms: list[Resource] = []
    place, title = f"{row['id']}-{row['version']}", row["title"] or None
    text = text_of(content)
    if text:
        data = base64.b64encode(text.encode()).decode("ascii")
        forms.append(filled(contentType="text/plain; charset=utf-8", data=data, title=title))
    if row["document_type"]:
        forms.append(filled(contentType=row["document_type"], url=f"Binary/document-{place}", title=title))
    if row["document_type"] != "application/pdf":
        forms.append(filled(contentType="application/pdf", url=f"Binary/pdf-{place}", title=title))
    return forms


def _numbered(value: str, authority: str | None) -> Condition:
    if not value:
        return NEVER
    parts = []
    if not authority:
        parts.append(Condition("r.accession_number = %s", (value,)))
    if authority is None:
        parts.append(Condition("r.source_number = %s", (value,)))
    elif authority:
        parts.append(Condition("(r.source_number = %s AND r.source_name = %s)", (value, authority)))
    return Condition.any_of(parts)


def of_patients(patients: Sequence[int]) -> Condition:
    """The report is about one of these patients."""
    wanted, studies = list(patients), studies_of_patients(patients, "s")
    return Condition(
        f"""r.id IN (
            SELECT c.id FROM report c JOIN registered_patient p ON p.id = c.patient
                WHERE p.id = ANY(%s) OR p.merged_into = ANY(%s)
            UNION SELECT c.id FROM report c JOIN imaging_order o ON o.id = c.imaging_order WHERE o.patient = ANY(%s)
            UNION SELECT c.id FROM report c JOIN study s ON s.study_instance_uid = c.study_instance_uid
                WHERE {studies.text})
        AND {_SUBJECT} = ANY(%s)""",
        (wanted, wanted, wanted, *studies.parameters, wanted),
    )


def _patient(ids: list[str]) -> Condition:
    return of_patients([as_row(one) for one in ids])


def _order(ids: list[str]) -> Condition:
    return Condition("r.imaging_order = ANY(%s)", ([as_row(one) for one in ids],))


def _study(ids: list[str]) -> Condition:
    return Condition("r.study_instance_uid = ANY(%s)", (ids,))


def _coded(wanted: Token) -> Condition:
    """LOINC's imaging study is every report; else the code of the order's procedure."""
    if wanted.value == LOINC_IMAGING:
        return Condition("true" if wanted.system in (None, "http://loinc.org") else "false")
    if wanted.system not in (None, "") and not str(wanted.system).startswith((scheme(""), "http")):
        return NEVER
    return Condition(
        "r.imaging_order IN (SELECT o.id FROM imaging_order o WHERE o.procedure_code = %s)", (wanted.value,)
    )


_ISSUED: Final = """(SELECT coalesce(v.signed_at, v.made_at) FROM report_version v
    WHERE v.report = r.id AND v.version = r.version)"""
_DATE: Final = "(SELECT s.{column} FROM study s WHERE s.study_instance_uid = r.study_instance_uid)"
_CODES: Final = ("registered", "preliminary", "final", "corrected", "appended", "amended", "cancelled")

DIAGNOSTIC_REPORT: Final = Kind(
    name="DiagnosticReport",
    permission=Permission.STUDY_VIEW,
    table="report r",
    key="r.id",
    id="r.id::text",
    visible=report_is_visible,
    of_patients=of_patients,
    load=_load,
    parameters=by_name(
        number("_id", "r.id"),
        moment("_lastUpdated", "r.changed_at"),
        identifiers(_numbered),
        reference("patient", "Patient", _patient, missing=f"{_SUBJECT} IS NULL", needs=Permission.ORDER_READ),
        reference("subject", "Patient", _patient, missing=f"{_SUBJECT} IS NULL", needs=Permission.ORDER_READ),
        reference("based-on", "ServiceRequest", _order, missing="r.imaging_order IS NULL", needs=Permission.ORDER_READ),
        reference("study", "ImagingStudy", _study, missing="r.study_instance_uid = ''"),
        reference("imaging-study", "ImagingStudy", _study, missing="r.study_instance_uid = ''"),
        code(
            "status",
            f"({_STATUS_SQL})",
            {one: ("draft",) if one == "registered" else (one,) for one in _CODES},
            ("http://hl7.org/fhir/diagnostic-report-status",),
            missing="false",
        ),
        code("category", "'RAD'::text", {"RAD": ("RAD",)}, (f"{TERMINOLOGY}/v2-0074",), missing="false"),
        token("code", lambda wanted, _: _coded(wanted), missing="false"),
        local_moment("date", _DATE.format(column="study_date"), _DATE.format(column="study_time")),
        moment("issued", _ISSUED),
    ),
    sorts={
        "_id": Sort("r.id", "bigint"),
        "_lastUpdated": Sort("r.changed_at", "timestamptz"),
        "issued": Sort(f"coalesce({_ISSUED}, r.created_at)", "timestamptz"),
        "date": Sort(f"coalesce({_DATE.format(column='study_date')} || {_DATE.format(column='study_time')}, '')"),
    },
    includes={
        "patient": Include(("subject",), "Patient", "patient"),
        "subject": Include(("subject",), "Patient", "subject"),
        "based-on": Include(("basedOn",), "ServiceRequest", "based-on"),
        "study": Include(("imagingStudy",), "ImagingStudy", "study"),
        "imaging-study": Include(("imagingStudy",), "ImagingStudy", "imaging-study"),
    },
    unasked=Condition("r.version > 0"),
)
