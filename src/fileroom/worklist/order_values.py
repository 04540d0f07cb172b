"""What facts make of an order and its steps: None stays, an empty text takes away, the procedure code table fills gaps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.core.identifiers import UID, AETitle
from fileroom.dicom.charset import clean, clean_lines
from fileroom.dicom.normal_forms import normalize_date, normalize_time
from fileroom.worklist.facts import Code, OrderFacts, StepFacts
from fileroom.worklist.identifiers import check_identifier
from fileroom.worklist.order_rows import Order, OrderStep, made_step_id
from fileroom.worklist.patient_values import check_details, clean_name
from fileroom.worklist.procedure_codes import PROTOCOLS_MAX, STATIONS_MAX, ProcedureCode

STEPS_MAX: Final = 50
"""Of one order: a large multi-part examination has some ten."""
PRIORITIES: Final = ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW")
"""Requested Procedure Priority (0040,1003)."""
TEXT_CHARS_MAX: Final = 64
"""LO (PS3.5 6.2)."""
LONG_TEXT_CHARS_MAX: Final = 10240
"""LT."""
ID_CHARS_MAX: Final = 64
_CODE_CHARS_MAX: Final = 16
_NAMES: Final = ("ordering_physician", "referring_physician")
_LONG: Final = ("clinical_information", "reason", "danger")
_TEXTS: Final = ("department", "institution", "transport", "procedure_id")
_CODES: Final = ("body_part", "laterality")
_SAID: Final = (*_NAMES, *_LONG, *_TEXTS, *_CODES)
_STEP_TEXTS: Final = ("station_name", "location", "description", "pre_medication", "contrast_agent")
_MOMENT: Final = re.compile(r"([0-9]{8})([0-9]{2,6}(?:\.[0-9]{1,6})?)?([+-][0-9]{4})?")


def check_order(facts: OrderFacts) -> OrderFacts:
    """The facts with clean values. Raises InvalidRequestError: which value, and why."""
    if len(facts.steps or ()) > STEPS_MAX:
        raise InvalidRequestError(told("An order has at most {most} steps.", most=STEPS_MAX))
    values: dict[str, Any] = {
        name: check_identifier(one, words) if one is not None and one.value.strip() else None
        for name, words, one in (
            ("placer", "placer's order number", facts.placer),
            ("filler", "filler's order number", facts.filler),
            ("accession", "accession number", facts.accession),
        )
    }
    values |= {name: _long_text(getattr(facts, name)) for name in _LONG}
    values |= {name: _text(getattr(facts, name), TEXT_CHARS_MAX) for name in _TEXTS}
    values |= {name: _code(getattr(facts, name)) for name in _CODES}
    values |= {name: _name(getattr(facts, name)) for name in _NAMES}
    if facts.priority is not None:
        priority = facts.priority.strip().upper()
        values["priority"] = priority if priority in PRIORITIES else "ROUTINE"
    if facts.study_instance_uid:
        values["study_instance_uid"] = str(UID(facts.study_instance_uid.strip()))
    if facts.procedure is not None:
        values["procedure"] = _checked_code(facts.procedure)
    steps = None if facts.steps is None else tuple(_check_step(one) for one in facts.steps)
    return replace(facts, **values, details=check_details(facts.details), steps=steps)


def says_what(facts: OrderFacts) -> bool:
    """Whether there is enough to do something by it: a procedure, or steps."""
    return bool(facts.steps) or facts.procedure is not None


def with_facts(order: Order, facts: OrderFacts, code: ProcedureCode | None) -> Order:
    """The order, without its steps, as the facts make it. `code`: the table's row of its procedure."""
    values: dict[str, Any] = {name: said for name in _SAID if (said := getattr(facts, name)) is not None}
    for name, one in (("placer", facts.placer), ("filler", facts.filler), ("accession", facts.accession)):
        if one is not None:
            values |= {f"{name}_number": one.value, f"{name}_authority": one.authority}
    if facts.study_instance_uid:
        values["study_instance_uid"] = facts.study_instance_uid
    if facts.priority is not None:
        values["priority"] = facts.priority
    is_other = facts.procedure is not None and facts.procedure.value != order.procedure_code
    if facts.procedure is not None:
        meaning = facts.procedure.meaning or ("" if is_other else order.procedure_meaning)
        values |= {
            "procedure_code": facts.procedure.value,
            "procedure_scheme": facts.procedure.scheme,
            "procedure_meaning": meaning or (code.meaning if code else ""),
        }
    if code is not None:
        for name in ("body_part", "laterality"):
            if getattr(facts, name) is None and (is_other or not getattr(order, name)):
                values[name] = getattr(code, name) or getattr(order, name)
    details = {**(order.details or {}), **facts.details}
    values["details"] = {name: value for name, value in details.items() if value}
    return replace(order, **values)


def steps_with_facts(order: Order, facts: OrderFacts, code: ProcedureCode | None) -> tuple[OrderStep, ...]:
    """All steps of the order as the facts make them; new ones have `id` 0.

    A step is known by its ID; one without an ID is the next one that the others do not name. Steps that are not
    mentioned stay. `order` is the order as it was before these facts.
    """
    said = facts.steps or ()
    is_other = facts.procedure is not None and facts.procedure.value != order.procedure_code
    if not said and not order.steps:
        said = (StepFacts(),)
    steps = list(order.steps)
    places = {step.step_id: place for place, step in enumerate(steps) if step.step_id}
    named = {places[one.step_id] for one in said if one.step_id in places}
    free = [place for place in range(len(steps)) if place not in named]
    for one in said:
        place = places.get(one.step_id) if one.step_id else (free.pop(0) if free else None)
        if place is None and one.step_id and free and _is_made(order, steps[free[0]].step_id):
            place = free.pop(0)  # We had named it until the RIS did.
        before = OrderStep(state=order.state) if place is None else steps[place]
        after = _step_with_facts(before, one, code, is_other=is_other)
        if place is None:
            steps.append(after)
        else:
            steps[place] = after
    if not said and code is not None:
        steps = [_step_with_facts(step, StepFacts(), code, is_other=is_other) for step in steps]
    return _with_ids(order, steps)


def changed_steps(before: Order, after: Order) -> tuple[OrderStep, ...]:
    """Those that are new or differ."""
    known = {step.id: step for step in before.steps}
    return tuple(step for step in after.steps if known.get(step.id) != step)


def changed_parts(before: Order, after: Order) -> list[str]:
    """Which parts differ, in words (message ids)."""
    names = [
        words for words, parts in PARTS.items() if any(getattr(before, one) != getattr(after, one) for one in parts)
    ]
    known = {step.id: step for step in before.steps}
    pairs = [(known[step.id], step) for step in after.steps if step.id in known]
    names += [
        words
        for words, parts in STEP_PARTS.items()
        if any(getattr(one, name) != getattr(other, name) for one, other in pairs for name in parts)
    ]
    if any(step.id not in known for step in after.steps):
        names.append(N_("new steps"))
    return names


def N_(message: str) -> str:
    """Mark a text for translation, gettext's way."""
    return message


PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    N_("patient"): ("patient",),
    N_("visit"): ("visit",),
    N_("order numbers"): ("placer_number", "placer_authority", "filler_number", "filler_authority", "procedure_id"),
    N_("accession number"): ("accession_number", "accession_authority"),
    N_("Study Instance UID"): ("study_instance_uid",),
    N_("procedure"): ("procedure_code", "procedure_scheme", "procedure_meaning"),
    N_("priority"): ("priority",),
    N_("physicians"): ("ordering_physician", "referring_physician"),
    N_("reason"): ("reason", "clinical_information"),
    N_("department"): ("department", "institution"),
    N_("body part"): ("body_part", "laterality"),
    N_("transport and dangers"): ("transport", "danger"),
    N_("further attributes"): ("details",),
}
STEP_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    N_("start"): ("start_date", "start_time", "minutes"),
    N_("modality and station"): ("modality", "station_aets", "station_name", "location"),
    N_("step"): ("step_id", "performing_physician", "description", "comments"),
    N_("protocol"): ("protocol_codes", "pre_medication", "contrast_agent"),
}


# --- helpers ---


def _is_made(order: Order, step_id: str) -> bool:
    return step_id.startswith(made_step_id(order.id, 0)[:-1])


def _with_ids(order: Order, steps: Iterable[OrderStep]) -> tuple[OrderStep, ...]:
    """Steps of an order that is known get their IDs here; those of a new one when it gets its row."""
    steps = list(steps)
    if not order.id:
        return tuple(steps)
    taken = {step.step_id for step in steps}
    free = (one for place in range(1, 2 * STEPS_MAX + 2) if (one := made_step_id(order.id, place)) not in taken)
    return tuple(step if step.step_id else replace(step, step_id=next(free)) for step in steps)


def _step_with_facts(step: OrderStep, facts: StepFacts, code: ProcedureCode | None, *, is_other: bool) -> OrderStep:
    values: dict[str, Any] = {
        name: said
        for name in (*_STEP_TEXTS, "modality", "station_aets", "performing_physician", "protocol_codes", "comments")
        if (said := getattr(facts, name)) is not None
    }
    if facts.step_id:
        values["step_id"] = facts.step_id
    if facts.start is not None:
        values |= dict(zip(("start_date", "start_time"), _start(facts.start), strict=True))
    modality = values.get("modality", "" if is_other else step.modality)
    if code is not None and modality in ("", code.modality):  # else the step is another than the table speaks of
        for name in ("modality", "station_aets", "location", "protocol_codes", "minutes"):
            from_table = getattr(code, name)
            if name not in values and from_table and (is_other or not getattr(step, name)):
                values[name] = from_table
        if "description" not in values and (is_other or not step.description) and code.meaning:
            values["description"] = code.meaning
    return replace(step, **values)


def _check_step(step: StepFacts) -> StepFacts:
    values: dict[str, Any] = {name: _text(getattr(step, name), TEXT_CHARS_MAX) for name in _STEP_TEXTS}
    values["comments"] = _long_text(step.comments)
    values["modality"] = _code(step.modality)
    values["performing_physician"] = _name(step.performing_physician)
    values["step_id"] = _text(step.step_id, TEXT_CHARS_MAX)
    if step.start:
        _start(step.start)
    if step.station_aets is not None:
        stations = [one for one in step.station_aets if one.strip()][:STATIONS_MAX]
        values["station_aets"] = tuple(dict.fromkeys(str(AETitle(one)) for one in stations))
    if step.protocol_codes is not None:
        codes = [_checked_code(one) for one in step.protocol_codes if one.value.strip()]
        values["protocol_codes"] = tuple(codes[:PROTOCOLS_MAX])
    return replace(step, **values)


def _start(text: str) -> tuple[str, str]:
    """DT without an offset as date and time; empty: none. Raises InvalidRequestError."""
    if not text.strip():
        return "", ""
    match = _MOMENT.fullmatch(text.strip())
    date = normalize_date(match[1]) if match else None
    time = normalize_time(match[2]) if match and match[2] else ""
    if match is None or date is None or time is None:
        raise InvalidRequestError(
            told(
                "{start} is no start of a step: write date and time as YYYYMMDDHHMM. Look at how the sender's fields are "
                "read.",
                start=repr(text[:40]),
            )
        )
    return date, time


def _checked_code(code: Code) -> Code:
    return Code(*(_text(part, TEXT_CHARS_MAX) or "" for part in (code.value, code.scheme, code.meaning)))


def _text(value: str | None, chars_max: int) -> str | None:
    return None if value is None else clean(value).strip()[:chars_max].strip()


def _long_text(value: str | None) -> str | None:
    return None if value is None else clean_lines(value)[:LONG_TEXT_CHARS_MAX].strip()


def _name(value: str | None) -> str | None:
    return None if value is None else clean_name(value)


def _code(value: str | None) -> str | None:
    return None if value is None else clean(value).strip().upper()[:_CODE_CHARS_MAX]
