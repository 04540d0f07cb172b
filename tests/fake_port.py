"""An association as a service sees it, without a network: what is sent is kept, a cancel or a slow peer can be played."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fileroom.dimse.command_set import CommandSet
from fileroom.net.association_handler import PeerAddress
from fileroom.ul.negotiation import AcceptedContext


@dataclass
class FakePort:
    """`net.association_handler.AssociationPort`. `cancel_after`: so many responses until the peer cancels."""

    cancel_after: int | None = None
    peer: PeerAddress = field(default_factory=lambda: PeerAddress("10.0.0.1", 50000))
    contexts: Mapping[int, AcceptedContext] = field(default_factory=dict)
    is_established: bool = True
    sent: list[tuple[int, CommandSet, bytes | None]] = field(default_factory=list)
    drained: int = 0
    paused: int = 0
    pauses: int = 0
    aborted: str | None = None
    on_send: Callable[[], Any] = lambda: None

    def send_response(self, context_id: int, command: CommandSet, dataset: Any = None) -> None:
        assert command.has_dataset == (dataset is not None)
        self.sent.append((context_id, command, None if dataset is None else bytes(dataset)))
        self.on_send()

    async def drain(self) -> None:
        self.drained += 1
        await asyncio.sleep(0)

    def cancelled(self, message_id: int) -> bool:
        return self.cancel_after is not None and len(self.sent) >= self.cancel_after

    def pause_receiving(self) -> None:
        self.paused += 1
        self.pauses += 1

    def resume_receiving(self) -> None:
        self.paused -= 1

    def abort(self, detail: str = "") -> None:
        self.aborted = detail

    @property
    def statuses(self) -> list[int]:
        return [command.status if command.status is not None else -1 for _, command, _ in self.sent]

    @property
    def final(self) -> CommandSet:
        return self.sent[-1][1]
