"""What is raised when an object cannot be made safe to leave."""

from __future__ import annotations

from fileroom.core.errors import UnsupportedError


class CannotCleanError(UnsupportedError):
    """The object holds, or may hold, who the patient is in a place that cannot be cleaned. It must not leave."""


class UnknownPatientError(CannotCleanError):
    """The patient has no pseudonym yet: the pseudonyms must be opened for this object first."""
