"""A treatment as a form: steps as rows of a few fields, and back. What a row cannot say stands in the field for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.web.console.forms import Form
from fileroom.web.console.language import N_

ROWS_MAX: Final = 24
"""Of more steps, all are edited as JSON: a form has a limited number of fields."""
ROWS_EMPTY: Final = 2
_LINE_SEPARATOR: Final = " = "

WORDS: Final = {
    "set": N_("set to a value"),
    "remove": N_("remove"),
    "empty": N_("empty"),
    "copy": N_("copy from another attribute"),
    "map": N_("map by a table"),
    "replace": N_("replace a pattern"),
    "prefix": N_("put before it"),
    "suffix": N_("put behind it"),
    "case": N_("upper or lower case"),
    "trim": N_("trim blanks"),
    "order": N_("take from the order"),
    "new_uids": N_("new UIDs"),
}
"""What a step does; message ids."""
_VALUE_FIELD: Final = {
    "set": "value",
    "copy": "from",
    "map": "default",
    "replace": "pattern",
    "prefix": "value",
    "suffix": "value",
    "case": "to",
    "order": "from",
    "new_uids": "attributes",
}
_LISTS: Final = frozenset({("set", "value"), ("new_uids", "attributes")})
_KNOWN: Final = {
    "map": frozenset({"do", "attribute", "table", "default", "otherwise", "when"}),
    "replace": frozenset({"do", "attribute", "pattern", "with", "when"}),
}


@dataclass(frozen=True, slots=True)
class Row:
    """A step as texts. `more` is the replacement of a pattern, or the lines of a table."""

    do: str = ""
    attribute: str = ""
    value: str = ""
    more: str = ""
    otherwise: str = ""
    when: str = ""


def rows_of(steps: list[dict[str, Any]]) -> list[Row] | None:
    """The steps as rows with some empty ones behind them; None when rows cannot say them."""
    if len(steps) > ROWS_MAX - ROWS_EMPTY or not all(_fits(step) for step in steps):
        return None
    return [*(_row(step) for step in steps), *(Row() for _ in range(ROWS_EMPTY))]


def fields_of_form(form: Form) -> dict[str, Any]:
    """The fields of the treatment. Raises InvalidRequestError for JSON that is none; the rest is checked by the service."""
    if form.has("steps"):
        steps = _json(form, "steps", [])
    else:
        columns = [form.all(f"step.{name}") for name in ("do", "attribute", "value", "more", "otherwise", "when")]
        steps = [
            _step(Row(*(one.strip() for one in texts))) for texts in zip(*columns, strict=True) if texts[0].strip()
        ]
    fields: dict[str, Any] = {key: form.get(key) for key in ("description", "deid", "charset", "syntax")}
    fields["steps"] = steps
    for key in ("transliterate", "lossy", "prove_pixels"):
        fields[key] = bool(form.get(key))
    if by := form.get("split.by"):
        fields["split"] = {"by": by}
        if by == "attribute":
            fields["split"]["attribute"] = form.get("split.detail")
        elif by == "count":
            fields["split"]["count"] = _number(form.get("split.detail"))
    if by := form.get("merge.by"):
        fields["merge"] = {"by": by}
    if when := form.get("fallback.when"):
        fields["sop_class_fallback"] = {"when": when, "classes": [one for one in form.all("fallback.class") if one]}
    if form.get("quality"):
        fields["quality"] = _number(form.get("quality"))
    return fields


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else text


def _json(form: Form, name: str, default: Any) -> Any:
    text = form.get(name)
    try:
        return json.loads(text) if text else default
    except ValueError as error:
        raise InvalidRequestError(told("The steps are no JSON: {reason}.", reason=str(error))) from error


def _fits(step: Mapping[str, Any]) -> bool:
    do = str(step.get("do", ""))
    usual = {"do", "attribute", "when", "otherwise", _VALUE_FIELD.get(do, "do")}
    is_plain = not isinstance(step.get("when"), Mapping)
    texts = all("\\" not in str(one) for key in ("value",) for one in _list(step.get(key)))
    return is_plain and texts and step.keys() <= _KNOWN.get(do, usual)


def _row(step: Mapping[str, Any]) -> Row:
    do = str(step["do"])
    value = step.get(_VALUE_FIELD.get(do, ""), "")
    more = str(step.get("with", ""))
    if do == "map":
        more = "\n".join(f"{key}{_LINE_SEPARATOR}{one}" for key, one in step.get("table", {}).items())
    text = "\\".join(map(str, value)) if isinstance(value, list) else str(value if value is not None else "")
    return Row(
        do, str(step.get("attribute", "")), text, more, str(step.get("otherwise", "")), str(step.get("when", ""))
    )


def _step(row: Row) -> dict[str, Any]:
    step: dict[str, Any] = {"do": row.do}
    if row.attribute or row.do != "new_uids":
        step["attribute"] = row.attribute
    field = _VALUE_FIELD.get(row.do)
    if field is not None and (row.value or row.do not in ("map", "order", "new_uids")):
        several = row.value.replace(",", "\\").split("\\") if row.do == "new_uids" else row.value.split("\\")
        is_list = (row.do, field) in _LISTS and (len(several) > 1 or row.do == "new_uids")
        step[field] = [one.strip() for one in several] if is_list else row.value
    if row.do == "replace":
        step["with"] = row.more
    if row.do == "map":
        lines = (line.partition("=") for line in row.more.splitlines() if line.strip())
        step["table"] = {key.strip(): one.strip() for key, _, one in lines}
    if row.otherwise and row.do in ("map", "order"):
        step["otherwise"] = row.otherwise
    if row.when:
        step["when"] = row.when
    return step


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]
