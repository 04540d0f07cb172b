"""A way to PostgreSQL that breaks or freezes where a test wants it: real libpq on one side, the real server on the other."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class Fault(enum.Enum):
    """What happens to a connection."""

    CUT = "cut"
    FREEZE = "freeze"


class FailingDatabase:
    """A Unix socket in `folder` that passes everything on. A context manager.

    `fail(fault, side, piece)` spoils new connections: the piece with that number, counted from 1, that the client or the
    server sends does not arrive; it is cut there, or nothing passes any more.
    """

    def __init__(self, database_url: str, folder: Path) -> None:
        self._target = f"{parse_qs(urlsplit(database_url).query)['host'][0]}/.s.PGSQL.5432"
        self._folder = folder
        self.url = f"{database_url.partition('?')[0]}?host={folder}"
        self._fault: tuple[Fault, str, int] | None = None
        self.has_failed = False
        self._tasks: set[asyncio.Task[bool]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> FailingDatabase:
        self._server = await asyncio.start_unix_server(self._serve, self._folder / ".s.PGSQL.5432")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fail(self, fault: Fault, side: str, piece: int) -> None:
        """`side`: "client" or "server"."""
        self._fault = (fault, side, piece)

    def heal(self) -> None:
        """New connections work again; spoilt ones are cut."""
        self._fault = None
        self.cut_all()

    def cut_all(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._target)
        self._writers |= {client_writer, server_writer}

        def end(done: asyncio.Task[bool]) -> None:
            if done.result():  # either end takes the other one with it
                client_writer.transport.abort()
                server_writer.transport.abort()

        ways = (("client", client_reader, server_writer), ("server", server_reader, client_writer))
        for side, reader, writer in ways:
            task = asyncio.create_task(self._pass_on(side, reader, writer, self._fault))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(end)

    async def _pass_on(
        self,
        side: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        fault: tuple[Fault, str, int] | None,
    ) -> bool:
        """False at the end of a frozen connection."""
        piece = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                piece += 1
                if fault is not None and fault[1:] == (side, piece):
                    self.has_failed = True
                    if fault[0] is Fault.CUT:
                        break
                    await reader.read(-1)  # to the end, without passing it on
                    return False
                writer.write(data)
        return True
