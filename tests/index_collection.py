"""A made-up archive of several hundred studies as plain Python values, and what of it must answer a question.

The reference reads the values as they stand in the objects and knows nothing of columns or normal forms: it walks over
patients, studies, series and instances and asks `fileroom.dicom.matching.matches`, the reference matcher.
"""

from __future__ import annotations

import functools
import random
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from pydicom.datadict import dictionary_VR, tag_for_keyword

from dicom_bytes import Node, encode, sequence, text
from fileroom.dicom import matching as reference
from fileroom.dicom.header_scan import scan_header
from fileroom.dicom.query import AnyOf, Key, Level, Query, Range, SequenceItem, SingleValue, Wildcard
from fileroom.dicom.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from fileroom.index.attributes import BY_TAG, SCANNED_TAGS, Kind
from fileroom.index.rows import StoredFacts, build_row
from fileroom.index.search import build_statement
from fileroom.index.visibility import ALL

Values = dict[str, str]
"""Keyword to value, several apart by backslashes. Empty ones are absent."""
Items = list[Values]


# Values repeat, so the reference's answers do.
matches = functools.lru_cache(maxsize=100_000)(reference.matches)
to_utc = functools.lru_cache(maxsize=10_000)(reference.to_utc)
normalize_name, to_utc_bounds = reference.normalize_name, reference.to_utc_bounds


@functools.cache
def tag_of(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return tag


@dataclass
class Entity:
    """A patient, study, series or instance: its attributes, its sequences, and what is below it."""

    level: Level
    values: Values
    items: dict[str, Items] = field(default_factory=dict)
    above: Entity | None = None
    below: list[Entity] = field(default_factory=list)

    def add(self, entity: Entity) -> Entity:
        entity.above = self
        self.below.append(entity)
        return entity

    def up_to(self, level: Level) -> Entity:
        entity = self
        while entity.level > level:
            assert entity.above is not None
            entity = entity.above
        return entity

    def down_to(self, level: Level) -> Iterator[Entity]:
        if self.level is level:
            yield self
        for entity in self.below:
            yield from entity.down_to(level)

    @property
    def identity(self) -> str:
        """What tells it from all others of its level."""
        keyword = ["identity", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"][self.level]
        return self.values[keyword]


# --- the collection ---

NAMES = [
    "DOE^JANE", "Doe^Jane^Q", "DOE^JOHN", "doe", "DOE", "DOE^", "DOE^^^Dr.", "O'NEIL^SEAN", "O’Neil^Maeve",
    "MÜLLER^Jürgen", "Muller^Jurgen", "MUELLER^JUERGEN", "Strauß^Éva", "Łukasz^Żółć", "Søren^Bjørn", "VAN DER  BERG^Jan",
    "Yamada^Tarou=山田^太郎=やまだ^たろう", "ヤマダ^タロウ=山田^太郎", "=山田^花子",
    "Suzuki^Hana==すずき^はな", "Hong^Gildong=洪^吉洞=홍^길동",
    "Παπαδοπούλου^Ελένη", "ИВАНОВ^Иван", "Smith-Jones^Ann Mary", "Smith Jones^Ann", "A_B^C%D", "AxB^CyD", "SMITH^AB",
    "SMITH^ABC", "^JOHN", "Wang^XiaoDong=王^小东", "Zhang^X=abc=xyz", "Zhang^X=abz=acz", "1^2", "B^A",
]  # fmt: skip
TEXTS = [
    "ABC", "abc", "AB", "A", "A_C", "A%C", "AXC", "50% dose", "50 dose", "x", "a?b", "Thorax p.a.", "THORAX P.A.",
    "Größe", "Grösse", "胸部", "CT ABDOMEN", "CT ABDOMEN W/O", "MR ABDOMEN",
    "1", "01", "1.0", "[x]", "(y)", "a.b", "a+b", "'", '"', "--",
]  # fmt: skip
DATES = ["20251231", "20260101", "20260102", "20260131", "20260201", "20260228", "20240229", "19991231", "2026.01.05"]
TIMES = ["00", "000000", "10", "1030", "103000", "103000.5", "103000.500000", "10:30", "235959.999999", "2359", "0000"]
OFFSETS = ["", "", "", "+0100", "-0500", "+0530", "+1400", "-1200"]
MODALITIES = ["CT", "MR", "US", "SR", "PR"]
CLASSES = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.11"]


@dataclass
class Collection:
    """All patients. `rows` are the arguments of `store_instances`, one per instance, in the order of arrival."""

    patients: list[Entity]
    rows: list[bytes]

    def at(self, level: Level) -> list[Entity]:
        return [entity for patient in self.patients for entity in patient.down_to(level)]


def make_collection(studies: int, seed: int = 7) -> Collection:
    """The same seed makes the same collection."""
    chance = random.Random(seed)
    patients: list[Entity] = []
    for number in range(studies):
        if patients and chance.random() < 0.4:
            patient = chance.choice([p for p in patients if p.values["PatientID"]] or patients[:1])
        else:
            patient = _patient(chance, number)
            patients.append(patient)
        study = patient.add(_study(chance, number))
        for _ in range(chance.randint(1, 3)):
            series = study.add(_series(chance, f"{study.identity}.{len(study.below) + 1}"))
            for _ in range(chance.randint(1, 3)):
                series.add(_instance(chance, f"{series.identity}.{len(series.below) + 1}"))
        if chance.random() < 0.5:  # what the first series says of the study counts; each says the same here
            study.values["StudyDescription"] = chance.choice(TEXTS)
    made = Collection([patient for patient in patients if patient.below], [])
    made.rows = [_row(instance) for instance in made.at(Level.INSTANCE)]
    return made


@dataclass(repr=False)
class Indexed:
    """The collection and a connection to its index."""

    collection: Collection
    connection: psycopg.Connection[Any]

    def search(self, query: Query) -> list[str]:
        """The identities of what the index finds, in its order."""
        statement = build_statement(query, ALL)
        rows = self.connection.execute(statement.text.encode(), statement.parameters).fetchall()
        if query.level is not Level.PATIENT:
            return [row[int(query.level)] for row in rows]
        names = dict(self.connection.execute("SELECT id, identity FROM patient").fetchall())
        return [self.patients[names[row[0]]] for row in rows]

    @property
    def patients(self) -> dict[str, str]:
        """The index's name of each patient, and the collection's."""
        return {
            f"id:{p.values['PatientID']}|" if p.values["PatientID"] else f"study:{p.below[0].identity}": p.identity
            for p in self.collection.patients
        }


def _patient(chance: random.Random, number: int) -> Entity:
    patient_id = chance.choice([f"P{number}", f"P{number}", f"P_{number}", f"p%{number}", ""])
    values = {
        "identity": patient_id or f"nobody {number}",
        "PatientID": patient_id,
        "PatientName": chance.choice([*NAMES, ""]),
        "PatientBirthDate": chance.choice([*DATES, ""]),
        "PatientSex": chance.choice(["F", "M", "O", ""]),
        "OtherPatientIDs": chance.choice(["", "X1", "X1\\X2", "X2 \\ X_3", "x1\\X33"]),
        "OtherPatientNames": chance.choice(["", "DOE^JANE\\MÜLLER^Jürgen", "B^A\\Yamada^Tarou=山田^太郎", "SMITH^AB"]),
        "PatientComments": chance.choice(["", "a\\b", "ABC", "A%C"]),
    }
    return Entity(Level.PATIENT, values)


def _study(chance: random.Random, number: int) -> Entity:
    values = {
        "StudyInstanceUID": f"1.2.{number}",
        "StudyDate": chance.choice([*DATES, ""]),
        "StudyTime": chance.choice([*TIMES, ""]),
        "TimezoneOffsetFromUTC": chance.choice(OFFSETS),
        "AccessionNumber": chance.choice([*TEXTS, "", ""]),
        "StudyID": chance.choice([*TEXTS, ""]),
        "ReferringPhysicianName": chance.choice([*NAMES, ""]),
        "NameOfPhysiciansReadingStudy": chance.choice(["", "DOE^JANE\\DOE^JOHN", "Strauß^Éva", "A_B^C%D\\B^A"]),
        "AdmittingDiagnosesDescription": chance.choice(["", "ABC\\A_C", "ABC "]),
    }
    return Entity(Level.STUDY, values, {"ProcedureCodeSequence": _codes(chance)})


def _series(chance: random.Random, uid: str) -> Entity:
    values = {
        "SeriesInstanceUID": uid,
        "Modality": chance.choice([*MODALITIES, ""]),
        "SeriesNumber": chance.choice(["1", "2", "10", ""]),
        "SeriesDescription": chance.choice([*TEXTS, ""]),
        "PerformedProcedureStepStartDate": chance.choice([*DATES, ""]),
        "PerformedProcedureStepStartTime": chance.choice([*TIMES, ""]),
        "OperatorsName": chance.choice(["", "B^A", "DOE^JOHN\\SMITH^ABC"]),
    }
    requests = [
        {
            "ScheduledProcedureStepID": chance.choice(["S1", "S2", "S_3", ""]),
            "RequestedProcedureID": chance.choice(["R1", "R2"]),
        }
        for _ in range(chance.randint(0, 2))
    ]
    return Entity(Level.SERIES, values, {"RequestAttributesSequence": requests})


def _instance(chance: random.Random, uid: str) -> Entity:
    values = {
        "SOPInstanceUID": uid,
        "SOPClassUID": chance.choice(CLASSES),
        "AvailableTransferSyntaxUID": chance.choice([EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN]),
        "InstanceNumber": chance.choice(["1", "2", "3", ""]),
        "ImageType": chance.choice(["ORIGINAL\\PRIMARY", "DERIVED\\SECONDARY\\MPR", "ORIGINAL \\PRIMARY\\AXIAL ", ""]),
        "Rows": chance.choice(["64", "512", ""]),
        "ContentTime": chance.choice([*TIMES, ""]),
    }
    return Entity(Level.INSTANCE, values)


def _codes(chance: random.Random) -> Items:
    meanings = ["CT of chest", "Größe", "100%"]
    return [
        {"CodeValue": chance.choice(["C1", "C2", "C_3"]), "CodeMeaning": chance.choice(meanings)}
        for _ in range(chance.randint(0, 2))
    ]


def _row(instance: Entity) -> bytes:
    nodes = [text(0x00080005, "CS", "ISO_IR 192")]
    for level in Level:
        entity = instance.up_to(level)
        nodes += [_node(keyword, value) for keyword, value in entity.values.items() if _is_element(keyword) and value]
        nodes += [
            sequence(tag_of(keyword), *([_node(k, v) for k, v in item.items() if v] for item in items))
            for keyword, items in entity.items.items()
            if items
        ]
    encoded = encode(sorted(nodes, key=lambda node: node.tag))
    header = scan_header(encoded, EXPLICIT_VR_LITTLE_ENDIAN, SCANNED_TAGS, complete=True)
    uid = instance.identity
    facts = StoredFacts(
        sop_class_uid=instance.values["SOPClassUID"],
        sop_instance_uid=uid,
        transfer_syntax_uid=instance.values["AvailableTransferSyntaxUID"],
        storage_key=f"objects/{uid}",
        file_bytes=1,
        dataset_offset=0,
        pixel_offset=None,
        digest=uid.encode(),
        received_by="test",
        sender="",
    )
    return build_row(header, facts, instance.up_to(Level.STUDY).identity, instance.up_to(Level.SERIES).identity).json


def _is_element(keyword: str) -> bool:
    return keyword not in ("identity", "AvailableTransferSyntaxUID")


def _node(keyword: str, value: str) -> Node:
    tag = tag_of(keyword)
    vr = dictionary_VR(tag)
    if vr == "US":
        return Node(tag, "US", struct.pack("<H", int(value)))
    return text(tag, vr, value, "utf-8")


# --- the reference ---


def answers(collection: Collection, query: Query) -> set[str]:
    """The identities at the query's level that must be found."""
    return {entity.identity for entity in collection.at(query.level) if _is_match(entity, query)}


def _is_match(entity: Entity, query: Query) -> bool:
    keys = list(query.keys)
    if query.combined_datetime or query.timezone:
        dates = [key for key in keys if key.tag in (tag_of("StudyDate"), tag_of("StudyTime"))]
        if any(key.tag == tag_of("StudyDate") for key in dates):
            if query.level < Level.STUDY:
                raise AssertionError("combined matching is asked at the study's level or below here")
            if not _matches_moment(entity.up_to(Level.STUDY), dates, query.timezone):
                return False
            keys = [key for key in keys if key not in dates]
    here = [key for key in keys if level_of(key) <= query.level]
    below = [key for key in keys if level_of(key) > query.level]
    if not all(_matches_key(entity.up_to(level_of(key)), key, query) for key in here):
        return False
    if not below:
        return True
    deepest = max(map(level_of, below))
    return any(
        all(_matches_key(found.up_to(level_of(key)), key, query) for key in below) for found in entity.down_to(deepest)
    )


def level_of(key: Key) -> Level:
    """Where the values of a key stand."""
    return BY_TAG[key.tag].level


def _matches_key(entity: Entity, key: Key, query: Query) -> bool:
    attribute = BY_TAG[key.tag]
    if isinstance(key.matching, SequenceItem):
        return any(_matches_item(item, key.matching) for item in entity.items[attribute.keyword])
    if attribute.keyword == "ModalitiesInStudy":
        return matches(_joined(entity, Level.SERIES, "Modality"), key.matching, "CS")
    if attribute.keyword == "SOPClassesInStudy":
        return matches(_joined(entity, Level.INSTANCE, "SOPClassUID"), key.matching, "UI")
    value = entity.values.get(attribute.keyword, "")
    if query.fuzzy_names and attribute.kind is Kind.NAME and isinstance(key.matching, SingleValue | Wildcard | AnyOf):
        return _matches_fuzzily(value, key.matching)
    return matches(value, key.matching, attribute.vr)


def _joined(study: Entity, level: Level, keyword: str) -> str:
    found = (entity.values[keyword] for entity in study.down_to(level))
    return "\\".join(dict.fromkeys(value for value in found if value))


def _matches_item(item: Values, wanted: SequenceItem) -> bool:
    for key in wanted.keys:
        keyword = next(keyword for keyword in _SEQUENCE_KEYWORDS if tag_of(keyword) == key.tag)
        if not matches(item.get(keyword, ""), key.matching, key.vr):
            return False
    return True


_SEQUENCE_KEYWORDS = ("ScheduledProcedureStepID", "RequestedProcedureID", "CodeValue", "CodeMeaning")


def _matches_fuzzily(value: str, matching: SingleValue | Wildcard | AnyOf) -> bool:
    """Every word of the question begins a word of the name."""
    if isinstance(matching, AnyOf):
        return any(_matches_fuzzily(value, SingleValue(one)) for one in matching.values)
    asked = matching.value if isinstance(matching, SingleValue) else matching.pattern
    wanted = [word for word in re.split(r"[\s^=,*?]+", normalize_name(asked)) if word]
    words = [word for name in value.split("\\") for word in re.split(r"[\s^=]+", normalize_name(name)) if word]
    return bool(wanted) and all(any(word.startswith(want) for word in words) for want in wanted)


def _matches_moment(study: Entity, keys: list[Key], timezone: str | None) -> bool:
    found = {key.tag: key.matching for key in keys}
    date, time = found[tag_of("StudyDate")], found.get(tag_of("StudyTime"))
    assert isinstance(date, Range | SingleValue)
    assert time is None or isinstance(time, Range | SingleValue)
    offset = (study.values["TimezoneOffsetFromUTC"] or timezone) if timezone else None
    moment = to_utc(study.values["StudyDate"], study.values["StudyTime"], offset)
    if moment is None:
        return False
    lower, upper = to_utc_bounds(date, time, timezone)
    return (lower is None or lower <= moment) and (upper is None or moment <= upper)
