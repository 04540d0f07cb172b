"""The corpus of odd objects is what it says: many, distinct, repeatable, and each odd in the way its name tells."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from itertools import accumulate

import pydicom
import pytest
from pydicom.errors import InvalidDicomError

from corpus.elements import Body
from corpus.odd_objects import OddObject, Outcome, odd_objects


@pytest.fixture(scope="module")
def all_odd() -> dict[str, OddObject]:
    return {odd.name: odd for odd in odd_objects()}


def test_there_are_several_hundred_with_distinct_names_and_contents(all_odd: dict[str, OddObject]) -> None:
    assert len(all_odd) > 600
    names = Counter(odd.name for odd in odd_objects())
    assert [name for name, count in names.items() if count > 1] == []
    contents = Counter(hashlib.sha256(odd.data).digest() for odd in all_odd.values())
    doubles = [o.name for o in all_odd.values() if contents[hashlib.sha256(o.data).digest()] > 1]
    assert doubles == []


def test_the_same_bytes_come_every_time(all_odd: dict[str, OddObject]) -> None:
    for odd in odd_objects():
        assert odd.data == all_odd[odd.name].data


def test_every_kept_object_that_can_be_sent_is_told_apart_by_its_instance_uid(all_odd: dict[str, OddObject]) -> None:
    kept = [o for o in all_odd.values() if o.announced and o.expectation.outcome is Outcome.KEPT]
    uids = Counter(o.announced.sop_instance_uid for o in kept if o.announced)
    assert [uid for uid, count in uids.items() if count > 1] == []


def test_refusals_name_a_failure_status_and_acceptances_success(all_odd: dict[str, OddObject]) -> None:
    for odd in all_odd.values():
        refused = odd.expectation.outcome is Outcome.REFUSED
        assert odd.expectation.allows(0x0000) is not refused
        assert odd.expectation.allows(0xA900) or odd.expectation.allows(0xC001) or not refused


def test_kept_objects_hold_the_announced_uid_for_an_independent_reader(all_odd: dict[str, OddObject]) -> None:
    unread = []
    for odd in all_odd.values():
        if odd.announced is None or odd.expectation.outcome is Outcome.REFUSED or not odd.expectation.firm:
            continue
        try:
            ds = pydicom.dcmread(io.BytesIO(odd.data), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
            found = str(ds.get("SOPInstanceUID", "")).strip("\0 ")
        except (InvalidDicomError, ValueError, EOFError, RecursionError, KeyError, NotImplementedError, OSError):
            unread.append(odd.name)
            continue
        if found != odd.announced.sop_instance_uid:
            unread.append(odd.name)
    # Nesting of 1,000 levels is beyond that reader; a VR of LO or UN for the UID is read as such.
    assert [name for name in unread if not name.startswith(("nested/1000", "vr/instance-uid"))] == []


def test_right_character_sets_read_as_meant_for_an_independent_reader(all_odd: dict[str, OddObject]) -> None:
    # That reader leaves the escape of ISO 2022 IR 58 in the text.
    wrong = []
    for odd in all_odd.values():
        if (
            not odd.name.startswith("charset/")
            or "ir58" in odd.name
            or odd.expectation.patient_name is None
            or not odd.expectation.firm
        ):
            continue
        name = str(pydicom.dcmread(io.BytesIO(odd.data), stop_before_pixels=True).PatientName)
        if name.rstrip("=") != odd.expectation.patient_name.rstrip("="):
            wrong.append((odd.name, name))
    assert wrong == []


def test_cut_objects_end_inside_an_element(all_odd: dict[str, OddObject]) -> None:
    for name in ("cut/in-pixels-last-byte-explicit", "cut/header-47-percent-explicit"):
        whole, cut = Body(name).encoded(), all_odd[name].data_set
        assert whole.startswith(cut)
        assert 0 < len(cut) < len(whole)
        edges = accumulate(len(Body(name).elements[tag]) for tag in sorted(Body(name).elements))
        assert len(cut) not in set(edges)


def test_nesting_is_as_deep_as_named(all_odd: dict[str, OddObject]) -> None:
    data = all_odd["nested/1000-undefined-explicit"].data_set
    assert data.count(bytes.fromhex("feff0de000000000")) == 1000


def test_files_without_announcement_are_whole_files(all_odd: dict[str, OddObject]) -> None:
    for odd in all_odd.values():
        if odd.announced is None:
            assert odd.data_set_offset == 0
        else:
            assert odd.data[128:132] == b"DICM"
