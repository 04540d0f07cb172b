"""Rendering parameters and frame lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError, RequestError, TooLargeError
from fileroom.core.limits import FRAME_LIST_MAX
from fileroom.dicom.display import Annotation, Viewport, VoiFunction, Window
from fileroom.dicomweb.wado_params import (
    IccProfile,
    Rendering,
    parse_frame_list,
    parse_rendering,
    parse_viewport,
    parse_window,
)


def test_no_parameters_leave_all_to_the_server() -> None:
    assert parse_rendering([]) == Rendering()


def test_all_parameters_are_read() -> None:
    assert parse_rendering(
        [
            ("annotation", "patient,technique"),
            ("overlays", "true"),
            ("quality", "80"),
            ("viewport", "512,256,10,20.5,-100,"),
            ("window", "40,400,LINEAR-EXACT"),
            ("iccprofile", "srgb"),
            ("accept", "image/png"),
        ]
    ) == Rendering(
        frozenset({Annotation.PATIENT, Annotation.TECHNIQUE}),
        True,
        80,
        Viewport(512, 256, 10, 20.5, -100, None),
        Window(40, 400, VoiFunction.LINEAR_EXACT),
        IccProfile.SRGB,
    )


def test_unknown_parameters_and_annotations_are_ignored_with_a_warning() -> None:
    found = parse_rendering([("color", "red"), ("annotation", "scale,patient")])
    assert found.annotations == {Annotation.PATIENT}
    assert len(found.warnings) == 2


def test_thumbnail_knows_only_the_size() -> None:
    found = parse_rendering([("viewport", "128,128"), ("window", "1,2,linear")], thumbnail=True)
    assert found.viewport == Viewport(128, 128)
    assert found.window is None
    assert "window" in found.warnings[0]
    with pytest.raises(InvalidRequestError, match="vw,vh"):
        parse_rendering([("viewport", "128,128,0,0,1,1")], thumbnail=True)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1,2,3", "0,5", "a,b", "1.5,2", "5,5,-1,0,1,1", "5,5,0,0,0,1", "99999,5", "5,5,nan,0,1,1", "5,5,1,,,,"],
)
def test_malformed_viewport_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="viewport"):
        parse_viewport(text)


def test_window_function_may_be_left_out() -> None:
    assert parse_window("-600, 1.5e3") == Window(-600, 1500)
    assert parse_window("0.5,0.25,sigmoid") == Window(0.5, 0.25, VoiFunction.SIGMOID)


@pytest.mark.parametrize("text", ["", "1", "1,2,3,4", "1,2,cubic", "1,0,linear", "1,0.5,linear", "1,0,sigmoid", "x,2"])
def test_malformed_window_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="window"):
        parse_window(text)


@pytest.mark.parametrize(
    "parameter",
    [("quality", "0"), ("quality", "101"), ("quality", "high"), ("iccprofile", "cmyk"), ("overlays", "yes")],
)
def test_other_bad_values_are_refused_by_name(parameter: tuple[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match=parameter[0]):
        parse_rendering([parameter])
    with pytest.raises(InvalidRequestError, match="twice"):
        parse_rendering([("quality", "1"), ("quality", "2")])


def test_frame_list_keeps_its_order() -> None:
    assert parse_frame_list("5, 1,3") == (5, 1, 3)


@pytest.mark.parametrize("text", ["", "0", "-1", "1,", "1;2", "one", "2147483648", "١"])
def test_malformed_frame_list_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="frames"):
        parse_frame_list(text)


def test_endless_frame_list_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_frame_list(",".join(["1"] * (FRAME_LIST_MAX + 1)))


texts = st.text(alphabet="0123456789,.-+e linearsigmoid", max_size=24)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_any_text_is_understood_or_refused_as_a_request(text: str) -> None:
    for read in (parse_viewport, parse_window, parse_frame_list):
        try:
            read(text)
        except RequestError:
            pass
