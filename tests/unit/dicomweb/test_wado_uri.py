"""WADO-URI query strings."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError, RequestError, UnsupportedError
from fileroom.dicom import uids
from fileroom.dicom.display import Annotation, Window
from fileroom.dicomweb.media_types import AS_STORED, AcceptedType, Representation, choose
from fileroom.dicomweb.offers import instance_offers
from fileroom.dicomweb.wado_uri import Region, WadoUriRequest, parse_wado_uri

BASE = [("requestType", "WADO"), ("studyUID", "1.2"), ("seriesUID", "1.3"), ("objectUID", "1.4")]


def test_required_parameters_suffice() -> None:
    assert parse_wado_uri(BASE) == WadoUriRequest("1.2", "1.3", "1.4")  # type: ignore[arg-type]  # UID is a str


def test_rendering_parameters_are_read() -> None:
    found = parse_wado_uri(
        [
            *BASE,
            ("contentType", "image/png;q=0.5, image/jpeg"),
            ("frameNumber", "7"),
            ("rows", "512"),
            ("columns", "256"),
            ("region", "0.25,0.0,0.75,1"),
            ("windowCenter", "-600"),
            ("windowWidth", "1500"),
            ("imageQuality", "75"),
            ("annotation", "patient"),
            ("overlays", "true"),
            ("charset", "utf-8"),
            ("odd", "1"),
        ]
    )
    assert found.accepted == (AcceptedType("image/png", False, quality=0.5), AcceptedType("image/jpeg", False))
    assert (found.frame, found.rows, found.columns) == (7, 512, 256)
    assert found.region == Region(0.25, 0, 0.75, 1)
    assert found.rendering.window == Window(-600, 1500)
    assert found.rendering.quality == 75
    assert found.rendering.annotations == {Annotation.PATIENT}
    assert found.rendering.overlays
    assert found.warnings == ("the parameter odd is not known; it was ignored",)


@pytest.mark.parametrize(
    ("parameters", "syntax"),
    [
        ([("contentType", "application/dicom")], uids.EXPLICIT_VR_LITTLE_ENDIAN),
        ([("contentType", "application/dicom"), ("transferSyntax", "*")], AS_STORED),
        ([("transferSyntax", uids.JPEG_2000_LOSSLESS)], uids.JPEG_2000_LOSSLESS),
        ([("contentType", "application/dicom"), ("transferSyntax", uids.RLE_LOSSLESS)], uids.EXPLICIT_VR_LITTLE_ENDIAN),
    ],
)
def test_transfer_syntax_is_the_one_asked_for_or_the_default(parameters: list[tuple[str, str]], syntax: str) -> None:
    offers = instance_offers([uids.JPEG_2000_LOSSLESS], [uids.EXPLICIT_VR_LITTLE_ENDIAN], single=True)
    found = parse_wado_uri([*BASE, *parameters])
    assert choose(found.accepted, offers) == Representation("application/dicom", False, syntax)


def test_presentation_state_is_named_by_both_uids_and_alone() -> None:
    both = [("presentationUID", "1.5"), ("presentationSeriesUID", "1.6")]
    found = parse_wado_uri([*BASE, *both])
    assert (found.presentation_instance, found.presentation_series) == ("1.5", "1.6")
    with pytest.raises(InvalidRequestError, match="together"):
        parse_wado_uri([*BASE, both[0]])
    with pytest.raises(InvalidRequestError, match="presentation state"):
        parse_wado_uri([*BASE, *both, ("windowCenter", "1"), ("windowWidth", "2")])


def test_anonymize_is_refused_as_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="anonymize"):
        parse_wado_uri([*BASE, ("anonymize", "yes")])


@pytest.mark.parametrize("missing", range(4))
def test_missing_required_parameter_is_named(missing: int) -> None:
    parameters = [pair for index, pair in enumerate(BASE) if index != missing]
    with pytest.raises(InvalidRequestError, match=BASE[missing][0]):
        parse_wado_uri(parameters)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requestType", "GET"),
        ("objectUID", "../etc"),
        ("frameNumber", "0"),
        ("rows", "x"),
        ("region", "0,0,1"),
        ("region", "0.5,0,0.5,1"),
        ("region", "0,0,2,1"),
        ("windowCenter", "1"),
        ("imageQuality", "0"),
        ("transferSyntax", "JPEG"),
        ("contentType", "multipart/related; type=application/dicom"),
    ],
)
def test_bad_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_wado_uri([*(pair for pair in BASE if pair[0] != name), (name, value)])


names = st.sampled_from([name for name, _ in BASE] + ["region", "frameNumber", "contentType", "transferSyntax", "rows"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(names, st.text(alphabet="0123456789.,/;=* q-", max_size=12)), max_size=5))
def test_any_query_string_is_understood_or_refused_as_a_request(parameters: list[tuple[str, str]]) -> None:
    given_names = {name for name, _ in parameters}
    try:
        parse_wado_uri([*(pair for pair in BASE if pair[0] not in given_names), *parameters])
    except RequestError:
        pass
