"""What may be said of a feed, whom a sender names, and what a feed out forwards."""

from __future__ import annotations

import pytest

from fileroom.core.errors import InvalidRequestError
from fileroom.feeds.feed_fields import checked_fields, incoming, outgoing, sender_from_text


@pytest.mark.parametrize(
    ("text", "application", "facility", "address", "is_named"),
    [
        ("RIS|HOSP@10.1.0.0/16", "RIS", "HOSP", "10.1.2.3", True),
        ("RIS|HOSP@10.1.0.0/16", "RIS", "HOSP", "10.2.2.3", False),
        ("RIS|HOSP@10.1.0.0/16", "RIS", "OTHER", "10.1.2.3", False),
        ("RIS", "RIS", "", "203.0.113.9", True),
        ("RIS", "ris", "", "203.0.113.9", False),
        ("|HOSP", "ANY", "HOSP", "203.0.113.9", True),
        ("*|*@2001:db8::/32", "", "", "2001:db8::7", True),
        ("@10.0.0.5", "X", "Y", "::ffff:10.0.0.5", True),
        ("@10.0.0.5", "X", "Y", "no address", False),
    ],
)
def test_sender_is_named_by_application_facility_and_network(
    text: str, application: str, facility: str, address: str, is_named: bool
) -> None:
    assert sender_from_text(text).names(application, facility, address) is is_named


@pytest.mark.parametrize("text", ["", "*", "|", "@", "*|*@*", "RIS@10.0.0.0/99", "a\tb", "x" * 400])
def test_sender_that_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="sender"):
        sender_from_text(text)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"direction": "both"}, "direction is one of in, out"),
        ({"direction": "in", "host": "ris"}, "no field host"),
        ({"direction": "in", "tls": "on"}, "port of the feed's own"),
        ({"direction": "in", "port": 70000}, "port is a whole number"),
        ({"direction": "in", "keep_days": 0}, "keep_days is a whole number"),
        ({"direction": "in", "senders": ["*"]}, "names nobody"),
        ({"direction": "in", "senders": [1]}, "senders is a text"),
        ({"direction": "out", "host": "", "port": 1}, "needs the host"),
        ({"direction": "out", "host": "a b", "port": 1}, "needs the host"),
        ({"direction": "out", "host": "ris"}, "needs the port"),
        ({"direction": "out", "host": "ris", "port": 1, "kinds": ["ADT A08"]}, "no kind of message"),
        ({"direction": "out", "host": "ris", "port": True}, "port is a whole number"),
    ],
)
def test_wrong_fields_are_told(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        checked_fields(fields)


def test_texts_of_a_form_become_numbers_and_lists() -> None:
    checked = checked_fields({"direction": "in", "port": "2600", "senders": "RIS\r\n\r\nHIS|A\r\nRIS", "keep_days": ""})
    assert (checked["port"], checked["senders"], checked["keep_days"]) == (2600, ["RIS", "HIS|A"], 90)
    assert checked_fields(checked) == checked


def test_feed_with_a_port_of_its_own_and_no_sender_takes_everybody_who_calls_it() -> None:
    assert incoming("ris", checked_fields({"direction": "in", "port": 2600})).names("X", "Y", "203.0.113.9")
    assert not incoming("ris", checked_fields({"direction": "in"})).names("X", "Y", "203.0.113.9")


@pytest.mark.parametrize(
    ("kinds", "kind", "goes"),
    [
        ([], "ADT^A08", False),
        (["*"], "ADT^A08", True),
        (["ADT"], "ADT^A08", True),
        (["adt^*"], "ADT^A08", True),
        (["ADT^A08"], "ADT^A04", False),
        (["ORM"], "ORMX^O01", False),
    ],
)
def test_feed_out_forwards_the_kinds_that_it_names(kinds: list[str], kind: str, goes: bool) -> None:
    fields = checked_fields({"direction": "out", "host": "ward", "port": 2575, "kinds": kinds})
    assert outgoing("ward", fields).forwards("ris", kind) is goes


def test_feed_out_forwards_from_the_feeds_that_it_names() -> None:
    fields = checked_fields({"direction": "out", "host": "ward", "port": 2575, "kinds": "*", "sources": ["ris"]})
    assert outgoing("ward", fields).forwards("ris", "ADT^A08")
    assert not outgoing("ward", fields).forwards("his", "ADT^A08")
    assert not outgoing("ward", fields, enabled=False).forwards("ris", "ADT^A08")
