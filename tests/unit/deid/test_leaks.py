"""Identifiers planted everywhere are in no byte of what leaves, whatever the options."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from fileroom.deid.file import deidentify_file
from fileroom.deid.options import Option
from fileroom.deid.profile import Profile
from fileroom.deid.pseudonyms import KeyedPseudonyms, Pseudonym, identity_of
from fileroom.pixels.source import open_source, reader_of

CT = "1.2.840.10008.5.1.4.1.1.2"
SR = "1.2.840.10008.5.1.4.1.1.88.33"
GSPS = "1.2.840.10008.5.1.4.1.1.11.1"
FAMILY, GIVEN, PATIENT_ID, ACCESSION = "Wiesengrund", "Theodora", "PX48151623", "ACC-990077"
DOCTOR, INSTITUTION, BIRTH, STUDY_DATE = "Brinkmann", "St. Hedwig Klinik", "19410326", "20240229"
STUDY, SERIES, SOP = "1.2.276.0.99.5.1", "1.2.276.0.99.5.1.2", "1.2.276.0.99.5.1.2.3"
SECRETS = (
    FAMILY,
    GIVEN,
    PATIENT_ID,
    ACCESSION,
    DOCTOR,
    INSTITUTION,
    BIRTH,
    STUDY_DATE,
    STUDY,
    "26.03.1941",
    "1941-03-26",
)

SENTENCES = st.sampled_from(
    [
        f"{FAMILY}^{GIVEN}", f"seen {GIVEN} {FAMILY} today", f"{FAMILY.upper()}_{GIVEN.upper()}", f"MRN {PATIENT_ID}",
        f"{ACCESSION}/{PATIENT_ID.lower()}", f"geb. 26.03.1941 {FAMILY}",
        f"read by Dr. {DOCTOR}", f"{INSTITUTION}: {ACCESSION}",
        f"/data/{PATIENT_ID}/{STUDY}/1.dcm", f"{GIVEN}{FAMILY}1941-03-26", f"study of {STUDY_DATE}", "nothing of interest",
    ]
)  # fmt: skip
TEXT_TAGS = [
    0x00080070, 0x00081090, 0x0008103E, 0x00081030, 0x00104000, 0x00180010, 0x00180015, 0x00181020, 0x00181030, 0x00204000,
    0x00181210, 0x00185101, 0x00081048, 0x00082111, 0x00321060, 0x00400254, 0x00400275, 0x00081140, 0x00102180,
    0x00200060, 0x00281055, 0x00189004, 0x00400440, 0x00080051, 0x00104000, 0x00081195, 0x00400555, 0x00081032, 0x00880200,
    0x00400007, 0x00281090, 0x00181160, 0x00201040, 0x00089215, 0x00120071, 0x00400260, 0x04000561, 0x00101002, 0x00081049,
]  # fmt: skip
OPTIONS = st.frozensets(st.sampled_from([one for one in Option if one is not Option.UIDS and one is not Option.FULL_DATES
                                         and one is not Option.INSTITUTION and one is not Option.VISUAL_FEATURES]))  # fmt: skip


def named(dataset: Dataset, sop_class: str) -> Dataset:
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, SOP
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{FAMILY}^{GIVEN}", PATIENT_ID, BIRTH
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.InstitutionName = (
        ACCESSION,
        f"{DOCTOR}^A",
        INSTITUTION,
    )
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = STUDY_DATE
    dataset.Modality = "CT"
    return dataset


def file_of(dataset: Dataset, *, implicit: bool = False) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    out = io.BytesIO()
    dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


def cleaned(file: bytes, options: frozenset[Option], **more: Any) -> bytes:
    source = open_source(reader_of(file), len(file))
    known = KeyedPseudonyms(b"k" * 32, {identity_of(source.header): Pseudonym("S-1", "S-1", -77)})
    done, pieces = deidentify_file(source, Profile(options, **more), known)
    assert done.dataset.PatientIdentityRemoved == "YES"
    return b"".join(pieces)


def leaks(data: bytes) -> list[str]:
    lower = data.lower()
    return [one for one in SECRETS if one.lower().encode() in lower]


@st.composite
def levels(draw: st.DrawFn, depth: int = 0) -> Dataset:
    """A data set with identifiers in text of every kind, nested three deep."""
    made = Dataset()
    for tag in draw(st.lists(st.sampled_from(TEXT_TAGS), min_size=2, max_size=10, unique=True)):
        vr = dictionary_VR(tag)
        if vr == "SQ":
            items = [draw(levels(depth + 1))] if depth < 3 else []
            made[tag] = DataElement(tag, vr, Sequence(items))
        elif vr in ("LO", "LT", "ST", "UT", "UC"):
            made[tag] = DataElement(tag, vr, draw(SENTENCES)[:64])
        elif vr == "SH":
            made[tag] = DataElement(tag, vr, draw(st.sampled_from([FAMILY, PATIENT_ID, ACCESSION, DOCTOR])))
        elif vr == "PN":
            made[tag] = DataElement(tag, vr, f"{FAMILY}^{GIVEN}")
        elif vr == "CS":
            made[tag] = DataElement(tag, vr, FAMILY.upper())
        elif vr == "UI":
            made[tag] = DataElement(tag, vr, draw(st.sampled_from([STUDY, SERIES, SOP])))
    if draw(st.booleans()):
        made.add_new(0x00190010, "LO", "ACME " + draw(SENTENCES)[:40])
        made.add_new(0x00191001, "LO", draw(SENTENCES)[:64])
        made.add_new(0x00191002, "UN", draw(SENTENCES).encode())
    if draw(st.booleans()):
        made.add_new(0x00430010, "LO", "GEMS_PARM_01")
        made.add_new(0x00431027, "SH", draw(st.sampled_from([PATIENT_ID, "/1.0:1", DOCTOR])))
        made.add_new(0x00431001, "LO", draw(SENTENCES)[:64])
    return made


@settings(max_examples=150, deadline=None)
@given(levels(), OPTIONS, st.booleans())
def test_identifiers_planted_everywhere_do_not_leave(
    dataset: Dataset, options: frozenset[Option], implicit: bool
) -> None:
    file = file_of(named(dataset, CT), implicit=implicit)
    made = cleaned(file, options)
    assert not leaks(made)
    assert made == cleaned(file, options)


def content(kind: str, code: str, **values: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", kind
    name = Dataset()
    name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning = code, "DCM", "a concept"
    item.ConceptNameCodeSequence = [name]
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def report() -> Dataset:
    dataset = named(Dataset(), SR)
    dataset.Modality = "SR"
    inner = [
        content("TEXT", "121071", TextValue=f"Nodule of 7 mm in the left lung. {GIVEN} {FAMILY} was told."),
        content("TEXT", "121071", TextValue="No pleural effusion."),
        content("TEXT", "121030", TextValue="4711"),
        content("PNAME", "121008", PersonName=f"{DOCTOR}^Anna"),
        content("DATE", "111060", Date=STUDY_DATE),
        content("DATETIME", "111060", DateTime=STUDY_DATE + "101112"),
        content("UIDREF", "121012", UID=STUDY),
    ]
    dataset.ContentSequence = [content("CONTAINER", "121070", ContentSequence=inner)]
    dataset.VerifyingObserverSequence = [Dataset()]
    dataset.VerifyingObserverSequence[0].VerifyingObserverName = f"{DOCTOR}^Anna"
    dataset.VerifyingObserverSequence[0].VerifyingOrganization = INSTITUTION
    return dataset


def test_report_keeps_no_text_under_the_basic_profile() -> None:
    made = cleaned(file_of(report()), frozenset())
    assert not leaks(made)
    assert b"effusion" not in made
    assert b"Nodule" not in made


def test_report_keeps_cleaned_text_with_clean_structured_content() -> None:
    made = cleaned(file_of(report()), frozenset({Option.STRUCTURED_CONTENT, Option.MODIFIED_DATES}))
    assert not leaks(made)
    assert b"No pleural effusion." in made
    assert b"Nodule of 7 mm in the left lung. *** *** was told." in made
    assert b"4711" not in made
    assert b"20231214" in made  # 77 days before


def test_presentation_state_keeps_no_text_and_cleaned_text_with_clean_graphics() -> None:
    dataset = named(Dataset(), GSPS)
    text, other = Dataset(), Dataset()
    text.UnformattedTextValue, other.UnformattedTextValue = f"Patient {FAMILY}", "7 mm"
    annotation = Dataset()
    annotation.GraphicLayer = "TEXT"
    annotation.TextObjectSequence = [text, other]
    dataset.GraphicAnnotationSequence = [annotation]
    dataset.ContentCreatorName = f"{DOCTOR}^Anna"
    basic = cleaned(file_of(dataset), frozenset())
    assert not leaks(basic)
    assert b"7 mm" not in basic
    kept = cleaned(file_of(dataset), frozenset({Option.GRAPHICS}))
    assert not leaks(kept)
    assert b"7 mm" in kept


def test_names_in_other_alphabets_are_found() -> None:
    for charset, name in (("ISO_IR 144", "Люкceмбypг"), ("ISO_IR 100", "Müllerström"), ("ISO_IR 192", "山田花子")):
        dataset = named(Dataset(), CT)
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = f"{name}^X"
        dataset.Manufacturer = f"scanner of {name.upper()}"
        made = cleaned(file_of(dataset), frozenset())
        for encoding in ("utf-8", "latin_1", "iso8859_5"):
            for form in (name, name.upper()):
                try:
                    secret = form.encode(encoding)
                except UnicodeEncodeError:
                    continue
                assert secret not in made
