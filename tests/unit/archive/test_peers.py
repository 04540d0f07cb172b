"""Fileroom as an SCU, in front of Fileroom."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage

from corpus.ct import make_ct_series
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_advice import advise
from fileroom.admin.ledger_rows import Direction, Outcome
from fileroom.admin.ledger_search import LedgerFilter, list_associations, read_association
from fileroom.archive import peers
from fileroom.archive.peer import Peer, echo
from fileroom.archive.peers import Sent, find, get, make_identifier, move, send
from fileroom.archive.recorded_calls import recorded
from fileroom.archive.services import Archive
from fileroom.core.errors import InvalidRequestError, PeerError
from fileroom.core.limits import BROKEN_ASSOCIATIONS_MAX, PRESENTATION_CONTEXTS_MAX
from fileroom.dicom.query import InformationModel
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory
from stored_objects import data_set_of, make_file, store_file

STUDY_ROOT, PATIENT_ROOT = InformationModel.STUDY_ROOT, InformationModel.PATIENT_ROOT


@pytest.fixture
async def peer(archive: Archive) -> AsyncIterator[Peer]:
    """The archive behind a DICOM port."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = AssociationServer(PeerAssociationFactory(archive))
    await server.start(listening)
    yield Peer("127.0.0.1", listening.getsockname()[1], "FILEROOM", "TESTER")
    await server.close(0)


async def sent(peer: Peer, *paths: Path) -> list[Sent]:
    return [result async for result in send(peer, paths)]


# --- echo ---


async def test_an_echo_takes_some_time(peer: Peer) -> None:
    assert 0 < await echo(peer) < 10_000


async def test_a_peer_that_refuses_or_is_not_there_is_told(peer: Peer) -> None:
    with pytest.raises(PeerError, match="called"):
        await echo(dataclasses.replace(peer, aet="OTHER"))
    with pytest.raises(PeerError):
        await echo(dataclasses.replace(peer, port=1))


async def test_a_wrong_title_of_ours_is_told_before_anything_is_sent(peer: Peer) -> None:
    with pytest.raises(InvalidRequestError, match="AE title"):
        await echo(dataclasses.replace(peer, own_aet="MUCH TOO LONG A TITLE"))


# --- send ---


async def test_files_are_sent_as_they_are(archive: Archive, peer: Peer, tmp_path: Path) -> None:
    paths = make_ct_series(tmp_path / "scans", 3)
    results = await sent(peer, *paths)
    assert [(r.path, r.status, r.reason, r.is_kept) for r in results] == [(str(p), 0, "", True) for p in paths]
    stored = [found async for found in archive.store.objects()]
    assert {data_set_of(await archive.store.read(s.key, 0, s.size)) for s in stored} == {
        data_set_of(path.read_bytes()) for path in paths
    }


async def test_what_the_peer_says_to_each_file_is_told(peer: Peer, tmp_path: Path) -> None:
    files = {"good": make_file(), "other": make_file(PatientName="ELSE^X"), "no study": make_file(StudyInstanceUID="")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    paths = [tmp_path / name for name in (*files, "text", "empty", "missing")]
    results = {Path(result.path).name: result for result in await sent(peer, *paths)}
    assert len(results) == 6
    assert (results["good"].status, results["good"].is_kept) == (0, True)
    assert (results["other"].status, results["other"].is_kept) == (0xB000, True)
    assert (results["no study"].status, results["no study"].is_kept) == (0xC000, False)
    assert "Study Instance UID" in results["no study"].reason
    for name in ("text", "empty", "missing"):
        assert results[name].status is None
        assert results[name].reason.startswith("not sent: ")


class Touchy:
    """A peer that breaks the association at some objects; counts the associations."""

    def __init__(self, breaks_at: set[str]) -> None:
        self.breaks_at = breaks_at
        self.kept: list[str] = []
        self.associations = 0

    def take(self, event: evt.Event) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.breaks_at:
            event.assoc.abort()
        else:
            self.kept.append(uid)
        return 0

    def count(self, _event: evt.Event) -> None:
        self.associations += 1

    @contextlib.contextmanager
    def serving(self) -> Iterator[Peer]:
        entity = AE(ae_title="TOUCHY")
        entity.add_supported_context(CTImageStorage)
        handlers = [(evt.EVT_C_STORE, self.take), (evt.EVT_ESTABLISHED, self.count)]
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        yield Peer("127.0.0.1", server.server_address[1], "TOUCHY", "TESTER")
        server.shutdown()


async def test_a_file_that_breaks_the_association_fails_alone(tmp_path: Path) -> None:
    paths = make_ct_series(tmp_path, 6)
    uids = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths]
    touchy = Touchy({uids[1], uids[4]})
    with touchy.serving() as peer:
        results = await sent(peer, *paths)
    assert [result.is_kept for result in results] == [True, False, True, True, False, True]
    assert touchy.kept == [uid for uid in uids if uid not in touchy.breaks_at]
    assert results[1].reason


async def test_a_peer_that_breaks_every_association_is_not_asked_for_ever(tmp_path: Path) -> None:
    paths = make_ct_series(tmp_path, 6)
    touchy = Touchy({str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in paths})
    with touchy.serving() as peer:
        results = await sent(peer, *paths)
    assert [result.path for result in results] == [str(path) for path in paths]
    assert not any(result.is_kept for result in results)
    assert touchy.associations == BROKEN_ASSOCIATIONS_MAX
    assert results[-1].reason.startswith("not sent: ")


async def test_no_file_needs_no_association(tmp_path: Path) -> None:
    assert await sent(Peer("127.0.0.1", 1, "X", "Y")) == []


def test_more_kinds_than_contexts_need_several_associations() -> None:
    kinds = [peers._File(Path("x"), f"1.2.{n}", "1", "1.2.840.10008.1.2.1", 0) for n in range(300)]
    files = [file for kind in kinds for file in (kind, kind)]
    groups = peers._groups_by_context(files)
    assert [file for group in groups for file in group] == files
    assert [len({file.sop_class_uid for file in group}) for group in groups] == [128, 128, 44]
    assert max(len({f.sop_class_uid for f in group}) for group in groups) <= PRESENTATION_CONTEXTS_MAX


# --- find ---


async def test_matches_are_data_sets(archive: Archive, peer: Peer) -> None:
    await store_file(archive, make_file(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen"))
    identifier = make_identifier("STUDY", ["PatientName=muller*", "StudyInstanceUID", "ModalitiesInStudy"])
    [match] = [match async for match in find(peer, STUDY_ROOT, identifier)]
    assert (str(match.PatientName), match.StudyInstanceUID, match.ModalitiesInStudy) == (
        "Müller^Jürgen",
        "1.2.3.1",
        "CT",
    )


async def test_a_question_that_the_peer_refuses_is_an_error_with_its_reason(peer: Peer) -> None:
    with pytest.raises(PeerError, match=r"C-FIND with status A900: .*PATIENT"):
        [match async for match in find(peer, STUDY_ROOT, make_identifier("PATIENT", []))]


@pytest.mark.parametrize(
    ("key", "tag", "value"),
    [
        ("PatientID=123", 0x00100020, "123"),
        ("PatientID", 0x00100020, ""),
        ("00100020=a=b", 0x00100020, "a=b"),
        ("0010,0020=x", 0x00100020, "x"),
        ("Rows=", 0x00280010, ""),
    ],
)
def test_keys_are_keywords_or_tags(key: str, tag: int, value: str) -> None:
    identifier = make_identifier("STUDY", [key])
    assert identifier.QueryRetrieveLevel == "STUDY"
    assert str(identifier[tag].value or "") == value


def test_a_sequence_can_be_asked_for() -> None:
    identifier = make_identifier("SERIES", ["RequestAttributesSequence"])
    assert list(identifier.RequestAttributesSequence) == []
    assert b"\x40\x00\x75\x02" in peers._encode(identifier, "1.2.840.10008.1.2.1")


@pytest.mark.parametrize("key", ["Nonsense", "", "=1", "001000200=1", "00091001=1"])
def test_a_key_that_is_none_is_named(key: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"is no attribute|not in the data dictionary"):
        make_identifier("STUDY", [key])


# --- get and move ---


async def test_objects_come_into_files(archive: Archive, peer: Peer, tmp_path: Path) -> None:
    files = make_ct_series(None, 3)
    for file in files:
        await store_file(archive, file)
    wanted = pydicom.dcmread(io.BytesIO(files[0]))
    identifier = make_identifier("STUDY", [f"StudyInstanceUID={wanted.StudyInstanceUID}"])
    commands = [command async for command in get(peer, STUDY_ROOT, identifier, lambda uid: tmp_path / f"{uid}.dcm")]
    assert (commands[-1].status, commands[-1].completed_suboperations) == (0, 3)
    received = {data_set_of(path.read_bytes()) for path in tmp_path.glob("*.dcm")}
    assert received == {data_set_of(file) for file in files}


async def test_a_destination_that_the_peer_does_not_know_is_an_error(archive: Archive, peer: Peer) -> None:
    await store_file(archive, make_file())
    identifier = make_identifier("STUDY", ["StudyInstanceUID=1.2.3.1"])
    with pytest.raises(PeerError, match="C-MOVE with status A801"):
        [command async for command in move(peer, PATIENT_ROOT, identifier, "NOBODY")]


# --- the ledger ---


async def test_every_call_of_ours_stands_in_the_ledger(peer: Peer, archive: Archive, tmp_path: Path) -> None:
    ledger = Ledger(archive.pool, archive.now)
    by_ledger = recorded(ledger)
    path = tmp_path / "a.dcm"
    path.write_bytes(make_file())
    await echo(peer, by_ledger)
    assert [one.status async for one in send(peer, [path], by_ledger)] == [0]
    keys = make_identifier("STUDY", ["StudyInstanceUID=1.2.3.1"])
    assert len([match async for match in find(peer, STUDY_ROOT, keys, by_ledger)]) == 1
    async for _ in get(peer, STUDY_ROOT, keys, lambda _uid: tmp_path / "b.dcm", by_ledger):
        pass
    with pytest.raises(PeerError):
        async for _ in move(peer, STUDY_ROOT, keys, "NOWHERE", by_ledger):
            pass
    with pytest.raises(PeerError):
        await echo(dataclasses.replace(peer, aet="OTHER"), by_ledger)
    with pytest.raises(PeerError):
        await echo(dataclasses.replace(peer, port=1), by_ledger)
    await ledger.flush()
    out = await list_associations(archive.pool, LedgerFilter(direction=Direction.OUT))
    found = [await read_association(archive.pool, one.id or 0) for one in reversed(out)]
    outcomes = [(one.purpose, one.outcome) for one in found]
    assert outcomes == [
        ("echo", Outcome.RELEASED),
        ("send", Outcome.RELEASED),
        ("find", Outcome.RELEASED),
        ("get", Outcome.RELEASED),
        ("move", Outcome.ABORTED_BY_US),
        ("echo", Outcome.REJECTED),
        ("echo", Outcome.UNREACHABLE),
    ]
    kinds = [[(row.kind, row.by_us, row.status) for row in one.operations] for one in found[:5]]
    assert kinds[0] == [("C-ECHO", True, 0)]
    assert kinds[1] == [("C-STORE", True, 0)]
    assert found[1].operations[0].study_instance_uid == "1.2.3.1"
    assert found[1].operations[0].bytes > 0
    assert kinds[2] == [("C-FIND", True, 0)]
    assert sorted(kinds[3]) == [("C-GET", True, 0), ("C-STORE", False, 0)]
    assert kinds[4] == [("C-MOVE", True, 0xA801)]


async def test_an_object_that_the_peer_takes_in_no_form_is_told_with_the_next_step(
    archive: Archive, tmp_path: Path
) -> None:
    """A receiver of uncompressed CT gets one that is JPEG 2000 and one that is not."""
    entity = AE(ae_title="PLAIN")
    entity.add_supported_context(CTImageStorage, "1.2.840.10008.1.2.1")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0)])
    ledger = Ledger(archive.pool, archive.now)
    try:
        plain, packed = tmp_path / "a.dcm", tmp_path / "b.dcm"
        plain.write_bytes(make_file())
        packed.write_bytes(make_file("1.2.840.10008.1.2.4.90", SOPInstanceUID="1.2.3.9", pixels=None))
        to = Peer("127.0.0.1", server.server_address[1], "PLAIN", "FILEROOM")
        results = [one async for one in send(to, [plain, packed], recorded(ledger))]
    finally:
        server.shutdown()
    assert [one.is_kept for one in results] == [True, False]
    await ledger.flush()
    [entry] = await list_associations(archive.pool, LedgerFilter())
    said = [one.what_text for one in advise(await read_association(archive.pool, entry.id or 0), "FILEROOM")]
    assert said == ["1 objects were not sent to PLAIN: it does not take CT Image Storage as JPEG 2000 (Lossless Only)."]
