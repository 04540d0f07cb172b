"""Files in a folder: the contract, names made of hostile values, a full disk, shares that are not mounted."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from fileroom.core.errors import ConfigurationError, InvalidRequestError, StorageError
from fileroom.core.settings import Settings
from fileroom.routing.contract import DestinationContract, sample_objects
from fileroom.routing.destination_kind import OutcomeKind
from fileroom.routing.folder_destination import FOLDER, allowed_root


class TestFolder(DestinationContract):
    kind = FOLDER

    @pytest.fixture
    def target(self, tmp_path: Path) -> Mapping[str, Any]:
        return {"path": str(tmp_path / "data" / "outbox" / "research")}

    async def received(self, target: Mapping[str, Any]) -> list[str]:
        files = [path for path in Path(target["path"]).rglob("*") if path.is_file()]
        assert not [path for path in files if path.suffix != ".dcm"], files
        return [str(dcmread(path).SOPInstanceUID) for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)]

    def gone(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**target, "marker": ".not-there"}


def files_below(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*") if one.is_file())


class Trial(DestinationContract):
    """The contract's ways to send, without its tests."""

    __test__ = False
    kind = FOLDER

    def __init__(self, **settings: Any) -> None:
        type(self).settings = settings


@pytest.mark.parametrize(
    ("value", "step"),
    [
        ("../../../etc/passwd", "_.._.._etc_passwd"),
        ("..", "unknown"),
        ("", "unknown"),
        ("a/b\\c:d", "a_b_c_d"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        (".hidden", "hidden"),
        ("x\x00y\nz", "x_y_z"),
        ("end. ", "end"),
        ("Müller^Jörg", "Müller^Jörg"),
    ],
)
async def test_no_value_leaves_the_folder(tmp_path: Path, value: str, step: str) -> None:
    root = tmp_path / "data" / "outbox" / "x"
    target = {"path": str(root), "pattern": "{PatientID}/{SOPInstanceUID}.dcm"}
    one = sample_objects(1)[0]
    one.dataset.PatientID = value
    settled = await Trial().send(target, tmp_path, [one])
    assert settled.kinds == [OutcomeKind.TAKEN]
    assert files_below(root) == [f"{step}/{one.sop_instance_uid}.dcm"]
    assert files_below(tmp_path) == [f"data/outbox/x/{step}/{one.sop_instance_uid}.dcm"]


async def test_uids_that_were_changed_keep_apart(tmp_path: Path) -> None:
    first, second = sample_objects(2)
    first.dataset.SOPInstanceUID, second.dataset.SOPInstanceUID = "1.2/3", "1.2:3"
    target = {"path": str(tmp_path / "data" / "outbox" / "x"), "pattern": "{SOPInstanceUID}"}
    await Trial().send(target, tmp_path, [first, second])
    assert len(files_below(Path(target["path"]))) == 2


async def test_long_values_make_names_that_the_file_system_takes(tmp_path: Path) -> None:
    one = sample_objects(1)[0]
    one.dataset.PatientID = "Ж" * 900
    pattern = "/".join(["{PatientID}{PatientID}{PatientID}"] * 8) + "/{SOPInstanceUID}.dcm"
    target = {"path": str(tmp_path / "data" / "outbox" / "x"), "pattern": pattern}
    settled = await Trial().send(target, tmp_path, [one])
    assert settled.kinds == [OutcomeKind.TAKEN]
    assert files_below(tmp_path)[0].endswith(f"/{one.sop_instance_uid}.dcm")


@pytest.mark.parametrize(
    "pattern",
    [
        "{PatientID}.dcm",
        "{NoSuchKeyword}/{SOPInstanceUID}",
        "../{SOPInstanceUID}",
        "a//{SOPInstanceUID}",
        "{SOPInstanceUID",
        "{SOPInstanceUID}|x",
        "{PixelData}/{SOPInstanceUID}",
        "{SOPInstanceUID}/" * 20,
    ],
)
def test_patterns_that_cannot_work_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequestError):
        FOLDER.check({"path": "x", "pattern": pattern})


@pytest.mark.parametrize("path", ["a/b", "../x", "/mnt/../etc", ""])
def test_paths_must_be_whole(path: str) -> None:
    with pytest.raises(InvalidRequestError):
        FOLDER.check({"path": path})


def test_only_allowed_folders_may_be_chosen(tmp_path: Path) -> None:
    data, share = tmp_path / "data", tmp_path / "share"
    (share / "in").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (share / "link").symlink_to(tmp_path / "elsewhere")
    settings = Settings(data=data, routing_folders=f"{share}, {data}")
    assert allowed_root(settings, "research") == (data / "outbox" / "research", True)
    assert allowed_root(settings, str(share / "in")) == (share / "in", False)
    for path in ("/etc", f"{share}x", str(data / "store"), str(data / "outbox"), str(tmp_path), str(share / "link")):
        with pytest.raises(ConfigurationError, match="routing_folders"):
            allowed_root(settings, path)
    with pytest.raises(ConfigurationError):
        allowed_root(Settings(data=data), str(share / "in"))


async def test_a_folder_outside_is_never_made(tmp_path: Path) -> None:
    share = tmp_path / "share"
    target = {"path": str(share / "mounted")}
    share.mkdir()
    trial = Trial(routing_folders=str(share))
    with pytest.raises(StorageError, match="not there"):
        await trial.send(target, tmp_path, sample_objects(1))
    (share / "mounted").mkdir()
    with pytest.raises(StorageError, match="marker"):
        await trial.send({**target, "marker": ".here"}, tmp_path, sample_objects(1))
    with pytest.raises(StorageError, match="no other file system"):
        await trial.send({**target, "mounted": True}, Path("/") and tmp_path, sample_objects(1))
    assert files_below(share) == []
    (share / "mounted" / ".here").touch()
    assert (await trial.send({**target, "marker": ".here"}, tmp_path, sample_objects(1))).kinds == [OutcomeKind.TAKEN]


async def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    root, other = tmp_path / "data" / "outbox" / "x", tmp_path / "other"
    root.mkdir(parents=True)
    other.mkdir()
    (root / "P1").symlink_to(other)
    one = sample_objects(1, PatientID="P1")
    with pytest.raises(StorageError, match="leads out"):
        await Trial().send({"path": str(root)}, tmp_path, one)
    assert files_below(other) == []


async def test_a_full_disk_is_tried_later_and_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "data" / "outbox" / "x"
    target = {"path": str(root)}
    real = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 10:
            return real(descriptor, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    one = sample_objects(2)
    settled = await Trial().send(target, tmp_path, one)
    assert settled.kinds == [OutcomeKind.TRY_LATER] * 2
    assert "is full" in settled.calls[0][1].cause
    monkeypatch.undo()
    assert files_below(root) == []
    assert (await Trial().send(target, tmp_path, one)).kinds == [OutcomeKind.TAKEN] * 2


async def test_the_file_is_the_object(tmp_path: Path) -> None:
    one = sample_objects(1)[0]
    target = {"path": "research", "pattern": "{StudyDate}_{AccessionNumber}/{SOPInstanceUID}.dcm"}
    await Trial().send(target, tmp_path, [one])
    path = tmp_path / "data" / "outbox" / "research" / "20260101_A-1" / f"{one.sop_instance_uid}.dcm"
    assert path.read_bytes() == one.data
    assert dcmread(io.BytesIO(path.read_bytes())).PatientID == "CONTRACT-1"


async def test_a_file_that_vanished_is_sent_again(tmp_path: Path) -> None:
    target, one = {"path": "research"}, sample_objects(1)
    trial = Trial()
    await trial.send(target, tmp_path, one)
    async with FOLDER.open(trial.context(target, tmp_path)) as session:
        assert (await session.confirm(one))[1].kind is OutcomeKind.TAKEN
        for path in (tmp_path / "data" / "outbox").rglob("*.dcm"):
            path.unlink()
        assert (await session.confirm(one))[1].kind is OutcomeKind.TRY_LATER
