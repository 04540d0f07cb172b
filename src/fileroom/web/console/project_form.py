"""A de-identification project as a form: options in plain words, lists as lines of text, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.deid.options import Option
from fileroom.dicom.dictionary import keyword_of
from fileroom.routing.project_fields import PROJECTS
from fileroom.web.console.forms import Form
from fileroom.web.console.language import N_

OPTION_WORDS: Final = {
    Option.PIXELS: (
        N_("Text in images"),
        N_("Blank what devices write into their images, by what is known of the device."),
    ),
    Option.DESCRIPTORS: (
        N_("Descriptions"),
        N_("Keep descriptions and comments, with what names the patient taken out."),
    ),
    Option.STRUCTURED_CONTENT: (
        N_("Structured reports"),
        N_("Keep the text of reports, with what names the patient taken out."),
    ),
    Option.GRAPHICS: (N_("Drawings"), N_("Keep drawings on images, with the text on them cleaned.")),
    Option.VISUAL_FEATURES: (
        N_("Faces"),
        N_("Hold back images from which a face could be recognized: heads and photographs."),
    ),
    Option.PATIENT: (N_("Sex, age, size, weight"), N_("An age above 89 becomes 90.")),
    Option.DEVICE: (N_("Device"), N_("Which device made the images: serial number, station name.")),
    Option.INSTITUTION: (N_("Institution"), N_("The name and address of the hospital.")),
    Option.SAFE_PRIVATE: (
        N_("Harmless private attributes"),
        N_("Those that the standard lists, and those named below."),
    ),
    Option.UIDS: (N_("UIDs"), N_("Studies can then be found again by them.")),
    Option.MODIFIED_DATES: (
        N_("Dates moved"),
        N_("All dates of a patient are moved by the same number of days; the time between examinations stays."),
    ),
    Option.FULL_DATES: (N_("Dates as they are"), ""),
}
"""A name and a sentence, message ids."""
KEPT: Final = (Option.PATIENT, Option.DEVICE, Option.INSTITUTION, Option.SAFE_PRIVATE, Option.UIDS)
CLEANED: Final = (
    Option.PIXELS,
    Option.DESCRIPTORS,
    Option.STRUCTURED_CONTENT,
    Option.GRAPHICS,
    Option.VISUAL_FEATURES,
)
ACTION_WORDS: Final = "keep, remove, empty, replace, hash, clean"
_TEXTS: Final = ("overrides", "safe_private", "devices")


def default_fields() -> dict[str, Any]:
    """Those of a new project: dates moved, pixels cleaned."""
    return PROJECTS.check("new", {"options": [Option.MODIFIED_DATES, Option.PIXELS]})


def fields_of_form(form: Form) -> dict[str, Any]:
    """The fields of the project. Raises InvalidRequestError for lines that say nothing; the service checks the rest."""
    options = [*form.all("option"), *([form.get("dates")] if form.get("dates") else [])]
    fields: dict[str, Any] = {
        "options": options,
        "pseudonym": form.get("pseudonym"),
        "shift_days": int(text)
        if (text := form.get("shift_days")).isascii() and text.isdigit() and len(text) < 9
        else text,
        "others": form.get("others") or "make",
        "description": form.get("description"),
        "overrides": [_override(line) for line in _lines(form, "overrides")],
        "safe_private": [_private(line) for line in _lines(form, "safe_private")],
        "devices": _devices(form.get("devices")),
    }
    given = form.exactly("patient_map").replace("\r\n", "\n").strip()
    if given:
        fields["patient_map"] = given
    elif form.get("has_map") and not form.get("drop_map"):
        fields["patient_map"] = "secret"
    return fields


def texts_of(fields: Mapping[str, Any], form: Form | None) -> dict[str, str]:
    """What stands in the fields of several lines; as it was typed where a form is given."""
    if form is not None:
        return {name: form.get(name) for name in _TEXTS}
    return {
        "overrides": "\n".join(
            " ".join(filter(None, (keyword_of(int(one["tag"], 16)) or one["tag"], one["action"], one.get("value", ""))))
            for one in fields["overrides"]
        ),
        "safe_private": "\n".join(f"{one['tag']} {one['creator']}" for one in fields["safe_private"]),
        "devices": json.dumps(fields["devices"], indent=1, ensure_ascii=False) if fields["devices"] else "",
    }


def _lines(form: Form, name: str) -> list[str]:
    return [line.strip() for line in form.exactly(name).splitlines() if line.strip()]


def _override(line: str) -> dict[str, str]:
    tag, _, rest = line.partition(" ")
    action, _, value = rest.strip().partition(" ")
    return {"tag": tag, "action": action, "value": value.strip()}


def _private(line: str) -> dict[str, str]:
    tag, _, creator = line.partition(" ")
    return {"tag": tag, "creator": creator.strip()}


def _devices(text: str) -> Any:
    try:
        return json.loads(text) if text else []
    except ValueError as error:
        raise InvalidRequestError(told("The device rules are no JSON: {reason}.", reason=str(error))) from error
