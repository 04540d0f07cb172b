"""Several hundred odd objects through every door: kept ones come back bit by bit, refused ones are recorded with why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from acceptance.dicom_files import read_part10
from acceptance.programs.dicomweb import store
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.raw_scu import RawAssociation, StoreAnswer
from corpus.odd_objects import OddObject, Outcome, odd_objects

CONTEXTS_MAX = 128


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
    with RawAssociation(room.dicom_port, contexts) as assoc:
        for odd in batch:
            claim = announced[odd.name]
            answers[odd.name] = assoc.store(
                claim.sop_class_uid, claim.sop_instance_uid, claim.transfer_syntax_uid, odd.data_set
            )
    return answers


def _stored_dataset(room: Fileroom, sop_instance_uid: str) -> bytes | None:
    """The data set as it comes back over HTTP, None where the index has no such object."""
    found = room.rows(
        """SELECT s.study_instance_uid, e.series_instance_uid FROM instance i JOIN series e ON e.id = i.series
           JOIN study s ON s.id = e.study WHERE i.sop_instance_uid = %s""",
        sop_instance_uid,
    )
    if not found:
        return None
    study, series = found[0]
    url = f"{room.dicomweb}/studies/{study}/series/{series}/instances/{sop_instance_uid}"
    answer = httpx.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"}, timeout=60)
    if answer.status_code != 200:
        raise AssertionError(f"{answer.status_code} {answer.text[:300]}")
    return read_part10(answer.content).dataset


def test_every_object_is_answered_as_expected(by_dimse: dict[str, StoreAnswer]) -> None:
    wrong = []
    for odd in odd_objects():
        if odd.announced is None:
            continue
        answer = by_dimse[odd.name]
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
    wrong = []
    for odd in odd_objects():
        if odd.announced is None or by_dimse[odd.name].status != 0:
            continue
        try:
            same = _stored_dataset(odd_room, odd.announced.sop_instance_uid.rstrip("\0 ")) == odd.data_set
        except AssertionError as error:
            wrong.append(f"{odd.name}: {error}")
        else:
            if not same:
                wrong.append(f"{odd.name}: other bytes, or not in the index")
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)


def test_import_of_the_same_files_agrees(tmp_path: Path) -> None:
    files: dict[str, OddObject] = {}
    folder = tmp_path / "odd"
    folder.mkdir()
    for number, odd in enumerate(odd_objects()):
        (folder / f"{number:04d}.dcm").write_bytes(odd.data)
        files[f"{number:04d}.dcm"] = odd
    with Fileroom(tmp_path / "room", workers=1) as room:
        result = room.command("import", folder)
        assert result.returncode in (0, 1), result.stderr
        refused = {Path(row[0]).name for row in room.rows("SELECT sender FROM refusal WHERE received_by = 'import'")}
        wrong = [
            f"{odd.name}: {'refused' if name in refused else 'kept'}, expected {odd.expectation.outcome.value}"
            for name, odd in files.items()
            if _judged_alike_as_file(odd) and (name in refused) != (odd.expectation.outcome is Outcome.REFUSED)
        ]
    assert not wrong, f"{len(wrong)} objects:\n" + "\n".join(wrong)


def _judged_alike_as_file(odd: OddObject) -> bool:
    """Of a file it is the data set that tells what it is: what is announced wrongly by DIMSE may be imported."""
    return odd.expectation.firm and not odd.name.startswith(
        ("uid/instance-differs", "uid/class-differs", "uid/instance-is")
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
