"""Several hundred odd objects through every door: kept ones come back bit by bit, refused ones are recorded with why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset

from acceptance.dicom_files import Part10
from acceptance.programs.dicomweb import store
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.pynetdicom_peer import get_instances
from acceptance.programs.raw_scu import RawAssociation, StoreAnswer
from corpus.odd_objects import Announced, OddObject, Outcome, odd_objects

CONTEXTS_MAX = 128
RESOURCES = {
    "": "application/dicom; transfer-syntax=*",
    "/metadata": "application/dicom+json",
    "/rendered": "image/jpeg",
}


@pytest.fixture(scope="module")
def odd_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """A Fileroom for odd objects only: their UIDs are theirs alone."""
    with Fileroom(tmp_path_factory.mktemp("odd"), workers=1) as running:
        yield running


@pytest.fixture(scope="module")
def by_dimse(odd_room: Fileroom) -> dict[str, StoreAnswer]:
    """The answer to the C-STORE of each object that can be sent, by the object's name."""
    answers: dict[str, StoreAnswer] = {}
    sendable = [odd for odd in odd_objects() if odd.announced is not None]
    for start in range(0, len(sendable), CONTEXTS_MAX):
        answers |= _send(odd_room, sendable[start : start + CONTEXTS_MAX])
    return answers


def _send(room: Fileroom, batch: list[OddObject]) -> dict[str, StoreAnswer]:
    announced = {odd.name: odd.announced for odd in batch if odd.announced is not None}
    contexts = list(dict.fromkeys((a.sop_class_uid, a.transfer_syntax_uid) for a in announced.values()))
    answers: dict[str, StoreAnswer] = {}
    assoc = RawAssociation(room.dicom_port, contexts)
    for odd in batch:
        claim = announced[odd.name]
        answer = assoc.store(claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid, odd.data_set)
        answers[odd.name] = answer
        if assoc.has_ended:  # One object that ends it must not hide what the others would get.
            assoc.close()
            assoc = RawAssociation(room.dicom_port, contexts)
    assoc.release()
    return answers


def test_every_object_is_answered_as_expected(by_dimse: dict[str, StoreAnswer]) -> None:
    wrong = []
    for odd in odd_objects():
        if odd.announced is None:
            continue
        answer = by_dimse[odd.name]
        if answer.status is None and not odd.announced.sop_instance_uid.isascii():
            continue  # Such a command is no command (PS3.7 6.3, PS3.5 6.2): the association is aborted.
        if answer.status is None or not odd.expectation.allows(answer.status):
            shown = "none" if answer.status is None else f"{answer.status:04X}"
            wrong.append(f"{odd.name}: {shown} {answer.comment!r}, expected {odd.expectation.statuses}")
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)


def test_refusals_carry_a_comment_and_are_recorded(odd_room: Fileroom, by_dimse: dict[str, StoreAnswer]) -> None:
    refused = [name for name, answer in by_dimse.items() if answer.status]
    assert refused
    assert [name for name in refused if not by_dimse[name].comment] == []
    (count,) = odd_room.rows("SELECT count(*) FROM refusal WHERE received_by = 'dimse' AND reason <> ''")[0]
    assert count >= len(refused)


def test_what_was_kept_comes_back_bit_identical(odd_room: Fileroom, by_dimse: dict[str, StoreAnswer]) -> None:
    kept = [odd for odd in odd_objects() if odd.announced is not None and by_dimse[odd.name].status == 0]
    received: dict[str, Part10] = {}
    for start in range(0, len(kept), CONTEXTS_MAX - 1):
        received |= _get(odd_room, [odd.announced for odd in kept[start : start + CONTEXTS_MAX - 1]])
    wrong = []
    for odd in kept:
        part = received.get(_clean(odd.announced))
        if part is None:
            wrong.append(f"{odd.name}: did not come")
        elif (part.transfer_syntax_uid, part.dataset) != (odd.announced.transfer_syntax_uid, odd.data_set):
            wrong.append(f"{odd.name}: came with other bytes")
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)


def _get(room: Fileroom, announced: Sequence[Announced]) -> dict[str, Part10]:
    """C-GET of these objects, each in the transfer syntax that it was sent in."""
    contexts = list(dict.fromkeys((claim.sop_class_uid, claim.transfer_syntax_uid) for claim in announced))
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.SOPInstanceUID = [_clean(claim) for claim in announced]
    return get_instances(room.dicom_port, contexts, identifier)


def _clean(announced: Announced) -> str:
    return announced.sop_instance_uid.rstrip("\0 ")


def test_what_was_kept_is_answered_by_every_web_resource(odd_room: Fileroom, by_dimse: dict[str, StoreAnswer]) -> None:
    """Implicit and big endian objects must be converted for the web; what is too odd for that is refused, not broken."""
    paths = {
        row[0]: f"studies/{row[1]}/series/{row[2]}/instances/{row[0]}"
        for row in odd_room.rows(
            """SELECT i.sop_instance_uid, s.study_instance_uid, e.series_instance_uid
               FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"""
        )
    }
    wrong = []
    with httpx.Client(base_url=odd_room.dicomweb + "/", timeout=60) as client:
        for odd in odd_objects():
            if odd.announced is None or by_dimse[odd.name].status != 0:
                continue
            for resource, accept in RESOURCES.items():
                try:
                    answer = client.get(paths[_clean(odd.announced)] + resource, headers={"Accept": accept})
                except httpx.TransportError as error:
                    wrong.append(f"{odd.name}{resource}: broke off, {error}")
                else:
                    if answer.status_code not in (200, 404, 406, 409, 413):
                        wrong.append(f"{odd.name}{resource}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, f"{len(wrong)} answers:\n" + "\n".join(wrong)


def test_import_of_the_same_files_agrees(tmp_path: Path) -> None:
    files: dict[str, OddObject] = {}
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, odd in enumerate(odd_objects()):
        (folder / f"{number:04d}.dcm").write_bytes(odd.data)
        files[f"{number:04d}.dcm"] = odd
    with Fileroom(tmp_path / "room", workers=1) as room:
        result = room.command("import", "--json", folder)
        assert result.returncode in (0, 1), result.stderr
        refused = {Path(each["path"]).name for each in json.loads(result.stdout)["refused"]}
        wrong = [
            f"{odd.name}: {'refused' if name in refused else 'kept'}, expected {odd.expectation.outcome.value}"
            for name, odd in files.items()
            if _judged_alike_as_file(odd) and (name in refused) != (odd.expectation.outcome is Outcome.REFUSED)
        ]
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)


def _judged_alike_as_file(odd: OddObject) -> bool:
    """Of a file it is the data set that tells what it is: what is announced wrongly by DIMSE may be imported.

    A ZIP file is opened, and this one is empty.
    """
    return odd.expectation.firm and not odd.name.startswith(
        ("uid/instance-differs", "uid/class-differs", "uid/instance-is", "no-dicom/zip")
    )


def test_stow_of_odd_objects_answers_every_one(tmp_path: Path) -> None:
    objects = [odd for odd in odd_objects() if odd.announced is not None and len(odd.data) < 1_000_000]
    with Fileroom(tmp_path / "room", workers=1) as room:
        wrong = []
        for odd in objects:
            answer = store(room.dicomweb, [odd.data])
            if answer.status_code not in (200, 202, 400, 409, 415):
                wrong.append(f"{odd.name}: {answer.status_code} {answer.text[:200]}")
            elif (
                odd.expectation.firm
                and odd.expectation.outcome is Outcome.KEPT
                and answer.status_code not in (200, 202)
            ):
                wrong.append(f"{odd.name}: {answer.status_code}, expected to be kept: {answer.text[:200]}")
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)
