"""A version of a report as Basic Text SR (PS3.3 A.35.1): the Basic Diagnostic Imaging Report (PS3.16 TID 2000).

    root                     title, TID 1204 language, TID 1002 observer
      CONTAINER per section  heading of CID 7001, TID 2002: its text
      CONTAINER per addendum heading Addendum, who and when

Whether somebody stands for it is in Completion, Preliminary and Verification Flag (C.17.2).
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.dicom.charset import clean, clean_lines
from fileroom.reports.document_header import Made, begin_document, coded, date_time, put
from fileroom.reports.facts import ReportState
from fileroom.reports.headings import ADDENDUM, FINDINGS, PRIVATE_SCHEME, Concept, Heading, heading_of
from fileroom.reports.report_rows import ReportVersion
from fileroom.reports.subject import SeriesOfStudy, Subject

BASIC_TEXT_SR: Final = "1.2.840.10008.5.1.4.1.1.88.11"
TITLE: Final = Concept("18748-4", "LN", "Diagnostic Imaging Report")
_OBSERVER_TYPE: Final = Concept("121005", "DCM", "Observer Type")
_PERSON: Final = Concept("121006", "DCM", "Person")
_OBSERVER: Final = Concept("121008", "DCM", "Person Observer Name")
_LANGUAGE: Final = Concept("121049", "DCM", "Language of Content Item and Descendants")
_LANGUAGES: Final = {"en": "English", "de": "German", "fr": "French", "it": "Italian", "es": "Spanish", "nl": "Dutch"}
UNKNOWN_ORGANIZATION: Final = "Unknown"
"""Verifying Organization must not be empty (C.17.2), and the study names no institution."""


def report_dataset(version: ReportVersion, subject: Subject, made: Made) -> Dataset:
    """The object of a version. It refers to the images that the subject has, and to the object of the version before."""
    dataset = begin_document(version, subject, made, BASIC_TEXT_SR)
    dataset.ReferencedPerformedProcedureStepSequence = Sequence()
    _put_flags(dataset, version, subject)
    dataset.ReferencedRequestSequence = Sequence([_request(subject)])
    dataset.PerformedProcedureCodeSequence = Sequence()
    if subject.series:
        dataset.CurrentRequestedProcedureEvidenceSequence = Sequence([_evidence(subject)])
    if made.predecessor is not None:
        before = made.predecessor
        there = SeriesOfStudy(before.series_instance_uid, "SR", ((before.sop_class_uid, before.sop_instance_uid),))
        dataset.PredecessorDocumentsSequence = Sequence([_references(subject.study_instance_uid, (there,))])
    _put_content(dataset, version, made)
    if any(one.scheme == PRIVATE_SCHEME for one in _concepts(version)):
        scheme = Dataset()
        scheme.CodingSchemeDesignator = PRIVATE_SCHEME
        scheme.CodingSchemeName = "Headings of reports that were typed in Fileroom"
        dataset.CodingSchemeIdentificationSequence = Sequence([scheme])
    return dataset


def sections_said(version: ReportVersion) -> list[tuple[str, str]]:
    """(heading, text) of what a version says; of one that was cancelled: that it was."""
    if version.state is ReportState.CANCELLED:
        reason = f" Reason: {clean(version.reason)}" if version.reason else ""
        return [("", f"This report was cancelled and is not valid.{reason}")]
    return [(one.heading, one.text) for one in version.content.sections if one.text.strip() or one.heading.strip()]


# --- SR Document General (C.17.2) ---


def _put_flags(dataset: Dataset, version: ReportVersion, subject: Subject) -> None:
    is_signed = version.state.is_signed
    dataset.CompletionFlag = "COMPLETE" if is_signed else "PARTIAL"
    if version.state is ReportState.CANCELLED:
        dataset.CompletionFlagDescription = "Cancelled"
    dataset.PreliminaryFlag = "FINAL" if version.state is not ReportState.PRELIMINARY else "PRELIMINARY"
    content = version.content
    signer = content.signer or content.author
    is_verified = is_signed and bool(clean(signer))
    dataset.VerificationFlag = "VERIFIED" if is_verified else "UNVERIFIED"
    if is_verified:
        verifier = Dataset()
        put(verifier, "VerifyingOrganization", subject.institution or UNKNOWN_ORGANIZATION)
        verifier.VerificationDateTime = date_time(_local(version.signed_at or version.made_at))
        put(verifier, "VerifyingObserverName", signer)
        verifier.VerifyingObserverIdentificationCodeSequence = Sequence()
        dataset.VerifyingObserverSequence = Sequence([verifier])
    if clean(content.author):
        author = Dataset()
        author.ObserverType = "PSN"
        put(author, "PersonName", content.author)
        author.PersonIdentificationCodeSequence = Sequence()
        put(author, "InstitutionName", subject.institution)
        author.InstitutionCodeSequence = Sequence()
        dataset.AuthorObserverSequence = Sequence([author])


def _request(subject: Subject) -> Dataset:
    """The order as far as it is known: the elements are there in any case (type 2)."""
    order = subject.order
    item = Dataset()
    item.StudyInstanceUID = subject.study_instance_uid
    item.ReferencedStudySequence = Sequence()
    put(item, "AccessionNumber", subject.accession_number)
    put(item, "PlacerOrderNumberImagingServiceRequest", order.placer_number if order else "")
    put(item, "FillerOrderNumberImagingServiceRequest", order.filler_number if order else "")
    put(item, "RequestedProcedureID", order.procedure_id if order else "")
    put(item, "RequestedProcedureDescription", (order.procedure_meaning if order else "") or subject.description)
    item.RequestedProcedureCodeSequence = Sequence()
    if order and order.procedure_code and order.procedure_scheme:
        meaning = clean(order.procedure_meaning or order.procedure_code)[:64]
        code = Concept(clean(order.procedure_code)[:16], clean(order.procedure_scheme)[:16], meaning)
        item.RequestedProcedureCodeSequence = Sequence([coded(code)])
    if order and order.reason:
        put(item, "ReasonForTheRequestedProcedure", order.reason)
    return item


def _evidence(subject: Subject) -> Dataset:
    return _references(subject.study_instance_uid, subject.series)


def _references(study: str, series: tuple[SeriesOfStudy, ...]) -> Dataset:
    """Hierarchical SOP Instance Reference Macro (C.17.2.1)."""
    item = Dataset()
    item.StudyInstanceUID = study
    item.ReferencedSeriesSequence = Sequence()
    for one in series:
        of_series = Dataset()
        of_series.SeriesInstanceUID = one.series_instance_uid
        of_series.ReferencedSOPSequence = Sequence()
        for sop_class, sop_instance in one.instances:
            reference = Dataset()
            reference.ReferencedSOPClassUID = sop_class
            reference.ReferencedSOPInstanceUID = sop_instance
            of_series.ReferencedSOPSequence.append(reference)
        item.ReferencedSeriesSequence.append(of_series)
    return item


# --- SR Document Content (C.17.3) ---


def _put_content(dataset: Dataset, version: ReportVersion, made: Made) -> None:
    dataset.ValueType = "CONTAINER"
    dataset.ConceptNameCodeSequence = Sequence([coded(TITLE)])
    dataset.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource = "DCMR"
    template.TemplateIdentifier = "2000"
    dataset.ContentTemplateSequence = Sequence([template])
    content = [_language(made.language)]
    content += _observer(version.content.signer or version.content.author)
    for heading, text in sections_said(version):
        content.append(_section(heading_of(heading), text))
    if version.state is not ReportState.CANCELLED:
        for addendum in version.content.addenda:
            content.append(_section(ADDENDUM, addendum.text, addendum.by, addendum.at))
    dataset.ContentSequence = Sequence(content)


def _section(heading: Heading, text: str, by: str = "", at: dt.datetime | None = None) -> Dataset:
    item = _item("CONTAINS", "CONTAINER", heading.section)
    item.ContinuityOfContent = "SEPARATE"
    said = _item("CONTAINS", "TEXT", heading.element)
    said.TextValue = "\r\n".join(clean_lines(text).splitlines()) or "-"
    if at is not None:
        item.ObservationDateTime = f"{_local(at):%Y%m%d%H%M%S}"
    item.ContentSequence = Sequence([*_observer(by), said])
    return item


def _language(language: str) -> Dataset:
    item = _item("HAS CONCEPT MOD", "CODE", _LANGUAGE)
    meaning = _LANGUAGES.get(language.partition("-")[0].lower(), language)
    item.ConceptCodeSequence = Sequence([coded(Concept(language, "RFC5646", meaning))])
    return item


def _observer(name: str) -> list[Dataset]:
    """TID 1002 with TID 1003."""
    if not clean(name):
        return []
    kind = _item("HAS OBS CONTEXT", "CODE", _OBSERVER_TYPE)
    kind.ConceptCodeSequence = Sequence([coded(_PERSON)])
    person = _item("HAS OBS CONTEXT", "PNAME", _OBSERVER)
    put(person, "PersonName", name)
    return [kind, person]


def _item(relation: str, kind: str, name: Concept) -> Dataset:
    item = Dataset()
    item.RelationshipType = relation
    item.ValueType = kind
    item.ConceptNameCodeSequence = Sequence([coded(name)])
    return item


def _concepts(version: ReportVersion) -> list[Concept]:
    return [heading_of(heading).section for heading, _ in sections_said(version)] + [FINDINGS.section]


def _local(moment: dt.datetime | None) -> dt.datetime:
    """By this machine's clock; a version that was never written down has no moment."""
    return (moment or dt.datetime.now(dt.UTC)).astimezone()
