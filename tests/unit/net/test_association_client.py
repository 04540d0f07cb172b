"""Our client against our server, over loopback (PS3.7 9, 10)."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from dataclasses import replace

import pytest

from fileroom.core.errors import InvalidRequestError, PeerError, PeerRefusedError, PeerTimeoutError
from fileroom.core.identifiers import AETitle
from fileroom.dimse.command_set import CommandField, respond
from fileroom.net.association_client import ProposedContext, connect
from fileroom.net.association_handler import EndKind
from fileroom.net.connection import Timeouts
from fileroom.ul.items import AsyncOperationsWindow, ContextResult, UserIdentity
from fileroom.ul.negotiation import AbstractSyntaxRule, AcceptancePolicy, IdentityAnswer, negotiate
from fileroom.ul.pdu import LOCAL_LIMIT_EXCEEDED
from unit.net.handlers import (
    COMMITMENT,
    CT,
    EXPLICIT,
    IMPLICIT,
    MATCHES,
    STUDY_FIND,
    STUDY_GET,
    STUDY_MOVE,
    VERIFICATION,
    RecordingHandler,
    RecordingSink,
)

CONTEXTS = [
    ProposedContext(VERIFICATION, (IMPLICIT,)),
    ProposedContext(CT, (EXPLICIT,), as_scp=True),
    ProposedContext(STUDY_FIND, (IMPLICIT,)),
    ProposedContext(STUDY_GET, (IMPLICIT,)),
    ProposedContext(STUDY_MOVE, (IMPLICIT,)),
    ProposedContext(COMMITMENT, (IMPLICIT,)),
]


def open_to(port: int, **options):
    options = {"contexts": CONTEXTS} | options
    return connect("127.0.0.1", port, calling_aet=AETitle("US"), called_aet=AETitle("THEM"), **options)


async def test_echo_and_release(served) -> None:
    async with open_to(await served.start()) as association:
        assert (await association.echo()).status == 0
    handler = served.handlers[0]
    assert (await handler.ended).kind is EndKind.RELEASED
    assert handler.operations[0].affected_sop_class_uid == VERIFICATION


async def in_pieces(data: bytes):
    for at in range(0, len(data), 70_001):
        yield memoryview(data)[at : at + 70_001]


BIG = bytes(range(256)) * 12_000


@pytest.mark.parametrize("pdu_bytes_max", [4096, 0])
@pytest.mark.parametrize(
    "make_source",
    [lambda: BIG, lambda: [BIG[:3], BIG[3:4], b"", BIG[4:]], lambda: in_pieces(BIG)],
    ids=["bytes", "list", "async"],
)
async def test_stored_bytes_arrive_as_they_were(served, make_source, pdu_bytes_max: int) -> None:
    class Handler(RecordingHandler):
        policy = replace(RecordingHandler.policy, pdu_bytes_max=pdu_bytes_max)

    async with open_to(await served.start(Handler)) as association:
        response = await association.store(CT, "1.2.3", EXPLICIT, make_source(), move_originator=("DEST", 5))
        assert response.status == 0
        assert response.command.affected_sop_instance_uid == "1.2.3"
        await association.store(CT, "1.2.4", EXPLICIT, b"xy")
    assert served.handlers[0].stored == [("1.2.3", BIG), ("1.2.4", b"xy")]


async def test_a_failure_status_is_returned_not_raised(served) -> None:
    class Handler(RecordingHandler):
        store_status = 0xA700

    async with open_to(await served.start(Handler)) as association:
        assert (await association.store(CT, "1.2.3", EXPLICIT, b"xy")).status == 0xA700


async def test_find_gives_every_match_and_the_final_response(served) -> None:
    async with open_to(await served.start()) as association:
        responses = [response async for response in association.find(STUDY_FIND, b"keys")]
    assert [response.dataset for response in responses] == [*MATCHES, None]
    assert [response.status for response in responses] == [0xFF00] * len(MATCHES) + [0]


async def test_leaving_a_find_early_cancels_it_and_the_association_goes_on(served) -> None:
    async with open_to(await served.start()) as association:
        async with aclosing(association.find(STUDY_FIND, b"keys")) as responses:
            async for response in responses:
                assert response.dataset == MATCHES[0]
                break
        assert (await association.echo()).status == 0
    assert served.handlers[0].answers_sent < len(MATCHES)


async def test_get_brings_objects_to_sinks(served) -> None:
    class Receiver:
        store_status = 0

        def __init__(self, port) -> None:
            self.port, self.stored = port, []

    async with open_to(await served.start()) as association:
        receiver = Receiver(association.port)

        def open_sink(port, context, command):
            return RecordingSink(receiver, context, command)

        responses = [response async for response in association.get(STUDY_GET, b"keys", open_sink)]
        assert (await association.echo()).status == 0
    assert receiver.stored == [(f"1.2.{number}", b"ab" * 100_000) for number in range(3)]
    assert [response.status for response in responses] == [0xFF00, 0xFF00, 0xFF00, 0]
    assert responses[-1].command.completed_suboperations == 3


async def test_stores_outside_a_get_are_refused(served) -> None:
    """The peer sends the objects of a C-MOVE to us, on our own association, where nobody waits for them."""
    async with open_to(await served.start()) as association:
        responses = [response async for response in association.move(STUDY_MOVE, b"keys", AETitle("DEST"))]
    assert served.handlers[0].operations[0].move_destination == "DEST"
    assert responses[-1].command.completed_suboperations == 0


async def test_an_event_report_comes_back_on_the_same_association(served) -> None:
    reports = asyncio.Queue()

    class Reports:
        def __init__(self) -> None:
            self.ended = None

        async def handle(self, operation) -> None:
            association.port.send_response(operation.context.id, respond(operation.command, 0))
            reports.put_nowait(operation)

        def association_ended(self, end) -> None:
            self.ended = end

    handler = Reports()
    async with open_to(await served.start(), handler=handler) as association:
        assert (await association.n_action(COMMITMENT, "1.2.840.10008.1.20.1.1", 1, b"request")).status == 0
        report = await asyncio.wait_for(reports.get(), 5)
        assert (report.command.event_type_id, report.dataset) == (1, b"report")
    assert served.handlers[0].operations[0].requested_sop_instance_uid == "1.2.840.10008.1.20.1.1"
    assert handler.ended.kind is EndKind.RELEASED


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda a: a.n_create(COMMITMENT, None, b"attributes"), CommandField.N_CREATE_RQ),
        (lambda a: a.n_set(COMMITMENT, "1.2", b"attributes"), CommandField.N_SET_RQ),
        (lambda a: a.n_get(COMMITMENT, "1.2", (0x00100010,)), CommandField.N_GET_RQ),
        (lambda a: a.n_delete(COMMITMENT, "1.2"), CommandField.N_DELETE_RQ),
        (lambda a: a.n_event_report(COMMITMENT, "1.2", 2, None), CommandField.N_EVENT_REPORT_RQ),
    ],
)
async def test_normalized_services_name_their_sop(served, call, field) -> None:
    async with open_to(await served.start()) as association:
        assert (await call(association)).status == 0
    command = served.handlers[0].operations[0]
    assert command.command_field is field
    assert command.sop_class_uid == COMMITMENT
    affected = field in (CommandField.N_CREATE_RQ, CommandField.N_EVENT_REPORT_RQ)
    assert (command.affected_sop_class_uid is not None) == affected


async def test_requests_overlap_within_an_agreed_window(served) -> None:
    options = {"async_operations": AsyncOperationsWindow(8, 1)}
    async with open_to(await served.start(), **options) as association:
        responses = await asyncio.gather(*(association.store(CT, f"1.{n}", EXPLICIT, b"ab" * n) for n in range(1, 30)))
    assert [response.command.affected_sop_instance_uid for response in responses] == [f"1.{n}" for n in range(1, 30)]
    assert len(served.handlers[0].stored) == 29


# --- refusals ---


async def test_rejection_is_told_in_words(served) -> None:
    class Handler(RecordingHandler):
        def associate(self, _request):
            return LOCAL_LIMIT_EXCEEDED

    port = await served.start(Handler)
    with pytest.raises(PeerRefusedError, match=rf"THEM at 127.0.0.1:{port}: rejected for now .* limit of associations"):
        async with open_to(port):
            pytest.fail("no association was accepted")
    assert (await served.handlers[0].ended).kind is EndKind.REJECTED


async def test_refused_contexts_are_listed_with_reasons(served) -> None:
    class Handler(RecordingHandler):
        policy = AcceptancePolicy(
            rule_of={VERIFICATION: AbstractSyntaxRule((IMPLICIT,)), CT: AbstractSyntaxRule(())}.get
        )

    async with open_to(await served.start(Handler)) as association:
        results = {refused.abstract_syntax: refused.result for refused in association.refused}
        assert results[CT] is ContextResult.TRANSFER_SYNTAXES_NOT_SUPPORTED
        assert results[STUDY_FIND] is ContextResult.ABSTRACT_SYNTAX_NOT_SUPPORTED
        with pytest.raises(PeerRefusedError, match="none of the transfer syntaxes is supported"):
            await association.store(CT, "1.2", EXPLICIT, b"ab")
        with pytest.raises(PeerRefusedError, match="not proposed"):
            association.context_of("1.2.3")


async def test_a_peer_that_accepts_no_context_is_refused_with_the_reasons(served) -> None:
    class Handler(RecordingHandler):
        policy = AcceptancePolicy(rule_of=lambda _uid: None)

    port = await served.start(Handler)
    with pytest.raises(PeerRefusedError, match=r"none of the proposed contexts.*the SOP class is not supported"):
        async with open_to(port):
            pytest.fail("no context was accepted")


async def test_user_identity_is_sent(served) -> None:
    class Handler(RecordingHandler):
        policy = replace(RecordingHandler.policy, check_identity=lambda who: IdentityAnswer(True, who.primary[::-1]))

    identity = UserIdentity(1, b"ada", positive_response_requested=True)
    async with open_to(await served.start(Handler), user_identity=identity) as association:
        assert association.acceptance.user_information.user_identity_response == b"ada"[::-1]


async def test_a_closed_port_is_named(unused_port: int) -> None:
    with pytest.raises(PeerRefusedError, match=f"THEM at 127.0.0.1:{unused_port} could not be reached"):
        async with open_to(unused_port):
            pytest.fail("nobody listens")


async def test_too_many_contexts_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidRequestError, match="129 presentation contexts"):
        async with open_to(1, contexts=CONTEXTS[:1] * 129):
            pytest.fail("too many")


@pytest.fixture
def unused_port():
    with socket.socket() as holder:  # bound but not listening: nobody else gets it
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


# --- bad days ---

HASTY = Timeouts(artim_s=0.05)


async def test_a_peer_that_never_answers_the_request_times_out() -> None:
    over = asyncio.Event()

    async def listen(reader, writer) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        over.set()

    silent = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        with pytest.raises(PeerTimeoutError, match="did not answer the A-ASSOCIATE-RQ"):
            async with open_to(port, timeouts=HASTY):
                pytest.fail("nobody answers")
        await over.wait()


async def test_a_peer_that_never_responds_times_out_and_is_aborted(served) -> None:
    class Handler(RecordingHandler):
        async def handle(self, _operation) -> None:
            await asyncio.Event().wait()

    with pytest.raises(PeerTimeoutError, match=r"no response to C_ECHO_RQ within 0.05 s"):
        async with open_to(await served.start(Handler)) as association:
            await association.echo(timeout_s=0.05)
    assert (await served.handlers[0].ended).kind is EndKind.ABORTED_BY_PEER


async def test_an_abort_by_the_peer_fails_what_waits(served) -> None:
    class Handler(RecordingHandler):
        async def handle(self, _operation) -> None:
            self.port.abort("enough")

    with pytest.raises(PeerError, match="aborted by peer"):
        async with open_to(await served.start(Handler)) as association:
            await association.echo()
    assert (await served.handlers[0].ended).kind is EndKind.ABORTED_BY_US


async def test_an_exception_in_the_block_aborts_the_association(served) -> None:
    with pytest.raises(LookupError):
        async with open_to(await served.start()):
            raise LookupError
    assert (await served.handlers[0].ended).kind is EndKind.ABORTED_BY_PEER


@pytest.mark.parametrize("error", [LookupError, PeerError])
async def test_a_source_that_fails_midway_aborts_and_the_error_comes_through(served, error) -> None:
    async def broken():
        yield bytes(300_000)
        raise error("the source broke")

    with pytest.raises(error, match="the source broke"):
        async with open_to(await served.start()) as association:
            await association.store(CT, "1.2.3", EXPLICIT, broken())
    handler = served.handlers[0]
    assert (await handler.ended).kind is EndKind.ABORTED_BY_PEER
    assert (handler.stored, handler.aborted_sinks) == ([], 1)


async def test_a_late_answer_to_the_request_is_awaited(served) -> None:
    class Handler(RecordingHandler):
        async def associate(self, request):
            await asyncio.sleep(0)
            return negotiate(request, self.policy)

    async with open_to(await served.start(Handler)) as association:
        assert (await association.echo()).status == 0
