"""A document as an object of the archive: Encapsulated PDF and CDA Storage (PS3.3 A.45.1, A.45.2, C.24.2)."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fileroom.reports.document_header import Made, begin_document, coded, date_time, put, title_of
from fileroom.reports.report_rows import ReportRow, ReportVersion
from fileroom.reports.structured import TITLE
from fileroom.reports.subject import Subject

ENCAPSULATED_PDF: Final = "1.2.840.10008.5.1.4.1.1.104.1"
ENCAPSULATED_CDA: Final = "1.2.840.10008.5.1.4.1.1.104.2"
PDF: Final = "application/pdf"
CDA: Final = "text/xml"
_CLASSES: Final = {PDF: ENCAPSULATED_PDF, CDA: ENCAPSULATED_CDA}
_BEGINS: Final = b"%PDF-"
_BEGINS_WITHIN: Final = 1024
"""Readers look for the mark within so many bytes."""


def is_pdf(document: bytes) -> bool:
    """Whether bytes that somebody sent as PDF are one, as far as their beginning tells."""
    return _BEGINS in document[:_BEGINS_WITHIN]


def document_dataset(
    report: ReportRow, version: ReportVersion, subject: Subject, made: Made, document: bytes, media_type: str
) -> Dataset:
    """The object of a version: the document that was received for it, or that was printed of it."""
    dataset = begin_document(version, subject, made, _CLASSES[media_type])
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    dataset.AcquisitionDateTime = date_time((version.signed_at or version.made_at or made.made_at).astimezone())
    put(dataset, "DocumentTitle", title_of(report, subject))
    dataset.ConceptNameCodeSequence = Sequence([coded(TITLE)])
    dataset.MIMETypeOfEncapsulatedDocument = media_type.replace("xml", "XML")
    dataset.EncapsulatedDocumentLength = len(document)
    dataset.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    dataset.VerificationFlag = "VERIFIED" if version.state.is_signed else "UNVERIFIED"
    if made.predecessor is not None:
        before = Dataset()
        before.ReferencedSOPClassUID = made.predecessor.sop_class_uid
        before.ReferencedSOPInstanceUID = made.predecessor.sop_instance_uid
        dataset.PredecessorDocumentsSequence = Sequence()
        item = Dataset()
        item.StudyInstanceUID = subject.study_instance_uid
        of_series = Dataset()
        of_series.SeriesInstanceUID = made.predecessor.series_instance_uid
        of_series.ReferencedSOPSequence = Sequence([before])
        item.ReferencedSeriesSequence = Sequence([of_series])
        dataset.PredecessorDocumentsSequence.append(item)
    return dataset
