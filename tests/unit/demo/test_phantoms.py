"""The phantoms hold the anatomy that they claim, at the place that the other objects point to."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from fileroom.demo import people
from fileroom.demo.canvas import Canvas, Grid, ball_chain, ellipse_distance, smooth_noise, splat
from fileroom.demo.chest import NODULE_CENTRE_MM, ChestPhantom, ChestSetup, nodule_coverage
from fileroom.demo.head import HeadPhantom, HeadSetup
from fileroom.demo.modules import instance_uid
from fileroom.demo.pdf import one_page
from fileroom.demo.studies import PLANS
from fileroom.demo.tomography import BRAIN_GRID, CHEST_AXIAL, CHEST_SLICES, chest_slice_z

GRID = Grid.centred(128, 128, 2.96, 2.96)


def at(plane: np.ndarray, grid: Grid, x: float, y: float) -> float:
    row, column = round((y - grid.top_mm) / grid.row_mm), round((x - grid.left_mm) / grid.column_mm)
    return float(np.median(plane[row - 1 : row + 2, column - 1 : column + 2]))


def test_chest_has_air_lung_blood_and_bone_where_they_belong() -> None:
    plane = ChestPhantom(ChestSetup(1), GRID).plane(110.0)
    assert at(plane, GRID, -180, -150) == pytest.approx(-1000)
    assert -930 < at(plane, GRID, -95, 0) < -750
    assert 120 < at(plane, GRID, 24, 49) < 200  # descending aorta
    assert plane.max() > 500


def test_nodule_is_there_only_when_asked_for() -> None:
    x, y, z = NODULE_CENTRE_MM
    with_nodule = ChestPhantom(ChestSetup(1), GRID).plane(z)
    without = ChestPhantom(ChestSetup(1, nodule_scale=0), GRID).plane(z)
    assert at(with_nodule, GRID, x, y) > 30
    assert at(without, GRID, x, y) < -600
    assert nodule_coverage(Canvas(GRID, z, (0.0,))).max() == 1
    assert nodule_coverage(Canvas(GRID, z + 30, (0.0,))).max() == 0


def test_bleeding_is_denser_than_brain_and_ventricles_are_darker() -> None:
    grid = Grid.centred(128, 128, 1.8, 1.8)
    sick = HeadPhantom(HeadSetup(5, bleed=True), grid).plane(45.0)[0]
    well = HeadPhantom(HeadSetup(5), grid).plane(45.0)[0]
    assert at(sick, grid, 29, 1) > 55 > at(well, grid, 29, 1) > 15
    assert at(well, grid, 21, 40) < 20  # occipital horn


def test_fluid_is_bright_on_t2_and_dark_on_t1_and_flair() -> None:
    t1, t2, flair = HeadPhantom(HeadSetup(3), BRAIN_GRID, ("T1", "T2", "FLAIR")).plane(50.0)
    x, y = 22.0, 42.0
    assert at(t2, BRAIN_GRID, x, y) > 800
    assert at(t1, BRAIN_GRID, x, y) < 200
    assert at(flair, BRAIN_GRID, x, y) < 200


def test_ct_slices_are_evenly_spaced_and_referred_to_by_their_uids() -> None:
    plan = next(plan for plan in PLANS if plan.key == "ct-chest")
    study = plan.study(1, 4711)
    slices = list(islice(plan.make(study), 2))
    assert [str(ds.SOPInstanceUID) for ds in slices] == [instance_uid(study, CHEST_AXIAL, n) for n in (1, 2)]
    assert float(slices[0].ImagePositionPatient[2]) == chest_slice_z(1)
    assert chest_slice_z(1) - chest_slice_z(CHEST_SLICES) == pytest.approx(119 * 2.5)
    hu = slices[0].pixel_array.astype(int) * int(slices[0].RescaleSlope) + int(slices[0].RescaleIntercept)
    assert hu.min() >= -1024
    assert hu.max() > 400
    assert 5 < hu[:40, :40].std() < 20  # quantum noise in air, clipped below


def test_tubes_and_ellipses_cover_their_own_area() -> None:
    grid = Grid.centred(100, 100, 1.0, 1.0)
    disc = Canvas(grid, 0.0, (0.0,)).inside(ellipse_distance(grid.x, grid.y, 20.0, 10.0))
    assert disc.sum() == pytest.approx(np.pi * 200, rel=0.03)
    ball = np.zeros((100, 100), dtype=np.float32)
    splat(ball, grid, ball_chain([(-20, 0, 0, 5), (20, 0, 0, 5)]), 0.0)
    assert ball.sum() == pytest.approx(40 * 10 + np.pi * 25, rel=0.05)


def test_noise_has_mean_0_and_deviation_1() -> None:
    noise = smooth_noise(np.random.default_rng(1), (131, 97), 2.0)
    assert noise.shape == (131, 97)
    assert noise.std() == pytest.approx(1, rel=0.01)
    assert abs(noise.mean()) < 0.2


def test_pdf_cross_reference_points_at_its_objects() -> None:
    document = one_page("House", "Report", (("Name", "Sørensen (F)"),), ("A \\ B " * 40,), "End")
    table = int(document.rsplit(b"startxref\n", 1)[1].split()[0])
    assert document[table:].startswith(b"xref\n0 7\n")
    for number in range(1, 7):
        line = document[table:].splitlines()[2 + number]
        assert document[int(line[:10]) :].startswith(b"%d 0 obj" % number)


def test_nobody_is_named_twice() -> None:
    assert len({person.patient_id for person in people.PEOPLE}) == len(people.PEOPLE) == 9
