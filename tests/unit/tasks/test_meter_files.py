"""Meters in files: what a killed worker leaves, what its successor makes of it, and what is not to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from fileroom.core.meters import Meters, total
from fileroom.tasks import meter_files
from fileroom.tasks.meter_files import SUPERVISOR, begin_folder, kept_in_file, read_workers, sum_of_workers


async def test_a_successor_goes_on_where_a_killed_worker_was(tmp_path: Path) -> None:
    begin_folder(tmp_path)
    first = Meters("association-1")
    first.sent.add(("CT",), 3)
    first.associations_open.add(("in",), 1)
    meter_files._write(tmp_path, first, 0.0)  # and then kill -9
    second = Meters("association-1")
    async with kept_in_file(second, tmp_path):
        second.sent.add(("CT",), 1)
        assert total(sum_of_workers(read_workers(tmp_path), second).sent) == 4
        assert total(second.associations_open) == 0
    (file,) = [one for one in read_workers(tmp_path) if one.worker != SUPERVISOR]
    assert file.starts == 1
    assert file.ended
    assert total(sum_of_workers([file]).sent) == 4


async def test_numbers_are_written_while_the_worker_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter_files, "WRITE_INTERVAL_S", 0.0)
    begin_folder(tmp_path)
    meters = Meters("web-1")
    async with kept_in_file(meters, tmp_path):
        meters.sent.add(("CT",), 2)
        while not any(
            one.worker == "web-1" and one.state.get("fileroom_objects_sent_total") for one in read_workers(tmp_path)
        ):
            await meter_files.asyncio.sleep(0)
    assert total(sum_of_workers(read_workers(tmp_path)).sent) == 2


def test_the_start_of_the_server_forgets_the_last_run(tmp_path: Path) -> None:
    for name in ("web-1", "web-2"):
        meters = Meters(name)
        meters.sent.add(("CT",))
        meter_files._write(tmp_path, meters, 0.0)
    begin_folder(tmp_path)
    assert [one.worker for one in read_workers(tmp_path)] == [SUPERVISOR]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b'{"pid": "x", "started_at": []}'])
def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web-1.json").write_bytes(content)
    assert read_workers(tmp_path) == []


async def test_a_command_keeps_no_file(tmp_path: Path) -> None:
    async with kept_in_file(Meters(), tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    begin_folder(tmp_path / "file")
    async with kept_in_file(Meters("web-1"), tmp_path / "file"):
        pass
    assert read_workers(tmp_path / "file") == []


def test_open_associations_of_a_silent_worker_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meters = Meters("association-1")
    meters.sent.add(("CT",))
    meters.associations_open.add(("in",), 4)
    meter_files._write(tmp_path, meters, 0.0)
    monkeypatch.setattr(meter_files, "SILENT_AFTER_S", -1.0)
    summed = sum_of_workers(read_workers(tmp_path))
    assert total(summed.associations_open) == 0
    assert total(summed.sent) == 1
