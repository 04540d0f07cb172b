"""Objects come back as they were received, or in the encoding asked for."""

from __future__ import annotations

import io

import pydicom
import pytest

from corpus.ct import make_ct_series
from fileroom.archive.retrieve import (
    OpenedObject,
    Selection,
    find_instances,
    get_instance,
    list_instances,
    open_object,
    read_header,
    read_header_bytes,
    read_small,
)
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError, StorageError
from fileroom.dicom import uids
from stored_objects import CT, EXPLICIT_LE, data_set_of, make_file, store_file

IMPLICIT_LE, DEFLATED = uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


async def bytes_of(opened: OpenedObject) -> bytes:
    return b"".join([piece async for piece in opened.chunks])


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


async def test_a_stored_file_comes_back_bit_identical(archive: Archive) -> None:
    file = make_ct_series(None, 1)[0]
    outcome = await store_file(archive, file)
    instance = (await list_instances(archive, Selection(sop_uids=(outcome.sop_instance_uid,))))[0]
    opened = await open_object(archive, instance, part10=False)
    assert await bytes_of(opened) == data_set_of(file)
    assert opened.length == len(data_set_of(file))
    assert opened.transfer_syntax == EXPLICIT_LE


async def test_the_stored_file_can_be_sent_from_the_disk(archive: Archive) -> None:
    file = make_file()
    await store_file(archive, file)
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    for part10 in (True, False):
        opened = await open_object(archive, instance, part10=part10)
        assert opened.file is not None
        with opened.file.path.open("rb") as stored:
            stored.seek(opened.file.offset)
            from_disk = stored.read(opened.file.length)
        assert from_disk == await bytes_of(opened) == await read_small(archive, instance, opened)
        assert from_disk.endswith(data_set_of(file))


async def test_instances_come_by_series_number_and_instance_number(archive: Archive) -> None:
    for series, number in ((2, 1), (1, 2), (1, 1)):
        file = make_file(
            SeriesInstanceUID=f"1.2.3.1.{series}",
            SeriesNumber=series,
            InstanceNumber=number,
            SOPInstanceUID=f"1.2.3.1.{series}.{number}",
        )
        await store_file(archive, file)
    found = [instance async for instance in find_instances(archive, Selection(study_uids=("1.2.3.1",)))]
    assert [i.sop_instance_uid for i in found] == ["1.2.3.1.1.1", "1.2.3.1.1.2", "1.2.3.1.2.1"]
    assert {(i.sop_class_uid, i.modality, i.rows) for i in found} == {(CT, "CT", 2)}


async def test_an_empty_selection_selects_nothing(archive: Archive) -> None:
    await store_file(archive, make_file())
    assert await list_instances(archive, Selection()) == []


@pytest.mark.parametrize(
    "selection",
    [
        Selection(patient_ids=("P1",)),
        Selection(patient_ids=("P1",), study_uids=("1.2.3.1",)),
        Selection(study_uids=("9.9", "1.2.3.1")),
        Selection(series_uids=("1.2.3.1.1",)),
        Selection(sop_uids=("1.2.3.1.1.1",)),
    ],
)
async def test_each_level_selects(archive: Archive, selection: Selection) -> None:
    await store_file(archive, make_file())
    await store_file(
        archive, make_file(PatientID="P2", StudyInstanceUID="5", SeriesInstanceUID="6", SOPInstanceUID="7")
    )
    assert [i.sop_instance_uid for i in await list_instances(archive, selection)] == ["1.2.3.1.1.1"]


async def test_a_missing_instance_is_explained(archive: Archive) -> None:
    with pytest.raises(NotFoundError, match="never received"):
        await get_instance(archive, "1", "2", "3")
    await store_file(archive, make_file())
    with pytest.raises(NotFoundError, match=r"it is in series 1\.2\.3\.1\.1 of study 1\.2\.3\.1"):
        await get_instance(archive, "1.2.3.1", "9", "1.2.3.1.1.1")


async def test_a_lost_and_a_cut_file_are_noticed_before_anything_leaves(archive: Archive) -> None:
    outcome = await store_file(archive, make_file())
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    path = archive.store.path(outcome.storage_key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StorageError, match="fileroom verify"):
        await open_object(archive, instance, part10=True)
    path.unlink()
    with pytest.raises(NotFoundError):
        await open_object(archive, instance, part10=True)


SYNTAXES = (IMPLICIT_LE, EXPLICIT_LE, DEFLATED)


@pytest.mark.parametrize("source", SYNTAXES)
@pytest.mark.parametrize("target", SYNTAXES)
async def test_values_stay_when_only_the_encoding_of_the_header_changes(
    archive: Archive, source: str, target: str
) -> None:
    file = make_file(
        source,
        ReferencedStudySequence=[pydicom.Dataset()],
        SmallestImagePixelValue=b"\x01\x00",
        pixels=bytes(range(8)) * 5000,
        PatientComments="x" * 3000,
    )
    await store_file(archive, file)
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    opened = await open_object(archive, instance, target, part10=True)
    data = await bytes_of(opened)
    assert opened.length in (None, len(data))
    again = read(data)
    assert again.file_meta.TransferSyntaxUID == opened.transfer_syntax == target
    assert again == read(file)


async def test_elements_behind_pixel_data_are_reencoded_too(archive: Archive) -> None:
    file = make_file(DataSetTrailingPadding=b"\0" * 10, DigitalSignaturesSequence=[pydicom.Dataset()])
    await store_file(archive, file)
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    data = await bytes_of(await open_object(archive, instance, IMPLICIT_LE, part10=True))
    assert read(data) == read(file)


@pytest.mark.parametrize("syntax", SYNTAXES)
async def test_the_header_is_read_without_pixel_data(archive: Archive, syntax: str) -> None:
    await store_file(archive, make_file(syntax))
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    header = await read_header(archive, instance)
    assert header.PatientName == "DOE^JANE"
    assert "PixelData" not in header
    encoded = await read_header_bytes(archive, instance)
    assert encoded.pixel_data is not None
    assert encoded.transfer_syntax == (IMPLICIT_LE if syntax == IMPLICIT_LE else EXPLICIT_LE)


async def test_long_binary_values_are_left_out_of_the_header(archive: Archive) -> None:
    pdf = make_file(pixels=None, EncapsulatedDocument=b"%PDF" * 500_000, DocumentTitle="Report")
    await store_file(archive, pdf)
    instance = await get_instance(archive, "1.2.3.1", "1.2.3.1.1", "1.2.3.1.1.1")
    header = await read_header(archive, instance)
    assert header.DocumentTitle == "Report"
    assert "EncapsulatedDocument" not in header
