"""The whole slice on a PostgreSQL that is not ours: Debian's PostgreSQL 15."""

from __future__ import annotations

import pydicom

from acceptance.conftest import FileroomFactory, SeriesFactory
from acceptance.dicom_files import by_instance, study_uid
from acceptance.programs.dcmtk import Dcmtk
from acceptance.programs.dicomweb import retrieve, search, store
from acceptance.programs.postgres import Postgres15


def test_store_find_and_return_on_postgresql_15(
    fileroom_factory: FileroomFactory, postgres15: Postgres15, dcmtk_installed: None, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(database_url=postgres15.url, workers=2)
    assert not (room.data / "postgres").exists(), "no embedded database beside an external one"
    sent, uploaded = ct_series(5), ct_series(2)
    assert Dcmtk(room.dicom_port).store(sent).returncode == 0
    assert store(room.dicomweb, uploaded).status_code == 200
    received = retrieve(room.dicomweb, f"studies/{study_uid(sent[0])}")
    assert {part.dataset for part in received.values()} == {part.dataset for part in by_instance(sent).values()}
    name = str(pydicom.dcmread(uploaded[0], stop_before_pixels=True).PatientName)
    assert len(search(room.dicomweb, "studies", {"PatientName": name.lower()})) == 1


def test_a_second_start_finds_everything_again(
    fileroom_factory: FileroomFactory, postgres15: Postgres15, ct_series: SeriesFactory
) -> None:
    room = fileroom_factory(database_url=postgres15.url, workers=1)
    files = ct_series(3)
    assert store(room.dicomweb, files).status_code == 200
    room.stop()
    room.start()
    assert len(retrieve(room.dicomweb, f"studies/{study_uid(files[0])}")) == 3


def test_two_filerooms_share_one_database_and_one_store(
    fileroom_factory: FileroomFactory, postgres15: Postgres15, ct_series: SeriesFactory
) -> None:
    first = fileroom_factory(database_url=postgres15.url, workers=1)
    store_url = f"file://{first.data / 'store'}"
    second = fileroom_factory(database_url=postgres15.url, storage_url=store_url, workers=1)
    files = ct_series(3)
    assert store(first.dicomweb, files).status_code == 200
    assert len(retrieve(second.dicomweb, f"studies/{study_uid(files[0])}")) == 3
