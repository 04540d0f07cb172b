"""Which image a viewer shows first: the viewer's own rule, from a few objects."""

from __future__ import annotations

from typing import Any

import pytest

from fileroom.archive.first_image import find_first_image
from fileroom.archive.services import Archive
from fileroom.core.errors import NotFoundError
from film_objects import film_of_kind
from stored_objects import make_file, store_file

STUDY = "1.2.3.1"
AXIAL = [1, 0, 0, 0, 1, 0]


async def _store(archive: Archive, series: int, number: int, **attributes: Any) -> str:
    uid = f"1.2.3.1.{series}.{number}"
    values = {"SeriesInstanceUID": f"1.2.3.1.{series}", "SeriesNumber": series, "InstanceNumber": number}
    await store_file(archive, make_file(**{**values, "SOPInstanceUID": uid, **attributes}))
    return uid


async def _first(archive: Archive) -> str:
    return (await find_first_image(archive, STUDY)).sop_instance_uid


@pytest.mark.parametrize(("step", "expected"), [(2.5, 3), (-2.5, 1)])
async def test_of_a_volume_the_slice_farthest_along_its_normal(archive: Archive, step: float, expected: int) -> None:
    for number in (1, 2, 3):
        place = {"ImageOrientationPatient": AXIAL, "ImagePositionPatient": [0, 0, number * step]}
        await _store(archive, 1, number, **place)
    assert await _first(archive) == f"1.2.3.1.1.{expected}"


async def test_slices_that_lie_in_different_planes_go_by_number(archive: Archive) -> None:
    await _store(archive, 1, 1, ImageOrientationPatient=AXIAL, ImagePositionPatient=[0, 0, 0])
    await _store(archive, 1, 2, ImageOrientationPatient=[1, 0, 0, 0, 0, -1], ImagePositionPatient=[0, 0, 9])
    assert await _first(archive) == "1.2.3.1.1.1"


@pytest.mark.parametrize("modality", ["CT", "CR"])
async def test_without_positions_the_lowest_number(archive: Archive, modality: str) -> None:
    for number in (3, 1, 2):
        await _store(archive, 1, number, Modality=modality)
    assert await _first(archive) == "1.2.3.1.1.1"


async def test_the_first_series_with_images_that_are_no_derived_objects(archive: Archive) -> None:
    await _store(archive, 1, 1, Modality="SR", pixels=None)
    await _store(archive, 2, 1, Modality="SEG")
    expected = await _store(archive, 3, 1, Modality="MR")
    await _store(archive, 4, 1, Modality="CT")
    assert await _first(archive) == expected


async def test_a_film_is_no_picture(archive: Archive) -> None:
    film = film_of_kind(
        "h264 in mp4", StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.1.1", SOPInstanceUID="1.2.3.1.1.1"
    )
    await store_file(archive, film)
    with pytest.raises(NotFoundError):
        await find_first_image(archive, STUDY)


async def test_a_study_without_images_has_none(archive: Archive) -> None:
    await _store(archive, 1, 1, Modality="SR", pixels=None)
    with pytest.raises(NotFoundError, match="no image"):
        await find_first_image(archive, STUDY)
