"""What benchmarks share: a scratch folder, how much to do, and the one archive with a million studies."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from acceptance.programs.fileroom import Fileroom
from benchmarks.population import populate
from corpus.ct import make_ct_series

STUDIES_QUICK: Final = 20_000
SENDERS_FOLDER: Final = Path("/dev/shm")
NEVER_STABLE_S: Final = 86_400.0
"""Documents of finished series are background work; in a benchmark of receivers it would run in the peer's turn."""


class Session:
    """One run of the benchmarks. Servers entered into `stack` live until its end."""

    def __init__(self, folder: Path, stack: ExitStack, *, quick: bool, studies: int, rounds: int) -> None:
        self.folder = folder
        self.quick = quick
        self.studies = min(studies, STUDIES_QUICK) if quick else studies
        self.rounds = 1 if quick else rounds
        self._stack = stack
        self._numbers = itertools.count(1)
        self._large: Fileroom | None = None

    def amount(self, full: int, quick: int) -> int:
        """How much to do."""
        return quick if self.quick else full

    def new_folder(self, name: str) -> Path:
        """A fresh folder below the scratch folder."""
        folder = self.folder / f"{next(self._numbers):03d}-{name}"
        folder.mkdir()
        return folder

    @contextmanager
    def ct_files(self, sets: int, count: int, size: int) -> Iterator[list[list[Path]]]:
        """`sets` CT series that nobody has seen, for as many senders; removed afterwards.

        They lie in memory where there is such a folder: files removed from the measured disk make the next ones dear to
        create there for a minute (ext4 passes over inodes that were freed just now), for us and for the peers.
        """
        folder = Path(
            tempfile.mkdtemp(prefix="fileroom-ct-", dir=SENDERS_FOLDER if SENDERS_FOLDER.is_dir() else self.folder)
        )
        try:
            yield [make_ct_series(folder / str(n), count, size, next(self._numbers)) for n in range(sets)]
        finally:
            shutil.rmtree(folder)

    def fileroom(self, **settings: object) -> Fileroom:
        """A Fileroom as it comes; use it as a context manager."""
        return Fileroom(self.new_folder("fileroom"), **settings)

    def large_archive(self) -> Fileroom:
        """The Fileroom whose index holds `self.studies` studies; made at the first call, kept to the end."""
        if self._large is None:
            self._large = self._stack.enter_context(self.fileroom(series_stable_s=NEVER_STABLE_S))
            populate(self._large.database_url, self.studies)
        return self._large
