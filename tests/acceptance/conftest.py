"""Fixtures of the acceptance tests: a running Fileroom, its peers, and files to send.

Fileroom is started once for all tests that leave it well (`fileroom`); a test that kills or starves it starts its own
(`fileroom_factory`). A program that this machine lacks skips the tests that need it, with its Debian package's name.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from acceptance.dicom_files import wg04_folder
from acceptance.programs.dcmtk import Dcmtk, StoreScp, missing_programs
from acceptance.programs.fileroom import Fileroom
from acceptance.programs.orthanc import DICOMWEB_PLUGIN, Orthanc, orthanc_program
from acceptance.programs.postgres import Postgres15, postgres_is_installed
from corpus.ct import make_ct_series

FileroomFactory = Callable[..., Fileroom]
SeriesFactory = Callable[..., list[Path]]

_seeds = itertools.count(1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is an acceptance test."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.acceptance)


@pytest.fixture(scope="session")
def fileroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fileroom]:
    """The Fileroom that most tests share. Each test uses studies of its own in it."""
    with Fileroom(tmp_path_factory.mktemp("fileroom"), workers=2) as running:
        yield running


@pytest.fixture
def fileroom_factory(tmp_path: Path) -> Iterator[FileroomFactory]:
    """Starts further Filerooms, with settings and data folders of their own; all are stopped at the end."""
    with ExitStack() as stack:
        numbers = itertools.count()

        def start(**settings: object) -> Fileroom:
            return stack.enter_context(Fileroom(tmp_path / f"fileroom{next(numbers)}", **settings))

        yield start


@pytest.fixture(scope="session")
def dcmtk_installed() -> None:
    """Skips where DCMTK is missing."""
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)} (Debian package dcmtk)")


@pytest.fixture
def dcmtk(dcmtk_installed: None, fileroom: Fileroom) -> Dcmtk:
    """DCMTK's clients, aimed at the shared Fileroom."""
    return Dcmtk(fileroom.dicom_port, fileroom.aet)


@pytest.fixture(scope="session")
def storescp(dcmtk_installed: None, fileroom: Fileroom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreScp]:
    """A running `storescp` that writes what it gets as it came; the shared Fileroom knows it as node STORESCP."""
    with StoreScp(tmp_path_factory.mktemp("storescp")) as running:
        fileroom.add_node("storescp", running.aet, running.port)
        yield running


@pytest.fixture(scope="module")
def orthanc(fileroom: Fileroom, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that knows the shared Fileroom, and that Fileroom knows."""
    if orthanc_program() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("needs Orthanc (Debian packages orthanc and orthanc-dicomweb)")
    nodes = {fileroom.aet: fileroom.dicom_port}
    servers = {"fileroom": fileroom.dicomweb}
    with Orthanc(tmp_path_factory.mktemp("orthanc"), nodes=nodes, dicomweb_servers=servers) as running:
        fileroom.add_node("orthanc", running.aet, running.port)
        yield running
        assert fileroom.command("node", "remove", "orthanc").returncode == 0


@pytest.fixture
def postgres15() -> Iterator[Postgres15]:
    """Debian's PostgreSQL with an empty database."""
    if not postgres_is_installed():
        pytest.skip("needs PostgreSQL 15 (Debian package postgresql-15)")
    with Postgres15() as running:
        yield running


@pytest.fixture(scope="session")
def wg04() -> Path:
    """The NEMA compression samples."""
    folder = wg04_folder()
    if folder is None:
        pytest.skip("needs the NEMA WG-04 images: name their folder in FILEROOM_TEST_DATA")
    return folder


@pytest.fixture
def ct_series(tmp_path: Path) -> SeriesFactory:
    """Makes the files of a CT series that no other test has."""

    def make(count: int = 3, size: int = 64) -> list[Path]:
        seed = next(_seeds)
        return make_ct_series(tmp_path / f"ct{seed}", count, size, seed)

    return make


@pytest.fixture
def new_seed() -> Callable[[], int]:
    """Numbers for identities that no other test has."""
    return lambda: next(_seeds)
