"""The SQL search finds what the reference matcher finds: every kind of key, at every level, alone and together."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fileroom.core.access import RowScope
from fileroom.core.errors import DatabaseError, InvalidRequestError
from fileroom.dicom.matching import parse_matching
from fileroom.dicom.query import Key, Level, Page, Query, SequenceItem
from fileroom.index.attributes import BY_KEYWORD, BY_TAG, Kind
from fileroom.index.search import build_statement, can_match, search
from fileroom.index.visibility import ALL, Visibility
from index_collection import DATES, MODALITIES, NAMES, OFFSETS, TEXTS, TIMES, Indexed, answers, tag_of

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def key(keyword: str, text: str) -> Key | None:
    """The key that a C-FIND with this text makes; None for universal matching."""
    attribute = BY_KEYWORD[keyword]
    matching = parse_matching(attribute.vr, text)
    return Key(attribute.tag, attribute.vr, matching) if matching is not None else None


def item_key(sequence: str, **texts: str) -> Key:
    keys = []
    for keyword, text in texts.items():
        matching = parse_matching("SH" if keyword != "CodeMeaning" else "LO", text)
        assert matching is not None
        keys.append(Key(tag_of(keyword), "SH" if keyword != "CodeMeaning" else "LO", matching))
    return Key(tag_of(sequence), "SQ", SequenceItem(tuple(keys)))


def query(level: Level, *keys: Key | None, **options: object) -> Query:
    return Query(level, keys=tuple(k for k in keys if k is not None), **options)  # type: ignore[arg-type]


def check(indexed: Indexed, asked: Query) -> set[str]:
    """The index and the reference agree; what they found."""
    found = indexed.search(asked)
    assert len(found) == len(set(found))
    expected = answers(indexed.collection, asked)
    assert set(found) == expected, f"{asked.keys}"
    return expected


# --- what is asked ---


@st.composite
def wildcards(draw: st.DrawFn, values: list[str]) -> str:
    """A value in which pieces are replaced by `*` and `?`."""
    value = draw(st.sampled_from(values))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, len(value)))
        sign = draw(st.sampled_from(["*", "?" * max(1, end - start), "?", "**"]))
        value = value[:start] + sign + value[end:]
    return value


@st.composite
def name_keys(draw: st.DrawFn) -> str:
    groups = [group for name in NAMES for group in (name, *name.split("=")) if group]
    text = draw(st.sampled_from(groups) | wildcards(groups) | wildcards(NAMES))
    change = draw(st.sampled_from([str, str.lower, str.upper, str.title]))
    ending = draw(st.sampled_from(["", "", "*", "^*", "^*^*", "^", "="]))
    return change(text) + ending


def ranges(values: list[str]) -> st.SearchStrategy[str]:
    ends = st.sampled_from(values)
    return ends | st.builds("{}-{}".format, ends, ends) | ends.map("{}-".format) | ends.map("-{}".format)


def texts(values: list[str]) -> st.SearchStrategy[str]:
    one = st.sampled_from(values) | wildcards(values)
    return one | st.lists(one, min_size=2, max_size=3).map("\\".join) | st.just('""')


_IDS = ["P1", "P_2", "p%3", "P10", "X1", "X2", "X_3", "X33"]
_DAYS = [date.replace(".", "") for date in DATES] + ["20260103", "19000101"]
_CLOCK = [time.replace(":", "") for time in TIMES] + ["11", "0959", "103000.6"]
_TEXT_KEYS = ["PatientID", "PatientSex", "OtherPatientIDs", "PatientComments", "AccessionNumber", "StudyID"]
_TEXT_KEYS += ["StudyDescription", "AdmittingDiagnosesDescription", "Modality", "SeriesDescription", "ImageType"]
_TEXT_KEYS += ["ModalitiesInStudy"]
_TEXT_POOL = [*TEXTS, *_IDS, *MODALITIES, "ORIGINAL", "PRIMARY", "AXIAL", "MPR", "F", "M", "a\\b"]
_NAME_KEYS = [
    "PatientName",
    "OtherPatientNames",
    "ReferringPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
]
_DATE_KEYS = ["PatientBirthDate", "StudyDate", "PerformedProcedureStepStartDate"]
_TIME_KEYS = ["StudyTime", "PerformedProcedureStepStartTime", "ContentTime"]
_UID_KEYS = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "SOPClassesInStudy"]
_UIDS = ["1.2.1", "1.2.7", "1.2.1.1", "1.2.1.2", "1.2.3.1.1", "1.2.9.1.2", "1.2.840.10008.5.1.4.1.1.2", "9.9"]

_keys = st.one_of(
    st.builds(key, st.sampled_from(_TEXT_KEYS), texts(_TEXT_POOL)),
    st.builds(key, st.sampled_from(_NAME_KEYS), name_keys()),
    st.builds(key, st.sampled_from(_DATE_KEYS), ranges(_DAYS)),
    st.builds(key, st.sampled_from(_TIME_KEYS), ranges(_CLOCK)),
    st.builds(key, st.sampled_from(_UID_KEYS), st.lists(st.sampled_from(_UIDS), min_size=1, max_size=3).map("\\".join)),
    st.builds(key, st.sampled_from(["SeriesNumber", "InstanceNumber", "Rows"]), st.sampled_from(["1", "02", "512", '""'])),
)  # fmt: skip
_levels = st.sampled_from(Level)


# --- one kind of key at a time ---


@QUICK
@given(st.sampled_from(_TEXT_KEYS), texts(_TEXT_POOL), _levels)
def test_text(indexed: Indexed, keyword: str, text: str, level: Level) -> None:
    check(indexed, query(level, key(keyword, text)))


@QUICK
@given(st.sampled_from(_NAME_KEYS), name_keys(), _levels)
def test_names(indexed: Indexed, keyword: str, text: str, level: Level) -> None:
    check(indexed, query(level, key(keyword, text)))


@QUICK
@given(st.sampled_from(_NAME_KEYS), name_keys())
def test_fuzzy_names(indexed: Indexed, keyword: str, text: str) -> None:
    check(indexed, query(Level.STUDY, key(keyword, text), fuzzy_names=True))


@QUICK
@given(st.sampled_from(_DATE_KEYS), ranges(_DAYS), _levels)
def test_dates(indexed: Indexed, keyword: str, text: str, level: Level) -> None:
    check(indexed, query(level, key(keyword, text)))


@QUICK
@given(st.sampled_from(_TIME_KEYS), ranges(_CLOCK), _levels)
def test_times(indexed: Indexed, keyword: str, text: str, level: Level) -> None:
    check(indexed, query(level, key(keyword, text)))


@QUICK
@given(
    ranges(_DAYS),
    st.none() | ranges(_CLOCK),
    st.sampled_from([None, *(o for o in OFFSETS if o)]),
    st.sampled_from([Level.STUDY, Level.SERIES]),
)
def test_moments(indexed: Indexed, day: str, clock: str | None, timezone: str | None, level: Level) -> None:
    keys = (key("StudyDate", day), key("StudyTime", clock) if clock else None)
    check(indexed, query(level, *keys, combined_datetime=True, timezone=timezone))


@QUICK
@given(st.lists(_keys, min_size=2, max_size=4), _levels)
def test_several_keys_together(indexed: Indexed, keys: list[Key | None], level: Level) -> None:
    check(indexed, query(level, *keys))


# --- cases that a person would think of: each finds something ---


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("PatientName", "^*"),  # an empty first component, or no name; not the end of every name with groups
        ("PatientName", "doe^jane"),
        ("PatientName", "DOE^*"),
        ("PatientName", "MULLER*"),
        ("PatientName", "*rgen"),
        ("PatientName", "山田^太郎"),
        ("PatientName", "山田*"),
        ("PatientName", "Yamada*=山田*"),
        ("PatientName", "*=*=やまだ*"),
        ("PatientName", "van der berg^jan"),
        ("PatientName", "A_B^*"),
        ("PatientName", "A?B^C?D"),
        ("OtherPatientNames", "MULLER^JURGEN"),
        ("PatientID", "P_*"),
        ("PatientID", "p%*"),
        ("PatientID", '""'),
        ("OtherPatientIDs", "X2"),
        ("AccessionNumber", "A_C"),
        ("AccessionNumber", "A?C"),
        ("AccessionNumber", "50%*"),
        ("AccessionNumber", '""'),
        ("StudyDescription", "Grö*e"),
        ("StudyDescription", "ABC\\abc"),
        ("StudyDescription", "AB*\\CT*"),
        ("StudyDate", "20260105"),
        ("StudyDate", "20260101-20260131"),
        ("StudyDate", "20260101\\2026.01.05"),
        ("StudyDate", '""'),
        ("StudyTime", "1030"),
        ("StudyTime", "10-1030"),
        ("ModalitiesInStudy", "MR"),
        ("ModalitiesInStudy", "CT\\SR"),
        ("ModalitiesInStudy", "?R"),
        ("ModalitiesInStudy", '""'),
        ("SOPClassesInStudy", "1.2.840.10008.5.1.4.1.1.88.11"),
        ("ImageType", "AXIAL"),
        ("ImageType", "ORIGINAL"),
        ("SeriesNumber", "10"),
        ("SeriesNumber", '""'),
        ("Rows", "512"),
        ("SeriesInstanceUID", "1.2.1.1\\1.2.2.1\\9.9"),
    ],
)
@pytest.mark.parametrize("level", Level)
def test_what_people_ask_is_found(indexed: Indexed, level: Level, keyword: str, text: str) -> None:
    assert check(indexed, query(level, key(keyword, text)))


@pytest.mark.parametrize("level", Level)
def test_items_of_sequences(indexed: Indexed, level: Level) -> None:
    requests, codes = "RequestAttributesSequence", "ProcedureCodeSequence"
    assert check(indexed, query(level, item_key(requests, ScheduledProcedureStepID="S1")))
    assert check(indexed, query(level, item_key(requests, ScheduledProcedureStepID="S_*")))
    assert check(indexed, query(level, item_key(requests, ScheduledProcedureStepID="S1\\S2")))
    assert check(indexed, query(level, item_key(requests, ScheduledProcedureStepID='""')))
    assert check(indexed, query(level, item_key(requests, ScheduledProcedureStepID="S1", RequestedProcedureID="R2")))
    assert check(indexed, query(level, item_key(codes, CodeMeaning="Größe")))
    assert check(indexed, query(level, item_key(codes, CodeMeaning="100%")))
    assert check(indexed, query(level, item_key(codes, CodeValue="C1"), key("ModalitiesInStudy", "CT")))
    assert not check(indexed, query(level, item_key(codes, CodeMeaning="100_")))
    assert not check(indexed, query(level, item_key(codes, CodeValue="S1")))


def test_a_moment_of_reduced_precision_begins_with_its_hour(indexed: Indexed) -> None:
    times = {s.values["StudyTime"] for s in indexed.collection.at(Level.STUDY) if s.values["StudyDate"] == "20260101"}
    assert {"10", "1030"} <= times
    keys = (key("StudyDate", "20260101"), key("StudyTime", "1000-1030"))
    found = check(indexed, query(Level.STUDY, *keys, combined_datetime=True))
    assert {s.values["StudyTime"] for s in indexed.collection.at(Level.STUDY) if s.identity in found} >= {"10", "1030"}


@pytest.mark.parametrize("first", ["20260101", "20260201"])
def test_a_timezone_reaches_over_the_end_of_month_and_year(indexed: Indexed, first: str) -> None:
    keys = (key("StudyDate", f"{first}-"), key("StudyTime", "00-"))
    found = check(indexed, query(Level.STUDY, *keys, timezone="+0000"))
    earlier = {
        s.identity for s in indexed.collection.at(Level.STUDY) if s.values["StudyDate"] < first and s.identity in found
    }
    assert earlier, "no study of the day before that belongs to this day in UTC: the test shows nothing"


def test_attributes_that_cannot_be_matched_are_universal(indexed: Indexed) -> None:
    count = BY_KEYWORD["NumberOfStudyRelatedInstances"]
    matching = parse_matching("IS", "99")
    assert matching is not None
    assert not can_match(count.tag)
    assert not can_match(0x00091001)
    unknown = (Key(count.tag, "IS", matching), Key(0x00091001, "LO", matching))
    assert len(indexed.search(query(Level.STUDY, *unknown))) == len(indexed.collection.at(Level.STUDY))


def test_hostile_values_are_only_values(indexed: Indexed) -> None:
    for text in ("'; DROP TABLE study; --", "%s", "%(x)s", "{}", "\\", "%", "_", "\\\\%", "*" * 30 + "x", "?" * 200):
        for keyword in ("PatientName", "PatientID", "ModalitiesInStudy", "OtherPatientIDs"):
            check(indexed, query(Level.STUDY, key(keyword, text)))


# --- order and pages ---


@pytest.mark.parametrize("level", Level)
def test_pages_give_everything_once_and_in_order(indexed: Indexed, level: Level) -> None:
    everything = indexed.search(query(level, page=Page(10_000)))
    assert set(everything) == {entity.identity for entity in indexed.collection.at(level)}
    size = 97
    pages = [indexed.search(query(level, page=Page(size, offset))) for offset in range(0, len(everything) + size, size)]
    assert [identity for page in pages for identity in page] == everything
    assert indexed.search(query(level, page=Page(10, 10**9))) == []
    assert indexed.search(query(level, page=Page(0))) == []


@pytest.mark.parametrize("level", Level)
def test_a_page_far_down_holds_what_the_whole_answer_holds_there(indexed: Indexed, level: Level) -> None:
    def rows(page: Page, *keys: Key | None) -> list[tuple[object, ...]]:
        statement = build_statement(query(level, *keys, page=page, return_tags=None), ALL)
        return indexed.connection.execute(statement.text.encode(), statement.parameters).fetchall()

    for keys in ((), (key("PatientName", "*e*"), key("StudyDate", "19000101-"))):
        everything = rows(Page(10_000), *keys)
        assert len(everything) > 60
        assert rows(Page(17, 41), *keys) == everything[41:58]


@pytest.mark.parametrize("near", [1, 3, 10_000])
async def test_a_page_of_the_newest_is_the_same_however_it_is_looked_for(
    indexed: Indexed, database_url: str, monkeypatch: pytest.MonkeyPatch, near: int
) -> None:
    monkeypatch.setattr("fileroom.index.search._NEAR_STUDIES", near)
    monkeypatch.setattr("fileroom.index.search._NEAR_TIMES", 0)
    scopes = [ALL, Visibility(RowScope(modalities=("CT",))), Visibility(RowScope(modalities=("nothing has it",)))]
    for keys in ((), (key("StudyDescription", "*a*"),), (key("Modality", "MR"), key("StudyDate", "19000101-"))):
        for scope, limit in itertools.product(scopes, (1, 7, 500)):
            asked = replace(query(Level.STUDY, *keys, page=Page(limit)), newest_first=True)
            whole = build_statement(asked, scope)
            wanted = [row[1] for row in indexed.connection.execute(whole.text.encode(), whole.parameters).fetchall()]
            async with await psycopg.AsyncConnection.connect(database_url) as connection:
                found = [answer.study_instance_uid async for answer in search(connection, asked, scope)]
            assert found == wanted


@pytest.mark.parametrize("level", [Level.PATIENT, Level.STUDY, Level.SERIES, Level.INSTANCE])
def test_counts_are_not_computed_for_rows_that_a_page_passes_over(indexed: Indexed, level: Level) -> None:
    statement = build_statement(query(level, page=Page(5, 40), return_tags=None), ALL)
    explain = b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + statement.text.encode()
    [(plan,)] = indexed.connection.execute(explain, statement.parameters).fetchall()
    loops = [node["Actual Loops"] for node in nodes(plan[0]["Plan"]) if node.get("Parent Relationship") == "SubPlan"]
    assert loops
    assert set(loops) == {5}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def test_the_newest_studies_come_first(indexed: Indexed) -> None:
    found = indexed.search(query(Level.STUDY, newest_first=True))
    by_identity = {study.identity: study.values for study in indexed.collection.at(Level.STUDY)}
    dates = [by_identity[identity]["StudyDate"].replace(".", "") for identity in found]
    dated = [date for date in dates if date]
    assert dated == sorted(dated, reverse=True)
    assert dates[: len(dated)] == dated


def test_instances_come_by_series_number_and_instance_number(indexed: Indexed) -> None:
    study = max(indexed.collection.at(Level.STUDY), key=lambda s: len(list(s.down_to(Level.INSTANCE))))
    found = indexed.search(query(Level.INSTANCE, key("StudyInstanceUID", study.identity), page=Page(100)))
    order = [
        (int(i.up_to(Level.SERIES).values["SeriesNumber"] or 1 << 40), i.up_to(Level.SERIES).identity)
        for i in sorted(study.down_to(Level.INSTANCE), key=lambda i: found.index(i.identity))
    ]
    assert [number for number, _ in order] == sorted(number for number, _ in order)
    assert len({identity for _, identity in order}) == sum(
        1 for n, (_, identity) in enumerate(order) if n == 0 or order[n - 1][1] != identity
    ), "a series is torn apart"


# --- what is returned ---


def test_every_attribute_comes_back_as_it_was_received(indexed: Indexed) -> None:
    for level in Level:
        statement = build_statement(Query(level, return_tags=None), ALL)
        tags = [attribute.tag for attribute in statement.attributes]
        assert {a.tag for a in BY_TAG.values() if a.level <= level} == set(tags)
        rows = indexed.connection.execute(statement.text.encode(), statement.parameters).fetchall()
        if level is Level.PATIENT:
            continue
        by_identity = {entity.identity: entity for entity in indexed.collection.at(level)}
        for row in random.Random(1).sample(rows, 100):
            entity = by_identity[row[int(level)]]
            values = dict(zip(tags, row[4:], strict=True))
            for above in range(level + 1):
                for keyword, value in entity.up_to(Level(above)).values.items():
                    if keyword not in ("identity",):
                        _require_same(keyword, value, values[tag_of(keyword)])


def _require_same(keyword: str, received: str, returned: object) -> None:
    attribute = BY_KEYWORD[keyword]
    if not received:
        assert returned is None, keyword
    elif attribute.kind is Kind.INTEGER:
        assert returned == int(received), keyword
    elif attribute.kind is Kind.DATE:
        assert returned == received.replace(".", ""), keyword
    elif attribute.kind is Kind.TIME:
        assert isinstance(returned, str)
        assert float((returned + "0" * 6)[:6] + returned[6:]) == float(
            (received.replace(":", "") + "0" * 6)[:6] + received.replace(":", "")[6:]
        ), keyword
    else:
        parts = [part.strip() for part in received.split("\\")]
        assert [part.strip() for part in str(returned).split("\\")] == parts, keyword


@pytest.mark.parametrize("level", Level)
def test_counts(indexed: Indexed, level: Level) -> None:
    counts = {
        "NumberOfPatientRelatedStudies": (Level.PATIENT, Level.STUDY),
        "NumberOfPatientRelatedSeries": (Level.PATIENT, Level.SERIES),
        "NumberOfPatientRelatedInstances": (Level.PATIENT, Level.INSTANCE),
        "NumberOfStudyRelatedSeries": (Level.STUDY, Level.SERIES),
        "NumberOfStudyRelatedInstances": (Level.STUDY, Level.INSTANCE),
        "NumberOfSeriesRelatedInstances": (Level.SERIES, Level.INSTANCE),
    }
    asked = {keyword: ends for keyword, ends in counts.items() if ends[0] <= level}
    if not asked:
        return
    statement = build_statement(Query(level, return_tags=tuple((tag_of(keyword),) for keyword in counts)), ALL)
    assert [a.keyword for a in statement.attributes] == list(asked)
    rows = indexed.connection.execute(statement.text.encode(), statement.parameters).fetchall()
    identities = indexed.search(Query(level))
    assert len(rows) == len(identities)
    by_identity = {entity.identity: entity for entity in indexed.collection.at(level)}
    found = sorted((int(level), *row[4:]) for row in rows)
    expected = sorted(
        (int(level), *(len(list(by_identity[i].up_to(top).down_to(bottom))) for top, bottom in asked.values()))
        for i in identities
    )
    assert found == expected


@pytest.mark.parametrize("page", [None, Page(7), Page(1000)])
async def test_answers_are_streamed_whatever_their_number(
    indexed: Indexed, database_url: str, page: Page | None
) -> None:
    asked = query(Level.INSTANCE, key("Modality", "CT"), page=page, return_tags=((tag_of("Modality"),),))
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        found = [answer async for answer in search(connection, asked, ALL)]
        expected = answers(indexed.collection, query(Level.INSTANCE, key("Modality", "CT")))
        assert len(found) == (min(page.limit, len(expected)) if page else len(expected)) > 0
        assert {answer.sop_instance_uid for answer in found} <= expected
        assert all(answer.values == {tag_of("Modality"): "CT"} for answer in found)
        assert all(str(answer.sop_instance_uid).startswith(f"{answer.series_instance_uid}.") for answer in found)


async def test_a_search_that_is_wrong_or_takes_too_long_is_told(indexed: Indexed, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        with pytest.raises(InvalidRequestError, match="NUL"):
            [answer async for answer in search(connection, query(Level.STUDY, key("PatientID", "a\0b")), ALL)]
        await connection.execute("SET statement_timeout = 20")
        with indexed.connection.transaction():
            indexed.connection.execute("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(DatabaseError, match="took too long"):
                [answer async for answer in search(connection, query(Level.PATIENT), ALL)]


@pytest.mark.parametrize(("keyword", "text"), [("SeriesNumber", "x"), ("Rows", "1*"), ("SeriesNumber", "1\\y")])
def test_a_number_that_is_none_is_told(indexed: Indexed, keyword: str, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"{keyword} is a number"):
        indexed.search(query(Level.SERIES, key(keyword, text)))
