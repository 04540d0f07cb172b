"""The one table of indexed attributes: tag, VR, level, column, kind of matching.

The schema's columns, the header scan, C-FIND, QIDO-RS and the console all read this table; a test holds it against the
migrated database. An attribute that is not here can still be returned (from the stored object) but not searched.

Levels and keys are those of PS3.4 C.6 and PS3.18 10.6.3; several attributes are kept beyond what those ask for.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword

from fileroom.dicom.query import Level


class Kind(enum.Enum):
    """How values are kept and compared."""

    TEXT = "text"
    """As received; case matters; wildcards."""
    UID = "uid"
    """As received; equal or one of a list."""
    NAME = "name"
    """As received, with two normal forms beside it: the first component group, and the other groups."""
    DATE = "date"
    """Canonical YYYYMMDD where it is a date, else as received."""
    TIME = "time"
    """Canonical HHMMSS.FFFFFF without what was not given."""
    INTEGER = "integer"
    SEQUENCE = "sequence"
    """DICOM JSON of the items."""
    COMPUTED = "computed"
    """No column of its own: worked out from rows when asked for."""


@dataclass(frozen=True)
class Attribute:
    """One indexed attribute. `searchable` attributes have an index of their own in the database."""

    keyword: str
    level: Level
    kind: Kind
    searchable: bool = False
    indexed_chars: int = 0
    """A text whose index holds only its first characters: a value may be longer than an index entry can be."""
    folded: bool = False
    """A text with its folded form in a column beside it, for row scopes."""

    @cached_property
    def tag(self) -> int:
        """The tag as one number, 0xGGGGEEEE."""
        tag = tag_for_keyword(self.keyword)
        if tag is None:
            raise KeyError(self.keyword)
        return tag

    @cached_property
    def vr(self) -> str:
        """The VR of the standard's dictionary (PS3.6); the first one where there is a choice."""
        return str(dictionary_VR(self.tag)).split(" or ", 1)[0]

    @cached_property
    def column(self) -> str:
        """The column: the keyword in snake case."""
        return _snake_case(self.keyword)

    @cached_property
    def multi_valued(self) -> bool:
        """Value multiplicity above one (PS3.6): any of its values may match."""
        return self.kind in (Kind.TEXT, Kind.NAME) and dictionary_VM(self.tag) != "1"

    @property
    def sql_type(self) -> str:
        """The column's type."""
        if self.kind is Kind.INTEGER:
            return "bigint"
        return "jsonb" if self.kind is Kind.SEQUENCE else "text"


_WORD_STARTS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _snake_case(keyword: str) -> str:
    """`StudyInstanceUID` -> `study_instance_uid`, `OtherPatientIDs` -> `other_patient_ids`."""
    return _WORD_STARTS.sub("_", keyword.replace("IDs", "Ids")).lower()


_P, _S, _E, _I = Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE
_TEXT, _UID, _NAME, _DATE, _TIME = Kind.TEXT, Kind.UID, Kind.NAME, Kind.DATE, Kind.TIME
_INTEGER, _SEQUENCE, _COMPUTED = Kind.INTEGER, Kind.SEQUENCE, Kind.COMPUTED

ATTRIBUTES: Final[tuple[Attribute, ...]] = (
    # --- patient ---
    Attribute("PatientName", _P, _NAME, searchable=True),
    Attribute("PatientID", _P, _TEXT, searchable=True),
    Attribute("IssuerOfPatientID", _P, _TEXT),
    Attribute("PatientBirthDate", _P, _DATE, searchable=True),
    Attribute("PatientBirthTime", _P, _TIME),
    Attribute("PatientSex", _P, _TEXT),
    Attribute("OtherPatientIDs", _P, _TEXT),
    Attribute("OtherPatientNames", _P, _NAME),
    Attribute("EthnicGroup", _P, _TEXT),
    Attribute("PatientComments", _P, _TEXT),
    Attribute("ResponsiblePerson", _P, _NAME),
    Attribute("PatientSpeciesDescription", _P, _TEXT),
    Attribute("NumberOfPatientRelatedStudies", _P, _COMPUTED),
    Attribute("NumberOfPatientRelatedSeries", _P, _COMPUTED),
    Attribute("NumberOfPatientRelatedInstances", _P, _COMPUTED),
    # --- study ---
    Attribute("StudyInstanceUID", _S, _UID, searchable=True),
    Attribute("StudyDate", _S, _DATE, searchable=True),
    Attribute("StudyTime", _S, _TIME),
    Attribute("AccessionNumber", _S, _TEXT, searchable=True),
    Attribute("StudyID", _S, _TEXT, searchable=True),
    Attribute("StudyDescription", _S, _TEXT, searchable=True),
    Attribute("ReferringPhysicianName", _S, _NAME, searchable=True),
    Attribute("NameOfPhysiciansReadingStudy", _S, _NAME),
    Attribute("PhysiciansOfRecord", _S, _NAME),
    Attribute("AdmittingDiagnosesDescription", _S, _TEXT),
    Attribute("PatientAge", _S, _TEXT),
    Attribute("PatientSize", _S, _TEXT),
    Attribute("PatientWeight", _S, _TEXT),
    Attribute("Occupation", _S, _TEXT),
    Attribute("AdditionalPatientHistory", _S, _TEXT),
    Attribute("TimezoneOffsetFromUTC", _S, _TEXT),
    Attribute("IssuerOfAccessionNumberSequence", _S, _SEQUENCE),
    Attribute("ProcedureCodeSequence", _S, _SEQUENCE),
    Attribute("ModalitiesInStudy", _S, _COMPUTED),
    Attribute("SOPClassesInStudy", _S, _COMPUTED),
    Attribute("NumberOfStudyRelatedSeries", _S, _COMPUTED),
    Attribute("NumberOfStudyRelatedInstances", _S, _COMPUTED),
    # --- series ---
    Attribute("SeriesInstanceUID", _E, _UID, searchable=True),
    Attribute("Modality", _E, _TEXT),
    Attribute("SeriesNumber", _E, _INTEGER),
    Attribute("SeriesDescription", _E, _TEXT),
    Attribute("SeriesDate", _E, _DATE),
    Attribute("SeriesTime", _E, _TIME),
    Attribute("BodyPartExamined", _E, _TEXT),
    Attribute("Laterality", _E, _TEXT),
    Attribute("ProtocolName", _E, _TEXT),
    Attribute("PerformedProcedureStepStartDate", _E, _DATE),
    Attribute("PerformedProcedureStepStartTime", _E, _TIME),
    Attribute("PerformedProcedureStepID", _E, _TEXT),
    Attribute("PerformedProcedureStepDescription", _E, _TEXT),
    Attribute("PerformingPhysicianName", _E, _NAME),
    Attribute("OperatorsName", _E, _NAME),
    Attribute("StationName", _E, _TEXT, indexed_chars=64),
    Attribute("InstitutionName", _E, _TEXT, folded=True),
    Attribute("InstitutionalDepartmentName", _E, _TEXT),
    Attribute("Manufacturer", _E, _TEXT),
    Attribute("ManufacturerModelName", _E, _TEXT),
    Attribute("DeviceSerialNumber", _E, _TEXT),
    Attribute("FrameOfReferenceUID", _E, _UID),
    Attribute("PresentationIntentType", _E, _TEXT),
    Attribute("PatientPosition", _E, _TEXT),
    Attribute("RequestAttributesSequence", _E, _SEQUENCE),
    Attribute("NumberOfSeriesRelatedInstances", _E, _COMPUTED),
    # --- instance ---
    Attribute("SOPInstanceUID", _I, _UID, searchable=True),
    Attribute("SOPClassUID", _I, _UID),
    Attribute("InstanceNumber", _I, _INTEGER),
    Attribute("AcquisitionNumber", _I, _INTEGER),
    Attribute("ContentDate", _I, _DATE),
    Attribute("ContentTime", _I, _TIME),
    Attribute("AcquisitionDate", _I, _DATE),
    Attribute("AcquisitionTime", _I, _TIME),
    Attribute("AcquisitionDateTime", _I, _TEXT),
    Attribute("InstanceCreationDate", _I, _DATE),
    Attribute("InstanceCreationTime", _I, _TIME),
    Attribute("ImageType", _I, _TEXT),
    Attribute("Rows", _I, _INTEGER),
    Attribute("Columns", _I, _INTEGER),
    Attribute("BitsAllocated", _I, _INTEGER),
    Attribute("NumberOfFrames", _I, _INTEGER),
    Attribute("ContentLabel", _I, _TEXT),
    Attribute("ContentDescription", _I, _TEXT),
    Attribute("ContentCreatorName", _I, _NAME),
    Attribute("PresentationCreationDate", _I, _DATE),
    Attribute("PresentationCreationTime", _I, _TIME),
    Attribute("CompletionFlag", _I, _TEXT),
    Attribute("VerificationFlag", _I, _TEXT),
    Attribute("DocumentTitle", _I, _TEXT),
    Attribute("MIMETypeOfEncapsulatedDocument", _I, _TEXT),
    Attribute("ConceptNameCodeSequence", _I, _SEQUENCE),
    Attribute("AvailableTransferSyntaxUID", _I, _COMPUTED),
)

BY_TAG: Final[dict[int, Attribute]] = {attribute.tag: attribute for attribute in ATTRIBUTES}
BY_KEYWORD: Final[dict[str, Attribute]] = {attribute.keyword: attribute for attribute in ATTRIBUTES}

INSTANCE_AVAILABILITY_TAG: Final = 0x00080056
"""Always ONLINE until there are slower storage tiers; a constant, so no attribute of the table."""

UNIQUE_KEYS: Final[dict[Level, Attribute]] = {
    Level.PATIENT: BY_KEYWORD["PatientID"],
    Level.STUDY: BY_KEYWORD["StudyInstanceUID"],
    Level.SERIES: BY_KEYWORD["SeriesInstanceUID"],
    Level.INSTANCE: BY_KEYWORD["SOPInstanceUID"],
}
"""The unique key of each level (PS3.4 C.6.1.1, C.6.2.1)."""


def at_level(level: Level, *, stored: bool = False) -> tuple[Attribute, ...]:
    """The attributes of one level; with `stored`, only those that have a column."""
    return tuple(a for a in ATTRIBUTES if a.level is level and not (stored and a.kind is Kind.COMPUTED))


def columns_at(level: Level) -> tuple[tuple[str, str], ...]:
    """(column, SQL type) of one level in the table's order, normal forms of names included."""
    columns: list[tuple[str, str]] = []
    for attribute in at_level(level, stored=True):
        columns.append((attribute.column, attribute.sql_type))
        if attribute.kind is Kind.NAME:
            columns += [(name_key_column(attribute), "text"), (other_name_keys_column(attribute), "text")]
        elif attribute.folded:
            columns.append((name_key_column(attribute), "text"))
    return tuple(columns)


def name_key_column(attribute: Attribute) -> str:
    """Column of the first component group's normal form; of a folded text, of its folded form."""
    return attribute.column + "_key"


def other_name_keys_column(attribute: Attribute) -> str:
    """Column of the ideographic and phonetic groups' normal forms, `=A=B=`; null for most names."""
    return attribute.column + "_other_keys"


SCANNED_TAGS: Final[frozenset[int]] = frozenset(
    attribute.tag for attribute in ATTRIBUTES if attribute.kind is not Kind.COMPUTED
) | {0x00080005}
"""What the header scan collects: every stored attribute, and SpecificCharacterSet to read them with."""
