"""The part of a feed's fields that says how its messages are read: checked, in their normal form, and made into a `Mapping`.

    {"preset": "ihe",                                    what everything below is laid over
     "facts": {"accession": ["OBR-18", "ORC-3.1"]},      where a fact stands: the first place that says it
     "values": {"modality": {"XR": "DX", "CT*": "CT"}},  what is used for a value; CT* for all that begin so, null: no such line
     "authority": {"patient": ["=HOSPITAL"], "accession": ["MSH-4.1"]},   of identifiers that name none
     "authorities": {"HOSP&1.2.3&ISO": "HOSPITAL"},      authorities by namespace, universal ID or both: their name here
     "names": "hl7",                                     order of the parts of names: hl7, dicom, or comma (Surname, Given)
     "time_zone": "Europe/Berlin",                       the hospital's clock, for times that come with an offset
     "keep": ["ZPI"],                                    Z segments that are kept as details, * for all
     "ignored": ["ADT^A31", "ORM^*"],                    messages that ask for nothing here
     "events": {"ADT^Z08": "A08"},                       events read as another one
     "only": [{"path": "OBR-24", "values": ["CT", "MR"]}]}   orders that are taken; no line: all

Pure; nothing is looked up.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass
from typing import Any, Final

from fileroom.core.errors import InvalidRequestError, told
from fileroom.feeds.mapping_facts import FACTS, Fact, Form, fact_named, house_name
from fileroom.feeds.paths import Path, parse_path
from fileroom.feeds.presets import PRESETS
from fileroom.reports.facts import ReportState
from fileroom.worklist.facts import OrderState

PATHS_MAX: Final = 20
"""Of one fact: more places than any sender has for it."""
FACTS_MAX: Final = 200
ROWS_MAX: Final = 5000
"""Of one table: a hospital's procedure codes, where no prefix will do."""
LINES_MAX: Final = 100
TEXT_CHARS_MAX: Final = 200
_STATES: Final = (*(state.value for state in OrderState), "")
_DEEDS: Final = (*(state.value for state in OrderState), "same", "nothing")
_REPORT_STATES: Final = (*(state.value for state in ReportState if state is not ReportState.DRAFT), "")
_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "control": _DEEDS,
    "event": _DEEDS,
    "must_be": ("new", "known", ""),
    "state": _STATES,
    "sex": ("M", "F", "O", ""),
    "priority": ("STAT", "HIGH", "ROUTINE", "MEDIUM", "LOW"),
    "report_state": _REPORT_STATES,
    "report_withdrawn": (ReportState.CANCELLED.value, ""),
    "report_event": ("put", "addendum", "cancel", "nothing"),
    "order_after_report": _STATES,
    "critical": ("yes", ""),
}
"""What the right side of a table may say."""
_TABLES_ONLY: Final = ("must_be", "event", "report_event", "order_after_report")
AUTHORITY_OF: Final = ("patient", "visit", "placer", "filler", "accession")
NAME_ORDERS: Final = ("hl7", "dicom", "comma")
_CODE_STRING: Final = re.compile(r"[A-Z0-9 _]{1,16}")
_KIND: Final = re.compile(r"[A-Z][A-Z0-9]{2}\^(?:[A-Z0-9]{3}|\*)|\*")
_KEPT: Final = re.compile(r"Z[A-Z0-9]{2}|\*")
FIELDS: Final = (
    "preset",
    "facts",
    "values",
    "authority",
    "authorities",
    "names",
    "time_zone",
    "keep",
    "ignored",
    "events",
    "only",
)


class Table:
    """What is used for a value. A key that ends with * stands for all that begin so; the longest one wins."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, rows: MappingOf[str, str]) -> None:
        self._exact = {key: value for key, value in rows.items() if not key.endswith("*")}
        some = [(key[:-1], value) for key, value in rows.items() if key.endswith("*")]
        self._prefixes = sorted(some, key=lambda one: -len(one[0]))

    def get(self, raw: str) -> str | None:
        """The value used for `raw`, in whatever case it is; None where no line says one."""
        key = raw.strip().upper()
        found = self._exact.get(key)
        if found is None:
            found = next((value for prefix, value in self._prefixes if key.startswith(prefix)), None)
        return found


@dataclass(frozen=True, slots=True)
class Only:
    """Orders are taken where the value at `path` is in `table`."""

    path: Path
    table: Table


@dataclass(frozen=True, slots=True)
class Mapping:
    """How the messages of one sender are read."""

    facts: MappingOf[str, tuple[Path, ...]]
    details: tuple[Fact, ...]
    """The facts among them that are called by a DICOM keyword."""
    values: MappingOf[str, Table]
    authority: MappingOf[str, tuple[Path, ...]]
    authorities: MappingOf[str, str]
    names: str = "hl7"
    zone: zoneinfo.ZoneInfo | None = None
    keep: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
    events: MappingOf[str, str] | None = None
    only: tuple[Only, ...] = ()


def check_mapping(fields: MappingOf[str, Any]) -> dict[str, Any]:
    """The fields in their normal form: the preset, and what differs from it. Raises InvalidRequestError, which says where."""
    if not isinstance(fields, MappingOf):
        raise _wrong("mapping", told("a table"))
    unknown = sorted(str(one) for one in set(fields) - set(FIELDS))
    if unknown:
        raise InvalidRequestError(
            told("A mapping has no field {name}; it has {all}.", name=unknown[0][:40], all=", ".join(FIELDS))
        )
    preset = fields.get("preset", "ihe")
    if not isinstance(preset, str) or preset not in PRESETS:
        raise InvalidRequestError(
            told("There is no preset {name}; there are {all}.", name=repr(preset)[:40], all=", ".join(PRESETS))
        )
    base = preset_fields(preset)
    found: dict[str, Any] = {
        "facts": _checked_facts(fields.get("facts", {})),
        "values": _checked_values(fields.get("values", {})),
        "authority": _checked_authority(fields.get("authority", {})),
        "authorities": _checked_texts("authorities", fields.get("authorities", {})),
        "names": _checked_choice("names", fields.get("names", base["names"]), NAME_ORDERS),
        "time_zone": _checked_zone(fields.get("time_zone", base["time_zone"])),
        "keep": _checked_list("keep", fields.get("keep", base["keep"]), _KEPT, told("names of Z segments, or *")),
        "ignored": _checked_list(
            "ignored", fields.get("ignored", base["ignored"]), _KIND, told("as in ADT^A31, ORM^*")
        ),
        "events": _checked_events(fields.get("events", {})),
        "only": _checked_only(fields.get("only", base["only"])),
    }
    return {"preset": preset, **_differing(found, base)}


def preset_fields(name: str) -> dict[str, Any]:
    """All fields of a preset, with those that it is laid over."""
    preset = PRESETS[name]
    return laid_over(preset_fields(preset.on), preset.fields) if preset.on else preset.fields


def whole_fields(fields: MappingOf[str, Any]) -> dict[str, Any]:
    """A mapping with all that its preset says, as pages show it. Raises InvalidRequestError."""
    checked = check_mapping(fields)
    return {"preset": checked["preset"], **laid_over(preset_fields(checked["preset"]), checked)}


def mapping_from_fields(fields: MappingOf[str, Any]) -> Mapping:
    """The mapping that messages are read by. Raises InvalidRequestError."""
    whole = whole_fields(fields)
    facts = {name: tuple(map(parse_path, paths)) for name, paths in whole["facts"].items() if paths}
    details = [fact for name in facts if name not in FACTS and (fact := fact_named(name)) is not None]
    return Mapping(
        facts,
        tuple(details),
        {name: Table(rows) for name, rows in whole["values"].items()},
        {name: tuple(map(parse_path, paths)) for name, paths in whole["authority"].items()},
        whole["authorities"],
        whole["names"],
        zoneinfo.ZoneInfo(whole["time_zone"]) if whole["time_zone"] else None,
        frozenset(whole["keep"]),
        frozenset(whole["ignored"]),
        whole["events"],
        tuple(Only(parse_path(one["path"]), Table(dict.fromkeys(one["values"], ""))) for one in whole["only"]),
    )


def laid_over(base: MappingOf[str, Any], fields: MappingOf[str, Any]) -> dict[str, Any]:
    """`base` with what `fields` say: fact by fact, and row by row in tables, where null takes a row away."""
    made = {key: value for key, value in base.items() if key != "preset"}
    for key, value in fields.items():
        if key == "values":
            made[key] = {
                name: {
                    raw: used
                    for raw, used in {**base[key].get(name, {}), **value.get(name, {})}.items()
                    if used is not None
                }
                for name in {**base[key], **value}
            }
        elif key in ("facts", "authority", "authorities", "events"):
            made[key] = {**base.get(key, {}), **value}
        elif key != "preset":
            made[key] = value
    return made


def _differing(found: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in found.items():
        if key == "values":
            kept: Any = {
                name: {raw: used for raw, used in rows.items() if base[key].get(name, {}).get(raw) != used}
                for name, rows in value.items()
            }
            kept = {name: rows for name, rows in kept.items() if rows}
        elif isinstance(value, dict):
            kept = {name: one for name, one in value.items() if base[key].get(name) != one}
        else:
            kept = None if value == base[key] else value
        if kept is not None and kept != {}:
            made[key] = kept
    return made


def _wrong(where: str, fits: str) -> InvalidRequestError:
    return InvalidRequestError(told("The field {field} does not fit: it is {fits}.", field=where, fits=fits))


def _table(where: str, value: Any, rows_max: int = FACTS_MAX) -> MappingOf[str, Any]:
    if not isinstance(value, MappingOf) or not all(isinstance(key, str) for key in value):
        raise _wrong(where, told("a table"))
    if len(value) > rows_max:
        raise InvalidRequestError(told("{field} has at most {most} rows.", field=where, most=rows_max))
    return value


def _checked_facts(value: Any) -> dict[str, list[str]]:
    return {name: _paths(f"facts.{_known_fact(name)}", paths) for name, paths in _table("facts", value).items()}


def _known_fact(name: str) -> str:
    if fact_named(name) is not None:
        return name
    if house_name(name):
        raise InvalidRequestError(
            told("The fact {name} is called {house} in a mapping.", name=name, house=house_name(name))
        )
    raise InvalidRequestError(
        told(
            "There is no fact {name}. Facts are {all}, or a DICOM keyword of a text such as PatientComments.",
            name=repr(name)[:60],
            all=", ".join(FACTS),
        )
    )


def _paths(where: str, value: Any) -> list[str]:
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple) or len(value) > PATHS_MAX:
        raise _wrong(where, told("a list of at most {most} paths", most=PATHS_MAX))
    found = []
    for number, one in enumerate(value, 1):
        try:
            found.append(parse_path(one).text)
        except InvalidRequestError as error:
            raise InvalidRequestError(
                told("In {field}, place {number}: {why}", field=where, number=number, why=error.sentence)
            ) from error
    return list(dict.fromkeys(found))


def _checked_values(value: Any) -> dict[str, dict[str, str | None]]:
    found: dict[str, dict[str, str | None]] = {}
    for name, rows in _table("values", value).items():
        fact = fact_named(name)
        if name not in _TABLES_ONLY and (fact is None or fact.form not in _TABLE_FORMS):
            raise InvalidRequestError(told("There is no table of values for {name}.", name=repr(name)[:60]))
        where = f"values.{name}"
        found[name] = {}
        for raw, used in _table(where, rows, ROWS_MAX).items():
            key = raw.strip().upper()
            if not key or "*" in key[:-1] or len(key) > TEXT_CHARS_MAX:
                raise _wrong(where, told("a table of values, where * stands only at the end"))
            if used is not None:
                _require_value(name, f"{where}.{raw[:40]}", used)
            found[name][key] = used
    return found


_TABLE_FORMS: Final = frozenset(
    {
        Form.TEXT,
        Form.PLACE,
        Form.STATE,
        Form.REPORT_STATE,
        Form.PRIORITY,
        Form.SEX,
        Form.MODALITY,
        Form.AE_TITLES,
        Form.CONTROL,
        Form.CODE_STRING,
    }
)


def _require_value(name: str, where: str, used: Any) -> None:
    if not isinstance(used, str) or len(used) > TEXT_CHARS_MAX or (used and not used.isprintable()):
        raise _wrong(where, told("a text of at most {most} characters", most=TEXT_CHARS_MAX))
    if name in _CHOICES and used not in _CHOICES[name]:
        raise _wrong(where, told("one of {all}", all=", ".join(one or '""' for one in _CHOICES[name])))
    if name == "modality" and used and not _CODE_STRING.fullmatch(used):
        raise _wrong(where, told("a modality such as CT"))


def _checked_authority(value: Any) -> dict[str, list[str]]:
    unknown = sorted(set(_table("authority", value)) - set(AUTHORITY_OF))
    if unknown:
        raise _wrong(f"authority.{unknown[0][:40]}", told("one of {all}", all=", ".join(AUTHORITY_OF)))
    return {name: _paths(f"authority.{name}", paths) for name, paths in value.items()}


def _checked_texts(where: str, value: Any) -> dict[str, str]:
    for key, text in _table(where, value, ROWS_MAX).items():
        fits = isinstance(text, str) and (text.isprintable() or not text) and max(len(text), len(key)) <= TEXT_CHARS_MAX
        if not fits or not key.strip():
            raise _wrong(f"{where}.{key[:40]}", told("a text of at most {most} characters", most=TEXT_CHARS_MAX))
    return {key.strip(): text.strip() for key, text in value.items()}


def _checked_choice(where: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise _wrong(where, told("one of {all}", all=", ".join(choices)))
    return str(value)


def _checked_zone(value: Any) -> str:
    if not value:
        return ""
    try:
        return zoneinfo.ZoneInfo(str(value)).key
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        raise InvalidRequestError(
            told("There is no time zone {name}; write one such as Europe/Berlin.", name=repr(value)[:60])
        ) from None


def _checked_list(where: str, value: Any, pattern: re.Pattern[str], fits: str) -> list[str]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if (
        not isinstance(value, list | tuple)
        or len(value) > LINES_MAX
        or not all(isinstance(one, str) and pattern.fullmatch(one) for one in value)
    ):
        raise _wrong(where, fits)
    return list(dict.fromkeys(value))


def _checked_events(value: Any) -> dict[str, str]:
    for kind, event in _table("events", value, LINES_MAX).items():
        if "*" in kind or not _KIND.fullmatch(kind):
            raise _wrong(f"events.{kind[:40]}", told("named as in ADT^Z08"))
        if not isinstance(event, str) or not re.fullmatch(r"[A-Z0-9]{3}", event):
            raise _wrong(f"events.{kind}", told("an event such as A08"))
    return dict(value)


def _checked_only(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list | tuple) or len(value) > LINES_MAX:
        raise _wrong("only", told("a list of tables with path and values"))
    found = []
    for number, one in enumerate(value, 1):
        where = f"only[{number}]"
        if not isinstance(one, MappingOf) or set(one) != {"path", "values"}:
            raise _wrong(where, told("a table with path and values"))
        values = one["values"]
        if isinstance(values, str):
            values = [part.strip() for part in values.split(",") if part.strip()]
        if (
            not isinstance(values, list | tuple)
            or not 0 < len(values) <= ROWS_MAX
            or not all(isinstance(text, str) and text.strip() and "*" not in text.strip()[:-1] for text in values)
        ):
            raise _wrong(f"{where}.values", told("a list of values, where * stands only at the end"))
        path = _paths(f"{where}.path", [one["path"]])[0]
        found.append({"path": path, "values": list(dict.fromkeys(text.strip().upper() for text in values))})
    return found
