"""The fields of a treatment: how objects are changed on the way. Checked once, in the same way for page, API, files.

{"deid": "PROJECT", "steps": [...], "charset": "ISO_IR 100", "transliterate": false, "merge": {...}, "split": {...},
 "sop_class_fallback": {"when": "refused", "classes": ["EnhancedCTImageStorage"]}, "syntax": "1.2.840.10008.1.2.4.90",
 "lossy": false, "quality": 90, "prove_pixels": true, "description": ""}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fileroom.admin.entries import NAME_CHARS_MAX
from fileroom.core.errors import InvalidRequestError, told
from fileroom.dicom import uids
from fileroom.pixels.encoders import targets
from fileroom.pixels.transcode import lossless_targets
from fileroom.routing.step_conditions import step_condition
from fileroom.transform.charset import character_set_terms
from fileroom.transform.legacy import SINGLE_OF
from fileroom.transform.split_merge import checked_merge, checked_split
from fileroom.transform.step_kinds import STEP_KINDS
from fileroom.transform.steps import compiled_steps

FALLBACK_TIMES: Final = ("refused", "always")
ALL_CLASSES: Final = "all"
_DEFAULTS: Final[dict[str, Any]] = {
    "description": "",
    "deid": "",
    "steps": [],
    "charset": "",
    "transliterate": False,
    "merge": {},
    "split": {},
    "sop_class_fallback": {},
    "syntax": "",
    "lossy": False,
    "quality": 90,
    "prove_pixels": True,
}
_DESCRIPTION_CHARS_MAX: Final = 1000


def checked_treatment(name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The normal form; what is as by default is left out. Raises InvalidRequestError, which names field or step."""
    if unknown := sorted(fields.keys() - _DEFAULTS.keys()):
        raise InvalidRequestError(
            told(
                "Treatment {name}: there is no field {field}. Fields are {fields}.",
                name=name,
                field=", ".join(unknown),
                fields=", ".join(_DEFAULTS),
            )
        )
    given = {**_DEFAULTS, **fields}
    for key in ("transliterate", "lossy", "prove_pixels"):
        if not isinstance(given[key], bool):
            raise InvalidRequestError(told("Treatment {name}: {field} is true or false.", name=name, field=key))
    for key, most in (
        ("description", _DESCRIPTION_CHARS_MAX),
        ("deid", NAME_CHARS_MAX),
        ("charset", 128),
        ("syntax", 128),
    ):
        if not isinstance(given[key], str) or len(given[key]) > most:
            raise InvalidRequestError(
                told(
                    "Treatment {name}: {field} is a text of at most {most} characters.", name=name, field=key, most=most
                )
            )
    compiled_steps(given["steps"], STEP_KINDS, step_condition)
    if given["charset"]:
        given["charset"] = "\\".join(character_set_terms(given["charset"]))
    checked_split(given["split"])
    checked_merge(given["merge"])
    if given["split"] and given["merge"]:
        raise InvalidRequestError(told("Treatment {name}: a series is either split or merged.", name=name))
    given["sop_class_fallback"] = _fallback(given["sop_class_fallback"])
    given["syntax"] = _syntax(given["syntax"], lossy=given["lossy"])
    quality = given["quality"]
    if isinstance(quality, bool) or not isinstance(quality, int) or not 1 <= quality <= 100:
        raise InvalidRequestError(told("Treatment {name}: quality is a number from 1 to 100.", name=name))
    return {key: value for key, value in given.items() if value != _DEFAULTS[key]}


def with_defaults(fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields."""
    return {**_DEFAULTS, **fields}


def _fallback(fields: object) -> dict[str, Any]:
    if not fields:
        return {}
    if not isinstance(fields, Mapping) or fields.keys() - {"when", "classes"}:
        raise InvalidRequestError(told("sop_class_fallback has the fields when and classes."))
    when = fields.get("when", "refused")
    if when not in FALLBACK_TIMES:
        raise InvalidRequestError(
            told("sop_class_fallback: when is one of {choices}.", choices=", ".join(FALLBACK_TIMES))
        )
    classes = fields.get("classes") or [ALL_CLASSES]
    names = {uids.uid_name(uid): uid for uid in SINGLE_OF}
    found = [names.get(str(one), str(one)) for one in (classes if isinstance(classes, list) else [classes])]
    for one in found:
        if one != ALL_CLASSES and one not in SINGLE_OF:
            raise InvalidRequestError(
                told(
                    "sop_class_fallback: {kind} cannot be converted. Those that can: {choices}.",
                    kind=one[:80],
                    choices=", ".join(names),
                )
            )
    return {"when": when, "classes": [ALL_CLASSES] if ALL_CLASSES in found else sorted(set(found))}


def _syntax(text: str, *, lossy: bool) -> str:
    """A transfer syntax by UID or name; one that loses information only where that is allowed."""
    if not text:
        return ""
    names = {uids.uid_name(uid).casefold(): uid for uid in (*lossless_targets(), *targets())}
    uid = names.get(text.strip().casefold(), text.strip())
    if uid in lossless_targets() and uid != uids.EXPLICIT_VR_BIG_ENDIAN:
        return uid
    if uid in targets():
        if lossy:
            return uid
        raise InvalidRequestError(
            told(
                "{syntax} loses information of the pixels. Allow it by lossy, or choose another one.",
                syntax=uids.uid_name(uid),
            )
        )
    choices = ", ".join(sorted(uids.uid_name(one) for one in lossless_targets() if one != uids.EXPLICIT_VR_BIG_ENDIAN))
    raise InvalidRequestError(
        told(
            "{syntax} is no transfer syntax that is written. Those that are: {choices}.",
            syntax=text[:80],
            choices=choices,
        )
    )
