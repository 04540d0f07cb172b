"""What is accepted from whom: services, storage classes known and unknown, abilities, titles."""

from __future__ import annotations

import pytest

from fileroom.core.settings import Settings
from fileroom.dicom import uids
from fileroom.scp import offer
from fileroom.ul.items import ExtendedNegotiation


def rule(abstract_syntax: str, **settings: bool) -> object:
    return offer.policy(Settings(**settings), caller_is_known=True).rule_of(abstract_syntax)  # type: ignore[arg-type]


QUERY_RETRIEVE = (*offer.QUERY_RETRIEVE_FIND, *offer.QUERY_RETRIEVE_MOVE, *offer.QUERY_RETRIEVE_GET)


@pytest.mark.parametrize("service", [uids.VERIFICATION, uids.STORAGE_COMMITMENT_PUSH, *QUERY_RETRIEVE])
def test_services_are_accepted_in_the_uncompressed_syntaxes(service: str) -> None:
    found = rule(service)
    assert found is not None
    assert found.transfer_syntaxes == offer.MESSAGE_TRANSFER_SYNTAXES  # type: ignore[attr-defined]


def test_every_storage_class_is_accepted_in_every_transfer_syntax_as_scu_and_scp() -> None:
    for uid in uids.STORAGE_SOP_CLASSES:
        found = rule(uid)
        assert found is not None, uid
        assert set(found.transfer_syntaxes) == set(uids.TRANSFER_SYNTAXES)  # type: ignore[attr-defined]
        assert found.requestor_may_be_scp  # type: ignore[attr-defined]


def test_what_needs_no_decoder_comes_first() -> None:
    assert offer.STORAGE_TRANSFER_SYNTAXES[:2] == (uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN)
    assert len(set(offer.STORAGE_TRANSFER_SYNTAXES)) == len(offer.STORAGE_TRANSFER_SYNTAXES)


@pytest.mark.parametrize("unknown", ["1.2.3.4.5", "2.25.1234", "1.2.840.10008.5.1.4.1.1.9999"])
def test_unknown_storage_classes_are_a_setting(unknown: str) -> None:
    assert rule(unknown) is not None
    assert rule(unknown, accept_unknown_sop_classes=False) is None


@pytest.mark.parametrize(
    "other", ["1.2.840.10008.5.1.4.34.6.9", "1.2.840.10008.3.1.2.3.5", "1.2.840.10008.5.1.1.9", "1.2.840.10008.1.2.1"]
)
def test_services_of_the_standard_that_we_do_not_have_are_not_taken_for_storage(other: str) -> None:
    assert rule(other) is None


def test_callers_and_titles() -> None:
    known = offer.policy(Settings(aet="HERE"), caller_is_known=True)
    assert known.called_aets == {"HERE"}
    assert known.calling_aets is None
    assert offer.policy(Settings(called_aet_check=False), caller_is_known=True).called_aets is None
    assert offer.policy(Settings(), caller_is_known=False).calling_aets == frozenset()


@pytest.mark.parametrize(
    ("sop_class", "asked", "answered"),
    [
        (uids.STUDY_ROOT_FIND, b"\1\1\1\1", b"\1\1\1\1"),
        (uids.STUDY_ROOT_FIND, b"\0\1\0\1", b"\0\1\0\1"),
        (uids.PATIENT_ROOT_FIND, b"\1", b"\1"),
        (uids.PATIENT_ROOT_FIND, b"", b""),
        (uids.PATIENT_ROOT_FIND, b"\1\1\1\1\1\1\1", b"\1\1\1\1"),
        (uids.PATIENT_ROOT_FIND, b"\2\xff\1", b"\0\0\1"),
        (uids.STUDY_ROOT_MOVE, b"\1\1\1", b"\1"),
        (uids.STUDY_ROOT_GET, b"\0", b"\0"),
        (uids.VERIFICATION, b"\1", None),
        ("1.2.840.10008.5.1.4.1.1.2", b"\1", None),
    ],
)
def test_abilities_asked_for_are_agreed_where_the_standard_has_them(
    sop_class: str, asked: bytes, answered: bytes | None
) -> None:
    assert offer.answer_extended(ExtendedNegotiation(sop_class, asked)) == answered
