"""Notes that reject images are told by their title; other key objects are not."""

from __future__ import annotations

from pydicom.dataset import Dataset

from fileroom.archive.rejection_notes import rejection_notes
from fileroom.archive.services import Archive
from fileroom.core.access import SYSTEM, acting_as
from stored_objects import make_file, store_file


def title(code: str, scheme: str = "DCM") -> list[Dataset]:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, "Title"
    return [item]


async def note(archive: Archive, number: int, code: str, scheme: str = "DCM") -> None:
    await store_file(
        archive,
        make_file(
            pixels=None,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.88.59",
            SOPInstanceUID=f"1.2.3.9.{number}",
            SeriesInstanceUID="1.2.3.9",
            Modality="KO",
            ConceptNameCodeSequence=title(code, scheme),
        ),
    )


async def test_a_note_that_rejects_is_told_and_another_one_is_not(archive: Archive) -> None:
    await store_file(archive, make_file())
    for number, code in enumerate(("113000", "113001", "113037")):
        await note(archive, number, code)
    await note(archive, 7, "113001", "99X")
    with acting_as(SYSTEM):
        found = await rejection_notes(archive, "1.2.3.1")
    assert [(one.sop_instance_uid, one.code) for one in found] == [("1.2.3.9.2", "113037"), ("1.2.3.9.1", "113001")]
    assert found[0].words == "rejected for patient safety reasons"
    with acting_as(SYSTEM):
        assert await rejection_notes(archive, "1.2.3.404") == []
