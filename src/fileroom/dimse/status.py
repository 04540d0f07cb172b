"""Status codes of DIMSE responses with their names and categories (PS3.7 Annex C; PS3.4 B.2.3, C.4, K.4, J.3)."""

from __future__ import annotations

import enum
from typing import Final


class Status(enum.IntEnum):
    """The codes that Fileroom sends or tells apart. Others occur; they are plain numbers with a `category`."""

    SUCCESS = 0x0000
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    ATTRIBUTE_LIST_ERROR = 0x0107
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_SOP_INSTANCE = 0x0111
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    NO_SUCH_ARGUMENT = 0x0114
    INVALID_ARGUMENT_VALUE = 0x0115
    ATTRIBUTE_VALUE_OUT_OF_RANGE = 0x0116
    INVALID_OBJECT_INSTANCE = 0x0117
    NO_SUCH_SOP_CLASS = 0x0118
    CLASS_INSTANCE_CONFLICT = 0x0119
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORIZED = 0x0124
    DUPLICATE_INVOCATION = 0x0210
    UNRECOGNIZED_OPERATION = 0x0211
    MISTYPED_ARGUMENT = 0x0212
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    UNABLE_TO_COUNT_MATCHES = 0xA701
    UNABLE_TO_PERFORM_SUBOPERATIONS = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    IDENTIFIER_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    COERCION_OF_DATA_ELEMENTS = 0xB000
    ELEMENTS_DISCARDED = 0xB006
    DATA_SET_DOES_NOT_MATCH_SOP_CLASS = 0xB007
    CANNOT_UNDERSTAND = 0xC000
    UNABLE_TO_PROCESS = 0xC001
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01


SUBOPERATIONS_WITH_FAILURES: Final = Status.COERCION_OF_DATA_ELEMENTS
"""B000H of C-MOVE and C-GET: complete, but one or more sub-operations failed or warned (PS3.4 C.4.2.1.5)."""


class StatusCategory(enum.Enum):
    """What a status means for the operation (PS3.7 Annex C)."""

    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    CANCEL = "cancel"
    PENDING = "pending"


_WARNINGS: Final = frozenset({0x0001, 0x0107, 0x0116})


def category(status: int) -> StatusCategory:
    """The category of a status code, defined or not. What the standard leaves open counts as failure."""
    if status == Status.SUCCESS:
        return StatusCategory.SUCCESS
    if status in (Status.PENDING, Status.PENDING_WITH_UNSUPPORTED_KEYS):
        return StatusCategory.PENDING
    if status == Status.CANCEL:
        return StatusCategory.CANCEL
    if 0xB000 <= status <= 0xBFFF or status in _WARNINGS:
        return StatusCategory.WARNING
    return StatusCategory.FAILURE


def is_pending(status: int | None) -> bool:
    """Whether more responses to the same request follow."""
    return status == Status.PENDING or status == Status.PENDING_WITH_UNSUPPORTED_KEYS


def describe(status: int) -> str:
    """Name and number of a status code, as `failure 0122H: SOP class not supported`."""
    return f"{category(status).value} {status:04X}H: {_name(status)}"


def _name(status: int) -> str:
    try:
        words = Status(status).name.lower().replace("_", " ")
    except ValueError:
        return _name_of_range(status)
    return words.replace("sop class", "SOP class").replace("sop instance", "SOP instance")


def _name_of_range(status: int) -> str:
    match status >> 8:
        case 0xA7:
            return "out of resources"
        case 0xA9:
            return "data set or identifier does not match SOP class"
        case high if high >> 4 == 0xC:
            return "cannot understand or unable to process"
        case high if high >> 4 == 0xB:
            return "warning of the service class"
        case _:
            return "not defined by the standard"
