"""What the ledger says of associations that other programs really made: contexts, operations, ends, and why."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from pynetdicom import AE
from pynetdicom.sop_class import (
    BasicGrayscalePrintManagementMeta,
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fileroom.admin.callers import Admission
from fileroom.admin.ledger import Ledger
from fileroom.admin.ledger_advice import advise
from fileroom.admin.ledger_rows import Cause, Direction, Mark, Outcome
from fileroom.admin.ledger_search import AssociationEntry, LedgerFilter, read_association
from fileroom.admin.nodes import Node, add_node
from fileroom.archive.associations import search_associations, show_association
from fileroom.archive.services import Archive
from fileroom.archive.store import IncomingObject
from fileroom.core.clock import system_now
from fileroom.core.errors import DatabaseError, StorageFullError
from fileroom.net.association_handler import PeerAddress
from fileroom.net.association_server import AssociationServer
from fileroom.scp import association as association_module
from fileroom.scp import offer
from fileroom.scp.association import PeerAssociationFactory
from fileroom.ul.negotiation import AbstractSyntaxRule
from stored_objects import make_file, store_file
from unit.scp.conftest import Peer

needs_storescu = pytest.mark.skipif(shutil.which("storescu") is None, reason="needs DCMTK (Debian package dcmtk)")


@pytest.fixture
async def recorded(archive: Archive) -> Archive:
    """The archive with a ledger that is written when the test says so."""
    return dataclasses.replace(archive, ledger=Ledger(archive.pool, system_now))


@pytest.fixture
async def port(recorded: Archive) -> AsyncIterator[int]:
    """The port that serves it."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = AssociationServer(PeerAssociationFactory(recorded))
    await server.start(listening)
    yield listening.getsockname()[1]
    await server.close(0)


async def entries(archive: Archive, count: int = 1, **wanted: Any) -> list[AssociationEntry]:
    """So many ended associations, the newest first, as the ledger has them."""
    async with asyncio.timeout(10):
        while True:
            await archive.ledger.flush()
            found = await search_associations(archive, LedgerFilter(**wanted))
            ended = [entry for entry in found if entry.ended_at is not None]
            if len(ended) >= count:
                assert len(found) == count
                return [await read_association(archive.pool, entry.id or 0) for entry in found]
            await asyncio.sleep(0.01)


async def only_entry(archive: Archive) -> AssociationEntry:
    return (await entries(archive))[0]


def why(entry: AssociationEntry) -> list[str]:
    return [f"{advice.what_text} {advice.next_text}" for advice in advise(entry, "FILEROOM")]


async def call(
    port: int, use: Callable[[Any], Any], *contexts: tuple[str, list[str] | None], called: str = "FILEROOM"
) -> Any:
    """Open an association by pynetdicom and use it; None where it was not accepted."""

    def run() -> Any:
        entity = AE(ae_title="CT1")
        for abstract, syntaxes in contexts or ((Verification, None),):
            entity.add_requested_context(abstract, syntaxes)
        association = entity.associate("127.0.0.1", port, ae_title=called)
        if not association.is_established:
            return None
        result = use(association)
        if association.is_established:
            association.release()
        return result

    return await asyncio.to_thread(run)


async def storescu(port: int, folder: Path, files: list[bytes], *options: str) -> int:
    for number, file in enumerate(files):
        (folder / f"{number:03}.dcm").write_bytes(file)
    program = await asyncio.create_subprocess_exec(
        "storescu", "-aet", "CT1", "-aec", "FILEROOM", *options, "+sd", "127.0.0.1", str(port), str(folder),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    return await program.wait()


async def test_an_echo_stands_there_with_its_peer_its_contexts_and_its_end(recorded: Archive, port: int) -> None:
    await call(port, lambda association: [association.send_c_echo() for _ in range(3)])
    entry = await only_entry(recorded)
    assert (entry.direction, entry.calling_aet, entry.called_aet) == (Direction.IN, "CT1", "FILEROOM")
    assert (entry.peer_host, entry.outcome, entry.mark) == ("127.0.0.1", Outcome.RELEASED, Mark.GOOD)
    assert entry.implementation_version.startswith("PYNETDICOM")
    assert entry.peer_port > 0
    [context] = entry.contexts
    assert (context.abstract_syntax, context.result) == (Verification, 0)
    assert context.transfer_syntax in context.transfer_syntaxes
    [operation] = entry.operations
    assert (operation.kind, operation.count, operation.status) == ("C-ECHO", 3, 0)
    assert entry.bytes_in > 300
    assert entry.bytes_out > 300
    assert why(entry) == []


@needs_storescu
async def test_stored_objects_are_counted_by_series(recorded: Archive, port: int, tmp_path: Path) -> None:
    files = [
        make_file(SOPInstanceUID=f"1.2.3.{series}.{n}", SeriesInstanceUID=f"1.2.3.{series}")
        for series in (1, 2)
        for n in range(5)
    ]
    assert await storescu(port, tmp_path, files) == 0
    entry = await only_entry(recorded)
    rows = {row.series_instance_uid: row for row in entry.operations}
    assert set(rows) == {"1.2.3.1", "1.2.3.2"}
    for row in rows.values():
        assert (row.kind, row.count, row.status, row.study_instance_uid) == ("C-STORE", 5, 0, "1.2.3.1")
        assert row.bytes > 5 * 200
        assert row.ended_at is not None
        assert 0 < row.busy_s <= 10
    assert (entry.objects, entry.failures, entry.mark) == (10, 0, Mark.GOOD)
    assert entry.bytes_in > sum(row.bytes for row in rows.values())


@needs_storescu
async def test_a_transfer_syntax_that_is_refused_is_named_with_what_to_do(
    recorded: Archive, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer, "_UNKNOWN_STORAGE_RULE", AbstractSyntaxRule(offer._PREFERRED))
    file = make_file(JPEG2000Lossless, pixels=encapsulate([b"\xff\x4f\xff\x51"]))
    await storescu(port, tmp_path, [file], "-xv", "-R")
    entry = await only_entry(recorded)
    assert {context.result for context in entry.contexts} >= {4}
    assert entry.mark is not Mark.GOOD
    assert any("JPEG 2000" in text and "CT Image Storage" in text and "Nodes > CT1" in text for text in why(entry))


async def test_a_proposal_of_jpeg_2000_only_is_a_failure(
    recorded: Archive, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer, "_UNKNOWN_STORAGE_RULE", AbstractSyntaxRule(offer._PREFERRED))
    await call(port, lambda _: None, (CTImageStorage, [JPEG2000Lossless]))
    entry = await only_entry(recorded)
    assert (entry.contexts_proposed, entry.contexts_accepted, entry.mark) == (1, 0, Mark.FAILED)
    assert "CT1 proposed only JPEG 2000" in why(entry)[0]


async def test_what_is_refused_and_not_needed_is_no_failure(recorded: Archive, port: int) -> None:
    printing = (BasicGrayscalePrintManagementMeta, None)
    await call(port, lambda association: association.send_c_echo(), (Verification, None), printing)
    entry = await only_entry(recorded)
    assert [context.result for context in entry.contexts] == [0, 3]
    assert (entry.mark, why(entry)) == (Mark.GOOD, [])


async def test_a_wrong_called_title_says_which_one_is_right(recorded: Archive, port: int) -> None:
    assert await call(port, lambda _: None, called="OTHERPACS") is None
    entry = await only_entry(recorded)
    assert (entry.outcome, entry.reject_source, entry.reject_reason) == (Outcome.REJECTED, 1, 7)
    assert why(entry)[0].startswith("CT1 called OTHERPACS, but this archive is called FILEROOM.")


async def test_an_unknown_caller_says_how_to_approve_it(
    recorded: Archive, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object, **__: object) -> Admission:
        return Admission(Cause.UNKNOWN_CALLER)

    monkeypatch.setattr(association_module, "admit", unknown)
    await call(port, lambda _: None)
    entry = await only_entry(recorded)
    assert entry.outcome is Outcome.REJECTED
    assert "nobody has approved" in why(entry)[0]
    assert "approve it as a node" in why(entry)[0]


async def test_a_caller_that_cannot_be_looked_up_is_told_apart(
    recorded: Archive, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> Admission:
        raise DatabaseError("The database does not answer.")

    monkeypatch.setattr(association_module, "admit", away)
    await call(port, lambda _: None)
    assert "The database does not answer. See under System" in why(await only_entry(recorded))[0]


async def test_an_abort_of_the_peer_is_told_with_its_source(recorded: Archive, port: int) -> None:
    await call(port, lambda association: association.abort())
    entry = await only_entry(recorded)
    assert (entry.outcome, entry.abort_source, entry.mark) == (Outcome.ABORTED_BY_PEER, 0, Mark.FAILED)
    assert "A-ABORT of its application" in why(entry)[0]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (bytes.fromhex("160301020001000100"), "spoke TLS"),
        (b"GET / HTTP/1.1\r\n\r\n", "web port"),
        (b"\xff" * 20, "not DICOM"),
    ],
)
async def test_what_is_no_dicom_is_told_apart(recorded: Archive, port: int, sent: bytes, sentence: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await reader.readexactly(10)  # an A-ABORT
    writer.close()
    entry = await only_entry(recorded)
    assert (entry.calling_aet, entry.outcome) == ("", Outcome.ABORTED_BY_US)
    assert sentence in why(entry)[0]


async def test_a_health_check_that_says_nothing_is_no_call(recorded: Archive, port: int) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.close()
    await writer.wait_closed()
    await call(port, lambda association: association.send_c_echo())
    assert (await only_entry(recorded)).calling_aet == "CT1"


@needs_storescu
async def test_a_full_disk_names_each_object_that_was_refused(
    recorded: Archive, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(incoming: IncomingObject) -> None:
        await incoming.abort()
        raise StorageFullError("The object store has less than 256 MiB left.")

    monkeypatch.setattr(IncomingObject, "finish", full)
    files = [make_file(SOPInstanceUID=f"1.2.3.1.{n}") for n in range(3)]
    await storescu(port, tmp_path, files, "-nh")
    entry = await only_entry(recorded)
    assert entry.failures == len(entry.operations) > 0
    assert {row.status for row in entry.operations} == {0xA700}
    assert {row.sop_instance_uid for row in entry.operations} <= {f"1.2.3.1.{n}" for n in range(3)}
    assert "less than 256 MiB left. Make room on the object store" in why(entry)[0]


async def test_an_object_that_is_cut_off_is_named(recorded: Archive, port: int) -> None:
    from fileroom.dimse.command_set import CommandField, CommandSet, encode_command
    from fileroom.dimse.message import encode_message
    from fileroom.ul.items import PresentationContextProposal
    from fileroom.ul.pdu import AssociateRQ, encode

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    proposal = PresentationContextProposal(1, CTImageStorage, ("1.2.840.10008.1.2",))
    writer.write(encode(AssociateRQ("FILEROOM", "CT1", (proposal,))))
    await reader.read(4096)  # all of the A-ASSOCIATE-AC: closing with unread bytes resets the connection
    command = CommandSet(
        CommandField.C_STORE_RQ, 1, affected_sop_class_uid=CTImageStorage, affected_sop_instance_uid="1.2.3.9",
        has_dataset=True, priority=0,
    )  # fmt: skip
    whole = encode_message(1, encode_command(command), bytes(1000), 16384)
    writer.write(whole[:-500])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    entry = await only_entry(recorded)
    assert entry.outcome is Outcome.CONNECTION_LOST
    [row] = entry.operations
    assert (row.kind, row.status, row.sop_instance_uid) == ("C-STORE", None, "1.2.3.9")
    assert any("cut off" in text for text in why(entry))


async def test_a_search_stands_there_with_its_matches(recorded: Archive, port: int) -> None:
    for n in range(3):
        await store_file(
            recorded,
            make_file(StudyInstanceUID=f"1.2.{n}", SeriesInstanceUID=f"1.2.{n}.1", SOPInstanceUID=f"1.2.{n}.1.1"),
        )
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", ""
    wrong = Dataset()
    wrong.QueryRetrieveLevel = "PLANET"

    def use(association: Any) -> None:
        for identifier in (keys, wrong):
            list(association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind))

    await call(port, use, (StudyRootQueryRetrieveInformationModelFind, None))
    entry = await only_entry(recorded)
    assert [(row.kind, row.status, row.matches) for row in entry.operations] == [
        ("C-FIND", 0, 3),
        ("C-FIND", 0xA900, 0),
    ]
    assert "PLANET" in why(entry)[0]
    assert entry.failures == 1


async def test_a_move_leads_to_the_association_that_it_caused(
    recorded: Archive, port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(recorded.pool, Node("peer", "PEER", "127.0.0.1", peer.port))
    for n in range(4):
        await store_file(recorded, make_file(SOPInstanceUID=f"1.2.3.1.1.{n + 1}"))
    peer.status = lambda dataset: 0xA700 if dataset.SOPInstanceUID.endswith("2") else 0
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", "1.2.3.1"
    move = StudyRootQueryRetrieveInformationModelMove
    await call(port, lambda association: list(association.send_c_move(keys, "PEER", move)), (move, None))
    asked, sent = sorted(await entries(recorded, 2), key=lambda entry: entry.direction)
    [row] = asked.operations
    assert (row.kind, row.destination, row.status, row.completed, row.failed) == ("C-MOVE", "PEER", 0xB000, 3, 1)
    assert "1 of 4 objects that CT1 asked for did not arrive" in why(asked)[0]
    assert (sent.direction, sent.purpose, sent.parent) == (Direction.OUT, "move", asked.id)
    assert (sent.calling_aet, sent.called_aet, sent.peer_port) == ("FILEROOM", "PEER", peer.port)
    assert sorted((row.count, row.status, row.by_us) for row in sent.operations) == [(1, 0xA700, True), (3, 0, True)]
    assert why(sent)[0].startswith("PEER answered C-STORE with failure A700H")


async def test_a_destination_that_nobody_knows_or_nobody_reaches_is_told(recorded: Archive, port: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        closed_port = unused.getsockname()[1]
    await add_node(recorded.pool, Node("gone", "GONE", "127.0.0.1", closed_port))
    await store_file(recorded, make_file())
    keys = Dataset()
    keys.QueryRetrieveLevel, keys.StudyInstanceUID = "STUDY", "1.2.3.1"
    move = StudyRootQueryRetrieveInformationModelMove

    def use(association: Any) -> None:
        for destination in ("NOBODY", "GONE"):
            list(association.send_c_move(keys, destination, move))

    await call(port, use, (move, None))
    asked, sent = sorted(await entries(recorded, 2), key=lambda entry: entry.direction)
    assert any("Add a node with AE title NOBODY" in text for text in why(asked))
    assert sent.outcome is Outcome.UNREACHABLE
    assert "GONE could not be reached" in why(sent)[0]


async def test_associations_are_found_by_patient_and_shown_with_the_study(recorded: Archive, port: int) -> None:
    for patient, name in (("P1", "DOE^JANE"), ("P2", "ROE^RICHARD")):
        file = make_file(
            PatientID=patient, PatientName=name, StudyInstanceUID=f"1.2.{patient[1]}",
            SeriesInstanceUID=f"1.2.{patient[1]}.1", SOPInstanceUID=f"1.2.{patient[1]}.1.1",
        )  # fmt: skip
        import io

        from pydicom import dcmread

        dataset = dcmread(io.BytesIO(file))
        await call(
            port,
            lambda association, dataset=dataset: association.send_c_store(dataset),
            (CTImageStorage, ["1.2.840.10008.1.2.1"]),
        )
    await entries(recorded, 2)
    for patient in ("P2", "ROE*", "roe^richard"):
        [entry] = await search_associations(recorded, LedgerFilter(), patient=patient)
        _, [study] = await show_association(recorded, entry.id or 0)
        assert (study.study_instance_uid, study.patient_id, study.patient_name) == ("1.2.2", "P2", "ROE^RICHARD")
    assert await search_associations(recorded, LedgerFilter(), patient="NOBODY") == []


async def test_without_a_ledger_everything_is_served(archive: Archive, dicom_port: int) -> None:
    assert (await call(dicom_port, lambda association: association.send_c_echo())).Status == 0


async def test_a_ledger_that_cannot_write_holds_up_nothing(
    recorded: Archive, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise DatabaseError("away")

    ledger = recorded.ledger
    monkeypatch.setattr(ledger._writer, "write", broken)
    assert (await call(port, lambda association: association.send_c_echo())).Status == 0
    with pytest.raises(DatabaseError):
        await ledger.flush()
    monkeypatch.undo()
    assert (await only_entry(recorded)).operations[0].kind == "C-ECHO"


def test_the_journal_of_a_ledger_without_a_database_costs_no_memory() -> None:
    ledger = Ledger(None, system_now)
    journal = ledger.begin(Direction.IN, PeerAddress("10.0.0.1", 104))
    journal.called("A", "B")
    assert journal.unwritten == {}
