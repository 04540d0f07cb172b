"""A row scope holds at every door: search, retrieval, C-FIND, C-GET, C-MOVE, commitment, correction and deletion agree.

Four studies, several scopes. What each scope shows is worked out here from its words; every door must say the same, and
say of the other studies what it says of one that was never there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    CTImageStorage,
    PatientRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)
from starlette.types import ASGIApp, Receive, Scope, Send

from fileroom.admin.callers import NODE_PERMISSIONS
from fileroom.admin.nodes import Node, add_node
from fileroom.admin.row_scopes import both, is_within
from fileroom.archive import commitment, overview, study_list
from fileroom.archive.commitment import CommitmentItem, CommitmentRequest
from fileroom.archive.correct import Corrections, add_corrections, list_corrections, revoke_corrections
from fileroom.archive.delete import delete_study
from fileroom.archive.frame_lookup import FrameLookup
from fileroom.archive.media_export import export_folder
from fileroom.archive.rebuild import rebuild
from fileroom.archive.retrieve import Selection
from fileroom.archive.services import Archive
from fileroom.core.access import EVERYTHING, NOBODY, SYSTEM, Access, ActorKind, Permission, RowScope, acting_as
from fileroom.core.access import set_process_access as act_as_process
from fileroom.core.errors import NotAllowedError, NotFoundError
from fileroom.dicom.correction import AttributeCorrection
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory
from fileroom.web.app import create_router
from stored_objects import CT, EXPLICIT_LE, make_file, store_file
from unit.scp.conftest import Peer

ROOT = "http://localhost"
NEVER_THERE = "1.2.99"


@dataclass(frozen=True)
class Study:
    """A study, with (modality, institution) of each of its series."""

    uid: str
    patient: str
    referring: str
    series: tuple[tuple[str, str], ...]
    brought_by: Access


def somebody(account_id: int, rows: RowScope = EVERYTHING) -> Access:
    return Access(ActorKind.PERSON, f"person{account_id}", frozenset(Permission), rows, account_id=account_id)


CT1 = Access(ActorKind.NODE, "CT1@10.0.0.1", NODE_PERMISSIONS)
STUDIES = (
    Study("1.2.1", "P1", "House^Gregory", (("CT", "St. Anna"),), CT1),
    Study("1.2.2", "P2", "WILSON^JAMES", (("MR", " ST.  ANNA "),), somebody(7)),
    Study("1.2.3", "P1", "HOUSE^GREGORY^^DR", (("CT", "North Clinic"), ("MR", "St. Anna")), SYSTEM),
    Study("1.2.4", "P3", "", (("US", ""),), somebody(8)),
)
SCOPES = {
    "everything": EVERYTHING,
    "an institution": RowScope(institutions=("st. anna",)),
    "institutions": RowScope(institutions=("NORTH clinic", "nowhere")),
    "a modality": RowScope(modalities=("CT",)),
    "modalities": RowScope(modalities=("US", "MR")),
    "a modality at an institution": RowScope(modalities=("CT",), institutions=("St. Anna",)),
    "a physician": RowScope(referring_physicians=("wilson^james",)),
    "physicians": RowScope(referring_physicians=("nobody^here", "HOUSE^GREGORY")),
    "a patient": RowScope(patient_ids=("P1",)),
    "a patient's modality": RowScope(patient_ids=("P1",), modalities=("MR",)),
    "own uploads": RowScope(own_uploads=True),
    "own uploads of a modality": RowScope(own_uploads=True, modalities=("CT",)),
    "nothing that is here": RowScope(modalities=("XA",)),
    "wildcards mean themselves": RowScope(patient_ids=("P*", "%"), referring_physicians=("*",)),
}


SLOW_DOORS = (
    "a modality at an institution",
    "physicians",
    "a patient's modality",
    "own uploads",
    "nothing that is here",
)
"""Scopes that doors are tried with where every one of them costs a second."""


def folded(text: str) -> str:
    return " ".join(text.casefold().split())


def shows(scope: RowScope, study: Study, uploader: int) -> bool:
    """The words of `RowScope`, once more."""
    if scope.patient_ids and study.patient not in scope.patient_ids:
        return False
    if scope.referring_physicians:
        name = study.referring.casefold()
        if name not in {one.casefold() for one in scope.referring_physicians}:
            return False
    if scope.modalities or scope.institutions:
        institutions = {folded(one) for one in scope.institutions}
        fits = [
            (not scope.modalities or modality in scope.modalities)
            and (not institutions or folded(institution) in institutions)
            for modality, institution in study.series
        ]
        if not any(fits):
            return False
    return not scope.own_uploads or study.brought_by.account_id == uploader


def shown(scope: RowScope) -> set[str]:
    """The studies that person 7 sees with the scope."""
    return {study.uid for study in STUDIES if shows(scope, study, 7)}


@pytest.fixture
async def full(archive: Archive) -> AsyncIterator[Archive]:
    """The archive with all studies, in a process in which nobody acts unless an edge says who."""
    for study in STUDIES:
        with acting_as(study.brought_by):
            for number, (modality, institution) in enumerate(study.series, 1):
                series = f"{study.uid}.{number}"
                file = make_file(
                    StudyInstanceUID=study.uid,
                    SeriesInstanceUID=series,
                    SOPInstanceUID=f"{series}.1",
                    PatientID=study.patient,
                    PatientName=f"{study.patient}^NAME",
                    ReferringPhysicianName=study.referring,
                    Modality=modality,
                    InstitutionName=institution,
                    SeriesNumber=number,
                )
                await store_file(archive, file)
    act_as_process(NOBODY)
    yield archive
    act_as_process(SYSTEM)


def client_of(archive: Archive, access: Access) -> httpx.AsyncClient:
    """HTTP in somebody's name."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(_as(create_router(archive), access)), base_url=ROOT)


def _as(app: ASGIApp, access: Access) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        with acting_as(access):
            await app(scope, receive, send)

    return serve


def everybody_with(rows: RowScope) -> Access:
    return somebody(7, rows)


# --- DICOMweb ---


@pytest.mark.parametrize("name", SCOPES)
async def test_searches_over_the_web(full: Archive, name: str) -> None:
    expected = shown(SCOPES[name])
    async with client_of(full, everybody_with(SCOPES[name])) as client:
        for resource in ("studies", "series", "instances"):
            answer = await client.get(f"/dicom-web/{resource}", params={"includefield": "00201200"})
            assert answer.status_code == 200
            assert {one["0020000D"]["Value"][0] for one in answer.json()} == expected, resource
            for one in answer.json():
                patient = one["00100020"]["Value"][0] if "00100020" in one else None
                if patient is not None and "00201200" in one:
                    counted = sum(s.patient == patient and s.uid in expected for s in STUDIES)
                    assert one["00201200"]["Value"] == [counted]
        for study in STUDIES:
            found = (await client.get(f"/dicom-web/studies/{study.uid}/series")).json()
            assert bool(found) == (study.uid in expected)
            by_uid = (await client.get("/dicom-web/studies", params={"StudyInstanceUID": study.uid})).json()
            assert bool(by_uid) == (study.uid in expected)


RESOURCES = (
    "studies/{s}",
    "studies/{s}/metadata",
    "studies/{s}/rendered",
    "studies/{s}/thumbnail",
    "studies/{s}/series/{s}.1",
    "studies/{s}/series/{s}.1/metadata",
    "studies/{s}/series/{s}.1/thumbnail",
    "studies/{s}/series/{s}.1/rendered",
    "studies/{s}/series/{s}.1/instances/{s}.1.1",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/metadata",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/rendered",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/thumbnail",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/pixeldata",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/bulkdata/7FE00010",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/bulkdata/00100010",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/frames/1",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/frames/1/rendered",
    "studies/{s}/series/{s}.1/instances/{s}.1.1/frames/1/thumbnail",
)


@pytest.mark.parametrize("name", SLOW_DOORS)
async def test_retrieval_over_the_web(full: Archive, name: str) -> None:
    expected = shown(SCOPES[name])
    async with client_of(full, everybody_with(SCOPES[name])) as client:
        addresses = [f"/dicom-web/{resource}" for resource in RESOURCES]
        addresses.append("/wado?requestType=WADO&studyUID={s}&seriesUID={s}.1&objectUID={s}.1.1")
        for address in addresses:
            never = await client.get(address.format(s=NEVER_THERE))
            assert never.status_code == 404, address
            for study in STUDIES:
                answer = await client.get(address.format(s=study.uid))
                if study.uid in expected:
                    assert answer.status_code == 200, (address, answer.text)
                else:
                    assert answer.status_code == 404, address
                    assert answer.text == never.text.replace(NEVER_THERE, study.uid)
        for study in STUDIES:
            zipped = await client.get(f"/dicom-web/studies/{study.uid}", headers={"accept": "application/zip"})
            assert zipped.status_code == (200 if study.uid in expected else 404)


async def test_what_is_remembered_for_one_is_not_told_to_another(full: Archive) -> None:
    lookup = FrameLookup(full)
    study = STUDIES[0].uid
    uids = (study, f"{study}.1", f"{study}.1.1")
    with acting_as(everybody_with(SCOPES["a modality"])):
        await lookup.find(*uids)
        await lookup.find(*uids)
    with acting_as(everybody_with(SCOPES["a physician"])), pytest.raises(NotFoundError):
        await lookup.find(*uids)
    with acting_as(somebody(7, SCOPES["own uploads"])), pytest.raises(NotFoundError):
        await lookup.find(*uids)


# --- DIMSE ---


@dataclass
class Told:
    """What one association was told, as sets of Study Instance UIDs (patients: of Patient IDs)."""

    by_level: dict[str, set[str]]
    got: set[str]
    moved: list[tuple[str, int]]


async def ask_as(port: int, title: str) -> Told:
    """C-FIND at every level, C-GET and C-MOVE of every study, by a peer with this AE title."""

    def run() -> Told:
        find, get = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
        move, patients = StudyRootQueryRetrieveInformationModelMove, PatientRootQueryRetrieveInformationModelFind
        told = Told({}, set(), [])

        def keep(event: evt.Event) -> int:
            told.got.add(str(event.dataset.StudyInstanceUID))
            return 0

        entity = AE(ae_title=title)
        for context in (find, get, move, patients, CTImageStorage):
            entity.add_requested_context(context, [EXPLICIT_LE])
        role = build_role(CTImageStorage, scp_role=True)
        association = entity.associate(
            "127.0.0.1", port, ae_title="FILEROOM", ext_neg=[role], evt_handlers=[(evt.EVT_C_STORE, keep)]
        )
        assert association.is_established
        for level, model, key in (
            ("PATIENT", patients, "PatientID"),
            ("STUDY", find, "StudyInstanceUID"),
            ("SERIES", find, "StudyInstanceUID"),
            ("IMAGE", find, "StudyInstanceUID"),
        ):
            answers = [data for _, data in association.send_c_find(question(level, **{key: ""}), model) if data]
            told.by_level[level] = {str(data[key].value) for data in answers}
        for study in (*(one.uid for one in STUDIES), NEVER_THERE):
            *_, (status, _) = association.send_c_get(question("STUDY", StudyInstanceUID=study), get)
            assert status.Status == 0
            *_, (status, _) = association.send_c_move(question("STUDY", StudyInstanceUID=study), "PEER", move)
            assert status.Status == 0
            told.moved.append((study, status.NumberOfCompletedSuboperations))
        association.release()
        return told

    return await asyncio.to_thread(run)


def question(level: str, **keys: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


@pytest.mark.parametrize("name", SLOW_DOORS)
async def test_associations(full: Archive, start_peer: Callable[..., Peer], name: str) -> None:
    """Another association, which sees everything, is open on the same server in between."""
    with acting_as(SYSTEM):
        await add_node(full.pool, Node("peer", "PEER", "127.0.0.1", start_peer(EXPLICIT_LE).port))
    accesses = {"SCOPED": everybody_with(SCOPES[name]), "FREE": everybody_with(EVERYTHING)}
    listening = socket.create_server(("127.0.0.1", 0))
    server = AssociationServer(PeerAssociationFactory(full, lambda aet, _host: accesses[aet]))
    await server.start(listening)
    try:
        port = listening.getsockname()[1]
        scoped, free = await asyncio.gather(ask_as(port, "SCOPED"), ask_as(port, "FREE"))
    finally:
        await server.close(0)
    for told, scope in ((scoped, SCOPES[name]), (free, EVERYTHING)):
        expected = shown(scope)
        assert told.by_level == {
            "PATIENT": {study.patient for study in STUDIES if study.uid in expected},
            "STUDY": expected,
            "SERIES": expected,
            "IMAGE": expected,
        }
        assert told.got == expected
        counts = {study.uid: len(study.series) for study in STUDIES if study.uid in expected}
        assert {study: count for study, count in told.moved if count} == counts


@pytest.mark.parametrize("name", SCOPES)
async def test_commitment(full: Archive, name: str) -> None:
    items = tuple(CommitmentItem(CT, f"{study.uid}.1.1") for study in STUDIES)
    with acting_as(everybody_with(SCOPES[name])):
        result = await commitment.check_items(full, CommitmentRequest("1.2.3", "ANY", "127.0.0.1", items))
    assert {item.sop_instance_uid.removesuffix(".1.1") for item in result.committed} == shown(SCOPES[name])
    assert {item.reason for item in result.failed} <= {commitment.NO_SUCH_OBJECT_INSTANCE}


# --- the rest ---


@pytest.mark.parametrize("name", SCOPES)
async def test_totals_and_export(full: Archive, name: str, tmp_path: Path) -> None:
    expected = [study for study in STUDIES if study.uid in shown(SCOPES[name])]
    with acting_as(everybody_with(SCOPES[name])):
        totals = await overview.totals(full)
        counts = (totals.patients.count, totals.studies.count, totals.series.count, totals.instances.count)
        series = sum(len(study.series) for study in expected)
        assert counts == (len({study.patient for study in expected}), len(expected), series, series)
        every = Selection(study_uids=tuple(study.uid for study in STUDIES))
        if expected:
            assert (await export_folder(full, every, tmp_path / "out")).objects == series
        else:
            with pytest.raises(NotFoundError):
                await export_folder(full, every, tmp_path / "out")


@pytest.mark.parametrize("name", SCOPES)
async def test_lists_of_studies_in_motion_and_with_exceptions(full: Archive, name: str) -> None:
    async with full.pool.connection() as connection:
        await connection.execute(
            b"""INSERT INTO lost_object (study_instance_uid, series_instance_uid, sop_instance_uid, storage_key, digest,
                    kind, reason)
                SELECT s.study_instance_uid, e.series_instance_uid, i.sop_instance_uid, i.storage_key, i.digest,
                    'missing', 'taken'
                FROM instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"""
        )
    with acting_as(everybody_with(SCOPES[name])):
        arriving = {study.study_instance_uid for study in await study_list.arriving_studies(full)}
        assert arriving == shown(SCOPES[name])
        assert set(await study_list.studies_with_exceptions(full)) == shown(SCOPES[name])
    for ask in (study_list.arriving_studies, study_list.studies_with_exceptions):
        with pytest.raises(NotAllowedError):
            await ask(full)  # nobody


async def test_two_scopes_together_show_what_both_of_them_show(full: Archive) -> None:
    """What `row_scopes.both` takes for the same is what the index takes for the same."""
    variants = [*SCOPES.values(), RowScope(patient_ids=("p1",)), RowScope(modalities=("ct", "MR"))]
    variants += [RowScope(institutions=("ST. ANNA ",)), RowScope(referring_physicians=("House^Gregory^^Dr",))]
    seen: dict[RowScope, set[str]] = {}
    for scope in variants:
        with acting_as(everybody_with(scope)):
            seen[scope] = {study.study_uid for study in (await study_list.list_studies(full, (), limit=10)).studies}
    for first in variants:
        for second in variants:
            together = both(first, second)
            if together is None:
                continue
            with acting_as(everybody_with(together)):
                found = {study.study_uid for study in (await study_list.list_studies(full, (), limit=10)).studies}
            assert found <= seen[first] & seen[second], (first, second)
            if is_within(first, second):
                assert seen[first] <= seen[second], (first, second)


async def test_own_uploads_stay_own_when_the_index_is_made_anew(full: Archive) -> None:
    with acting_as(SYSTEM):
        await rebuild(full)
    with acting_as(somebody(7, RowScope(own_uploads=True))):
        assert [study.study_uid for study in (await study_list.list_studies(full, (), limit=10)).studies] == ["1.2.2"]
    with acting_as(somebody(9, RowScope(own_uploads=True))):
        assert (await study_list.list_studies(full, (), limit=10)).studies == []


@pytest.mark.parametrize("name", ["a modality", "own uploads", "nothing that is here"])
async def test_what_is_not_seen_cannot_be_changed(full: Archive, name: str) -> None:
    correction = (AttributeCorrection((0x00100020,), "LO", ("P9",)),)
    with acting_as(SYSTEM):
        known = {
            study.uid: await add_corrections(full, Corrections(study.uid, correction, "why", "who"))
            for study in STUDIES
        }
    expected = shown(SCOPES[name])
    scoped = everybody_with(SCOPES[name])
    for study in STUDIES:
        for series_uid in (None, f"{study.uid}.1"):
            asked = Corrections(study.uid, correction, "why", "who", series_uid=series_uid)
            never = Corrections(NEVER_THERE, correction, "why", "who", series_uid=series_uid)
            with acting_as(scoped):
                if study.uid in expected:
                    await add_corrections(full, asked)
                    continue
                with pytest.raises(NotFoundError) as refused:
                    await add_corrections(full, asked)
                with pytest.raises(NotFoundError) as unknown:
                    await add_corrections(full, never)
                assert str(refused.value) == str(unknown.value).replace(NEVER_THERE, study.uid)
        with acting_as(scoped):
            assert bool(await list_corrections(full, study.uid)) == (study.uid in expected)
            if study.uid not in expected:
                with pytest.raises(NotFoundError, match="no corrections"):
                    await revoke_corrections(full, known[study.uid], actor="who")
                with pytest.raises(NotFoundError) as refused:
                    await delete_study(full, study.uid, actor="who")
                with pytest.raises(NotFoundError) as unknown:
                    await delete_study(full, NEVER_THERE, actor="who")
                assert str(refused.value) == str(unknown.value).replace(NEVER_THERE, study.uid)
            else:
                await revoke_corrections(full, known[study.uid], actor="who")
                assert (await delete_study(full, study.uid, actor="who")).studies == 1


async def test_a_correction_may_take_a_study_out_of_sight_and_is_whole_nevertheless(full: Archive) -> None:
    """The index of its instances is refreshed after it is out of the sight of whoever corrected it."""
    study = STUDIES[0].uid
    changes = (
        AttributeCorrection((0x00080060,), "CS", ("OT",)),
        AttributeCorrection((0x00200013,), "IS", ("77",)),
        AttributeCorrection((0x00080080,), "LO", ("South",)),
    )
    with acting_as(somebody(7, SCOPES["a modality"])):
        await add_corrections(full, Corrections(study, changes, "why", "who"))
        assert await list_corrections(full, study) == []
    async with client_of(full, somebody(7, RowScope(institutions=("south",)))) as client:
        found = (await client.get("/dicom-web/instances", params={"InstanceNumber": "77"})).json()
        assert [one["0020000D"]["Value"] for one in found] == [[study]]


async def test_a_study_belongs_to_who_began_it(full: Archive) -> None:
    """Whoever adds to somebody else's study does not get to see it by that."""
    intruder = somebody(9, RowScope(own_uploads=True))
    more = make_file(StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.2.9", SOPInstanceUID="1.2.2.9.1", PatientID="P2")
    with acting_as(intruder):
        await store_file(full, more)
        assert (await overview.totals(full)).studies.count == 0
        await store_file(
            full, make_file(StudyInstanceUID="1.2.5", SeriesInstanceUID="1.2.5.1", SOPInstanceUID="1.2.5.1.1")
        )
        assert (await overview.totals(full)).studies.count == 1
    node_of_its_own = Access(ActorKind.NODE, "CT1@10.0.0.1", NODE_PERMISSIONS, RowScope(own_uploads=True))
    with acting_as(node_of_its_own):
        assert (await overview.totals(full)).studies.count == 1
    nobodys = Access(ActorKind.PERSON, "", frozenset(Permission), RowScope(own_uploads=True))
    with acting_as(nobodys):
        assert (await overview.totals(full)).studies.count == 0
