"""Names, dates, times and moments in one spelling."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fileroom.dicom.normal_forms import (
    datetime_bounds,
    normalize_date,
    normalize_datetime,
    normalize_name,
    normalize_time,
    time_bounds,
    to_utc,
)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("DOE^JOHN", "Doe^John^^^"),
        ("Doe^John", " doe ^ john =="),
        ("Müller", "MULLER"),
        ("Strauß", "STRAUSS"),
        ("Ødegård^Søren", "ODEGARD^SOREN"),
        ("Łukasz", "lukasz"),
        ("Æsir", "aesir"),
        ("Øyvind Þór", "oyvind  thor"),
        ("Δημήτρης", "ΔΗΜΗΤΡΗΣ"),
        ("Люся", "ЛЮСЯ"),
        ("İstanbul", "istanbul"),
        ("ﾔﾏﾀﾞ", "ヤマダ"),
        ("ＤＯＥ", "doe"),
        ("O’Neil", "O'NEIL"),
    ],
)
def test_names_that_people_hold_for_equal_have_one_form(first, second):
    assert normalize_name(first) == normalize_name(second)


@pytest.mark.parametrize(
    ("first", "second"), [("か", "が"), ("홍^길동", "홍^길순"), ("Doe^J", "Doe^^J"), ("A=B", "A^B")]
)
def test_names_that_differ_stay_apart(first, second):
    assert normalize_name(first) != normalize_name(second)


def test_groups_stay_in_place():
    assert normalize_name("Yamada^Tarou=山田^太郎=") == "yamada^tarou=山田^太郎"
    assert normalize_name("=山田") == "=山田"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_normal_form_of_a_normal_form_is_itself(text):
    once = normalize_name(text)

    assert normalize_name(once) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20200229", "20200229"),
        ("2020.02.29", "20200229"),
        (" 20200229 ", "20200229"),
        ("20210229", None),
        ("20201301", None),
        ("00000000", None),
        ("2020", None),
        ("", None),
        ("２０２００２２９", None),
    ],
)
def test_dates(text, expected):
    assert normalize_date(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", "100000"),
        ("1015", "101500"),
        ("101530", "101530"),
        ("101530.500", "101530.5"),
        ("101530.000000", "101530"),
        ("10:15:30", "101530"),
        ("10:15:30.25", "101530.25"),
        ("235960", "235960"),
        ("24", None),
        ("1060", None),
        ("1", None),
        ("", None),
        ("101530.1234567", None),
    ],
)
def test_times(text, expected):
    assert normalize_time(text) == expected


@pytest.mark.parametrize(
    ("text", "timezone", "expected"),
    [
        ("2020", None, "20200101000000"),
        ("20200315", None, "20200315000000"),
        ("20200315101530.25", None, "20200315101530.25"),
        ("20200315101530+0200", None, "20200315081530"),
        ("20200315101530", "+0200", "20200315081530"),
        ("20200315101530-0500", "+0200", "20200315151530"),
        ("20200315101530+2500", None, None),
        ("2020031", None, None),
        ("20201301", None, None),
        ("2020031525", None, None),
        ("", None, None),
    ],
)
def test_moments(text, timezone, expected):
    assert normalize_datetime(text, timezone) == expected


def test_date_and_time_become_a_moment_in_utc():
    assert to_utc("20200101", "003000.5", "+0100") == "20191231233000.5"
    assert to_utc("20200101", "", None) == "20200101000000"
    assert to_utc("", "10", None) is None


@settings(max_examples=100, deadline=None)
@given(st.datetimes(min_value=dt.datetime(1000, 1, 2), max_value=dt.datetime(9999, 12, 30)), st.integers(-47, 56))
def test_moments_agree_with_the_calendar(moment, quarters):
    sign, minutes = ("-" if quarters < 0 else "+"), abs(quarters) * 15
    text = f"{moment:%Y%m%d%H%M%S}{sign}{minutes // 60:02}{minutes % 60:02}"

    utc = moment.replace(microsecond=0) - dt.timedelta(minutes=quarters * 15)

    assert normalize_datetime(text) == f"{utc:%Y%m%d%H%M%S}"


@settings(max_examples=100, deadline=None)
@given(st.times(), st.sampled_from(["%H", "%H%M", "%H%M%S", "%H%M%S.%f"]))
def test_every_time_lies_within_the_bounds_of_its_shorter_forms(moment, form):
    bounds = time_bounds(moment.strftime(form))
    full = normalize_time(moment.strftime("%H%M%S.%f"))

    assert bounds.lower <= full <= bounds.upper


def test_bounds_of_a_month_know_its_length():
    assert datetime_bounds("202102").upper == "20210228235960.999999"
