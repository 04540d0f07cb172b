"""What every test needs."""

from __future__ import annotations

import pytest

import patient_pynetdicom
from fileroom.core.access import SYSTEM, set_process_access

patient_pynetdicom.install()
set_process_access(SYSTEM)  # for fixtures that last longer than a test


@pytest.fixture(autouse=True)
def _process_of_the_system() -> None:
    """Services are called in Fileroom's own name, unless a test says otherwise."""
    set_process_access(SYSTEM)
