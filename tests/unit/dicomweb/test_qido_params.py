"""Query strings of QIDO-RS, as the standard writes them and as peers send them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import tag_for_keyword

from fileroom.core.errors import InvalidRequestError, RequestError, TooLargeError
from fileroom.core.identifiers import UID
from fileroom.core.limits import QIDO_LIMIT_DEFAULT, QIDO_LIMIT_MAX, QUERY_PARAMETERS_MAX, QUERY_VALUE_CHARS_MAX
from fileroom.dicom.query import AnyOf, EmptyValue, Key, Level, Range, SequenceItem, SingleValue, Wildcard
from fileroom.dicomweb.qido_params import Resource, Search, parse_search


def tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    assert found is not None
    return found


def search(*parameters: tuple[str, str], resource: Resource = Resource.ALL_STUDIES) -> Search:
    return parse_search(resource, parameters)


def only_key(*parameters: tuple[str, str]) -> Key:
    (key,) = search(*parameters).query.keys
    return key


def test_request_without_parameters_asks_for_a_page_of_all_studies_with_the_attributes_of_the_standard() -> None:
    found = search()
    assert found.query.level is Level.STUDY
    assert found.query.keys == ()
    assert found.query.page is not None
    assert found.query.page.limit == QIDO_LIMIT_DEFAULT
    assert not found.limit_named
    assert found.query.newest_first
    assert found.query.combined_datetime
    assert found.query.return_tags is not None
    assert {(tag(name),) for name in ("StudyInstanceUID", "ModalitiesInStudy", "PatientName")} <= set(
        found.query.return_tags
    )
    assert found.warnings == ()


def test_attribute_is_named_by_keyword_or_by_tag() -> None:
    expected = Key(tag("PatientID"), "LO", SingleValue("123"))
    assert only_key(("PatientID", "123")) == only_key(("00100020", "123")) == expected


def test_values_match_by_their_vr() -> None:
    assert only_key(("PatientName", "DOE^J*")).matching == Wildcard("DOE^J*")
    assert only_key(("StudyDate", "20200101-20201231")).matching == Range("20200101", "20201231")
    assert only_key(("StudyInstanceUID", "1.2,1.3\\1.4")).matching == AnyOf(("1.2", "1.3", "1.4"))
    assert only_key(("ModalitiesInStudy", "CT,MR")).matching == AnyOf(("CT", "MR"))
    assert only_key(("ModalitiesInStudy", "CT\\MR")).matching == AnyOf(("CT", "MR"))


def test_repeated_uid_parameters_are_one_list() -> None:
    assert only_key(("StudyInstanceUID", "1.2"), ("0020000D", "1.3")).matching == AnyOf(("1.2", "1.3"))


def test_empty_value_and_star_match_everything_and_ask_for_the_attribute() -> None:
    for value in ("", "*"):
        query = search(("StudyDescription", value)).query
        assert query.keys == ()
        assert (tag("StudyDescription"),) in (query.return_tags or ())


def test_elements_of_one_sequence_are_matched_in_one_item() -> None:
    sequence, step, procedure = (
        tag(name) for name in ("RequestAttributesSequence", "ScheduledProcedureStepID", "RequestedProcedureID")
    )
    found = search(
        ("RequestAttributesSequence.ScheduledProcedureStepID", "S1"),
        ("00400275.00401001", "R1"),
        resource=Resource.ALL_SERIES,
    ).query
    step_key = Key(step, "SH", SingleValue("S1"))
    procedure_key = Key(procedure, "SH", SingleValue("R1"))
    assert found.keys == (Key(sequence, "SQ", SequenceItem((step_key, procedure_key))),)
    assert (sequence, step) in (found.return_tags or ())


def test_sequence_path_with_empty_value_is_returned_and_not_matched() -> None:
    found = search(("RequestAttributesSequence.ScheduledProcedureStepID", ""), resource=Resource.ALL_SERIES).query
    assert found.keys == ()


def test_include_fields_are_lists_paths_and_all() -> None:
    found = search(("includefield", "StudyDescription,00081048"), ("includefield", "ProcedureCodeSequence.CodeValue"))
    tags = found.query.return_tags or ()
    code = (tag("ProcedureCodeSequence"), tag("CodeValue"))
    assert {(tag("StudyDescription"),), (0x00081048,), code} <= set(tags)
    assert search(("includefield", "StudyDescription,all")).query.return_tags is None


def test_private_attribute_can_be_included() -> None:
    assert (0x00291001,) in (search(("includefield", "00291001")).query.return_tags or ())


def test_unknown_names_are_ignored_with_a_warning() -> None:
    found = search(("nonsense", "1"), ("includefield", "AlsoNonsense"))
    assert found.query.keys == ()
    assert len(found.warnings) == 2
    assert "nonsense" in found.warnings[0]


def test_backslash_means_several_values_only_where_asked_for() -> None:
    plain = search(("PatientID", "1\\2"))
    assert plain.query.keys[0].matching == SingleValue("1\\2")
    assert "multiplevaluematching=true" in plain.warnings[0]
    assert only_key(("PatientID", "1\\2"), ("multiplevaluematching", "true")).matching == AnyOf(("1", "2"))


def test_two_quotation_marks_mean_empty_only_where_asked_for() -> None:
    assert only_key(("AccessionNumber", '""'), ("emptyvaluematching", "true")).matching == EmptyValue()
    plain = search(("AccessionNumber", '""'))
    assert plain.query.keys[0].matching == SingleValue('""')
    assert "emptyvaluematching=true" in plain.warnings[0]


def test_fuzzy_matching_and_timezone_reach_the_query() -> None:
    found = search(("fuzzymatching", "true"), ("TimezoneOffsetFromUTC", " 0100")).query
    assert found.fuzzy_names
    assert found.timezone == "+0100"
    assert found.keys == ()


def test_limit_and_offset_make_the_page_and_a_high_limit_is_lowered_with_a_warning() -> None:
    found = search(("limit", "25"), ("offset", "50"))
    assert found.query.page is not None
    assert (found.query.page.limit, found.query.page.offset, found.limit_named) == (25, 50, True)
    lowered = search(("limit", str(QIDO_LIMIT_MAX + 1)))
    assert lowered.query.page is not None
    assert lowered.query.page.limit == QIDO_LIMIT_MAX
    assert str(QIDO_LIMIT_MAX) in lowered.warnings[0]


@pytest.mark.parametrize(
    ("resource", "level", "present", "absent"),
    [
        (Resource.STUDY_SERIES, Level.SERIES, ("StudyInstanceUID", "Modality"), ("PatientName", "SOPInstanceUID")),
        (Resource.ALL_SERIES, Level.SERIES, ("PatientName", "Modality", "StudyDate"), ("SOPInstanceUID",)),
        (Resource.STUDY_INSTANCES, Level.INSTANCE, ("SOPInstanceUID", "Modality"), ("PatientName",)),
        (
            Resource.SERIES_INSTANCES,
            Level.INSTANCE,
            ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"),
            ("Modality",),
        ),
        (Resource.ALL_INSTANCES, Level.INSTANCE, ("SOPInstanceUID", "Modality", "PatientName"), ()),
    ],
)
def test_relational_resources_return_the_attributes_of_the_levels_above(
    resource: Resource, level: Level, present: tuple[str, ...], absent: tuple[str, ...]
) -> None:
    query = search(resource=resource).query
    assert query.level is level
    tags = query.return_tags or ()
    assert all((tag(name),) in tags for name in present)
    assert not any((tag(name),) in tags for name in absent)
    assert len(tags) == len(set(tags))


def test_uids_of_the_path_are_keys() -> None:
    found = parse_search(Resource.SERIES_INSTANCES, [("StudyInstanceUID", "1.2,1.9")], UID("1.2"), UID("1.3"))
    assert found.query.keys == (
        Key(tag("StudyInstanceUID"), "UI", SingleValue("1.2")),
        Key(tag("SeriesInstanceUID"), "UI", SingleValue("1.3")),
    )
    assert found.query.page is not None
    assert found.query.page.limit == QIDO_LIMIT_MAX
    with pytest.raises(InvalidRequestError, match="contradicts"):
        parse_search(Resource.STUDY_SERIES, [("StudyInstanceUID", "1.4")], UID("1.2"))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ([("limit", "-1")], "limit"),
        ([("limit", "many")], "limit"),
        ([("limit", "1"), ("limit", "2")], "limit"),
        ([("offset", "9" * 18)], "offset"),
        ([("fuzzymatching", "yes")], "fuzzymatching"),
        ([("StudyDate", "yesterday")], "StudyDate"),
        ([("StudyInstanceUID", "1.2/../3")], "StudyInstanceUID"),
        ([("PatientID", "a"), ("PatientID", "b")], "PatientID"),
        ([("PatientID", "a\0b")], "PatientID"),
        ([("PatientID", "a\ud800")], "PatientID"),
        ([("PatientID.StudyDate", "1")], "PatientID"),
        ([("RequestAttributesSequence", "1")], "RequestAttributesSequence"),
        ([("PixelData", "1")], "PixelData"),
        ([("00080201", "1")], "00080201"),
        ([(".".join(["00400275"] * 40), "1")], "deeper"),
    ],
)
def test_bad_values_are_refused_with_the_name_of_the_parameter(parameters: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        search(*parameters)


def test_endless_questions_are_refused() -> None:
    with pytest.raises(TooLargeError):
        search(*[("includefield", "all")] * (QUERY_PARAMETERS_MAX + 1))
    with pytest.raises(TooLargeError):
        search(("PatientID", "x" * (QUERY_VALUE_CHARS_MAX + 1)))
    with pytest.raises(TooLargeError):
        search(("includefield", ",".join(f"0029{number:04X}" for number in range(1001))))


names = st.one_of(
    st.sampled_from(["PatientName", "StudyDate", "StudyTime", "StudyInstanceUID", "limit", "offset", "includefield"]),
    st.sampled_from(["RequestAttributesSequence.ScheduledProcedureStepID", "00080201", "multiplevaluematching", "."]),
    st.text(max_size=10),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(names, st.text(max_size=12)), max_size=6), st.sampled_from(list(Resource)))
def test_any_query_string_is_understood_or_refused_as_a_request(
    parameters: list[tuple[str, str]], resource: Resource
) -> None:
    try:
        found = parse_search(resource, parameters)
    except RequestError:
        return
    assert found.query.level is resource.level
