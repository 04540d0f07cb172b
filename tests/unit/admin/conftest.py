"""People on the tests' database, at a time that stands still."""

from __future__ import annotations

import pytest

from fileroom.admin.people import People
from fileroom.archive.services import Archive
from people_of_tests import HeldClock, people_of


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture
def people(archive: Archive, clock: HeldClock) -> People:
    return people_of(archive, clock)
