"""A small service for the tests: it keeps what it stores, and finds and gets what it was told to."""

from __future__ import annotations

import asyncio

from fileroom.dimse.command_set import CommandField, CommandSet, respond
from fileroom.dimse.status import Status
from fileroom.ul.negotiation import AbstractSyntaxRule, AcceptancePolicy, negotiate

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
COMMITMENT = "1.2.840.10008.1.20.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

ANYTHING = AbstractSyntaxRule((EXPLICIT, IMPLICIT), any_other=True, requestor_may_be_scp=True)
MATCHES = [b"match%03d." % n for n in range(300)]


class RecordingSink:
    def __init__(self, handler, context, command) -> None:
        self.handler, self.context, self.command = handler, context, command
        self.data = bytearray()

    def write(self, data: memoryview) -> None:
        self.data += data

    def finish(self) -> None:
        self.handler.stored.append((self.command.affected_sop_instance_uid, bytes(self.data)))
        self.handler.port.send_response(self.context.id, respond(self.command, self.handler.store_status))

    def abort(self) -> None:
        self.handler.aborted_sinks += 1


class RecordingHandler:
    """Accepts everything and remembers it."""

    policy = AcceptancePolicy(rule_of=lambda _uid: ANYTHING)
    store_status = 0

    def __init__(self, peer, port) -> None:
        self.peer, self.port = peer, port
        self.stored: list[tuple[str, bytes]] = []
        self.operations: list[CommandSet] = []
        self.aborted_sinks = 0
        self.answers_sent = 0
        self.ended = asyncio.get_running_loop().create_future()

    def associate(self, request):
        return negotiate(request, self.policy)

    def open_store_sink(self, context, command):
        return RecordingSink(self, context, command)

    async def handle(self, operation) -> None:
        self.operations.append(operation.command)
        match operation.command.command_field:
            case CommandField.C_FIND_RQ:
                await self.find(operation)
            case CommandField.C_GET_RQ | CommandField.C_MOVE_RQ:
                await self.get(operation)
            case CommandField.N_ACTION_RQ:
                await self.action(operation)
            case _:
                self.answer(operation, Status.SUCCESS)

    def association_ended(self, end) -> None:
        self.ended.set_result(end)

    def answer(self, operation, status, dataset=None, **fields) -> None:
        command = respond(operation.command, status, has_dataset=dataset is not None, **fields)
        self.port.send_response(operation.context.id, command, dataset)

    async def find(self, operation) -> None:
        for match in MATCHES:
            if self.port.cancelled(operation.command.message_id):
                self.answer(operation, Status.CANCEL)
                return
            self.answer(operation, Status.PENDING, match)
            self.answers_sent += 1
            await asyncio.sleep(0)  # the network gets its turn, as between database rows
            await self.port.drain()
        self.answer(operation, Status.SUCCESS)

    async def get(self, operation) -> None:
        completed = 0
        for number in range(3):
            context = self.port.find_context(CT)
            command = CommandSet(
                CommandField.C_STORE_RQ,
                affected_sop_class_uid=CT,
                affected_sop_instance_uid=f"1.2.{number}",
                priority=0,
            )
            response = await self.port.send_request(context.id, command, [b"ab" * 5000] * 20)
            completed += response.status == 0
            self.answer(operation, Status.PENDING, remaining_suboperations=2 - number)
        self.answer(operation, Status.SUCCESS, completed_suboperations=completed)

    async def action(self, operation) -> None:
        self.answer(operation, Status.SUCCESS)
        report = CommandSet(
            CommandField.N_EVENT_REPORT_RQ,
            affected_sop_class_uid=COMMITMENT,
            affected_sop_instance_uid="1.2.840.10008.1.20.1.1",
            event_type_id=1,
        )
        self.report_response = await self.port.send_request(operation.context.id, report, b"report")
