"""Files as people have them: with and without preamble, meta information, or sense."""

from __future__ import annotations

import io
from typing import Any

import pydicom
import pytest

from fileroom.archive.file_store import IncomingFile
from fileroom.archive.services import Archive
from fileroom.archive.store import MismatchError, StoreKind, StoreOutcome
from fileroom.core.errors import InvalidObjectError
from fileroom.dicom import uids
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file

IMPLICIT_LE, BIG_ENDIAN = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN


async def put(archive: Archive, file: bytes, piece: int = 1 << 20, **options: Any) -> StoreOutcome:
    incoming = IncomingFile(archive, "import", "somewhere", **options)
    for start in range(0, len(file), piece):
        incoming.write(file[start : start + piece])
        await incoming.drain()
    return await incoming.finish()


async def refusals(archive: Archive) -> list[tuple[int, str, str, str]]:
    async with archive.pool.connection() as connection:
        cursor = await connection.execute(b"SELECT status, sop_instance_uid, received_by, sender FROM refusal")
        return await cursor.fetchall()


async def stored(archive: Archive, outcome: StoreOutcome) -> bytes:
    return await archive.store.read(outcome.storage_key, 0, 1 << 24)


@pytest.mark.parametrize("piece", [1, 97, 4096, 1 << 20])
async def test_a_file_in_pieces_of_any_size(archive: Archive, piece: int) -> None:
    file = make_file(PatientComments="x" * 3000)
    outcome = await put(archive, file, piece)
    assert outcome.kind is StoreKind.STORED
    assert data_set_of(await stored(archive, outcome)) == data_set_of(file)


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
@pytest.mark.parametrize("cut", ["preamble", "meta"])
async def test_files_without_preamble_or_meta_information_are_taken(archive: Archive, syntax: str, cut: str) -> None:
    file = make_file(syntax)
    bare = data_set_of(file) if cut == "meta" else file[132:]
    outcome = await put(archive, bare)
    whole = await stored(archive, outcome)
    assert data_set_of(whole) == data_set_of(file)
    assert pydicom.dcmread(io.BytesIO(whole)) == pydicom.dcmread(io.BytesIO(file))


async def test_the_data_set_counts_not_the_meta_information(archive: Archive) -> None:
    data = data_set_of(make_file(SOPInstanceUID="1.2.3.4.5"))
    lying = make_file(SOPInstanceUID="9.9.9")
    outcome = await put(archive, lying[: len(lying) - len(data_set_of(lying))] + data)
    assert outcome.sop_instance_uid == "1.2.3.4.5"
    meta = pydicom.dcmread(io.BytesIO(await stored(archive, outcome))).file_meta
    assert meta.MediaStorageSOPInstanceUID == "1.2.3.4.5"


async def test_a_file_is_identified_as_soon_as_its_head_is_there(archive: Archive) -> None:
    incoming = IncomingFile(archive, "import", "x")
    incoming.write(make_file(pixels=bytes(20_000))[:8192])
    assert incoming.claim is not None
    assert (incoming.claim.sop_class_uid, incoming.claim.transfer_syntax_uid) == (CT, EXPLICIT_LE)
    await incoming.abort()


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "not a DICOM object"),
        (b"hello", "not a DICOM object"),
        (b"\0" * 128 + b"DICM", "not a DICOM object|truncated"),
        (make_file()[:200], "truncated"),
        (make_file()[:-3], "truncated"),
        (make_file(pixels=None, SOPInstanceUID="1.2.3"), None),
    ],
)
async def test_what_is_refused_is_noted(archive: Archive, file: bytes, reason: str | None) -> None:
    if reason is None:
        assert (await put(archive, file)).kind is StoreKind.STORED
        return
    with pytest.raises(InvalidObjectError, match=reason):
        await put(archive, file)
    [(status, _, door, sender)] = await refusals(archive)
    assert (status, door, sender) == (0xC000, "import", "somewhere")


async def test_a_dicomdir_is_told_what_it_is(archive: Archive) -> None:
    directory = make_file(SOPClassUID=uids.MEDIA_STORAGE_DIRECTORY, pixels=None)
    with pytest.raises(InvalidObjectError, match="table of contents of a medium"):
        await put(archive, directory)


async def test_a_file_of_another_study_is_a_mismatch_and_noted_with_its_uid(archive: Archive) -> None:
    with pytest.raises(MismatchError, match="belongs to study"):
        await put(archive, make_file(), study_instance_uid="7.7")
    assert await refusals(archive) == [(0xA900, "1.2.3.1.1.1", "import", "somewhere")]


async def test_giving_up_leaves_nothing(archive: Archive) -> None:
    incoming = IncomingFile(archive, "import", "x")
    incoming.write(make_file(pixels=bytes(3 << 20)))
    assert incoming.pending_bytes > 0
    await incoming.abort()
    assert [found async for found in archive.store.objects()] == []
