"""A store that is not the one the rows speak of: nothing is taken in, nothing is taken away."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from fileroom.archive.overview import readiness
from fileroom.archive.rebuild import rebuild
from fileroom.archive.services import Archive
from fileroom.archive.store_identity import require_own_store
from fileroom.archive.verify import recover, verify
from fileroom.core.errors import StorageError
from fileroom.index.upkeep import count_filed_objects
from fileroom.storage.local import LocalStore
from stored_objects import make_file, store_file


@pytest.fixture
def mounted(archive: Archive, tmp_path: Path) -> Archive:
    """An archive whose store must be the one it was introduced to."""
    return replace(archive, store=LocalStore(tmp_path / "disk", require_marker=True))


def unmount(tmp_path: Path) -> None:
    (tmp_path / "disk").rename(tmp_path / "away")
    (tmp_path / "disk").mkdir()


def mount(tmp_path: Path) -> None:
    (tmp_path / "disk").rmdir()
    (tmp_path / "away").rename(tmp_path / "disk")


async def test_a_new_store_and_a_new_index_are_introduced_once(mounted: Archive) -> None:
    await require_own_store(mounted)
    await require_own_store(mounted)
    outcome = await store_file(mounted, make_file())
    assert (await mounted.store.stat(outcome.storage_key)).size > 0


async def test_an_unmounted_disk_costs_no_row_and_gets_no_object(mounted: Archive, tmp_path: Path) -> None:
    await require_own_store(mounted)
    await store_file(mounted, make_file())
    unmount(tmp_path)
    for check in (require_own_store, recover, verify, rebuild):
        with pytest.raises(StorageError, match="mounted"):
            await check(mounted)
    with pytest.raises(StorageError, match="not mounted"):
        await store_file(mounted, make_file(SOPInstanceUID="1.2.3.1.1.2"))
    assert await count_filed_objects(mounted.pool) == 1
    storage = next(part for part in await readiness(mounted) if part.name == "storage")
    assert not storage.ready
    assert list((tmp_path / "disk").rglob("*")) == []
    mount(tmp_path)
    assert (await verify(mounted)).findings == []


async def test_the_store_of_another_index_is_refused(mounted: Archive, tmp_path: Path) -> None:
    await require_own_store(mounted)
    await store_file(mounted, make_file())
    (tmp_path / "disk" / "fileroom-store").write_text("somebody else\n")
    with pytest.raises(StorageError, match="another index"):
        await require_own_store(mounted)
    await rebuild(mounted)
    await require_own_store(mounted)


async def test_an_object_that_was_missing_and_is_back_is_filed_again(mounted: Archive, tmp_path: Path) -> None:
    await require_own_store(mounted)
    outcome = await store_file(mounted, make_file())
    path = tmp_path / "disk" / outcome.storage_key
    path.rename(tmp_path / "elsewhere")
    assert [f.kind for f in (await verify(mounted, repair=True)).findings] == ["missing"]
    (tmp_path / "elsewhere").rename(path)
    later = replace(mounted, now=lambda: dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert [f.repair for f in (await verify(later, repair=True)).findings] == ["filed (indexed)"]
    assert (await verify(later)).findings == []
