"""What is written about images: a text report, a radiation dose report (PS3.3 A.35, PS3.16) and a PDF (A.45)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    XRayRadiationDoseSRStorage,
)

from fileroom.demo.encoding import set_transfer_syntax
from fileroom.demo.modules import (
    Code,
    Series,
    Study,
    instance_uid,
    reference,
    sequence,
    series_uid,
    start_object,
)
from fileroom.demo.pdf import one_page
from fileroom.demo.people import CT_SCANNER, WORKSTATION

REPORT: Final = Series("report", 90, "SR", "Radiology report", WORKSTATION, 55)
DOSE: Final = Series("dose", 91, "SR", "Dose report", CT_SCANNER, 8)
PDF: Final = Series("pdf", 92, "DOC", "Signed report", WORKSTATION, 60)

Referred = tuple[Series, str, int]
"""An image that a document points to: series, SOP class, instance number."""


def text_report(
    study: Study, findings: tuple[str, ...], impression: str, images: tuple[Referred, ...]
) -> Iterator[Dataset]:
    """A Basic Text SR (TID 2000): findings, impression and the images that show them."""
    ds = start_object(study, REPORT, BasicTextSRStorage, 1)
    _add_document(ds, study, Code("18748-4", "LN", "Diagnostic imaging report"), images)
    language = _coded(
        Code("121049", "DCM", "Language of Content Item and Descendants"), Code("en", "RFC5646", "English")
    )
    language.RelationshipType = "HAS CONCEPT MOD"
    observer = _named(Code("121008", "DCM", "Person Observer Name"), "Reader^Robin")
    observer.RelationshipType = "HAS OBS CONTEXT"
    found = [_text(Code("121071", "DCM", "Finding"), sentence) for sentence in findings]
    shown = [_image(study, image) for image in images]
    ds.ContentSequence = sequence(
        language,
        observer,
        _section(Code("121060", "DCM", "History"), [_text(Code("121060", "DCM", "History"), study.reason)]),
        _section(Code("121070", "DCM", "Findings"), [*found, *shown]),
        _section(Code("121076", "DCM", "Conclusions"), [_text(Code("121077", "DCM", "Conclusion"), impression)]),
    )
    set_transfer_syntax(ds, DeflatedExplicitVRLittleEndian)
    yield ds


def dose_report(study: Study, scans: tuple[tuple[str, float, float], ...]) -> Iterator[Dataset]:
    """An X-Ray Radiation Dose SR (TID 10011); each scan is protocol, CTDIvol in mGy and DLP in mGy.cm."""
    ds = start_object(study, DOSE, XRayRadiationDoseSRStorage, 1)
    _add_document(ds, study, Code("113701", "DCM", "X-Ray Radiation Dose Report"), ())
    procedure = _coded(
        Code("121058", "DCM", "Procedure reported"), Code("77477000", "SCT", "Computed Tomography X-Ray")
    )
    procedure.RelationshipType = "HAS CONCEPT MOD"
    intent = _coded(Code("363703001", "SCT", "Has Intent"), Code("261004008", "SCT", "Diagnostic Intent"))
    intent.RelationshipType = "HAS CONCEPT MOD"
    procedure.ContentSequence = sequence(intent)
    kind = _coded(Code("121005", "DCM", "Observer Type"), Code("121007", "DCM", "Device"))
    device = _uid(Code("121012", "DCM", "Device Observer UID"), study.uid("device", CT_SCANNER.serial))
    scope = _coded(Code("113705", "DCM", "Scope of Accumulation"), Code("113014", "DCM", "Study"))
    scope.ContentSequence = sequence(_uid(Code("110180", "DCM", "Study Instance UID"), study.uid()))
    scope.ContentSequence[0].RelationshipType = "HAS PROPERTIES"
    for item in (kind, device, scope):
        item.RelationshipType = "HAS OBS CONTEXT"
    total = _section(
        Code("113811", "DCM", "CT Accumulated Dose Data"),
        [
            _number(Code("113812", "DCM", "Total Number of Irradiation Events"), len(scans), "{events}", "events"),
            _number(
                Code("113813", "DCM", "CT Dose Length Product Total"), sum(s[2] for s in scans), "mGy.cm", "mGy.cm"
            ),
        ],
    )
    events = [_irradiation(study, index, *scan) for index, scan in enumerate(scans, start=1)]
    source = _coded(
        Code("113854", "DCM", "Source of Dose Information"),
        Code("113856", "DCM", "Automated Data Collection"),
    )
    ds.ContentSequence = sequence(procedure, kind, device, scope, total, *events, source)
    set_transfer_syntax(ds, ExplicitVRLittleEndian)
    yield ds


def pdf_report(study: Study, paragraphs: tuple[str, ...]) -> Iterator[Dataset]:
    """The report as it is printed and signed, one page of PDF."""
    ds = start_object(study, PDF, EncapsulatedPDFStorage, 1)
    ds.ConversionType = "WSD"
    ds.BurnedInAnnotation = "YES"
    ds.DocumentTitle = f"Report: {study.description}"
    ds.AcquisitionDateTime = ""
    ds.ConceptNameCodeSequence = sequence(Code("18748-4", "LN", "Diagnostic imaging report").item())
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    facts = (
        ("Patient", str(study.person.name).partition("=")[0].replace("^", ", ", 1).replace("^", " ")),
        ("Born", f"{study.person.birth:%d %B %Y}"),
        ("Patient ID", study.person.patient_id),
        ("Examination", f"{study.description}, {study.moment:%d %B %Y %H:%M}"),
        ("Accession", study.accession),
    )
    document = one_page(study.person.institution, "Radiology report", facts, paragraphs, "Signed: Robin Reader")
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    set_transfer_syntax(ds, ExplicitVRLittleEndian)
    yield ds


# --- document modules ---


def _add_document(ds: Dataset, study: Study, title: Code, images: tuple[Referred, ...]) -> None:
    """SR Document Series, SR Document General and the root container (C.17.1 to C.17.3)."""
    ds.ReferencedPerformedProcedureStepSequence = sequence()
    ds.CompletionFlag, ds.VerificationFlag = "COMPLETE", "VERIFIED"
    verifier = Dataset()
    verifier.VerifyingOrganization = study.person.institution
    verifier.VerificationDateTime = ds.ContentDate + ds.ContentTime
    verifier.VerifyingObserverName = "Reader^Robin"
    verifier.VerifyingObserverIdentificationCodeSequence = sequence()
    ds.VerifyingObserverSequence = sequence(verifier)
    ds.PerformedProcedureCodeSequence = sequence(study.requested.item())
    ds.ReferencedRequestSequence = sequence(_request(study))
    if images:
        ds.CurrentRequestedProcedureEvidenceSequence = sequence(evidence(study, images))
    ds.ValueType, ds.ContinuityOfContent = "CONTAINER", "SEPARATE"
    ds.ConceptNameCodeSequence = sequence(title.item())


def evidence(study: Study, images: tuple[Referred, ...]) -> Dataset:
    """The images by study and series (Hierarchical SOP Instance Reference macro, C.17.2.1)."""
    by_series: dict[str, list[Referred]] = {}
    for image in images:
        by_series.setdefault(image[0].key, []).append(image)
    groups = []
    for members in by_series.values():
        group = Dataset()
        group.SeriesInstanceUID = series_uid(study, members[0][0])
        group.ReferencedSOPSequence = sequence(
            *(reference(sop_class, instance_uid(study, series, number)) for series, sop_class, number in members)
        )
        groups.append(group)
    whole = Dataset()
    whole.StudyInstanceUID = study.uid()
    whole.ReferencedSeriesSequence = sequence(*groups)
    return whole


def _request(study: Study) -> Dataset:
    ds = Dataset()
    ds.StudyInstanceUID = study.uid()
    ds.ReferencedStudySequence = sequence()
    ds.AccessionNumber = study.accession
    ds.PlacerOrderNumberImagingServiceRequest = f"PO{study.number}"
    ds.FillerOrderNumberImagingServiceRequest = f"FO{study.number}"
    ds.RequestedProcedureID = f"RP{study.number}"
    ds.RequestedProcedureDescription = study.description
    ds.RequestedProcedureCodeSequence = sequence(study.requested.item())
    return ds


# --- content items (C.17.3.2) ---


def _irradiation(study: Study, index: int, protocol: str, ctdi: float, dlp: float) -> Dataset:
    length_mm = dlp / ctdi * 10
    dose = _section(
        Code("113829", "DCM", "CT Dose"),
        [
            _number(Code("113830", "DCM", "Mean CTDIvol"), ctdi, "mGy", "mGy"),
            _coded(Code("113835", "DCM", "CTDIw Phantom Type"), Code("113691", "DCM", "IEC Body Dosimetry Phantom")),
            _number(Code("113838", "DCM", "DLP"), dlp, "mGy.cm", "mGy.cm"),
        ],
    )
    parameters = _section(
        Code("113822", "DCM", "CT Acquisition Parameters"),
        [
            _number(Code("113824", "DCM", "Exposure Time"), 5.2, "s", "s"),
            _number(Code("113825", "DCM", "Scanning Length"), length_mm, "mm", "mm"),
            _number(Code("113826", "DCM", "Nominal Single Collimation Width"), 0.6, "mm", "mm"),
            _number(Code("113827", "DCM", "Nominal Total Collimation Width"), 38.4, "mm", "mm"),
            _number(Code("113828", "DCM", "Pitch Factor"), 1.1, "{ratio}", "ratio"),
            _number(Code("113823", "DCM", "Number of X-Ray Sources"), 1, "{X-Ray sources}", "X-Ray sources"),
        ],
    )
    kind = (
        Code("116152004", "SCT", "Spiral Acquisition")
        if index > 1
        else Code("113805", "DCM", "Constant Angle Acquisition")
    )
    return _section(
        Code("113819", "DCM", "CT Acquisition"),
        [
            _text(Code("125203", "DCM", "Acquisition Protocol"), protocol),
            _coded(Code("123014", "DCM", "Target Region"), Code("51185008", "SCT", "Chest")),
            _coded(Code("113820", "DCM", "CT Acquisition Type"), kind),
            _coded(Code("408730004", "SCT", "Procedure Context"), Code("433201004", "SCT", "CT with contrast")),
            _uid(Code("113769", "DCM", "Irradiation Event UID"), study.uid("irradiation", index)),
            parameters,
            dose,
        ],
    )


def _item(kind: str, name: Code) -> Dataset:
    ds = Dataset()
    ds.RelationshipType, ds.ValueType = "CONTAINS", kind
    ds.ConceptNameCodeSequence = sequence(name.item())
    return ds


def _section(name: Code, items: list[Dataset]) -> Dataset:
    ds = _item("CONTAINER", name)
    ds.ContinuityOfContent = "SEPARATE"
    ds.ContentSequence = sequence(*items)
    return ds


def _text(name: Code, text: str) -> Dataset:
    ds = _item("TEXT", name)
    ds.TextValue = text
    return ds


def _named(name: Code, person: str) -> Dataset:
    ds = _item("PNAME", name)
    ds.PersonName = person
    return ds


def _coded(name: Code, value: Code) -> Dataset:
    ds = _item("CODE", name)
    ds.ConceptCodeSequence = sequence(value.item())
    return ds


def _uid(name: Code, value: str) -> Dataset:
    ds = _item("UIDREF", name)
    ds.UID = value
    return ds


def _number(name: Code, value: float, unit: str, meaning: str) -> Dataset:
    measured = Dataset()
    measured.NumericValue = f"{value:.4g}"
    measured.MeasurementUnitsCodeSequence = sequence(Code(unit, "UCUM", meaning).item())
    ds = _item("NUM", name)
    ds.MeasuredValueSequence = sequence(measured)
    return ds


def _image(study: Study, image: Referred) -> Dataset:
    series, sop_class, number = image
    ds = Dataset()
    ds.RelationshipType, ds.ValueType = "CONTAINS", "IMAGE"
    ds.ConceptNameCodeSequence = sequence(Code("121180", "DCM", "Key Images").item())
    ds.ReferencedSOPSequence = sequence(reference(sop_class, instance_uid(study, series, number)))
    return ds
