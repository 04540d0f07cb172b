"""What a certificate of ours is shown for."""

from __future__ import annotations

import enum


class Use(enum.StrEnum):
    """One certificate at a time is active for each."""

    WEB = "web"
    """HTTPS on the web port."""
    DICOM = "dicom"
    """The port for DICOM over TLS."""
    CALLS = "calls"
    """Our calls to nodes over TLS; without one, that of `dicom` is shown."""
