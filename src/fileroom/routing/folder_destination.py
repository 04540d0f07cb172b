"""Files in a folder: a disk of this machine, or a share that is mounted (SMB, NFS).

    FILEROOM_DATA/outbox/NAME        always allowed, made when it is missing
    any other folder                 below one of the setting `routing_folders`; it must be there already, as a share that is
                                     not mounted must not fill the disk below it

A file appears under its name when it is complete and on the disk: a part file, fsync, rename. Sending again replaces it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from fileroom.archive.retrieve import OpenedObject
from fileroom.core.errors import ConfigurationError, InvalidRequestError, RequestError, StorageError, told
from fileroom.core.limits import MIB
from fileroom.core.settings import Settings
from fileroom.routing.destination_kind import Confirmation, KindContext, Outcome, OutcomeKind, Settle
from fileroom.routing.name_patterns import DEFAULT_PATTERN, checked_pattern, name_of
from fileroom.routing.opening import open_file, pieces_of, refused
from fileroom.routing.outgoing import OutgoingObject
from fileroom.routing.target_fields import FieldType, TargetField, checked_target, filled

STEP_TIMEOUT_S: Final = 60.0
"""For one write, fsync or rename: a share whose server is gone blocks for minutes."""
TIDY_TIMEOUT_S: Final = 5.0
OUTBOX: Final = "outbox"
_PIECE_BYTES: Final = 1 * MIB
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NAME_REFUSED: Final = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FolderKind:
    """Kind `folder`."""

    name: str = "folder"
    secrets: frozenset[str] = frozenset()
    confirmations: frozenset[Confirmation] = frozenset({Confirmation.ANSWER, Confirmation.COUNT})
    fields: tuple[TargetField, ...] = (
        TargetField(
            "path",
            told("Folder"),
            required=True,
            help=told("For example /mnt/research. A name alone: below the outbox."),
        ),
        TargetField(
            "pattern",
            told("Names of files"),
            default=DEFAULT_PATTERN,
            help=told(
                "Keywords of attributes in braces, folders apart by /; {field} must be among them.",
                field="{SOPInstanceUID}",
            ),
        ),
        TargetField(
            "marker",
            told("Marker file"),
            help=told("A file that must be in the folder, so that a share that is not mounted is not written to."),
        ),
        TargetField(
            "mounted",
            told("Must be mounted"),
            FieldType.FLAG,
            default=False,
            help=told("Write only where another file system is mounted."),
        ),
    )

    def check(self, target: Mapping[str, Any]) -> dict[str, Any]:
        """Raises InvalidRequestError."""
        found = checked_target(told("A folder"), self.fields, target)
        path = Path(found["path"])
        if (
            ".." in path.parts
            or found["path"] != found["path"].strip()
            or (not path.is_absolute() and len(path.parts) != 1)
        ):
            raise InvalidRequestError(told("Give the whole path, for example /mnt/research, or one name alone."))
        found["path"] = str(path)
        if "pattern" in found:
            found["pattern"] = checked_pattern(found["pattern"])
        if "/" in found.get("marker", "") or found.get("marker") in (".", ".."):
            raise InvalidRequestError(
                told("The marker is the name of a file in the folder, for example .research-share.")
            )
        return found

    def describe(self, target: Mapping[str, Any]) -> str:
        """Its path."""
        return str(target.get("path", ""))

    def require_allowed(self, settings: Settings, target: Mapping[str, Any]) -> None:
        """Raises InvalidRequestError where the setting `routing_folders` does not allow the path."""
        try:
            allowed_root(settings, str(target["path"]))
        except ConfigurationError as error:
            raise InvalidRequestError(error.sentence) from error

    @contextlib.asynccontextmanager
    async def open(self, context: KindContext) -> AsyncIterator[FolderSession]:
        """Raises ConfigurationError, StorageError."""
        executor = ThreadPoolExecutor(1, thread_name_prefix="folder")
        try:
            session = FolderSession(context, executor)
            await session.ready()
            yield session
        finally:
            executor.shutdown(wait=False)  # what waits there tidies up

    async def probe(self, context: KindContext) -> str:
        """Writes a file, and removes it."""
        async with self.open(context) as session:
            free = await session.try_out()
        return told("{path} can be written; {free} GB are free.", path=session.root, free=f"{free / 1e9:.1f}")


FOLDER: Final = FolderKind()


class FolderSession:
    """One lane that writes files. Its calls of the file system run in a thread of their own, each with a time limit."""

    def __init__(self, context: KindContext, executor: ThreadPoolExecutor) -> None:
        target = filled(FolderKind().fields, context.target)
        self.root, self._own = allowed_root(context.archive.settings, target["path"])
        self._pattern = str(target["pattern"])
        self._marker, self._mounted = str(target["marker"]), bool(target["mounted"])
        self._executor = executor

    async def ready(self) -> None:
        """Raises StorageError where the folder is not there or not mounted."""
        await self._do(self._require_root)

    async def send(self, batch: Sequence[OutgoingObject], settle: Settle) -> None:
        """Write them one after another. Raises StorageError when the folder is gone; then the rest is tried later."""
        await self.ready()
        for outgoing in batch:
            settle(outgoing, await self._send(outgoing))

    async def confirm(self, batch: Sequence[OutgoingObject]) -> Mapping[int, Outcome]:
        """Whether each file is there and not empty."""
        await self.ready()
        found: dict[int, Outcome] = {}
        for outgoing in batch:
            path = self.root.joinpath(*await name_of(self._pattern, outgoing))
            there = await self._do(functools.partial(_is_there, path))
            found[outgoing.delivery_id] = (
                Outcome(OutcomeKind.TAKEN)
                if there
                else Outcome(
                    OutcomeKind.TRY_LATER, told("The file is no longer in {path}; it is written again.", path=self.root)
                )
            )
        return found

    async def try_out(self) -> int:
        """Write, read and remove a small file: bytes that are free. Raises StorageError."""

        def work() -> int:
            part = _PartFile(self.root / f".fileroom-{secrets.token_hex(8)}.part")
            try:
                part.create()
                part.write(b"Fileroom")
                return _free_bytes(self.root)
            finally:
                part.give_up()

        return await self._do(work)

    async def _send(self, outgoing: OutgoingObject) -> Outcome:
        try:
            steps = await name_of(self._pattern, outgoing)
        except RequestError as error:
            return refused(error)
        opened = await open_file(outgoing)
        if isinstance(opened, Outcome):
            return opened
        folder = self.root.joinpath(*steps[:-1])
        try:
            size = await self._write(opened, folder, folder / steps[-1])
        except RequestError as error:  # Its bytes cannot be made: nothing that a retry would change.
            return refused(error)
        except _Failed as failed:
            if failed.number in _FULL:
                return Outcome(
                    OutcomeKind.TRY_LATER, told("{path} is full. Make room there; it is tried again.", path=self.root)
                )
            if failed.number in _NAME_REFUSED:
                return Outcome(
                    OutcomeKind.REFUSED,
                    told(
                        "{path} takes no file of the name {name}. Choose another pattern.",
                        path=self.root,
                        name=steps[-1],
                    ),
                )
            raise StorageError(failed.sentence) from failed
        return Outcome(OutcomeKind.TAKEN, sent_bytes=size)

    async def _write(self, opened: OpenedObject, folder: Path, path: Path) -> int:
        """A part file, then its name. Nothing is left of it where that fails."""
        size, part = 0, _PartFile(folder / f".{secrets.token_hex(8)}.part")
        try:
            await self._do(lambda: self._create(folder, part))
            async for piece in pieces_of(opened, _PIECE_BYTES):
                await self._do(functools.partial(part.write, piece))
                size += len(piece)
            await self._do(lambda: part.finish(path))
        except BaseException as error:
            tidied = asyncio.wrap_future(self._executor.submit(part.give_up))
            if isinstance(error, Exception):  # Not for ever: the share may hang, and this lane must go on.
                await asyncio.wait({tidied}, timeout=TIDY_TIMEOUT_S)
            raise
        return size

    def _create(self, folder: Path, part: _PartFile) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.resolve().is_relative_to(self.root):
            raise OSError(errno.EPERM, "a link in it leads out of the destination's folder")
        part.create()

    def _require_root(self) -> None:
        if self._own:
            self.root.mkdir(parents=True, exist_ok=True)
        if not self.root.is_dir():
            raise OSError(
                errno.ENOENT, "it is not there. Mount or make it; Fileroom does not make folders outside its own"
            )
        if self._marker and not (self.root / self._marker).is_file():
            raise OSError(errno.ENOENT, f"the marker file {self._marker} is not in it, so it is not mounted")
        if self._mounted and self.root.stat().st_dev == Path("/").stat().st_dev:
            raise OSError(errno.ENOENT, "no other file system is mounted there")

    async def _do(self, work: Callable[[], T]) -> T:
        """Run in the session's thread. Raises _Failed."""
        try:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._executor, work)
        except TimeoutError as error:
            raise _Failed(self.root, f"it did not answer within {STEP_TIMEOUT_S:g} s", 0) from error
        except OSError as error:
            raise _Failed(self.root, error.strerror or type(error).__name__, error.errno or 0) from error


class _Failed(StorageError):
    """The file system said no. `number` is its errno."""

    def __init__(self, root: Path, reason: str, number: int) -> None:
        super().__init__(told("The folder {path} cannot be used: {reason}.", path=root, reason=reason))
        self.number = number


def allowed_root(settings: Settings, path: str) -> tuple[Path, bool]:
    """The folder itself, links followed, and whether it is Fileroom's own (below the outbox). Raises ConfigurationError."""
    outbox = (settings.data / OUTBOX).absolute().resolve()
    wanted = Path(path) if Path(path).is_absolute() else outbox / path
    root, data = wanted.resolve(), settings.data.absolute().resolve()
    if root.is_relative_to(outbox) and root != outbox:
        return root, True
    if not root.is_relative_to(data) and not data.is_relative_to(root):  # Never among the archive's own files.
        for one in settings.routing_folders.split(","):
            allowed = one.strip()
            if allowed and Path(allowed).is_absolute() and root.is_relative_to(Path(allowed).resolve()):
                return root, False
    raise ConfigurationError(
        told(
            "Destinations may not write to {path}. Allow it with the setting routing_folders, or choose a folder below "
            "{outbox}.",
            path=path,
            outbox=outbox,
        )
    )


class _PartFile:
    """A file that is not complete yet. Everything here blocks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def create(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o640)

    def write(self, piece: bytes) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self, path: Path) -> None:
        os.fsync(self._descriptor)
        self._close()
        self._path.replace(path)
        with contextlib.suppress(OSError):  # Shares do not know it; what counts there is the server's own promise.
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def give_up(self) -> None:
        with contextlib.suppress(OSError):
            self._close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
