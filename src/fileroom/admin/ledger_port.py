"""An association's port that tells the ledger what passes through it: requests of both sides, and their answers.

C-STOREs do not come this way: whoever receives or sends objects knows more of them, and there are many.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from fileroom.admin.ledger_journal import Journal
from fileroom.core.errors import PeerError
from fileroom.dimse.command_set import CommandField, CommandSet
from fileroom.dimse.message import DataChunk
from fileroom.dimse.status import is_pending
from fileroom.net.association_handler import AssociationPort, DataSource, PeerAddress, Response
from fileroom.ul.negotiation import AcceptedContext


class RecordedPort:
    """`net.association_handler.AssociationPort`, with a journal beside it."""

    def __init__(self, port: AssociationPort, journal: Journal) -> None:
        self._port = port
        self._journal = journal
        self._requests = 0

    @property
    def peer(self) -> PeerAddress:
        """The other end of the connection."""
        return self._port.peer

    @property
    def contexts(self) -> Mapping[int, AcceptedContext]:
        """The accepted presentation contexts."""
        return self._port.contexts

    @property
    def is_established(self) -> bool:
        """False before acceptance and after the end."""
        return self._port.is_established

    def send_response(self, context_id: int, command: CommandSet, dataset: DataChunk | None = None) -> None:
        """Write a response, and note it."""
        self._port.send_response(context_id, command, dataset)
        self._journal.responded(command)

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written."""
        await self._port.drain()

    async def send_request(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> Response:
        """Send a request and wait for its final response; note both, unless it is a C-STORE."""
        if command.command_field is CommandField.C_STORE_RQ:
            return await self._port.send_request(context_id, command, dataset, timeout_s=timeout_s)
        responses = self.send_request_for_many(context_id, command, dataset, timeout_s=timeout_s)
        async with aclosing(responses):
            async for response in responses:
                if not is_pending(response.status):
                    return response
        raise PeerError("the association ended without a response")

    async def send_request_for_many(
        self, context_id: int, command: CommandSet, dataset: DataSource | None = None, *, timeout_s: float | None = None
    ) -> AsyncGenerator[Response, None]:
        """Send a request and give its responses; note them."""
        self._requests += 1
        number = self._requests
        self._journal.operation_began(command, self.contexts.get(context_id), by_us=True, message_id=number)
        responses = self._port.send_request_for_many(context_id, command, dataset, timeout_s=timeout_s)
        try:
            async with aclosing(responses):
                async for response in responses:
                    self._journal.responded(response.command, by_us=True, message_id=number)
                    yield response
        except Exception as error:
            self._journal.operation_failed(error, by_us=True, message_id=number)
            raise

    def find_context(
        self, abstract_syntax: str, transfer_syntax: str | None = None, *, as_scu: bool = True
    ) -> AcceptedContext | None:
        """An accepted context."""
        return self._port.find_context(abstract_syntax, transfer_syntax, as_scu=as_scu)

    def pause_receiving(self) -> None:
        """Stop reading from the peer."""
        self._port.pause_receiving()

    def resume_receiving(self) -> None:
        """Read again."""
        self._port.resume_receiving()

    def cancelled(self, message_id: int) -> bool:
        """Whether the peer sent C-CANCEL-RQ."""
        return self._port.cancelled(message_id)

    def abort(self, detail: str = "") -> None:
        """Send A-ABORT and end."""
        self._port.abort(detail)
