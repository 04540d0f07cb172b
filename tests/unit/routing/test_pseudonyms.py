"""The vault: one patient one pseudonym, whoever asks; nothing in the database names anybody; revealing is audited."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

import psycopg
import pytest
from pydicom.dataset import Dataset

from fileroom.archive.services import Archive
from fileroom.core.access import Access, ActorKind, Permission, acting_as
from fileroom.core.errors import ConfigurationError, InvalidRequestError, NotAllowedError, NotFoundError
from fileroom.deid.errors import UnknownPatientError
from fileroom.deid.pseudonyms import identity_of
from fileroom.routing.deid_projects import list_projects, put_project
from fileroom.routing.pseudonyms import open_pseudonyms, reveal


@pytest.fixture
def empty_archive(archive: Archive, tmp_path: Path) -> Archive:
    """With a data folder of its own, where the sealing key is made."""
    return dataclasses.replace(archive, settings=archive.settings.model_copy(update={"data": tmp_path / "data"}))


def header(patient_id: str = "P4711", name: str = "MUSTERFRAU^ERIKA") -> Dataset:
    dataset = Dataset()
    dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = patient_id, name, "19640812"
    dataset.StudyInstanceUID = "1.2.3.4"
    return dataset


async def test_same_patient_gets_the_same_pseudonym_from_every_process(empty_archive: Archive) -> None:
    await put_project(empty_archive, "STUDY01", {"pseudonym": "STUDY01-{n:04}"})
    several = [await open_pseudonyms(empty_archive, "STUDY01") for _ in range(8)]
    headers = [header(f"P{number}") for number in range(5)]
    await asyncio.gather(*(one.learn(headers) for one in several))
    made = [[one.patient(identity_of(head)) for head in headers] for one in several]
    assert all(one == made[0] for one in made)
    assert {one.patient_id for one in made[0]} == {f"STUDY01-{number:04}" for number in range(1, 6)}
    assert all(-365 <= one.shift_days <= -1 for one in made[0])
    assert len({one.uid("1.2.3") for one in several}) == 1


async def test_projects_give_other_pseudonyms_and_uids(empty_archive: Archive) -> None:
    await put_project(empty_archive, "A", {"pseudonym": "A-{n}"})
    await put_project(empty_archive, "B", {"pseudonym": "B-{n}"})
    a, b = await open_pseudonyms(empty_archive, "A"), await open_pseudonyms(empty_archive, "B")
    assert a.uid("1.2.3") != b.uid("1.2.3")
    assert a.hashed("x") != b.hashed("x")


async def test_database_without_the_key_names_nobody(empty_archive: Archive, empty_database: str) -> None:
    fields = {"pseudonym": "S-{n}", "patient_map": "P4711,TRIAL-77\nP9,TRIAL-78"}
    await put_project(empty_archive, "S", fields)
    opened = await open_pseudonyms(empty_archive, "S")
    await opened.learn([header(), header("P5000", "SCHMIDT^OTTO")])
    assert opened.patient(identity_of(header())).patient_id == "TRIAL-77"
    with psycopg.connect(empty_database) as connection:
        tables = [row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        dump = "\n".join(
            str(row) for table in tables for row in connection.execute(f'SELECT t.*::text FROM "{table}" AS t')
        )
        raw = b"".join(bytes(row[0]) for row in connection.execute("SELECT sealed FROM pseudonym"))
    for secret in ("P4711", "MUSTERFRAU", "SCHMIDT", "P5000", "19640812", "TRIAL-77"):
        assert secret not in dump
        assert secret.encode() not in raw
    (shown,) = await list_projects(empty_archive)
    assert shown.fields["patient_map"] == "secret"


async def test_patient_who_is_not_in_the_map_can_be_refused(empty_archive: Archive) -> None:
    await put_project(empty_archive, "S", {"patient_map": "P1,TRIAL-1", "others": "refuse"})
    opened = await open_pseudonyms(empty_archive, "S")
    await opened.learn([header("P1"), header("P2")])
    assert opened.patient(identity_of(header("P1"))).patient_name == "TRIAL-1"
    with pytest.raises(UnknownPatientError, match="patient map of S"):
        opened.patient(identity_of(header("P2")))


async def test_reveal_needs_permission_and_reason_and_is_audited(empty_archive: Archive, empty_database: str) -> None:
    await put_project(empty_archive, "S", {"pseudonym": "S-{n}"})
    opened = await open_pseudonyms(empty_archive, "S")
    await opened.learn([header()])
    somebody = Access(ActorKind.PERSON, "ann", frozenset(Permission) - {Permission.IDENTITY_REVEAL})
    with acting_as(somebody), pytest.raises(NotAllowedError):
        await reveal(empty_archive, "S", "S-1", "adverse event")
    with pytest.raises(InvalidRequestError, match="why"):
        await reveal(empty_archive, "S", "S-1", "  ")
    found = await reveal(empty_archive, "S", "S-1", "adverse event")
    assert (found.patient_id, found.patient_name, found.birth_date) == ("P4711", "MUSTERFRAU^ERIKA", "19640812")
    with pytest.raises(NotFoundError):
        await reveal(empty_archive, "S", "S-2", "looking around")
    with psycopg.connect(empty_database) as connection:
        events = "".join(str(row) for row in connection.execute("SELECT e.*::text FROM audit_event AS e"))
    assert "adverse event" in events
    assert "looking around" in events


async def test_vault_does_not_open_with_another_key(empty_archive: Archive) -> None:
    await put_project(empty_archive, "S", {})
    await open_pseudonyms(empty_archive, "S")
    key = empty_archive.settings.data / "keys" / "sealing.key"
    key.write_bytes(b"A" * 43 + b"=")
    with pytest.raises(ConfigurationError, match=r"sealing\.key"):
        await open_pseudonyms(empty_archive, "S")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"options": ["full_dates", "modified_dates"]}, "either"),
        ({"options": ["everything"]}, "no option"),
        ({"pseudonym": "{n}{n}"}, "pattern"),
        ({"pseudonym": "{n.__class__}"}, "pattern"),
        ({"shift_days": 0}, "Dates are moved"),
        ({"overrides": [{"tag": "PatientName", "action": "keep"}]}, "never kept"),
        ({"overrides": [{"tag": "0009,1001", "action": "keep"}]}, "safe_private"),
        ({"overrides": [{"tag": "StudyID", "action": "burn"}]}, "action"),
        ({"devices": [{"where": {"Modality": "US"}, "regions": []}]}, "Manufacturer"),
        ({"safe_private": [{"creator": "X", "tag": "0018xx10"}]}, "safe private"),
        ({"patient_map": "P1,A\nP2,A"}, "Line 2"),
        ({"colour": "red"}, "no field"),
    ],
)
async def test_what_is_wrong_with_a_project_is_said(
    empty_archive: Archive, fields: dict[str, object], word: str
) -> None:
    with pytest.raises(InvalidRequestError, match=word):
        await put_project(empty_archive, "S", fields)
