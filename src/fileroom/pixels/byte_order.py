"""Words inside a header: OW, OL, OF, OD and OV values are bytes whose order follows the transfer syntax (PS3.5 7.3).

pydicom turns numbers into Python's, but leaves these values as they are. In this room they are always little endian:
tables and overlays are read in one way, and only what is written big endian is turned again.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from pydicom.dataset import Dataset

from fileroom.core.errors import InvalidObjectError
from fileroom.core.limits import SEQUENCE_DEPTH_MAX
from fileroom.pixels.header_values import BROKEN

_WORD_BYTES: Final = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}


def turn_words(header: Dataset, depth: int = 0) -> None:
    """Turn the bytes of every word in `header` and its sequences, in place; broken elements stay as they are.

    Raises InvalidObjectError when sequences are nested deeper than SEQUENCE_DEPTH_MAX.
    """
    if depth > SEQUENCE_DEPTH_MAX:
        raise InvalidObjectError(f"the header nests sequences deeper than {SEQUENCE_DEPTH_MAX}; it is not converted")
    for tag in list(header.keys()):
        try:
            element = header[tag]
        except BROKEN:
            continue
        if element.VR in _WORD_BYTES and isinstance(element.value, bytes):
            element.value = turned(element.value, _WORD_BYTES[element.VR])
        elif element.VR == "SQ":
            for item in element.value:
                turn_words(item, depth + 1)


def turned(data: bytes, word_bytes: int) -> bytes:
    """`data` with the bytes of each word in the other order; an incomplete last word stays."""
    whole = len(data) // word_bytes * word_bytes
    words = np.frombuffer(data, f"u{word_bytes}", whole // word_bytes) if word_bytes > 1 else None
    return data if words is None else words.byteswap().tobytes() + data[whole:]
