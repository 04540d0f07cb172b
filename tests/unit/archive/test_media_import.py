"""Whatever lies in a folder, a ZIP file or on a medium is stored or told with its reason, and no file stops the others."""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from corpus.ct import make_ct_series
from fileroom.archive import media_import
from fileroom.archive.dicomdir import make_file_set
from fileroom.archive.media_import import ImportReport, import_paths
from fileroom.archive.services import Archive
from fileroom.core.errors import DatabaseError, NotFoundError
from stored_objects import make_file


def one(number: int, **attributes: Any) -> bytes:
    return make_file(SOPInstanceUID=f"1.2.3.1.1.{number}", InstanceNumber=number, **attributes)


def counts(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.stored, report.already_there, report.kept_aside, report.skipped, len(report.refused)


async def ask(archive: Archive, statement: str) -> list[tuple[Any, ...]]:
    async with archive.pool.connection() as connection:
        return await (await connection.execute(statement.encode())).fetchall()


def zip_of(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


# --- what is found ---


async def test_a_folder_is_imported_with_everything_below(archive: Archive, source: Path) -> None:
    (source / "a" / "b").mkdir(parents=True)
    (source / "IM1").write_bytes(one(1))
    (source / "a" / "IM2.dcm").write_bytes(one(2))
    (source / "a" / "b" / "no extension").write_bytes(one(3))
    report = await import_paths(archive, [source])
    assert counts(report) == (3, 0, 0, 0, 0)
    assert report.stored_bytes == sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    assert await ask(archive, "SELECT count(*) FROM instance") == [(3,)]
    assert await ask(archive, "SELECT DISTINCT received_by FROM instance") == [("import",)]


async def test_a_single_file_and_several_paths(archive: Archive, source: Path) -> None:
    for number in (1, 2):
        (source / f"{number}.dcm").write_bytes(one(number))
    assert counts(await import_paths(archive, [source / "1.dcm"])) == (1, 0, 0, 0, 0)
    assert counts(await import_paths(archive, [source / "1.dcm", source / "2.dcm"])) == (1, 1, 0, 0, 0)


async def test_the_same_again_is_already_there_and_other_content_is_kept_aside(archive: Archive, source: Path) -> None:
    (source / "1.dcm").write_bytes(one(1))
    await import_paths(archive, [source])
    (source / "2.dcm").write_bytes(one(1, PatientName="ELSE^SOMEBODY"))
    assert counts(await import_paths(archive, [source])) == (0, 1, 1, 0, 0)


async def test_a_zip_file_is_opened_folders_inside_and_all(archive: Archive, source: Path) -> None:
    zip_of(source / "scans.zip", {"x/1.dcm": one(1), "x/y/2": one(2), "empty/": b"", "DICOMDIR": b"no matter"})
    (source / "3.dcm").write_bytes(one(3))
    assert counts(await import_paths(archive, [source])) == (3, 0, 0, 0, 0)


async def test_a_zip_file_inside_a_zip_file_is_refused_as_such(archive: Archive, source: Path) -> None:
    inner = zip_of(source / "inner", {"1.dcm": one(1)}).read_bytes()
    (source / "inner").unlink()
    zip_of(source / "outer.zip", {"inner.zip": inner, "2.dcm": one(2)})
    report = await import_paths(archive, [source])
    assert counts(report) == (1, 0, 0, 0, 1)
    assert report.refused[0].path.endswith("outer.zip!inner.zip")


async def test_a_dicom_file_that_ends_like_a_zip_file_is_a_dicom_file(archive: Archive, source: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("x", b"y")
    content = buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2)
    file = make_file(pixels=None, EncapsulatedDocument=content, SOPClassUID="1.2.840.10008.5.1.4.1.1.104.1")
    (source / "odd.dcm").write_bytes(file)
    assert counts(await import_paths(archive, [source])) == (1, 0, 0, 0, 0)


async def test_a_medium_is_imported_by_its_dicomdir(archive: Archive, source: Path) -> None:
    (source / "files").mkdir()
    objects: dict[Path, str] = {}
    for number, file in enumerate(make_ct_series(None, 3)):
        path = source / "files" / f"{number}.dcm"
        path.write_bytes(file)
        objects[path] = dcmread(path, stop_before_pixels=True).SOPInstanceUID
    assert make_file_set(source / "cd", objects) == []
    assert (source / "cd" / "DICOMDIR").exists()
    assert counts(await import_paths(archive, [source / "cd" / "DICOMDIR"])) == (3, 0, 0, 0, 0)
    assert counts(await import_paths(archive, [source / "cd"])) == (0, 3, 0, 0, 0)


async def test_a_path_that_does_not_exist_is_named(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no file or folder .*nowhere"):
        await import_paths(archive, [tmp_path / "nowhere"])


async def test_an_empty_folder_is_no_trouble(archive: Archive, source: Path) -> None:
    assert counts(await import_paths(archive, [source])) == (0, 0, 0, 0, 0)


# --- what is refused ---


async def test_what_is_refused_is_told_and_the_others_are_stored(archive: Archive, source: Path) -> None:
    (source / "readme.txt").write_text("Please read me.")
    (source / "viewer.exe").write_bytes(b"MZ" + os.urandom(20_000))
    (source / "empty").write_bytes(b"")
    (source / "cut.dcm").write_bytes(one(1)[:-3])
    (source / "good.dcm").write_bytes(one(2))
    report = await import_paths(archive, [source])
    assert counts(report) == (1, 0, 0, 0, 4)
    reasons = {Path(refused.path).name: refused.reason for refused in report.refused}
    assert set(reasons) == {"readme.txt", "viewer.exe", "empty", "cut.dcm"}
    assert "not a DICOM object" in reasons["readme.txt"]
    assert "truncated" in reasons["cut.dcm"]
    noted = await ask(archive, "SELECT count(*) FROM refusal WHERE received_by = 'import'")
    assert noted == [(4,)]


async def test_names_that_are_no_text_are_no_obstacle(archive: Archive, source: Path) -> None:
    """Media written long ago have names in the character set of their time."""
    folder = os.fsencode(source) + b"/\xfcbung"
    os.mkdir(folder)
    for name, content in ((b"g\xf6\xf6d.dcm", one(1)), (b"b\xe4d.txt", b"no object")):
        with open(folder + b"/" + name, "wb") as file:
            file.write(content)
    zip_of(Path(os.fsdecode(folder)) / "z.zip", {"2.dcm": one(2)})
    report = await import_paths(archive, [source])
    assert counts(report) == (2, 0, 0, 0, 1)
    report.refused[0].path.encode()
    assert counts(await import_paths(archive, [Path(os.fsdecode(folder))])) == (0, 2, 0, 0, 1)


def encrypted(path: Path) -> Path:
    """A ZIP file whose member says that it is encrypted."""
    data = bytearray(zip_of(path, {"1.dcm": one(1)}, zipfile.ZIP_STORED).read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


def unknown_method(path: Path) -> Path:
    data = bytearray(zip_of(path, {"1.dcm": one(1)}, zipfile.ZIP_STORED).read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 99
    path.write_bytes(data)
    return path


def broken_stream(path: Path) -> Path:
    """The packed bytes are garbage."""
    data = bytearray(zip_of(path, {"1.dcm": one(1, PatientComments="abc" * 100)}).read_bytes())
    start = 30 + len("1.dcm")
    data[start : start + 40] = b"\xff" * 40
    path.write_bytes(data)
    return path


def wrong_checksum(path: Path) -> Path:
    data = bytearray(zip_of(path, {"1.dcm": one(1)}, zipfile.ZIP_STORED).read_bytes())
    data[30 + len("1.dcm") + 20] ^= 1
    path.write_bytes(data)
    return path


def broken_directory(path: Path) -> Path:
    data = bytearray(zip_of(path, {"1.dcm": one(1)}).read_bytes())
    data[data.index(b"PK\x01\x02") + 1] = 0
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    """The directory is whole, but the member's bytes are not there."""
    whole = zip_of(path, {"1.dcm": one(1)}, zipfile.ZIP_STORED).read_bytes()
    member = whole.index(b"PK\x01\x02")
    path.write_bytes(whole[: member - 200] + whole[member:])
    return path


def bomb(path: Path) -> Path:
    return zip_of(path, {"bomb.dcm": bytes(5_000_000)})


@pytest.mark.parametrize(
    "make", [encrypted, unknown_method, broken_stream, wrong_checksum, broken_directory, cut, bomb]
)
async def test_a_bad_zip_file_is_refused_and_the_others_are_stored(archive: Archive, source: Path, make: Any) -> None:
    make(source / "bad.zip")
    zip_of(source / "good.zip", {"2.dcm": one(2)})
    (source / "3.dcm").write_bytes(one(3))
    report = await import_paths(archive, [source])
    assert counts(report) == (2, 0, 0, 0, 1), report.refused
    assert "bad.zip" in report.refused[0].path
    assert report.refused[0].reason.startswith("The file cannot be read: ")
    assert await ask(archive, "SELECT count(*) FROM instance") == [(2,)]


async def test_a_bomb_is_not_unpacked(archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb(source / "bomb.zip")
    monkeypatch.setattr(zlib, "decompressobj", None)  # nothing may be inflated
    report = await import_paths(archive, [source])
    assert "1,000 times" in report.refused[0].reason


async def test_a_zip_file_is_opened_once_not_once_a_member(
    archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each opening reads the whole directory: a ZIP file of 10,000 slices would take for ever."""
    zip_of(source / "scans.zip", {f"{n}.dcm": one(n) for n in range(1, 31)})
    real, opened = zipfile.ZipFile, []

    class Counted(real):  # type: ignore[misc,valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            opened.append(arguments[0])
            super().__init__(*arguments, **options)

    monkeypatch.setattr(zipfile, "ZipFile", Counted)
    assert counts(await import_paths(archive, [source])) == (30, 0, 0, 0, 0)
    assert len(opened) <= 2


async def test_a_folder_that_cannot_be_read_is_told(
    archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "locked").mkdir()
    (source / "1.dcm").write_bytes(one(1))
    real = os.scandir

    def scandir(path: Any) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = await import_paths(archive, [source])
    assert counts(report) == (1, 0, 0, 0, 1)
    assert report.refused[0].path.endswith("locked")
    assert "Permission denied" in report.refused[0].reason


async def test_a_file_that_vanishes_is_told(archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        (source / f"{number}.dcm").write_bytes(one(number))
    real = media_import.sources

    def sources_then_gone(*arguments: Any) -> Any:
        found = list(real(*arguments))
        (source / "1.dcm").unlink()
        return iter(found)

    monkeypatch.setattr(media_import, "sources", sources_then_gone)
    report = await import_paths(archive, [source])
    assert counts(report) == (1, 0, 0, 0, 1)
    assert "No such file" in report.refused[0].reason


# --- interrupted ---


async def test_an_interrupted_import_goes_on_where_it_was(
    archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 31):
        (source / f"{number:02}.dcm").write_bytes(one(number))
    (source / "00.txt").write_text("no object")
    real = archive.writer.write
    calls = 0

    def failing(row: Any) -> Any:
        nonlocal calls
        calls += 1
        future = real(row)
        if calls > 20:
            raise DatabaseError("away")
        return future

    monkeypatch.setattr(archive.writer, "write", failing)
    with pytest.raises(DatabaseError):
        await import_paths(archive, [source])
    monkeypatch.undo()
    done = (await ask(archive, "SELECT count(*) FROM import_progress"))[0][0]
    assert done >= 10
    report = await import_paths(archive, [source])
    assert report.skipped == done
    assert report.seen == 31
    assert await ask(archive, "SELECT count(*) FROM instance") == [(30,)]
    assert await ask(archive, "SELECT count(*) FROM import_progress") == [(0,)]
    assert (await import_paths(archive, [source])).skipped == 0


async def test_an_interrupted_import_can_begin_again(archive: Archive, source: Path) -> None:
    (source / "1.dcm").write_bytes(one(1))
    async with archive.pool.connection() as connection:
        await connection.execute(
            b"INSERT INTO import_progress (source, path, outcome) VALUES (%s, %s, 'stored')",
            (str(source), str(source / "1.dcm")),
        )
    assert counts(await import_paths(archive, [source], again=True)) == (1, 0, 0, 0, 0)


async def test_progress_is_told_file_by_file(archive: Archive, source: Path) -> None:
    for number in range(1, 6):
        (source / f"{number}.dcm").write_bytes(one(number))
    told: list[tuple[int, int]] = []
    await import_paths(archive, [source], progress=lambda done, total: told.append((done, total)))
    assert [total for _, total in told] == [5] * 5
    assert told[-1] == (5, 5)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


async def test_a_full_archive_ends_the_import_and_leaves_nothing_half(
    archive: Archive, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "1.dcm").write_bytes(one(1))

    class Broken:
        def write(self, _row: Any) -> Any:
            raise DatabaseError("away")

    with pytest.raises(DatabaseError):
        await import_paths(dataclasses.replace(archive, writer=Broken()), [source])
    root = archive.store.path("")
    assert root is not None
    assert [path for path in root.rglob("*") if path.is_file()] == []
