"""What a node's fields do to associations: roles, addresses, transfer syntaxes, character sets, limits, changes meanwhile."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from fileroom.admin.node_fields import Node
from fileroom.admin.nodes import add_node, change_node, get_node, set_enabled
from fileroom.archive.retrieve import Selection, list_instances
from fileroom.archive.services import Archive
from fileroom.dicom import uids
from fileroom.net.association_server import AssociationServer
from fileroom.scp.association import PeerAssociationFactory
from fileroom.scp.node_watch import NodeWatch
from stored_objects import make_file, store_file
from unit.scp.conftest import Peer

FIND, GET = StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet
MOVE, COMMIT = StudyRootQueryRetrieveInformationModelMove, uids.STORAGE_COMMITMENT_PUSH
EXPLICIT, IMPLICIT, RLE = uids.EXPLICIT_VR_LITTLE_ENDIAN, uids.IMPLICIT_VR_LITTLE_ENDIAN, uids.RLE_LOSSLESS
USER_REJECTION, SYNTAXES_REFUSED = 0x01, 0x04


@pytest.fixture
async def watch(archive: Archive) -> NodeWatch:
    return NodeWatch(archive.pool)


@pytest.fixture
async def port(archive: Archive, watch: NodeWatch) -> AsyncIterator[int]:
    """The archive's port, with a watch that the test moves on itself."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = AssociationServer(PeerAssociationFactory(archive, watch=watch))
    await server.start(listening)
    yield listening.getsockname()[1]
    await server.close(0)


async def node(archive: Archive, **fields: Any) -> Node:
    return await add_node(archive.pool, dataclasses.replace(Node("ct1", "CT1", "127.0.0.1", 104), **fields))


def entity(*contexts: tuple[str, list[str] | None]) -> AE:
    made = AE(ae_title="CT1")
    made.acse_timeout = made.dimse_timeout = made.network_timeout = 10
    for sop_class, syntaxes in contexts:
        made.add_requested_context(sop_class, syntaxes)
    return made


async def call(port: int, work: Callable[[Any], Any], *contexts: tuple[str, list[str] | None], **how: Any) -> Any:
    """What `work` makes of an association as CT1; None where it was refused."""

    def run() -> Any:
        association = entity(*contexts).associate("127.0.0.1", port, ae_title=how.pop("title", "FILEROOM"), **how)
        if not association.is_established:
            return None
        try:
            return work(association)
        finally:
            association.release()

    return await asyncio.to_thread(run)


def results(association: Any) -> dict[str, int]:
    """By SOP class: 0 for accepted."""
    everything = [*association.accepted_contexts, *association.rejected_contexts]
    return {str(context.abstract_syntax): context.result for context in everything}


ALL = [(Verification, None), (CTImageStorage, None), (FIND, None), (MOVE, None), (COMMIT, None)]


@pytest.mark.parametrize(
    ("roles", "accepted"),
    [
        (("send",), {CTImageStorage}),
        (("query",), {FIND}),
        (("retrieve",), {MOVE}),
        (("commit",), {COMMIT}),
        (("destination",), set()),
        (("send", "query", "retrieve", "commit"), {CTImageStorage, FIND, MOVE, COMMIT}),
    ],
)
async def test_roles_decide_what_is_agreed(
    archive: Archive, port: int, roles: tuple[str, ...], accepted: set[str]
) -> None:
    await node(archive, roles=roles)
    found = await call(port, results, *ALL)
    assert found[Verification] == 0
    for sop_class in (CTImageStorage, FIND, MOVE, COMMIT):
        assert found[sop_class] == (0 if sop_class in accepted else USER_REJECTION)


async def test_a_caller_of_this_machine_that_is_no_node_may_do_everything(port: int) -> None:
    assert set((await call(port, results, *ALL)).values()) == {0}


async def test_a_node_that_may_only_retrieve_gets_objects_but_sends_none(archive: Archive, port: int) -> None:
    await node(archive, roles=("retrieve",))
    role = build_role(CTImageStorage, scp_role=True, scu_role=True)

    def work(association: Any) -> Any:
        context = next(c for c in association.accepted_contexts if c.abstract_syntax == CTImageStorage)
        return context.as_scu, context.as_scp

    assert await call(port, work, (GET, None), (CTImageStorage, None), ext_neg=[role]) == (False, True)


async def test_a_role_that_is_taken_away_is_felt_on_an_open_association(
    archive: Archive, port: int, watch: NodeWatch
) -> None:
    given = await node(archive)
    await watch.look()
    loop = asyncio.get_running_loop()
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    dataset = make_dataset()

    def on_loop(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(10)

    def work(association: Any) -> list[int]:
        before = [r.Status for r, _ in association.send_c_find(identifier, FIND)][-1]
        changed = on_loop(change_node(archive.pool, "ct1", dataclasses.replace(given, roles=("commit",))))
        on_loop(watch.look())
        after = [r.Status for r, _ in association.send_c_find(identifier, FIND)][-1]
        stored = association.send_c_store(dataset).Status
        on_loop(change_node(archive.pool, "ct1", dataclasses.replace(changed, roles=("query",))))
        on_loop(watch.look())
        return [before, after, stored, [r.Status for r, _ in association.send_c_find(identifier, FIND)][-1]]

    assert await call(port, work, (FIND, None), (CTImageStorage, [EXPLICIT])) == [0, 0x0124, 0x0124, 0]


def make_dataset(**attributes: Any) -> Any:
    return dcmread(io.BytesIO(make_file(**attributes)))


async def test_a_node_that_is_disabled_loses_its_open_association_within_a_look(
    archive: Archive, port: int, watch: NodeWatch
) -> None:
    await node(archive)
    await watch.look()
    loop = asyncio.get_running_loop()

    def work(association: Any) -> tuple[int, bool]:
        first = association.send_c_echo().Status
        asyncio.run_coroutine_threadsafe(set_enabled(archive.pool, "ct1", enabled=False), loop).result(10)
        asyncio.run_coroutine_threadsafe(watch.look(), loop).result(10)
        association.join(10)
        return first, association.is_aborted

    assert await call(port, work, (Verification, None)) == (0, True)
    assert await call(port, results, (Verification, None)) is None  # and does not come back, not even from loopback


async def test_a_node_with_addresses_comes_from_those_alone(archive: Archive, port: int) -> None:
    await node(archive, calling_from=("127.0.0.2",))
    assert await call(port, results, (Verification, None)) is None
    assert await call(port, results, (Verification, None), bind_address=("127.0.0.2", 0)) == {Verification: 0}


async def test_our_title_there_is_one_that_it_may_call_us_by(archive: Archive, port: int) -> None:
    assert await call(port, results, (Verification, None), title="OURS") is None
    await node(archive, own_aet="OURS")
    assert await call(port, results, (Verification, None), title="OURS") == {Verification: 0}
    assert await call(port, results, (Verification, None)) == {Verification: 0}


async def test_transfer_syntaxes_are_taken_in_the_nodes_order_and_no_others(archive: Archive, port: int) -> None:
    given = await node(archive, accept_syntaxes=(RLE, EXPLICIT))

    def chosen(association: Any) -> list[str]:
        return [str(c.transfer_syntax[0]) for c in association.accepted_contexts]

    both = (CTImageStorage, [EXPLICIT, uids.JPEG_2000_LOSSLESS, RLE])
    assert await call(port, chosen, both) == [RLE]
    assert await call(port, chosen, (CTImageStorage, [EXPLICIT, IMPLICIT])) == [EXPLICIT]
    assert await call(port, chosen, (CTImageStorage, [IMPLICIT])) == [IMPLICIT]  # the standard demands it
    refused = await call(port, results, (CTImageStorage, [uids.JPEG_2000_LOSSLESS]), (Verification, None))
    assert refused == {CTImageStorage: SYNTAXES_REFUSED, Verification: 0}
    await change_node(archive.pool, "ct1", dataclasses.replace(given, accept_syntaxes=()))
    assert await call(port, chosen, both) == [EXPLICIT]


async def find_name(port: int, **asked: Any) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.PatientName = ""
    for keyword, value in asked.items():
        setattr(identifier, keyword, value)
    answers = await call(port, lambda a: list(a.send_c_find(identifier, FIND)), (FIND, [IMPLICIT]))
    [dataset] = [dataset for _, dataset in answers if dataset is not None]
    return dataset  # type: ignore[no-any-return]


async def test_answers_come_in_the_nodes_character_set(archive: Archive, port: int) -> None:
    await store_file(archive, make_file(PatientName="MÜLLER^Jörg山", SpecificCharacterSet="ISO_IR 192"))
    assert (await find_name(port, SpecificCharacterSet="ISO_IR 192")).SpecificCharacterSet == "ISO_IR 192"
    await node(archive, charset="ISO_IR 100")
    found = await find_name(port, SpecificCharacterSet="ISO_IR 192")
    assert found.SpecificCharacterSet == "ISO_IR 100"
    assert str(found.PatientName) == "MÜLLER^Jörg?"
    assert found["PatientName"].value.original_string == "MÜLLER^Jörg?".encode("latin-1")


async def test_text_that_names_no_character_set_is_read_in_the_assumed_one(archive: Archive, port: int) -> None:
    await node(archive, charset_assumed="ISO_IR 144")
    dataset = make_dataset(PatientName="X")
    dataset.PatientName = "Люкceмбypг".encode("iso8859_5")
    status = await call(port, lambda a: a.send_c_store(dataset).Status, (CTImageStorage, [EXPLICIT]))
    assert status == 0
    assert str((await find_name(port, SpecificCharacterSet="ISO_IR 192")).PatientName) == "Люкceмбypг"


async def test_only_so_many_associations_at_a_time(archive: Archive, port: int) -> None:
    await node(archive, associations_max=1)

    def second(_first: Any) -> tuple[bool, int]:
        other = entity((Verification, None)).associate("127.0.0.1", port, ae_title="FILEROOM")
        return other.is_rejected, other.acceptor.primitive.result

    assert await call(port, second, (Verification, None)) == (True, 2)  # transient: it may try again

    async def again() -> None:
        while await call(port, results, (Verification, None)) is None:
            pass  # its place is given back behind the release

    async with asyncio.timeout(10):
        await again()


async def test_a_node_without_the_role_is_no_destination(
    archive: Archive, port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer()
    await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port, roles=("send",)))
    await store_file(archive, make_file())
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = "1.2.3.1"
    answers = await call(port, lambda a: list(a.send_c_move(identifier, "PEER", MOVE)), (MOVE, None))
    assert answers[-1][0].Status == 0xA801
    assert peer.stored == []


async def test_objects_leave_in_the_first_transfer_syntax_that_the_node_prefers_and_takes(
    archive: Archive, port: int, start_peer: Callable[..., Peer]
) -> None:
    peer = start_peer(EXPLICIT, RLE, IMPLICIT)
    await store_file(archive, make_file())
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = "1.2.3.1"
    orders = ((), (RLE, EXPLICIT), (uids.JPEG_LS_LOSSLESS, IMPLICIT), (uids.JPEG_BASELINE,))
    made = await add_node(archive.pool, Node("peer", "PEER", "127.0.0.1", peer.port, own_aet="OURS"))
    for order in orders:
        made = await change_node(archive.pool, "peer", dataclasses.replace(made, propose_syntaxes=order))
        answers = await call(port, lambda a: list(a.send_c_move(identifier, "PEER", MOVE)), (MOVE, None))
        assert answers[-1][0].Status == 0
    assert [one.file_meta.TransferSyntaxUID for one in peer.stored] == [EXPLICIT, RLE, IMPLICIT, IMPLICIT]
    assert set(peer.calling_aets) == {"OURS"}
    assert len(await list_instances(archive, Selection(study_uids=("1.2.3.1",)))) == 1
    assert (await get_node(archive.pool, "peer")).version == 4
