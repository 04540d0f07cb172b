"""Content negotiation: what peers really send, what the standard says, and nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.core.errors import InvalidRequestError, RequestError, TooLargeError
from fileroom.dicom import uids
from fileroom.dicomweb.media_types import (
    ANYTHING,
    AS_STORED,
    AcceptedType,
    MediaType,
    Representation,
    choose,
    parse_accept,
    parse_media_type,
)
from fileroom.dicomweb.offers import (
    METADATA_OFFERS,
    STORE_RESPONSE_OFFERS,
    THUMBNAIL_OFFERS,
    bulk_data_offers,
    frame_offers,
    instance_offers,
    pixel_data_offers,
    rendered_offers,
)

ELE = uids.EXPLICIT_VR_LITTLE_ENDIAN
J2K = uids.JPEG_2000_LOSSLESS


def pick(accept: str | None, offered: tuple[Representation, ...], query: str | None = None) -> Representation | None:
    return choose(parse_accept(accept, query), offered)


# --- reading ---


def test_content_type_is_read_with_and_without_quotation_marks() -> None:
    expected = MediaType("multipart/related", (("type", "application/dicom"), ("boundary", "x y")))
    assert parse_media_type('Multipart/Related; type="application/dicom"; boundary="x y"') == expected
    assert parse_media_type('multipart/related;TYPE=application/dicom ;; boundary="x\\ y";') == expected


@pytest.mark.parametrize("text", ["", "dicom", "application/", "a/b c", "a/b, c/d", "*/*", 'a/b; x="y', "a/b; =c"])
def test_malformed_content_type_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_media_type(text)


def test_absent_or_empty_accept_means_anything() -> None:
    assert parse_accept(None) == parse_accept("  ") == parse_accept(" , ,") == (ANYTHING,)


def test_accept_parameters_are_taken_out_of_multipart_related() -> None:
    text = 'multipart/related; type="image/jp2"; transfer-syntax=1.2.840.10008.1.2.4.90; q=0.5, application/json;q=0'
    assert parse_accept(text) == (
        AcceptedType("image/jp2", True, J2K, None, 0.5),
        AcceptedType("application/json", False, None, None, 0.0),
    )


def test_default_accept_of_old_java_clients_is_understood() -> None:
    accepted = parse_accept("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2")
    assert accepted[-1] == accepted[-2] == AcceptedType("*/*", None, quality=0.2)


def test_accept_query_parameter_stands_in_place_of_the_header_and_may_have_lost_its_plus() -> None:
    assert pick("text/html", METADATA_OFFERS, "application/dicom json") == Representation("application/dicom+json")


@pytest.mark.parametrize("text", ["dicom", "a/b; q=high", "a/b; q=1.x", "a/b c/d", "multipart/related; type=dicom"])
def test_malformed_accept_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_accept(text)


def test_endless_accept_is_refused() -> None:
    with pytest.raises(TooLargeError):
        parse_accept("a/b," * 201)
    with pytest.raises(TooLargeError):
        parse_accept("a/b" + ";c=d" * 17)
    with pytest.raises(TooLargeError):
        parse_accept("a" * 20_000)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(alphabet='a/*;=,"\\ q.1', max_size=40)))
def test_any_text_is_understood_or_refused_as_a_request(text: str) -> None:
    for read in (parse_accept, parse_media_type):
        try:
            read(text)
        except RequestError:
            pass


# --- instances ---

STORED_J2K = instance_offers([J2K], [ELE], single=True)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ('multipart/related; type="application/dicom"', Representation("application/dicom", True, ELE)),
        ("multipart/related; type=application/dicom", Representation("application/dicom", True, ELE)),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            Representation("application/dicom", True, AS_STORED),
        ),
        (
            f"multipart/related; type=application/dicom; transfer-syntax={J2K}",
            Representation("application/dicom", True, J2K),
        ),
        ("application/dicom", Representation("application/dicom", False, ELE)),
        ("application/dicom; transfer-syntax=*", Representation("application/dicom", False, AS_STORED)),
        ("application/zip", Representation("application/zip", False, AS_STORED)),
        ("*/*", Representation("application/dicom", True, AS_STORED)),
        (None, Representation("application/dicom", True, AS_STORED)),
        (f'multipart/related; type="application/dicom"; transfer-syntax={uids.RLE_LOSSLESS}', None),
        ("image/png", None),
        ("application/dicom;q=0, */*;q=0", None),
    ],
)
def test_instance_is_sent_as_asked(accept: str | None, expected: Representation | None) -> None:
    assert pick(accept, STORED_J2K) == expected


def test_instance_that_cannot_be_decoded_is_sent_as_stored_where_the_default_is_asked() -> None:
    video = instance_offers([uids.TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.102"].uid], [], single=False)
    chosen = pick('multipart/related; type="application/dicom"', video)
    assert chosen == Representation("application/dicom", True, AS_STORED)


def test_implicit_instance_counts_as_explicit() -> None:
    offers = instance_offers([uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN], [], single=False)
    assert pick(f"multipart/related; type=application/dicom; transfer-syntax={ELE}", offers) == Representation(
        "application/dicom", True, ELE
    )
    asked = f"multipart/related; type=application/dicom; transfer-syntax={uids.IMPLICIT_VR_LITTLE_ENDIAN}"
    assert pick(asked, offers) is None


def test_study_of_mixed_syntaxes_offers_only_what_each_instance_can_be_brought_to() -> None:
    offers = instance_offers([J2K, ELE], [ELE], single=False)
    assert pick(f"multipart/related; type=application/dicom; transfer-syntax={J2K}", offers) is None
    assert pick("application/dicom", offers) is None  # several instances do not fit in a single part


# --- frames ---

FRAME_J2K = frame_offers(J2K, [ELE, uids.JPEG_LS_LOSSLESS], single=True)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ('multipart/related; type="*/*"', Representation("application/octet-stream", True, ELE)),
        ("*/*", Representation("application/octet-stream", True, ELE)),
        (None, Representation("application/octet-stream", True, ELE)),
        ("*/*; transfer-syntax=*", Representation("image/jp2", True, J2K)),
        ('multipart/related; type="*/*"; transfer-syntax=*', Representation("image/jp2", True, J2K)),
        ("image/jp2, */*;q=0.1", Representation("image/jp2", False, J2K)),
        ("multipart/related; type=application/octet-stream", Representation("application/octet-stream", True, ELE)),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            Representation("application/octet-stream", True, J2K),
        ),
        ('multipart/related; type="image/*"', Representation("image/jp2", True, J2K)),
        ("image/jp2", Representation("image/jp2", False, J2K)),
        ('multipart/related; type="image/jls"', Representation("image/jls", True, uids.JPEG_LS_LOSSLESS)),
        ('multipart/related; type="image/jpeg"', None),
        (
            f'multipart/related; type="image/jpeg"; transfer-syntax={uids.JPEG_BASELINE}, '
            f'multipart/related; type="application/octet-stream"; transfer-syntax={ELE}',
            Representation("application/octet-stream", True, ELE),
        ),
    ],
)
def test_frame_is_sent_as_asked(accept: str | None, expected: Representation | None) -> None:
    assert choose(parse_accept(accept), FRAME_J2K, "application/octet-stream") == expected


def test_film_that_is_not_decoded_is_sent_as_it_is_to_who_takes_anything() -> None:
    offers = frame_offers("1.2.840.10008.1.2.4.102", [], single=True)
    chosen = choose(parse_accept("*/*"), offers, "application/octet-stream")
    assert chosen == Representation("video/mp4", True, "1.2.840.10008.1.2.4.102")


def test_all_frames_may_be_one_value_only_uncompressed() -> None:
    several = pixel_data_offers(J2K, [ELE, uids.JPEG_LS_LOSSLESS], frames=2)
    for accept in ("application/octet-stream", "application/octet-stream; transfer-syntax=*"):
        assert pick(accept, several) == Representation("application/octet-stream", False, ELE)
    assert pick("image/jp2", several) is None
    assert pick("application/octet-stream", pixel_data_offers("1.2.840.10008.1.2.4.102", [], frames=2)) is None
    assert pick("image/jp2", pixel_data_offers(J2K, [ELE], frames=1)) == Representation("image/jp2", False, J2K)


def test_lossy_jpeg_is_sent_as_it_is_to_who_asks_for_jpeg() -> None:
    offers = frame_offers(uids.JPEG_BASELINE, [ELE, uids.JPEG_LOSSLESS_SV1], single=True)
    assert pick("image/jpeg", offers) == Representation("image/jpeg", False, uids.JPEG_BASELINE)


def test_native_frame_is_an_octet_stream_in_explicit_little_endian() -> None:
    for stored in (uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, ELE):
        offers = frame_offers(stored, [], single=False)
        assert offers == (Representation("application/octet-stream", True, ELE),)


def test_video_may_be_asked_for_by_both_names_of_mpeg2() -> None:
    offers = frame_offers("1.2.840.10008.1.2.4.100", [], single=True)
    assert pick("video/mpeg", offers) == pick("video/mpeg2", offers) != None  # noqa: E711


# --- the rest ---


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/dicom+json", Representation("application/dicom+json")),
        ("application/json", Representation("application/json")),
        ("application/dicom+json, application/json", Representation("application/dicom+json")),
        ("application/json;q=0.9, application/dicom+json;q=0.8", Representation("application/json")),
        ('multipart/related; type="application/dicom+xml"', Representation("application/dicom+xml", True)),
        ("application/dicom+json; charset=utf-8", Representation("application/dicom+json")),
        ("application/dicom+json; charset=iso-8859-1", None),
        ("*/*", Representation("application/dicom+json")),
        ("text/html, application/*;q=0.8", Representation("application/dicom+json")),
        ("text/html", None),
    ],
)
def test_metadata_is_sent_as_asked(accept: str, expected: Representation | None) -> None:
    assert pick(accept, METADATA_OFFERS) == expected


def test_more_specific_member_overrules_the_wildcard() -> None:
    assert pick("image/*, image/jpeg;q=0", rendered_offers(multi_frame=False, several=False)) == Representation(
        "image/png"
    )


def test_rendered_thumbnail_bulk_data_and_store_response_have_their_defaults() -> None:
    assert pick(None, rendered_offers(multi_frame=False, several=False)) == Representation("image/jpeg")
    assert pick(None, rendered_offers(multi_frame=True, several=False)) == Representation("image/gif")
    assert pick("image/png", THUMBNAIL_OFFERS) == Representation("image/png")
    assert pick("application/dicom+xml", STORE_RESPONSE_OFFERS) == Representation("application/dicom+xml")
    assert pick("application/pdf", bulk_data_offers("application/pdf")) == Representation("application/pdf")
    assert pick("multipart/related; type=application/octet-stream", bulk_data_offers()) == Representation(
        "application/octet-stream", True, ELE
    )


def test_content_type_of_the_answer_names_type_boundary_and_transfer_syntax() -> None:
    several = Representation("application/dicom", True, AS_STORED)
    assert several.body_content_type("abc") == 'multipart/related; type="application/dicom"; boundary=abc'
    assert several.part_content_type(J2K) == f"application/dicom; transfer-syntax={J2K}"
    assert Representation("image/jp2", False, J2K).body_content_type() == f"image/jp2; transfer-syntax={J2K}"
    assert Representation("image/png").body_content_type() == "image/png"
