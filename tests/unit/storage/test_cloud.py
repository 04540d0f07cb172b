"""Uploads that fail, and addresses that are none."""

from __future__ import annotations

from typing import Any

import obstore
import pytest

from fileroom.core.errors import StorageError
from fileroom.core.limits import MIB
from fileroom.storage.cloud import CloudStore

KEY = "objects/2026/11/22/a7/one.dcm"


class BrokenUpload:
    """An upload whose first write fails, and whose later ones would not."""

    def __init__(self) -> None:
        self.writes = 0
        self.closed = False

    async def write(self, data: bytes) -> int:
        self.writes += 1
        if self.writes == 1:
            raise OSError("connection reset")
        return len(data)

    async def close(self) -> None:
        self.closed = True


async def test_an_upload_with_a_hole_is_never_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    upload = BrokenUpload()
    monkeypatch.setattr(obstore, "open_writer_async", lambda *_args, **_options: upload)
    writer = CloudStore("memory:///").begin(KEY)
    writer.write(bytes(2 * MIB))
    with pytest.raises(StorageError, match=rf"could not write {KEY}: OSError.*the network"):
        await writer.drain()
    writer.write(bytes(2 * MIB))
    with pytest.raises(StorageError):
        await writer.drain()
    with pytest.raises(StorageError):
        await writer.flush()
    assert not upload.closed


async def test_a_store_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_args: Any, **_options: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(obstore, "put_async", fail)
    writer = CloudStore("memory:///").begin(KEY)
    writer.write(b"x")
    with pytest.raises(StorageError, match=r"could not write .* TimeoutError"):
        await writer.flush()


@pytest.mark.parametrize("url", ["nonsense://x/y", "not an address"])
def test_a_wrong_address_names_the_setting(url: str) -> None:
    with pytest.raises(StorageError, match=r"FILEROOM_STORAGE_URL .* cannot be used"):
        CloudStore(url)


def test_a_bucket_has_no_files() -> None:
    assert CloudStore("memory:///").path(KEY) is None
