"""What every test needs."""

from __future__ import annotations

import patient_pynetdicom

patient_pynetdicom.install()
