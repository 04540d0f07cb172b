"""The condition of a step: the language of the rules, asked about the attributes of the object as the steps before left it."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from pydicom.dataset import Dataset

from fileroom.archive.examine import Claim
from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom import uids
from fileroom.dicom.header_scan import scan_header
from fileroom.pixels.transcoded import header_bytes
from fileroom.routing.conditions import compile_condition
from fileroom.routing.operands import Facts
from fileroom.transform.charset import text_fits
from fileroom.transform.steps import Condition

_CLAIM: Final = Claim("", "", uids.EXPLICIT_VR_LITTLE_ENDIAN, "treatment")


def step_condition(when: Any) -> Condition:
    """Raises InvalidRequestError. Only attributes may be asked: on its way an object has no caller and no study state."""
    compiled = compile_condition(when)
    for operand in compiled.operands:
        if not operand.path and not operand.what.startswith("now."):
            raise InvalidRequestError(
                told(
                    "The condition of a step can ask about attributes only, not about {what}.",
                    what=operand.text or operand.what,
                )
            )
    wanted = compiled.tags

    def holds(dataset: Dataset) -> bool:
        asked = Dataset()
        asked._dict = {tag: one for tag, one in dataset._dict.items() if int(tag) in wanted or int(tag) == 0x00080005}
        implicit, little = dataset.original_encoding
        asked.set_original_encoding(implicit, little, dataset.original_character_set)
        header = header_bytes(text_fits(asked), uids.EXPLICIT_VR_LITTLE_ENDIAN)
        scanned = scan_header(header, uids.EXPLICIT_VR_LITTLE_ENDIAN, wanted, complete=True)
        return compiled.holds(Facts(scanned, _CLAIM, "", dt.datetime.now(dt.UTC)))

    return holds
