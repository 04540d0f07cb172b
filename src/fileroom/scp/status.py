"""Our errors as DIMSE status codes and comments: the one table (PS3.4 B.2.3, C.4.1.1.4, C.4.2.1.5, F.7.2, CC.2; PS3.7 C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fileroom.archive.store import MismatchError
from fileroom.core.errors import (
    FileroomError,
    InvalidObjectError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    ServiceError,
    TooLargeError,
    UnsupportedError,
)
from fileroom.worklist.performed import DuplicateStepError
from fileroom.worklist.performed_rules import (
    FinalStateError,
    MissingAttributeError,
    MissingValueError,
    NoSuchAttributeError,
    WrongValueError,
)
from fileroom.worklist.workitem_rules import DuplicateWorkitemError, WorkitemError


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """A status and the Error Comment that goes with it (at most 64 characters leave)."""

    status: int
    comment: str = ""


SUCCESS: Final = StatusAnswer(0x0000)

_STORE: Final[tuple[tuple[type[FileroomError], int], ...]] = (
    (MismatchError, 0xA900),
    (InvalidObjectError, 0xC000),
    (NotAllowedError, 0x0124),
    (ServiceError, 0xA700),
    (FileroomError, 0xC000),
)
_QUERY: Final[tuple[tuple[type[FileroomError], int], ...]] = (
    (InvalidRequestError, 0xA900),
    (NotAllowedError, 0x0124),
    (TooLargeError, 0xA700),
    (ServiceError, 0xA700),
    (FileroomError, 0xC000),
)
_RETRIEVE: Final[tuple[tuple[type[FileroomError], int], ...]] = (
    (InvalidRequestError, 0xA900),
    (NotFoundError, 0xC000),
    (UnsupportedError, 0xA900),
    (NotAllowedError, 0x0124),
    (ServiceError, 0xA702),
    (FileroomError, 0xC000),
)
_PERFORMED: Final[tuple[tuple[type[FileroomError], int], ...]] = (
    (MissingAttributeError, 0x0120),
    (MissingValueError, 0x0121),
    (NoSuchAttributeError, 0x0105),
    (WrongValueError, 0x0106),
    (FinalStateError, 0x0110),
    (DuplicateStepError, 0x0111),
    (NotFoundError, 0x0112),
    (InvalidRequestError, 0x0115),
    (NotAllowedError, 0x0124),
    (FileroomError, 0x0110),
)
_WORKITEM: Final[tuple[tuple[type[FileroomError], int], ...]] = (
    (DuplicateWorkitemError, 0x0111),
    (NotFoundError, 0xC307),
    (TooLargeError, 0x0213),
    *(row for row in _PERFORMED if row[0] not in (FinalStateError, DuplicateStepError, NotFoundError)),
)


def store_failure(error: FileroomError) -> StatusAnswer:
    """The answer to a C-STORE that failed."""
    return _find(_STORE, error)


def query_failure(error: FileroomError) -> StatusAnswer:
    """The answer to a C-FIND that failed."""
    return _find(_QUERY, error)


def retrieve_failure(error: FileroomError) -> StatusAnswer:
    """The answer to a C-MOVE or C-GET that failed."""
    return _find(_RETRIEVE, error)


def performed_failure(error: FileroomError) -> StatusAnswer:
    """The answer to an N-CREATE, N-SET or N-GET of a performed procedure step that failed (PS3.4 F.7.2, PS3.7 C)."""
    return _find(_PERFORMED, error)


def workitem_failure(error: FileroomError) -> StatusAnswer:
    """The answer to an N-CREATE, N-SET, N-GET or N-ACTION of a workitem that failed (PS3.4 CC.2, PS3.7 C)."""
    if isinstance(error, WorkitemError):
        return StatusAnswer(error.status, str(error))
    return _find(_WORKITEM, error)


def _find(table: tuple[tuple[type[FileroomError], int], ...], error: FileroomError) -> StatusAnswer:
    status = next(status for kind, status in table if isinstance(error, kind))
    return StatusAnswer(status, str(error))
